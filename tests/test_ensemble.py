"""The ensemble of one-step predictors, what it pays, and the baselines' measures of novelty."""
import math

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
import tensorflow_probability as tfp

from common import config as config_lib
from common.model import actor_critic
from plan2explore import ensemble
from plan2explore.novelty import scales
import test_plan2explore as agents
import toys

SEED = tf.constant([3, 5])


def rows(size, *lead, seed=0):
  return tf.constant(np.random.default_rng(seed).normal(size=(*lead, size)), tf.float32)


def net(members=5, **changes):
  tf_keras.utils.set_random_seed(0)
  return ensemble.Ensemble(**{**dict(
      inputs=4, action_size=2, targets=3, members=members, units=16, act='elu'), **changes})


def test_members_differ_until_their_weights_are_equal():
  model, x, a = net(), rows(4, 10), rows(2, 10)
  mean, _ = model(x, a)
  assert mean.shape == (5, 10, 3)
  for i in range(1, 5):
    assert np.abs(mean[0] - mean[i]).max() > 1e-3
  for variable in model.trainable_variables:
    variable.assign(tf.repeat(variable[:1], 5, 0))
  for reduce in ('var', 'std'):
    assert not np.any(ensemble.disagreement(model(x, a)[0], reduce))


@pytest.mark.parametrize('members', [1, 3, 5, 10])
def test_members_that_agree_pay_exactly_nothing(members):
  mean = tf.repeat(rows(1024, 1, 20), members, 0)
  std = tf.exp(tf.repeat(rows(1024, 1, 20, seed=1), members, 0))
  for reduce in ('var', 'std'):
    assert not np.any(ensemble.disagreement(mean, reduce))
  assert not np.any(ensemble.jensen_renyi(mean, std))


def test_two_members_pay_for_half_their_distance():
  mean = tf.stack([tf.zeros([7, 4]), 0.3 * tf.ones([7, 4])])
  np.testing.assert_allclose(ensemble.disagreement(mean, 'var'), 0.3 ** 2 / 4, rtol=1e-5)
  np.testing.assert_allclose(ensemble.disagreement(mean, 'std'), 0.3 / 2, rtol=1e-5)


def worked_example():
  base = np.arange(24, dtype=np.float32).reshape(3, 2, 4)
  base[1] *= 2
  base[2] += 1
  return tf.constant(base)


@pytest.mark.parametrize('reduce, ddof, expected', [
    ('var', 0, (66.444444, 86.0)), ('std', 0, (8.146727, 9.267072)),
    ('var', 1, (99.666667, 129.0)), ('std', 1, (9.977662, 11.349799))])
def test_disagreement_of_the_worked_example(reduce, ddof, expected):
  np.testing.assert_allclose(
      ensemble.disagreement(worked_example(), reduce, ddof), expected, rtol=1e-6)


def test_disagreement_scales_and_ignores_what_members_share():
  mean = rows(4, 3, 6)
  var, std = (lambda x: ensemble.disagreement(x, 'var')), (lambda x: ensemble.disagreement(x, 'std'))
  np.testing.assert_allclose(var(-3 * mean), 9 * var(mean), rtol=1e-5)
  np.testing.assert_allclose(std(-3 * mean), 3 * std(mean), rtol=1e-5)
  for changed in (mean + rows(4, 6, seed=1)[None], tf.gather(mean, [2, 0, 1])):
    np.testing.assert_allclose(var(changed), var(mean), rtol=1e-4)


@pytest.mark.parametrize('reduce', ['var', 'std'])
@pytest.mark.parametrize('ddof', [0, 1])
def test_one_member_pays_nothing(reduce, ddof):
  paid = ensemble.disagreement(rows(4, 1, 6), reduce, ddof)
  assert paid.shape == (6,) and not np.any(paid)
  logged, _ = scales.shape_reward(
      paid, scales.StreamNorm(), agents.settings(intr_log=True))
  assert np.isfinite(logged).all()


def test_small_spreads_are_paid_under_mixed_precision_and_slopes_stay_finite():
  spread = tf.Variable(rows(4, 3, 6) * 1e-4)
  assert float(tf.reduce_min(1e4 * ensemble.disagreement(spread))) > 0
  flat = tf.Variable(tf.zeros([3, 6, 4]))
  with tf.GradientTape() as tape:
    paid = ensemble.disagreement(flat, 'std')
  assert np.isfinite(tape.gradient(paid, flat)).all()
  model = net()
  assert model(tf.cast(rows(4, 6), tf.float16), tf.cast(rows(2, 6), tf.float16))[0].dtype == tf.float32


@pytest.mark.parametrize('offset, source, action', [
    (0, 'next', [0, 1, 2, 3]), (1, 'next', [1, 2, 3]), (1, 'past', [0, 1, 2]), (1, 'none', None)])
def test_pairs_of_each_source(offset, source, action):
  index = tf.reshape(tf.range(4, dtype=tf.float32), [1, 4, 1])
  first = tf.constant([[True, False, True, False]])
  inputs, told, target, mask = ensemble.pairs(
      source, offset, index, 100 + index, 10 + index, first)
  assert inputs[0, :, 0].numpy().tolist() == list(range(4 - offset))
  assert target[0, :, 0].numpy().tolist() == [100 + t for t in range(offset, 4)]
  if action is None:
    assert told is None
  else:
    assert told[0, :, 0].numpy().tolist() == [10 + t for t in action]
  assert mask[0].numpy().tolist() == (~first[0, offset:]).numpy().tolist()


@pytest.mark.parametrize('kind', ['mse_mean', 'nll_unit', 'nll_learned'])
def test_masked_pairs_do_not_count(kind):
  model = net(learned_std=True)
  x, a, y = rows(4, 2, 5), rows(2, 2, 5), rows(3, 2, 5, seed=1)
  mask = tf.constant([[True, True, False, True, True], [False, True, True, True, True]])
  other = tf.where(mask[..., None], y, y + 50)
  one, two = (ensemble.loss(model, x, a, target, kind, None, mask)[0] for target in (y, other))
  assert one == two
  assert ensemble.loss(model, x, a, y, kind)[0] != one


def test_members_learn_on_their_own_draws():
  draws = [ensemble.bootstrap(4, 50, tf.constant([0, i])).numpy() for i in range(2)]
  assert draws[0].shape == (4, 50) and draws[0].min() >= 0 and draws[0].max() < 50
  assert not np.array_equal(draws[0][0], draws[0][1]) and not np.array_equal(draws[0], draws[1])
  model, x, a, y = net(2), rows(4, 3, 5), rows(2, 3, 5), rows(3, 3, 5, seed=1)
  picked = tf.constant([[0, 0, 0], [0, 1, 2]])
  losses = ensemble.loss(model, x, a, y, rows=picked)[1]
  alone = [ensemble.loss(model, x[:1], a[:1], y[:1])[1][0], ensemble.loss(model, x, a, y)[1][1]]
  np.testing.assert_allclose(losses, alone, rtol=1e-5)


def test_a_batch_is_learned_and_members_agree_on_it_but_not_far_away():
  model, x, a, y = net(), rows(4, 8, 4), rows(2, 8, 4), 0.5 * rows(3, 8, 4, seed=1)
  adam = toys.optimizer_of(model.trainable_variables, 3e-3)

  @tf.function(autograph=False)
  def update():
    with tf.GradientTape() as tape:
      loss, _ = ensemble.loss(model, x, a, y)
    adam.apply(tape.gradient(loss, adam.variables_))
    return loss
  spread = lambda x: float(tf.reduce_mean(ensemble.disagreement(model(x, a)[0])))
  first, before = float(update()), spread(x)
  for _ in range(500):
    last = float(update())
  assert last < first / 10 and spread(x) < before / 10
  assert spread(10 * rows(4, 8, 4, seed=2)) > 3 * spread(x)


def test_the_action_enters_every_layer():
  model, x = net(), rows(4, 6)
  widths = [layer.kernel.shape[1] for layer in [*model.hidden, model.mean]]
  assert widths == [4 + 2, 16 + 2, 16 + 2]
  assert np.abs(model(x, rows(2, 6))[0] - model(x, rows(2, 6, seed=1))[0]).max() > 1e-3
  plain = net(action_skip=False)
  assert [layer.kernel.shape[1] for layer in [*plain.hidden, plain.mean]] == [6, 16, 16]


def test_jensen_renyi_divergence_is_that_of_the_worked_examples():
  far = tf.reshape(1000 * tf.range(5, dtype=tf.float32), [5, 1, 1])
  np.testing.assert_allclose(ensemble.jensen_renyi(far, tf.ones_like(far)), math.log(5), rtol=1e-5)
  mean = tf.reshape([0.0, 1.0, -2.0], [3, 1, 1])
  std = tf.sqrt(tf.reshape([0.5, 1.0, 2.0], [3, 1, 1]))
  np.testing.assert_allclose(ensemble.jensen_renyi(mean, std), 0.414803, rtol=1e-5)
  near = 0.01 * rows(6, 4, 10)
  expected = tf.reduce_sum(tf.math.reduce_variance(near, 0), -1) / (2 * 0.7)
  found = ensemble.jensen_renyi(near, math.sqrt(0.7) * tf.ones_like(near))
  np.testing.assert_allclose(found, expected, rtol=0.01)


@pytest.mark.parametrize('kind, learns', [('nll_learned', True), ('mse_mean', False)])
def test_variances_are_trained_unless_as_published(kind, learns):
  model = net(learned_std=True)
  with tf.GradientTape() as tape:
    loss, _ = ensemble.loss(model, rows(4, 2, 5), rows(2, 2, 5), rows(3, 2, 5), kind)
  assert (tape.gradient(loss, model.std.kernel) is not None) == learns


def test_lambda_returns_end_with_the_last_value_or_as_published():
  reward, value = tf.constant([1.0, 2, 3, 4]), tf.constant([10.0, 20, 30, 40])
  returns = lambda kind: actor_critic.lambda_return(
      reward[:-1], value[:-1], 0.99, actor_critic.bootstrap(value, kind), 0.95)
  np.testing.assert_allclose(returns('last'), (42.94905715, 43.5503, 42.6), rtol=1e-6)
  np.testing.assert_allclose(returns('authors'), (34.19210868, 34.23935, 32.7), rtol=1e-6)


def test_the_authors_settings_are_those_of_their_code():
  load = lambda *blocks: config_lib.load('plan2explore', ['--configs', 'dmc', *blocks])
  authors, own = load('p2e_authors'), load()
  assert (authors.rssm_gru, authors.rssm_split_heads) == ('block', True)
  assert (own.rssm_gru, own.rssm_split_heads) == ('keras', False)
  assert authors.precision == own.precision == 'float32'


@pytest.mark.parametrize('offset, expected', [('removed', 0.0), ('authors', 11.291917)])
def test_curiosity_is_not_paid_for_what_was_expected(offset, expected):
  agent = agents.make(expl_behavior='curiosity', curiosity_offset=offset)
  perfect = -0.5 * 64 * 64 * 3 * math.log(2 * math.pi)
  label, _, _ = agent.novelty.label({
      'obs_log_prob': tf.fill([2, 3], tf.constant(perfect, tf.float32)), 'kl': tf.fill([2, 3], 3.0)})
  np.testing.assert_allclose(label, expected, atol=2e-6 + 1e-6 * expected)
  label, _, _ = agent.novelty.label({
      'obs_log_prob': tf.fill([1, 1], tf.constant(perfect - 100, tf.float32)),
      'kl': tf.fill([1, 1], 13.0)})
  np.testing.assert_allclose(label, expected + 0.11, rtol=1e-3)


def test_curiosity_counts_all_kl_beyond_its_own_free_nats():
  agent = agents.make(expl_behavior='curiosity', curiosity_free_nats=0.5, curiosity_scale=2.0)
  perfect = -0.5 * 64 * 64 * 3 * math.log(2 * math.pi)
  label, _, _ = agent.novelty.label({
      'obs_log_prob': tf.fill([1, 1], tf.constant(perfect, tf.float32)), 'kl': tf.fill([1, 1], 2.5)})
  np.testing.assert_allclose(label, 2.0 * 2.0, atol=5e-3)


def test_rnd_forgets_what_it_has_seen_and_its_target_never_moves():
  agent = agents.make(expl_behavior='rnd', rnd_input='feat')
  measure, size = agent.novelty, agent.world_model.rssm.feat_size
  seen, new = rows(size, 8, 4), rows(size, 8, 4, seed=1)
  adam = toys.optimizer_of(measure.predictor.trainable_variables, 1e-3)
  target = toys.values(measure.target.variables)

  @tf.function(autograph=False)
  def update():
    with tf.GradientTape() as tape:
      loss = measure.loss({'feat': seen, 'data': {'action': tf.zeros([8, 4, 1])}}, None)[0]
    adam.apply(tape.gradient(loss, adam.variables_))
  error = lambda x: float(tf.reduce_mean(measure._error(x)))  # pylint: disable=protected-access
  before = error(seen)
  for _ in range(1000):
    update()
  assert error(seen) < before / 10 and error(new) > 3 * error(seen)
  assert not any(toys.changed(target, measure.target.variables))
  trained = {id(v) for v in agent.novelty_optimizer.variables_}
  assert not trained & {id(v) for v in measure.target.variables}


def test_running_spread_is_that_of_the_numbers_and_survives_bad_ones():
  scale = scales.RunningStd()
  rng = np.random.default_rng(0)
  for _ in range(300):
    _, stats = scale(tf.constant(rng.normal(5, 3, 100), tf.float32))
    scale.update(stats)
  assert abs(float(scale.spread()) - 3) < 0.3
  scale.update(dict(mean=tf.constant(math.nan)))
  assert np.isfinite(scale.mean)


def test_a_batch_that_is_not_finite_leaves_no_half_of_itself_in_a_running_spread():
  scale, x = scales.RunningStd(), tf.constant([1.0, 3.0])
  _, bad = scale(tf.constant([math.inf, 1.0]))
  scale.update(bad)
  assert float(scale.weight) == 0
  _, stats = scale(x)
  np.testing.assert_allclose((stats['mean'], stats['square']), (2, 5), rtol=1e-5)


def test_small_errors_are_brought_to_the_same_scale():
  x = np.random.default_rng(0).uniform(0, 1, 100).astype(np.float32)
  large, small = (scales.RunningStd()(tf.constant(size * x))[0] for size in (1.0, 1e-6))
  np.testing.assert_allclose(large, small, rtol=1e-3)


def test_equal_errors_are_brought_to_no_heights():
  for size in (0.25, 0.1, 1e-5):
    paid, _ = scales.RunningStd()(tf.fill([750], size))
    assert np.abs(paid).max() <= 1001


def test_dreams_climb_the_whole_slope_of_what_a_random_network_is_off():
  """A predictor that is off by a constant pays the same everywhere."""
  agent = agents.make(expl_behavior='rnd', rnd_input='feat')
  measure = agent.novelty
  measure.predictor = lambda feat: tfp.distributions.Deterministic(measure.target(feat).mode() + 0.5)
  feat = tf.random.normal([4, agent.world_model.rssm.feat_size])
  with tf.GradientTape() as tape:
    tape.watch(feat)
    paid = measure.reward(actor_critic.Imagined(feat, None, None))
  np.testing.assert_allclose(paid, 0.25, rtol=1e-4)
  np.testing.assert_allclose(tape.gradient(paid, feat), 0, atol=1e-5)


def test_stream_norm_divides_by_the_running_magnitude():
  norm, x = scales.StreamNorm(0.5), tf.constant([1.0, -5.0])
  first, mag = norm(x)
  norm.update(mag)
  assert float(mag) == 2.0 and float(norm(x)[1]) == 2.5
  np.testing.assert_allclose(first, x / 2)
  np.testing.assert_allclose(scales.StreamNorm()(x)[0], x, rtol=1e-6)
