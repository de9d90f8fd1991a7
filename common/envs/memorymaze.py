"""Memory Maze (Pasukonis et al. 2022): memorymaze_9x9, _11x11, _13x13, _15x15.

A ball rolls through a maze that is new in each episode and is paid for touching the object whose
colour frames its view. Six actions, four decisions a second, 64x64 images.
"""
import gymnasium
import numpy as np

from common.config import UserError, nearest
from common.envs import dmc

SIZES = ('9x9', '11x11', '13x13', '15x15')


class MemoryMaze:
  """One size of maze in the protocol of `wrappers`. Episodes end by time, with discount 1."""

  def __init__(self, name, size=64, seed=0):
    """Nothing is built before the first reset.

    Args:
      name: one of SIZES.
      size: height and width of the image, pixels.
      seed: of resets that are given none.
    Raises:
      UserError: no such size, no OpenGL, or no memory-maze.
    """
    find(name)
    dmc.enable_rendering()  # first, as the package would choose a renderer that may not work
    self._build = getattr(_tasks(), f'memory_maze_{name}')
    self._size, self._random, self._env = size, np.random.default_rng(seed), None
    self.obs_space = {'image': gymnasium.spaces.Box(0, 255, (size, size, 3), np.uint8)}
    self.act_space = gymnasium.spaces.Discrete(6)

  def reset(self, seed=None):
    """Begin an episode in a maze that is a function of the seed if one is given."""
    self.close()
    seed = int(self._random.integers(2 ** 31)) if seed is None else seed % 2 ** 31
    # The maze's own random numbers begin with its making only.
    self._env = self._build(seed=seed, camera_resolution=self._size, image_only_obs=True)
    return {'image': np.asarray(self._env.reset().observation)}

  def step(self, action):
    """Take an action, an int, and return (obs, reward, done, info)."""
    step = self._env.step(int(action))
    return (
        {'image': np.asarray(step.observation)}, float(step.reward or 0.0), step.last(),
        {'discount': np.float32(step.discount)})

  def close(self):
    """Free the physics."""
    if self._env is not None:
      self._env.close()
      self._env = None


def find(name):
  """Raise UserError unless there are mazes of that size."""
  if name not in SIZES:
    known = [f'memorymaze_{size}' for size in SIZES]
    raise UserError(
        f'task: there is no maze {name!r}. {nearest(f"memorymaze_{name}", known)}')


def _tasks():
  try:
    from memory_maze import tasks
  except ImportError as error:
    raise UserError(
        f"task: mazes need the package memory-maze ({error}). Type: pip install -e '.[memorymaze]'"
    ) from None
  return tasks
