"""What a run says about itself before it begins: its length in every unit, its sizes, its time."""

import numpy as np

from common import config as config_lib
from common.data import episodes
from common.model import devices

LONG = 24  # hours on a CPU after which the small block is named


def start(config, agent, logdir):
  """Lines for the start: frames, decisions, updates, device, parameters, memory, directory.

  Args:
    config: Config, as settled by devices.setup.
    agent: agent.Agent.
    logdir: directory of the run.
  """
  model = agent.world_model
  size = lambda module: sum(int(np.prod(v.shape)) for v in module.trainable_variables)
  return (
      f'{config.task}: {config.steps:,} frames = '
      f'{config.steps // config.action_repeat:,} decisions (action repeat '
      f'{config.action_repeat}) = {updates(config):,} updates; {config.precision}, '
      f'XLA {"on" if config.jit else "off"}, {devices.describe()}\n'
      f'{config.agent}: {size(model):,} parameters in the world model, '
      f'{size(agent) - size(model):,} in the behaviour; replay keeps up to '
      f'{_replay_gigabytes(config, agent):.2g} GB in memory (replay_capacity)\n{logdir}')


def updates(config):
  """Updates of a whole run; with train_episodes the most that there can be."""
  if config.offline:  # frames count updates there
    return config.steps * config.train_steps // config.train_every
  bursts = max(0, (config.steps - config.prefill) // config.train_every)
  return config.pretrain + bursts * config.train_steps


def estimate(config, frames, seconds):
  """A line about the time that is left.

  Args:
    config: Config of the run.
    frames: frames so far.
    seconds: measured, of one update.
  """
  left = max(0, config.steps - frames) / config.train_every
  hours = left * config.train_steps * seconds / 3600
  hint = ''
  if 'CPU' in devices.describe() and hours > LONG:
    hint = ' Put the block cpu last for a small model: --configs dmc cpu.'
  return (
      f'{seconds:.3g} s an update: about {hours:.3g} h of updates are left, plus the time of the '
      f'environments.{hint}')


def _replay_gigabytes(config, agent):
  most = config.steps
  if config.offline:  # all of the other run, however long this one is
    most = episodes.count_frames(config_lib.expand(config.offline) / 'episodes', config_lib.repeats(config))
  frames = min(most, config.replay_capacity or most)
  row = sum(
      int(np.prod(space.shape)) * space.dtype.itemsize for space in agent.obs_space.values())
  return frames / config.action_repeat * row / 1e9
