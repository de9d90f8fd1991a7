"""PlaNet as an agent: settings, objective, acting, variants, refusals, a whole run."""
import json

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from common import config as config_lib
from common.model import devices
from common.model import images
from planet import planner
from planet import train
from planet.agent import PlaNet
import toys

VARIANTS = (
    'ssm', 'gru', 'gru_ref', 'drnn', 'drnn_overshooting', 'overshooting', 'overshooting_h',
    'no_overshooting', 'random_collect', 'random_shooting', 'elu', 'fixed_prior', 'repeat2',
    'camera_ready', 'v1')


def settings(*blocks, **changes):
  config = config_lib.load(
      'planet', ['--configs', *blocks, 'debug', '--task', 'dummy_continuous'])
  return devices.setup(config.replace(**{**toys.SMALL, **changes}))


def make(*blocks, size=2, **changes):
  tf_keras.utils.set_random_seed(0)
  return PlaNet(settings(*blocks, **changes), toys.IMAGE, toys.actions(size))


@pytest.mark.parametrize('changes, parts', [({}, 2), ({'shared_noise': True}, 1), ({'rssm_ensemble': 3}, 1)])
def test_candidates_that_share_their_luck_are_rolled_together(monkeypatch, changes, parts):
  agent, seen = make(jit=False, **changes), []
  def plan(*args, **kwargs):
    seen.append(kwargs['parts'])
    raise InterruptedError
  monkeypatch.setattr(planner, 'plan', plan)
  with pytest.raises(InterruptedError):
    agent._plan(agent.world_model.rssm.initial(1), None)
  assert seen == [parts]


def tensors(data):
  return {key: tf.convert_to_tensor(value) for key, value in data.items()}


def loss(agent, seed=None):
  """(loss, outputs) of the world model on a batch."""
  model = agent.world_model
  return model.loss(model.preprocess(tensors(toys.batch()), seed), seed)


@pytest.mark.usefixtures('eager')
@pytest.mark.parametrize('blocks', VARIANTS)
def test_every_variant_updates_and_acts(blocks):
  agent = make(blocks)
  before = toys.values(agent.world_model.trainable_variables)
  for _ in range(2):
    metrics = agent.train(tensors(toys.batch()))
  assert all(np.isfinite(value) for value in metrics.values())
  assert any(toys.changed(before, agent.world_model.trainable_variables))
  assert ('overshooting' in metrics) == bool(agent.config.overshooting_scale)
  assert ('global_div' in metrics) == bool(agent.config.global_div_scale)
  for mode in ('train', 'eval'):
    action, _ = agent.policy({'image': np.zeros((1, 64, 64, 3), np.uint8)}, mode=mode)
    assert action.shape == (1, 2) and np.abs(action).max() <= 1


@pytest.mark.parametrize('blocks', [VARIANTS[0], VARIANTS[-1]])
def test_the_update_of_a_variant_is_traced_once(blocks):
  agent = make(blocks)
  for _ in range(2):
    agent.train(tensors(toys.batch()))
  assert agent._train.experimental_get_tracing_count() == 1


@pytest.mark.parametrize('task, repeat, decisions', [
    ('cartpole_swingup', 8, 125), ('reacher_easy', 4, 250), ('cheetah_run', 4, 250),
    ('finger_spin', 2, 500), ('cup_catch', 4, 250), ('walker_walk', 2, 500)])
def test_the_published_tasks_have_their_repeats(task, repeat, decisions):  # 36
  config = config_lib.load('planet', ['--configs', 'dmc', task])
  assert config.task == f'dmc_{task}' and config.action_repeat == repeat
  assert config.time_limit / config.action_repeat == decisions


def test_the_schedule_is_an_episode_after_each_hundred_updates():  # 37
  config = config_lib.load('planet', ['--configs', 'dmc', 'cheetah_run'])
  seeds = config.prefill // config.time_limit
  updates = lambda episodes: config.pretrain + config.train_steps * (
      (episodes - seeds) * config.time_limit // config.train_every)
  assert seeds == 5 and updates(14) == 1000 and updates(24) == 2000


def test_the_reward_enters_with_its_scale():  # 14
  low, high = (loss(make(reward_scale=scale)) for scale in (10.0, 20.0))
  difference = high[0] - low[0]
  np.testing.assert_allclose(difference, -10 * low[1]['likes']['reward'], rtol=1e-3)


def test_a_perfect_image_costs_the_constant_of_its_density():  # 13
  from common.model import dists
  image = tf.zeros([1, 64, 64, 3])
  cost = lambda mean: -float(dists.normal(mean, 3).log_prob(image)[0])
  assert cost(image) == pytest.approx(11_291.917, rel=1e-5)
  assert cost(image + 0.1) == pytest.approx(11_353.357, rel=1e-5)


@pytest.mark.parametrize('block, trained', [('gru_ref', False), ('gru', True)])
def test_only_the_repaired_model_without_samples_trains_its_prior(block, trained):  # 16
  agent = make(block, free_nats=0.0)
  with tf.GradientTape() as tape:
    value, _ = loss(agent)
  grads = tape.gradient(
      value, agent.world_model.rssm.img_dist[0].trainable_variables, unconnected_gradients='zero')
  assert any(np.abs(grad).max() > 1e-7 for grad in grads) == trained


def test_pixels_keep_five_bits_and_get_noise():  # 34
  agent = make()
  pixels = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None, None], (256, 64, 3))
  rows = tf.constant(pixels[None, None])
  one, two = (
      agent.world_model.preprocess({'image': rows}, tf.constant([seed, 0]))['image'].numpy()
      for seed in (1, 2))
  assert one.min() >= -0.5 and one.max() < 0.5 and np.abs(one - two).max() > 0.01
  level = one[0, 0].min((1, 2)), one[0, 0].max((1, 2))
  for pixel, low in ((0, -0.5), (7, -0.5), (8, -0.46875), (255, 0.46875)):
    assert low <= level[0][pixel] and level[1][pixel] < low + 1 / 32
  np.testing.assert_array_equal(images.to_uint8(one, 5), 8 * (rows // 8))


def test_optimiser_settings_are_the_published_ones():  # 39
  agent = PlaNet(
      devices.setup(settings().replace(
          adam_eps=config_lib.load('planet', []).adam_eps)), toys.IMAGE, toys.actions(2))
  assert agent.world_model.optimizer.adam.epsilon == 1e-4
  loaded = config_lib.load('planet', ['--configs', 'dmc'])
  assert (loaded.model_lr, loaded.grad_clip, loaded.precision) == (1e-3, 1000, 'float32')


def test_a_rising_learning_rate_reaches_its_value():
  adam = make('camera_ready').world_model.optimizer.adam
  rate = lambda step: float(adam.learning_rate(tf.constant(step)))
  assert rate(0) < rate(100) < rate(200) == rate(300) == pytest.approx(1e-3)


@pytest.mark.parametrize('mode, expected', [('train', (20, 5)), ('eval', (60, 15))])
def test_evaluation_may_search_with_more_candidates(monkeypatch, mode, expected):
  agent, asked = make(planner_eval_effort=3), []
  original = planner.plan
  def spy(*args, **kwargs):
    asked.append((kwargs['amount'], kwargs['topk']))
    return original(*args, **kwargs)
  monkeypatch.setattr(planner, 'plan', spy)
  agent.act(agent.world_model.rssm.initial(1), mode, tf.constant([0, 1]))
  assert asked == [expected]


def test_resets_zero_the_state_and_previous_action_of_their_environment():  # 29
  agent = make()
  obs = {'image': np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)}
  _, state = agent.policy(obs)
  seed = tf.constant([0, 1])
  step = lambda state, *is_first: agent.filter_and_act(
      tensors(obs), state, tf.constant(is_first), 'eval', seed)[1]
  latent, fresh = step(state, True, False), step(agent.initial(2), True, False)
  onward = step(state, False, False)
  np.testing.assert_allclose(latent['deter'][0], fresh['deter'][0], atol=1e-6)
  np.testing.assert_allclose(latent['deter'][1], onward['deter'][1], atol=1e-6)


def test_noise_is_clipped_remembered_and_off_in_evaluation():  # 30
  agent = make(expl_amount=3.0)
  obs = {'image': np.zeros((1, 64, 64, 3), np.uint8)}
  action, state = agent.policy(obs)
  assert np.abs(action).max() <= 1
  np.testing.assert_array_equal(state['action'], action)
  quiet = make(expl_amount=0.0)
  planned, _ = quiet.policy(obs)
  evaluated, _ = make(expl_amount=3.0).policy(obs, mode='eval')
  np.testing.assert_array_equal(planned, evaluated)


def test_random_collection_still_plans_in_evaluation():  # 31
  agent = make('random_collect')
  assert agent.config.random_style == 'gaussian'  # as in the published code
  latent = agent.world_model.rssm.initial(1)
  seed = tf.constant([0, 1])
  assert not np.any(agent.act(latent, 'train', seed)) and np.any(agent.act(latent, 'eval', seed))
  obs = {'image': np.zeros((1, 64, 64, 3), np.uint8)}
  assert np.any(agent.policy(obs)[0])


def test_plans_compile_with_xla():
  agent = make(jit=True)
  # XLA draws other random numbers, so the plans differ.
  found = agent.plan(agent.world_model.rssm.initial(2), tf.constant([0, 1])).numpy()
  assert found.shape == (2, 4, 2) and 0 < np.abs(found).max() <= 1


@pytest.mark.parametrize('flags, words', [
    (['--planner_topk', 9, '--planner_amount', 8], 'planner_topk 9 planner_amount 8'),
    (['--planner_topk', 30, '--planner_amount', 30], 'chooses none of them --planner_topk 3'),
    (['--horizon', 5], 'horizon means nothing to planet'),
    (['--task', 'gym_CartPole-v1', '--configs', 'gym', 'debug'], 'discrete [2] dreamer.train')])
def test_mistakes_are_refused(tmp_path, capsys, flags, words):
  with pytest.raises(SystemExit) as caught:
    train.main(['--logdir', str(tmp_path / 'run'), *map(str, flags)])
  assert caught.value.code == 2
  message = capsys.readouterr().err
  assert all(word in message for word in words.split()), message


def test_a_run_ends_and_goes_on_from_its_checkpoint(tmp_path):  # 40
  flags = [
      '--configs', 'debug', '--task', 'dummy_continuous', '--time_limit', 40, '--prefill', 40,
      '--train_every', 40, '--eval_every', 80, '--logdir', tmp_path]
  run = lambda steps: train.main([str(flag) for flag in [*flags, '--steps', steps]])
  run(120)
  run(200)
  rows = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
  steps = [row['step'] for row in rows if 'train/return' in row]
  assert steps == [40, 80, 120, 160, 200]
  for key in ('eval/return', 'agent/model_loss', 'agent/model_grad_norm'):
    assert sum(key in row for row in rows) >= 2, key
  assert rows[-1]['step'] == 200
