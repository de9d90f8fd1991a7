"""A build that is broken in a way that still learns something is noticed by its short runs."""
import common  # noqa: it decides how TensorFlow is loaded, so it comes before
import numpy as np
import pytest
import tensorflow as tf

from common import agent
from common.checks import exact
from common.checks import stored
from common.data.replay import Windows
from common.model import actor_critic
from common.model import divergence
from common.model.dynamics import Dynamics
from common.model.world_model import WorldModel
import exact_runs

ALL = ['exact-dreamer', 'exact-planet', 'exact-plan2explore']
ACTORS = ['exact-dreamer', 'exact-plan2explore']


def shifted_reward(patch):
  """The reward of a row is that of the row before."""
  original = Windows.sample
  def sample(self, rng, batch):
    data = original(self, rng, batch)
    reward = data['reward']
    return {**data, 'reward': np.concatenate([reward[:, :1], reward[:, :-1]], 1)}
  patch.setattr(Windows, 'sample', sample)


def swapped_divergence(patch):
  """KL(prior || posterior) in place of KL(posterior || prior)."""
  original = Dynamics.kl
  patch.setattr(
      Dynamics, 'kl', lambda self, post, prior, mask=None: original(self, prior, post, mask))


def swapped_features(patch):
  """What is decoded is the prior, which has not seen the picture."""
  original = WorldModel.observe
  def observe(self, data, seed):
    post, prior, embed = original(self, data, seed)
    return prior, post, embed
  patch.setattr(WorldModel, 'observe', observe)


def wrong_bootstrap(patch):
  """Returns end with the value of one state too early."""
  patch.setattr(actor_critic, 'bootstrap', lambda value, kind='last': value[-2])


def noisy_evaluation(patch):
  """Exploration noise stays on in evaluation."""
  original = agent.Agent._policy_step
  def policy_step(self, obs, state, is_first, noise, mode):
    return original(self, obs, state, is_first, tf.constant(self.noise(0), tf.float32), mode)
  patch.setattr(agent.Agent, '_policy_step', policy_step)


def free_nats_per_element(patch):
  """The floor is under each KL and not under their mean."""
  patch.setattr(
      divergence, 'free_nats',
      lambda kl, free, mode: tf.reduce_mean(tf.maximum(kl, free)))


def free_nats_per_batch(patch):
  """What PlaNet takes off each KL is taken off their mean."""
  patch.setattr(
      divergence, 'free_nats', lambda kl, free, mode: tf.nn.relu(tf.reduce_mean(kl) - free))


CASES = [
    (shifted_reward, ALL, 'agent/reward_loss', 1),
    (swapped_divergence, ALL, 'agent/kl', 1),
    (swapped_features, ALL[:1], 'agent/kl', 1),
    (wrong_bootstrap, ACTORS, 'agent/value_loss', 1),
    (noisy_evaluation, ALL, 'eval/return', 1),
    (free_nats_per_element, ACTORS, 'agent/div', 1),
    (free_nats_per_batch, ['exact-planet'], 'agent/div', 1),
]


@pytest.mark.parametrize('defect, name, metric, step', [
    pytest.param(defect, name, metric, step, id=f'{defect.__name__}-{name}')
    for defect, names, metric, step in CASES for name in names])
def test_a_broken_build_moves_what_is_stored(tmp_path, defect, name, metric, step):
  with pytest.MonkeyPatch.context() as patch:
    defect(patch)
    exact_runs.start(name, tmp_path)
  ok, _ = stored.compare(tmp_path, name)
  assert not ok
  moved, _ = exact.outside(stored.load(name), exact.read(tmp_path))
  first = {one.metric: one.step for one in moved}
  assert first[metric] == step, first
  if defect is noisy_evaluation:  # which learns as it should
    assert not [one for one in moved if one.metric.startswith('agent/')]
