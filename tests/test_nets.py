"""Networks: their sizes, what they see, and the distributions that they give."""
import os
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from common import config as config_lib
from common.model import convs
from common.model import nets
from common.model import world_model
from dreamer.agent import Dreamer

import toys


def count(variables):
  return sum(int(np.prod(variable.shape)) for variable in variables)


def test_parameter_counts_are_the_published_ones():
  config = config_lib.load('dreamer', ['--task', 'dummy_continuous'])
  agent = Dreamer(config.replace(jit=False, pcont=True), toys.IMAGE, toys.actions(6))
  wm, behaviour = agent.world_model, agent.behaviour
  parts = {
      wm.encoder: 690_144, wm.rssm: 556_720 + 200 * 6, wm.decoder: 3_795_555,
      wm.reward: 253_201, wm.pcont_head: 413_601, behaviour.value: 413_601,
      behaviour.actor: 573_600 + 802 * 6}
  for part, expected in parts.items():
    assert count(part.trainable_variables) == expected, part
  assert count(wm.rssm.gru.trainable_variables) == 241_200
  assert count(wm.optimizer.variables_) == 5_296_820 + 413_601
  assert count(behaviour.actor_optimizer.variables_) == 578_412
  assert count(behaviour.value_optimizer.variables_) == 413_601


def test_onehot_actor_has_one_logit_for_each_action():
  actor = nets.Actor(230, 6, 'onehot')
  assert count(actor.trainable_variables) == 573_600 + 401 * 6


def test_encoder_goes_through_the_published_sizes():
  encoder = nets.ConvEncoder((64, 64, 3), depth=32)
  x, sizes = tf.zeros([1, 64, 64, 3]), []
  for layer in encoder.layers:
    x = layer(x)
    sizes.append(x.shape[1])
  assert sizes == [31, 14, 6, 2]
  assert encoder(tf.zeros([2, 3, 64, 64, 3])).shape == (2, 3, 1024)


def test_decoder_goes_through_the_published_sizes():
  decoder = nets.ConvDecoder(23, depth=32)
  x, sizes = tf.reshape(decoder.layers[0](tf.zeros([1, 23])), [1, 1, 1, 1024]), []
  for layer in decoder.layers[1:]:
    x = layer(x)
    sizes.append(x.shape[1])
  assert sizes == [5, 13, 30, 64]
  assert decoder(tf.zeros([2, 3, 23])).mean().shape == (2, 3, 64, 64, 3)


def both(ours, plain, layer, x, filters):
  """Values and gradients of a layer and of the plain operation, each a list of arrays."""
  layer.bias.assign(tf.random.stateless_normal([filters], [0, 2]))
  # Rounding decides which side of 0 a value near it is on, and with it whether relu has a gradient.
  near = tf.maximum(tf.abs(ours(x)), tf.abs(plain(x))) < 1e-4
  weights = tf.where(near, 0.0, tf.random.stateless_normal(near.shape, [0, 3]))
  results = []
  for function in (ours, plain):
    with tf.GradientTape() as tape:
      tape.watch(x)
      y = function(x)
      probe = tf.reduce_sum(weights * y)
    results.append([y, *tape.gradient(probe, [x, layer.kernel, layer.bias])])
  return zip(*results)


@pytest.mark.parametrize('cpu', [True, False])
@pytest.mark.parametrize('act', [None, 'relu', 'norm'])
@pytest.mark.parametrize('size, kernel, channels, filters', [
    (1, 5, 6, 4), (5, 5, 6, 4), (13, 6, 4, 2), (13, 6, 16, 8), (30, 6, 4, 3), (30, 6, 17, 3),
    (30, 6, 3, 1), (9, 6, 3, 1), (8, 4, 3, 3)])
def test_transposed_convolutions_equal_plain_ones_in_values_and_gradients(
    monkeypatch, size, kernel, channels, filters, act, cpu):
  monkeypatch.setattr(convs, 'on_cpu', lambda: cpu)
  act = nets.finish(filters, 'relu', 'layer') if act == 'norm' else nets.activation(act or 'none')
  layer = convs.ConvTranspose(filters, kernel, act)
  layer.build([None, size, size, channels])
  x = tf.random.stateless_normal([2, size, size, channels], [0, 1])
  out = 2 * (size - 1) + kernel
  plain = lambda x: act(tf.nn.conv2d_transpose(
      x, layer.kernel, [2, out, out, filters], 2, 'VALID') + layer.bias)
  for ours, theirs in both(layer, plain, layer, x, filters):
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=3e-3)


def test_the_decoders_last_bias_has_a_gradient_beyond_float16():
  """The sum over all pixels of a batch; as float16 it would be infinite, and halve the loss scale."""
  tf_keras.mixed_precision.set_global_policy('mixed_float16')
  try:
    decoder = nets.ConvDecoder(4, depth=1)
  finally:
    tf_keras.mixed_precision.set_global_policy('float32')
  with tf.GradientTape() as tape:
    loss = 32 * tf.reduce_sum(decoder.mean(tf.ones([2, 4], tf.float16)))
  bias, kernel = tape.gradient(loss, [decoder.layers[-1].bias, decoder.layers[-1].kernel])
  np.testing.assert_array_equal(bias, np.full(3, 32 * 2 * 64 * 64, np.float32))
  assert kernel.dtype == tf.float32


@pytest.mark.parametrize('cpu', [True, False])
@pytest.mark.parametrize('act', ['relu', 'norm'])
@pytest.mark.parametrize('size, kernel, channels, filters, columns', [
    (64, 4, 3, 8, 30), (64, 4, 3, 8, None), (64, 4, 1, 8, 30), (31, 4, 8, 16, None),
    (30, 4, 8, 16, None), (14, 4, 16, 32, None), (6, 4, 32, 64, None), (8, 4, 3, 2, 3)])
def test_convolutions_equal_plain_ones_in_values_and_gradients(
    monkeypatch, size, kernel, channels, filters, columns, act, cpu):
  monkeypatch.setattr(convs, 'on_cpu', lambda: cpu)
  act = nets.finish(filters, 'relu', 'layer') if act == 'norm' else tf.nn.relu
  layer = convs.Conv(filters, kernel, act, columns)
  layer.build([None, size, size, channels])
  x = tf.random.stateless_normal([2, size, size, channels], [0, 1])
  read = lambda y: y[:, :, :columns]
  plain = lambda x: read(act(tf.nn.conv2d(x, layer.kernel, 2, 'VALID') + layer.bias))
  for ours, theirs in both(lambda x: read(layer(x)), plain, layer, x, filters):
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=3e-3)


@pytest.mark.parametrize('size', [64, 48, 50, 52, 96])
def test_encoders_of_all_sizes_embed_as_plain_convolutions(monkeypatch, size):
  encoder = nets.ConvEncoder((size, size, 3), depth=4)
  image = tf.random.stateless_uniform([2, 3, size, size, 3], [0, 1], -0.5, 0.5)
  ours = encoder(image)
  assert ours.shape == (2, 3, encoder.embed_size)
  monkeypatch.setattr(convs, 'on_cpu', lambda: False)
  np.testing.assert_allclose(ours, encoder(image), rtol=1e-4, atol=1e-5)


def test_preprocessing_maps_black_to_minus_a_half_and_white_to_a_half():
  image = np.array([0, 255], np.uint8).reshape([1, 1, 2, 1, 1])
  rows = {'image': tf.constant(image), 'reward': tf.constant([[2.0]])}
  data = toys.model().preprocess(rows)
  np.testing.assert_allclose(np.ravel(data['image']), [-0.5, 0.5])
  assert float(data['reward'][0, 0]) == 2.0
  clipped = toys.model(clip_rewards='tanh').preprocess(rows)
  np.testing.assert_allclose(clipped['reward'], np.tanh([[2.0]]), rtol=1e-6)


def test_log_probability_of_the_mean_is_that_of_unit_variance():
  decoder, head = nets.ConvDecoder(5, depth=1), nets.DenseHead(5, (), 1, 4)
  feat = tf.random.stateless_normal([2, 5], [0, 1])
  np.testing.assert_allclose(decoder(feat).log_prob(decoder(feat).mean()), -11291.917, atol=2e-2)
  np.testing.assert_allclose(head(feat).log_prob(head(feat).mean()), -0.9189385, atol=1e-6)


@pytest.mark.parametrize('kind', ['normal', 'binary'])
def test_heads_sum_log_probabilities_over_their_shape_only(kind):
  feat = tf.random.stateless_normal([2, 3, 5], [0, 1])
  for shape in ((), (4,), (2, 3)):
    dist = nets.DenseHead(5, shape, 1, 8, kind=kind)(feat)
    assert dist.mean().shape == (2, 3) + shape
    assert dist.log_prob(tf.ones((2, 3) + shape)).shape == (2, 3)


def test_encoder_and_decoder_take_images_and_vectors_together():
  spaces = {
      **toys.IMAGE, 'position': gymnasium.spaces.Box(-1, 1, (3,), np.float32),
      'speed': gymnasium.spaces.Box(-1, 1, (1,), np.float32)}
  model = world_model.WorldModel(spaces, 2, toys.settings(mlp_keys='.*'))
  assert model.obs_keys == ['image', 'position', 'speed']
  data = toys.batch()
  data.update(position=np.ones((4, 5, 3), np.float32), speed=np.ones((4, 5, 1), np.float32))
  loss, outputs = model.loss(model.preprocess({k: tf.constant(v) for k, v in data.items()}), None)
  assert set(outputs['likes']) == {'image', 'position', 'speed', 'reward'}
  assert np.isfinite(loss)


def test_images_of_a_wrong_shape_are_refused():
  with pytest.raises(ValueError):
    nets.ConvEncoder((64, 32, 3))
  with pytest.raises(ValueError):
    nets.ConvDecoder(5, shape=(32, 32, 3))


def test_a_users_settings_of_keras_have_no_influence(tmp_path):
  (tmp_path / 'keras.json').write_text(
      '{"image_data_format": "channels_first", "floatx": "float16", "epsilon": 0.5}')
  code = (
      'import tensorflow as tf; from common.model import nets\n'
      'encoder = nets.ConvEncoder((64, 64, 3), 2)\n'
      'print(encoder(tf.zeros([2, 64, 64, 3])).dtype.name)')
  done = subprocess.run(
      [sys.executable, '-c', code], env={**os.environ, 'KERAS_HOME': str(tmp_path)},
      capture_output=True, text=True)
  assert done.stdout.split() == ['float32'], done.stderr
