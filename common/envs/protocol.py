"""How environments are called: those of Gymnasium, of Gym before 0.26, and in our protocol."""
import inspect

import numpy as np

LIMIT = 'TimeLimit.truncated'  # in info, of Gym before 0.26
LIBRARIES = ('gymnasium.', 'gym.')  # modules of their wrappers


class Modern:
  """An environment of Gymnasium or Gym of any version, called as those of today.

  Before Gym 0.26 `reset` took no seed and returned the observation alone, and `step` returned four
  values. Such an environment is seeded by its method `seed` if it has one.

  Attributes:
    env: the environment, whose other attributes are those of this one.
    alone: whether `reset` has returned the observation alone.
  """

  def __init__(self, env, reset=True, step=True):
    """Take over an environment; one of the methods may stay as it is, for who calls it as such."""
    self.env, self.alone = env, False
    self._seeded = takes_through(env, 'seed')
    if not reset:
      self.reset = env.reset
    if not step:
      self.step = env.step

  def __getattr__(self, name):
    if name == 'env':  # not there yet
      raise AttributeError(name)
    return getattr(self.env, name)

  def __setattr__(self, name, value):
    own = name in ('env', 'alone', '_seeded', 'reset', 'step')
    object.__setattr__(self if own else self.env, name, value)

  def reset(self, *, seed=None, options=None):
    """Begin an episode; returns (obs, info)."""
    more = {} if options is None else {'options': options}
    result = self.env.reset(seed=seed, **more) if self._seeded else reset_plain(self.env, seed)
    if is_pair(result):
      return result
    self.alone = True
    return result, {}

  def step(self, action):
    """Take an action; returns (obs, reward, terminated, truncated, info)."""
    result = self.env.step(action)
    return *ended(result), result[-1]

  def render(self):
    """Return what it draws; before Gym 0.26 the mode was said here."""
    plain = getattr(self.env, 'unwrapped', self.env)  # the wrappers of Gym take any keyword
    if not takes(plain.render, 'mode'):
      return self.env.render()
    return (self.env if takes(self.env.render, 'mode') else plain).render(mode='rgb_array')


class Caller:
  """Calls an environment of Gymnasium or Gym in the way that it understands.

  Attributes:
    notes: sentences for people.
  """

  def __init__(self, env):
    env, below = modernize(env)
    self._env = env if _of_library(env, 'reset', 'step') else Modern(env)
    self.notes = _old_notes(below.env if below else env, bool(below))

  def reset(self, seed):
    """Begin an episode; returns the observation."""
    return self._env.reset(seed=seed)[0]

  def step(self, action):
    """Take an action; returns (obs, reward, terminated, truncated)."""
    return ended(self._env.step(action))

  def render(self):
    """Return what it draws."""
    return self._env.render()

  def close(self):
    """Close the environment, if it can be closed."""
    if hasattr(self._env, 'close'):
      self._env.close()


class Own:
  """An environment in the protocol of `wrappers`, with the freedom that its authors take.

  `reset` may take its seed by keyword alone or not at all, and `info` may tell a limit of time as
  Gym did, by TimeLimit.truncated, in place of `discount`.
  """

  def __init__(self, env, act_space):
    """act_space: that of the environment, as one of Gymnasium."""
    self._env = env
    self.obs_space, self.act_space = env.obs_space, act_space
    self._reset, seeded = own_reset(env)
    self.notes = []
    if not (seeded or _has(env, 'seed')):
      self.notes = [f'{type(env).__name__} cannot be seeded, so runs cannot be repeated']
    # The two halves of a costly step, unless a method of that name means something else.
    if _has(env, 'observe') and _has(env, 'advance') and takes_any(env.advance):
      self.advance, self.observe = self._advance, env.observe

  def reset(self, seed=None):
    """Begin an episode and return its first observation."""
    result = self._reset(seed)
    return result[0] if is_pair(result) else result

  def step(self, action):
    """Take one action and return (obs, reward, done, info)."""
    result = self._env.step(action)
    obs, reward, terminated, truncated = ended(result)
    info = _with_discount(terminated, truncated, result[-1], stated=len(result) == 5)
    return obs, reward, terminated or truncated, info

  def _advance(self, action):
    result = self._env.advance(action)
    if not isinstance(result, tuple) or len(result) != 3:
      raise ValueError(
          f'advance returned {result!r}, expected (reward, done, info): advance and observe are the two '
          'halves of step. Rename them if they are something else')
    _, reward, terminated, truncated = ended((None, *result))
    return reward, terminated or truncated, _with_discount(terminated, truncated, result[-1])

  def close(self):
    """Close the environment, if it can be closed."""
    if hasattr(self._env, 'close'):
      self._env.close()


def longest(env):
  """Steps after which a library ends an environment's episodes; 0 if it does not."""
  found = [getattr(getattr(env, 'spec', None), 'max_episode_steps', None)]
  while env is not None:
    found.append(getattr(env, '__dict__', {}).get('_max_episode_steps'))  # of a wrapper TimeLimit
    env = getattr(env, '__dict__', {}).get('env')
  return min((int(x) for x in found if isinstance(x, (int, float)) and 0 < x < np.inf), default=0)


def cut_short(task, own, limit):
  """A list with a sentence for people, if time_limit ends episodes before they may be over.

  Args:
    task: its name.
    own: frames after which they are over elsewhere.
    limit: time_limit, frames.
  """
  if own <= limit:
    return []
  return [
      f'{task} is played for up to {own:,} frames elsewhere, but time_limit ends episodes, those of '
      f'evaluations too, after {limit:,}. For comparable returns begin a run with --time_limit {own}']


def _has(env, method):
  return callable(getattr(env, method, None))


def _with_discount(terminated, truncated, info, stated=False):
  """Info with a `discount`, where a limit of time or, if `stated`, a real end or none was told."""
  return {'discount': np.float32(not terminated), **info} if stated or truncated else info


def own_reset(env):
  """How an environment in the protocol of `wrappers` is reset.

  Returns:
    (function of a seed that resets it, whether `reset` takes the seed).
  """
  if takes(env.reset, 'seed'):
    return lambda seed: env.reset(seed=seed), True
  if _takes_seed_first(env.reset):
    return lambda seed: env.reset(seed), True
  return lambda seed: reset_plain(env, seed), False


def _takes_seed_first(function):
  """Whether the first argument is the seed: it says so, or has to be given and cannot be left out."""
  try:
    parameters = inspect.signature(function).parameters.values()
  except (TypeError, ValueError):  # not written in Python
    return True
  first = next((x for x in parameters if x.kind not in (x.KEYWORD_ONLY, x.VAR_KEYWORD)), None)
  return first is not None and (
      'seed' in first.name or first.default is first.empty)


def takes_any(function):
  """Whether a function has a positional argument."""
  try:
    parameters = inspect.signature(function).parameters.values()
  except (TypeError, ValueError):  # not written in Python
    return True
  return any(x.kind not in (x.KEYWORD_ONLY, x.VAR_KEYWORD) for x in parameters)


def takes(function, name):
  """Whether a function has an argument of a name, or any."""
  try:
    parameters = inspect.signature(function).parameters
  except (TypeError, ValueError):  # not written in Python
    return True
  return name in parameters or any(x.kind == x.VAR_KEYWORD for x in parameters.values())


def takes_through(env, name):
  """Whether `reset` takes a keyword; where a wrapper passes them on, what it is around decides."""
  if not takes(env.reset, name):
    return False
  try:
    named = name in inspect.signature(env.reset).parameters
  except (TypeError, ValueError):  # not written in Python
    named = True
  return named or not _is_wrapper(env) or takes_through(env.env, name)


def reset_plain(env, seed):
  """Reset an environment whose `reset` takes no seed."""
  seeded = _seeded_by_method(env)
  if seed is not None and seeded is not None:
    seeded.seed(seed)
  return env.reset()


def _seeded_by_method(env):
  """What has a method `seed`: an environment, or what its wrappers are around; or None."""
  while env is not None and not _has(env, 'seed'):
    env = getattr(env, 'env', None)
  return env


def modernize(env):
  """Let the wrappers of a library call what they are around, whatever its version.

  Those of the user's are that, too, as far as they inherit `reset` or `step`, and what is below is
  old. Gym's own checker is left out: it changes nothing, and fails on NumPy 2.

  Returns:
    (env, the innermost Modern, or None if no wrapper of a library is there).
  """
  env, found = _unchecked(env), None
  layer = env
  while _is_wrapper(layer):
    below = layer.env = _unchecked(layer.env)
    if calls := _modern_calls(layer):
      if not isinstance(below, Modern):
        layer.env = Modern(below, **{name: name in calls for name in ('reset', 'step')})
      found = layer.env
    layer = layer.env.env if isinstance(layer.env, Modern) else layer.env
  return env, found


def _unchecked(env):
  """What is below Gym's checkers on top of an environment."""
  while _of_library(env, 'step') and type(env).__name__ == 'PassiveEnvChecker':
    env = env.env
  return env


def _modern_calls(wrapper):
  """Methods that a wrapper calls below it in Gymnasium's form, where that may not be understood."""
  calls = [name for name in ('reset', 'step') if _of_library(wrapper, name)]
  own = not type(wrapper).__module__.startswith(LIBRARIES)  # of the user, who may look below it
  understood = _of_library(wrapper.env, 'reset', 'step') or (own and _is_modern(wrapper.env))
  return [] if understood else calls


def _of_library(env, *names):
  """Whether an environment is a wrapper whose methods of these names are those of a library."""
  return _is_wrapper(env) and all(
      (getattr(getattr(type(env), name, None), '__module__', None) or '').startswith(LIBRARIES)
      for name in names)


def _is_modern(env):
  """Whether `reset` takes what Gymnasium tells it."""
  return all(takes_through(env, name) for name in ('seed', 'options'))


def _is_wrapper(env):
  return hasattr(env, 'env') and any(kind.__name__ == 'Wrapper' for kind in type(env).__mro__)


def _old_notes(plain, wrapped):
  """Sentences for people on an environment whose `reset` has the form of before Gym 0.26.

  wrapped: by a library, which would tell it options.
  """
  if takes_through(plain, 'seed') and not (wrapped and not takes_through(plain, 'options')):
    return []
  seeded = ''
  if not takes_through(plain, 'seed'):
    seeded = '; it is seeded by its method seed' if _seeded_by_method(plain) is not None else (
        '; it cannot be seeded, so runs cannot be repeated')
  return [f'{type(plain).__name__} has the interface of Gym before 0.26{seeded}']


def is_pair(result):
  """Whether `reset` returned (obs, info), not the observation alone."""
  return isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict)


def ended(result):
  """(obs, reward, terminated, truncated) of what `step` returned, five values or four.

  Raises:
    ValueError: neither, or ends are told in words, which all would be true.
  """
  count = len(result) if isinstance(result, tuple) else 0
  if any(isinstance(end, (str, bytes)) for end in (result[2:-1] if count else ())):
    raise ValueError(f'step returned {result[2:-1]} for the end of an episode, expected True or False')
  if count == 5:
    return result[:4]
  if count != 4:
    raise ValueError(
        f'step returned {count or type(result).__name__} values, expected (obs, reward, done, info), or '
        'Gymnasium\'s (obs, reward, terminated, truncated, info)')
  obs, reward, done, info = result
  limit = bool(done and info.get(LIMIT, False))
  return obs, reward, bool(done and not limit), limit
