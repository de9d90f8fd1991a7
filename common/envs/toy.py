"""Tiny discrete tasks with known optima, solvable in minutes: toy_NAME.

  lock: a combination of four numbers has to be entered. Each of three actions enters one; the right
    one moves on, a wrong one begins again. The last right one pays 1 and begins again. An episode
    has 40 decisions, so 10 is the best return; uniform actions get about 0.3.
  NAME_vector: the same with one-hot vectors in place of images.

The image shows a bright square for each number entered so far, and colours that differ from place
to place.
"""
import gymnasium
import numpy as np

from common.config import UserError, nearest

CODE = (2, 0, 1, 2)
DECISIONS = 40
BEST_RETURN = DECISIONS / len(CODE)
TASKS = ('lock', 'lock_vector')


class Toy:
  """The lock, in the protocol of `wrappers`. Actions are Discrete; nothing in it is random."""

  def __init__(self, name, size=64):
    """name: one of TASKS; size: height and width of the image, pixels. Raises UserError."""
    find(name)
    self._place, self._time, self._size = 0, 0, size
    self.obs_space = (
        {'vector': gymnasium.spaces.Box(0.0, 1.0, (len(CODE),), np.float32)}
        if name.endswith('_vector')
        else {'image': gymnasium.spaces.Box(0, 255, (size, size, 3), np.uint8)})
    self.act_space = gymnasium.spaces.Discrete(3)

  def reset(self, seed=None):
    """Begin an episode; all are alike."""
    del seed
    self._place, self._time = 0, 0
    return self._observe()

  def step(self, action):
    """Enter a number and return (obs, reward, done, info). The end is one of time."""
    right = int(action) == CODE[self._place]
    self._place = self._place + 1 if right else 0
    opened = self._place == len(CODE)
    self._place %= len(CODE)
    self._time += 1
    return (
        self._observe(), float(opened), self._time >= DECISIONS, {'discount': np.float32(1)})

  def close(self):
    """Nothing to free."""

  def _observe(self):
    if 'vector' in self.obs_space:
      return {'vector': np.eye(len(CODE), dtype=np.float32)[self._place]}
    image = np.full(self.obs_space['image'].shape, 40, np.uint8)
    width = self._size // len(CODE)
    for place in range(len(CODE)):
      square = image[width:3 * width, place * width + 2:(place + 1) * width - 2]
      square[:] = (60, 60, 60)
      if place < self._place:
        square[:] = (230, 230, 90)
    image[3 * width + 4:-4] = ((200, 40, 40), (40, 200, 40), (40, 40, 200), (200, 40, 200))[
        self._place]
    return {'image': image}


def find(name):
  """Raise UserError unless the task exists."""
  if name not in TASKS:
    raise UserError(
        f'task: the suite toy has no task {name!r}. '
        f'{nearest(f"toy_{name}", [f"toy_{known}" for known in TASKS])}')
