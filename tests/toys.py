"""Small agents, batches and worlds that several test files share."""
import ctypes
import gc
import pathlib
import resource

import gymnasium
import numpy as np
import tensorflow as tf

from common import config as config_lib
from common.model import devices
from common.model import optimizer
from common.model import world_model
from dreamer.agent import Dreamer
from planet.agent import PlaNet

SMALL = dict(
    deter_size=8, stoch_size=3, num_units=8, cnn_depth=1, reward_layers=1, value_layers=1,
    actor_layers=1, horizon=4, batch_size=4, batch_length=5, precision='float32', jit=False)

IMAGE = {'image': gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)}


def settings(**changes):
  """Dreamer's configuration at the sizes of SMALL, with changes by key."""
  config = config_lib.load('dreamer', ['--configs', 'debug', '--task', 'dummy_continuous'])
  return config.replace(**{**SMALL, **changes})


def actions(size, kind='tanh_normal'):
  """Action space of `size` entries."""
  return gymnasium.spaces.Box(0 if kind == 'onehot' else -1, 1, (size,), np.float32)


def agent(size=2, **changes):
  """A Dreamer on images with `size` action entries and the configuration `settings`."""
  config = devices.setup(settings(**changes))
  return Dreamer(config, IMAGE, actions(size, config.action_dist))


def planet(size=2, **changes):
  """A PlaNet on the same observations."""
  config = config_lib.load('planet', ['--configs', 'debug', '--task', 'dummy_continuous'])
  sizes = {key: value for key, value in SMALL.items() if key in config}
  return PlaNet(devices.setup(config.replace(**{**sizes, **changes})), IMAGE, actions(size))


def model(size=2, **changes):
  """A world model on images alone."""
  return world_model.WorldModel(IMAGE, size, devices.setup(settings(**changes)))


def batch(rows=4, length=5, size=2, seed=0, onehot=False):
  """Rows as replay gives them: numpy arrays [rows, length, ...]."""
  rng = np.random.default_rng(seed)
  action = rng.uniform(-1, 1, (rows, length, size))
  if onehot:
    action = np.eye(size)[rng.integers(0, size, (rows, length))]
  return {
      'image': rng.integers(0, 256, (rows, length, 64, 64, 3), dtype=np.uint8),
      'action': action.astype(np.float32),
      'reward': rng.normal(size=(rows, length)).astype(np.float32),
      'discount': (rng.random((rows, length)) > 0.2).astype(np.float32)}


def values(variables):
  """Copies of variables as numpy arrays."""
  return [variable.numpy().copy() for variable in variables]


def changed(before, variables):
  """For each variable, whether it differs from its copy."""
  return [not np.array_equal(old, new.numpy()) for old, new in zip(before, variables)]


class LineWorld:
  """A world whose dreams can be worked out: position += action @ gain, and nothing else.

  It has what ActorCritic asks of a world model. deter remembers nothing.
  """

  def __init__(self, gain, discount=0.9):
    self.gain = tf.constant(gain, tf.float32)
    self.rssm = self
    self.dtype = tf.float32
    self._discount = discount

  def img_step(self, state, action, seed):
    """Next state {stoch [N, S], deter [N, 1]}."""
    del seed
    return {'stoch': state['stoch'] + action @ self.gain, 'deter': state['deter']}

  def get_feat(self, state):
    """Features [N..., S], the position."""
    return state['stoch']

  def pcont(self, feat):
    """The discount, [N...]."""
    return self._discount * tf.ones(feat.shape[:-1])

  def start(self, position):
    """State at positions [N, S]."""
    position = tf.constant(position, tf.float32)
    return {'stoch': position, 'deter': tf.zeros([position.shape[0], 1])}


def optimizer_of(variables, rate):
  """Adam over some variables."""
  return optimizer.Optimizer(list(variables), rate)


def resident():
  """Mebibytes of this process in memory."""
  # After many tests Python seldom collects cycles, such as those of figures, by itself.
  gc.collect()
  # Freed memory that the allocator keeps would hide what leaks into it, or count as growth itself.
  if trim := getattr(ctypes.CDLL(None), 'malloc_trim', None):
    trim(0)
  pages = int(pathlib.Path('/proc/self/statm').read_text().split()[1])
  return pages * resource.getpagesize() / 2 ** 20
