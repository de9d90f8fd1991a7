"""The recurrent state-space model: its states, cell, steps, scans and noise."""
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from common.model import dists
from common.model import rssm
from common.model import stochastic

B, T, A, E, S, D, HIDDEN = 3, 5, 2, 7, 4, 6, 8
SEED = tf.constant([3, 4])


def make(shared_noise=False, hidden=HIDDEN):
  tf_keras.utils.set_random_seed(0)
  return rssm.RSSM(A, E, stochastic.GaussianLatent(S, 0.1, shared_noise), D, hidden)


def draw(*shape, seed=0):
  return tf.constant(np.random.default_rng(seed).normal(size=shape), tf.float32)


def state(seed=0):
  return {'stoch': draw(B, S, seed=seed), 'deter': draw(B, D, seed=seed + 1)}


def assert_same(ours, theirs, atol=1e-6):
  assert ours.keys() == theirs.keys()
  for key, value in ours.items():
    np.testing.assert_allclose(value, theirs[key], atol=atol, err_msg=key)


def test_state_before_the_first_observation_is_all_zeros():
  initial = rssm.RSSM(6, 1024, stochastic.GaussianLatent(30), 200, 200).initial(5)
  shapes = {key: tuple(value.shape) for key, value in initial.items()}
  assert shapes == {'mean': (5, 30), 'std': (5, 30), 'stoch': (5, 30), 'deter': (5, 200)}
  assert not any(np.any(value) for value in initial.values())


def test_standard_deviations_stay_above_their_floor_and_start_at_softplus_of_zero():
  latent = stochastic.GaussianLatent(S, 0.1)
  low = latent.state(tf.fill([B, 2 * S], -50.0), SEED)
  np.testing.assert_allclose(low['std'], 0.1, atol=1e-6)
  np.testing.assert_allclose(latent.state(tf.zeros([B, 2 * S]), SEED)['std'], 0.7931, atol=1e-4)


def test_both_priors_and_posteriors_have_the_floor():
  model = make()
  for layer in (model.img_dist[0], model.obs_dist):
    layer.bias.assign(tf.fill([2 * S], -50.0))
  for result in model.obs_step(state(), draw(B, A), draw(B, E), SEED):
    assert np.all(result['std'].numpy() >= 0.1)


def test_features_are_stoch_first_and_deter_after():
  feat = make().get_feat({'stoch': tf.ones([B, S]), 'deter': tf.fill([B, D], 2.0)})
  np.testing.assert_array_equal(feat, [[1] * S + [2] * D] * B)


def test_posterior_and_prior_share_deter_and_only_the_posterior_sees_the_embedding():
  model = make()
  post, prior = model.obs_step(state(), draw(B, A), draw(B, E), SEED)
  other_post, other_prior = model.obs_step(state(), draw(B, A), draw(B, E, seed=9), SEED)
  np.testing.assert_array_equal(post['deter'], prior['deter'])
  assert_same(prior, other_prior, atol=0)
  assert np.abs(post['mean'] - other_post['mean']).max() > 1e-3
  assert np.abs(post['mean'] - prior['mean']).max() > 1e-3


def test_prior_of_obs_step_is_img_step():
  model = make()
  _, prior = model.obs_step(state(), draw(B, A), draw(B, E), None)
  assert_same(prior, model.img_step(state(), draw(B, A), None))


def test_posterior_is_two_layers_on_deter_then_embed():
  model, embed = make(), draw(B, E, seed=5)
  model.obs_out.layers[0].bias.assign(draw(HIDDEN, seed=6))
  post, _ = model.obs_step(state(), draw(B, A), embed, None)
  mean, raw = tf.split(model.obs_dist(model.obs_out(tf.concat([post['deter'], embed], -1))), 2, -1)
  np.testing.assert_allclose(post['mean'], mean, atol=1e-6)
  np.testing.assert_allclose(post['std'], tf.nn.softplus(raw) + 0.1, atol=1e-6)


def test_recurrent_cell_is_the_published_gru_with_two_biases():
  model, inputs = make(), draw(B, HIDDEN)
  model.gru.bias.assign(draw(2, 3 * D, seed=2))
  old = draw(B, D, seed=1)
  sigmoid = lambda x: 1 / (1 + np.exp(-x))
  bias = model.gru.bias.numpy()
  a = np.split(inputs.numpy() @ model.gru.kernel.numpy() + bias[0], 3, -1)
  c = np.split(old.numpy() @ model.gru.recurrent_kernel.numpy() + bias[1], 3, -1)
  update, reset = sigmoid(a[0] + c[0]), sigmoid(a[1] + c[1])
  expected = update * old + (1 - update) * np.tanh(a[2] + reset * c[2])
  np.testing.assert_allclose(model.gru(inputs, [old])[0], expected, atol=1e-6)


@pytest.mark.parametrize('seed', [None, SEED])
def test_observe_is_obs_step_over_the_rows_with_the_action_of_the_same_row(seed):
  model, embed, action = make(), draw(B, T, E), draw(B, T, A, seed=1)
  post, prior = model.observe(embed, action, seed)
  seeds = dists.split_seed(seed, T)
  carry = model.initial(B)
  for t in range(T):
    carry, before = model.obs_step(carry, action[:, t], embed[:, t], seeds[t])
    assert_same({key: value[:, t] for key, value in post.items()}, carry)
    assert_same({key: value[:, t] for key, value in prior.items()}, before)


@pytest.mark.parametrize('seed', [None, SEED])
def test_imagine_is_img_step_over_the_actions(seed):
  model, action = make(), draw(B, T, A)
  prior = model.imagine(action, seed)
  assert {key: tuple(value.shape) for key, value in prior.items()} == {
      'mean': (B, T, S), 'std': (B, T, S), 'stoch': (B, T, S), 'deter': (B, T, D)}
  seeds = dists.split_seed(seed, T)
  carry = model.initial(B)
  for t in range(T):
    carry = model.img_step(carry, action[:, t], seeds[t])
    assert_same({key: value[:, t] for key, value in prior.items()}, carry)


def test_observe_and_imagine_start_from_a_given_state():
  model, embed, action = make(), draw(B, T, E), draw(B, T, A)
  whole, _ = model.observe(embed, action, None)
  middle = {key: value[:, 1] for key, value in whole.items()}
  rest, _ = model.observe(embed[:, 2:], action[:, 2:], None, middle)
  assert_same(rest, {key: value[:, 2:] for key, value in whole.items()})
  ahead = model.imagine(action[:, 2:], None, middle)
  first = model.img_step(middle, action[:, 2], None)
  assert_same({key: value[:, 0] for key, value in ahead.items()}, first)


def test_states_move_with_time_and_with_the_action():
  model = make()
  still = model.imagine(tf.zeros([B, T, A]), None, {**model.initial(B), **state()})
  moved = model.imagine(tf.ones([B, T, A]), None, {**model.initial(B), **state()})
  for t in range(1, T):
    assert np.abs(still['deter'][:, t] - still['deter'][:, t - 1]).max() > 1e-4
  assert np.abs(moved['stoch'] - still['stoch']).min(-1).max() > 1e-4


@pytest.mark.parametrize('shared', [False, True])
def test_equal_rows_get_equal_samples_only_with_shared_noise(shared):
  model = make(shared)
  post, prior = model.observe(tf.ones([B, T, E]), tf.ones([B, T, A]), SEED)
  for result in (post, prior):
    noise = (result['stoch'] - result['mean']) / result['std']
    same = np.ptp(noise.numpy(), axis=0) < 1e-4
    assert same.all() if shared else not same.any()
    # Every time step and every dimension draws anew.
    assert len(np.unique(noise[0].numpy().round(4))) == T * S


def test_prior_and_posterior_draw_different_noise():
  model = make()
  post, prior = model.observe(draw(B, T, E), draw(B, T, A), SEED)
  noise = [(x['stoch'] - x['mean']) / x['std'] for x in (post, prior)]
  assert np.abs(noise[0] - noise[1]).min() > 1e-6


def test_samples_follow_from_the_seed():
  model = make()
  draws = [model.imagine(draw(B, T, A), seed)['stoch'] for seed in (SEED, SEED, SEED + 1)]
  np.testing.assert_array_equal(draws[0], draws[1])
  assert np.abs(draws[0] - draws[2]).min() > 0


def test_divergence_is_that_of_the_posterior_from_the_prior():
  model = make()
  post = {'mean': draw(B, S), 'std': tf.fill([B, S], 0.5)}
  prior = {'mean': draw(B, S, seed=1), 'std': tf.fill([B, S], 2.0)}
  sp, sq = 0.5, 2.0
  expected = np.log(sq / sp) + (
      sp ** 2 + np.square(post['mean'] - prior['mean'])) / (2 * sq ** 2) - 0.5
  np.testing.assert_allclose(model.kl(post, prior), expected.sum(-1), rtol=1e-5)
  assert np.abs(model.kl(prior, post) - model.kl(post, prior)).min() > 0.1


def test_hidden_size_is_free_of_the_deter_size():
  model = make(hidden=11)
  assert model.img_in.layers[0].kernel.shape == (S + A, 11) and model.gru.kernel.shape == (11, 3 * D)
  assert model.obs_out.layers[0].kernel.shape == (D + E, 11) and model.img_out[0].layers[0].kernel.shape == (D, 11)
