"""Episodes of random actions, and what is wrong with what comes back."""
import math
import time

import numpy as np

from common import config as config_lib
from common import envs
from common.envs import values
from common.envs import wrappers
from common.envs.checks import flatten


class Player:
  """Plays episodes of random actions and looks at everything that comes back."""

  def __init__(self, env, report, seed):
    self._env, self._report, self._seed = env, report, seed
    self._env.act_space.seed(seed)
    self._kept = None  # the last observation and a copy of it
    self._sizes = {}   # key of a vector -> largest absolute value of each entry

  def play(self, episodes, steps):
    """Returns the list of (length, return) of the episodes that could be played."""
    played = []
    for number in range(episodes):
      with self._report.guard('an episode'):
        result = self._episode(number, steps)
        if result:
          played.append(result)
    self._look_at_sizes()
    lengths = [length for length, _ in played]
    if len(lengths) > 1 and lengths[0] > 1 and set(lengths[1:]) == {1}:
      self._report.fault(
          'no new episode', f'the first episode had {lengths[0]} steps, all later ones end at '
          'their first: reset does not begin a new one')
    return played

  def _measure(self, key, value):
    array = np.asarray(value)
    if array.ndim == 1 and array.dtype.kind in 'if' and np.isfinite(array).all():
      size = np.abs(array.astype(np.float64))
      before = self._sizes.get(key, size)
      self._sizes[key] = np.maximum(before, size) if before.shape == size.shape else size

  def _look_at_sizes(self):
    for key, sizes in self._sizes.items():
      text = values.far_apart(key, sizes)
      if text:
        self._report.note(f'scale {key}', text)

  def _episode(self, number, steps):
    obs, old = self._env.reset(self._seed + number)
    where = f'reset {number + 1}'
    if old:
      self._report.note(
          'old', f'{where} returned the observation alone, as before Gym 0.26, where training '
          'understands it: return (obs, info)')
    self._kept = None
    self._look(obs, where)
    total = 0.0
    ends = self._ends() if not number else []
    for t in range(1, steps + 1):
      where = f'step {t} of episode {number + 1}'
      result = self._step(where, ends.pop() if ends else self._env.act_space.sample())
      if result is None:
        return None
      reward, over = result
      total += reward
      if over:
        return t, total
    self._report.note(
        'endless', f'no end within {steps:,} steps: what does not end by itself is ended by time_limit')
    return steps, total

  def _ends(self):
    """The lowest and the highest actions, which random ones hardly reach."""
    space = self._env.act_space
    return [space.low.copy(), space.high.copy()] if hasattr(space, 'low') else []

  def _step(self, where, action):
    """Take an action; returns (reward, over), or None if one cannot go on."""
    report = self._report
    given = np.array(action)
    result = self._env.step(action)
    if not np.array_equal(given, action):
      report.fault('action changed', f'{where}: step changed the array of the action. Copy it first')
    parts = self._env.parts(result)
    if not (isinstance(result, tuple) and len(result) == len(parts)):
      count = len(result) if isinstance(result, tuple) else type(result).__name__
      report.fault('step', f'{where} returned {count} values, expected ({", ".join(parts)})')
      return None
    self._look(result[0], where)
    over = False
    for name, value in zip(parts[2:-1], result[2:-1]):
      if not isinstance(value, (bool, np.bool_)):
        report.fault(
            name, f'{where}: {name} is {value!r} ({type(value).__name__}), expected True or False')
      over = over or bool(np.any(value))
    self._look_at_info(result[-1], where)
    return self._reward(result[1], where), over

  def _reward(self, reward, where):
    report = self._report
    # Training takes an array of one entry, too, which other code may not.
    if not isinstance(reward, (bool, int, float, np.number, np.bool_)):
      report.fault(
          'reward', f'{where}: the reward is {reward!r} ({type(reward).__name__}), expected one '
          'number')
      return 0.0
    if not np.isfinite(reward):
      report.fault('reward not finite', f'{where}: the reward is {reward}')
      return 0.0
    if values.problem({'reward': np.float64(reward)}, 1.0):
      report.fault(
          'reward too large', f'{where}: the reward is {reward:g}, training ends episodes at '
          f'values beyond {values.LARGEST:g}')
    return float(reward)

  def _look_at_info(self, info, where):
    if not isinstance(info, dict):
      self._report.fault('info', f'{where}: info is {type(info).__name__}, expected a dict')
    elif self._env.own and not _is_share(info.get('discount', 1)):
      self._report.fault(
          'discount', f'{where}: the discount in info is {info["discount"]!r}, expected one number '
          'from 0 to 1')

  def _look(self, obs, where):
    """Compare an observation with the declared spaces, and the last one with its copy."""
    env, report = self._env, self._report
    if self._kept is not None:
      for key, (array, copy) in self._kept.items():
        if not np.array_equal(array, copy, equal_nan=copy.dtype.kind == 'f'):
          report.fault(
              f'reused {key}', f'{where} changed the array {key} that was returned before: each '
              'observation has to be an array of its own. Return a copy')
    if env.plain:
      obs = {env.plain: obs}
    if not isinstance(obs, dict):
      report.fault(
          'obs', f'{where}: the observation is {type(obs).__name__}, expected a dict with '
          f'{", ".join(env.spaces)}')
      self._kept = None
      return
    obs = flatten(obs)
    for key in sorted(env.spaces.keys() - obs.keys()):
      report.fault(f'lacks {key}', f'{where}: the observation lacks {key}')
    for key in sorted(key for key in obs.keys() - env.declared if not wrappers.NOT_SEEN.fullmatch(key)):
      report.note(
          f'undeclared {key}', f'{where}: the observation has {key}, which no space declares, so that '
          'it is left out')
    for key in sorted(env.spaces.keys() & obs.keys()):
      _compare(key, obs[key], env.spaces[key], where, report)
      self._measure(key, obs[key])
    self._kept = {
        key: (value, value.copy()) for key, value in obs.items()
        if key in env.spaces and isinstance(value, np.ndarray)}


def _is_share(value):
  value = np.asarray(value)
  return value.size == 1 and value.dtype.kind in 'biuf' and 0 <= value.item() <= 1


def _compare(key, value, space, where, report):
  """Compare one entry of an observation with its space."""
  if 'Discrete' in values.kinds(space):
    if not space.contains(value):
      report.fault(f'value {key}', f'{where}: {key} is {value!r}, which is not in {space}')
    return
  array = np.asarray(value)
  if array.shape != tuple(space.shape):
    report.fault(
        f'shape {key}', f'{where}: {key} has shape {list(array.shape)}, declared is '
        f'{list(space.shape)}')
    return
  if array.dtype != space.dtype:
    report.fault(
        f'dtype {key}', f'{where}: {key} is {array.dtype}, declared is {space.dtype}')
    if array.dtype == object:
      return
  if not np.isfinite(array).all():
    report.fault(f'finite {key}', f'{where}: {key} holds NaN or infinite numbers')
  elif values.problem({key: array}, 1.0):
    report.fault(
        f'large {key}', f'{where}: {key} holds {np.abs(array).max():.4g}, training ends episodes at '
        f'values beyond {values.LARGEST:g}')
  elif np.any(array < space.low) or np.any(array > space.high):
    report.fault(
        f'bounds {key}', f'{where}: {key} is between {array.min():.4g} and {array.max():.4g}, '
        f'declared are {np.min(space.low):.4g} to {np.max(space.high):.4g}')


def decisions(config, length):
  """Decisions of an episode of so many steps of the environment."""
  repeats = config.action_repeat / _frames(config)
  return min(math.ceil(length / repeats), math.ceil(config.time_limit / config.action_repeat))


def steps(config):
  """Steps of the environment until time_limit ends an episode."""
  return math.ceil(config.time_limit / _frames(config))


def _frames(config):
  """Frames in a step of the environment."""
  return config.action_repeat if config_lib.suite(config.task) in envs.REPEATING else 1


def note_short(config, lengths, report):
  """Note how many episodes that came to an end are too short for the sequences of the block gym."""
  short = sum(length + 1 < config.batch_length for length in lengths)
  if short:
    report.note(
        'short', f'{short} of {len(lengths)} episodes have fewer rows than the sequences that are '
        f'learned from ({config.batch_length} rows), and would never be used: pass a smaller '
        '--batch_length')


def summary(config, played):
  """Lines on what the agents will see."""
  env = envs.make(config)
  images = [key for key, space in env.obs_space.items() if len(space.shape) == 3]
  for key, space in env.obs_space.items():
    kind = 'image' if key in images else 'vector'
    yield f'{key}: {kind} {list(space.shape)} for the agent'
  discrete = hasattr(env.act_space, 'n')
  yield f'actions: {"one of" if discrete else "continuous,"} {env.act_space.shape[0]}' + (
      '' if discrete else ' entries')
  started = time.perf_counter()
  env.act_space.seed(config.seed)
  env.reset(config.seed)
  for number in range(1, 201):
    if env.step(env.act_space.sample())[2]:
      env.reset()
    if time.perf_counter() - started > 2:
      break
  speed = number / (time.perf_counter() - started)
  env.close()
  lengths, returns = zip(*played)
  yield (
      f'episodes of random actions: {min(lengths)} to {max(lengths)} decisions, return '
      f'{np.mean(returns):.4g} +- {np.std(returns):.4g}; {speed:,.0f} decisions/s')
