"""Runs that others begin from: their episodes alone (`offline`), or all of them (`source`).

Nothing in the directory of the other run is ever changed. Nothing here imports TensorFlow.
"""
import fcntl
import os
import pathlib
import shutil

import numpy as np

from common import config as config_lib
from common.config import UserError
from common.config.options import FREE_TO_CHANGE
from common.data import episodes

TASK_FRAMES = 150_000  # of the task after the exploration, in the paper

# What may differ from a run that is continued by `source`, besides what may at any restart.
PROTOCOL = ('source', 'expl_until', 'expl_freeze', 'adapt_heads', 'seed', 'prefill', 'pretrain')

# What makes the pictures and decisions of episodes what they are, besides their shapes.
SEEN = ('action_repeat', 'tasks', 'camera', 'atari_resize')

# What makes a world model what it is, besides the sizes that other keys give its layers.
MODEL = (
    'latent_model', 'latent', 'stoch_size', 'stoch_classes', 'deter_size', 'rssm_hidden',
    'rssm_layers', 'rssm_act', 'rssm_gru', 'rssm_min_std', 'rssm_std_act', 'rssm_ensemble',
    'rssm_split_heads', 'future_rnn', 'mean_only', 'first_action', 'cnn_depth', 'cnn_act',
    'image_background', 'dense_act', 'mlp_layers', 'mlp_units', 'norm', 'image_bits', 'obs_loss')


def check(config):
  """Refuse a run to begin from that is missing, empty or made with other settings.

  Raises:
    UserError: with the difference.
  """
  target = pathlib.Path(config.logdir)
  for key in ('offline', 'source'):
    # A copy that is complete needs its source no more.
    if not config.get(key) or (key == 'source' and os.path.exists(target / 'checkpoint')):
      continue
    path = config_lib.expand(config[key])
    if not os.path.exists(path / 'config.yaml'):
      raise UserError(
          f'--{key} {path}: holds no run (config.yaml is missing or out of reach). Pass the --logdir of '
          'one.')
    there = os.path.isdir(path / 'episodes') and os.access(path / 'episodes', os.R_OK)
    if not there or not episodes.named(path / 'episodes'):
      raise UserError(f'--{key} {path}: has no episodes. Pass the --logdir of a run that has.')
    if path.resolve() in (target.resolve(), *target.resolve().parents):
      raise UserError(
          f'--{key} {path}: holds the --logdir {target}, and is not to be changed. Pass another '
          '--logdir.')
    if (key == 'source' or config.get('snapshot')) and not list(
        (path / 'checkpoint').glob('*.index')):
      raise UserError(f'--{key} {path}: has no checkpoint. Pass the --logdir of a longer run.')
    if key == 'source':
      if held(path):
        raise UserError(
            f'--source {path}: another process is training there, and what it saves meanwhile would '
            'not fit together. Wait for it, or stop it.')
      _check_settings(path, config)
      _check_frames(path, config)


def held(path):
  """Whether a process trains in a directory. A free lock is given back at once."""
  try:
    with (pathlib.Path(path) / '.lock').open() as lock:
      fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
  except BlockingIOError:
    return True
  except OSError:  # no run yet, or a file system of which the run itself will tell
    return False
  return False


def _check_settings(path, config):
  old = config_lib.filled({'agent': config.agent, **config_lib.read(path / 'config.yaml')})
  keys = [key for key in config if key not in FREE_TO_CHANGE + PROTOCOL]
  if old.get('agent') != config.agent:
    keys = ['agent']
  lines = config_lib.difference(old, config, keys)
  if lines:
    raise UserError(
        f'--source {path}: was made with other settings ({"; ".join(lines)}), so its weights do '
        'not fit. Pass the same ones.')


def _check_frames(path, config):
  count = episodes.count_frames(path / 'episodes', config_lib.repeats(config))
  if count >= config.steps:
    raise UserError(
        f'--source {path}: has explored for {count} frames, which --steps counts, too, and '
        f'{config.steps} leave none for the task. Pass --steps {count + TASK_FRAMES} or another '
        f'number above {count}.')


def frames(config, updates):
  """Frames after which an offline run would have made so many updates: its `step`."""
  return updates * config.train_every // config.train_steps


def check_spaces(config, source, obs_space, act_space):
  """Refuse an offline run whose episodes look different from what the task's environment gives.

  Args:
    config: Config of this run.
    source: (config, obs_space, act_space) of the other.
    obs_space, act_space: those of the environment.
  Returns:
    Name of the stored rewards to serve, or None for those of the run's own task.
  Raises:
    UserError: with the difference.
  """
  path = config_lib.expand(config.offline)
  old, obs, act = source
  model = MODEL if config.get('snapshot') else ()
  lines = config_lib.difference(old, config, [*SEEN, *model])
  lines += space_differences(obs, act, obs_space, act_space, 'there', 'here')
  if lines:
    raise UserError(
        f'--offline {path}: its episodes do not fit ({"; ".join(lines)}). '
        'Pass the settings of that run, or another directory.')
  read = (episodes.read(file, name[2])[0] for file, name in reversed(episodes.named(path / 'episodes')))
  data = next(filter(None, read), {})  # of the newest that can be read
  tasks = [task for task, _ in config_lib.eval_tasks(config) if task != old.task]
  for task in [] if config.tasks else tasks:
    if f'reward/{task}' not in data:
      raise UserError(
          f'--offline {path}: is a run of {old.task} and has no rewards of {task} beside its '
          f'episodes. Pass --task {old.task}, and no zero_shot_tasks.')
  if not config.get('seed_episode_rewards', True) and 'reward_mask' not in data:
    raise UserError(
        f'--offline {path}: does not tell which rewards are of its prefill. '
        'Pass --seed_episode_rewards True.')
  return None if old.task == config.task or config.tasks else f'reward/{config.task}'


def check_world(path, obs_space, act_space, old):
  """Refuse an environment that has changed since a run began.

  Args:
    path: directory of the run.
    obs_space, act_space: of the environment.
    old: (obs_space, act_space) with which the run was made.
  Raises:
    UserError: with the difference.
  """
  lines = space_differences(*old, obs_space, act_space, 'in the run', 'now')
  if lines:
    raise UserError(
        f'{path}: the environment is another one than that of the run: {"; ".join(lines)}. Bring '
        'the old one back, or pass another --logdir.')


def space_differences(old_obs, old_act, obs_space, act_space, there, here):
  """Words for each observation and for the actions that differ between two environments."""
  shape = lambda space: 'missing' if space is None else (
      f'{"image" if space.dtype == np.uint8 else "vector"} {list(space.shape)}')
  lines = [
      f'{key} is {shape(old_obs.get(key))} {there}, {shape(obs_space.get(key))} {here}'
      for key in sorted({*old_obs, *obs_space}) if shape(old_obs.get(key)) != shape(obs_space.get(key))]
  form = lambda space: f'{"one of" if hasattr(space, "n") else "continuous"} {space.shape[0]}'
  if form(old_act) != form(act_space):
    lines.append(f'actions are {form(old_act)} {there}, {form(act_space)} {here}')
  return lines


def continue_from(config, logdir):
  """Copy checkpoint and episodes of config.source into a directory that has no checkpoint yet."""
  target = pathlib.Path(logdir)
  if (target / 'checkpoint').exists():
    return
  path = config_lib.expand(config.source)
  if any(target.glob('episodes/*')) and not (target / '.checkpoint').exists():
    raise UserError(
        f'{target}: has episodes but no checkpoint, so it is not a copy that was interrupted. '
        'Pass another --logdir.')
  try:
    for name in ('episodes', 'checkpoint'):
      shutil.rmtree(target / f'.{name}', ignore_errors=True)
      shutil.copytree(path / name, target / f'.{name}')
    # The checkpoint comes last: with it the copy is whole.
    shutil.rmtree(target / 'episodes', ignore_errors=True)
    for name in ('episodes', 'checkpoint'):
      os.replace(target / f'.{name}', target / name)
  except OSError as error:
    raise UserError(
        f'{target}: {path} cannot be copied there ({error.strerror or error}). Mend that, '
        'then start the same command again.') from None
