"""A corridor to explore and a screen of noise to ignore: noisytv_KIND[SIZE][_vector].

The position x in 0 to 1 begins at 0.4 +- 0.02; an action of two numbers in [-1, 1] moves it,

    x' = clip(x + 0.05 a0 + (0.02 a0 sin(20 x) if x > 0.6), 0, 1)

for 100 decisions. Below 0.2 is the room with the screen, above 0.6 the corridor. Nothing pays.

  off        the screen is dark
  cycle      16 pictures in a fixed order: noise that can be learned
  channels   one of the 16 at random at every decision
  remote     the same, but only a1 > 0 switches
  static     fresh noise at every decision

SIZE, of vectors only, is the numbers on the screen, 8 if left out (static64_vector). Outside of the
room they are zero.
"""
import re

import gymnasium
import numpy as np

from common.config import UserError, nearest

KINDS = ('off', 'cycle', 'channels', 'remote', 'static')
PICTURES = 16
DECISIONS = 100
ROOM, CORRIDOR = 0.2, 0.6  # borders
SCREEN = 16                # pixels of the screen's edge


class NoisyTV:
  """The environment, in the protocol of `wrappers`.

  vector: sin 8x, cos 8x, x, whether it is in the room, the screen. image: a dot at 60 x before a
  coarse texture of 16 cells, and the screen in the corner, seen in the room alone.
  """

  def __init__(self, name, size=64, seed=0):
    """size: height and width of the image, pixels. Raises UserError for an unknown name."""
    self._kind, self._numbers, vectors = parse(name)
    self._random = np.random.default_rng(seed)
    bank = np.random.default_rng(0)  # the world is the same for all seeds
    self._bank = bank.normal(size=(PICTURES, self._numbers)).astype(np.float32)
    self._blocks = bank.integers(0, 256, (PICTURES, 4, 4, 3), dtype=np.uint8)
    self._texture = bank.integers(0, 128, (16, 8, 1, 3), dtype=np.uint8)
    self._size, self._x, self._time, self._picture = size, 0.4, 0, 0
    self._noise = None
    self.obs_space = {
        'vector': gymnasium.spaces.Box(-np.inf, np.inf, (4 + self._numbers,), np.float32)
    } if vectors else {'image': gymnasium.spaces.Box(0, 255, (size, size, 3), np.uint8)}
    self.obs_space['log_state'] = gymnasium.spaces.Box(0.0, 1.0, (1,), np.float32)
    self.act_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

  def reset(self, seed=None):
    """Begin an episode, which is a function of the seed if one is given."""
    if seed is not None:
      self._random = np.random.default_rng(seed)
    self._x, self._time = 0.4 + self._random.uniform(-0.02, 0.02), 0
    self._switch(1.0)
    return self._observe()

  def step(self, action):
    """Move and return (obs, 0, done, info). The end is one of time."""
    self._x = move(self._x, float(action[0]))
    self._time += 1
    self._switch(float(action[1]))
    return self._observe(), 0.0, self._time >= DECISIONS, {'discount': np.float32(1)}

  def close(self):
    """Nothing to free."""

  def _switch(self, button):
    """Choose what the screen shows."""
    if self._kind == 'cycle':
      self._picture = self._time % PICTURES
    elif self._kind == 'channels' or (self._kind == 'remote' and button > 0):
      self._picture = int(self._random.integers(PICTURES))
    elif self._kind == 'static':
      self._noise = self._random.normal(size=self._numbers)

  def _observe(self):
    inside = self._x < ROOM
    obs = {'log_state': np.array([self._x], np.float32)}
    if 'image' in self.obs_space:
      obs['image'] = self._draw(inside)
    else:
      screen = np.zeros(self._numbers)
      if inside and self._kind != 'off':
        screen = self._noise if self._kind == 'static' else self._bank[self._picture]
      place = [np.sin(8 * self._x), np.cos(8 * self._x), self._x, float(inside)]
      obs['vector'] = np.concatenate([place, screen]).astype(np.float32)
    return obs

  def _draw(self, inside):
    size = self._size
    cell = self._texture[min(int(16 * self._x), 15)]                   # [8, 1, 3]
    image = np.ascontiguousarray(np.broadcast_to(
        cell.repeat(size // 8, 0), (size, size, 3)))
    if inside and self._kind != 'off':
      blocks = self._blocks[self._picture]
      if self._kind == 'static':
        blocks = self._random.integers(0, 256, (SCREEN, SCREEN, 3), dtype=np.uint8)
      scale = SCREEN // len(blocks)
      image[:SCREEN, :SCREEN] = blocks.repeat(scale, 0).repeat(scale, 1)
    left = int(round(60 * self._x * size / 64))
    image[size // 2:size // 2 + 4, left:left + 4] = 255
    return image


def move(x, push):
  """The position after one decision."""
  slope = 0.02 * push * np.sin(20 * x) if x > CORRIDOR else 0.0
  return float(np.clip(x + 0.05 * push + slope, 0.0, 1.0))


def parse(name):
  """(kind, numbers on the screen, whether vectors are seen) of KIND[SIZE][_vector].

  Raises UserError for other names.
  """
  match = re.fullmatch(f'({"|".join(KINDS)})([1-9][0-9]{{0,3}}(?=_vector))?(_vector)?', name)
  if not match:
    known = [f'noisytv_{kind}{form}' for form in ('', '_vector', '64_vector') for kind in KINDS]
    raise UserError(
        f'task: the suite noisytv has no task {name!r}. {nearest(f"noisytv_{name}", known)}')
  return match[1], int(match[2] or 8), bool(match[3])
