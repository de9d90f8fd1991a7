"""Odd environments of Gymnasium, one function each, for `--task py_odd:NAME`."""
import gymnasium, numpy as np
from gymnasium import spaces as S

class E(gymnasium.Env):
  def __init__(self, obs, act, make=None, length=30, reward=lambda: 1.0):
    self.observation_space, self.action_space = obs, act
    self._make, self._length, self._reward = make or obs.sample, length, reward
    self.seen = []
  def reset(self, *, seed=None, options=None):
    super().reset(seed=seed); self.t = 0
    if seed is not None: self.observation_space.seed(seed % 2**31)
    return self._make(), {}
  def step(self, a):
    self.seen.append(a); self.t += 1
    return self._make(), self._reward(), False, self.t >= self._length, {}

V = S.Box(-1, 1, (3,), np.float32)
B = S.Box(-1, 1, (2,), np.float32)
u8 = lambda *s: S.Box(0, 255, s, np.uint8)
def int_box(): return E(V, S.Box(-2, 2, (2,), np.int64))
def int_box5(): return E(V, S.Box(0, 4, (1,), np.int32))
def huge_box(): m = np.finfo(np.float32).max; return E(V, S.Box(-m, m, (2,), np.float32))
def big_box(): return E(V, S.Box(np.float64(-1e300), np.float64(1e300), (2,), np.float64))
def half_box(): return E(V, S.Box(0, np.inf, (2,), np.float32))
def scalar_act(): return E(V, S.Box(-1, 1, (), np.float32))
def multi(): return E(V, S.MultiDiscrete([3, 2]))
def multibin(): return E(V, S.MultiBinary(3))
def one(): return E(V, S.Discrete(1))
def start(): return E(V, S.Discrete(3, start=1))
def scalar_obs(): return E(S.Box(-1, 1, (), np.float32), B)
def img64(): return E(u8(64, 64, 3), B)
def vec1(): return E(S.Box(-1, 1, (1,), np.float32), B)
def chw(): return E(u8(3, 64, 64), B)
def stack5(): return E(u8(5, 84, 84), S.Discrete(3))
def stack2(): return E(u8(2, 84, 84), S.Discrete(3))
def stackrgb(): return E(u8(4, 96, 96, 3), B)
def gray2d(): return E(u8(84, 84), S.Discrete(3))
def float_img(): return E(S.Box(0, 1, (64, 64, 3), np.float32), B)
def int_img(): return E(S.Box(0, 255, (64, 64, 3), np.int64), B)
def u16_depth(): return E(S.Box(0, 65535, (64, 64, 1), np.uint16), B)
def wide_gray(): return E(u8(48, 120, 1), B)
def liar(): return E(u8(64, 64, 3), B, lambda: np.random.rand(64, 64, 3).astype(np.float32))
def liar2(): return E(u8(80, 80, 3), B, lambda: np.random.rand(80, 80, 3).astype(np.float32))
def ram(): return E(u8(128), S.Discrete(4))
def rgbd(): return E(S.Dict(rgb=u8(64, 64, 3), depth=u8(64, 64, 1), state=V), B)
def tuple_obs(): return E(S.Tuple((V, V)), B)
def mdobs(): return E(S.Dict(image=u8(64, 64, 3), inv=S.MultiDiscrete([3, 4])), B)
def bits(): return E(S.MultiBinary(4), B)
def names(): return E(S.Dict({'joint pos': V, 'goal-xy': V, 'ü/é': V, 'a.b$c': V}), B)
def bad1(): return E(S.Dict({'is_first': V, 'pos': V}), B)
def r1(): return E(V, B, reward=lambda: np.array([1.0]))
def rint(): return E(V, B, reward=lambda: 1)
def rnone(): return E(V, B, reward=lambda: None)
def rnan(): return E(V, B, reward=lambda: float('nan') if np.random.rand() < .02 else 1.0)
def rbig(): return E(V, B, reward=lambda: 1e6)
def vbig(): return E(S.Box(-1e9, 1e9, (3,), np.float64), B)
def vinf(): return E(S.Box(-np.inf, np.inf, (3,), np.float64), B, lambda: np.array([1., 2., np.inf]))

class Old(gymnasium.Env):
  """The API before Gym 0.26."""
  observation_space, action_space = u8(64, 64, 3), S.Discrete(5)
  def reset(self): self.t = 0; return self.observation_space.sample()
  def step(self, a): self.t += 1; return self.observation_space.sample(), 0.1, self.t >= 20, {}
def old(): return Old()
class OldSeed(Old):
  def reset(self, seed=None): self.t = 0; return self.observation_space.sample()
def oldseed(): return OldSeed()

class Own:
  """The protocol of docs/environment.md."""
  obs_space = {'vector': V}
  act_space = S.Discrete(3, start=1)
  seen = []
  def reset(self, seed=None): self.t = 0; return {'vector': V.sample()}
  def step(self, a): self.seen.append(a); self.t += 1; return {'vector': V.sample()}, 1.0, self.t >= 30, {}
  def close(self): pass
class OwnInt(Own):
  act_space = S.Box(0, 4, (1,), np.int32); seen = []

class Short(E):
  """Nearly all episodes are over after 5 steps, one in twenty lasts 40."""
  def reset(self, *, seed=None, options=None):
    r = super().reset(seed=seed)
    self._length = 40 if self.np_random.random() < 0.1 else 5
    return r
def short(): return Short(V, B)
def r1nan(): return E(V, B, reward=lambda: float('nan') if np.random.rand() < .1 else 1.0)
def three(): return E(V, B, length=3)
def bool_box(): return E(V, S.Box(0, 1, (2,), np.int8))
def taxi(): return E(S.Discrete(500), B)
def states5k(): return E(S.Discrete(5000), B)
def states20k(): return E(S.Discrete(20000), B)

class Faulty(E):
  """In its fourth episode, at step 10, something goes wrong, once."""
  def __init__(self, kind): super().__init__(V, B, length=60); self.kind, self.episode = kind, 0
  def reset(self, *, seed=None, options=None):
    self.episode += 1
    return super().reset(seed=seed)
  def step(self, a):
    obs, reward, end, limit, info = super().step(a)
    if self.episode == 4 and self.t == 10:
      if self.kind == 'nan_reward': reward = float('nan')
      if self.kind == 'inf_reward': reward = float('inf')
      if self.kind == 'huge_reward': reward = 1e30
      if self.kind == 'nan_obs': obs = obs * np.float32('nan')
      if self.kind == 'shape': obs = np.zeros(4, np.float32)
      if self.kind == 'raises': raise RuntimeError('the simulator gave up')
      if self.kind == 'dies': __import__('os')._exit(7)
      if self.kind == 'hangs': __import__('time').sleep(1000)
    return obs, reward, end, limit, info
def nan_reward(): return Faulty('nan_reward')
def inf_reward(): return Faulty('inf_reward')
def huge_reward(): return Faulty('huge_reward')
def nan_obs(): return Faulty('nan_obs')
def shape(): return Faulty('shape')
def raises(): return Faulty('raises')
def dies(): return Faulty('dies')
def hangs(): return Faulty('hangs')
