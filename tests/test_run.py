"""The loop makes the updates, evaluations, rows and files that its schedule promises."""
import importlib.util
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import threading
import types

import numpy as np
import pytest
import tensorflow as tf

from common import config as config_lib
from common import envs
from common.checks import stored
from common.config import UserError
from common.data import driver
from common.data import episodes
from common.data import replay
from common.envs import values
from common.loop import checkpoint
from common.loop import logdir
from common.loop import meters
from common.loop import overlap
from common.loop import run
from common.loop import start as run_start
from common.loop.logger import Logger
from common.model import metrics as metrics_lib
from dreamer import train as dreamer
import loops
import toys


@pytest.fixture
def toy(monkeypatch):
  """Runs use the toy agent."""
  loops.use_toy(monkeypatch.setattr)


@pytest.fixture
def spied(monkeypatch):
  """List of (mode, what, value) of all environments: resets with seeds, steps with actions."""
  events, make = [], envs.make

  def spy(config, index, mode):
    env = make(config, index, mode)
    reset, step = env.reset, env.step
    def spied_reset(seed=None):
      events.append((mode, 'reset', seed))
      return reset(seed)
    def spied_step(action):
      events.append((mode, 'step', action.tolist()))
      return step(action)
    env.reset, env.step = spied_reset, spied_step
    return env
  monkeypatch.setattr(envs, 'make', spy)
  return events


@pytest.mark.parametrize('flags, prefilled', [
    ([], 40),
    (['--pretrain', 5, '--train_every', 40, '--train_steps', 2], 40),
    (['--train_every', 10, '--train_steps', 1], 40),  # bursts in the middle of an episode, too
    (['--prefill', 50, '--train_every', 30], 60),  # the grid starts where the prefill ended
    (['--time_limit', 50, '--prefill', 50, '--steps', 250, '--eval_every', 100], 50)])
def test_updates_follow_the_frames_at_evaluations_and_at_the_end(
    toy, tmp_path, monkeypatch, flags, prefilled):
  config = loops.config(tmp_path, *flags)
  seen = []
  evaluate = run.Run.evaluate
  def spy(self):
    seen.append((self.frames, int(self._agent.updates)))
    evaluate(self)
  monkeypatch.setattr(run.Run, 'evaluate', spy)
  run_start.start(config)
  assert seen[0] == (prefilled, config.pretrain) and seen[-1][0] >= config.steps
  for frames, updates in seen:
    bursts = (frames - prefilled) // config.train_every
    assert updates == config.pretrain + config.train_steps * bursts, (frames, updates)
  assert loops.rows(tmp_path, 'agent/updates')[-1]['agent/updates'] == seen[-1][1]


@pytest.mark.parametrize('flags', [[], ['--envs', 2]])
def test_a_burst_can_wait_for_the_end_of_an_episode(toy, tmp_path, spied, monkeypatch, flags):
  """At least 20 frames and two episodes of 20 frames after the burst before; then counts anew."""
  train, bursts = loops.Toy.train, []
  def spy(self, data, frames):
    bursts.append(sum(event[:2] == ('train', 'step') for event in spied))
    return train(self, data, frames)
  monkeypatch.setattr(loops.Toy, 'train', spy)
  loops.start(
      tmp_path, '--train_episodes', 2, '--steps', 240, '--eval_every', 100, '--pretrain', 0, *flags)
  decisions = sorted(set(bursts))
  assert decisions == [40, 60, 80, 100, 120]
  assert loops.saved(tmp_path)['agent/updates/.ATTRIBUTES/VARIABLE_VALUE'] == 3 * len(decisions)


def test_bursts_that_wait_are_continued(toy, tmp_path, monkeypatch):
  flags = ['--train_episodes', 2, '--deterministic', True]
  loops.start(tmp_path / 'whole', *flags)
  with monkeypatch.context() as patch:
    loops.kill_at(patch, run.Run, '_evaluate', 2)
    with pytest.raises(loops.Kill):
      loops.start(tmp_path / 'killed', *flags)
  loops.start(tmp_path / 'killed', *flags)
  assert loops.same(loops.saved(tmp_path / 'whole'), loops.saved(tmp_path / 'killed'))


def test_what_hangs_on_frames_is_told_all_that_were_collected(toy, tmp_path, spied, monkeypatch):
  """Also after an evaluation, and those of episodes that are still running."""
  act, counts, begun = run.Run._act, [], []
  def spy(self, obs, state, counter):
    frames = 2 * sum(event[:2] == ('train', 'step') for event in spied)
    begun.append(frames - self.frames)  # at first: of random episodes that were dropped
    counts.append((counter, frames - begun[0]))
    return act(self, obs, state, counter)
  monkeypatch.setattr(run.Run, '_act', spy)
  loops.start(
      tmp_path, '--task', 'py_worlds:Uneven', '--envs', 2, '--batch_length', 2, '--eval_every', 30,
      '--steps', 200)
  assert len(counts) > 20 and all(told == collected for told, collected in counts)


@pytest.mark.parametrize('flags', [[], ['--overlap', True]])
def test_no_episode_is_random_at_first_and_the_agents_later(toy, tmp_path, monkeypatch, flags):
  policy, begins = loops.Toy.policy, []
  def spy(self, obs, *args, **kwargs):
    begins.append(obs['is_first'].tolist())
    return policy(self, obs, *args, **kwargs)
  monkeypatch.setattr(loops.Toy, 'policy', spy)
  loops.start(
      tmp_path, '--task', 'py_worlds:Uneven', '--envs', 3, '--batch_length', 2, '--steps', 80,
      '--eval_episodes', 0, *flags)
  assert begins[0] == [True] * 3 and begins.count([True] * 3) < len(begins)


def test_a_long_episode_is_interrupted_by_several_bursts(toy, tmp_path, spied, monkeypatch):
  train, decisions = loops.Toy.train, []
  def spy(self, data, frames):
    decisions.append(sum(event[:2] == ('train', 'step') for event in spied))
    return train(self, data, frames)
  monkeypatch.setattr(loops.Toy, 'train', spy)
  loops.start(
      tmp_path, '--time_limit', 80, '--prefill', 80, '--steps', 160, '--eval_every', 80)
  assert decisions == [40] * 2 + [50] * 3 + [60] * 3 + [70] * 3 + [80] * 3


@pytest.mark.parametrize('steps, expected', [(120, [40, 80, 120]), (100, [40, 80, 100])])
def test_evaluation_comes_before_collection_and_once_at_the_end(toy, tmp_path, steps, expected):
  loops.start(tmp_path, '--steps', steps, '--eval_episodes', 2)
  rows = loops.rows(tmp_path)
  assert [row['step'] for row in rows if 'eval/return' in row] == expected
  kinds = [next(kind for kind in ('train/', 'agent/', 'eval/') if any(
      name.startswith(kind) for name in row)) for row in rows]
  assert kinds[:6] == ['train/', 'train/', 'agent/', 'eval/', 'train/', 'agent/']
  assert kinds[-1] == 'eval/'
  row = loops.rows(tmp_path, 'eval/return')[0]
  assert row['eval/episodes'] == 2 and row['eval/noise'] == 0 and 'eval/return_std' in row


def test_a_run_without_evaluation_ends_and_saves(toy, tmp_path, monkeypatch):
  modes, make_all = [], envs.make_all
  monkeypatch.setattr(
      envs, 'make_all', lambda *args: modes.append(args[-1]) or make_all(*args))
  loops.start(tmp_path, '--eval_episodes', 0)
  assert modes == ['train']  # some environments cannot be there twice
  assert not loops.rows(tmp_path, 'eval/return')
  assert loops.rows(tmp_path)[-1]['step'] == 120
  assert loops.saved(tmp_path)['agent/updates/.ATTRIBUTES/VARIABLE_VALUE'] == 14


def test_several_devices_share_the_batches_of_a_run_that_is_continued(tmp_path):
  script = """
import sys
import loops, tensorflow as tf
cpu = tf.config.list_physical_devices('CPU')[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
loops.use_toy()
for steps in (80, 120):
  loops.start(__import__('pathlib').Path(sys.argv[1]), '--devices', 2, '--steps', steps)
"""
  environ = {**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)}
  subprocess.run(
      [sys.executable, '-c', script, str(tmp_path)], env=environ, check=True, timeout=200)
  rows = loops.rows(tmp_path, 'agent/updates')
  assert rows[-1]['agent/updates'] == 14 and rows[-1]['agent/model_loss'] > 0


def test_collected_episodes_grow_without_end():
  going = run.Run.__new__(run.Run)
  going._config = config_lib.load(
      'dreamer', ['--configs', 'dmc', '--collect_limit', 100, '--collect_limit_doubles', 500])
  assert going._limit_at(1e6) > 1e20


def test_updates_are_measured_also_in_bursts_of_one(monkeypatch):
  now = [0.0]
  monkeypatch.setattr(meters.time, 'perf_counter', lambda: now[0])
  means = meters.Means({})
  for seconds in (9.0, 2.0, 4.0):  # the first one is compiled, too
    now[0] += 50.0  # between bursts other things take time
    started, now[0] = now[0], now[0] + seconds
    means.add(metrics_lib.Metrics(('kl',), tf.constant([1.0])), started)
    means.wait()
  assert means.seconds_per_update == 3.0 and means.take()['kl'] == 1.0


def test_waiting_for_the_learner_is_no_time_of_environments(monkeypatch):
  now = [0.0]
  monkeypatch.setattr(meters.time, 'perf_counter', lambda: now[0])
  going = overlap.OverlappedRun.__new__(overlap.OverlappedRun)
  monkeypatch.setattr(overlap.OverlappedRun, '_log_training', lambda self: None)
  going._clock = meters.Clock(0)
  going._burst = types.SimpleNamespace(result=lambda: now.__setitem__(0, 4.0))
  with going._clock('env'):
    now[0] = 1.0
    going._join()
  assert going._clock.take(100)['time/env'] == 0.25


def test_evaluations_are_no_time_of_training_on_either_thread(monkeypatch):
  now = [0.0]
  monkeypatch.setattr(meters.time, 'perf_counter', lambda: now[0])
  going = overlap.OverlappedRun.__new__(overlap.OverlappedRun)
  monkeypatch.setattr(run.Run, 'frames', 100)
  going._clock, going._training = meters.Clock(0), meters.Clock(0)
  with going._training('train'):
    with going._clock('env'):
      now[0] = 4.0
  going._burst, going._apart = None, False
  monkeypatch.setattr(overlap.OverlappedRun, '_join', lambda self: now.__setitem__(0, now[0] + 4.0))
  monkeypatch.setattr(run.Run, 'collect', lambda self: None)
  going._acting = types.SimpleNamespace(
      take=lambda: None, take_count=lambda: None, give_count=lambda: None)
  going.collect()  # waits for 4 seconds
  now[0] = 20.0  # an evaluation
  going._skip()
  row = going._speed()
  assert (row['fps'], row['time/env'], row['time/train']) == (12.5, 0.5, 0.5)


def test_collected_episodes_grow_and_evaluation_plays_to_the_time_limit(toy, spied, tmp_path):
  loops.start(
      tmp_path, '--time_limit', 40, '--collect_limit', 10, '--collect_limit_from', 25,
      '--collect_limit_doubles', 60)
  rows = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
  lengths = [row['train/length'] for row in rows if 'train/length' in row]
  starts = np.cumsum([0] + lengths[:-1])
  assert lengths == [2 * np.ceil(10 * 2 ** (max(0, start - 25) / 60) / 2) for start in starts]
  evaluated = [what for mode, what, _ in spied if mode == 'eval']
  assert evaluated.count('step') == 20 * evaluated.count('reset')


def test_an_episode_begins_while_the_one_before_is_written(toy, tmp_path, monkeypatch):
  stepped, went_on = threading.Event(), []
  begin, step, write = replay.Replay.begin, driver.Driver._step, episodes.write
  def slow(path, data):
    went_on.append(stepped.wait(0.3))
    write(path, data)
  monkeypatch.setattr(
      replay.Replay, 'begin', lambda self, *args: stepped.clear() or begin(self, *args))
  monkeypatch.setattr(
      driver.Driver, '_step', lambda self, action: step(self, action) or stepped.set())
  monkeypatch.setattr(episodes, 'write', slow)
  loops.start(tmp_path, '--train_every', 30)
  assert len(went_on) == 6 and any(went_on)


def test_steps_count_frames_of_finished_episodes(toy, tmp_path):
  loops.start(tmp_path, '--action_repeat', 4)
  rows = loops.rows(tmp_path)
  assert all('step' in row and 'time' in row for row in rows)
  assert [row['step'] for row in rows] == sorted(row['step'] for row in rows)
  assert [row['time'] for row in rows] == sorted(row['time'] for row in rows)
  returns = loops.rows(tmp_path, 'train/return')
  assert [row['step'] for row in returns] == [20, 40, 60, 80, 100, 120]
  assert all(row['train/length'] == 20 for row in returns)
  assert [x[2] for x in loops.episodes(tmp_path)] == [6] * 6
  assert episodes.count_frames(tmp_path / 'episodes', 4) == 120


def test_evaluation_episodes_are_not_stored(toy, tmp_path, spied):
  loops.start(tmp_path, '--eval_episodes', 3)
  assert sum(event[:2] == ('eval', 'reset') for event in spied) == 9
  assert loops.episodes(tmp_path) == [(k, 0, 11) for k in range(6)]
  assert len(loops.rows(tmp_path, 'train/return')) == 6


def test_all_episodes_start_from_seeds_of_their_own(toy, tmp_path, spied):
  loops.start(tmp_path, '--eval_episodes', 3, '--envs', 2)
  seeds = [value for _, what, value in spied if what == 'reset']
  assert len(seeds) >= 15 and None not in seeds
  assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize('noise', [0, 0.5])
def test_evaluation_is_without_noise_unless_asked_for(toy, tmp_path, spied, noise):
  # The toy acts by its weights alone, which do not change during an evaluation.
  loops.start(tmp_path, '--steps', 40, '--eval_noise', noise)
  actions = [value for mode, what, value in spied if (mode, what) == ('eval', 'step')]
  assert len(actions) == 10
  assert all(action == actions[0] for action in actions) == (noise == 0)
  assert loops.rows(tmp_path, 'eval/noise')[0]['eval/noise'] == noise


def test_training_actions_are_noisy_and_the_prefill_is_uniform(toy, tmp_path, spied):
  loops.start(tmp_path, '--time_limit', 200, '--prefill', 200, '--steps', 400)
  actions = np.array([value for mode, what, value in spied if (mode, what) == ('train', 'step')])
  first, later = actions[:100], actions[100:]
  assert abs(first.mean()) < 0.15 and abs(first.std() - 3 ** -0.5) < 0.06
  assert len(np.unique(later, axis=0)) == len(later)
  assert abs(later.std() - 0.3) < 0.1


def test_rows_of_training_keep_to_the_grid_of_log_every(toy, tmp_path):
  loops.start(tmp_path, '--steps', 200, '--train_every', 10, '--log_every', 40)
  rows = loops.rows(tmp_path, 'agent/model_loss')
  assert [row['step'] for row in rows] == [40, 80, 120, 160, 200]
  for row in rows:
    assert {'agent/skipped', 'agent/model_grad_norm', 'fps', 'time/env', 'time/policy',
            'time/train', 'time/data'} <= set(row)
    assert 0 < sum(row[f'time/{x}'] for x in ('env', 'policy', 'train', 'data')) < 1.01


def test_environments_in_processes_collect_together(toy, tmp_path):
  loops.start(tmp_path, '--envs', 2, '--parallel', 'process', '--eval_every', 80)
  assert loops.episodes(tmp_path) == [(k, e, 11) for k in range(3) for e in range(2)]


def test_the_start_says_frames_decisions_updates_sizes_and_time(toy, tmp_path, capsys):
  loops.start(tmp_path)
  out = capsys.readouterr().out
  assert '120 frames = 60 decisions (action repeat 2) = 14 updates' in out
  assert 'parameters' in out and 'CPU' in out or 'GPU' in out
  assert 's an update' in out and f'Finished at 120 frames: {tmp_path}' in out


def test_config_yaml_holds_the_merged_config_the_agent_and_the_spaces(toy, tmp_path):
  loops.start(tmp_path, '--task', 'dummy_discrete_vector', '--action_dist', 'auto')
  saved = config_lib.read(tmp_path / 'config.yaml')
  for key, value in loops.config(tmp_path, '--task', 'dummy_discrete_vector',
                                 '--action_dist', 'auto').items():
    assert saved[key] == value, key
  assert (saved['agent'], saved['configs']) == ('dreamer', ['debug'])
  assert saved['act_space'] == {'shape': [3], 'dtype': 'float32', 'discrete': True}
  assert saved['obs_space'] == {'vector': {'shape': [2], 'dtype': 'float32'}}


def test_run_json_holds_command_commit_versions_and_seconds(toy, tmp_path, monkeypatch):
  monkeypatch.setattr('sys.argv', [
      '/home/someone/checkout/dreamer/train.py', '--logdir', '~/logs/a b', '--mlp_keys', ''])
  loops.start(tmp_path / 'run')
  text = (tmp_path / 'run' / 'run.json').read_text()
  found = json.loads(text)
  assert found['command'] == "python -m dreamer.train --logdir '~/logs/a b' --mlp_keys ''"
  assert '/home' not in text and str(tmp_path) not in text and str(pathlib.Path.cwd()) not in text
  assert set(found) == {'command', 'commit', 'versions', 'seconds', 'finished_at'}
  assert {'python', 'tensorflow', 'numpy', 'mujoco'} <= set(found['versions'])
  assert ('ale-py' in found['versions']) == bool(importlib.util.find_spec('ale_py'))
  last = loops.rows(tmp_path / 'run')[-1]['time']
  assert abs(found['seconds'] - last) < 10


@pytest.fixture
def checkout(tmp_path, monkeypatch):
  """A directory under version control that takes itself for the one of the code, and its git."""
  if not shutil.which('git'):
    pytest.skip('git is needed')
  for name in [name for name in os.environ if name.startswith('GIT_')]:
    monkeypatch.delenv(name)
  monkeypatch.setattr(logdir, '__file__', str(tmp_path / 'common' / 'loop' / 'logdir.py'))
  (tmp_path / 'common').mkdir()
  settings = ('user.name=a', 'user.email=a@b', 'commit.gpgsign=false')
  options = [word for setting in settings for word in ('-c', setting)]
  git = lambda *args: subprocess.run(
      ['git', *options, *args], cwd=tmp_path, check=True, capture_output=True,
      text=True).stdout.split()
  git('init')
  logdir._commit.cache_clear()
  yield tmp_path, git
  logdir._commit.cache_clear()


def test_run_json_names_the_code_that_runs_whatever_happens_to_it_meanwhile(checkout):
  path, git = checkout
  code, named = path / 'common' / 'code.py', []
  def name(process):
    if process == 'new':
      logdir._commit.cache_clear()
    logdir.save_run(path, 1.0)
    named.append(json.loads((path / 'run.json').read_text())['commit'])
  for text, process in (('one', 'new'), ('two', 'same')):
    code.write_text(text)
    git('add', 'common')
    git('commit', '-m', text)
    name(process)
  (path / 'results').write_text('no code')
  name('new')
  code.write_text('changed')
  name('new')
  first, second = git('rev-parse', 'HEAD~', 'HEAD')
  assert named == [first, first, second, f'{second}-dirty']


@pytest.fixture
def trusting(monkeypatch):
  """Values of environments are stored as they come, so that losses have to be watched."""
  monkeypatch.setattr(values, 'problem', lambda obs, discount: '')


@pytest.mark.parametrize('limit', [1, 4, 5])  # after a part of a burst, several, the first
def test_non_finite_losses_are_skipped_and_end_the_run(toy, trusting, tmp_path, capsys, limit):
  flags = ['--task', 'py_worlds:Faulty', '--time_limit', 8, '--batch_length', 2,
           '--nan_limit', limit, '--steps', 400]
  with pytest.raises(SystemExit) as stop:
    loops.start(tmp_path, *flags)
  assert stop.value.code == 1
  error = capsys.readouterr().err
  assert f'The last {limit} updates were skipped' in error
  dump = np.load(tmp_path / f'nonfinite-{limit}.npz')
  assert np.isnan(dump['reward']).any() and dump['action'].shape[:2] == (2, 2)
  if limit > 2:  # the pretraining was over, so there is a checkpoint
    saved = loops.saved(tmp_path)
    assert not saved['agent/weights/.ATTRIBUTES/VARIABLE_VALUE'].any()
    assert saved['agent/updates/.ATTRIBUTES/VARIABLE_VALUE'] < limit
  for row in loops.rows(tmp_path, 'agent/skipped'):
    assert row['agent/skipped'] > 0 and 'agent/model_loss' not in row


@pytest.mark.integration
def test_non_finite_rewards_never_reach_the_weights_of_dreamer(trusting, tmp_path):
  flags = ['--task', 'py_worlds:Faulty', '--time_limit', 8, '--batch_length', 2, '--nan_limit', 9]
  with pytest.raises(SystemExit) as stop:
    loops.start(tmp_path, *flags)
  assert stop.value.code == 1
  saved = loops.saved(tmp_path)
  for name, array in saved.items():
    array = np.asarray(array)
    assert array.dtype.kind != 'f' or np.isfinite(array).all(), name
  rows = loops.rows(tmp_path, 'agent/skipped')
  assert [row['agent/skipped'] for row in rows] == [2, 3, 3]
  assert all('agent/model_loss' not in row for row in rows)


def test_non_finite_losses_now_and_then_are_counted_only(toy, tmp_path, monkeypatch):
  gradients = loops.Toy.gradients
  def sometimes(self, data, seed, *more):
    grads, metrics = gradients(self, data, seed, *more)
    bad = [tf.where(self.updates % 3 == 1, np.nan, grad) for grad in grads['model']]
    return {'model': bad}, metrics
  monkeypatch.setattr(loops.Toy, 'gradients', sometimes)
  loops.start(tmp_path, '--nan_limit', 2)
  rows = loops.rows(tmp_path, 'agent/skipped')
  assert [row['agent/skipped'] for row in rows] == [1, 1, 1, 1, 1]
  assert np.isfinite(loops.saved(tmp_path)['agent/weights/.ATTRIBUTES/VARIABLE_VALUE']).all()


@pytest.mark.parametrize('owner, name, call', [
    (episodes, 'write', 1), (episodes, 'write', 4), (Logger, '_append', 5),
    (checkpoint.Checkpoint, 'save', 1), (checkpoint.Checkpoint, 'save', 2),
    (logdir, 'save_run', 2), (logdir, 'save_config', 1)])
def test_a_full_disk_is_one_sentence_and_the_run_goes_on_later(
    toy, tmp_path, monkeypatch, owner, name, call):
  original, calls = getattr(owner, name), []

  def full(*args, **kwargs):
    calls.append(name)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if len(calls) == call:
      # No file may grow beyond what it holds so far, or a few bytes.
      size = max([x.stat().st_size for x in tmp_path.glob('metrics.jsonl')], default=0)
      size = size + 5 if owner is Logger else 5
      resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
      return original(*args, **kwargs)
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  monkeypatch.setattr(owner, name, full)
  with pytest.raises(UserError) as error:
    loops.start(tmp_path, '--disk_wait', 0)
  message = str(error.value)
  assert 'same command again' in message and '\n' not in message and str(tmp_path) in message
  before = loops.episodes(tmp_path)
  loops.start(tmp_path)
  assert [x[:2] for x in loops.episodes(tmp_path)] == [(k, 0) for k in range(6)]
  assert set(before) <= set(loops.episodes(tmp_path))
  assert loops.rows(tmp_path)[-1]['step'] == 120


def test_a_pattern_of_decay_that_fits_no_variable_is_refused_before_anything_is_written(tmp_path):
  with pytest.raises(UserError, match="weight_decay_pattern 'kernels' is found in no name"):
    loops.start(tmp_path / 'a', '--weight_decay', 0.01, '--weight_decay_pattern', 'kernels')
  assert not (tmp_path / 'a').exists()


def growth(tmp_path, monkeypatch, steps, *flags):
  """Mebibytes by which this process grows over the second half of a run."""
  sizes = []
  save = run.Run.save
  def spy(self):
    sizes.append(toys.resident())
    save(self)
  monkeypatch.setattr(run.Run, 'save', spy)
  loops.start(tmp_path, '--steps', steps, '--replay_capacity', 200, *flags)
  assert len(sizes) >= 8
  return sizes[-1] - sizes[len(sizes) // 2]


def test_memory_is_flat_once_the_replay_is_full(toy, tmp_path, monkeypatch):
  assert growth(tmp_path, monkeypatch, 1600, '--eval_every', 160) < 16


@pytest.mark.slow
def test_memory_is_flat_over_a_long_run_of_dreamer(tmp_path, monkeypatch):
  assert growth(tmp_path, monkeypatch, 20000, '--eval_every', 1000) < 32


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_run_with_overlap_learns_within_the_spread_of_seeds_of_the_published_order(tmp_path):
  name = 'dreamer-balance'
  dreamer.main([
      '--configs', 'dmc', 'cpu', '--task', 'dmc_cartpole_balance_sparse', '--overlap', 'True',
      '--logdir', str(tmp_path), '--quiet'])
  config = (tmp_path / 'config.yaml').read_text()
  assert 'overlap: true' in config
  (tmp_path / 'config.yaml').write_text(config.replace('overlap: true', 'overlap: false'))
  ok, lines = stored.compare(tmp_path, name)
  assert ok, lines


def check_debug_run(path, *losses):
  """The traces that the debug block leaves with every agent and suite."""
  rows = loops.rows(path)
  assert all('step' in row and 'time' in row for row in rows)
  for name in ('train/return', 'eval/return', 'agent/model_loss', 'agent/actor_loss', *losses):
    found = [row[name] for row in rows if name in row]
    assert len(found) >= 2 and all(np.isfinite(found)), name
  assert rows[-1]['step'] >= 600
  assert loops.episodes(path) and loops.saved(path)


@pytest.mark.integration
def test_debug_block_runs_the_whole_loop_from_pixels_as_a_command(tmp_path, processor_seconds):
  command = ('-m dreamer.train --configs dmc debug --task dmc_cartpole_balance --logdir').split()
  done, seconds = processor_seconds(
      subprocess.run, [sys.executable, *command, tmp_path], capture_output=True, text=True, timeout=250)
  assert done.returncode == 0, done.stderr
  assert 'Traceback' not in done.stderr and seconds < 90
  check_debug_run(tmp_path, 'agent/image_loss')
  assert [x[2] for x in loops.episodes(tmp_path)] == [51] * 6


@pytest.mark.integration
@pytest.mark.parametrize('command, losses', [
    ('gym debug --task gym_CartPole-v1', ['agent/pcont_loss', 'agent/vector_loss']),
    ('dmc_proprio debug --task dmc_cartpole_balance', ['agent/position_loss'])])
def test_other_suites_run_with_the_debug_block(tmp_path, command, losses):
  argv = ['--configs', *command.split(), '--logdir', str(tmp_path)]
  run_start.start(config_lib.load('dreamer', argv))
  check_debug_run(tmp_path, *losses)
  run_start.start(config_lib.load('dreamer', argv))  # the same command fits what it has made
