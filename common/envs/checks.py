"""Faults that environments have in practice, each found by a short check."""
import contextlib
import traceback

import numpy as np

from common.config import UserError
from common.envs import values

LARGE = 1024  # entries of a float array that is more likely a picture than a vector


class Report:
  """Faults and notes by kind: the first of each in words, and how often it came.

  Attributes:
    faults, notes: dict of kind to [sentence, count].
  """

  def __init__(self):
    self.faults, self.notes = {}, {}

  def fault(self, kind, text):
    """Count a fault; text says where, what was found, what is expected."""
    self.faults.setdefault(kind, [text, 0])[1] += 1

  def note(self, kind, text):
    """Count something that works but may surprise."""
    self.notes.setdefault(kind, [text, 0])[1] += 1

  @contextlib.contextmanager
  def guard(self, where):
    """Turn what is raised inside into a fault, with the traceback of the user's code."""
    try:
      yield
    except UserError as error:
      self.fault(f'refused: {where}', str(error))
    except Exception as error:  # whatever the environment raises
      trace = traceback.format_exc().rstrip().replace('\n', '\n    ')
      self.fault(f'raised: {where}', f'{where} raised {type(error).__name__}.\n    {trace}')

  def lines(self):
    """The report for people."""
    for word, found in (('fault', self.faults), ('note', self.notes)):
      for text, count in found.values():
        yield f'{word}: {text}' + (f' ({count} times)' if count > 1 else '')


class Raw:
  """An environment of either protocol, Gymnasium's or that of `wrappers`, as one."""

  def __init__(self, env):
    """Raises UserError if it is neither."""
    self._env = env
    self.own = hasattr(env, 'obs_space') and hasattr(env, 'act_space')
    if not self.own and not (hasattr(env, 'observation_space') and hasattr(env, 'action_space')):
      raise UserError(
          f'the function returned {type(env).__name__}, which is no environment. Expected one of '
          'Gymnasium or Gym, or one with obs_space, act_space, reset, step and close.')
    self.parts = ('obs', 'reward', 'done', 'info') if self.own else (
        'obs', 'reward', 'terminated', 'truncated', 'info')
    self.plain = None  # the name of the only observation, if it comes without a dict

  @property
  def obs_space(self):
    """The declared space or dict of spaces of observations."""
    return self._env.obs_space if self.own else self._env.observation_space

  @property
  def act_space(self):
    """The declared space of actions."""
    return self._env.act_space if self.own else self._env.action_space

  def reset(self, seed):
    """Returns (obs, problem): problem is a sentence, or None."""
    result = self._env.reset(seed=seed)
    if self.own:
      return result, None
    if not (isinstance(result, tuple) and len(result) == 2):
      return None, (
          f'reset returned {type(result).__name__}, expected the pair (obs, info)')
    return result[0], None

  def step(self, action):
    """Returns what the environment does."""
    return self._env.step(action)

  def close(self):
    """Close the environment."""
    self._env.close()


def check_spaces(env, report):
  """Name what is wrong with the declared spaces; sets `env.spaces`, dict of name to space."""
  space = env.obs_space
  kinds = {cls.__name__ for cls in type(space).__mro__}
  if env.own and not isinstance(space, dict):
    report.fault('obs_space', f'obs_space is {space}, expected a dict of name to gymnasium Box')
    return
  if not env.own and 'Dict' not in kinds:
    image = getattr(space, 'dtype', None) == np.uint8 and len(space.shape or ()) == 3
    env.plain = 'image' if image else 'vector'
    space = {env.plain: space}
  env.spaces = flatten(space)
  for key, part in env.spaces.items():
    _check_obs_space(key, part, report)
  _check_act_space(env.act_space, report)


def _check_obs_space(key, space, report):
  kinds = {cls.__name__ for cls in type(space).__mro__}
  if 'Discrete' in kinds:
    return
  if 'Box' not in kinds:
    report.fault(f'space {key}', f'{key}: the space {space} is not supported, expected Box')
    return
  shape, where = tuple(space.shape), f'{key}: declared {space.dtype} {list(space.shape)}'
  floats = np.issubdtype(space.dtype, np.floating)
  if floats and len(shape) in (2, 3) and np.prod(shape) >= LARGE:
    report.fault(
        f'float image {key}', f'{where} looks like an image in floats, and would be taken for a '
        f'vector of {np.prod(shape):,} entries. Give it as uint8 from 0 to 255')
  elif space.dtype == np.uint8 and len(shape) == 2 and np.prod(shape) >= LARGE:
    report.fault(
        f'no channels {key}', f'{where} looks like an image without channels. Give it as '
        f'[{shape[0]}, {shape[1]}, 1]')
  elif space.dtype == np.uint8 and len(shape) == 3 and shape[0] in (1, 3, 4) and (
      shape[2] not in (1, 3, 4)):
    report.fault(
        f'channels first {key}', f'{where} has its channels first. Give images as '
        '[height, width, channels]')
  if space.dtype == object or not np.prod(shape):
    report.fault(f'space {key}', f'{where} holds no numbers')


def _check_act_space(space, report):
  kinds = {cls.__name__ for cls in type(space).__mro__}
  if 'Discrete' in kinds:
    return
  if 'Box' not in kinds:
    report.fault('act_space', f'the action space {space} is not supported, expected Box or Discrete')
  elif not values.bounded(space):
    report.fault(
        'action bounds', f'the action space {space} has no finite bounds, so actions cannot be '
        f'scaled to it. Declare low and high within {values.WIDEST:g}')
  elif np.any(np.asarray(space.low) >= np.asarray(space.high)):
    report.fault('action bounds', f'the action space {space} has low >= high')


class Player:
  """Plays episodes of random actions and looks at everything that comes back."""

  def __init__(self, env, report, seed):
    self._env, self._report, self._seed = env, report, seed
    self._env.act_space.seed(seed)
    self._kept = None  # the last observation and a copy of it

  def play(self, episodes, steps):
    """Returns the list of (length, return) of the episodes that could be played."""
    played = []
    for number in range(episodes):
      with self._report.guard('an episode'):
        result = self._episode(number, steps)
        if result:
          played.append(result)
    lengths = [length for length, _ in played]
    if len(lengths) > 1 and lengths[0] > 1 and set(lengths[1:]) == {1}:
      self._report.fault(
          'no new episode', f'the first episode had {lengths[0]} steps, all later ones end at '
          'their first: reset does not begin a new one')
    return played

  def _episode(self, number, steps):
    obs, problem = self._env.reset(self._seed + number)
    where = f'reset {number + 1}'
    if problem:
      self._report.fault('reset', f'{problem}')
      return None
    self._kept = None
    self._look(obs, where)
    total = 0.0
    for t in range(1, steps + 1):
      where = f'step {t} of episode {number + 1}'
      result = self._step(where)
      if result is None:
        return None
      reward, over = result
      total += reward
      if over:
        return t, total
    self._report.note(
        'endless', f'no end within {steps} steps, so only time_limit ends episodes')
    return steps, total

  def _step(self, where):
    """Take a random action; returns (reward, over), or None if one cannot go on."""
    report, parts = self._report, self._env.parts
    action = self._env.act_space.sample()
    given = np.array(action)
    result = self._env.step(action)
    if not np.array_equal(given, action):
      report.fault('action changed', f'{where}: step changed the array of the action. Copy it first')
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
    elif self._env.own and not 0 <= np.min(info.get('discount', 1)) <= 1:
      self._report.fault(
          'discount', f'{where}: the discount in info is {info["discount"]}, expected 0 to 1')

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
    for word, keys in (
        ('lacks', env.spaces.keys() - obs.keys()), ('has undeclared', obs.keys() - env.spaces.keys())):
      for key in sorted(keys):
        report.fault(f'{word} {key}', f'{where}: the observation {word} {key}')
    for key in sorted(env.spaces.keys() & obs.keys()):
      _compare(key, obs[key], env.spaces[key], where, report)
    self._kept = {
        key: (value, value.copy()) for key, value in obs.items() if isinstance(value, np.ndarray)}


def _compare(key, value, space, where, report):
  """Compare one entry of an observation with its space."""
  if 'Discrete' in {cls.__name__ for cls in type(space).__mro__}:
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


def check_seed(env, report, seed):
  """Note where the same seed gives different first observations."""
  with report.guard('reset with a seed'):
    first, second = (
        {key: np.array(value) for key, value in flatten(_as_dict(env, env.reset(seed)[0])).items()}
        for _ in range(2))
    for key in sorted(first.keys() & second.keys()):
      if not np.array_equal(first[key], second[key]):
        report.note(
            'seed', f'{key} differs between two resets with the same seed, so runs cannot be '
            'repeated')
        return


def _as_dict(env, obs):
  if env.plain:
    return {env.plain: obs}
  return obs if isinstance(obs, dict) else {}


def flatten(tree, prefix=''):
  """A nested dict or Dict space as a flat dict, names joined by '/'."""
  tree = getattr(tree, 'spaces', tree)
  flat = {}
  for name, part in tree.items():
    if isinstance(part, dict) or hasattr(part, 'spaces') and isinstance(part.spaces, dict):
      flat.update(flatten(part, f'{prefix}{name}/'))
    else:
      flat[f'{prefix}{name}'] = part
  return flat
