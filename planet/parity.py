"""Parity of what PlaNet has of its own: its form of the RSSM, overshooting, planning, pixels."""
import numpy as np
import tensorflow as tf

from common.checks.parity import model as parity
from common.model import divergence
from common.model import images
from common.model import overshooting
from common.model import rssm
from common.model import stochastic
from common.model.dynamics import Dynamics
from planet import planner

# Entries of our states under their recorded names. belief and rnn_state are always equal.
ENTRIES = {
    'mean': 'mean', 'stddev': 'std', 'sample': 'stoch', 'belief': 'deter', 'rnn_state': 'deter'}

CONTEXT = 3  # rows that are seen before the open loop


def planet_rssm(fixture):
  """One step, closed loop, open loop, KL and the divergence loss."""
  model = _rssm(fixture)
  inputs = parity.tensors(fixture.inputs)
  embed, action = inputs['embed'], inputs['action']
  state = {ours: inputs[f'state/{theirs}'] for theirs, ours in ENTRIES.items()}
  step_post, step_prior = model.obs_step(state, action[:, 0], embed[:, 0], None)
  post, prior = model.observe(embed, action, None)
  context = fixture.config.get('context', CONTEXT)
  last = {key: value[:, context - 1] for key, value in post.items()}
  ahead = model.imagine(action[:, context:], None, last)
  open_loop = {key: tf.concat([post[key][:, :context], ahead[key]], 1) for key in post}
  kl = model.kl(post, prior)
  outputs = {
      'out/divergence': kl,
      'out/divergence_loss': divergence.free_nats(kl, fixture.config['free_nats'], 'element')}
  states = {
      'step/prior': step_prior, 'step/post': step_post, 'closed_loop/prior': prior,
      'closed_loop/post': post, 'open_loop': open_loop}
  for name, value in states.items():
    outputs.update(_entries(f'out/{name}', value, fixture))
  return outputs


def planet_overshooting(fixture):
  """Predictions, targets and mask of every start and distance, and the masked divergence."""
  model = _rssm(fixture)
  inputs = parity.tensors(fixture.inputs)
  rows = fixture.config['overshooting_distance'] + 1
  post, _ = model.observe(inputs['embed'], inputs['action'], None)
  prior, target, mask = overshooting.overshoot(
      model, post, inputs['action'], inputs['length'], rows, None)
  return {
      'out/target': overshooting.ahead(inputs['target'], mask),
      'out/mask': tf.cast(mask, tf.int32), 'out/masked_divergence': model.kl(target, prior, mask),
      **_entries('out/prior', prior, fixture), **_entries('out/post', target, fixture)}


def planet_overshooting_toy(fixture):
  """The same for a model that only adds the action."""
  inputs = parity.tensors(fixture.inputs)
  rows = fixture.config['overshooting_distance'] + 1
  seen = {'stoch': inputs['observation']}
  prior, target, mask = overshooting.overshoot(
      Adding(), seen, inputs['action'], inputs['length'], rows, None)
  return {
      'out/target': target['stoch'], 'out/post': target['stoch'], 'out/prior': prior['stoch'],
      'out/mask': tf.cast(mask, tf.int32)}


def planet_cem(fixture):
  """Plans in linear models with given draws."""
  outputs = {}
  for index, case in enumerate(fixture.config['cases']):
    inputs = parity.tensors(fixture.under(f'in/case{index}/'))
    found = planner.plan(
        Linear(inputs['A'], inputs['B']), _linear_reward(inputs['w'], inputs['q']),
        {'stoch': inputs['state'], 'first': inputs['state'][:, 0]}, inputs['B'].shape[0], None,
        horizon=case['horizon'], iterations=case['iterations'], amount=case['amount'],
        topk=case['topk'], low=case['min_action'], high=case['max_action'],
        noise=inputs['noise'][:, None])
    outputs.update(parity.prefixed(f'out/case{index}', {
        'returns': found.returns[1:, 0], 'means': found.mean[1:, 0],
        'stddevs': found.std[1:, 0], 'plan': found.mean[-1, 0]}))
  return outputs


def planet_preprocess(fixture):
  """Bit depths: images as the networks see them, and back."""
  outputs = {}
  for key in fixture.expected:
    bits = int(key.split('/')[1].removeprefix('bits'))
    image = images.to_float(tf.constant(fixture.inputs['image']), bits, fixture.inputs['u'])
    outputs.update(parity.prefixed(f'out/bits{bits}', {
        'image': image, 'post_float': images.from_float(image, bits),
        'post_uint8': images.to_uint8(image, bits)}))
  return outputs


CHECKS = {
    'planet_rssm': planet_rssm, 'planet_overshooting': planet_overshooting,
    'planet_overshooting_toy': planet_overshooting_toy, 'planet_cem': planet_cem,
    'planet_preprocess': planet_preprocess}


class Adding(Dynamics):
  """A model without weights: the transition adds the action."""

  def initial(self, batch_size):
    """Zero."""
    return {'stoch': tf.zeros([batch_size, 1])}

  def img_step(self, prev_state, prev_action, seed):
    """The state before plus the action."""
    return {'stoch': prev_state['stoch'] + prev_action}


class Linear(Dynamics):
  """A linear model that keeps the first entry of the action."""

  def __init__(self, transition, gain):
    super().__init__()
    self._transition, self._gain = transition, gain

  def img_step(self, prev_state, prev_action, seed):
    """A s + B a."""
    moved = tf.linalg.matvec(self._transition, prev_state['stoch'])
    return {'stoch': moved + prev_action @ self._gain, 'first': prev_action[:, 0]}


def _linear_reward(weight, cost):
  return lambda states: (
      tf.linalg.matvec(states['stoch'], weight) - 0.5 * cost * states['first'] ** 2)


def _rssm(fixture):
  """The RSSM in PlaNet's form, with the settings and weights of a fixture."""
  c = fixture.config
  latent = stochastic.GaussianLatent(c['stoch'], c['min_stddev'], mean_only=c['mean_only'])
  model = rssm.RSSM(
      c['action'], c['embed'], latent, c['deter'], c['hidden'], c['act'], c['num_layers'],
      gru='block', split_heads=True, future_rnn=c['future_rnn'])
  parity.assign(_variables(model), fixture.weights)
  return model


def _variables(model):
  layers = {'gru': model.gru}
  for name, mlp in (('in', model.img_in), ('prior', model.img_out[0]), ('obs', model.obs_out)):
    layers.update({f'{name}{i}': layer for i, layer in enumerate(mlp.layers)})
  for name, dist in (('prior', model.img_dist[0]), ('obs', model.obs_dist)):
    layers.update(zip((f'{name}_mean', f'{name}_std'), dist.layers))
  return {
      f'rssm/{name}/{variable.name.rpartition("/")[2].partition(":")[0]}': variable
      for name, layer in layers.items() for variable in layer.trainable_variables}


def _entries(prefix, state, fixture):
  """The entries of a state that the fixture holds, under their recorded names."""
  found = {f'{prefix}/{theirs}': state[ours] for theirs, ours in ENTRIES.items()}
  return {key: np.asarray(value) for key, value in found.items() if key in fixture.expected}
