"""Discrete actions: gradients of one-hot actors, the published settings, and a task solved."""
import json

import numpy as np
import pytest
import tensorflow as tf

from common import config as config_lib
from common.model import dists
from common.model import exploration
from common.model.actor_critic import ActorCritic
from common.scores import published
from dreamer import train
import toys

SEED = tf.constant([3, 5])
GAIN = np.float32([[1.0, -0.5], [0.2, 0.8], [-0.4, 0.3]])  # what each of three actions adds to x, y
PAY = np.float32([0.7, -0.3])                              # reward of a unit of x and y
GAMMA, HORIZON = 0.9, 4


class Fixed:
  """An actor with the same logits everywhere."""
  size = 3

  def __init__(self, logits):
    self.logits = tf.Variable(logits)
    self.trainable_variables = [self.logits]

  def __call__(self, feat):
    return dists.OneHot(tf.tile(self.logits[None], [feat.shape[0], 1]))


def mean_return(probs):
  """The actor's objective in expectation: mean over t of gamma^t times the return after it."""
  gains = probs @ GAIN @ PAY
  rewards = [(step + 1) * gains for step in range(HORIZON)]
  returns = [
      sum(GAMMA ** (j - t) * rewards[j] for j in range(t, HORIZON - 1))
      for t in range(HORIZON - 1)]
  return np.mean([GAMMA ** t * x for t, x in enumerate(returns)])


def softmax(logits):
  return np.exp(logits) / np.exp(logits).sum()


def test_gradient_of_a_one_hot_actor_is_the_straight_through_formula():
  """In a linear world it has no noise, and is even that of the expected return."""
  logits = np.float32([0.3, -0.2, 0.5])
  behaviour = ActorCritic(2, 3, toys.settings(
      action_dist='onehot', use_value=False, discount=GAMMA, horizon=HORIZON))
  behaviour.actor = Fixed(logits)
  world = toys.LineWorld(GAIN)
  reward = lambda feat: tf.linalg.matvec(feat, PAY)
  with tf.GradientTape() as tape:
    feat, _, entropy, log_prob = behaviour.imagine(world, world.start(np.zeros((5, 2))), SEED)
    loss, _, _ = behaviour.losses(
        feat, reward(feat), GAMMA * tf.ones(feat.shape[:2]), entropy, log_prob)
  grad = tape.gradient(loss, behaviour.actor.logits).numpy()

  probs = softmax(logits.astype(np.float64))
  jacobian = np.diag(probs) - np.outer(probs, probs)
  paid = GAIN @ PAY
  # Action i is in the rewards i and later, each of which is in the returns up to it.
  weight = np.mean([
      GAMMA ** t * sum(GAMMA ** (j - t) * (j + 1) for j in range(t, HORIZON - 1))
      for t in range(HORIZON - 1)])
  np.testing.assert_allclose(grad, -weight * jacobian @ paid, rtol=1e-4)

  step = 1e-5
  differences = [
      (mean_return(softmax(logits + step * unit)) - mean_return(softmax(logits - step * unit)))
      / (2 * step) for unit in np.eye(3)]
  np.testing.assert_array_equal(np.sign(-grad), np.sign(differences))
  np.testing.assert_allclose(-grad, differences, rtol=1e-3)


def test_the_score_surrogate_is_one_hot_with_the_gradient_of_the_samples_log_probability():
  logits = tf.constant(np.random.default_rng(0).normal(size=(500, 3)), tf.float32)
  worth = tf.constant([1.0, -2.0, 0.5])
  with tf.GradientTape() as tape:
    tape.watch(logits)
    sample = dists.OneHot(logits, 'score').sample(SEED)
    loss = tf.reduce_sum(sample * worth)
  assert set(np.unique(sample)) == {0.0, 1.0} and (sample.numpy().sum(-1) == 1).all()
  paid = (sample.numpy() * worth.numpy()).sum(-1, keepdims=True)
  probs = tf.nn.softmax(logits).numpy()
  np.testing.assert_allclose(
      tape.gradient(loss, logits), paid * (sample.numpy() - probs), rtol=1e-4, atol=1e-6)


@pytest.mark.usefixtures('eager')
def test_an_actor_learns_by_the_gradient_that_was_chosen():
  weights = {}
  for gradient in ('straight_through', 'score'):
    agent = toys.agent(action_dist='onehot', expl='epsilon_greedy', onehot_gradient=gradient)
    agent.train(agent.distribute(toys.batch(onehot=True)))
    weights[gradient] = toys.values(agent.behaviour.actor.trainable_variables)
  assert all(np.isfinite(x).all() for x in weights['score'])
  assert not all(np.array_equal(a, b) for a, b in zip(*weights.values()))


def test_atari_settings_are_those_published_for_discrete_actions():
  config = config_lib.load('dreamer', ['--configs', 'atari'])
  expected = dict(
      task='atari_pong', action_repeat=4, time_limit=108000, action_dist='onehot', horizon=10,
      kl_scale=0.1, clip_rewards='tanh', pcont=True, pcont_scale=10.0, eval_noise=0.001,
      deter_size=200, stoch_size=30, num_units=400, atari_sticky=0.25, atari_noops=30,
      dataset_balance=False, prefill=10_000)
  assert {key: config[key] for key in expected} == expected
  assert config_lib.load('dreamer', ['--configs', 'atari', 'dreamerv2']).dataset_balance
  # From 0.4 to 0.1 over the first 150,000 updates, 100 of which are made every 500 decisions.
  amounts = [exploration.amount(config, frames) for frames in (0, 1.5e6, 3e6, 4e6)]
  np.testing.assert_allclose(amounts, [0.4, 0.25, 0.1, 0.1])


@pytest.mark.parametrize('blocks, task, decisions, episodes', [
    ('atari', 'atari_pong', 500, 1), ('discrete', 'dmlab_rooms_watermaze', 500, 1),
    ('discrete', 'gym_CartPole-v1', 500, 1), ('discrete', 'memorymaze_9x9', 1000, 0),
    ('dmc', 'dmc_walker_walk', 500, 0)])
def test_bursts_wait_for_decisions_and_episodes_as_in_the_papers_code(
    blocks, task, decisions, episodes):
  config = config_lib.load('dreamer', ['--configs', blocks, '--task', task])
  assert config.train_every == decisions * config.action_repeat
  assert config.train_episodes == episodes and config.train_steps == 100
  if blocks != 'dmc':
    assert config.expl_decay == 150_000 / config.train_steps * config.train_every


# Defaults of danijar/dreamerv2 and what its presets change, in the names used here.
V2_DEFAULTS = dict(
    kl_scale=1.0, pcont=True, pcont_scale=1.0, clip_rewards='tanh', dataset_balance=True,
    reward_scale=1.0, obs_loss='reconstruction', kl_balance=0.8, free_nats=0.0, discount=0.99,
    deter_size=1024, model_lr=1e-4, head_lr=1e-4, actor_lr=8e-5, value_lr=2e-4, actor_ent=2e-3,
    train_every=5, train_episodes=0, train_steps=1, pretrain=1, prefill=10_000, batch_size=16,
    batch_length=50, expl_amount=0.0, horizon=15, slow_value=100)
V2_PRESETS = {
    'atari': dict(
        kl_scale=0.1, pcont_scale=5.0, discount=0.999, deter_size=600, model_lr=2e-4, head_lr=2e-4,
        actor_lr=4e-5, value_lr=1e-4, actor_ent=1e-3, train_every=64, prefill=200_000),
    'dmc': dict(
        pcont=False, clip_rewards='none', dataset_balance=False, free_nats=1.0, deter_size=200,
        model_lr=3e-4, head_lr=3e-4, actor_lr=8e-5, value_lr=8e-5, actor_ent=1e-4, train_every=10,
        prefill=2000, pretrain=100),
    'dmlab': dict(train_every=20, prefill=40_000),  # the same decisions at action repeat 4
    'toy': dict(prefill=2000, batch_length=12), 'gym': dict(batch_length=15)}


@pytest.mark.parametrize('blocks, task', [
    ('atari', 'atari_pong'), ('dmc', 'dmc_walker_walk'), ('dmc_proprio', 'dmc_walker_walk'),
    ('gym', 'gym_CartPole-v1'), ('discrete', 'memorymaze_9x9'), ('discrete', 'dmlab_rooms_watermaze'),
    ('toy', 'toy_lock'), ('', 'py_worlds:Pushes'), ('', 'dummy_discrete')])
@pytest.mark.parametrize('agent', ['dreamer', 'planet', 'plan2explore'])
def test_dreamerv2_after_every_suite_has_its_published_values(agent, blocks, task):
  config = config_lib.load(agent, ['--configs', *blocks.split(), 'dreamerv2', '--task', task])
  suite = task.partition('_')[0]
  expected = {**V2_DEFAULTS, **V2_PRESETS.get(suite, {})}
  if agent == 'planet':
    expected = {key: expected[key] for key in (
        'kl_scale', 'clip_rewards', 'dataset_balance', 'obs_loss', 'kl_balance', 'train_every')}
  assert {key: config[key] for key in expected} == expected


@pytest.mark.parametrize('blocks, expected', [
    (('atari', 'dreamerv2'), dict(
        latent='categorical', stoch_size=32, stoch_classes=32, deter_size=600, kl_scale=0.1,
        kl_balance=0.8, free_nats=0.0, discount=0.999, model_lr=2e-4, actor_lr=4e-5,
        value_lr=1e-4, actor_ent=1e-3, actor_grad='auto', slow_value=100, batch_size=16,
        weight_decay=1e-6, adam_eps=1e-5, steps=200_000_000, train_every=64, train_steps=1,
        prefill=200_000, pcont_scale=5.0, clip_rewards='tanh', atari_gray=True, expl_amount=0.0,
        atari_life_end=False, horizon=15)),
    (('dmc', 'dreamerv2'), dict(
        deter_size=200, free_nats=1.0, kl_scale=1.0, discount=0.99, actor_ent=1e-4, pcont=False,
        model_lr=3e-4, actor_lr=8e-5, value_lr=8e-5, action_dist='trunc_normal', train_every=10,
        prefill=2000, pretrain=100, clip_rewards='none', cnn_keys='image')),
    (('dmc_proprio', 'dreamerv2'), dict(
        deter_size=200, action_dist='trunc_normal', cnn_keys='', mlp_keys='.*'))])
def test_dreamerv2_settings_are_those_published_for_each_suite(blocks, expected):
  config = config_lib.load('dreamer', ['--configs', *blocks])
  assert {key: config[key] for key in expected} == expected


def test_scores_of_games_are_shares_of_what_people_reach():
  known = published.atari_references('atari_pong')
  assert published.normalised('atari_pong', known['random'])['gamer'] == 0
  assert published.normalised('pong', known['human_gamer'])['gamer'] == 1
  best = published.normalised('atari_breakout', 2 * 864 + 1000)
  assert best['record'] > 1 and best['clipped_record'] == 1
  assert published.normalised('atari_no_such_game', 1.0) is None


BEST = 10.0


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize('more', [(), ('--imag_start', 'True', '--actor_grad', 'reinforce')])
def test_the_lock_is_opened_from_pixels_by_both_gradients(tmp_path, more):
  train.main(['--configs', 'toy', '--logdir', str(tmp_path), '--quiet', *more])
  rows = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
  returns = [row['eval/return'] for row in rows if 'eval/return' in row]
  assert returns[-1] >= 0.9 * BEST, returns
