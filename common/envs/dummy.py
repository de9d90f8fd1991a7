"""Tiny environments with answers that the reader can work out, for tests: dummy_NAME.

The state is the number t of frames since the reset and a mark x drawn at the reset.

  image: uint8 [size, size, 3], t everywhere, except 255 * x in pixel [0, 0].
  vector: float32 [2], (t / 100, x).

  continuous (2 entries): reward = 1 - mean(|action - 0.5|), of a range of 4 centred at 0.
  discrete (3 classes): reward = 1 if the class is t % 3 else 0, t before the step.
  terminal: as continuous, but really ends after 20 frames.
  NAME_vector: the same without the image.
"""
import gymnasium
import numpy as np

from common.config import UserError, nearest

TASKS = tuple(
    name + kind for kind in ('', '_vector') for name in ('continuous', 'discrete', 'terminal'))
TERMINAL_FRAMES = 20


class Dummy:
  """One of the environments above; it never ends unless it is `terminal`."""

  def __init__(self, name, size=64, seed=0):
    """Build the environment.

    Raises:
      UserError: the name is not one of TASKS.
    """
    find(name)
    self._kind, _, vector_only = name.partition('_')
    self._random = np.random.default_rng(seed)
    self._time, self._mark = 0, 0.0
    image = gymnasium.spaces.Box(0, 255, (size, size, 3), np.uint8)
    vector = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    self.obs_space = {'vector': vector} if vector_only else {'image': image, 'vector': vector}
    if self._kind == 'discrete':
      self.act_space = gymnasium.spaces.Discrete(3)
    else:
      self.act_space = gymnasium.spaces.Box(-2.0, 2.0, (2,), np.float32)

  def reset(self, seed=None):
    """Begin an episode, whose mark is a function of the seed if one is given."""
    if seed is not None:
      self._random = np.random.default_rng(seed)
    self._time, self._mark = 0, self._random.uniform()
    return self._observe()

  def step(self, action):
    """Advance by one frame and return (obs, reward, done, info)."""
    if self._kind == 'discrete':
      reward = float(action == self._time % 3)
    else:
      reward = float(1 - np.abs(np.asarray(action) - 0.5).mean())
    self._time += 1
    done = self._kind == 'terminal' and self._time >= TERMINAL_FRAMES
    return self._observe(), reward, done, {}

  def close(self):
    """Nothing to free."""

  def _observe(self):
    obs = {'vector': np.array([self._time / 100, self._mark], np.float32)}
    if 'image' in self.obs_space:
      obs['image'] = np.full(self.obs_space['image'].shape, self._time % 256, np.uint8)
      obs['image'][0, 0] = int(255 * self._mark)
    return obs


def find(name):
  """Raise UserError unless the environment exists."""
  if name not in TASKS:
    known = [f'dummy_{known}' for known in TASKS]
    hint = nearest(f'dummy_{name}', known)
    raise UserError(f'task: the suite dummy has no task {name!r}. {hint}')
