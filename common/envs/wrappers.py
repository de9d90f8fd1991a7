"""Wrappers that bring every environment into the one form that the agents see.

The protocol of an environment, before and after wrapping:

  obs_space: dict of name -> gymnasium Box. Images are uint8 [H, W, C], vectors float32 [n].
  act_space: gymnasium Box, float32 [A]; Discrete is allowed below `OneHotAction` only.
  reset(seed=None) -> obs: dict of arrays as in obs_space.
  step(action) -> (obs, reward, done, info): `info` may hold `discount`, 0 after a real end.
  close()

An environment whose observation is costly also has the two halves of `step`:

  advance(action) -> (reward, done, info)
  observe() -> obs: of the present state.
"""
import copy
import re

import gymnasium
import numpy as np

from common.config import UserError
from common.envs import images
from common.envs import values

# Names of an episode's other arrays, of what agents and metrics add, and of what writes npz.
RESERVED = (
    'action', 'reward', 'reward_mask', 'discount', 'pcont', 'model', 'actor', 'value', 'file', 'allow_pickle')

# What of an observation is stored beside the agent's own: for analysis, or for further tasks.
STORED = re.compile('log_.*|reward/.*')

# What some environments tell the training loop, not the agent: is_terminal is 1 at a real end.
NOT_SEEN = re.compile(f'{STORED.pattern}|is_first|is_last|is_terminal')


class OneHot(gymnasium.spaces.Box):
  """Space of one-hot vectors, float32 [n]. Samples come from its own random generator."""

  def __init__(self, n, seed=None):
    super().__init__(0.0, 1.0, (int(n),), np.float32, seed)
    self.n = int(n)

  def vector(self, number):
    """Return the vector of one class, float32 [n]."""
    vector = np.zeros(self.n, np.float32)
    vector[number] = 1
    return vector

  def sample(self, mask=None, probability=None):
    """Return a random one-hot vector, float32 [n], all classes equally likely."""
    assert mask is None and probability is None, 'not supported'
    return self.vector(self.np_random.integers(self.n))

  def contains(self, x):
    """Return whether x is a one-hot vector of the right length."""
    x = np.asarray(x)
    return x.shape == self.shape and bool(np.abs(x - self.vector(x.argmax())).max() < 1e-5)

  def __repr__(self):
    return f'OneHot({self.n})'

  def __eq__(self, other):
    return isinstance(other, OneHot) and other.n == self.n


class Wrapper:
  """Passes everything on; the base of all wrappers."""

  def __init__(self, env):
    self.env = env

  @property
  def obs_space(self):
    """Dict of name -> Box."""
    return self.env.obs_space

  @property
  def act_space(self):
    """Space of the actions that `step` takes."""
    return self.env.act_space

  def reset(self, seed=None):
    """Begin an episode and return its first observation."""
    return self.env.reset(seed)

  def step(self, action):
    """Take one action and return (obs, reward, done, info)."""
    return self.env.step(action)

  def close(self):
    """Free what the environment holds."""
    self.env.close()

  def restart(self):
    """Build the environment anew, where it is one of `Parallel`."""
    self.env.restart()

  @property
  def notes(self):
    """Sentences on how the environment is understood, for people."""
    return getattr(self.env, 'notes', [])


class ActionRepeat(Wrapper):
  """Repeats each action until the end of the episode or `amount` times; sums the rewards.

  The observation and info are those of the last frame, but rewards in the observation (reward/TASK)
  are summed as well. Only that frame is observed if the environment has `advance` and `observe`,
  which then sums them itself.
  """

  def __init__(self, env, amount):
    super().__init__(env)
    assert amount >= 1, amount
    self._amount = int(amount)

  def step(self, action):
    """Take one action for up to `amount` frames and return (obs, reward, done, info)."""
    total, done, obs, info = 0.0, False, {}, {}
    split = hasattr(self.env, 'advance')
    for _ in range(self._amount):
      if split:
        reward, done, info = self.env.advance(copy.copy(action))  # some write into it
      else:
        before = obs
        obs, reward, done, info = self.env.step(copy.copy(action))
        obs.update({key: obs[key] + x for key, x in before.items() if key.startswith('reward/')})
      total += values.number('reward', reward)
      if done:
        break
    if split:
      obs = self.env.observe()
    return obs, total, done, info


class NormalizeActions(Wrapper):
  """Maps actions from [-1, 1] to the bounds: low + (action + 1) / 2 * (high - low).

  Entries without two finite bounds pass through unscaled. What arrives has the dtype that the space
  declares. Of whole numbers each gets an equal share of [-1, 1].
  """

  def __init__(self, env):
    super().__init__(env)
    self._inner = env.act_space
    self._whole = self._inner.dtype.kind in 'iub'
    low, high = self._inner.low, self._inner.high
    finite = np.isfinite(low) & np.isfinite(high)
    kind = np.float64 if self._whole else np.float32
    self._low = np.where(finite, low, -1.0).astype(kind)
    self._high = np.where(finite, high, 1.0).astype(kind)
    self._bounds = np.where(finite, low, -np.inf), np.where(finite, high, np.inf)
    self._space = gymnasium.spaces.Box(-1.0, 1.0, low.shape, np.float32)

  @property
  def act_space(self):
    """Box float32 [A] from -1 to 1."""
    return self._space

  def step(self, action):
    """Take one action, float32 [A] in [-1, 1], and return (obs, reward, done, info)."""
    action = np.asarray(action, np.float32).reshape(self._space.shape)  # or one would count for all
    if self._whole:
      action = np.floor((action + 1) / 2 * (self._high - self._low + 1)) + self._low
    else:
      action = (action + 1) / 2 * (self._high - self._low) + self._low
      action = action.astype(self._inner.dtype)
    # Rounding leaves some bounds by a bit, which many simulators refuse. Infinite ones stay.
    return self.env.step(np.clip(action, *self._bounds).astype(self._inner.dtype))


class PadActions(Wrapper):
  """Takes longer actions in [-1, 1] than the environment, which gets their first entries."""

  def __init__(self, env, size):
    super().__init__(env)
    self._own = env.act_space.shape[0]
    assert size >= self._own, (size, self._own)
    self._space = gymnasium.spaces.Box(-1.0, 1.0, (size,), np.float32)

  @property
  def act_space(self):
    """Box float32 [size] from -1 to 1."""
    return self._space

  def step(self, action):
    """Take one action, float32 [size]; returns what the environment does."""
    return self.env.step(action[:self._own])


class OneHotAction(Wrapper):
  """Turns one-hot vectors into the numbers of a discrete action space."""

  def __init__(self, env):
    super().__init__(env)
    assert isinstance(env.act_space, gymnasium.spaces.Discrete), env.act_space
    self._space = OneHot(env.act_space.n)
    self._start = int(env.act_space.start)

  @property
  def act_space(self):
    """OneHot space."""
    return self._space

  def step(self, action):
    """Take one action, one-hot [n], and return (obs, reward, done, info).

    Raises:
      ValueError: the vector is not one-hot.
    """
    if not self._space.contains(action):
      raise ValueError(f'not a one-hot vector of length {self._space.n}: {action}')
    return self.env.step(int(np.argmax(action)) + self._start)


class TimeLimit(Wrapper):
  """Ends an episode after `duration` decisions, which may be a fraction (count >= duration).

  A time limit is no real end: the discount is then 1, unless the environment gave one or ended
  by itself on the very same step (where the published code forgets it), which keeps 0.
  """

  def __init__(self, env, duration):
    super().__init__(env)
    assert duration > 0, duration
    self._duration, self._count = duration, None

  def reset(self, seed=None):
    """Begin an episode and the count of its decisions."""
    self._count = 0
    return self.env.reset(seed)

  def step(self, action):
    """Take one action and return (obs, reward, done, info), done at the limit."""
    assert self._count is not None, 'reset the environment first'
    obs, reward, done, info = self.env.step(action)
    self._count += 1
    if self._count >= self._duration:
      info = {'discount': np.float32(not done), **info}
      done = True
    if done:
      self._count = None
    # The rest may be what no process can send.
    return obs, reward, done, {key: info[key] for key in ('discount', 'goes_on') if key in info}


class SelectKeys(Wrapper):
  """Keeps the observation keys that the agent asks for, in constant shapes and dtypes.

  Images become uint8 [size, size, C] (area average), all else float32 [n].
  """

  def __init__(self, env, cnn_keys, mlp_keys, size, task, store=False):
    """store: keep what fits STORED, too, as it is."""
    super().__init__(env)
    self._stored = [key for key in env.obs_space if store and STORED.fullmatch(key)]
    forms = {key: images.form(key, space) for key, space in env.obs_space.items()}
    spaces = {key: _plain_space(form.space, size) for key, form in forms.items()}
    self._space = select_keys(spaces, cnn_keys, mlp_keys, task)
    self._forms = {key: forms[key] for key in self._space}
    for key, form in self._forms.items():
      if 'Box' not in values.kinds(form.space):
        raise UserError(
            f'{task}: obs_space declares {key} as {form.space}, expected a Box of gymnasium. Give what is '
            'discrete as a vector with a one at its place.')
      if form.unclear:
        raise UserError(f'{task}: {form.unclear}')
    self._declared = {key: tuple(env.obs_space[key].shape) for key in self._space}

  @property
  def obs_space(self):
    """Dict of name -> Box, selected keys only."""
    return self._space

  @property
  def notes(self):
    """Sentences on how the environment is understood, for people."""
    return super().notes + [form.note for form in self._forms.values() if form.note]

  def reset(self, seed=None):
    """Begin an episode and return the selected observation."""
    return self._select(self.env.reset(seed))

  def step(self, action):
    """Take one action and return (obs, reward, done, info)."""
    obs, reward, done, info = self.env.step(action)
    if 'is_terminal' in obs:
      info = {'discount': np.float32(not values.number('is_terminal', obs['is_terminal'])), **info}
    return self._select(obs), values.number('reward', reward), bool(done), info

  def _select(self, obs):
    result = {}
    for key, space in self._space.items():
      value = np.asarray(obs[key])
      if value.shape != self._declared[key]:
        raise ValueError(
            f'{key} has shape {list(value.shape)}, declared is {list(self._declared[key])}')
      if images.is_image(space):
        value = self._forms[key].image(value)
        if value.shape != space.shape:
          value = images.resize(value, space.shape[0])
      result[key] = value.astype(space.dtype).reshape(space.shape)
    result.update({key: obs[key] for key in self._stored})
    return result


def select_keys(spaces, cnn_keys, mlp_keys, task):
  """Return the part of an observation space that the agent asks for.

  Args:
    spaces: dict of name -> Box.
    cnn_keys: regular expression for the whole name of an image; '' fits none.
    mlp_keys: regular expression for the whole name of a vector; '' fits none.
    task: name for the message.
  Raises:
    UserError: nothing fits, or a name is reserved.
  """
  spaces = {key: space for key, space in spaces.items() if not NOT_SEEN.fullmatch(key)}
  chosen = {
      key: space for key, space in spaces.items()
      if re.fullmatch(cnn_keys if images.is_image(space) else mlp_keys, key)}
  if not chosen:
    kinds = [f'{key} ({"image" if images.is_image(space) else "vector"})' for key, space in spaces.items()]
    raise UserError(
        f'{task}: no observation fits cnn_keys {cnn_keys!r} or mlp_keys {mlp_keys!r}. '
        f'Available: {", ".join(kinds)}. Pass --cnn_keys or --mlp_keys; ".*" takes all.')
  if clash := sorted(set(chosen) & set(RESERVED)):
    raise UserError(
        f'{task}: the observation key {clash[0]!r} is a name of the episode format. '
        'Rename it in the environment.')
  return chosen


def _plain_space(space, size):
  if images.is_image(space):
    return gymnasium.spaces.Box(0, 255, (size, size, space.shape[2]), np.uint8)
  if space.shape is None:  # no array at all, refused where it is selected
    return space
  return gymnasium.spaces.Box(-np.inf, np.inf, (int(np.prod(space.shape)),), np.float32)
