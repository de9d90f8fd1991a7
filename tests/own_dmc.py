"""A task of a user's own on dm_control, which is imported at the top as everybody does."""
import gymnasium
import numpy as np
from dm_control import suite


class Pole:
  """The swing-up from pixels, in the own protocol."""
  obs_space = {'image': gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)}
  act_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

  def __init__(self):
    self._env = suite.load('cartpole', 'swingup')

  def reset(self, seed=None):
    """Begin an episode."""
    self._env.reset()
    return self._see()

  def step(self, action):
    """Take an action."""
    step = self._env.step(action)
    return self._see(), step.reward, step.last(), {'discount': 1.0}

  def _see(self):
    return {'image': self._env.physics.render(64, 64, camera_id=0)}

  def close(self):
    """Nothing to free."""
