"""The real agent on a random batch, and the matmul peak of the same process."""
import resource
import sys
import time

import gymnasium
import numpy as np
import tensorflow as tf

from common import config as config_lib
from common.bench import operations
from common.envs.actions import check_settled, settle
from common.envs.wrappers import OneHot
from common.loop import checkpoint
from common.model import devices

ACTIONS = 6    # entries of an action, as of dmc_walker_walk
BUTTONS = 18   # actions of an Atari game that uses all of them
VECTOR = 24    # entries of a vector observation, as of that task without images
# Rows of the matrices whose product gives the peak: on a GPU smaller ones are made before they
# have been asked for.
MATRIX, MATRIX_GPU = 2048, 8192


class Trial:
  """An agent that can make updates, all on the same batch.

  Attributes:
    agent: of the config, with random weights.
    data: the batch, as `agent.distribute` made it.
    spaces: name -> Box of the observations.
  """

  def __init__(self, config):
    """Build the agent that the config is of, and a batch of its size.

    Args:
      config: Config, whose cnn_keys and mlp_keys choose among `image` and `vector`. Tasks of
        Atari have one-hot actions and perhaps gray images.
    """
    box = gymnasium.spaces.Box
    atari = config_lib.suite(config.task) == 'atari'
    self._actions = OneHot(BUTTONS) if atari else box(-1, 1, (ACTIONS,), np.float32)
    # A benchmark is of one machine.
    config = settle(config.replace(machines=False), self._actions)
    check_settled(config)
    config = devices.setup(config)
    shape = (config.image_size, config.image_size, 1 if atari and config.atari_gray else 3)
    self._config = config
    self.spaces = {
        'image': box(0, 255, shape, np.uint8),
        'vector': box(-np.inf, np.inf, (VECTOR,), np.float32)}
    self.agent = self.another(config)
    rng = np.random.default_rng(0)
    windows = [self.episode(rng, config.batch_length) for _ in range(config.batch_size)]
    self.data = self.agent.distribute(
        {key: np.stack([window[key] for window in windows]) for key in windows[0]})

  def another(self, config):
    """An agent on the same spaces."""
    return checkpoint.agent_class(config.agent)(config, self.spaces, self._actions)

  def observations(self):
    """Random ones of one environment, as the policy takes them: dict of arrays [1, ...]."""
    rows = self.episode(np.random.default_rng(0), 1)
    return {key: rows[key] for key in self.agent.world_model.obs_keys}

  def episode(self, rng, rows):
    """Random rows as replay has them: dict of arrays [rows, ...]."""
    data = {
        'image': rng.integers(0, 256, (rows, *self.spaces['image'].shape), np.uint8),
        'vector': rng.normal(size=(rows, VECTOR)).astype(np.float32),
        'action': self._random_actions(rng, rows),
        'reward': rng.uniform(0, 1, rows).astype(np.float32),
        'discount': np.ones(rows, np.float32)}
    unused = set(self.spaces) - set(self.agent.world_model.obs_keys)
    return {key: value for key, value in data.items() if key not in unused}

  def _random_actions(self, rng, rows):
    size = self._actions.shape[0]
    if isinstance(self._actions, OneHot):
      return np.eye(size, dtype=np.float32)[rng.integers(0, size, rows)]
    return rng.uniform(-1, 1, (rows, size)).astype(np.float32)

  def step(self, data=None):
    """Make one update, on the random batch by default; returns its (wall, CPU) seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    metrics = self.agent.train(self.data if data is None else data)
    for value in metrics.values():
      np.asarray(value)  # a GPU may still be at it
    return time.perf_counter() - wall, time.process_time() - cpu

  def burst(self, updates):
    """Make updates without waiting for each, as a run does; returns the seconds of all."""
    started = time.perf_counter()
    for _ in range(updates):
      metrics = self.agent.train(self.data)
    for value in metrics.values():
      np.asarray(value)
    return time.perf_counter() - started

  def memory(self):
    """Largest resident memory of this process so far, in GB."""
    unit = 1 if sys.platform == 'darwin' else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9

  def traces(self):
    """How often the update was traced."""
    return self.agent._train.experimental_get_tracing_count()  # pylint: disable=protected-access

  def peak(self):
    """As the function `peak`, of products in the type of the agent's layers."""
    # A CPU takes minutes for products that a GPU makes in float16.
    mixed = self._config.precision == 'mixed_float16' and devices.has_gpu()
    return peak(tf.float16 if mixed else tf.float32)

  def operations(self, value_twice=False, **changes):
    """Dict of part to GFLOP of an update, perhaps of other settings; see operations.count."""
    used = {key: self.spaces[key] for key in self.agent.world_model.obs_keys}
    return operations.count(
        self._config.replace(**changes), used, self.agent.action_size, value_twice)


def peak(dtype=tf.float32, repeats=8):
  """Speed of the fastest of some products of square matrices.

  Returns:
    Dict of `peak`, GFLOP per second, `peak_cpu`, GFLOP per second of one core, and `product`, a few
    words on what was multiplied.
  """
  rows = MATRIX_GPU if devices.has_gpu() else MATRIX
  multiply = tf.function(lambda a, b: tf.matmul(a, b)[0, 0], autograph=False)
  a, b = tf.cast(tf.random.normal([2, rows, rows]), dtype)
  multiply(a, b)
  walls, cpus = [], []
  for _ in range(repeats):
    wall, cpu = time.perf_counter(), time.process_time()
    multiply(a, b).numpy()
    walls.append(time.perf_counter() - wall)
    cpus.append(time.process_time() - cpu)
  work = 2e-9 * rows ** 3
  return dict(
      peak=work / min(walls), peak_cpu=work / min(cpus), product=f'{rows} x {rows}, {dtype.name}')
