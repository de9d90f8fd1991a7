"""With image_background the decoder draws on the mean picture of the prefill."""
import types

import numpy as np
import pytest
import tensorflow as tf

from common import config as config_lib
from common.data import episodes
from common.loop import run
from common.model import nets
import loops

PIXELS = [
    '--task', 'dummy_continuous', '--cnn_keys', 'image', '--mlp_keys', 'vector', '--cnn_depth', 1,
    '--image_background', True, '--envs', 2]


def test_a_background_is_added_to_what_is_drawn_and_learned():
  plain = nets.ConvDecoder(5, depth=2)
  decoder = nets.ConvDecoder(5, depth=2, background=True)
  for ours, theirs in zip(decoder.layers, plain.layers):
    ours.set_weights(theirs.get_weights())
  feat = tf.random.stateless_normal([3, 4, 5], [0, 1])
  np.testing.assert_array_equal(decoder.mean(feat), plain.mean(feat))
  background = tf.random.stateless_uniform([64, 64, 3], [0, 2])
  decoder.background.assign(background)
  with tf.GradientTape() as tape:
    mean = decoder.mean(feat)
    loss = tf.reduce_sum(mean)
  np.testing.assert_allclose(mean, plain.mean(feat) + background, atol=1e-6)
  np.testing.assert_allclose(tape.gradient(loss, decoder.background), np.full([64, 64, 3], 12.0))
  assert len(decoder.trainable_variables) == len(plain.trainable_variables) + 1


@pytest.fixture
def toy(monkeypatch):
  """Runs use an agent that leaves its world model as it is."""
  loops.use_toy(monkeypatch.setattr)


def background(path):
  """That of the newest checkpoint."""
  return next(
      value for name, value in loops.saved(path).items()
      if name.endswith('decoder/conv/background/.ATTRIBUTES/VARIABLE_VALUE'))


def test_it_begins_as_the_mean_of_all_rows_of_the_prefill(toy, tmp_path):
  loops.start(tmp_path, *PIXELS)
  images = [
      episodes.read(path, rows)[0]['image']
      for path, (k, _, rows) in episodes.named(tmp_path / 'episodes') if k < 1]
  assert len(images) == 2  # of 20 frames each, prefill 40
  expected = np.concatenate(images).mean(0) / 255 - 0.5
  np.testing.assert_allclose(background(tmp_path), expected, atol=1e-6)


def test_a_run_that_goes_on_keeps_it(toy, tmp_path):
  loops.start(tmp_path, *PIXELS)
  first = background(tmp_path)
  loops.start(tmp_path, *PIXELS, '--steps', 240)
  assert len(loops.episodes(tmp_path)) > 6
  np.testing.assert_array_equal(background(tmp_path), first)


@pytest.mark.parametrize('flags', [
    ['--obs_loss', 'contrastive'], ['--cnn_keys=', '--mlp_keys', 'vector']])
def test_without_pictures_to_draw_there_is_none(toy, tmp_path, flags):
  loops.start(tmp_path, *PIXELS, *flags)
  assert not any('background' in name for name in loops.saved(tmp_path))


@pytest.mark.parametrize('updates, snapshot, drawn', [(0, False, 1), (7, False, 0), (0, True, 0)])
def test_a_decoder_that_has_learned_keeps_its_background(updates, snapshot, drawn):
  calls = []
  decoder = types.SimpleNamespace(draw_on=calls.append)
  one = types.SimpleNamespace(
      _config=config_lib.Config({'obs_loss': 'reconstruction', 'snapshot': snapshot}),
      _learner=types.SimpleNamespace(updates=updates),
      _agent=types.SimpleNamespace(world_model=types.SimpleNamespace(decoder=decoder)))
  run.Run._draw_on_what_is_there(one)
  assert len(calls) == drawn
