"""Atari frames a second through our wrapper, against those of the bare emulator."""
import statistics
import time

import numpy as np

from common import config as config_lib
from common import envs
from common.config import UserError

PASSES = 5


def measure(config, decisions):
  """Play random actions with and without the wrapper, in turns, in one emulator.

  Args:
    config: Config of a task of the suite atari.
    decisions: of each turn.
  Returns:
    List of one dict of task, wrapper and bare (raw frames per second, medians) and share (of the former in the
    latter, the median over pairs of neighbours).
  Raises:
    UserError: a task of another suite.
  """
  if config_lib.suite(config.task) != 'atari':
    raise UserError(f'emulator: {config.task} is no game of Atari. Pass --task atari_GAME, such as atari_pong.')
  env = envs.make(config, mode='eval')
  game = env
  while hasattr(game, 'env'):
    game = game.env
  rng = np.random.default_rng(config.seed)
  wrapped, bare = [], []
  env.reset(config.seed)
  for _ in range(PASSES + 1):
    # The first pass is not counted.
    wrapped.append(_rate(lambda: _step(env, rng), decisions, config.action_repeat))
    bare.append(_rate(
        lambda: game.bare_step(rng.integers(env.act_space.n)), decisions, config.action_repeat))
  return [dict(
      task=config.task, wrapper=statistics.median(wrapped[1:]), bare=statistics.median(bare[1:]),
      share=statistics.median(a / b for a, b in zip(wrapped[1:], bare[1:])))]


def _step(env, rng):
  action = np.zeros(env.act_space.n, np.float32)
  action[rng.integers(env.act_space.n)] = 1
  if env.step(action)[2]:
    env.reset()


def _rate(step, decisions, repeat):
  started = time.perf_counter()
  for _ in range(decisions):
    step()
  return decisions * repeat / (time.perf_counter() - started)
