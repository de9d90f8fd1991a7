"""Stand-ins of known speed: an environment and an agent that wait instead of working.

They wait without holding Python's lock, as a simulator and a GPU do, and add up for how long they
really did, since a wait of 2 ms takes a little more. Environment and policy can keep a core busy
meanwhile, as simulators and agents on a CPU do.
"""
import os
import time
import zlib

import gymnasium
import numpy as np
import tensorflow as tf

from common.agent import Agent
from common.model import metrics
from common.model import optimizer

ENV_MS = 'STANDIN_ENV_MS'  # environment variable, which processes inherit
BUSY = 'STANDIN_BUSY'      # another: not empty where it keeps a core busy
METRICS = 25               # numbers that an update gives
BLOCK = bytes(2 ** 16)     # whose checksum takes some 0.05 ms, without Python's lock


class Waiter:
  """Context in which so many milliseconds pass, with what is done in it; `total` seconds in `count`.

  Args:
    milliseconds: how many.
    busy: whether a core computes meanwhile; else it sleeps.
  """

  def __init__(self, milliseconds, busy=False):
    self._seconds, self._busy = milliseconds / 1000, busy
    self.total, self.count = 0.0, 0

  def __enter__(self):
    self._started = time.perf_counter()

  def __exit__(self, *_):
    self.count += 1
    until = self._started + self._seconds
    while self._busy and time.perf_counter() < until:
      zlib.crc32(BLOCK)
    left = until - time.perf_counter()
    if left > 0:
      time.sleep(left)
    self.total += time.perf_counter() - self._started


class SlowEnv:
  """Environment of eight numbers whose steps take STANDIN_ENV_MS milliseconds.

  The last number tells how many seconds it has waited, as it may do so in a process of its own.
  """

  obs_space = {'vector': gymnasium.spaces.Box(-np.inf, np.inf, (8,), np.float32)}
  act_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

  def __init__(self):
    self._waiter = Waiter(float(os.environ.get(ENV_MS, 0)), bool(os.environ.get(BUSY)))

  def reset(self, seed=None):
    """Begin an episode; takes no time."""
    del seed
    return self._observe(0)

  def step(self, action):
    """Wait; episodes end by the time limit alone."""
    with self._waiter:
      pass
    return self._observe(action[0]), 1.0, False, {}

  def _observe(self, value):
    vector = np.full(8, value, np.float32)
    vector[-1] = self._waiter.total
    return {'vector': vector}

  def close(self):
    """Nothing to free."""


def agent_class(update_ms, policy_ms, busy=False):
  """The class of an agent whose updates, which sleep, and policy calls take so many milliseconds."""

  class StandIn(Agent):
    """Has one weight, and a world model that is never used."""

    def build(self):
      """Make the weight."""
      self.waiters = {'update': Waiter(update_ms), 'policy': Waiter(policy_ms, busy)}
      self.optimizer = optimizer.Optimizer([tf.Variable(tf.zeros([1]))], 1e-3)

    def optimizers(self):
      """The only one, which stands still."""
      return {'model': self.optimizer}

    def train(self, data, frames=0):
      """Wait for an update, and count it."""
      del data, frames
      with self.waiters['update']:
        self.updates.assign_add(1)
        vector = tf.zeros([METRICS])
      return metrics.Metrics(tuple(f'metric_{i}' for i in range(METRICS)), vector)

    def policy(self, obs, state=None, mode='train', frames=0):
      """Wait for an action, which is zero."""
      del mode, frames
      with self.waiters['policy']:
        pass
      return np.zeros((len(obs['is_first']), self.action_size), np.float32), state

  return StandIn
