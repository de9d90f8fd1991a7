"""Plan2Explore as a whole: who learns from what, who collects, what a phase changes."""
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from common import config as config_lib
from common import envs
from common.config import UserError
from common.model import actor_critic
from common.model import devices
from common.model import dists
from common.model import divergence
from plan2explore import ensemble
from plan2explore.agent import Plan2Explore
from plan2explore.novelty import random_explorer
from plan2explore.novelty import scales
import toys

SEED = tf.constant([3, 5])
BASE = ['--configs', 'debug', '--task', 'dummy_continuous']
SMALL = dict(toys.SMALL, disag_units=8, expl_horizon=4)
KINDS = {
    'disagreement': {}, 'own': dict(disag_opt='own'),
    'feat': dict(disag_input='feat', disag_target='stoch', disag_offset=1),
    'past': dict(
        disag_input='feat', disag_target='embed', disag_offset=1, disag_action='past'),
    'prior_feat': dict(disag_input='prior_feat', disag_target='stoch'),
    'max': dict(intr_reduce='jrd', disag_loss='nll_learned', intr_scale=1.0),
    'retrospective': dict(expl_horizon=1, expl_bootstrap=False, disag_reward_grad=True),
    'retrospective_replay': dict(expl_replay=True),
    'curiosity': dict(expl_behavior='curiosity'),
    'curiosity_shapes': dict(expl_behavior='curiosity', curiosity_shapes=True),
    'icm': dict(expl_behavior='icm'), 'rnd': dict(expl_behavior='rnd'),
    'rnd_feat': dict(expl_behavior='rnd', rnd_input='feat'),
    'shared_heads': dict(head_opt='shared', lambda_bootstrap='authors'),
    'dreamerv2': dict(imag_start=True, slow_value=2, latent='categorical', stoch_classes=4),
    'random': dict(expl_behavior='random'), 'greedy': dict(expl_behavior='greedy')}


def settings(**changes):
  config = config_lib.load('plan2explore', BASE)
  return devices.setup(config.replace(**{**SMALL, **changes}))


def make(size=2, kind='tanh_normal', **changes):
  actions = toys.actions(size, kind)
  if kind == 'onehot':
    actions.n = size
    changes.update(action_dist='onehot', expl='epsilon_greedy')
  return Plan2Explore(settings(**changes), toys.IMAGE, actions)


def tensors(batch):
  return {key: tf.constant(value) for key, value in batch.items()}


def parts(agent):
  """Variables of the agent by what they are for."""
  wm = agent.world_model
  found = dict(
      encoder=wm.encoder.variables, rssm=wm.rssm.variables, decoder=wm.decoder.variables,
      reward=wm.reward.variables, task_actor=agent.tasks[0].behaviour.actor.variables,
      task_value=agent.tasks[0].behaviour.value.variables)
  if agent.novelty:
    found.update(
        novelty=[v for module in agent.novelty.trained().values() for v in module.variables],
        actor=agent.explorer.actor.variables, value=agent.explorer.value.variables)
  return found


def copies(agent):
  return {name: toys.values(variables) for name, variables in parts(agent).items()}


def equal(one, two):
  return all(np.array_equal(a, b) for a, b in zip(one, two))


@pytest.mark.usefixtures('eager')
@pytest.mark.parametrize('kind', KINDS)
def test_every_kind_of_explorer_makes_updates_that_are_finite(kind):
  agent = make(**KINDS[kind])
  before = copies(agent)
  for seed in range(2):
    metrics = agent.train(tensors(toys.batch(seed=seed)))
  assert all(np.isfinite(value) for value in metrics.values()), metrics
  after = copies(agent)
  for name in after:
    assert not equal(before[name], after[name]), name
  assert agent.skipped == 0


# Three more are in the test of mixed precision below.
@pytest.mark.parametrize('kind', ['retrospective_replay', 'dreamerv2'])
def test_the_update_of_an_explorer_is_traced_once(kind):
  agent = make(**KINDS[kind])
  for seed in range(2):
    agent.train(tensors(toys.batch(seed=seed)))
  assert agent._train.experimental_get_tracing_count() == 1


def test_the_authors_early_end_of_returns_is_that_of_the_task_too():
  agent = make(lambda_bootstrap='authors')
  assert agent.tasks[0].behaviour._config.lambda_bootstrap == 'authors'


@pytest.mark.parametrize('slow', [0, 100])
def test_replayed_novelty_is_valued_by_the_slow_network_where_there_is_one(slow):
  agent = make(expl_replay=True, slow_value=slow)
  if slow:
    for variable in agent.explorer.slow_value.variables:
      variable.assign(tf.zeros_like(variable))
  wm = agent.world_model
  data = wm.preprocess(tensors(toys.batch()), None)
  _, outputs = wm.loss(data, None)
  rows = {**outputs, 'data': data}
  nothing = lambda dream: tf.zeros(dream.feat.shape[:2])
  _, found, _ = agent.explorer.gradients(wm, rows, wm.starts(outputs['post']), nothing, SEED)
  assert np.any(found['returns']) == (not slow)


@pytest.mark.usefixtures('eager')
def test_rewards_reach_nothing_but_their_head_while_exploring():
  """Bit for bit, although gradients are clipped together (quirk 4)."""
  results = []
  for scale in (0.0, 1000.0):
    agent = make()
    for seed in range(3):
      batch = toys.batch(seed=seed)
      agent.train(tensors({**batch, 'reward': scale * batch['reward']}))
    results.append(copies(agent))
  for name in ('encoder', 'rssm', 'decoder', 'novelty', 'actor', 'value'):
    assert equal(results[0][name], results[1][name]), name
  assert not equal(results[0]['reward'], results[1]['reward'])


@pytest.mark.parametrize('phase, reaches, changes', [
    ('explore', False, {}), ('task', True, {}),
    ('task', False, dict(adapt_heads='', grad_heads='decoder|reward'))])
def test_rewards_shape_the_features_after_the_switch_only(phase, reaches, changes):
  agent = make(**changes)
  wm = agent.world_model
  data = wm.preprocess(tensors(toys.batch()), None)
  heads = agent.config.adapt_heads if phase == 'task' else agent.config.grad_heads
  with tf.GradientTape(persistent=True) as tape:
    _, outputs = wm.loss(data, None, heads)
    like = outputs['likes']['reward']
  grads = tape.gradient(like, wm.rssm.trainable_variables)
  assert any(g is not None and np.abs(g).max() > 0 for g in grads) == reaches
  assert all(g is None for g in tape.gradient(like, wm.decoder.trainable_variables))
  assert all(np.abs(g).max() > 0 for g in tape.gradient(like, wm.reward.trainable_variables))
  assert (agent.phase(0), make(expl_until=100).phase(100)) == ('explore', 'task')


@pytest.mark.usefixtures('eager')
@pytest.mark.parametrize('phase, reaches', [('explore', False), ('task', True)])
def test_an_update_of_the_model_depends_on_rewards_after_the_switch_only(phase, reaches):
  agent = make()
  batch = toys.batch()
  found = []
  for scale in (1.0, 1000.0):
    data = agent.world_model.preprocess(
        tensors({**batch, 'reward': scale * batch['reward']}), SEED)
    found.append(agent.gradients(data, SEED, phase)[0]['model'])
  assert (not equal(*found)) == reaches


@pytest.mark.usefixtures('eager')
def test_an_ensemble_that_shares_the_optimiser_does_not_shape_the_model():
  agent = make()
  assert agent.config.disag_opt == 'shared' and agent.novelty_optimizer is None
  wm = agent.world_model
  data = wm.preprocess(tensors(toys.batch()), SEED)
  seeds = dists.split_seed(SEED, 4)
  alone = wm.gradients(data, seeds[0], agent.config.grad_heads)[0]['model']
  found = agent.gradients(data, SEED, 'explore')[0]['model']
  members = {id(v) for module in agent.novelty.trained().values() for v in module.variables}
  for variable, one, two in zip(wm.optimizer.variables_, alone, found):
    if id(variable) in members:
      assert one is None and np.abs(two).max() > 0
    else:
      np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize('until, frames, expected', [
    (0, 10 ** 9, 'explore'), (400, 399, 'explore'), (400, 400, 'task'), (400, 401, 'task')])
def test_the_phase_is_a_function_of_frames(until, frames, expected):
  assert make(expl_until=until).phase(frames) == expected


def test_runs_that_begin_with_the_task_are_in_its_phase():
  assert make(expl_behavior='greedy').phase(0) == 'task'
  assert make(source='somewhere').phase(0) == 'task'


def test_collection_changes_hands_and_evaluation_never_explores():
  agent = make(expl_until=400, expl_amount=0.0)
  agent.explorer.actor.out.bias.assign([3.0, 3.0, -9.0, -9.0])
  agent.tasks[0].behaviour.actor.out.bias.assign([-3.0, -3.0, -9.0, -9.0])
  obs = {'image': np.zeros((1, 64, 64, 3), np.uint8)}
  before = toys.values(agent.world_model.variables)
  sign = lambda mode, frames: np.sign(agent.policy(obs, None, mode, frames)[0]).tolist()
  assert sign('train', 399) == [[1, 1]]
  assert sign('train', 400) == [[-1, -1]]
  assert sign('eval', 0) == sign('eval', 500) == [[-1, -1]]
  assert not any(toys.changed(before, agent.world_model.variables))


@pytest.mark.usefixtures('eager')
def test_updates_of_one_part_leave_the_others_alone():
  """Gradients are taken of the variables of their own optimiser only."""
  agent = make(disag_opt='own')
  data = agent.world_model.preprocess(tensors(toys.batch()), SEED)
  grads, _ = agent.gradients(data, SEED, 'explore')
  owners = {'novelty': ['novelty'], 'expl_actor': ['actor'], 'expl_value': ['value'],
            'actor': ['task_actor'], 'value': ['task_value'], 'heads': ['reward']}
  for optimiser, changed in owners.items():
    before = copies(agent)
    agent.optimizers()[optimiser].apply(grads[optimiser])
    after = copies(agent)
    assert [name for name in after if not equal(before[name], after[name])] == changed


def test_explorer_and_tasks_share_no_weights():
  agent = make()
  ids = lambda variables: {id(variable) for variable in variables}
  found = parts(agent)
  assert not ids(found['actor'] + found['value']) & ids(found['task_actor'] + found['task_value'])


@pytest.mark.usefixtures('eager')
def test_explorer_and_task_agree_if_weights_and_rewards_do():
  agent = make(disag_reward_grad=True)
  one, two = agent.explorer, agent.tasks[0].behaviour
  for source, target in zip(one.variables, two.variables):
    if source.shape == target.shape and source.dtype == target.dtype:
      target.assign(source)
  wm = agent.world_model
  data = wm.preprocess(tensors(toys.batch()), None)
  _, outputs = wm.loss(data, None)
  start = wm.starts(outputs['post'])
  reward = lambda dream: tf.reduce_sum(dream.feat, -1)
  losses = [part.gradients(wm, start, reward, SEED)[2] for part in (one, two)]
  assert losses[0]['actor_loss'] == losses[1]['actor_loss']
  assert losses[0]['value_loss'] == losses[1]['value_loss']


@pytest.mark.usefixtures('eager')
def test_a_frozen_explorer_learns_no_more_after_the_switch():
  agent = make(expl_until=10, expl_freeze=True, disag_opt='own')
  before = copies(agent)
  agent.train(tensors(toys.batch()), 10)
  after = copies(agent)
  assert all(equal(before[name], after[name]) for name in ('novelty', 'actor', 'value'))
  assert not equal(before['task_actor'], after['task_actor'])


def actor_gradient(**changes):
  agent = make(**changes)
  data = agent.world_model.preprocess(tensors(toys.batch()), SEED)
  grads = agent.gradients(data, SEED, 'explore')[0]['expl_actor']
  return max(0 if g is None else np.abs(g).max() for g in grads)


@pytest.mark.parametrize('horizon, bootstrap, reward_grad, zero', [
    (1, False, False, True), (1, False, True, False), (5, True, False, False),
    (5, True, True, False)])
def test_without_values_the_actor_needs_the_gradient_of_rewards(
    horizon, bootstrap, reward_grad, zero):
  found = actor_gradient(
      expl_horizon=horizon, expl_bootstrap=bootstrap, disag_reward_grad=reward_grad)
  assert (found == 0) == zero


@pytest.mark.parametrize('index', [1, 2])
def test_a_reward_belongs_to_the_action_that_led_to_it(index):
  agent = make()
  rng = np.random.default_rng(0)
  feat = tf.constant(rng.normal(size=(4, 3, agent.world_model.rssm.feat_size)), tf.float32)
  action = rng.uniform(-1, 1, (4, 3, 2)).astype(np.float32)
  dream = lambda action: actor_critic.Imagined(feat, tf.constant(action), feat)
  changed = action.copy()
  changed[index] += 0.5
  one, two = (agent.novelty.reward(dream(x)).numpy() for x in (action, changed))
  assert one.shape == (4, 3) and one.dtype == np.float32
  assert [not np.array_equal(a, b) for a, b in zip(one, two)] == [i == index for i in range(4)]


def coded(name, rows, size):
  """Rows [1, rows, size] whose numbers tell where they come from: a letter and the index."""
  return (100.0 * ord(name) + np.arange(rows, dtype=np.float32)[None, :, None]) * np.ones(size)


@pytest.mark.parametrize('kind, expected', [
    ('disagreement', ('d0', 'a0', 'e0')), ('feat', ('f0', 'a1', 's1')),
    ('past', ('f0', 'a0', 'e1')), ('prior_feat', ('p0', 'a0', 's0'))])
def test_members_are_told_their_rows(kind, expected, monkeypatch):
  agent = make(**KINDS[kind])
  rssm, rows = agent.world_model.rssm, 4
  state = lambda stoch, deter: {
      'stoch': tf.constant(coded(stoch, rows, 3), tf.float32),
      'deter': tf.constant(coded(deter, rows, 8), tf.float32)}
  told = []
  monkeypatch.setattr(ensemble, 'loss', lambda net, *args: told.append(args) or (
      0.0, [0.0] * agent.config.disag_models))
  agent.novelty.loss({
      'prior': state('p', 'd'), 'post': state('s', 'q'),
      'embed': tf.constant(
          coded('e', rows, agent.world_model.encoder.embed_size), tf.float32),
      'feat': tf.constant(coded('f', rows, rssm.feat_size), tf.float32),
      'data': {'action': tf.constant(coded('a', rows, 2), tf.float32)}}, None)
  code = lambda x: f'{chr(int(x[0, 0, 0]) // 100)}{int(x[0, 0, 0]) % 100}'
  assert tuple(map(code, told[0][:3])) == expected
  assert told[0][0].shape[1] == rows - agent.config.disag_offset


@pytest.mark.parametrize('kind, expected', [
    ('disagreement', 'f'), ('feat', 'b'), ('past', 'f'), ('prior_feat', 'f')])
def test_dreams_are_paid_from_the_state_that_the_members_learned_from(kind, expected):
  agent, seen = make(**KINDS[kind]), []
  def members(inputs, action):
    seen.append((inputs, action))
    return tf.zeros([2, *inputs.shape[:2], 1]), None
  agent.novelty.ensemble = members
  part = lambda name: tf.constant(coded(name, 4, agent.world_model.rssm.feat_size), tf.float32)
  action = tf.constant(coded('a', 4, 2), tf.float32)
  agent.novelty.reward(actor_critic.Imagined(part('f'), action, part('b')))
  assert chr(int(seen[0][0][0, 0, 0]) // 100) == expected
  np.testing.assert_array_equal(seen[0][1], action)


def test_the_explorer_can_be_paid_for_the_task_beside_novelty():
  config, raw = settings(intr_scale=2.0, extr_scale=3.0), tf.constant([[0.5]])
  reward, _ = scales.shape_reward(raw, scales.StreamNorm(), config, tf.constant([[10.0]]))
  np.testing.assert_allclose(reward, 31.0, rtol=1e-6)
  paid = {scale: make(extr_scale=scale).gradients(
      toys.model().preprocess(tensors(toys.batch()), None), SEED, 'explore')[1]['expl_actor_loss']
          for scale in (0.0, 100.0)}
  assert paid[0.0] != paid[100.0]


def test_learning_rates_are_those_of_their_parts():
  agent = make(disag_opt='own', disag_lr=0.01, head_lr=0.02)
  rate = lambda name: float(agent.optimizers()[name].adam.learning_rate)
  assert rate('novelty') == pytest.approx(0.01) and rate('heads') == pytest.approx(0.02)


class Preferring:
  """An ensemble of two members that disagree about actions above zero only."""

  def __call__(self, inputs, action):
    spread = tf.nn.relu(action[..., :1])
    return tf.stack([spread, -spread]), None


def test_the_explorer_goes_where_members_disagree():
  agent = make(
      size=1, disag_reward_grad=True, expl_horizon=2, actor_lr=3e-3, action_init_std=1.0,
      intr_scale=1.0)
  agent.novelty.ensemble = Preferring()
  world = toys.LineWorld(np.zeros((1, agent.world_model.rssm.feat_size)))
  start = world.start(np.zeros((16, agent.world_model.rssm.feat_size)))

  @tf.function(autograph=False)
  def update(number):
    grads, _, _ = agent.explorer.gradients(
        world, start, agent.novelty.reward, tf.stack([0, number]))
    agent.explorer.actor_optimizer.apply(grads['actor'])
  agent.explorer.use_value = False
  for number in range(200):
    update(tf.constant(number))
  mean = agent.explorer.actor(world.get_feat(start)).mode(SEED)
  assert float(tf.reduce_mean(mean)) > 0.1


def sibling_agent(tasks=2):
  names = ','.join(['toy_maze_down_vector', 'toy_maze_right_vector'][:tasks - 1])
  config = config_lib.load('plan2explore', [
      '--configs', 'toy', 'debug', '--task', 'toy_maze_vector', '--zero_shot_tasks', names])
  space = toys.actions(4, 'onehot')
  space.n = 4
  vector = {'vector': toys.gymnasium.spaces.Box(-np.inf, np.inf, (30,), np.float32)}
  return Plan2Explore(devices.setup(config.replace(**SMALL)), vector, space)


def sibling_batch(seed):
  rng = np.random.default_rng(seed)
  batch = toys.batch(size=4, seed=seed, onehot=True)
  del batch['image']
  batch['vector'] = rng.normal(size=(4, 5, 30)).astype(np.float32)
  for name in ('toy_maze_down_vector', 'toy_maze_right_vector'):
    batch[f'reward/{name}'] = rng.normal(size=(4, 5)).astype(np.float32)
  return batch


@pytest.mark.usefixtures('eager')
def test_further_tasks_have_parts_of_their_own_and_do_not_touch_exploration():
  results = []
  for tasks in (1, 2):
    agent = sibling_agent(tasks)
    for seed in range(2):
      metrics = agent.train(tensors(sibling_batch(seed)))
    results.append((
        toys.values(agent.world_model.rssm.variables), toys.values(agent.explorer.variables)))
  assert equal(results[0][0], results[1][0]) and equal(results[0][1], results[1][1])
  assert len(agent.tasks) == 2 and 'actor_loss/toy_maze_down_vector' in metrics
  assert 'reward/toy_maze_down_vector' in agent.data_keys
  heads = [agent.world_model.reward, agent.tasks[1].head]
  assert heads[0] is not heads[1]


@pytest.mark.parametrize('kind', ['own', 'max', 'rnd'])
def test_explorers_train_in_mixed_precision_and_are_traced_once(kind):
  agent = make(precision='mixed_float16', free_nats=0.0, **KINDS[kind])
  before, batch = copies(agent), agent.distribute(toys.batch())
  for _ in range(12):  # the loss scale falls until nothing overflows
    metrics = agent.train(batch)
    if agent.skipped == 0:
      break
  assert agent.skipped == 0 and agent.world_model.rssm.dtype == tf.float16
  assert agent._train.experimental_get_tracing_count() == 1
  assert all(value.dtype == tf.float32 and np.isfinite(value) for value in metrics.values())
  assert {variable.dtype for variable in agent.trainable_variables} == {tf.float32}
  assert agent.novelty_of(toys.batch()).dtype == np.float32
  for name, values in copies(agent).items():
    assert all(np.all(np.isfinite(value)) for value in values), name
    assert not equal(before[name], values), name


def test_environment_e_is_played_by_the_actor_of_task_e():
  agent = sibling_agent(2)
  for sign, task in zip((5.0, -5.0), agent.tasks):
    task.behaviour.actor.out.bias.assign(sign * np.float32([1, 0, 0, -1]))
  obs = {'vector': np.zeros((2, 30), np.float32)}
  action, _ = agent.policy(obs, None, agent.evaluation)
  assert action.argmax(-1).tolist() == [0, 3]
  action, _ = agent.policy(obs, None, 'eval')
  assert action.argmax(-1).tolist() == [0, 0], 'as many as tasks, but of the first'
  action, _ = agent.policy({'vector': np.zeros(30, np.float32)}, None, 'eval')
  assert action.argmax() == 0


def test_masked_rewards_are_not_learned():
  agent = make(seed_episode_rewards=False)
  assert 'reward_mask' in agent.data_keys
  batch = toys.batch()
  batch['reward_mask'] = np.zeros((4, 5), np.float32)
  batch['reward_mask'][:, :2] = 1
  changed = {**batch, 'reward': batch['reward'].copy()}
  changed['reward'][:, 2:] += 100
  likes = []
  for data in (batch, changed):
    data = agent.world_model.preprocess(tensors(data), None)
    likes.append(agent.world_model.loss(data, None)[1]['likes']['reward'])
  assert likes[0] == likes[1]


@pytest.mark.parametrize('style, check', [
    ('uniform', lambda x: abs(x.std() - 0.577) < 0.01),
    ('gaussian', lambda x: abs((np.abs(x) == 1).mean() - 0.317) < 0.01),
    ('authors', lambda x: abs((np.abs(x) == 1).mean() - 0.43) < 0.01)])
def test_random_actions_are_those_of_their_style(style, check):
  agent = make(size=4, expl_behavior='random', random_style=style)
  obs = {'image': np.zeros((2500, 64, 64, 3), np.uint8)}
  agent.filter_and_act = lambda obs, state, is_first, mode, seed: (
      agent.act(state['latent'], mode, seed), state['latent'])
  action, _ = agent.policy(obs, None, 'train')
  assert np.abs(action).max() <= 1 and check(action), action.std()


def test_discrete_random_actions_are_one_hot():
  actions = random_explorer.random_actions([600, 3], True, 'uniform', SEED).numpy()
  assert (actions.sum(-1) == 1).all() and (actions.sum(0) > 150).all()


@pytest.mark.usefixtures('eager')
def test_discrete_actions_explore_by_straight_through_gradients():
  agent = make(size=3, kind='onehot')
  before = copies(agent)
  agent.train(tensors(toys.batch(size=3, onehot=True)))
  assert not equal(before['actor'], copies(agent)['actor'])


def test_heads_that_pay_baselines_have_the_norm_of_hidden_layers():
  plain, normed = (make(expl_behavior='icm', norm=kind).novelty.head for kind in ('none', 'layer'))
  assert len(normed.trainable_variables) > len(plain.trainable_variables)


def test_novelty_by_what_was_expected_asks_the_members_about_that(monkeypatch):
  agent, asked = make(disag_input='prior_feat', disag_target='stoch'), []
  reward = agent.novelty.reward
  monkeypatch.setattr(agent.novelty, 'reward', lambda dream: asked.append(dream.feat) or reward(dream))
  batch = toys.batch()
  agent.novelty_of(batch)
  wm = agent.world_model
  data = wm.preprocess(tensors({key: batch[key] for key in wm.obs_keys + ['action']}))
  _, prior, _ = wm.observe(data, None)
  np.testing.assert_allclose(asked[0], wm.rssm.get_feat(prior), atol=1e-6)


@pytest.mark.parametrize('flags, message', [
    (['--disag_target', 'deter'], 'Pass --disag_target embed'),
    (['--disag_target', 'feat'], 'Pass --disag_target embed'),
    (['--disag_input', 'prior_feat'], 'Pass --disag_target stoch'),
    (['--disag_input', 'feat'], '--disag_offset 1'),
    (['--disag_offset', '1'], '--disag_offset 0'),
    (['--disag_target', 'nonsense'], 'one of embed'),
    (['--expl_behavior', 'nonsense'], 'one of plan2explore'),
    (['--snapshot', 'True'], '--offline DIR'),
    (['--expl_behavior', 'curiosity', '--obs_loss', 'none'], '--obs_loss reconstruction'),
    (['--latent_model', 'ssm'], 'has no deter'),
    (['--zero_shot_tasks', 'dmc_walker_walk'], 'has none'),
    (['--intr_log', 'True', '--intr_reduce', 'jrd'], '--intr_log False'),
    (['--intr_log', 'True', '--expl_behavior', 'curiosity'], 'curiosity is paid .* --intr_log False'),
    (['--intr_log', 'True', '--expl_behavior', 'icm'], 'icm is paid .* --intr_log False'),
    (['--intr_log', 'True', '--expl_behavior', 'rnd'], 'rnd is paid .* --intr_log False'),
    (['--expl_replay', 'True', '--disag_input', 'prior_feat', '--disag_target', 'stoch'],
     'Pass --disag_input deter'),
    (['--expl_horizon', '1'], '--expl_bootstrap False'),
    (['--expl_until', '600'], '--expl_until 300'),
    (['--disag_action', 'past'], '--disag_action next'),
    (['--tasks', 'dmc_walker_walk,dmc_cheetah_run'], '--zero_shot_tasks')])
def test_settings_that_cannot_work_are_refused(flags, message):
  with pytest.raises(UserError, match=message):
    envs.check(config_lib.load('plan2explore', BASE + flags))


def test_tasks_that_do_not_share_physics_are_refused_with_those_that_do():
  with pytest.raises(UserError, match='dmc_walker_stand, dmc_walker_run'):
    envs.check(config_lib.load('plan2explore', [
        '--task', 'dmc_walker_walk', '--zero_shot_tasks', 'dmc_walker_run, dmc_reacher_easy']))
  with pytest.raises(UserError, match='has none'):
    envs.check(config_lib.load('plan2explore', [
        '--task', 'dmc_reacher_easy', '--zero_shot_tasks', 'dmc_reacher_hard']))


def test_the_published_setting_is_the_default_and_has_a_name():
  plain = config_lib.load('plan2explore', ['--task', 'dmc_walker_walk'])
  named = config_lib.load('plan2explore', ['--configs', 'p2e_paper', '--task', 'dmc_walker_walk'])
  assert {**plain, 'configs': 0, 'logdir': 0} == {**named, 'configs': 0, 'logdir': 0}
  expected = dict(
      disag_models=5, disag_layers=2, disag_units=0, disag_act='relu', intr_scale=1e4,
      intr_reduce='var', expl_horizon=15, deter_size=400, stoch_size=60, batch_size=50,
      train_every=1000, train_steps=100, prefill=5000, action_repeat=2, expl_amount=0.3,
      disag_reward_grad=False, adam_eps=1e-7, free_nats=3.0)
  assert {key: plain[key] for key in expected} == expected
  few = config_lib.load('plan2explore', ['--configs', 'dmc', 'curiosity', 'few_shot'])
  assert (few.expl_until, few.steps, few.expl_behavior) == (1000000, 1150000, 'curiosity')
  for name in ('plan2explore', 'Plan2Explore', 'PLAN2EXPLORE'):
    assert config_lib.load(
        'plan2explore', ['--expl_behavior', name]).expl_behavior == 'plan2explore'


def test_members_are_as_wide_as_the_target_times_the_factor():
  width = lambda **changes: make(disag_units=0, **changes).novelty.ensemble.hidden[0].kernel.shape[2]
  assert width(disag_width_factor=0.5) == width() // 2


@pytest.mark.parametrize('blocks, until', [
    ([], 1_000_000), (['cpu'], 60_000 * 20 // 23), (['debug'], 600 * 20 // 23)])
def test_few_shot_hands_over_after_the_same_share_of_any_length(blocks, until):
  config = config_lib.load('plan2explore', ['--configs', 'dmc', 'few_shot', *blocks])
  assert config.expl_until == until < config.steps


def test_the_ensemble_has_the_published_size():
  config = config_lib.load('plan2explore', ['--task', 'dmc_walker_walk'])
  agent = Plan2Explore(devices.setup(config), toys.IMAGE, toys.actions(6))
  size = sum(np.prod(v.shape) for v in agent.novelty.ensemble.trainable_variables)
  assert abs(size / 5 - 2.53e6) < 0.01e6


def over_shares(function, shares):
  """What the shares of a batch come to, each on a device that is told the means over all."""
  found = []
  for share in shares:
    with divergence.means_of_shares() as means:
      function(share)
    found.append(means)
  results = []
  for share in shares:
    with divergence.means_known([tf.add_n(list(each)) / len(shares) for each in zip(*found)]):
      results.append(function(share))
  return results


def test_rewards_that_count_weigh_the_same_on_whichever_device():
  model, rng = toys.model(), np.random.default_rng(0)
  mask = np.zeros((4, 5), np.float32)
  mask[0], mask[1, 2] = 1, 1  # of the second share none counts
  rows = {
      'feat': rng.normal(size=(4, 5, model.rssm.feat_size)).astype(np.float32), 'reward_mask': mask,
      'reward': rng.normal(size=(4, 5)).astype(np.float32)}
  like = lambda data: model.reward_likelihood(model.reward, tf.constant(data['feat']), data)
  shares = [{key: value[part] for key, value in rows.items()} for part in (slice(2), slice(2, 4))]
  assert np.mean(over_shares(like, shares)) == pytest.approx(float(like(rows)), rel=1e-5)
  shares = shares[:1] + [{**shares[1], 'reward_mask': mask[:2]}]
  whole = {**rows, 'reward_mask': np.concatenate([mask[:2], mask[:2]])}
  assert np.mean(over_shares(like, shares)) == pytest.approx(float(like(whole)), rel=1e-5)


@pytest.mark.parametrize('scale', [
    scales.RunningStd(), scales.RunningStd(2), scales.StreamNorm(0.5), scales.StreamNorm(0.0)])
def test_novelty_has_the_same_scale_on_whichever_device(scale):
  x = tf.constant(np.random.default_rng(0).normal(2, 3, (6, 2)), tf.float32)
  normed, whole = scale(x)
  results = over_shares(scale, tf.split(x, 3))
  np.testing.assert_allclose(tf.concat([part for part, _ in results], 0), normed, rtol=1e-5)
  for _, stats in results:
    tf.nest.map_structure(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), stats, whole)


FROZEN = """
import sys
import numpy as np
import common, tensorflow as tf
cpu = tf.config.list_physical_devices('CPU')[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
sys.path.insert(0, sys.argv[1])
import test_plan2explore, toys
agent = test_plan2explore.make(devices=2, expl_until=10, expl_freeze=True)
metrics = agent.train(agent.distribute(toys.batch()), frames=10)
assert all(np.isfinite(value) for value in metrics.values())
assert agent.update_count == 1 and agent.skipped == 0
"""


def test_devices_share_batches_also_when_networks_are_frozen(root):
  done = subprocess.run(
      [sys.executable, '-c', FROZEN, str(root / 'tests')], cwd=root, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr[-3000:]
