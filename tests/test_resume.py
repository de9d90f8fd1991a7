"""An interrupted run goes on where it was: weights, moments, counters, episodes and rows."""
import concurrent.futures
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from common import config as config_lib
from common import envs
from common.config import UserError
from common.data.driver import Driver
from common.data.replay import Replay
from common.envs import dummy
from common.loop import checkpoint
from common.loop import evaluation
from common.loop import logdir
from common.loop import parts
from common.loop import run
from common.loop.logger import Logger
from common.model import devices
import loops
import toys

UPDATES = 'agent/updates/.ATTRIBUTES/VARIABLE_VALUE'
WEIGHTS = 'agent/weights/.ATTRIBUTES/VARIABLE_VALUE'
LOOPS = os.path.join(os.path.dirname(__file__), 'loops.py')


@pytest.fixture(autouse=True)
def toy(monkeypatch):
  """Runs use the toy agent."""
  loops.use_toy(monkeypatch.setattr)


def kill(path, monkeypatch, *where, flags=(), **options):
  """Start a run that ends as by SIGKILL at a call; see loops.kill_at."""
  with monkeypatch.context() as patch:
    patch.setattr(parts.Parts, 'close', lambda self: None)
    loops.kill_at(patch, *where, **options)
    with pytest.raises(loops.Kill):
      loops.start(path, *flags)


def interrupt(path, monkeypatch, *where, flags=(), number=signal.SIGINT):
  """Start a run that gets a signal during a call; returns its exit code."""
  with monkeypatch.context() as patch:
    loops.signal_at(patch, *where, number=number)
    with pytest.raises(SystemExit) as stop:
      loops.start(path, *flags)
  return stop.value.code


@pytest.mark.parametrize('owner, name, call', [
    (Replay, 'begin', 2),  # in the prefill, between the episode's end and its file
    (Logger, 'write', 2),  # the episode is there, its row is not
    (checkpoint.Checkpoint, 'save', 1),
    (Replay, 'finish', 4),
    (Driver, '_step', 37),  # in the middle of an episode
    (loops.Toy, 'train', 7),  # in the middle of a burst
    (checkpoint.Checkpoint, 'save', 2),
    (run.Run, '_evaluate', 3)])
def test_a_killed_run_goes_on_and_collects_no_episode_twice(
    tmp_path, monkeypatch, owner, name, call):
  kill(tmp_path, monkeypatch, owner, name, call)
  before = {x.name: x.stat().st_mtime_ns for x in (tmp_path / 'episodes').glob('[!.]*')}
  loops.start(tmp_path)
  after = {x.name: x.stat().st_mtime_ns for x in (tmp_path / 'episodes').iterdir()}
  assert before.items() <= after.items()
  assert loops.episodes(tmp_path) == [(k, 0, 11) for k in range(6)]
  rows = loops.rows(tmp_path)
  assert rows[-1]['step'] == 120 and 'eval/return' in rows[-1]
  assert [row['time'] for row in rows] == sorted(row['time'] for row in rows)
  assert loops.saved(tmp_path)[UPDATES] <= 14


def test_updates_that_a_kill_lost_are_not_caught_up(tmp_path, monkeypatch):
  # Killed at 160 frames, saved at 80: bursts at 100, 120, 140 and 160 are lost.
  flags = ['--steps', 200, '--eval_every', 80, '--prefill', 80]
  kill(tmp_path, monkeypatch, checkpoint.Checkpoint, 'save', 2, flags=flags)
  assert loops.rows(tmp_path, 'agent/updates')[-1]['agent/updates'] == 14
  loops.start(tmp_path, *flags)
  rows = loops.rows(tmp_path, 'agent/updates')[5:]
  assert [(row['step'], row['agent/updates']) for row in rows] == [(180, 5), (200, 8)]


def test_weights_moments_and_counters_go_on_from_the_checkpoint(tmp_path, monkeypatch):
  kill(tmp_path, monkeypatch, run.Run, '_evaluate', 2)
  saved, restored = loops.saved(tmp_path), {}
  restore = checkpoint.Checkpoint.restore
  def spy(self):
    result = restore(self)
    agent = self._checkpoint.agent
    restored.update(
        weights=agent.weights.numpy(), updates=agent.updates.numpy(), calls=agent.calls.numpy(),
        iterations=agent.optimizer.adam.iterations.numpy(),
        moment=agent.optimizer.adam.get_slot(agent.weights, 'm').numpy())
    return result
  monkeypatch.setattr(checkpoint.Checkpoint, 'restore', spy)
  loops.start(tmp_path)
  assert np.array_equal(restored['weights'], saved[WEIGHTS]) and saved[WEIGHTS].any()
  assert restored['updates'] == restored['iterations'] == saved[UPDATES] == 8
  assert restored['calls'] == 30  # one evaluation and two episodes
  assert restored['moment'].any()


def test_a_torn_last_line_is_cut_and_time_adds_up(tmp_path, monkeypatch):
  kill(tmp_path, monkeypatch, run.Run, '_evaluate', 2)
  lines = (tmp_path / 'metrics.jsonl').read_bytes()
  last = {**json.loads(lines.splitlines()[-1]), 'time': 1000.0}
  (tmp_path / 'metrics.jsonl').write_bytes(
      lines + json.dumps(last).encode() + b'\n{"step": 80, "ti')
  loops.start(tmp_path)
  rows = loops.rows(tmp_path)  # every line can be read
  assert all(row['time'] > 1000 for row in rows[len(lines.splitlines()) + 1:])
  assert json.loads((tmp_path / 'run.json').read_text())['seconds'] >= 1000


@pytest.mark.parametrize('number, code', [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_save_and_say_how_to_continue(tmp_path, monkeypatch, capfd, number, code):
  before = signal.getsignal(number)  # a background job of a shell ignores Ctrl-C
  assert interrupt(tmp_path, monkeypatch, Driver, '_step', 45, number=number) == code
  out = capfd.readouterr().out
  assert 'Stopping after this step' in out
  assert f'{signal.Signals(number).name}: saved at 60 frames. Start the same command' in out
  # With the burst at 60 frames, which no regular checkpoint would have.
  assert loops.saved(tmp_path)[UPDATES] == 5
  assert signal.getsignal(number) == before
  loops.start(tmp_path)
  assert loops.episodes(tmp_path) == [(k, 0, 11) for k in range(6)]
  assert loops.saved(tmp_path)[UPDATES] == 14


@pytest.mark.parametrize('flags', [[], ['--eval_episodes', 0], ['--deterministic', True]])
@pytest.mark.parametrize('move', ['save', 'mark_finished'])
def test_a_run_counts_as_finished_only_after_its_last_save(tmp_path, monkeypatch, flags, move):
  # Saves: after the pretraining, after two collections, at the end.
  kill(tmp_path, monkeypatch, run.Run, move, 4 if move == 'save' else 1, flags=flags)
  config = loops.config(tmp_path, *flags)
  assert not logdir.finished(tmp_path, config)
  loops.start(tmp_path, *flags)
  assert logdir.finished(tmp_path, config)
  assert loops.saved(tmp_path)[UPDATES] == 14


@pytest.mark.parametrize('number, code', [(signal.SIGHUP, 129), (signal.SIGUSR1, 138)])
def test_closed_consoles_and_batch_systems_save_as_well(tmp_path, monkeypatch, number, code):
  before = signal.signal(number, signal.SIG_DFL)  # nohup has the tests ignore one of them
  try:
    assert interrupt(tmp_path, monkeypatch, Driver, '_step', 45, number=number) == code
  finally:
    signal.signal(number, before)
  assert loops.saved(tmp_path)[UPDATES] == 5


def test_under_nohup_a_closed_console_is_nothing(tmp_path, monkeypatch):
  before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
  try:
    with monkeypatch.context() as patch:
      loops.signal_at(patch, Driver, '_step', 45, number=signal.SIGHUP)
      loops.start(tmp_path)
  finally:
    signal.signal(signal.SIGHUP, before)
  assert loops.rows(tmp_path)[-1]['step'] == 120


def test_a_run_can_be_started_in_a_thread(tmp_path):
  with concurrent.futures.ThreadPoolExecutor(1) as pool:
    pool.submit(loops.start, tmp_path).result()
  assert loops.rows(tmp_path)[-1]['step'] == 120


@pytest.mark.parametrize('overlap', [False, True])
def test_checkpoints_come_after_so_many_updates_too(tmp_path, monkeypatch, overlap):
  """Evaluations, which bring one, are far apart here: bursts of 3 updates after 2 at first."""
  flags = ['--eval_every', 10_000, '--save_every', 5, '--overlap', overlap]
  seen, save = [], checkpoint.Checkpoint.save
  def spy(self):
    save(self)
    seen.append(int(loops.saved(tmp_path)[UPDATES]))
  monkeypatch.setattr(checkpoint.Checkpoint, 'save', spy)
  loops.start(tmp_path, *flags)
  assert seen[0] == 2 and 8 in seen[:3] and seen[-1] == 14
  assert loops.episodes(tmp_path) == [(k, 0, 11) for k in range(6)]
  kill(tmp_path / 'killed', monkeypatch, loops.Toy, 'train', 11, flags=flags)
  assert loops.saved(tmp_path / 'killed')[UPDATES] == 8


@pytest.mark.parametrize('where', [(loops.Toy, 'train', 7), (Driver, '_step', 45)])
def test_an_error_that_nobody_expected_is_told_after_saving(tmp_path, monkeypatch, where):
  with monkeypatch.context() as patch:
    loops.kill_at(patch, *where, error=ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
      loops.start(tmp_path, '--eval_every', 1000)
  assert loops.saved(tmp_path)[UPDATES] >= 5
  loops.start(tmp_path, '--eval_every', 1000)
  assert loops.saved(tmp_path)[UPDATES] == 14


def test_an_interrupt_in_the_prefill_goes_on_with_the_prefill(tmp_path, monkeypatch):
  assert interrupt(tmp_path, monkeypatch, Driver, '_step', 15) == 130
  assert loops.saved(tmp_path)[UPDATES] == 0
  loops.start(tmp_path)
  assert loops.episodes(tmp_path) == [(k, 0, 11) for k in range(6)]
  rows = loops.rows(tmp_path, 'agent/updates')
  assert [row['agent/updates'] for row in rows] == [2, 5, 8, 11, 14]


@pytest.mark.parametrize('call', [1, 4, 8])  # in the pretraining, in bursts
def test_a_burst_that_was_interrupted_is_finished_later(tmp_path, monkeypatch, call):
  flags = ['--train_steps', 4, '--pretrain', 3]
  loops.start(tmp_path / 'whole', *flags)
  path = tmp_path / 'cut'
  assert interrupt(path, monkeypatch, loops.Toy, 'train', call, flags=flags) == 130
  assert loops.saved(path)[UPDATES] == call
  loops.start(path, *flags)
  assert loops.saved(path)[UPDATES] == loops.saved(tmp_path / 'whole')[UPDATES] == 19


def test_an_interrupt_in_an_evaluation_repeats_the_evaluation(tmp_path, monkeypatch):
  assert interrupt(tmp_path, monkeypatch, envs.wrappers.TimeLimit, 'step', 25) == 130
  assert not loops.rows(tmp_path, 'eval/return')
  loops.start(tmp_path)
  assert [row['step'] for row in loops.rows(tmp_path, 'eval/return')] == [40, 80, 120]


def test_a_second_signal_ends_at_once(tmp_path, monkeypatch):
  def twice(self, data, frames):
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)
  monkeypatch.setattr(loops.Toy, 'train', twice)
  with pytest.raises(SystemExit) as stop:
    config_lib.entry(lambda argv: loops.start(tmp_path))([])
  assert stop.value.code == 130
  assert not list(tmp_path.glob('checkpoint/*'))


def damage(path, how):
  """Spoil the newest checkpoint of a run as a kill, a full disk or a bad sector would."""
  index = sorted((path / 'checkpoint').glob('*.index'))[-1]
  data = index.with_name(index.stem + '.data-00000-of-00001')
  if how == 'torn data':
    data.write_bytes(data.read_bytes()[:-100])
  elif how == 'flipped bits':
    content = bytearray(data.read_bytes())
    content[len(content) // 2:len(content) // 2 + 64] = bytes(64 * [255])
    data.write_bytes(bytes(content))
  elif how == 'no data':
    data.unlink()
  elif how == 'empty index':
    index.write_bytes(b'')
  elif how == 'torn index':
    index.write_bytes(index.read_bytes()[:-20])


@pytest.mark.parametrize('how', [
    'torn data', 'flipped bits', 'no data', 'empty index', 'torn index'])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path, monkeypatch, capsys, how):
  kill(tmp_path, monkeypatch, run.Run, '_evaluate', 3)
  damage(tmp_path, how)
  capsys.readouterr()
  loops.start(tmp_path, '--steps', 160)
  out = capsys.readouterr().out
  assert 'ckpt-3: cannot be loaded' in out and 'Continuing at 120 frames, 8 updates' in out
  # It goes on with 8 updates at 120 frames, and the broken file does not come back.
  assert loops.saved(tmp_path)[UPDATES] == 14
  loops.start(tmp_path, '--steps', 200)
  assert 'cannot be loaded' not in capsys.readouterr().out


@pytest.mark.parametrize('content', [None, b'', b'\xff{'])
def test_checkpoints_are_found_without_their_list(tmp_path, monkeypatch, capsys, content):
  kill(tmp_path, monkeypatch, run.Run, '_evaluate', 2)
  listed = tmp_path / 'checkpoint' / 'checkpoint'
  listed.unlink() if content is None else listed.write_bytes(content)
  loops.start(tmp_path)
  assert 'Continuing at 80 frames, 8 updates' in capsys.readouterr().out
  assert loops.saved(tmp_path)[UPDATES] == 14


def test_no_checkpoint_that_loads_is_one_sentence_and_changes_nothing(tmp_path, monkeypatch):
  kill(tmp_path, monkeypatch, run.Run, '_evaluate', 2)
  for index in (tmp_path / 'checkpoint').glob('*.index'):
    index.write_bytes(b'')
  before = loops.episodes(tmp_path), (tmp_path / 'metrics.jsonl').read_bytes()
  with pytest.raises(UserError, match='no checkpoint can be loaded') as error:
    loops.start(tmp_path)
  assert '\n' not in str(error.value)
  assert before == (loops.episodes(tmp_path), (tmp_path / 'metrics.jsonl').read_bytes())


def test_a_failed_save_keeps_the_checkpoint_before_it(tmp_path, monkeypatch):
  def fail(self, *args, **kwargs):
    raise tf.errors.ResourceExhaustedError(None, None, 'No space left on device\nmore')
  with monkeypatch.context() as patch:
    loops.kill_at(patch, run.Run, '_evaluate', 2, UserError('armed'))
    with pytest.raises(UserError, match='armed'):
      loops.start(tmp_path)
  saved = loops.saved(tmp_path)
  with monkeypatch.context() as patch:
    patch.setattr(tf.train.Checkpoint, 'save', fail)
    with pytest.raises(UserError, match='No space left on device.*start the same command'):
      loops.start(tmp_path, '--disk_wait', 0)
  assert loops.same(saved, loops.saved(tmp_path))


def test_checkpoint_round_trip_of_a_dreamer_is_exact_to_the_bit(tmp_path):
  def make(seed):
    config = devices.setup(loops.config(tmp_path, '--seed', seed, '--pcont', 'True'))
    spaces = envs.make(config).obs_space
    return dreamer(config, spaces, toys.actions(2))
  from dreamer.agent import Dreamer as dreamer
  data = {**toys.batch(2, 5), 'vector': np.ones([2, 5, 2], np.float32)}
  data.pop('image')
  one, two = make(seed=1), make(seed=2)
  for _ in range(3):
    one.train(one.distribute(data))
  one.policy({'vector': np.zeros([1, 2], np.float32)})
  progress = checkpoint.Progress(trained=7, means={'a': [0.1, 3]})
  checkpoint.Checkpoint(tmp_path, one, progress).save()
  other = checkpoint.Progress(trained=None, means={}, new=5)
  assert checkpoint.Checkpoint(tmp_path, two, other).restore()
  assert other.values == {'trained': 7, 'means': {'a': [0.1, 3]}, 'new': 5}
  for before, after in zip(one.variables, two.variables, strict=True):
    assert before.name == after.name and np.array_equal(before.numpy(), after.numpy())
  for name, optimizer in one.optimizers().items():
    adam = two.optimizers()[name].adam
    weights = optimizer.adam.get_weights()
    assert len(weights) > 4 and weights[0] == 3
    for before, after in zip(weights, adam.get_weights(), strict=True):
      assert np.array_equal(before, after)
  assert (two.updates.numpy(), two.calls.numpy()) == (3, 1)


@pytest.mark.parametrize('name', ['lr=[1e-4]', 'a*b?', 'back\\slash', '{x} y', 'r\u00f6n ~'])
def test_any_name_of_a_directory_can_be_loaded_again(tmp_path, name):
  path = tmp_path / name / 'seed 0'
  loops.start(path)
  loops.start(path, '--steps', 160)
  assert loops.rows(path, 'agent/updates')[-1]['agent/updates'] == 20
  config = devices.setup(loops.config(path))
  agent = loops.Toy(config, envs.make(config).obs_space, toys.actions(2))
  assert checkpoint.Checkpoint(path / 'checkpoint', agent, checkpoint.Progress()).restore()
  assert agent.update_count == 20


def test_loss_scale_and_skips_are_saved(tmp_path):
  config = devices.setup(loops.config(tmp_path))
  spaces = envs.make(config).obs_space
  one, two = (loops.Toy(config, spaces, toys.actions(2)) for _ in range(2))
  one.optimizer.apply([tf.constant([np.nan, 1.0])])
  assert one.optimizer._scale.numpy() == 2 ** 14 and one.skipped == 1
  checkpoint.Checkpoint(tmp_path, one, checkpoint.Progress()).save()
  assert checkpoint.Checkpoint(tmp_path, two, checkpoint.Progress()).restore()
  assert two.optimizer._scale.numpy() == 2 ** 14 and two.skipped == 1


def test_only_the_last_checkpoints_are_kept(tmp_path):
  loops.start(tmp_path, '--steps', 240)
  assert len(list((tmp_path / 'checkpoint').glob('*.index'))) == checkpoint.KEEP


def test_sigkill_leaves_no_lock_and_a_second_process_is_refused(tmp_path):
  path = tmp_path / 'run'
  command = [sys.executable, LOOPS, path, '--steps', '1000000', '--eval_every', '40']
  with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
    try:
      deadline = time.monotonic() + 100
      while not loops.checkpoints(path, 3):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
      process.send_signal(signal.SIGSTOP)
      os.waitpid(process.pid, os.WUNTRACED)  # what changes now, the second process has changed
      files = sorted(x for x in path.iterdir())
      with pytest.raises(UserError, match='another process is training here'):
        loops.start(path)
      assert sorted(x for x in path.iterdir()) == files
    finally:
      process.kill()
  assert process.returncode == -signal.SIGKILL
  found = loops.episodes(path)
  # What the kill may leave, or not: an episode that was half written.
  (path / 'episodes' / f'.{len(found):06d}-0-11.npz.tmp').write_bytes(b'PK')
  end = 20 * (len(found) + 2)
  loops.start(path, '--steps', end)
  assert loops.episodes(path) == [(k, 0, 11) for k in range(len(found) + 2)]
  assert not list((path / 'episodes').glob('.*'))
  assert loops.rows(path)[-1]['step'] == end


def test_a_kill_after_the_last_checkpoint_evaluates_no_second_time(tmp_path, monkeypatch):
  loops.start(tmp_path / 'whole', '--deterministic', True)
  kill(tmp_path / 'killed', monkeypatch, run.Run, 'mark_finished', 1, flags=['--deterministic', True])
  loops.start(tmp_path / 'killed', '--deterministic', True)
  whole, killed = (loops.rows(tmp_path / name, timeless=True) for name in ('whole', 'killed'))
  assert whole == killed


@pytest.mark.parametrize('call', [3, 4, 5, 6, 7])
def test_an_interrupt_between_two_episodes_loses_no_burst(tmp_path, monkeypatch, call):
  assert interrupt(tmp_path, monkeypatch, dummy.Dummy, 'reset', call) == 130
  loops.start(tmp_path)
  assert loops.saved(tmp_path)[UPDATES] == 14


def test_a_kill_after_an_evaluation_leaves_one_row_for_it(tmp_path, monkeypatch):
  """Nor is what it was of evaluated again later, with the same weights from the same starts."""
  flags = ['--save_every', 0]
  kill(tmp_path, monkeypatch, Driver, '_step', 85, flags=flags)  # in the episode after the second
  before = [row['step'] for row in loops.rows(tmp_path, 'eval/return')]
  begun = len(before)
  assert begun >= 2 and before == [40 * (i + 1) for i in range(begun)]
  seen = []
  evaluate = evaluation.of_run
  def spy(config, agent, environments, begun, *args):
    seen.append(begun)
    return evaluate(config, agent, environments, begun, *args)
  monkeypatch.setattr(evaluation, 'of_run', spy)
  loops.start(tmp_path, *flags)
  assert [row['step'] for row in loops.rows(tmp_path, 'eval/return')] == [40, 80, 120]
  assert seen == list(range(begun, 3))


def test_a_long_burst_is_saved_in_between(tmp_path, monkeypatch):
  flags = ['--pretrain', 20, '--save_every', 6, '--log_every', 1]
  loops.start(tmp_path / 'whole', *flags[:2])
  kill(tmp_path / 'killed', monkeypatch, loops.Toy, 'train', 15, flags=flags)
  assert loops.saved(tmp_path / 'killed')[UPDATES] == 12
  loops.start(tmp_path / 'killed', *flags)
  whole, killed = (loops.saved(tmp_path / name) for name in ('whole', 'killed'))
  assert killed[UPDATES] == whole[UPDATES] == 32 and np.array_equal(killed[WEIGHTS], whole[WEIGHTS])


def test_a_finished_run_names_the_frames_that_it_has(tmp_path, capsys):
  loops.start(tmp_path)
  capsys.readouterr()
  loops.start(tmp_path, '--steps', 100)
  assert 'finished. Pass --steps above 120 ' in capsys.readouterr().out


@pytest.mark.parametrize('flags, words', [
    ([], 'learns anew from the episodes'),
    (['--deterministic', True], 'collects the same episodes again')])
def test_what_comes_of_moving_damaged_checkpoints_away_is_said_and_true(tmp_path, monkeypatch, flags, words):
  loops.start(tmp_path, *flags)
  saved, rows = loops.saved(tmp_path), loops.rows(tmp_path, timeless=True)
  for index in (tmp_path / 'checkpoint').glob('*.index'):
    index.write_bytes(b'')
  with pytest.raises(UserError, match=words):
    loops.start(tmp_path, *flags, '--steps', 140)
  (tmp_path / 'checkpoint').rename(tmp_path / 'damaged')
  (tmp_path / 'run.json').unlink()
  loops.start(tmp_path, *flags)
  assert len(loops.episodes(tmp_path)) == 6
  if flags:
    assert loops.same(loops.saved(tmp_path), saved) and loops.rows(tmp_path, timeless=True) == rows


def test_what_was_learned_before_a_mistake_shows_is_saved(tmp_path, monkeypatch):
  """Here: the episodes in memory become too short for a window, as longer ones give way."""
  with monkeypatch.context() as patch:
    loops.kill_at(patch, Replay, 'windows', 5, error=UserError('too short'))
    with pytest.raises(UserError, match='too short'):
      loops.start(tmp_path, '--eval_every', 1000)
  assert loops.saved(tmp_path)[UPDATES] > 2
  loops.start(tmp_path, '--eval_every', 1000)
  assert loops.saved(tmp_path)[UPDATES] == 14


def test_a_kill_after_the_last_evaluation_off_the_grid_leaves_one_row_for_it(tmp_path, monkeypatch):
  flags = ['--steps', 100]
  kill(tmp_path, monkeypatch, run.Run, 'save', 4, flags=flags)
  assert [row['step'] for row in loops.rows(tmp_path, 'eval/return')] == [40, 80, 100]
  loops.start(tmp_path, *flags)
  assert [row['step'] for row in loops.rows(tmp_path, 'eval/return')] == [40, 80, 100]
  assert logdir.finished_at(tmp_path) == 100


def test_an_offline_run_that_begins_anew_is_evaluated_anew(tmp_path, monkeypatch):
  loops.start(tmp_path / 'source')
  path, flags = tmp_path / 'run', ['--offline', tmp_path / 'source', '--train_every', 10]
  loops.start(path, *flags)
  steps = lambda: [row['step'] for row in loops.rows(path, 'eval/return')]
  before = steps()
  (path / 'checkpoint').rename(tmp_path / 'damaged')
  (path / 'run.json').unlink()
  assert interrupt(path, monkeypatch, loops.Toy, 'train', 5, flags=flags) == 130
  loops.start(path, *flags)
  assert steps() == before * 2


def test_an_offline_run_that_is_killed_writes_no_row_twice(tmp_path, monkeypatch):
  loops.start(tmp_path / 'source')
  flags = ['--offline', tmp_path / 'source', '--train_every', 10, '--log_every', 10]
  loops.start(tmp_path / 'whole', *flags)
  path = tmp_path / 'run'
  kill(path, monkeypatch, run.Run, 'save', 3, flags=flags)
  loops.start(path, *flags)
  steps = [[row['step'] for row in loops.rows(one)] for one in (path, tmp_path / 'whole')]
  assert steps[0] == steps[1] == sorted(steps[0])


def test_what_others_put_beside_checkpoints_is_left_alone(tmp_path):
  loops.start(tmp_path)
  folder = tmp_path / 'checkpoint'
  index = max(folder.glob('ckpt-*.index'))
  for name in ('ckpt-12 (conflicted copy).index', 'ckpt-12-backup.index'):
    (folder / name).write_bytes(index.read_bytes())
  before = loops.saved(tmp_path)[UPDATES]
  loops.start(tmp_path, '--steps', 160)
  assert loops.saved(tmp_path)[UPDATES] > before


@pytest.mark.parametrize('owner, method', [(Replay, 'set_aside'), (Logger, 'rewind')])
def test_a_disk_that_refuses_to_go_back_is_one_sentence(tmp_path, monkeypatch, owner, method):
  flags = ['--deterministic', True]
  loops.start(tmp_path, *flags)
  def refuse(*args):
    raise OSError(30, 'Read-only file system')
  monkeypatch.setattr(owner, method, refuse)
  with pytest.raises(UserError, match='cannot be written .Read-only file system.'):
    loops.start(tmp_path, *flags, '--steps', 160)


def test_rows_without_what_they_are_of_are_not_gone_on_from(tmp_path):
  """As where figures were copied from another machine, and the command was given again here."""
  loops.start(tmp_path, '--steps', 80)
  rows = (tmp_path / 'metrics.jsonl').read_text()
  for name in ('episodes', 'checkpoint'):
    shutil.rmtree(tmp_path / name)
  with pytest.raises(UserError, match='episodes and checkpoint are not there to go on from'):
    loops.start(tmp_path)
  assert (tmp_path / 'metrics.jsonl').read_text() == rows
