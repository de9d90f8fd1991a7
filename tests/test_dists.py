"""Distributions of the actor and the heads."""
import numpy as np
import pytest
import tensorflow as tf

from common.model import dists
from common.model import nets

SEED = tf.constant([1, 2])


def tanh_normal(*params):
  return dists.TanhNormal.from_params(tf.constant(params, tf.float32), 5.0, 1e-4, 5.0)


def test_fresh_actor_has_mean_zero_and_a_wide_normal_under_the_tanh():
  dist = tanh_normal([0.0] * 6)
  np.testing.assert_array_equal(dist.normal_mean, np.zeros((1, 3)))
  np.testing.assert_allclose(dist.normal_std, 5.0001, rtol=1e-5)


def test_mean_under_the_tanh_is_bounded_and_actions_stay_in_their_range():
  dist = tanh_normal([1e3, -1e3, 3.0, 50.0, 0.0, -50.0])
  assert np.all(np.abs(dist.normal_mean) <= 5.0)
  assert np.all(dist.normal_std.numpy() >= 1e-4)
  actions = np.stack([dist.sample(SEED + i) for i in range(50)])
  assert np.all(np.abs(actions) <= 1)


def test_log_determinant_of_the_tanh_is_exact_and_finite_where_it_saturates():
  x = tf.linspace(-2.99, 2.99, 41)
  ours = dists.TanhBijector().forward_log_det_jacobian(x, event_ndims=0)
  exact = np.log(1 - np.tanh(x.numpy().astype(np.float64)) ** 2)
  np.testing.assert_allclose(ours, exact, atol=1e-5)
  far = dists.TanhBijector().forward_log_det_jacobian(tf.constant([-20.0, 20.0]), event_ndims=0)
  np.testing.assert_allclose(far, 2 * (np.log(2) - 20), rtol=1e-5)


def test_log_probability_at_the_bounds_is_finite_and_so_is_its_gradient():
  params = tf.Variable([[0.3, -0.2, 0.1, 0.0]])
  with tf.GradientTape() as tape:
    dist = dists.TanhNormal.from_params(params, 5.0, 1e-4, 5.0)
    log_prob = dist.log_prob(tf.constant([[1.0, -1.0]]))
  assert np.all(np.isfinite(log_prob)) and np.all(np.isfinite(tape.gradient(log_prob, params)))


def test_density_of_actions_integrates_to_one():
  grid = np.linspace(-0.9999, 0.9999, 20001, dtype=np.float32)[:, None]
  dist = dists.TanhNormal(tf.constant([0.4]), tf.constant([0.6]))
  total = np.exp(dist.log_prob(tf.constant(grid))).sum() * (grid[1, 0] - grid[0, 0])
  np.testing.assert_allclose(total, 1, atol=1e-3)


def test_mode_is_the_best_sample_of_each_row_itself():
  mean = tf.constant([[0.0, 0.5], [1.0, -1.0], [-2.0, 0.1]])
  dist = dists.TanhNormal(mean, tf.fill([3, 2], 0.7))
  mode = dist.mode(SEED)
  noise = tf.random.stateless_normal([dist.SAMPLES, 3, 2], SEED)
  actions = np.tanh(mean + 0.7 * noise)
  scores = np.stack([dist.log_prob(tf.constant(action)) for action in actions])
  best = scores.argmax(0)
  assert mode.shape == (3, 2) and len(set(best)) > 1
  for row in range(3):
    np.testing.assert_allclose(mode[row], actions[best[row], row], atol=1e-5)


def test_mode_works_for_more_leading_dimensions():
  dist = dists.TanhNormal(tf.zeros([4, 3, 2]), tf.ones([4, 3, 2]))
  assert dist.mode(SEED).shape == (4, 3, 2) and dist.entropy(SEED).shape == (4, 3)


def test_entropy_estimate_meets_a_numerical_integral():
  x = np.linspace(-8, 8, 40001)
  density = np.exp(-0.5 * (x / 0.8) ** 2) / (0.8 * np.sqrt(2 * np.pi))
  exact = np.sum(density * (-np.log(density + 1e-300) + np.log(1 - np.tanh(x) ** 2 + 1e-300)))
  exact *= x[1] - x[0]
  estimates = dists.TanhNormal(tf.zeros([200, 1]), tf.fill([200, 1], 0.8)).entropy(SEED)
  np.testing.assert_allclose(np.mean(estimates), exact, atol=0.02)


def test_fresh_actor_of_six_entries_has_the_published_entropy():
  entropy = tanh_normal([0.0] * 12).entropy(SEED)
  assert -27 < float(entropy[0]) < -17


def test_zero_noise_sample_is_the_centre():
  dist = dists.TanhNormal(tf.constant([[0.3]]), tf.constant([[9.0]]))
  np.testing.assert_allclose(dist.sample(None), np.tanh([[0.3]]), rtol=1e-6)
  np.testing.assert_allclose(dist.mode(None), np.tanh([[0.3]]), rtol=1e-6)


def test_samples_have_the_spread_of_the_distribution():
  dist = dists.TanhNormal(tf.fill([20000, 1], 0.2), tf.fill([20000, 1], 0.1))
  raw = np.arctanh(dist.sample(SEED))
  np.testing.assert_allclose([raw.mean(), raw.std()], [0.2, 0.1], atol=5e-3)


def test_onehot_samples_are_onehot_and_follow_the_probabilities():
  logits = tf.tile(tf.math.log([[0.5, 0.3, 0.2]]), [20000, 1])
  samples = dists.OneHot(logits).sample(SEED).numpy()
  np.testing.assert_allclose(samples.sum(-1), 1, atol=1e-6)
  np.testing.assert_allclose(samples.max(-1), 1, atol=1e-6)
  np.testing.assert_allclose(samples.mean(0), [0.5, 0.3, 0.2], atol=0.02)


@pytest.mark.parametrize('entry', range(3))
@pytest.mark.parametrize('seed', [None, SEED])
def test_gradient_of_a_onehot_sample_is_that_of_the_probabilities(entry, seed):
  logits = tf.Variable([[0.2, 1.0, -0.5]])
  with tf.GradientTape() as tape:
    value = dists.OneHot(logits).sample(seed)[0, entry]
  probs = tf.nn.softmax(logits)[0].numpy()
  jacobian = probs[entry] * (np.eye(3)[entry] - probs)
  np.testing.assert_allclose(tape.gradient(value, logits)[0], jacobian, atol=1e-6)


def test_onehot_mode_entropy_and_log_probability_are_those_of_the_categorical():
  dist = dists.OneHot(tf.math.log([[0.5, 0.3, 0.2]]))
  np.testing.assert_array_equal(dist.mode(), [[1, 0, 0]])
  np.testing.assert_allclose(
      dist.entropy(), [-sum(p * np.log(p) for p in (0.5, 0.3, 0.2))], rtol=1e-5)
  np.testing.assert_allclose(
      dist.log_prob(tf.constant([[0.0, 0.0, 1.0]])), np.log([0.2]), rtol=1e-5)


@pytest.mark.parametrize('label', [0.0, 0.99, 1.0])
def test_bernoulli_takes_soft_labels(label):
  logits = tf.constant([-2.0, 0.0, 3.0])
  expected = -tf.nn.sigmoid_cross_entropy_with_logits(tf.fill([3], label), logits)
  np.testing.assert_allclose(
      dists.binary(logits).log_prob(tf.fill([3], label)), expected, rtol=1e-5)
  np.testing.assert_allclose(dists.binary(logits).mean(), tf.sigmoid(logits), rtol=1e-6)


@pytest.mark.parametrize('kind, width', [('tanh_normal', 8), ('onehot', 4)])
def test_actor_squashes_once(kind, width):
  actor = nets.Actor(3, 4, kind, layers=1, units=5)
  assert actor.out.kernel.shape == (5, width)
  feat = tf.random.stateless_normal([2, 3], SEED)
  raw = actor.out(actor.mlp(feat))
  if kind == 'onehot':
    np.testing.assert_allclose(actor(feat).logits, raw)
  else:
    np.testing.assert_allclose(
        actor(feat).sample(None), np.tanh(5 * np.tanh(raw[:, :4] / 5)), rtol=1e-5)


def test_splitting_the_seed_gives_distinct_seeds_and_no_seed_gives_none():
  assert dists.split_seed(None, 3) == [None] * 3
  seeds = dists.split_seed(SEED, 4).numpy()
  assert len({tuple(seed) for seed in seeds}) == 4


@pytest.mark.parametrize('lead, event', [((3,), ()), ((2, 3), (4,)), ((2,), (4, 5, 3))])
def test_unit_normals_are_those_of_tfp_in_values_and_gradients(lead, event):
  mean, value = tf.random.stateless_normal([2, *lead, *event], SEED)
  ours = dists.normal(mean, len(event))
  results = []
  for dist in (dists.normal, lambda *args: dists.normal(*args).tfp):
    with tf.GradientTape() as tape:
      tape.watch([mean, value])
      log_prob = dist(mean, len(event)).log_prob(value)
      probe = tf.reduce_sum(tf.range(1.0, lead[-1] + 1) * log_prob)
    results.append([log_prob, *tape.gradient(probe, [mean, value])])
  for got, expected in zip(*results):
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
  np.testing.assert_array_equal(ours[1:].mode(), mean[1:])
  with pytest.raises(ValueError):
    ours.log_prob(value[:1])
