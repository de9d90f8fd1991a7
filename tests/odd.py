"""Environments of Gymnasium and Gym, each odd in one way, for `--task py_odd:NAME`."""
import os

import gym
import gymnasium
import numpy as np
from gymnasium import spaces

VECTOR = spaces.Box(-1, 1, (3,), np.float32)
ACTIONS = spaces.Box(-1, 1, (2,), np.float32)
Box = spaces.Box


class Odd(gymnasium.Env):
  """Random observations, 30 decisions an episode; keeps what actions it got."""

  def __init__(self, obs=VECTOR, act=ACTIONS, length=30, make=None):
    self.observation_space, self.action_space = obs, act
    self.length, self.make, self.seen = length, make or obs.sample, []

  def reset(self, *, seed=None, options=None):
    """Begin an episode."""
    super().reset(seed=seed)
    self.time = 0
    if seed is not None:
      self.observation_space.seed(seed % 2 ** 31)
    return self.make(), {}

  def step(self, action):
    """Note the action."""
    self.seen.append(action)
    self.time += 1
    return self.make(), 1.0, False, self.time >= self.length, {}


def pixels(*shape):
  """Box of uint8."""
  return Box(0, 255, shape, np.uint8)


def picture(kind):
  """An environment whose observation is declared in one of many ways."""
  return Odd({
      'chw': pixels(3, 64, 64), 'stack5': pixels(5, 84, 84), 'stack2': pixels(2, 84, 84),
      'gray2d': pixels(84, 84), 'float_img': Box(0, 1, (64, 64, 3), np.float32),
      'float255': Box(0, 255, (64, 64, 3), np.float32),
      'int_img': Box(0, 255, (64, 64, 3), np.int64), 'stackrgb': pixels(4, 96, 96, 3),
      'u16_depth': Box(0, 65535, (64, 64, 1), np.uint16)}[kind])


class Old(gymnasium.Env):
  """The interface before Gym 0.26, without a seed."""
  observation_space, action_space = VECTOR, spaces.Discrete(5)
  seeds = []

  def reset(self):
    """Return the observation alone."""
    self.time = 0
    return self.observation_space.sample()

  def step(self, action):
    """Return four values; the end is one of time."""
    self.time += 1
    done = self.time >= 20
    return self.observation_space.sample(), 0.1, done, {'TimeLimit.truncated': done}


class OldGym(gym.Env):
  """One of Gym's, which says itself that it is old."""
  observation_space, action_space = gym.spaces.Box(-1, 1, (3,), np.float32), gym.spaces.Discrete(5)
  reset, step = Old.reset, Old.step


class OldSeeded(Old):
  """Seeded by a method of its own."""

  def seed(self, seed=None):
    """Note the seed."""
    self.seeds.append(seed)


class OldKeyword(Old):
  """Takes a seed, but returns the observation alone, four values, and ends for real."""

  def reset(self, seed=None):
    """Return the observation alone."""
    return super().reset()

  def step(self, action):
    """Without a word about the limit of time."""
    return (*super().step(action)[:3], {})


class Short(Odd):
  """Episodes of 5 decisions, one in ten of 40."""

  def reset(self, *, seed=None, options=None):
    """Draw the length."""
    result = super().reset(seed=seed)
    self.length = 40 if self.np_random.random() < 0.1 else 5
    return result


class States(Odd):
  """A number of states."""

  def __init__(self, count=500):
    super().__init__(spaces.Discrete(count), ACTIONS)


class Tenfold(gymnasium.Wrapper):
  """A user's own wrapper, which calls what is below as that wants to be called."""

  def reset(self, seed=None):
    """Without options."""
    return self.env.reset() if isinstance(self.env, Old) else self.env.reset(seed=seed)

  def step(self, action):
    """Ten times the reward."""
    obs, reward, *rest = self.env.step(action)
    return (obs, 10 * reward, *rest)


def wrapped():
  """A wrapper around an environment of today."""
  return Tenfold(Odd())


def wrapped_old():
  """A wrapper around one of before."""
  return Tenfold(Old())


class NoOptions(Odd):
  """Takes a seed and no options, and is around twice its actions; keeps what it got."""

  def __init__(self):
    super().__init__(act=Box(-2, 2, (2,), np.float32))

  def reset(self, seed=None):
    """Return the observation alone."""
    return super().reset(seed=seed)[0]


class Alone(NoOptions):
  """Takes options, too."""

  def reset(self, *, seed=None, options=None):
    """Return the observation alone."""
    return super().reset(seed=seed)


def stack(kind):
  """Wrappers of the library around it: scaled actions, five decisions, negative rewards."""
  wrappers = gymnasium.wrappers
  below = wrappers.TimeLimit(wrappers.RescaleAction(kind(), np.float32(-1), np.float32(1)), 5)
  return wrappers.TransformReward(below, lambda reward: -reward)


class Dying(Odd):
  """Its process ends while it is built."""

  def __init__(self):
    os._exit(7)


class Mine(gymnasium.Wrapper):
  """A user's own wrapper that changes nothing."""


def topped():
  """A wrapper of a user's around one of the library's around an old environment."""
  return Mine(gymnasium.wrappers.TimeLimit(Mine(gymnasium.wrappers.TimeLimit(Old(), 7)), 50))
