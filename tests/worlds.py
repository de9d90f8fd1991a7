"""Environments for --task py_worlds:NAME; processes of their own start fast without TensorFlow."""
import gymnasium
import numpy as np


class Uneven:
  """Environment whose episodes end by themselves after 3 to 12 decisions, drawn at the reset."""

  obs_space = {'vector': gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32)}
  act_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)

  def reset(self, seed=None):
    """Begin an episode of a length that depends on the seed."""
    self._left = int(np.random.default_rng(seed).integers(3, 13))
    return self._observe()

  def step(self, action):
    """Count down; the reward is the sum of the action."""
    self._left -= 1
    return self._observe(), float(np.sum(action)), self._left == 0, {}

  def close(self):
    """Nothing to free."""

  def _observe(self):
    return {'vector': np.array([self._left], np.float32)}


class Faulty(Uneven):
  """The same, but all its rewards are NaN."""

  def step(self, action):
    """Count down; the reward is NaN."""
    obs, _, done, info = super().step(action)
    return obs, float('nan'), done, info


class Ball:
  """A ball on a table is pushed to the middle of a target, seen as a picture and as numbers.

  Pictures differ between left and right, top and bottom, and colours. Sums and products of doubles
  are the same on all machines. It falls off on the right, which ends the episode.

  vector: float32 [4], position and velocity in units of half the table.
  """

  obs_space = {
      'image': gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8),
      'vector': gymnasium.spaces.Box(-np.inf, np.inf, (4,), np.float32)}
  act_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
  TARGET = np.array([-0.25, 0.5])

  def reset(self, seed=None):
    """Put the ball somewhere on the table, at rest."""
    self._place = np.random.default_rng(seed).uniform(-0.75, 0.75, 2)
    self._speed = np.zeros(2)
    return self._observe()

  def step(self, action):
    """Push the ball; the reward falls with the distance from the target."""
    self._speed = 0.75 * self._speed + 0.125 * np.asarray(action, np.float64)
    self._place = self._place + self._speed
    fallen = bool(self._place[0] > 1)
    self._place = np.clip(self._place, -1, 1)
    reward = 1.0 - np.abs(self._place - self.TARGET).sum()
    return self._observe(), float(reward), fallen, {}

  def close(self):
    """Nothing to free."""

  def _observe(self):
    image = np.zeros((64, 64, 3), np.uint8)
    image[..., 1] = np.arange(0, 256, 4)[:, None]
    image[:8, :, 2] = 120
    for place, colour, size in ((self.TARGET, (30, 60, 200), 6), (self._place, (240, 200, 40), 4)):
      x, y = (31.5 + 27 * place).astype(int)
      image[y - size:y + size, x - size:x + size] = colour
    vector = np.concatenate([self._place, self._speed]).astype(np.float32)
    return {'image': image, 'vector': vector}


class Pushes(Ball):
  """The same with four pushes to choose from, and rest."""

  act_space = gymnasium.spaces.Discrete(5)
  PUSHES = np.array([[0, 0], [-1, 0], [1, 0], [0, -1], [0, 1]])

  def step(self, action):
    """Push the ball in one direction."""
    return super().step(self.PUSHES[action])
