"""Parity of the model's parts: latent dynamics, networks, distributions, returns, preprocessing.

Everything is built from the settings of the fixture. A logical name such as rssm/img1/kernel is
that of tests/golden/README.md; `named` says which variable of ours it is.
"""
import gymnasium
import numpy as np
import tensorflow as tf

from common import config as config_lib
from common.model import actor_critic
from common.model import nets
from common.model import rssm
from common.model import stochastic
from common.model import world_model



def rssm_step(fixture):
  """One obs_step and one img_step; gradients of the probe that the fixture defines."""
  model, variables = _rssm(fixture)
  inputs = tensors(fixture.inputs)
  prev = {'stoch': inputs['prev_stoch'], 'deter': inputs['prev_deter']}
  with tf.GradientTape() as tape:
    post, prior = model.obs_step(prev, inputs['prev_action'], inputs['embed'], None)
    pairs = [
        (post['mean'], 'c_mean'), (post['std'], 'c_std'), (post['deter'], 'c_deter'),
        (prior['mean'], 'c_std'), (prior['std'], 'c_mean')]
    probe = tf.add_n([tf.reduce_sum(x * inputs[c]) for x, c in pairs])
  return {
      **prefixed('out/obs_step/post', post), **prefixed('out/obs_step/prior', prior),
      **prefixed('out/img_step/prior', model.img_step(prev, inputs['prev_action'], None)),
      'out/feat': model.get_feat(post), 'out/kl': model.kl(post, prior),
      'out/post_entropy': model.get_dist(post).entropy(), 'out/probe': probe,
      **gradients('grad', tape, probe, variables)}


def rssm_sequence(fixture):
  """Filtering from zeros and from a given state, and open-loop prediction from both."""
  model, _ = _rssm(fixture)
  inputs = tensors(fixture.inputs)
  embed, action = inputs['embed'], inputs['action']
  given = {**model.initial(embed.shape[0]), 'stoch': inputs['init/stoch'],
           'deter': inputs['init/deter']}
  post, prior = model.observe(embed, action, None)
  post_given, prior_given = model.observe(embed, action, None, given)
  last = {key: value[:, -1] for key, value in post.items()}
  ahead = inputs['imagine_action']
  return {
      **prefixed('out/observe/post', post), **prefixed('out/observe/prior', prior),
      **prefixed('out/observe_init/post', post_given),
      **prefixed('out/observe_init/prior', prior_given),
      **prefixed('out/imagine', model.imagine(ahead, None, last)),
      **prefixed('out/imagine_zero', model.imagine(ahead, None)),
      'out/kl': model.kl(post, prior)}


def encoder(fixture):
  """Embedding of images as they are stored; gradients of a weighted sum."""
  settings, image = fixture.config, fixture.inputs['image']
  _refuse_other(fixture, kernels=nets.ENCODER_KERNELS, strides=2, padding='valid')
  net = nets.ConvEncoder(image.shape[-3:], settings['cnn_depth'], settings['cnn_act'])
  variables = named(encoder=net)
  assign(variables, fixture.weights)
  with tf.GradientTape() as tape:
    embed = net(_preprocess({'image': image})['image'])
    probe = tf.reduce_sum(embed * fixture.inputs['c'])
  return {'out/embed': embed, 'out/probe': probe, **gradients('grad', tape, probe, variables)}


def decoder(fixture):
  """Mean images, their log-probability of stored images, gradients of its mean."""
  settings, inputs = fixture.config, fixture.inputs
  _refuse_other(fixture, kernels=nets.DECODER_KERNELS, strides=2, padding='valid', std=1.0)
  net = nets.ConvDecoder(
      settings['feat'], settings['image_shape'], settings['cnn_depth'], settings['cnn_act'])
  variables = named(decoder=net)
  assign(variables, fixture.weights)
  image = _preprocess({'image': inputs['image']})['image']
  with tf.GradientTape() as tape:
    dist = net(tf.constant(inputs['feat']))
    log_prob = dist.log_prob(image)
    mean_log_prob = tf.reduce_mean(log_prob)
  return {
      'out/mean': dist.mean()[:, :1], 'out/mean_sum': tf.reduce_sum(dist.mean(), (-3, -2, -1)),
      'out/log_prob': log_prob, **gradients('grad', tape, mean_log_prob, variables)}


def dense(fixture):
  """A head: its distribution at the features, and the log-probability of targets."""
  settings, inputs = fixture.config, tensors(fixture.inputs)
  net = nets.DenseHead(
      settings['feat'], settings['shape'], settings['layers'], settings['units'],
      settings['act'], settings['dist'])
  variables = named(head=net)
  assign(variables, fixture.weights)
  with tf.GradientTape() as tape:
    dist = net(inputs['feat'])
    log_prob = dist.log_prob(inputs['target'])
    mean_log_prob = tf.reduce_mean(log_prob)
  outputs = {
      'out/mean': dist.mean(), 'out/mode': dist.mode(), 'out/log_prob': log_prob,
      'out/mean_log_prob': mean_log_prob, **gradients('grad', tape, mean_log_prob, variables)}
  if settings['dist'] == 'binary':
    outputs['out/logits'] = dist.distribution.logits
  return outputs


def actor_tanh_normal(fixture):
  """Continuous actor. Rows 0 and 1 hold actions at the bounds, which gradients leave out."""
  dist, sampled, rated, outputs = _actor(fixture, 'tanh_normal', slice(2, None))
  return {'out/mean': dist.normal_mean, 'out/std': dist.normal_std, **sampled, **rated, **outputs}


def actor_onehot(fixture):
  """Discrete actor, and the straight-through gradient of its samples."""
  dist, sampled, rated, outputs = _actor(fixture, 'onehot', slice(None))
  return {
      'out/logits': dist.logits, 'out/probs': dist.probs, 'out/mode': dist.mode(),
      'out/entropy': dist.entropy(), **sampled, **rated, **outputs}


def lambda_return(fixture):
  """Lambda-returns of every case; a number as pcont where the fixture has no array."""
  outputs = {}
  for index, case in enumerate(fixture.config['cases']):
    inputs = tensors(fixture.under(f'in/case{index}/'))
    pcont = inputs['pcont'] if 'pcont' in inputs else float(case['pcont'])
    outputs[f'out/case{index}/returns'] = actor_critic.lambda_return(
        inputs['reward'], inputs['value'], pcont, inputs.get('bootstrap'), case['lambda_'],
        case['axis'])
  return outputs


def preprocess(fixture):
  """Images and rewards as the networks see them, for each way to clip rewards."""
  outputs = {}
  for key in fixture.expected:
    parts = key.split('/')
    clip = parts[1] if len(parts) == 3 else 'none'
    outputs[key] = _preprocess(fixture.inputs, clip)[parts[-1]]
  return outputs


CHECKS = {
    'rssm_step': rssm_step, 'rssm_sequence': rssm_sequence, 'encoder': encoder,
    'decoder': decoder, 'dense_normal': dense, 'dense_binary': dense, 'dense_vector': dense,
    'actor_tanh_normal': actor_tanh_normal, 'actor_onehot': actor_onehot,
    'lambda_return': lambda_return, 'preprocess': preprocess}


def named(**modules):
  """Return {logical name: variable} of networks given by the first part of their names."""
  variables = {}
  for group, module in modules.items():
    for name, layer in _layers(module).items():
      for variable in layer.trainable_variables:
        short = variable.name.rpartition('/')[2].partition(':')[0]
        variables[f'{group}/{name}/{short}'] = variable
  return variables


def assign(variables, weights):
  """Load recorded weights {logical name: array} into variables of the same names.

  Groups (first parts of names) that the fixture does not know keep their values. Raises
  config.UserError if a name has no variable, a variable of a known group no weight, or shapes
  differ.
  """
  groups = {name.split('/')[0] for name in weights}
  ours = {name for name in variables if name.split('/')[0] in groups}
  if ours != set(weights):
    raise config_lib.UserError(
        f'weights without counterpart: {", ".join(sorted(ours ^ set(weights)))}.')
  for name, value in weights.items():
    if variables[name].shape != value.shape:
      raise config_lib.UserError(
          f'{name} has shape {list(value.shape)} but the network built from the settings '
          f'{list(variables[name].shape)}.')
    variables[name].assign(value)


def gradients(prefix, tape, target, variables):
  """Return {prefix/name: gradient} of a recorded scalar; zeros where it does not depend."""
  grads = tape.gradient(target, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
  return prefixed(prefix, grads)


def prefixed(prefix, values):
  """Return the values under the keys prefix/key."""
  return {f'{prefix}/{key}': value for key, value in values.items()}


def tensors(arrays):
  """Return the arrays as tensors, under the same keys."""
  return {key: tf.convert_to_tensor(value) for key, value in arrays.items()}


def _layers(module):
  if isinstance(module, rssm.RSSM):
    return {
        'img1': module.img_in.layers[0], 'gru': module.gru, 'img2': module.img_out[0].layers[0],
        'img3': module.img_dist[0], 'obs1': module.obs_out.layers[0], 'obs2': module.obs_dist}
  if isinstance(module, (nets.ConvEncoder, nets.ConvDecoder)):
    return {f'h{i}': layer for i, layer in enumerate(module.layers, 1)}
  *hidden, out = module.layers
  return {**{f'h{i}': layer for i, layer in enumerate(hidden)}, 'hout': out}


def _rssm(fixture):
  settings = fixture.config
  _refuse_other(fixture, std_act='softplus')
  latent = stochastic.GaussianLatent(settings['stoch'], settings['min_std'])
  model = rssm.RSSM(
      settings['action'], settings['embed'], latent, settings['deter'], settings['hidden'],
      settings['act'])
  variables = named(rssm=model)
  assign(variables, fixture.weights)
  return model, variables


def _actor(fixture, kind, rated_rows):
  """Return the distribution, sample and log-probability entries, and the gradients of both."""
  settings, inputs = fixture.config, tensors(fixture.inputs)
  constants = {
      key: settings[key] for key in ('init_std', 'min_std', 'mean_scale') if key in settings}
  net = nets.Actor(
      settings['feat'], settings['size'], kind, settings['layers'], settings['units'],
      settings['act'], **constants)
  variables = named(actor=net)
  assign(variables, fixture.weights)
  with tf.GradientTape(persistent=True) as tape:
    dist = net(inputs['feat'])
    sample = dist.sample(None)
    probe = tf.reduce_sum(sample * inputs['c'])
    log_prob = dist.log_prob(inputs['action'])
    mean_log_prob = tf.reduce_mean(log_prob[rated_rows])
  sampled = {'out/sample': sample, 'out/probe': probe}
  rated = {'out/log_prob': log_prob, 'out/mean_log_prob': mean_log_prob}
  grads = {
      **gradients('grad/sample', tape, probe, variables),
      **gradients('grad/log_prob', tape, mean_log_prob, variables)}
  if kind == 'onehot':
    grads['grad/sample/logits'] = tape.gradient(probe, dist.logits)
  return dist, sampled, rated, grads


def _preprocess(data, clip_rewards='none'):
  """Rows through WorldModel.preprocess of a small model."""
  settings = config_lib.load(
      'dreamer', ['--configs', 'debug', '--task', 'dummy_continuous',
                  '--clip_rewards', clip_rewards])
  image = gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)
  return world_model.WorldModel({'image': image}, 1, settings).preprocess(tensors(data))


def _refuse_other(fixture, **constants):
  """Raise UserError if the fixture has another value for something that is fixed in our code."""
  for key, ours in constants.items():
    theirs = fixture.config.get(key, ours)
    theirs = tuple(theirs) if isinstance(theirs, list) else theirs
    if theirs != ours:
      raise config_lib.UserError(f'{key} is {theirs} in the fixture but always {ours} here.')
