"""Environments in the own protocol, each odd in one way, for `--task py_own:NAME`."""
import multiprocessing
import os
import subprocess
import threading
import time

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


class HugeBox(Own):
  """Bounds that only look finite."""
  act_space = Box(-np.finfo(np.float32).max, np.finfo(np.float32).max, (2,), np.float32)


class BigBox(Own):
  """The same in float64."""
  act_space = Box(np.float64(-1e300), np.float64(1e300), (2,), np.float64)


class HalfBox(Own):
  """One bound of two."""
  act_space = Box(0, np.inf, (2,), np.float32)


class TimeOut(Own):
  """Ends by time alone, and says so as Gym before 0.26 did."""

  def step(self, action):
    obs, reward, done, _ = super().step(action)
    return obs, reward, done, {'TimeLimit.truncated': done}


class KwReset(Own):
  """reset with keyword arguments alone, as Gymnasium has it."""

  def reset(self, *, seed=None, options=None):
    return super().reset(seed)


class Level(Own):
  """What reset takes is no seed."""
  given = None

  def reset(self, level=None):
    self.given = level
    return super().reset()


class Named(Level):
  """A seed by another name."""

  def reset(self, episode_seed=None):
    self.given = episode_seed
    return Own.reset(self, episode_seed)


class Needs(Level):
  """Has to be given what says nothing of itself."""

  def reset(self, s):
    self.given = s
    return Own.reset(self, s)


class NoEnd:
  """Has nothing to close."""

  def __init__(self):
    env = Own()
    self.obs_space, self.act_space, self.reset, self.step = env.obs_space, env.act_space, env.reset, env.step


class NoSeed(Own):
  """reset without a seed."""

  def reset(self):
    return super().reset()


class Start(Own):
  """Actions 1, 2, 3."""
  act_space = gymnasium.spaces.Discrete(3, start=1)

  def step(self, action):
    self.seen = getattr(self, 'seen', []) + [action]
    return super().step(action)


class Int(Start):
  """Actions 0 to 4."""
  act_space = Box(0, 4, (1,), np.int32)


class Double(Start):
  """Actions in float64, between bounds that float32 does not have."""
  act_space = Box(np.array([-0.1, -0.3]), np.array([0.7, 1.1]), dtype=np.float64)


class Many(Own):
  """A plant in its own units: 1e5, 1e7, 1."""
  obs_space = {'vector': Box(-np.inf, np.inf, (3,), np.float64)}

  def obs(self):
    x = self.rng.uniform(-1, 1, 3)
    return {'vector': np.array([1e5 * (1 + x[0]), 1e7 * x[1], x[2]])}


class Flaky(Own):
  """Fails in a third of its episodes, as the seed of the reset says."""

  def step(self, action):
    if self.t == 3 and self.rng.random() < 1 / 3:
      raise RuntimeError('slipped')
    return super().step(action)


class Halves(Own):
  """The two halves of a step, of which observing is costly."""
  observed = 0

  def obs(self):
    self.observed += 1
    return super().obs()

  def advance(self, action):
    self.t += 1
    return 1.0, self.t >= 25, {}

  def observe(self):
    return self.obs()


class Five(Own):
  """Returns Gymnasium's five values in our protocol, and comes to an end by time."""

  def step(self, action):
    obs, reward, over, info = super().step(action)
    return obs, reward, False, over, info


class Over(Own):
  """The same, and comes to a real end."""

  def step(self, action):
    obs, reward, over, info = super().step(action)
    return obs, reward, over, False, info


class Physics(Own):
  """Has methods of its own that are called as the halves of a step are."""

  def advance(self):
    self.t += 1

  def observe(self):
    return 'a picture for people'

  def step(self, action):
    self.advance()
    return self.obs(), 1.0, self.t >= 25, {}


class WrongHalves(Halves):
  """Half a step of something else."""

  def advance(self, action):
    return self.obs()


class OneEntry(Own):
  """A reward in an array of one entry."""

  def step(self, action):
    obs, reward, over, info = super().step(action)
    return obs, np.array([reward]), over, info


class NoReward(Own):
  """Forgets the reward."""

  def step(self, action):
    obs, _, over, info = super().step(action)
    return obs, None, over, info


class Words(Own):
  """Has an entry that is no array, which nobody needs to see."""
  obs_space = {**Own.obs_space, 'log_text': gymnasium.spaces.Text(50), 'mission': gymnasium.spaces.Text(50)}

  def obs(self):
    return {**super().obs(), 'log_text': 'so', 'mission': 'find it'}


class Servant(Own):
  """Starts a process of its own by multiprocessing, and a program that it ends by SIGTERM."""

  def __init__(self):
    context = multiprocessing.get_context('fork')
    self.child = context.Process(target=time.sleep, args=(60,))
    self.child.start()
    self.program = subprocess.Popen(['sleep', '60'])

  def close(self):
    for one in (self.child, self.program):
      one.terminate()
    self.child.join(10)
    assert self.program.wait(10) == self.child.exitcode == -15


class Endless(Own):
  """Never ends; pays one a step."""

  def step(self, action):
    return self.obs(), 1.0, False, {}


class NoClose(Own):
  """What it has opened cannot be closed."""

  def close(self):
    raise RuntimeError('the display is gone')


class Odd(Own):
  """At decision 4 of the second episode of each object, something goes wrong."""
  kind = ''
  episodes = 0
  seeds = []

  def reset(self, seed=None):
    self.episodes += 1
    self.seeds.append(seed)
    return super().reset(seed)

  def step(self, action):
    obs, reward, done, info = super().step(action)
    if self.kind and self.episodes == 2 and self.t == 4:
      obs, reward, info = getattr(self, self.kind)(obs, reward, info)
    return obs, reward, self.t >= 6, info

  def nan_reward(self, obs, reward, info):
    return obs, float('nan'), info

  def huge_reward(self, obs, reward, info):
    return obs, 1e30, info

  def nan_obs(self, obs, reward, info):
    return {'vector': obs['vector'] * np.nan}, reward, info

  def bad_discount(self, obs, reward, info):
    return obs, reward, {'discount': float('nan')}

  def discounts(self, obs, reward, info):
    return obs, reward, {'discount': np.ones(2, np.float32)}

  def shape(self, obs, reward, info):
    return {'vector': np.zeros(4, np.float32)}, reward, info

  def raises(self, obs, reward, info):
    raise RuntimeError('the simulator gave up')

  def exits(self, obs, reward, info):
    raise SystemExit(3)

  def dies(self, obs, reward, info):
    os._exit(7)

  def hangs(self, obs, reward, info):
    time.sleep(1000)


def odd(kind):
  """One whose second episode goes wrong in this way."""
  env = Odd()
  env.kind, env.seeds = kind, []
  return env
