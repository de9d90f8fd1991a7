"""A disturbed training function must make its golden fixture fail."""
import numpy as np
import pytest
import tensorflow as tf

from common.checks import judge
from common.model import actor_critic
from common.model import convs
from common.model import dists
from common.model import divergence
from common.model import nets
from common.model.optimizer import Optimizer
from common.model.rssm import RSSM
from common.model.world_model import WorldModel
from dreamer.agent import Dreamer
from plan2explore import ensemble
from plan2explore.novelty import scales

POLICY, TRAIN = 'dreamer_policy', 'dreamer_train_step_pcont'
VARIANCE, MAX, RETURNS = 'p2e_ensemble_variance', 'p2e_ensemble_max_objective', 'p2e_lambda_return'
DREAMERV2 = 'v2_plan2explore'


pytestmark = pytest.mark.usefixtures('eager')


def nudged(result):
  """The same structure with every float tensor made one part in a thousand larger."""
  return tf.nest.map_structure(
      lambda x: x * 1.001 if tf.is_tensor(x) and x.dtype.is_floating else x, result)


def gradient_only(result):
  """The same values, with gradients one part in a hundred larger."""
  return tf.nest.map_structure(lambda x: x * 1.01 - tf.stop_gradient(x * 0.01), result)


CASES = [
    (RSSM, 'img_step', nudged, ['rssm_step', 'rssm_sequence', POLICY, TRAIN]),
    (RSSM, 'img_step', gradient_only, ['rssm_step']),
    (RSSM, 'obs_step', nudged, ['rssm_step', POLICY]),
    (RSSM, 'observe', nudged, ['rssm_sequence', TRAIN]),
    (RSSM, 'imagine', nudged, ['rssm_sequence']),
    (RSSM, 'get_feat', nudged, ['rssm_step', POLICY]),
    (RSSM, 'kl', nudged, ['rssm_step', 'rssm_sequence', TRAIN]),
    (nets.ConvEncoder, '__call__', nudged, ['encoder', POLICY]),
    (nets.ConvDecoder, 'mean', nudged, ['decoder']),
    (convs, 'subpixel_conv_transpose', nudged, ['decoder']),
    (nets.MLP, '__call__', nudged, ['dense_normal', 'dense_binary', 'dense_vector', POLICY]),
    (dists.TanhNormal, 'sample', nudged, ['actor_tanh_normal', POLICY]),
    (dists.TanhNormal, 'log_prob', nudged, ['actor_tanh_normal']),
    (dists.OneHot, 'sample', nudged, ['actor_onehot', 'dreamer_policy_onehot']),
    (actor_critic, 'lambda_return', nudged, ['lambda_return', TRAIN, RETURNS]),
    (actor_critic, 'lambda_return', gradient_only, [TRAIN]),
    (actor_critic, 'discount_weights', nudged, [TRAIN]),
    (actor_critic.ActorCritic, 'imagine', gradient_only, [TRAIN]),
    (WorldModel, 'preprocess', nudged, ['preprocess', 'encoder', POLICY]),
    (WorldModel, 'pcont', gradient_only, [TRAIN]),
    (WorldModel, 'starts', nudged, [TRAIN]),
    (Dreamer, 'act', nudged, [POLICY]),
    (Dreamer, 'gradients', nudged, [TRAIN]),
    (actor_critic, 'bootstrap', nudged, [RETURNS]),
    (ensemble.Ensemble, 'predict', nudged, [VARIANCE, MAX, DREAMERV2]),
    (ensemble, 'loss', nudged, [VARIANCE, MAX, DREAMERV2]),
    (ensemble, 'loss', gradient_only, [DREAMERV2]),
    (ensemble, 'disagreement', nudged, [VARIANCE, DREAMERV2]),
    (ensemble, 'jensen_renyi', nudged, [MAX]),
    (scales, 'shape_reward', nudged, [VARIANCE, DREAMERV2]),
    (scales.StreamNorm, '__call__', nudged, [DREAMERV2]),
]


@pytest.mark.parametrize('owner, name, disturb, fixtures', CASES, ids=[
    f'{getattr(case[0], "__name__")}.{case[1]}-{case[2].__name__}' for case in CASES])
def test_a_small_error_in_a_training_function_is_noticed(
    golden, monkeypatch, owner, name, disturb, fixtures):
  original = getattr(owner, name)
  monkeypatch.setattr(owner, name, lambda *args, **kwargs: disturb(original(*args, **kwargs)))
  for fixture in fixtures:
    report = judge.verify(golden / f'{fixture}.npz')
    assert not report['ok'] and 'error' not in report, report


def test_an_optimiser_that_forgets_to_clip_is_noticed(golden, monkeypatch):
  original = Optimizer.__init__
  def without_clip(self, variables, lr, eps, clip, *args, **kwargs):
    original(self, variables, lr, eps, 1e9, *args, **kwargs)
  monkeypatch.setattr(Optimizer, '__init__', without_clip)
  report = judge.verify(golden / 'dreamer_train_step_clip.npz')
  assert not report['ok'] and 'step' in report['worst_key']


def test_free_nats_for_each_element_are_noticed(golden, monkeypatch):
  monkeypatch.setattr(
      divergence, 'free_nats',
      lambda kl, free, mode: tf.reduce_mean(tf.maximum(kl - free, 0.0)))
  report = judge.verify(golden / 'dreamer_train_step_free_nats.npz')
  assert 'error' not in report and not report['ok']


def test_updates_in_turn_in_place_of_at_once_are_noticed(golden, monkeypatch):
  def in_turn(self, data, seed, phase='train', frames=0):
    data = self.world_model.preprocess(data, seed)
    grads, metrics = self.gradients(data, seed, phase, frames)
    norms = self.apply({name: grads.pop(name) for name in self.world_model.optimizers()})
    with tf.control_dependencies(list(norms.values())):
      later, _ = self.gradients(data, seed, phase, frames)
    return {**metrics, **norms, **self.apply({name: later[name] for name in grads})}
  monkeypatch.setattr(Dreamer, 'update', in_turn)
  report = judge.verify(golden / 'dreamer_train_step_continuous.npz')
  assert 'error' not in report and not report['ok']


def test_weights_that_do_not_fit_are_refused_with_their_name(golden, tmp_path):
  with np.load(golden / 'rssm_step.npz') as archive:
    arrays = {key: archive[key] for key in archive.files}
  arrays['weights/rssm/img4/bias'] = arrays.pop('weights/rssm/img3/bias')
  np.savez(tmp_path / 'renamed.npz', **arrays)
  error = judge.verify(tmp_path / 'renamed.npz')['error']
  assert 'rssm/img3/bias' in error and 'rssm/img4/bias' in error
  arrays['weights/rssm/img3/bias'] = np.zeros(5, np.float32)
  del arrays['weights/rssm/img4/bias']
  np.savez(tmp_path / 'reshaped.npz', **arrays)
  assert 'rssm/img3/bias has shape [5]' in judge.verify(tmp_path / 'reshaped.npz')['error']
