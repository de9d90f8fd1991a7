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


# Defects of learning, which runs they concern, and what they move.
LEARNING = [
    (shifted_reward, ALL, 'agent/reward_loss'),
    (swapped_divergence, ALL, 'agent/kl'),
    (swapped_features, ALL[:1], 'agent/kl'),
    (wrong_bootstrap, ACTORS, 'agent/value_loss'),
    (free_nats_per_element, ACTORS, 'agent/div'),
    (free_nats_per_batch, ['exact-planet'], 'agent/div'),
]


def moved(name, path):
  """Metrics of a run that left their bands in the rows that it has: {name: first step}."""
  found = exact.read(path)
  left, _ = exact.outside(stored.load(name), found)
  return {one.metric: one.step for one in left if one.step in found[one.metric]}


@pytest.mark.parametrize('name', [*ALL, 'exact-dreamer-discrete'])
def test_the_first_updates_of_a_build_that_is_not_broken_are_as_stored(eager, tmp_path, name):
  exact_runs.start(name, tmp_path, '--steps', '2')
  assert sorted(exact.read(tmp_path)['agent/kl']) == [1, 2]
  assert not moved(name, tmp_path)


@pytest.mark.parametrize('defect, name, metric', [
    pytest.param(defect, name, metric, id=f'{defect.__name__}-{name}')
    for defect, names, metric in LEARNING for name in names])
def test_a_broken_build_moves_what_is_stored_at_its_first_update(
    eager, tmp_path, defect, name, metric):
  with pytest.MonkeyPatch.context() as patch:
    defect(patch)
    exact_runs.start(name, tmp_path, '--steps', '2')
  assert moved(name, tmp_path)[metric] == 1


@pytest.mark.parametrize('name', ALL)
def test_noise_in_evaluations_moves_them_and_nothing_else(request, tmp_path, name):
  whole = name == ALL[0]  # the others make the first updates alone
  if not whole:
    request.getfixturevalue('eager')
  with pytest.MonkeyPatch.context() as patch:
    noisy_evaluation(patch)
    exact_runs.start(name, tmp_path, *([] if whole else ['--steps', '2']))
  if whole:
    ok, _ = stored.compare(tmp_path, name)
    assert not ok
  first = moved(name, tmp_path)
  assert first['eval/return'] == 1
  assert not [metric for metric in first if metric.startswith('agent/')]
