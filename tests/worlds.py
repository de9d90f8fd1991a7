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
