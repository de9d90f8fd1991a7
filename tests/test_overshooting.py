"""Latent overshooting: which predictions are compared with what, padding, and gradients."""
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from common.model import overshooting
from common.model import rssm
from common.model import stochastic
from planet import parity

B, T, A, E = 2, 6, 2, 5


def model(mean_only=True):
  tf_keras.utils.set_random_seed(1)
  return rssm.RSSM(A, E, stochastic.GaussianLatent(3, mean_only=mean_only), 4, 5, gru='block')


def draw(*shape, seed=0):
  return tf.constant(np.random.default_rng(seed).normal(size=shape), tf.float32)


def loss(net, post, action, distance=4, free_nats=0.0, norm='all', stop_start=False):
  return overshooting.loss(net, post, action, distance, free_nats, norm, stop_start, None)


def test_a_worked_example():
  seen = tf.constant([[10, 20, 30, 40, 50, 60], [70, 80, 0, 0, 0, 0]], tf.float32)[..., None]
  action = tf.constant([[0, .1, .2, .3, .4, .5], [9, .7, 0, 0, 0, 0]], tf.float32)[..., None]
  prior, target, mask = overshooting.overshoot(
      parity.Adding(), {'stoch': seen}, action, tf.constant([6, 2]), 4, None)
  rows = prior['stoch'][..., 0].numpy()
  np.testing.assert_allclose(rows[0, :, 0], [0, 10.1, 20.2, 30.3, 40.4, 50.5], rtol=1e-5)
  np.testing.assert_allclose(rows[0, :, 1], [0.1, 10.3, 20.5, 30.7, 40.9, 0], rtol=1e-5)
  np.testing.assert_allclose(rows[0, :, 2], [0.3, 10.6, 20.9, 31.2, 0, 0], rtol=1e-5)
  np.testing.assert_allclose(rows[0, :, 3], [0.6, 11.0, 21.4, 0, 0, 0], rtol=1e-5)
  np.testing.assert_allclose(rows[1, :2, 0], [9.0, 70.7], rtol=1e-5)
  np.testing.assert_allclose(rows[1, :2, 1], [9.7, 0], rtol=1e-5)
  assert not rows[1, 2:].any()
  np.testing.assert_array_equal(target['stoch'][0, :, 1, 0], [20, 30, 40, 50, 60, 0])
  np.testing.assert_array_equal(mask[1].numpy().sum(0), [2, 1, 0, 0])


def test_full_chunks_have_one_valid_entry_less_a_row():
  net = model()
  post, _ = net.observe(draw(B, T, E), draw(B, T, A), None)
  _, _, mask = overshooting.overshoot(net, post, draw(B, T, A), tf.fill([B], T), 5, None)
  np.testing.assert_array_equal(mask.numpy().sum((0, 1)), B * np.array([6, 5, 4, 3, 2]))


def test_row_zero_is_the_ordinary_prior_and_does_not_count():
  net, action = model(), draw(B, T, A)
  post, prior = net.observe(draw(B, T, E), action, None)
  rolled, target, mask = overshooting.overshoot(net, post, action, tf.fill([B], T), 4, None)
  np.testing.assert_allclose(rolled['mean'][:, :, 0], prior['mean'], atol=1e-6)
  kl = net.kl(target, rolled, mask).numpy()[:, :, 1:]
  assert loss(net, post, action).numpy() == pytest.approx(kl.mean(), rel=1e-5)
  each = [kl[:, :T - r, r - 1].mean() for r in (1, 2, 3)]
  assert loss(net, post, action, norm='per_distance').numpy() == pytest.approx(
      np.mean(each), rel=1e-5)
  beyond = np.maximum(kl - 0.1, 0).mean()
  assert loss(net, post, action, free_nats=0.1).numpy() == pytest.approx(beyond, rel=1e-5)


@pytest.mark.parametrize('distance', [0, 1])
def test_distances_below_two_contribute_nothing(distance):
  net, action = model(), draw(B, T, A)
  post, _ = net.observe(draw(B, T, E), action, None)
  assert loss(net, post, action, distance).numpy() == 0


def test_distances_beyond_the_sequence_are_finite_and_add_nothing():
  net, action = model(), draw(B, T, A)
  with tf.GradientTape(persistent=True) as tape:
    post, _ = net.observe(draw(B, T, E), action, None)
    enough, more = (loss(net, post, action, distance) for distance in (T, T + 4))
  assert (T - 1) * enough.numpy() == pytest.approx((T + 3) * more.numpy(), rel=1e-5)
  variables = net.img_in.trainable_variables
  for one, two in zip(tape.gradient(enough, variables), tape.gradient(more, variables)):
    assert np.isfinite(one).all()
    np.testing.assert_allclose((T - 1) * one, (T + 3) * two, rtol=1e-3, atol=1e-6)


def test_means_of_means_leave_out_distances_that_do_not_exist():
  net, action = model(), draw(B, T, A)
  post, _ = net.observe(draw(B, T, E), action, None)
  enough, more = (loss(net, post, action, d, norm='per_distance').numpy() for d in (T, T + 44))
  assert more == pytest.approx(enough, rel=1e-6)


@pytest.mark.parametrize('stop_start', [False, True])
def test_targets_get_no_gradient_and_starts_do_unless_stopped(stop_start):
  net, action, embed = model(), draw(B, T, A), draw(B, T, E)
  with tf.GradientTape() as tape:
    tape.watch(embed)
    post, _ = net.observe(embed, action, None)
    value = loss(net, post, action, stop_start=stop_start)
  gradient = tape.gradient(value, embed, unconnected_gradients='zero').numpy()
  assert gradient[:, :-2].any() != stop_start
  # The last two rows start nothing that is compared with a later row at distance 2.
  assert not gradient[:, -1].any()


def test_a_model_whose_prior_is_its_posterior_loses_nothing():
  net, action = model(), draw(B, T, A)
  prior = net.imagine(action, None)
  assert loss(net, prior, action).numpy() == pytest.approx(0, abs=1e-6)
