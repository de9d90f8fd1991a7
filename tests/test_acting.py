"""Acting: filtering, resets, exploration and its schedule, repeatability."""
import gymnasium
import numpy as np
import pytest
import tensorflow as tf

from common import config as config_lib
from common.model import devices
from common.model import exploration
from common.model.world_model import WorldModel
from dreamer.agent import Dreamer

import toys

SEED = tf.constant([7, 8])


def observations(count=2, seed=0):
  rng = np.random.default_rng(seed)
  return {'image': rng.integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)}


def tensors(data):
  return {key: tf.constant(value) for key, value in data.items()}


def flat(state):
  return [value.numpy() for value in tf.nest.flatten(state)]


def test_a_reset_zeroes_its_own_row_of_the_policy_state_only():
  agent, obs = toys.agent(), tensors(observations())
  state = tf.nest.map_structure(lambda x: x + 0.5, agent.initial(2))
  fresh = agent.filter_and_act(obs, agent.initial(2), tf.constant([False] * 2), 'train', None)
  kept = agent.filter_and_act(obs, state, tf.constant([False] * 2), 'train', None)
  mixed = agent.filter_and_act(obs, state, tf.constant([True, False]), 'train', None)
  for new, old, result in zip(flat(fresh), flat(kept), flat(mixed)):
    np.testing.assert_allclose(result[0], new[0], atol=1e-6)
    np.testing.assert_allclose(result[1], old[1], atol=1e-6)
    assert np.abs(new[0] - old[0]).max() > 1e-4


def test_two_episodes_in_a_row_are_acted_like_two_separate_ones():
  agent = toys.agent()
  def run(steps, resets, state):
    latents = []
    for step, reset in zip(steps, resets):
      action, latent = agent.filter_and_act(
          tensors(observations(1, step)), state, tf.constant([reset]), 'train', None)
      state = {'latent': latent, 'action': action}
      latents.append(latent['stoch'].numpy())
    return np.concatenate(latents), state
  first, state = run([1, 2], [True, False], agent.initial(1))
  second, _ = run([3, 4], [True, False], state)
  alone, _ = run([3, 4], [True, False], agent.initial(1))
  np.testing.assert_array_equal(second, alone)
  assert np.abs(first - second).max() > 1e-4


def test_acting_filters_replayed_rows_to_the_states_that_training_sees():
  agent, data = toys.agent(), toys.batch(2, 4)
  wm = agent.world_model
  post, _, _ = wm.observe(wm.preprocess(tensors(data)), None)
  state = agent.initial(2)
  for t in range(4):
    state['action'] = tf.constant(data['action'][:, t])  # the one that led to this row
    obs = {'image': tf.constant(data['image'][:, t])}
    _, latent = agent.filter_and_act(obs, state, tf.constant([False] * 2), 'train', None)
    state['latent'] = latent
    for key, value in latent.items():
      np.testing.assert_allclose(value, post[key][:, t], atol=1e-5)


def test_acting_and_training_preprocess_by_the_same_function(monkeypatch):
  seen, original = [], WorldModel.preprocess
  def spy(self, data, *seed):
    seen.append(sorted(data))
    return original(self, data, *seed)
  monkeypatch.setattr(WorldModel, 'preprocess', spy)
  agent = toys.agent()
  agent.policy(observations())
  agent.update(tensors(toys.batch()), None)
  assert seen == [['image'], ['action', 'discount', 'image', 'reward']]


@pytest.mark.parametrize('obs, words', [
    ((np.zeros([64, 64, 3], np.uint8), {}), "is no dict with 'image'"),
    ({'vector': np.zeros(3)}, "is no dict with 'image'"),
    ({'image': np.zeros([2, 32, 32, 3], np.uint8)}, r'image is \[32, 32, 3\], the agent sees \[64, 64, 3\]')])
def test_what_no_environment_of_the_agent_gives_is_refused_with_how_to_make_one(obs, words):
  with pytest.raises(ValueError, match=words + '.*common.envs.make'):
    toys.agent().policy(obs)


def test_each_observation_that_is_missing_is_named_and_so_is_a_mode_that_is_none():
  boxes = {name: gymnasium.spaces.Box(-1, 1, (2,), np.float32) for name in ('position', 'velocity')}
  agent = Dreamer(devices.setup(toys.settings(cnn_keys='', mlp_keys='.*')), boxes, toys.actions(2))
  with pytest.raises(ValueError, match="no dict with 'velocity'"):
    agent.policy({'position': np.zeros(2, np.float32)})
  with pytest.raises(ValueError, match="mode is 'evaluate', expected train or eval"):
    agent.policy({name: np.zeros(2, np.float32) for name in boxes}, mode='evaluate')


def test_the_remembered_action_is_the_noisy_one_that_is_carried_out():
  agent = toys.agent(expl_amount=3.0)
  state = None
  for _ in range(5):
    action, state = agent.policy(observations(), state)
    np.testing.assert_array_equal(action, state['action'])
    assert np.all(np.abs(action) <= 1) and action.dtype == np.float32
  assert np.any(np.abs(action) == 1)


def test_training_acts_by_samples_with_noise_and_evaluation_by_the_mode_without(monkeypatch):
  agent = toys.agent()
  kinds, amounts = [], []
  def act(latent, mode, seed):
    kinds.append(mode)
    return tf.zeros([2, 2])
  def add_noise(kind, action, amount, *args):
    amounts.append(float(amount))
    return original(kind, action, amount, *args)
  original = exploration.add_noise
  monkeypatch.setattr(agent, 'act', act)
  monkeypatch.setattr(exploration, 'add_noise', add_noise)
  monkeypatch.setattr(agent, '_act', agent._policy_step)  # uncompiled
  noisy, _ = agent.policy(observations(), mode='train')
  quiet, _ = agent.policy(observations(), mode='eval')
  assert kinds == ['train', 'eval']
  np.testing.assert_allclose(amounts, [0.3, 0.0])
  assert np.all(noisy != 0) and np.all(quiet == 0)


@pytest.mark.parametrize('style, at_bounds', [('uniform', 0.0), ('gaussian', 0.317)])
def test_completely_random_actions_are_of_their_style(style, at_bounds):
  action = exploration.add_noise(
      'completely_random', tf.zeros([5000, 2]), tf.constant(1.0), SEED, style).numpy()
  assert np.abs(action).max() <= 1 and abs((np.abs(action) == 1).mean() - at_bounds) < 0.01


def test_evaluation_takes_the_mode_of_the_actor():
  agent = toys.agent()
  latent = agent.world_model.rssm.initial(2)
  dist = agent.behaviour.actor(agent.world_model.rssm.get_feat(latent))
  np.testing.assert_array_equal(agent.act(latent, 'eval', SEED), dist.mode(SEED))
  np.testing.assert_array_equal(agent.act(latent, 'train', SEED), dist.sample(SEED))


@pytest.mark.parametrize('mode', ['train', 'eval'])
def test_actions_repeat_with_the_seed_and_differ_with_another(mode):
  runs = []
  for seed in (0, 0, 1):
    agent = toys.agent(seed=seed)
    state, actions = None, []
    for step in range(4):
      action, state = agent.policy(observations(seed=step), state, mode)
      actions.append(action)
    runs.append(np.stack(actions))
  np.testing.assert_array_equal(runs[0], runs[1])
  assert np.abs(runs[0] - runs[2]).max() > 1e-3
  assert len(np.unique(runs[0].reshape(8, -1), axis=0)) > 1


def test_evaluation_can_filter_with_the_mean_of_the_posterior():
  obs, first = tensors(observations()), tf.constant([True, True])
  agent = toys.agent(eval_state_mean=True)
  _, latent = agent.filter_and_act(obs, agent.initial(2), first, 'eval', SEED)
  np.testing.assert_array_equal(latent['stoch'], latent['mean'])
  _, latent = agent.filter_and_act(obs, agent.initial(2), first, 'train', SEED)
  assert np.all(latent['stoch'] != latent['mean'])
  agent = toys.agent()
  _, latent = agent.filter_and_act(obs, agent.initial(2), first, 'eval', SEED)
  assert np.all(latent['stoch'] != latent['mean'])


def test_environments_of_one_call_draw_different_noise():
  agent = toys.agent()
  obs = {'image': np.repeat(observations(1)['image'], 3, 0)}
  action, state = agent.policy(obs)
  assert len(np.unique(action.round(5), axis=0)) == 3
  assert len(np.unique(state['latent']['stoch'].numpy().round(5), axis=0)) == 3


def test_a_single_environment_may_come_without_its_leading_axis():
  agent, obs = toys.agent(), observations(1)
  action, state = agent.policy({'image': obs['image'][0]})
  assert action.shape == (2,) and state['action'].shape == (1, 2)
  action, _ = agent.policy({'image': obs['image'][0], 'is_first': True}, state)
  assert action.shape == (2,)


def test_images_of_other_dtypes_are_the_same_images_or_refused():
  agent, obs = toys.agent(), observations(1)
  expected = agent.filter_and_act(
      tensors(obs), agent.initial(1), tf.constant([True]), 'train', None)[1]['mean'].numpy()
  for image in (obs['image'].astype(np.int64), obs['image'].astype(np.float32) / 255):
    _, state = agent.policy({'image': image, 'is_first': np.array([True])})
    np.testing.assert_allclose(state['latent']['mean'], expected, atol=1e-6)
  with pytest.raises(ValueError, match='image holds -1 to 255'):
    agent.policy({'image': np.array([[[[-1.0, 255, 0]] * 64] * 64])})


def test_discrete_agents_return_onehot_actions():
  agent = toys.agent(3, action_dist='onehot', expl='epsilon_greedy', expl_amount=0.5)
  for mode in ('train', 'eval'):
    action, _ = agent.policy(observations(4), mode=mode)
    np.testing.assert_allclose(np.sort(action, -1), [[0, 0, 1]] * 4, atol=1e-6)


@pytest.mark.parametrize('rows', [1, 2, 3, 5, 400])
@pytest.mark.parametrize('amount', [0.0, 1.0])
def test_epsilon_greedy_replaces_whole_rows_by_onehot_ones(rows, amount):
  action = tf.tile([[0.2, 0.3, 0.5]], [rows, 1])
  noisy = exploration.add_noise('epsilon_greedy', action, tf.constant(amount), SEED).numpy()
  if amount:
    np.testing.assert_array_equal(np.sort(noisy, -1), [[0, 0, 1]] * rows)
  else:
    np.testing.assert_array_equal(noisy, action)


def test_epsilon_is_the_share_of_random_rows_and_classes_are_equally_likely():
  action = tf.tile([[0.2, 0.3, 0.5]], [20000, 1])
  noisy = exploration.add_noise('epsilon_greedy', action, tf.constant(0.4), SEED).numpy()
  random = noisy[noisy.max(-1) == 1]
  np.testing.assert_allclose(len(random) / 20000, 0.4, atol=0.02)
  np.testing.assert_allclose(random.mean(0), 1 / 3, atol=0.02)


def test_additive_noise_has_the_amount_as_its_deviation_and_is_clipped():
  noisy = exploration.add_noise(
      'additive_gaussian', tf.zeros([20000, 2]), tf.constant(0.2), SEED).numpy()
  np.testing.assert_allclose([noisy.mean(), noisy.std()], [0, 0.2], atol=5e-3)
  noisy = exploration.add_noise(
      'additive_gaussian', tf.ones([100, 2]), tf.constant(5.0), SEED).numpy()
  assert noisy.min() == -1 and noisy.max() == 1
  np.testing.assert_array_equal(exploration.add_noise(
      'additive_gaussian', tf.fill([3, 2], 0.4), tf.constant(0.0), SEED), np.full((3, 2), 0.4, 'f'))


@pytest.mark.parametrize('flags', [
    ['--expl_amount', '0'], ['--expl_schedule', 'linear', '--expl_decay', '100'], ['--expl_decay', '1']])
def test_completely_random_actions_are_so_whatever_the_amount(flags):
  config = config_lib.load('dreamer', ['--configs', 'random_collect', *flags])
  assert exploration.amount(config, 1000) == 1


def test_completely_random_actions_ignore_the_policy():
  results = [
      exploration.add_noise('completely_random', tf.fill([20000, 1], x), tf.constant(1.0), SEED)
      for x in (-1.0, 1.0)]
  np.testing.assert_array_equal(*results)
  np.testing.assert_allclose(np.std(results[0]), 2 / np.sqrt(12), atol=0.01)


def test_exponential_schedule_halves_and_stops_at_its_floor():
  config = toys.settings(expl_amount=0.4, expl_decay=1000.0, expl_min=0.15)
  assert exploration.amount(config, 0) == 0.4
  np.testing.assert_allclose(exploration.amount(config, 1000), 0.2)
  assert exploration.amount(config, 5000) == 0.15
  constant = toys.settings(expl_amount=0.4)
  assert exploration.amount(constant, 10 ** 6) == 0.4


def test_linear_schedule_is_in_the_middle_at_half_time():
  config = toys.settings(
      expl_amount=0.4, expl_min=0.1, expl_decay=1000.0, expl_schedule='linear')
  amounts = [exploration.amount(config, frames) for frames in (0, 500, 1000, 9999)]
  np.testing.assert_allclose(amounts, [0.4, 0.25, 0.1, 0.1])


def test_the_policy_follows_the_schedule_by_frames(monkeypatch):
  agent = toys.agent(expl_amount=0.4, expl_decay=1000.0)
  seen = []
  def act(obs, state, is_first, noise, mode):
    seen.append(float(noise))
    return tf.zeros([2, 2]), state
  monkeypatch.setattr(agent, '_act', act)
  for frames in (0, 1000, 2000):
    agent.policy(observations(), frames=frames)
  agent.policy(observations(), mode='eval', frames=0)
  np.testing.assert_allclose(seen, [0.4, 0.2, 0.1, 0.0])
