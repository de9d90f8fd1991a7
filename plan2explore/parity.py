"""Parity of Plan2Explore's own parts: both ensembles, their rewards, the early bootstrap."""
import tensorflow as tf

from common.checks.parity import model as parity
from common.config import UserError
from common.model import actor_critic
from plan2explore import ensemble
from plan2explore.novelty import scales


def p2e_ensemble(fixture):
  """The authors' ensemble: resampled rows, losses, predictions, rewards of imagined states."""
  c, inputs = fixture.config, parity.tensors(fixture.inputs)
  states = {key: inputs[f'prior/{key}'] for key in ('sample', 'belief')}
  if c['model_type'] == 1:
    source, target, seen = states['belief'], inputs['embed'], inputs['seq/belief']
  elif c['model_type'] == 3:
    source = tf.concat([states['sample'], states['belief']], -1)
    target = inputs['post/sample']
    seen = tf.concat([inputs['seq/sample'], inputs['seq/belief']], -1)
  else:
    raise UserError(f'model_type {c["model_type"]} predicts a copy of its input, which is refused.')
  net = ensemble.Ensemble(
      source.shape[-1], c['A'], target.shape[-1], c['K'], c['layers'],
      int(target.shape[-1] * c['model_width_factor']), c['act'], True, c['max_objective'])
  names = [f'h{i}' for i in range(c['layers'])] + ['mean'] + ['std'] * bool(c['max_objective'])
  _assign(net, names, fixture.weights)
  source, action, target, mask = ensemble.pairs('next', 0, source, target, inputs['action'])
  _, losses = ensemble.loss(net, source, action, target, 'mse_mean', inputs['rows'], mask)
  pick = lambda x: tf.gather(x, inputs['rows'])                    # [K, B, T, ...]
  own = lambda x: tf.reshape(pick(x), [c['K'], -1, x.shape[-1]])
  mean, std = net(seen, inputs['seq/action'])
  if c['max_objective']:
    reward = ensemble.jensen_renyi(mean, std)
  else:
    raw = ensemble.disagreement(mean, 'var')
    settings = _Settings(intr_log=False, intr_scale=c['intrinsic_reward_scale'])
    reward, _ = scales.shape_reward(raw, lambda x: (x, None), settings)
  outputs = {
      'out/member_input': pick(source), 'out/member_action': pick(action),
      'out/member_target': pick(target), 'out/member_loss': losses,
      'out/predictions': tf.reshape(
          net.predict(own(source), own(action))[0], [c['K'], *target.shape]),
      'out/seq/predictions': mean, 'out/seq/intrinsic_reward': reward}
  if c['max_objective']:
    outputs['out/seq/variance'] = std ** 2
  return outputs


def p2e_lambda_return(fixture):
  """Lambda-returns that end with the last value, and with the one before it."""
  c, inputs = fixture.config, parity.tensors(fixture.inputs)
  axis = c['axis']
  # Time comes first in what `bootstrap` takes.
  value = tf.unstack(inputs['value'], axis=axis)
  rows = {
      key: tf.gather(inputs[key], range(len(value) - 1), axis=axis)
      for key in ('reward', 'value', 'pcont')}
  returns = lambda kind: actor_critic.lambda_return(
      rows['reward'], rows['value'], rows['pcont'], actor_critic.bootstrap(value, kind),
      c['lambda_'], axis)
  return {
      'out/returns_plain': returns('last'), 'out/returns_reference_bootstrap': returns('authors')}


def v2_plan2explore(fixture):
  """DreamerV2's ensemble: loss with its offset, predictions, normalised rewards, gradients."""
  c, inputs = fixture.config, parity.tensors(fixture.inputs)
  told = 'past' if c['disag_action_cond'] else 'none'
  target = _target(inputs, c['disag_target'])
  net = ensemble.Ensemble(
      inputs['feat'].shape[-1], c['action'] if told == 'past' else 0, target.shape[-1], c['K'],
      c['layers'], c['units'], c['act'], False)
  variables = _assign(
      net, [f'dense{i}' for i in range(c['layers'])] + ['out'], fixture.weights)
  source, action, target, _ = ensemble.pairs(
      told, c['disag_offset'], inputs['feat'], target, inputs['action'])
  with tf.GradientTape() as tape:
    loss, _ = ensemble.loss(net, source, action, target, 'nll_unit')
  grads = tape.gradient(loss, [ref.deref() for ref in variables])
  outputs = {
      f'grad/{name}': grad[k] if name.endswith('kernel') else grad[k, 0]
      for names, grad in zip(variables.values(), grads) for k, name in enumerate(names)}
  tell = lambda action: action if told == 'past' else None
  mean, _ = net(inputs['seq/feat'], tell(inputs['seq/action']))
  raw = ensemble.disagreement(mean, 'std')
  norm = scales.StreamNorm(
      c['reward_norm_momentum'], c['reward_norm_scale'], c['reward_norm_eps'])
  settings = _Settings(intr_log=c['disag_log'], intr_scale=c['intr_scale'])
  rewards = []
  for _ in range(2):
    reward, mag = scales.shape_reward(raw, norm, settings)
    norm.update(mag)
    rewards.append(reward)
  return {
      **outputs, 'out/ensemble_loss': loss,
      'out/predictions': net(inputs['feat'], tell(inputs['action']))[0],
      'out/seq/predictions': mean, 'out/seq/intrinsic_reward': rewards[0],
      'out/seq/intrinsic_reward_second_call': rewards[1], 'out/seq/mag': norm.mag.numpy()}


CHECKS = {
    'p2e_ensemble': p2e_ensemble, 'p2e_lambda_return': p2e_lambda_return,
    'v2_plan2explore': v2_plan2explore}


def _target(inputs, name):
  """What members predict [B, T, D], classes side by side; deter is what follows stoch in feat."""
  if name in inputs:
    return tf.reshape(inputs[name], [*inputs[name].shape[:2], -1])
  assert name == 'deter', name
  return inputs['feat'][..., _target(inputs, 'stoch').shape[-1]:]


class _Settings(dict):
  """What `shape_reward` reads of a config."""

  __getattr__ = dict.__getitem__


def _assign(net, names, weights):
  """Load ensembleK/LAYER/kernel and bias; returns {reference of variable: recorded names}."""
  layers = [*net.hidden, net.mean] + ([net.std] if net.std else [])
  if len(layers) != len(names):
    raise UserError(f'the ensemble has {len(layers)} layers but the fixture {len(names)}.')
  found, left = {}, dict(weights)
  for name, layer in zip(names, layers):
    for kind in ('kernel', 'bias'):
      variable = getattr(layer, kind)
      recorded = [f'ensemble{k}/{name}/{kind}' for k in range(variable.shape[0])]
      value = tf.stack([left.pop(key) for key in recorded])
      variable.assign(tf.reshape(value, variable.shape) if kind == 'bias' else value)
      found[variable.ref()] = recorded
  if left:
    raise UserError(f'weights without counterpart: {", ".join(sorted(left))}.')
  return found
