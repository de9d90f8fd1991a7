"""Environments in the own protocol, each odd in one way, for `--task py_own:NAME`."""
import threading

import gymnasium
import numpy as np

Box = gymnasium.spaces.Box


class Own:
  """3 numbers, 2 actions, episodes of 25 decisions."""
  obs_space = {'vector': Box(-1, 1, (3,), np.float32)}
  act_space = Box(-1, 1, (2,), np.float32)

  def reset(self, seed=None):
    self.rng, self.t = np.random.default_rng(seed), 0
    return self.obs()

  def obs(self):
    return {'vector': self.rng.uniform(-1, 1, 3).astype(np.float32)}

  def step(self, action):
    self.t += 1
    return self.obs(), float(np.sum(action)), self.t >= 25, {}

  def close(self):
    pass


class Strict(Own):
  """Refuses actions outside its bounds, as many simulators do."""
  act_space = Box(np.float32([-0.1, -0.3]), np.float32([0.7, 1.1]), dtype=np.float32)

  def step(self, action):
    assert self.act_space.contains(action), f'{action!r} is not in {self.act_space}'
    return super().step(action)


class TimeOut(Own):
  """Ends by time alone, and says so as Gym before 0.26 did."""

  def step(self, action):
    obs, reward, done, _ = super().step(action)
    return obs, reward, done, {'TimeLimit.truncated': done}


class LambdaInfo(Own):
  """Hands out in info what no process can send."""

  def step(self, action):
    return (*super().step(action)[:3], {'sim': threading.Lock()})


class Single(Own):
  """A simulator of which only one can run (a port, a licence)."""
  busy = False

  def __init__(self):
    if Single.busy:
      raise RuntimeError('port 5005 is in use: is another instance running?')
    Single.busy = True

  def close(self):
    Single.busy = False


class Crash(Own):
  """The first one made dies in its episode 40."""
  made = 0

  def __init__(self):
    Crash.made += 1
    self.me, self.episodes = Crash.made, 0

  def reset(self, seed=None):
    self.episodes += 1
    if self.me == 1 and self.episodes == 40:
      raise RuntimeError('simulator: lost connection')
    return super().reset(seed)


class Many(Own):
  """A plant in its own units: 1e5, 1e7, 1."""
  obs_space = {'vector': Box(-np.inf, np.inf, (3,), np.float64)}

  def obs(self):
    x = self.rng.uniform(-1, 1, 3)
    return {'vector': np.array([1e5 * (1 + x[0]), 1e7 * x[1], x[2]])}


class Lidar(Own):
  """One reading in 400 is infinite: no echo."""

  def obs(self):
    obs = super().obs()
    if self.rng.random() < 1 / 400:
      obs['vector'][0] = np.inf
    return obs


class KwReset(Own):
  """reset with keyword arguments alone, as Gymnasium has it."""

  def reset(self, *, seed=None, options=None):
    return super().reset(seed)
