"""Compiled steps: traces, memory, XLA, mixed precision, several devices."""
import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from common.checks import judge
from common.model import devices
from common.model import exploration

import toys

# Free nats between the KLs of the two halves of the batch, as shares of the way from the lower to
# the higher: their mean is above the first and below the second.
FREE_NATS = {'mean_above': 0.25, 'mean_below': 0.75}

# TensorFlow takes the number of logical devices once, at its start: hence another process.
TWO_DEVICES = """
import json, sys
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices('CPU')[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
sys.path.insert(0, sys.argv[1])
import toys
shares, settings = (json.loads(arg) for arg in sys.argv[2:])
make = toys.agent
if settings.pop('planet', False):
  make = toys.planet
toys.IMAGE['vector'] = toys.gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32)

def kl_of_halves(agent, batch):
  wm, result = agent.world_model, []
  for half in (slice(0, 2), slice(2, 4)):
    rows = {key: tf.constant(value[half]) for key, value in batch.items()}
    result.append(float(wm.loss(wm.preprocess(rows), None)[1]['div_raw']))
  return sorted(result)

def train(agent, batch):
  agent._seed = lambda: None  # no noise, for devices draw their own
  update = lambda: agent.train(agent.distribute(batch))
  return [{k: float(v) for k, v in update().items()} for _ in range(2)]

batch = toys.batch()
batch['image'][2:] //= 8
batch['vector'] = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)
batch['vector'][2:] /= 8
low, high = kl_of_halves(make(**settings), batch)
results = {'low': low, 'high': high}
for name, share in shares.items():
  changes = dict(free_nats=low + share * (high - low), kl_scale=10.0, **settings)
  agents = [make(devices=devices, **changes) for devices in (1, 2)]
  for one, two in zip(*(agent.trainable_variables for agent in agents)):
    two.assign(one)
  metrics = [train(agent, batch) for agent in agents]
  weights = [[v.numpy() for v in agent.trainable_variables] for agent in agents]
  copies = [[copy.numpy() for copy in v.values] for v in agents[1].trainable_variables]
  results[name] = dict(
      error=max(float(np.abs(one - two).max()) for one, two in zip(*weights)),
      apart=max(float(np.abs(first - second).max()) for first, second in copies),
      metrics=max(abs(a[k] - b[k]) / (1 + abs(a[k])) for a, b in zip(*metrics) for k in a))
agent = agents[1]
if not settings.get('jit'):  # this compiles everything again
  del agent._seed
  agent._train = tf.function(agent._train_step, autograph=False)
metrics = agent.train(agent.distribute(batch))
action, _ = agent.policy({key: batch[key][:, 0] for key in agent.world_model.obs_keys})
bad = [v * np.nan for v in agent.world_model.optimizer.variables_]
with agent.strategy.scope():
  agent.world_model.optimizer.apply(bad)
results['finite'] = bool(all(np.isfinite(v) for v in metrics.values()))
results['action'], results['skipped'] = list(action.shape), agent.skipped
print(json.dumps(results))
"""


@pytest.fixture(autouse=True)
def float32_afterwards():
  """The precision of layers is a setting of the process."""
  yield
  tf_keras.mixed_precision.set_global_policy('float32')


def observations(count):
  return {'image': np.random.randint(0, 256, (count, 64, 64, 3), np.uint8)}


def zero_noise_update(agent, jit):
  return tf.function(
      lambda data: agent.update(data, None), autograph=False, jit_compile=jit)


@pytest.mark.parametrize('capability, cards, precision, seen', [
    ((9, 0), 1, 'mixed_float16', ['a']), ((6, 1), 1, 'float32', ['a']), ((7, 0), 0, 'mixed_float16', ['a', 'b'])])
def test_a_run_takes_the_cards_that_it_is_to_have(monkeypatch, capability, cards, precision, seen):
  found = ['a', 'b']
  monkeypatch.setattr(tf.config, 'get_visible_devices', lambda kind: found)
  monkeypatch.setattr(tf.config, 'set_visible_devices', lambda gpus, kind: found.__setitem__(slice(None), gpus))
  monkeypatch.setattr(tf.config.experimental, 'set_memory_growth', lambda gpu, grow: None)
  monkeypatch.setattr(
      tf.config.experimental, 'get_device_details', lambda gpu: {'compute_capability': capability})
  config = devices.setup(toys.settings(devices=cards, precision='auto', jit='auto'))
  assert (config.precision, config.jit, found) == (precision, True, seen)


def test_train_step_is_traced_once():
  agent = toys.agent()
  for seed in range(4):
    agent.train(agent.distribute(toys.batch(seed=seed)))
  assert agent._train.experimental_get_tracing_count() == 1
  assert int(agent.updates) == 4


def test_policy_is_traced_once_for_each_mode_and_number_of_environments():
  agent = toys.agent(expl_amount=0.4, expl_decay=100.0)
  for mode in ('train', 'eval'):
    for count in (1, 3):
      state = None
      for step in range(4):  # with and without state, resets and changing noise
        obs = {**observations(count), 'is_first': np.full(count, step == 2)}
        _, state = agent.policy(obs, state, mode, frames=100 * step)
  assert agent._act.experimental_get_tracing_count() == 4
  assert exploration.amount(agent.config, 0) != exploration.amount(agent.config, 300)


@pytest.mark.parametrize('calls, updates', [
    (2000, 30), pytest.param(10_000, 100, marks=pytest.mark.slow)])
def test_memory_stays_flat_over_policy_calls_and_updates(calls, updates):
  agent, obs = toys.agent(), observations(2)
  def act(count):
    state = None
    for _ in range(count):
      _, state = agent.policy(obs, state)
  def train(count):
    for seed in range(count):
      agent.train(agent.distribute(toys.batch(seed=seed)))
  def growth(work, count):
    before = toys.resident()
    work(count)
    return toys.resident() - before
  act(calls // 4)
  train(updates // 3)
  assert growth(act, calls) < 8
  assert growth(train, updates) < 16


def test_xla_changes_no_numbers():
  agents = [toys.agent(free_nats=0.0, jit=jit) for jit in (False, True)]
  for one, two in zip(*(agent.trainable_variables for agent in agents)):
    two.assign(one)
  data, results = toys.batch(), []
  for agent in agents:
    update = zero_noise_update(agent, agent.config.jit)
    results.append([update(agent.distribute(data)) for _ in range(2)])
  for plain, compiled in zip(*results):
    assert plain.keys() == compiled.keys()
    for key in plain:
      np.testing.assert_allclose(compiled[key], plain[key], rtol=1e-4, atol=1e-6, err_msg=key)
  for one, two in zip(*(agent.optimizers().values() for agent in agents)):
    rate = float(one.adam.learning_rate)
    for a, b in zip(one.variables_, two.variables_):
      assert np.abs(a - b).max() < judge.STEPS['step3'] * rate


@pytest.mark.parametrize('jit', [False, True])
def test_mixed_precision_trains_with_float32_losses_and_weights(jit):
  agent = toys.agent(precision='mixed_float16', jit=jit, free_nats=0.0, pcont=True)
  before = toys.values(agent.trainable_variables)
  data = agent.distribute(toys.batch())
  for _ in range(12):  # the loss scale falls until nothing overflows
    metrics = agent.train(data)
    losses = {key: value for key, value in metrics.items() if not key.endswith('_norm')}
    assert all(value.dtype == tf.float32 for value in metrics.values())
    assert all(np.isfinite(value) for value in losses.values()), losses
    if agent.skipped == 0:
      break
  assert all(np.isfinite(value) for value in metrics.values())
  assert all(variable.dtype == tf.float32 for variable in agent.trainable_variables)
  after = toys.values(agent.trainable_variables)
  assert all(np.all(np.isfinite(value)) for value in after)
  assert all(toys.changed(before, agent.trainable_variables))


def test_mixed_precision_computes_layers_in_float16_and_distributions_in_float32():
  agent = toys.agent(precision='mixed_float16', pcont=True)
  wm = agent.world_model
  data = wm.preprocess({key: tf.constant(value) for key, value in toys.batch().items()})
  loss, outputs = wm.loss(data, tf.constant([0, 1]))
  assert outputs['embed'].dtype == outputs['post']['deter'].dtype == tf.float16
  feat = outputs['feat']
  actor = agent.behaviour.actor(feat)
  parts = [
      loss, outputs['div'], outputs['div_raw'], *outputs['likes'].values(), wm.pcont(feat),
      *(outputs[state][key] for state in ('post', 'prior') for key in ('mean', 'std', 'stoch')),
      wm.decoder(feat)['image'].mean(), wm.reward(feat).mode(), agent.behaviour.value(feat).mode(),
      actor.normal_mean, actor.normal_std, actor.sample(tf.constant([0, 1]))]
  assert {part.dtype for part in parts} == {tf.float32}
  _, dream, metrics = agent.behaviour.gradients(
      wm, wm.starts(outputs['post']), lambda dream: wm.reward(dream.feat).mode(), tf.constant([0, 1]))
  assert {dream[key].dtype for key in ('reward', 'value', 'pcont', 'returns', 'weight')} == {
      tf.float32}
  assert {value.dtype for value in metrics.values()} == {tf.float32}


def test_mixed_precision_is_close_to_float32():
  results = []
  for precision in ('float32', 'mixed_float16'):
    agent = toys.agent(precision=precision, free_nats=0.0)
    data = {key: tf.constant(value) for key, value in toys.batch().items()}
    results.append(agent.gradients(agent.world_model.preprocess(data), None)[1])
  for key in ('image_loss', 'reward_loss', 'kl', 'actor_loss', 'value_loss'):
    np.testing.assert_allclose(results[1][key], results[0][key], rtol=0.05, atol=5e-3, err_msg=key)


def test_mixed_precision_acts():
  agent = toys.agent(precision='mixed_float16')
  action, state = agent.policy(observations(2))
  action, state = agent.policy(observations(2), state, 'eval')
  assert action.dtype == np.float32 and state['latent']['deter'].dtype == tf.float16


# XLA takes long to compile images and behaviours, in which nothing is shared before the gradients.
@pytest.mark.parametrize('shares, settings', [
    ({'mean_above': FREE_NATS['mean_above']}, dict(mlp_keys='')),
    ({'mean_below': FREE_NATS['mean_below']}, dict(
        planet=True, free_nats_mode='mean', jit=True, cnn_keys='', mlp_keys='vector')),
    *(pytest.param(FREE_NATS, dict(jit=jit, mlp_keys=''), marks=pytest.mark.slow)
      for jit in (False, True))])
def test_two_devices_give_the_weights_of_one(root, shares, settings):
  arguments = [str(root / 'tests'), json.dumps(shares), json.dumps(settings)]
  done = subprocess.run(
      [sys.executable, '-c', TWO_DEVICES, *arguments],
      capture_output=True, text=True, cwd=root, check=False)
  assert done.returncode == 0, done.stderr[-3000:]
  results = json.loads(done.stdout.splitlines()[-1])
  assert results['high'] - results['low'] > 1e-3  # the halves do differ
  for name in shares:
    case = results[name]
    assert case['error'] < 2e-6 and case['apart'] == 0 and case['metrics'] < 1e-5, (name, case)
  assert results['finite'] and results['action'] == [4, 2] and results['skipped'] == 1
