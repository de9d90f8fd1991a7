"""DreamerV2 as options of the one world model and the one actor-critic."""
import gymnasium
import numpy as np
import pytest
import tensorflow as tf

from common import config as config_lib
from common.envs.actions import check_settled, settle
from common.envs.wrappers import OneHot
from common.model import devices
from common.model import divergence
from common.model import stochastic
from common.model.actor_critic import ActorCritic
from dreamer.agent import Dreamer
import toys

SEED = tf.constant([3, 5])


def load(*argv):
  return config_lib.load('dreamer', [str(arg) for arg in argv])


def count(module):
  return sum(int(np.prod(variable.shape)) for variable in module.trainable_variables)


@pytest.mark.parametrize('blocks, channels, space, counts', [
    (('atari', 'dreamerv2'), 1, OneHot(18), dict(
        encoder=1549776, rssm=5664848, decoder=10497553, reward=1131601, pcont_head=1131601,
        actor=1138418, value=1131601)),
    (('dmc', 'dreamerv2'), 3, gymnasium.spaces.Box(-1, 1, (6,), np.float32), dict(
        rssm=1247248, actor=976012, value=971601))])
def test_published_sizes_give_the_published_numbers_of_parameters(blocks, channels, space, counts):
  config = devices.setup(settle(load('--configs', *blocks), space))
  image = {'image': gymnasium.spaces.Box(0, 255, (64, 64, channels), np.uint8)}
  agent = Dreamer(config, image, space)
  for name, expected in counts.items():
    owner = agent.behaviour if hasattr(agent.behaviour, name) else agent.world_model
    assert count(getattr(owner, name)) == expected, name
  total = 19975379 if channels == 1 else 13656772
  assert sum(np.prod(v.shape) for v in agent.world_model.optimizer.variables_) == total


def test_categorical_samples_are_one_hot_and_drawn_with_their_probabilities():
  latent = stochastic.CategoricalLatent(2, 3)
  params = tf.tile(tf.math.log([[0.7, 0.2, 0.1, 0.1, 0.1, 0.8]]), [4000, 1])
  stoch = latent.state(params, SEED)['stoch'].numpy()
  assert stoch.shape == (4000, 2, 3) and set(np.unique(stoch.round(6))) == {0.0, 1.0}
  np.testing.assert_allclose(stoch.mean(0), [[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], atol=0.03)


def test_zero_state_and_columns_of_categorical_latents():
  latent = stochastic.CategoricalLatent(2, 3)
  zeros = latent.zeros(4)
  assert {key: x.shape for key, x in zeros.items()} == {'logit': (4, 2, 3), 'stoch': (4, 2, 3)}
  state = latent.state(tf.reshape(tf.range(12.0), [2, 6]), None)
  np.testing.assert_array_equal(latent.flat(state), [[0, 0, 1, 0, 0, 1]] * 2)
  np.testing.assert_array_equal(latent.stats(state), np.arange(12.0).reshape(2, 6))
  assert latent.kl(state, state).shape == (2,) and not np.any(latent.kl(state, state))
  assert np.all(latent.kl(state, latent.standard(state)).numpy() > 0.1)
  masked = latent.kl(state, latent.standard(state), tf.constant([True, False])).numpy()
  assert masked[0] > 0.1 and masked[1] == 0


@pytest.mark.parametrize('free', [0.0, 0.01])
def test_balance_scales_the_gradients_of_both_sides_of_the_plain_kl(free):
  latent = stochastic.CategoricalLatent(2, 3)
  draw = lambda seed: {'logit': tf.random.stateless_normal([4, 5, 2, 3], [seed, 0])}
  post, prior = draw(1), draw(2)
  def gradients(balance):
    with tf.GradientTape() as tape:
      tape.watch((post, prior))
      loss, kl = divergence.loss(latent, post, prior, free, 'mean', balance)
    np.testing.assert_allclose(loss, tf.reduce_mean(kl), rtol=1e-6)
    return [grad['logit'].numpy() for grad in tape.gradient(loss, (post, prior))]
  plain, balanced = gradients(0.5), gradients(0.8)
  np.testing.assert_allclose(balanced[0], 0.2 * plain[0], atol=1e-7)
  np.testing.assert_allclose(balanced[1], 0.8 * plain[1], atol=1e-7)


@pytest.mark.parametrize('balance', [0.5, 0.8])
def test_forward_exchanges_the_sides_of_the_kl_but_not_who_learns(balance):
  latent = stochastic.CategoricalLatent(2, 3)
  draw = lambda seed: {'logit': tf.random.stateless_normal([4, 5, 2, 3], [seed, 0])}
  post, prior = draw(1), draw(2)
  with tf.GradientTape(persistent=True) as tape:
    tape.watch((post, prior))
    loss, _ = divergence.loss(latent, post, prior, 0.0, 'mean', balance, forward=True)
    plain = tf.reduce_mean(latent.kl(prior, post))
  np.testing.assert_allclose(loss, plain, rtol=1e-6)
  shares = [1.0, 1.0] if balance == 0.5 else [1 - balance, balance]
  for share, state in zip(shares, (post, prior)):
    found, expected = (tape.gradient(x, state)['logit'] for x in (loss, plain))
    np.testing.assert_allclose(found, share * expected, atol=1e-7)


@pytest.mark.parametrize('act, expected', [
    ('softplus', np.log1p(np.exp(0.3))), ('sigmoid', 1 / (1 + np.exp(-0.3))),
    ('sigmoid2', 2 / (1 + np.exp(-0.15)))])
def test_standard_deviations_take_the_activation_of_the_config(act, expected):
  model = toys.model(rssm_std_act=act, rssm_min_std=0.1).rssm
  state = model.latent.state(tf.fill([1, 6], 0.3), None)
  np.testing.assert_allclose(state['std'], expected + 0.1, rtol=1e-6)


def test_forward_shows_the_kl_of_always():
  model = toys.model(kl_forward=True)
  data = {key: tf.constant(value) for key, value in toys.batch().items()}
  _, outputs = model.loss(model.preprocess(data), None)
  np.testing.assert_allclose(
      outputs['kl'], model.rssm.kl(outputs['post'], outputs['prior']), rtol=1e-6)


def test_logits_are_not_cut_into_halves_of_a_mean_and_a_deviation():
  model = toys.model(latent='categorical', stoch_size=5, stoch_classes=5, rssm_split_heads=True).rssm
  whole = toys.model(latent='categorical', stoch_size=5, stoch_classes=5).rssm
  shapes = lambda net: sorted(tuple(v.shape) for v in net.trainable_variables)
  assert shapes(model) == shapes(whole)


def test_first_rows_do_not_depend_on_what_came_before():
  model = toys.model(latent='categorical', stoch_classes=4).rssm
  embed, action = tf.random.normal([2, model_embed(model)]), tf.random.normal([2, 2])
  some = tf.nest.map_structure(lambda x: x + 1, model.initial(2))
  first = tf.constant([True, False])
  post, _ = model.obs_step(some, action, embed, SEED, first)
  zero, _ = model.obs_step(model.initial(2), tf.zeros([2, 2]), embed, SEED)
  np.testing.assert_array_equal(post['logit'][0], zero['logit'][0])
  assert np.any(post['logit'][1] != zero['logit'][1])


def model_embed(model):
  return model.obs_out.layers[0].kernel.shape[0] - model.deter_size


def test_sequences_may_begin_without_the_action_that_led_to_them():
  posts = {}
  for keeps in (True, False):
    model = toys.model(first_action=keeps)
    rows = model.preprocess({k: tf.constant(v) for k, v in toys.batch().items()})
    without = {**rows, 'action': tf.concat(
        [tf.zeros_like(rows['action'][:, :1]), rows['action'][:, 1:]], 1)}
    posts[keeps] = [model.observe(data, None)[0]['mean'].numpy() for data in (rows, without)]
  assert np.any(posts[True][0] != posts[True][1])
  np.testing.assert_array_equal(posts[False][0], posts[False][1])


def test_one_member_of_an_ensemble_predicts_each_step_and_all_get_their_turn():
  model = toys.model(rssm_ensemble=3).rssm
  start, action = model.initial(2), tf.ones([2, 2])
  deter = model.img_step(start, action, None)['deter']
  means = [model.latent.state(params, None)['mean'].numpy() for params in model.members(deter)]
  seen = set()
  for i in range(20):
    mean = model.img_step(start, action, tf.constant([i, 0]))['mean'].numpy()
    seen |= {k for k, member in enumerate(means) if np.allclose(mean, member, atol=1e-6)}
  assert seen == {0, 1, 2}


V2 = dict(
    imag_start=True, slow_value=3, horizon=4, actor_ent=0.0, action_dist='onehot', discount=0.9)


def behaviour_and_sequence(**changes):
  behaviour = ActorCritic(2, 3, toys.settings(**{**V2, **changes}))
  draw = lambda *shape: tf.random.stateless_normal(shape, [len(shape), shape[-1]])
  return behaviour, draw(5, 6, 2), draw(5, 6), tf.fill([5, 6], 0.9)


def test_imagined_sequences_begin_with_the_start_and_what_is_known_of_its_discount():
  behaviour = ActorCritic(1, 1, toys.settings(**{**V2, 'action_dist': 'trunc_normal'}))
  world = toys.LineWorld([[1.0]])
  start = world.start([[0.5], [2.0]])
  _, outputs, _ = behaviour.gradients(
      world, start, lambda dream: dream.feat[..., 0], SEED, tf.constant([0.9, 0.0]))
  assert outputs['feat'].shape == (5, 2, 1) and outputs['returns'].shape == (4, 2)
  np.testing.assert_array_equal(outputs['feat'][0], start['stoch'])
  np.testing.assert_array_equal(outputs['pcont'][0], np.float32([0.9, 0.0]))
  np.testing.assert_allclose(outputs['weight'][:, 0], 0.9 ** np.arange(4), rtol=1e-6)
  np.testing.assert_array_equal(outputs['weight'][:, 1], [1, 0, 0, 0])


@pytest.mark.parametrize('kind', ['dynamics', 'reinforce', 'both'])
def test_gradients_reach_the_actor_by_the_route_that_is_chosen(kind):
  behaviour, feat, reward, pcont = behaviour_and_sequence(actor_grad=kind)
  entropy, log_prob = tf.zeros([4, 6]), tf.fill([4, 6], -1.0)
  with tf.GradientTape(persistent=True) as tape:
    tape.watch((reward, log_prob))
    loss, _, _ = behaviour.losses(feat, reward, pcont, entropy, log_prob)
  through = [
      tape.gradient(loss, x, unconnected_gradients='zero').numpy().any()
      for x in (reward, log_prob)]
  assert through == [kind != 'reinforce', kind != 'dynamics']


def test_the_baseline_is_the_value_of_the_state_that_was_acted_in():
  for aligned in (False, True):
    behaviour, feat, reward, pcont = behaviour_and_sequence(
        actor_grad='reinforce', aligned_baseline=aligned)
    log_prob = tf.zeros([4, 6])
    with tf.GradientTape() as tape:
      tape.watch(log_prob)
      loss, _, outputs = behaviour.losses(feat, reward, pcont, tf.zeros([4, 6]), log_prob)
    returns = outputs['returns'][:-1] if aligned else outputs['returns'][1:]
    advantage = outputs['weight'][:3] * (returns - outputs['value'][:3])
    grad = tape.gradient(loss, log_prob).numpy()
    np.testing.assert_allclose(grad[:3], -advantage / 18, rtol=1e-5)
    assert not grad[3].any()


def test_slow_value_follows_right_after_updates_0_3_6_and_rests_in_between():
  behaviour, *_ = behaviour_and_sequence()
  values = lambda: np.concatenate(
      [v.numpy().ravel() for v in behaviour.slow_value.trainable_variables])
  fast = lambda: np.concatenate(
      [v.numpy().ravel() for v in behaviour.value.trainable_variables])
  np.testing.assert_array_equal(values(), fast())
  followed = []
  for _ in range(7):
    for variable in behaviour.value.trainable_variables:
      variable.assign_add(tf.ones_like(variable))
    behaviour.after_update()
    followed.append(np.array_equal(values(), fast()))
  assert followed == [True, False, False, True, False, False, True]


def test_returns_use_the_slow_value_and_the_loss_trains_the_fast_one():
  behaviour, feat, reward, pcont = behaviour_and_sequence()
  for variable in behaviour.value.trainable_variables:
    variable.assign_add(tf.ones_like(variable))
  with tf.GradientTape() as tape:
    _, loss, outputs = behaviour.losses(feat, reward, pcont, tf.zeros([4, 6]), tf.zeros([4, 6]))
  np.testing.assert_array_equal(outputs['value'], behaviour.slow_value(feat).mode())
  fast, slow = behaviour.value.trainable_variables, behaviour.slow_value.trainable_variables
  grads = tape.gradient(loss, [*fast, *slow])
  assert all(g is not None for g in grads[:len(fast)]) and grads[len(fast):] == [None] * len(slow)


@pytest.mark.usefixtures('eager')
@pytest.mark.parametrize('blocks', [('atari', 'dreamerv2'), ('dmc', 'dreamerv2')])
def test_an_update_changes_every_weight_but_the_slow_ones(blocks):
  space = OneHot(4) if blocks[0] == 'atari' else gymnasium.spaces.Box(-1, 1, (2,), np.float32)
  config = settle(load('--configs', *blocks, 'debug'), space)
  config = devices.setup(config.replace(batch_size=4, batch_length=5))
  channels = 1 if blocks[0] == 'atari' else 3
  agent = Dreamer(
      config, {'image': gymnasium.spaces.Box(0, 255, (64, 64, channels), np.uint8)}, space)
  batch = toys.batch(size=space.shape[0], onehot=blocks[0] == 'atari')
  batch['image'] = batch['image'][..., :channels]
  trained = [v for opt in agent.optimizers().values() for v in opt.variables_]
  before = toys.values(trained)
  for _ in range(2):
    metrics = agent.train(agent.distribute(batch))
  assert all(np.isfinite(value) for value in metrics.values())
  moved = toys.changed(before, trained)
  # One gate's bias before a layer norm may not move: the norm takes common shifts out.
  assert np.mean(moved) > 0.9, [v.name for v, m in zip(trained, moved) if not m]


def test_reinforce_without_the_start_is_refused():
  with pytest.raises(config_lib.UserError, match='actor_grad reinforce.*--imag_start True'):
    load('--configs', 'atari', '--actor_grad', 'reinforce')


def test_auto_is_refused_without_the_start_only_where_actions_are_discrete():
  config = load('--configs', 'gym', '--actor_grad', 'auto', '--action_dist', 'auto', '--imag_start', 'False')
  check_settled(settle(config, gymnasium.spaces.Box(-1, 1, (2,), np.float32)))
  with pytest.raises(config_lib.UserError, match='^gym_.*: actor_grad reinforce.*--imag_start True'):
    check_settled(settle(config, OneHot(2)))


@pytest.mark.usefixtures('eager')
@pytest.mark.parametrize('loss', ['contrastive', 'none'])
def test_the_world_model_learns_without_reconstruction(loss):
  agent = toys.agent(obs_loss=loss)
  metrics = agent.train(agent.distribute(toys.batch()))
  assert 'image_loss' not in metrics and ('contrastive_loss' in metrics) == (loss == 'contrastive')
  assert not hasattr(agent.world_model, 'decoder')
  assert agent.open_loop(toys.batch()) == {} and agent.dream(toys.batch()) == {}


@pytest.mark.parametrize('heads, reaches', [('decoder|reward', True), ('reward', False)])
def test_contrast_shapes_the_encoder_as_grad_heads_says(heads, reaches):
  model = toys.agent(obs_loss='contrastive', grad_heads=heads).world_model
  data = model.preprocess(toys.batch(), None)
  with tf.GradientTape() as tape:
    like = model.loss(data, None)[1]['likes']['contrastive']
  grads = tape.gradient(like, model.encoder.trainable_variables)
  assert any(g is not None and np.abs(g).max() > 0 for g in grads) == reaches


@pytest.mark.parametrize('told', [True, False])
def test_overshooting_is_told_of_the_first_action_as_the_filter_is(told):
  model = toys.agent(overshooting_scale=1.0, overshooting_distance=3, free_nats=0.0,
                     first_action=told).world_model
  found = []
  for first in (-1, 1):
    data = model.preprocess(toys.batch(), None)
    action = np.array(data['action'])
    action[:, 0] = first
    found.append(float(model.loss({**data, 'action': tf.constant(action)}, None)[1]['terms']['overshooting']))
  assert (found[0] == found[1]) != told


def test_the_classifier_rises_to_the_logarithm_of_the_rows_as_states_tell_observations_apart():
  from common.model import observations
  classifier = observations.Classifier(3, 3, toys.settings())
  class Mean:
    def __call__(self, embed):
      return self
    def mean(self):
      return tf.constant(scale * np.eye(3), tf.float32)
  bounds = []
  for scale in (0.0, 1.0, 20.0):
    classifier.head = Mean()
    bounds.append(float(classifier.log_likelihood(
        tf.constant(scale * np.eye(3), tf.float32), tf.zeros([3, 3]))))
  np.testing.assert_allclose(bounds[0], 0, atol=1e-6)
  assert 0 < bounds[1] < bounds[2]
  np.testing.assert_allclose(bounds[2], np.log(3), rtol=1e-5)


@pytest.mark.parametrize('heads, shaped', [('.*', True), ('reward', False)])
def test_heads_that_grad_heads_leaves_out_do_not_shape_the_features(heads, shaped):
  model = toys.model(grad_heads=heads)
  data = model.preprocess({k: tf.constant(v) for k, v in toys.batch().items()})
  with tf.GradientTape(persistent=True) as tape:
    _, outputs = model.loss(data, SEED)
    image, reward = outputs['likes']['image'], outputs['likes']['reward']
  encoder = model.encoder.trainable_variables[0]
  assert (tape.gradient(image, encoder) is not None) == shaped
  assert tape.gradient(reward, encoder) is not None
  assert tape.gradient(image, model.decoder.trainable_variables[0]) is not None


def test_truncated_normal_samples_stay_inside_and_pass_gradients():
  from common.model import dists
  mean = tf.Variable([[0.9, -0.2]])
  with tf.GradientTape() as tape:
    dist = dists.TruncNormal(tf.tile(mean, [3000, 1]), tf.constant(0.5))
    sample = dist.sample(SEED)
    total = tf.reduce_sum(sample)
  assert np.abs(sample).max() < 1
  np.testing.assert_allclose(
      tf.reduce_mean(sample, 0), dist.mean()[0], atol=0.03)
  assert np.all(tape.gradient(total, mean).numpy() > 0)
  np.testing.assert_allclose(dist.mode()[0], mean[0], rtol=1e-6)


@pytest.mark.parametrize('mean, std', [(0.95, 0.1), (-0.97, 0.1), (-1.0, 0.1), (1.0, 0.1)])
def test_truncated_normal_samples_of_saturated_actors_are_finite(mean, std):
  from common.model import dists
  mean = tf.Variable(mean)
  with tf.GradientTape() as tape:
    sample = dists.TruncNormal(tf.fill([2000000], mean), tf.constant(std)).sample(SEED)
    total = tf.reduce_sum(sample)
  assert np.isfinite(sample).all() and np.abs(sample).max() < 1
  assert np.isfinite(tape.gradient(total, mean))


def test_the_actor_of_dreamerv2_is_chosen_by_the_actions():
  space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
  config = load('--configs', 'gym', 'dreamerv2')
  assert (settle(config, space).action_dist, settle(config, space).actor_grad) == (
      'trunc_normal', 'dynamics')
  config = config.replace(expl='epsilon_greedy')
  assert (settle(config, OneHot(2)).action_dist, settle(config, OneHot(2)).actor_grad) == (
      'onehot', 'reinforce')
