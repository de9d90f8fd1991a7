"""PlaNet's latent models: sizes, what the prior and the posterior may see, noise, the block cell."""
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from common import config as config_lib
from common.model import cells
from common.model import divergence
from common.model import latents
from common.model import rssm
from common.model import stochastic
from common.model import world_model

B, T, A, E = 3, 6, 2, 8
SEED = tf.constant([3, 4])
KINDS = ('rssm', 'ssm', 'drnn')


def make(kind, mean_only=False, embed=E, action=A, sizes=(5, 7, 6), **options):
  """A model in PlaNet's form; sizes of stoch, deter and hidden."""
  tf_keras.utils.set_random_seed(0)
  stoch, deter, hidden = sizes
  latent = stochastic.GaussianLatent(stoch, mean_only=mean_only)
  if kind == 'ssm':
    return latents.SSM(action, embed, latent, hidden, 'relu', split_heads=True)
  if kind == 'drnn':
    return latents.DRNN(action, embed, latent, deter, hidden, split_heads=True)
  return rssm.RSSM(
      action, embed, latent, deter, hidden, 'relu', gru='block', split_heads=True, **options)


def draw(*shape, seed=0, scale=1.0):
  return tf.constant(scale * np.random.default_rng(seed).normal(size=shape), tf.float32)


def differ(a, b):
  return float(np.abs(np.asarray(a) - np.asarray(b)).max()) > 1e-4


def start(model, seed=None):
  """A state that is not all zeros."""
  post, _ = model.obs_step(model.initial(B), draw(B, A, seed=9), draw(B, E, seed=8), seed)
  return post


@pytest.mark.parametrize('kind, features, parameters', [
    ('rssm', 230, 557_320), ('ssm', 30, 248_520), ('drnn', 200, 993_460)])
def test_published_sizes(kind, features, parameters):
  model = make(kind, embed=1024, action=6, sizes=(30, 200, 200))
  assert model.feat_size == features
  assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == parameters
  post, prior = model.obs_step(
      model.initial(B), draw(B, 6, scale=0.1), draw(B, 1024, scale=0.1), None)
  assert model.get_feat(post).shape == (B, features)
  for state in (post, prior):
    assert np.all(state['std'] > 0.1) and 0.6 < np.mean(state['std']) < 1.0


@pytest.mark.parametrize('kind', KINDS)
def test_the_embedding_changes_the_posterior_alone(kind):
  model = make(kind, mean_only=True)
  state, action = start(model), draw(B, A)
  (post, prior), (other, same) = (
      model.obs_step(state, action, draw(B, E, seed=seed), None) for seed in (1, 2))
  assert differ(post['mean'], other['mean'])
  for key in prior:
    np.testing.assert_array_equal(prior[key], same[key])
  if kind == 'rssm':
    np.testing.assert_array_equal(post['deter'], prior['deter'])


@pytest.mark.parametrize('future_rnn', [True, False])
def test_only_with_future_rnn_the_prior_reads_the_belief(future_rnn):
  model = make('rssm', future_rnn=future_rnn)
  state, action = start(model), draw(B, A)
  moved = {**state, 'deter': state['deter'] + 1}
  means = [model.img_step(s, action, None)['mean'] for s in (state, moved)]
  assert differ(*means) == future_rnn


def test_the_posterior_of_the_ssm_reads_parameters_and_not_samples_of_the_prior():
  model = make('ssm')
  state, action, embed = start(model), draw(B, A), draw(B, E)
  posts, priors = zip(*(
      model.obs_step(state, action, embed, tf.constant([seed, 0])) for seed in (1, 2)))
  assert differ(priors[0]['stoch'], priors[1]['stoch'])
  np.testing.assert_array_equal(posts[0]['mean'], posts[1]['mean'])


def test_the_prior_of_the_drnn_is_its_posterior_of_a_zero_embedding():
  model = make('drnn', mean_only=True)
  state, action = start(model), draw(B, A)
  post, prior = model.obs_step(state, action, tf.zeros([B, E]), None)
  for key in prior:
    np.testing.assert_array_equal(post[key], prior[key])
  assert differ(model.obs_step(state, action, draw(B, E), None)[0]['mean'], prior['mean'])


@pytest.mark.parametrize('kind', KINDS)
def test_mean_only_draws_nothing_and_otherwise_samples_scatter_around_the_mean(kind):
  model = make(kind, mean_only=True)
  state, action = start(model), draw(B, A)
  for seed in (1, 2):
    found = model.img_step(state, action, tf.constant([seed, 0]))
    np.testing.assert_array_equal(found['stoch'], found['mean'])
  noisy = make(kind)
  draws = [noisy.img_step(state, action, tf.constant([seed, 0])) for seed in range(400)]
  assert differ(draws[0]['stoch'], draws[1]['stoch'])
  mean = np.mean([x['stoch'] for x in draws], 0)
  np.testing.assert_allclose(mean, draws[0]['mean'], atol=5 * draws[0]['std'].numpy().max() / 20)


@pytest.mark.parametrize('kind', KINDS)
def test_sequences_are_steps_and_later_embeddings_do_not_reach_back(kind):
  model = make(kind, mean_only=True)
  embed, action = draw(B, T, E), draw(B, T, A, seed=1)
  post, prior = model.observe(embed, action, None)
  state = model.initial(B)
  for t in range(T):
    state, expected = model.obs_step(state, action[:, t], embed[:, t], None)
    for key in state:
      np.testing.assert_allclose(post[key][:, t], state[key], atol=1e-6)
      np.testing.assert_allclose(prior[key][:, t], expected[key], atol=1e-6)
  changed, _ = model.observe(
      tf.concat([embed[:, :4], draw(B, T - 4, E, seed=5)], 1), action, None)
  for key in post:
    np.testing.assert_array_equal(changed[key][:, :4], post[key][:, :4])
  ahead = model.imagine(action[:, 4:], None, {key: value[:, 3] for key, value in post.items()})
  first = model.img_step({key: value[:, 3] for key, value in post.items()}, action[:, 4], None)
  for key in first:
    np.testing.assert_allclose(ahead[key][:, 0], first[key], atol=1e-6)


def test_the_block_cell_with_zero_weights_forgets_by_its_gate_bias():
  cell = cells.make('block', 4, 3)
  for kernel in (cell.w_ru, cell.w_c):
    kernel.assign(tf.zeros_like(kernel))
  h = draw(B, 3)
  new, (carried,) = cell(draw(B, 4), [h])
  np.testing.assert_allclose(new, 0.7310586 * h, rtol=1e-5)
  np.testing.assert_array_equal(new, carried)
  assert np.all(cell.b_ru.numpy() == 1) and not np.any(cell.b_c.numpy())


def test_the_block_cell_begins_glorot_uniform_over_the_concatenation():
  cell = cells.make('block', 200, 200)
  for kernel, limit in ((cell.w_ru, 0.0866), (cell.w_c, 0.1)):
    assert 0.99 * limit < np.abs(kernel.numpy()).max() < 1.001 * limit


def test_the_divergence_of_known_gaussians_and_the_mask():
  latent = stochastic.GaussianLatent(1)
  state = lambda mean, std: {
      'mean': tf.constant([[mean]]), 'std': tf.constant([[std]]), 'stoch': tf.zeros([1, 1])}
  assert latent.kl(state(1.0, 1.0), state(0.0, 2.0)).numpy() == pytest.approx(0.4431, abs=1e-4)
  assert latent.kl(state(1.0, 1.0), state(1.0, 1.0)).numpy() == 0
  with tf.GradientTape() as tape:
    std = tf.zeros([1, 1])
    tape.watch(std)
    padded = {'mean': tf.zeros([1, 1]), 'std': std, 'stoch': tf.zeros([1, 1])}
    kl = latent.kl(padded, padded, tf.constant([False]))
  assert kl.numpy() == 0 and tape.gradient(kl, std).numpy() == 0


def test_free_nats_of_both_forms():
  kl = tf.constant([1.0, 5.0, 3.0, 10.0])
  for mode, value, gradient in (
      ('element', 2.25, [0, 0.25, 0, 0.25]), ('mean', 4.75, [0.25] * 4)):
    with tf.GradientTape() as tape:
      tape.watch(kl)
      loss = divergence.free_nats(kl, 3.0, mode)
    assert loss.numpy() == pytest.approx(value)
    np.testing.assert_allclose(tape.gradient(loss, kl), gradient)


def test_heads_of_the_published_sizes():
  settings = config_lib.load('planet', ['--configs', 'dmc'])
  import gymnasium
  spaces = {'image': gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)}
  model = world_model.WorldModel(spaces, 6, settings)
  count = lambda part: sum(int(np.prod(v.shape)) for v in part.trainable_variables)
  assert count(model.encoder) == 690_144 and count(model.decoder) == 3_795_555
  assert count(model.rssm) == 557_320 and count(model.reward) == 250_201
