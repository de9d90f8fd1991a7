"""Parity of DreamerV2's parts: latent states, the divergence, actors, the actor-critic.

Each is an option of the module that Dreamer uses. Logical names are those of
tests/golden/README.md.
"""
import tensorflow as tf

from common import config as config_lib
from common.checks.parity import model as parity
from common.model import actor_critic
from common.model import cells
from common.model import dists
from common.model import divergence
from common.model import nets
from common.model import rssm
from common.model import stochastic


def v2_rssm(fixture):
  """One step with resets, filtering with resets, imagination, every member of the prior."""
  c, inputs = fixture.config, parity.tensors(fixture.inputs)
  model = _rssm(c)
  variables = _rssm_variables(model)
  parity.assign(variables, fixture.weights)
  start = {key.partition('/')[2]: x for key, x in inputs.items() if key.startswith('state/')}
  embed, action = inputs['embed'], inputs['action']
  first = inputs['step_is_first'] != 0
  with tf.GradientTape() as tape:
    post, prior = model.obs_step(start, action[:, 0], embed[:, 0], None, first)
    probe = tf.add_n([
        tf.reduce_sum((post[key] + 2 * prior[key]) * inputs[f'c/{key}']) for key in post])
  members = [model.latent.state(params, None) for params in model.members(prior['deter'])]
  stats = {
      key: tf.stack([member[key] for member in members]) for key in members[0] if key != 'stoch'}
  seen, expected = model.observe(embed, action, None, is_first=inputs['is_first'] != 0)
  last = {key: x[:, -1] for key, x in seen.items()}
  return {
      **parity.prefixed('out/step/post', post), **parity.prefixed('out/step/prior', prior),
      **parity.prefixed('out/step/ensemble', stats), 'out/step/probe': probe,
      **parity.prefixed('out/observe/post', seen),
      **parity.prefixed('out/observe/prior', expected),
      **parity.prefixed('out/imagine', model.imagine(inputs['imagine_action'], None, last)),
      'out/feat': model.get_feat(seen), **parity.gradients('grad', tape, probe, variables)}


def v2_gru_cell(fixture):
  """One step of the layer-normed cell."""
  c, inputs = fixture.config, parity.tensors(fixture.inputs)
  cell = cells.NormGRUCell(
      c['size'], 'layer' if c['norm'] else 'none', c['act'], c['update_bias'])
  cell.build([None, inputs['input'].shape[-1]])
  variables = _variables(gru=cell.gates)
  parity.assign(variables, fixture.weights)
  with tf.GradientTape() as tape:
    state, _ = cell(inputs['input'], [inputs['state']])
    probe = tf.reduce_sum(state * inputs['c'])
  return {
      'out/state': state, 'out/probe': probe,
      **parity.gradients('grad', tape, probe, variables)}


def v2_kl_loss(fixture):
  """The divergence in every setting, with its gradients on both sides."""
  outputs = {}
  for index, case in enumerate(fixture.config['cases']):
    post, prior = (
        _stats(fixture.under(f'in/{case["kind"]}/{side}/')) for side in ('post', 'prior'))
    latent = (
        stochastic.CategoricalLatent(*post['logit'].shape[-2:]) if case['kind'] == 'discrete'
        else stochastic.GaussianLatent(post['mean'].shape[-1]))
    mode = 'mean' if case['free_avg'] and case['balance'] != 0.5 else 'floor'
    with tf.GradientTape() as tape:
      tape.watch((post, prior))
      loss, kl = divergence.loss(
          latent, post, prior, case['free'], mode, case['balance'], case['forward'])
    grads = tape.gradient(
        loss, {'post': post, 'prior': prior}, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    outputs.update({f'out/case{index}/loss': loss, f'out/case{index}/value': kl})
    for side, entries in grads.items():
      outputs.update(parity.prefixed(f'grad/case{index}/{side}', entries))
  return outputs


def v2_onehot(fixture):
  """The straight-through distribution at given logits."""
  inputs = parity.tensors(fixture.inputs)
  logits, outputs = inputs['logits'], {}
  with tf.GradientTape(persistent=True) as tape:
    tape.watch(logits)
    dist = dists.OneHot(logits)
    values = {
        'sample': dist.sample(None), 'log_prob': dist.log_prob(inputs['event']),
        'entropy': dist.entropy()}
    probes = {
        'sample': tf.reduce_sum(values['sample'] * inputs['c']),
        'log_prob': tf.reduce_sum(values['log_prob']),
        'entropy': tf.reduce_sum(values['entropy'])}
  outputs = {f'grad/{key}': tape.gradient(probe, logits) for key, probe in probes.items()}
  return {
      **parity.prefixed('out', values), 'out/mode': dist.mode(), 'out/probs': dist.probs,
      **outputs}


def v2_tanh_normal(fixture):
  """The tanh-normal head."""
  dist = _actor_dist(fixture, 'tanh_normal_v2')
  return {
      'out/loc': dist.normal_mean, 'out/scale': dist.normal_std,
      'out/log_prob': dist.log_prob(tf.constant(fixture.inputs['action']))}


def v2_trunc_normal(fixture):
  """The truncated-normal head."""
  dist = _actor_dist(fixture, 'trunc_normal')
  return {
      'out/loc': dist.normal_mean, 'out/scale': dist.normal_std, 'out/mean': dist.mean(),
      'out/mode': dist.mode(), 'out/entropy': dist.entropy(),
      'out/log_prob': dist.log_prob(tf.constant(fixture.inputs['action']))}


def v2_actor_critic(fixture):
  """Both losses on a given imagined sequence; gradients of actor, value and features."""
  c, inputs = fixture.config, parity.tensors(fixture.inputs)
  feat = inputs['feat']
  settings = config_lib.load('dreamer', [
      '--configs', 'debug', '--task', 'dummy_continuous', '--imag_start', 'True',
      '--actor_grad', c['actor_grad'],
      '--actor_ent', c['actor_ent'], '--actor_layers', c['layers'],
      '--value_layers', c['critic_layers'], '--num_units', c['units'], '--dense_act', c['act'],
      '--disclam', c['lambda_'], '--horizon', c['horizon'], '--slow_value', 100,
      '--actor_min_std', c['actor_min_std']])
  settings = settings.replace(
      action_dist={'tanh_normal': 'tanh_normal_v2'}.get(c['actor_dist'], c['actor_dist']),
      action_init_std=c['actor_init_std'], actor_grad_mix=c['actor_grad_mix'])
  behaviour = actor_critic.ActorCritic(feat.shape[-1], c['action'], settings)
  variables = {
      **_variables(**_head_layers('actor', behaviour.actor)),
      **_variables(**_head_layers('critic', behaviour.value)),
      **_variables(**_head_layers('target_critic', behaviour.slow_value))}
  parity.assign(variables, fixture.weights)
  with tf.GradientTape(persistent=True) as tape:
    tape.watch(feat)
    policy = behaviour.actor(tf.stop_gradient(feat[:-1]))
    entropy, log_prob = policy.entropy(), behaviour.log_prob(policy, inputs['action'][1:])
    actor_loss, value_loss, outputs = behaviour.losses(
        feat, inputs['reward'], inputs['discount'], entropy, log_prob)
  own = lambda prefix: {key: x for key, x in variables.items() if key.startswith(prefix)}
  return {
      'out/target': outputs['returns'], 'out/actor_loss': actor_loss,
      'out/critic_loss': value_loss, 'out/entropy': entropy[:-1], 'out/log_prob': log_prob[:-1],
      'grad/actor_loss/feat': tape.gradient(
          actor_loss, feat, unconnected_gradients=tf.UnconnectedGradients.ZERO),
      **parity.gradients('grad', tape, actor_loss, own('actor/')),
      **parity.gradients('grad', tape, value_loss, own('critic/'))}


CHECKS = {
    'v2_rssm': v2_rssm, 'v2_gru_cell': v2_gru_cell, 'v2_kl_loss': v2_kl_loss,
    'v2_onehot': v2_onehot, 'v2_tanh_normal': v2_tanh_normal,
    'v2_trunc_normal': v2_trunc_normal, 'v2_actor_critic': v2_actor_critic}


def _rssm(c):
  if c['discrete']:
    latent = stochastic.CategoricalLatent(c['stoch'], c['discrete'])
  else:
    latent = stochastic.GaussianLatent(c['stoch'], c['min_std'], std_act=c['std_act'])
  model = rssm.RSSM(
      c['action'], c['embed'], latent, c['deter'], c['hidden'], c['act'], gru='norm',
      norm=c['norm'], ensemble=c['ensemble'])
  model.centre_member = c['ensemble_index']
  return model


def _rssm_variables(model):
  layers = {
      'img_in': model.img_in.layers[0], 'gru': model.gru.gates,
      'obs_out': model.obs_out.layers[0], 'obs_dist': model.obs_dist}
  for i, (mlp, dist) in enumerate(zip(model.img_out, model.img_dist)):
    layers.update({f'img_out_{i}': mlp.layers[0], f'img_dist_{i}': dist})
  found = {}
  for name, layer in layers.items():
    # Norms are named after their layer: img_out_norm_0 belongs to img_out_0, gru/norm to gru.
    stem, _, index = name.rpartition('_') if name[-1].isdigit() else (name, '', '')
    norm = 'gru/norm' if name == 'gru' else '_'.join(filter(None, [stem, 'norm', index]))
    found.update(_layer_variables(f'rssm/{name}', layer, f'rssm/{norm}'))
  return found


def _head_layers(name, head):
  *hidden, out = head.layers
  layers = {f'{name}/dense{i}': layer for i, layer in enumerate(hidden)}
  if isinstance(out, nets.SplitDense):
    return {**layers, f'{name}/out': out.layers[0], f'{name}/out_std': out.layers[1]}
  return {**layers, f'{name}/out': out}


def _variables(**layers):
  found = {}
  for name, layer in layers.items():
    found.update(_layer_variables(name, layer, f'{name}/norm'))
  return found


def _layer_variables(name, layer, norm):
  """{logical name: variable} of a dense layer and of the norm that may follow it."""
  short = lambda variable: variable.name.rpartition('/')[2].partition(':')[0]
  groups = {'kernel': name, 'bias': name, 'gamma': norm, 'beta': norm}
  return {
      f'{groups[short(variable)]}/{short(variable)}': variable
      for variable in layer.trainable_variables}


def _stats(arrays):
  """A state of recorded parameters; its sample plays no part in the divergence."""
  return {key: tf.convert_to_tensor(value) for key, value in arrays.items()}


def _actor_dist(fixture, kind):
  c = fixture.config
  if (c['low'], c['high']) != (-1, 1):
    raise config_lib.UserError('actions lie within -1 and 1 here.')
  actor = nets.Actor(
      c['inputs'], c['size'], kind, layers=0, init_std=c['init_std'], min_std=c['min_std'])
  out, out_std = actor.out.layers
  parity.assign(_variables(out=out, out_std=out_std), fixture.weights)
  return actor(tf.constant(fixture.inputs['x']))
