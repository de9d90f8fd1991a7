"""Supervised check of the noisy screen (checklist 34): whom does which reward send where?

Walks through the three zones are known without a policy. Members, one predictor and a random network
learn on the zone of the start and on the room with the screen; the corridor is never shown.
"""
import numpy as np
import pytest
import tensorflow as tf

from common.envs import noisytv
from common.model import optimizer
from plan2explore import ensemble

ZONES = {'known': (0.37, 0.43), 'corridor': (0.7, 0.95), 'tv': (0.02, 0.15)}
UPDATES, BATCH, RND = 1000, 128, 16


def transitions(zone, count, random):
  """(observation, action, next observation) float32 [count, ...] within a zone, channels of size 8."""
  env = noisytv.NoisyTV('channels_vector')
  low, high = ZONES[zone]
  rows = []
  for seed in random.integers(2 ** 31, size=count):
    env.reset(int(seed))
    env._x = random.uniform(low, high)
    before = env._observe()['vector']
    action = random.uniform(-1, 1, 2).astype(np.float32)
    rows.append((before, action, env.step(action)[0]['vector']))
  return [np.stack(column) for column in zip(*rows)]


class Learner:
  """Five members that predict the next observation, and a network that repeats a random one."""

  def __init__(self, seed):
    tf.random.set_seed(seed)
    make = lambda inputs, outputs, members, layers: ensemble.Ensemble(
        inputs, 0, outputs, members, layers, 128, 'elu', False)
    self.members = make(14, 12, 5, 2)
    self.target, self.predictor = make(12, RND, 1, 2), make(12, RND, 1, 3)
    self.optimizer = optimizer.Optimizer(
        [*self.members.trainable_variables, *self.predictor.trainable_variables], 1e-3)
    self.update = tf.function(self._update, autograph=False)

  def _update(self, obs, action, after):
    with tf.GradientTape() as tape:
      error = (self.members.predict(tf.concat([obs, action], -1))[0] - after) ** 2
      loss = 5 * tf.reduce_mean(error) + tf.reduce_mean(self._novel(after))
    self.optimizer.apply(tape.gradient(loss, self.optimizer.variables_))

  def _novel(self, after):
    """Error of the random network [R]."""
    target = tf.stop_gradient(self.target.predict(after)[0])
    return tf.reduce_mean((self.predictor.predict(after)[0] - target) ** 2, [0, 2])

  def measure(self, obs, action, after):
    """Means of disagreement, error of a member, and error of the random network."""
    mean, _ = self.members.predict(tf.concat([obs, action], -1))
    return [float(tf.reduce_mean(x)) for x in (
        ensemble.disagreement(mean), (mean[0] - after) ** 2, self._novel(after))]


@pytest.mark.parametrize('seed', range(3))
def test_the_screen_keeps_its_error_and_loses_its_disagreement(seed):
  random, learner = np.random.default_rng(seed), Learner(seed)
  pools = {zone: transitions(zone, UPDATES // 5 * 10, random) for zone in ('known', 'tv')}
  for update in range(UPDATES):
    # Ten more transitions of each zone every five updates.
    known = min(10 * (1 + update // 5), UPDATES // 5 * 10)
    half = [[x[random.integers(known, size=BATCH // 2)] for x in pools[zone]] for zone in pools]
    learner.update(*(tf.constant(np.concatenate(columns)) for columns in zip(*half)))
  spread, error, novel = (
      dict(zip(ZONES, values)) for values in zip(*(
          learner.measure(*map(tf.constant, transitions(zone, 1000, random))) for zone in ZONES)))
  assert error['tv'] > 50 * error['known'] and error['tv'] > error['corridor']
  assert spread['corridor'] > 2 * spread['tv']
  assert novel['corridor'] > 4 * novel['tv']
