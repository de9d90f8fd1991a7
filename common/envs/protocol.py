"""How environments are called: those of Gymnasium, of Gym before 0.26, and in our protocol."""
import inspect

import numpy as np

LIMIT = 'TimeLimit.truncated'  # in info, of Gym before 0.26
LIBRARY = ('gymnasium.wrappers', 'gym.wrappers')


class Caller:
  """Calls an environment of Gymnasium or Gym in the way that it understands.

  Before Gym 0.26 `reset` took no seed and returned the observation alone, and `step` returned four
  values. Such an environment is seeded by its method `seed` if it has one. Wrappers that its library
  put around it would call it in the new way, so they are left out, but for the limit of time.

  Attributes:
    notes: sentences for people.
  """

  def __init__(self, env):
    self._env, self._plain = env, below_library(env)
    self._seeded, self._limit, self._count, self.notes = True, None, None, []
    if is_old(env):
      self._seeded = takes(self._plain.reset, 'seed')
      self._take_plain()

  def _take_plain(self):
    """Leave out the wrappers of the library, but for the limit of time."""
    plain, spec = self._plain, getattr(self._env, 'spec', None)
    self._env, self._limit = plain, getattr(spec, 'max_episode_steps', None)
    seeded = ''
    if not self._seeded:
      seeded = '; it is seeded by its method seed' if hasattr(plain, 'seed') else (
          '; it cannot be seeded, so runs cannot be repeated')
    self.notes = [f'{type(plain).__name__} has the interface of Gym before 0.26{seeded}']

  def reset(self, seed):
    """Begin an episode; returns the observation."""
    self._count = 0
    result = self._env.reset(seed=seed) if self._seeded else reset_plain(self._env, seed)
    if not is_pair(result):
      if not self.notes:
        self._take_plain()
      return result
    return result[0]

  def step(self, action):
    """Take an action; returns (obs, reward, terminated, truncated)."""
    obs, reward, terminated, truncated = ended(self._env.step(action))
    self._count += 1
    if self._limit and self._count >= self._limit and not terminated:
      truncated = True
    return obs, reward, terminated, truncated

  def render(self):
    """Return what it draws; before Gym 0.26 the mode was said here."""
    plain = getattr(self._env, 'unwrapped', self._env)  # the wrappers of Gym take any keyword
    return self._env.render(mode='rgb_array') if takes(plain.render, 'mode') else self._env.render()

  def close(self):
    """Close the environment."""
    self._env.close()


class Own:
  """An environment in the protocol of `wrappers`, with the freedom that its authors take.

  `reset` may take its seed by keyword alone or not at all, and `info` may tell a limit of time as
  Gym did, by TimeLimit.truncated, in place of `discount`.
  """

  def __init__(self, env):
    self._env = env
    self.obs_space, self.act_space = env.obs_space, env.act_space
    self._seeded = takes(env.reset, 'seed')
    self._takes_one = self._seeded or takes_any(env.reset)
    self.notes = []
    if not (self._takes_one or hasattr(env, 'seed')):
      self.notes = [f'{type(env).__name__} cannot be seeded, so runs cannot be repeated']
    if hasattr(env, 'advance') and hasattr(env, 'observe'):  # the two halves of a costly step
      self.advance, self.observe = self._advance, env.observe

  def reset(self, seed=None):
    """Begin an episode and return its first observation."""
    if self._seeded:
      result = self._env.reset(seed=seed)
    else:
      result = self._env.reset(seed) if self._takes_one else reset_plain(self._env, seed)
    return result[0] if is_pair(result) else result

  def step(self, action):
    """Take one action and return (obs, reward, done, info)."""
    obs, reward, done, info = self._env.step(action)
    return obs, reward, done, _with_discount(done, info)

  def _advance(self, action):
    reward, done, info = self._env.advance(action)
    return reward, done, _with_discount(done, info)

  def close(self):
    """Close the environment, if it can be closed."""
    if hasattr(self._env, 'close'):
      self._env.close()


def _with_discount(done, info):
  """Info that tells a limit of time as our protocol does."""
  limit = done and info.get(LIMIT) and 'discount' not in info
  return {**info, 'discount': np.float32(1)} if limit else info


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


def reset_plain(env, seed):
  """Reset an environment whose `reset` takes no seed."""
  if seed is not None and hasattr(env, 'seed'):
    env.seed(seed)
  return env.reset()


def below_library(env):
  """An environment without the wrappers that its library put around it; users' own ones stay."""
  while type(env).__module__.startswith(LIBRARY) and hasattr(env, 'env'):
    env = env.env
  return env


def is_old(env):
  """Whether the wrappers that a library put around an environment cannot call its `reset`."""
  plain = below_library(env)
  return not takes(plain.reset, 'seed') or plain is not env and not takes(plain.reset, 'options')


def is_pair(result):
  """Whether `reset` returned (obs, info), not the observation alone."""
  return isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict)


def ended(result):
  """(obs, reward, terminated, truncated) of what `step` returned, five values or four.

  Raises:
    ValueError: neither.
  """
  count = len(result) if isinstance(result, tuple) else 0
  if count == 5:
    return result[:4]
  if count != 4:
    raise ValueError(
        f'step returned {count or type(result).__name__} values, expected (obs, reward, '
        'terminated, truncated, info)')
  obs, reward, done, info = result
  limit = bool(done and info.get(LIMIT, False))
  return obs, reward, bool(done and not limit), limit
