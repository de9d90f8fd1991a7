"""Objectives of world model, actor and value, and where their gradients go."""
import numpy as np
import pytest
import tensorflow as tf

from common.model import actor_critic
from common.model import dists
from common.model.actor_critic import ActorCritic

import toys

SEED = tf.constant([5, 6])


def tensors(data):
  return {key: tf.constant(value) for key, value in data.items()}


def fixed_kl(model, monkeypatch, mean):
  """Scale the model's KL so that its mean over the batch of toys.batch() is `mean`."""
  data = model.preprocess(tensors(toys.batch()))
  original = model.rssm.kl
  scale = mean / float(model.loss(data, None)[1]['div_raw'])
  monkeypatch.setattr(model.rssm, 'kl', lambda *states: scale * original(*states))
  return data


class Fixed(tf.Module):
  """A value head that gives recorded values whatever the features are."""

  def __init__(self, values):
    super().__init__()
    self.values = tf.Variable(values)

  def __call__(self, feat):
    del feat
    return dists.normal(tf.identity(self.values))


def naive_return(reward, value, pcont, bootstrap, lambda_):
  """Mixture of n-step returns, summed for each start on its own."""
  length = len(reward)
  value = np.concatenate([value, bootstrap[None]])
  results = []
  for start in range(length):
    total = np.zeros_like(bootstrap)
    for last in range(start, length):       # the n-step return that ends after row `last`
      n_step, discount = 0.0, 1.0
      for t in range(start, last + 1):
        n_step = n_step + discount * reward[t]
        discount = discount * pcont[t]
      n_step = n_step + discount * value[last + 1]
      share = lambda_ ** (last - start) * (1 if last == length - 1 else 1 - lambda_)
      total = total + share * n_step
    results.append(total)
  return np.stack(results)


@pytest.mark.parametrize('lambda_', [0.0, 0.5, 0.95, 1.0])
def test_lambda_return_equals_the_mixture_of_n_step_returns(lambda_):
  rng = np.random.default_rng(0)
  reward, value = rng.normal(size=(2, 7, 3))
  pcont, bootstrap = rng.uniform(0, 1, (7, 3)), rng.normal(size=3)
  ours = actor_critic.lambda_return(
      *(tf.constant(x, tf.float32) for x in (reward, value, pcont, bootstrap)), lambda_)
  np.testing.assert_allclose(
      ours, naive_return(reward, value, pcont, bootstrap, lambda_), atol=1e-5)


def test_lambda_return_at_its_limits_and_after_a_terminal_step():
  reward, value = tf.constant([1.0, 2.0, 3.0]), tf.constant([10.0, 20.0, 30.0])
  ends = lambda pcont, lambda_: actor_critic.lambda_return(
      reward, value, pcont, tf.constant(40.0), lambda_)
  np.testing.assert_allclose(ends(0.5, 0.0), [1 + 10, 2 + 15, 3 + 20])
  np.testing.assert_allclose(ends(0.5, 1.0), [1 + 1 + 0.75 + 5, 2 + 1.5 + 10, 3 + 20])
  np.testing.assert_allclose(ends(tf.constant([1.0, 0.0, 1.0]), 1.0)[:2], [3, 2])


def test_lambda_return_along_another_axis_with_a_number_and_without_bootstrap():
  reward, value = tf.random.stateless_normal([2, 4, 3], [0, 1])
  first = actor_critic.lambda_return(reward, value, 0.9, None, 0.95)
  second = actor_critic.lambda_return(
      tf.transpose(reward), tf.transpose(value), 0.9 * tf.ones([3, 4]), tf.zeros(3), 0.95, axis=1)
  np.testing.assert_allclose(second, tf.transpose(first), rtol=1e-5)


def worked_example():
  """Horizon 3, one start."""
  behaviour = ActorCritic(1, 1, toys.settings(horizon=3, discount=0.5, disclam=0.5))
  behaviour.value = Fixed([[10.0], [20.0], [30.0]])
  behaviour.value_optimizer.variables_ = [behaviour.value.values]
  world = toys.LineWorld([[1.0]], discount=0.5)
  rewards = tf.constant([[1.0], [2.0], [3.0]])
  return behaviour.gradients(world, world.start([[0.0]]), lambda dream: rewards, None)


def test_a_worked_example():
  _, outputs, metrics = worked_example()
  np.testing.assert_allclose(np.ravel(outputs['returns']), [10.25, 17])
  np.testing.assert_allclose(np.ravel(outputs['weight']), [1, 0.5])
  np.testing.assert_allclose(metrics['actor_loss'], -9.375)
  np.testing.assert_allclose(metrics['value_loss'], 1.829829, rtol=1e-6)


def test_weights_are_products_of_the_discounts_before_and_carry_no_gradient():
  pcont = tf.Variable([[0.9], [0.8], [0.7], [0.6]])
  with tf.GradientTape() as tape:
    weight = actor_critic.discount_weights(pcont)
  np.testing.assert_allclose(np.ravel(weight), [1, 0.9, 0.72], rtol=1e-6)
  assert tape.gradient(weight, pcont) is None


@pytest.mark.parametrize('mean, div', [(1.2, 3.0), (5.0, 5.0)])
def test_free_nats_floor_the_mean_kl_and_stop_its_gradient_below(monkeypatch, mean, div):
  model = toys.model(free_nats=3.0, kl_scale=2.0)
  data = fixed_kl(model, monkeypatch, mean)
  with tf.GradientTape(persistent=True) as tape:
    loss, outputs = model.loss(data, None)
    floored = outputs['div'] * 1.0
  np.testing.assert_allclose(outputs['div_raw'], mean, rtol=1e-5)
  np.testing.assert_allclose(outputs['div'], div, rtol=1e-5)
  np.testing.assert_allclose(loss, 2.0 * div - sum(outputs['likes'].values()), rtol=1e-6)
  grads = tape.gradient(
      floored, model.rssm.trainable_variables, unconnected_gradients='zero')
  assert all(np.any(grad) for grad in grads) == (mean > 3)
  assert any(np.any(grad) for grad in grads) == (mean > 3)


def test_element_mode_takes_free_nats_from_each_kl_before_the_mean(monkeypatch):
  model = toys.model(free_nats=1.0, free_nats_mode='element')
  kl = tf.reshape(tf.range(20.0) / 10, [4, 5])
  monkeypatch.setattr(model.rssm, 'kl', lambda *states: kl)
  _, outputs = model.loss(model.preprocess(tensors(toys.batch())), None)
  np.testing.assert_allclose(outputs['div'], np.maximum(kl - 1, 0).mean(), rtol=1e-6)
  np.testing.assert_allclose(outputs['div_raw'], 0.95, rtol=1e-6)


def test_kl_is_taken_from_the_posterior_to_the_prior(monkeypatch):
  model = toys.model(free_nats=0.0)
  data = model.preprocess(tensors(toys.batch()))
  _, outputs = model.loss(data, SEED)
  post, prior = (model.rssm.get_dist(outputs[key]) for key in ('post', 'prior'))
  exact = lambda p, q: float(tf.reduce_mean(tf.reduce_sum(
      tf.math.log(q.stddev() / p.stddev()) + (
          p.variance() + tf.square(p.mean() - q.mean())) / (2 * q.variance()) - 0.5, -1)))
  np.testing.assert_allclose(outputs['div'], exact(post, prior), rtol=1e-4)
  assert abs(exact(prior, post) - exact(post, prior)) > 1e-4


def test_likelihoods_are_sums_over_pixels_and_means_over_rows():
  model = toys.model()
  data = model.preprocess(tensors(toys.batch()))
  _, outputs = model.loss(data, None)
  image = model.decoder(outputs['feat'])['image'].mean()
  expected = -0.5 * np.square(image - data['image']).sum((2, 3, 4)).mean() - 11291.917
  np.testing.assert_allclose(outputs['likes']['image'], expected, rtol=1e-5)
  reward = model.reward(outputs['feat']).mean()
  expected = -0.5 * np.square(reward - data['reward']).mean() - 0.9189385
  np.testing.assert_allclose(outputs['likes']['reward'], expected, rtol=1e-5)


def test_pcont_learns_gamma_times_the_stored_discount_with_its_scale():
  model = toys.model(pcont=True, pcont_scale=7.0, discount=0.99)
  data = model.preprocess(tensors(toys.batch()))
  _, outputs = model.loss(data, None)
  mean = model.pcont(outputs['feat']).numpy().astype(np.float64)
  target = 0.99 * data['discount'].numpy()
  np.testing.assert_allclose(np.unique(target), [0, 0.99])
  like = target * np.log(mean) + (1 - target) * np.log(1 - mean)
  np.testing.assert_allclose(outputs['likes']['pcont'], 7 * like.mean(), rtol=1e-4)


@pytest.mark.parametrize('pcont', [False, True])
def test_dreams_start_from_every_row_except_perhaps_terminal_last_ones(pcont):
  model = toys.model(pcont=pcont)
  post, _, _ = model.observe(model.preprocess(tensors(toys.batch(4, 5))), None)
  starts = model.starts(post)
  kept = post['deter'][:, :4 if pcont else 5]
  np.testing.assert_array_equal(starts['deter'], np.reshape(kept, (-1, kept.shape[-1])))


@pytest.mark.parametrize('horizon', [2, 5])
def test_as_many_states_are_imagined_as_the_horizon_says_without_the_start(horizon):
  behaviour = ActorCritic(1, 1, toys.settings(horizon=horizon))
  world = toys.LineWorld([[1.0]])
  start = world.start([[0.5], [2.0]])
  feat, action, _, _ = behaviour.imagine(world, start, SEED)
  assert feat.shape == (horizon, 2, 1) and action.shape == (horizon, 2, 1)
  assert not np.any(feat.numpy() == start['stoch'])
  np.testing.assert_allclose(feat, start['stoch'] + np.cumsum(action, 0), rtol=1e-5)


def test_returns_weights_and_losses_are_over_one_step_less_than_the_horizon():
  _, outputs, _ = worked_example()
  assert {key: value.shape[0] for key, value in outputs.items()} == {
      'feat': 3, 'action': 3, 'reward': 3, 'value': 3, 'pcont': 3, 'returns': 2, 'weight': 2}


def test_actor_gradient_reaches_the_actor_only_through_its_actions():
  behaviour = ActorCritic(2, 2, toys.settings())
  norms = []
  for gain in ([[1.0, 0.5], [-0.5, 1.0]], [[0.0, 0.0], [0.0, 0.0]]):
    world = toys.LineWorld(gain)
    grads, _, _ = behaviour.gradients(
        world, world.start(np.ones((3, 2))), lambda dream: -tf.reduce_sum(dream.feat ** 2, -1), SEED)
    norms.append(float(tf.linalg.global_norm([g for g in grads['actor'] if g is not None])))
  assert norms[0] > 1e-3 and norms[1] == 0


def test_actor_sees_features_without_gradient():
  """The reward reads x, which the actor moves by m, which it wrote there one step before."""
  theta = tf.Variable(0.3)

  class Writer:
    size = 2

    def __call__(self, feat):
      self.action = tf.stack([theta * tf.ones(feat.shape[:1]), feat[:, 0]], -1)
      return self

    def sample(self, seed):
      del seed
      return self.action
  behaviour = ActorCritic(2, 2, toys.settings(horizon=3))
  behaviour.actor = Writer()
  world = toys.LineWorld(np.eye(2))
  with tf.GradientTape(persistent=True) as tape:
    feat, _, _, _ = behaviour.imagine(world, world.start([[0.0, 0.0]]), None)
    x, m = tf.reduce_sum(feat[..., 1]), tf.reduce_sum(feat[..., 0])
  assert not np.any(tape.gradient(x, theta, unconnected_gradients='zero'))
  np.testing.assert_allclose(tape.gradient(m, theta), 1 + 2 + 3)


@pytest.mark.parametrize('actor_ent', [0.0, 0.3])
def test_actor_gradient_equals_finite_differences_in_a_linear_world(actor_ent):
  # With a first layer of zeros the actor does not read its input, whose gradient is stopped, so
  # that the loss as a function of the weights has exactly the gradient that is used.
  behaviour = ActorCritic(2, 2, toys.settings(
      horizon=4, dense_act='tanh', action_init_std=1.0, actor_ent=actor_ent))
  behaviour.actor.mlp.layers[0].kernel.assign(tf.zeros([2, 8]))
  behaviour.actor.mlp.layers[0].bias.assign(tf.random.stateless_normal([8], [0, 1]))
  world = toys.LineWorld([[1.0, 0.3], [-0.2, 0.8]])
  start = world.start([[0.5, -0.3], [0.1, 0.2]])
  reward_fn = lambda dream: -tf.reduce_sum(tf.square(dream.feat - 0.4), -1)
  run = tf.function(
      lambda: behaviour.gradients(world, start, reward_fn, SEED), autograph=False)
  grads = run()[0]['actor']
  variables = behaviour.actor_optimizer.variables_
  for index in range(0, len(variables), 3):
    grad, var, eps = grads[index].numpy(), variables[index], 1e-2
    direction = np.sign(grad + 1e-12)
    losses = []
    for sign in (1, -1):
      var.assign_add(sign * eps * direction)
      losses.append(float(run()[2]['actor_loss']))
      var.assign_sub(sign * eps * direction)
    difference = (losses[0] - losses[1]) / (2 * eps)
    np.testing.assert_allclose(difference, np.sum(grad * direction), rtol=2e-2, atol=1e-4)


def test_entropy_enters_the_actor_loss_with_its_weight_and_not_the_value_loss():
  world, results = toys.LineWorld(np.eye(2), discount=0.9), []
  start, reward_fn = world.start(np.ones((3, 2))), lambda dream: dream.feat[..., 0]
  behaviour = ActorCritic(2, 2, toys.settings(action_dist='onehot'))
  for layer in behaviour.actor.layers:
    layer.kernel.assign(tf.zeros_like(layer.kernel))
  behaviour.actor.out.bias.assign(np.log([0.2, 0.8]))  # the same policy in every state
  for weight in (0.0, 2.0):
    behaviour._config = toys.settings(action_dist='onehot', actor_ent=weight)
    results.append(behaviour.gradients(world, start, reward_fn, SEED)[2])
  entropy = -0.2 * np.log(0.2) - 0.8 * np.log(0.8)
  bonus = 2.0 * entropy * np.mean([1, 0.9, 0.81])
  np.testing.assert_allclose(
      results[1]['actor_loss'], results[0]['actor_loss'] - bonus, rtol=1e-5)
  np.testing.assert_array_equal(results[1]['value_loss'], results[0]['value_loss'])


def test_value_learns_returns_as_constants_and_only_its_own_variables():
  behaviour = ActorCritic(2, 2, toys.settings())
  world = toys.LineWorld(np.eye(2))
  grads, outputs, _ = behaviour.gradients(
      world, world.start(np.ones((3, 2))), lambda dream: dream.feat[..., 0], SEED)
  with tf.GradientTape() as tape:
    value = behaviour.value(outputs['feat'][:-1]).mode()
    loss = tf.reduce_mean(
        outputs['weight'] * 0.5 * tf.square(value - outputs['returns'].numpy()))
  expected = tape.gradient(loss, behaviour.value.trainable_variables)
  for ours, theirs in zip(grads['value'], expected):
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_without_value_only_rewards_within_the_horizon_count():
  world = toys.LineWorld(np.eye(2), discount=0.9)
  returns, grads = [], []
  for scale in (1.0, 100.0):
    behaviour = ActorCritic(2, 2, toys.settings(use_value=False, horizon=4))
    behaviour.value.out.bias.assign([scale])
    for ours, given in zip(behaviour.actor.trainable_variables, grads[0][1] if grads else []):
      ours.assign(given)
    gradient, outputs, _ = behaviour.gradients(
        world, world.start(np.ones((3, 2))), lambda dream: dream.feat[..., 0], SEED)
    returns.append(outputs['returns'].numpy())
    grads.append((gradient['actor'], toys.values(behaviour.actor.trainable_variables)))
  reward = outputs['reward'].numpy()
  sums = [sum(0.9 ** (j - i) * reward[j] for j in range(i, 3)) for i in range(3)]
  np.testing.assert_allclose(returns[1], sums, rtol=1e-5)
  np.testing.assert_array_equal(returns[0], returns[1])
  for ours, theirs in zip(grads[0][0], grads[1][0]):
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize('changes', [{}, {'pcont': True, 'action_dist': 'onehot'}])
def test_each_loss_changes_exactly_its_own_weights(changes):
  agent = toys.agent(free_nats=0.0, **changes)
  data = agent.world_model.preprocess(
      tensors(toys.batch(onehot=agent.config.action_dist == 'onehot')))
  grads, _ = agent.gradients(data, SEED)
  groups = {
      'model': agent.world_model.trainable_variables,
      'actor': agent.behaviour.actor.trainable_variables,
      'value': agent.behaviour.value.trainable_variables}
  everything = sum((list(group) for group in groups.values()), [])
  assert len({v.ref() for v in everything}) == len(agent.trainable_variables)
  for name, opt in agent.optimizers().items():
    assert {v.ref() for v in opt.variables_} == {v.ref() for v in groups[name]}
    before = toys.values(everything)
    opt.apply(grads[name])
    mine = [v.ref() in {v.ref() for v in groups[name]} for v in everything]
    assert toys.changed(before, everything) == mine


def test_one_update_changes_model_actor_and_value():
  agent = toys.agent(free_nats=0.0)
  before = toys.values(agent.trainable_variables)
  metrics = agent.train(agent.distribute(toys.batch()))
  assert all(toys.changed(before, agent.trainable_variables))
  assert all(np.isfinite(value) for value in metrics.values())
  assert int(agent.updates) == 1


def test_all_gradients_belong_to_the_weights_before_the_update():
  agent = toys.agent()
  data = tensors(toys.batch())
  grads, metrics = agent.gradients(agent.world_model.preprocess(data), None)
  results = agent.update(data, None)
  for name, group in grads.items():
    np.testing.assert_allclose(
        results[f'{name}_grad_norm'], tf.linalg.global_norm(group), rtol=1e-5)
  np.testing.assert_allclose(results['actor_loss'], metrics['actor_loss'], rtol=1e-5)


def test_gradients_of_all_heads_reach_the_encoder():
  model = toys.model(pcont=True, free_nats=0.0)
  data = model.preprocess(tensors(toys.batch()))
  with tf.GradientTape(persistent=True) as tape:
    _, outputs = model.loss(data, None)
  terms = {**outputs['likes'], 'div': outputs['div']}
  assert set(terms) == {'image', 'reward', 'pcont', 'div'}
  for key, term in terms.items():
    grads = tape.gradient(term, model.encoder.trainable_variables)
    assert all(grad is not None and np.any(grad) for grad in grads), key
