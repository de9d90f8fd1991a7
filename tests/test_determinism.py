"""The same command gives the same metrics; a killed run can end bit-identical to a whole one."""
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from tensorflow.python.framework import config as tf_config

from common.data.driver import Driver
from common.data.faults import GaveUp
from common.data.replay import Replay
from common.loop import checkpoint
from common.loop.interrupts import Stop
from common.loop.learner import Learner
from common.loop import parts
from common.loop import run
from common.loop.logger import Logger
import loops

EXACT = ['--deterministic', 'True']
# Two environments whose episodes end at different times; rows of metrics that span checkpoints.
UNEVEN = [
    '--task', 'py_worlds:Uneven', '--envs', 2, '--batch_length', 2, '--prefill', 40,
    '--eval_every', 40, '--train_every', 10, '--log_every', 70, '--steps', 200]
# An update after each decision, a row after each episode, 200 updates, and no evaluation, whose
# policy would be compiled for itself.
XLA = [
    *loops.BASE[:loops.BASE.index('--horizon')], '--jit', 'True', '--pretrain', 0,
    '--train_every', 2, '--train_steps', 1, '--eval_every', 200, '--eval_episodes', 0,
    '--steps', 440]


@pytest.fixture(autouse=True)
def _leave_no_trace():
  """Determinism of operations, once on, would slow down all later tests."""
  yield
  tf_config.disable_op_determinism()


@pytest.fixture
def toy(monkeypatch):
  """Runs use the toy agent."""
  loops.use_toy(monkeypatch.setattr)


def identical(one, two):
  """Whether two runs left the same rows, episodes and weights."""
  assert loops.rows(one, timeless=True) == loops.rows(two, timeless=True)
  assert loops.episodes(one) == loops.episodes(two)
  return loops.same(loops.saved(one), loops.saved(two))


@pytest.mark.parametrize('flags', [[], UNEVEN, ['--task', 'dummy_discrete_vector',
                                                '--action_dist', 'auto']])
def test_the_same_command_gives_the_same_run(toy, tmp_path, flags):
  for name in 'ab':
    loops.start(tmp_path / name, *flags)
  assert identical(tmp_path / 'a', tmp_path / 'b')


def test_another_seed_gives_another_run(toy, tmp_path):
  for seed in (0, 1):
    loops.start(tmp_path / str(seed), '--seed', seed)
  one, two = (loops.rows(tmp_path / name, timeless=True) for name in '01')
  assert [row['step'] for row in one] == [row['step'] for row in two]
  assert all(a != b for a, b in zip(one, two))


def test_environments_in_processes_give_the_same_run(toy, tmp_path):
  for strategy in ('none', 'process'):
    loops.start(tmp_path / strategy, *UNEVEN, '--parallel', strategy)
  assert identical(tmp_path / 'none', tmp_path / 'process')


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """Directories of uninterrupted runs of the toy, with one environment and with two."""
  path = tmp_path_factory.mktemp('whole')
  with pytest.MonkeyPatch.context() as patch:
    loops.use_toy(patch.setattr)
    loops.start(path / 'one', *EXACT)
    loops.start(path / 'two', *EXACT, *UNEVEN)
  return path


@pytest.mark.parametrize('name, owner, method, calls', [
    ('one', Replay, 'finish', [1]),  # before anything was saved
    ('one', Driver, '_step', [37]),
    ('one', Logger, 'write', [4]),
    ('one', run.Run, '_evaluate', [3]),
    ('two', loops.Toy, 'train', [1]),  # prefilled, not saved
    ('two', loops.Toy, 'train', [25, 5]),  # killed, and killed again
    ('two', Driver, '_step', [45, 12]),
    ('two', checkpoint.Checkpoint, 'save', [2, 1]),
    ('two', Logger, 'write', [21])])
def test_a_killed_run_ends_bit_identical_if_asked_to(
    toy, whole, tmp_path, monkeypatch, name, owner, method, calls):
  flags = EXACT + (UNEVEN if name == 'two' else [])
  for call in calls:
    with monkeypatch.context() as patch:
      patch.setattr(parts.Parts, 'close', lambda self: None)
      loops.kill_at(patch, owner, method, call)
      with pytest.raises(loops.Kill):
        loops.start(tmp_path, *flags)
  loops.start(tmp_path, *flags)
  assert identical(whole / name, tmp_path)


@pytest.mark.parametrize('owner, method', [(Replay, 'set_aside'), (Logger, 'rewind')])
def test_a_run_that_is_killed_while_it_goes_back_ends_bit_identical(
    toy, whole, tmp_path, monkeypatch, owner, method):
  """Once when an episode and its row were there and no checkpoint, then right after one of both went."""
  for where, name, call in ((Driver, '_step', 15), (owner, method, 1)):
    with monkeypatch.context() as patch:
      patch.setattr(parts.Parts, 'close', lambda self: None)
      loops.write_at_once(patch.setattr)
      loops.kill_at(patch, where, name, call, after=True)
      with pytest.raises(loops.Kill):
        loops.start(tmp_path, *EXACT)
  loops.start(tmp_path, *EXACT)
  assert identical(whole / 'one', tmp_path)


@pytest.mark.parametrize('owner, call', [(Driver, 45), (Driver, 12)])
def test_an_interrupted_run_ends_bit_identical_if_asked_to(
    toy, whole, tmp_path, monkeypatch, capsys, owner, call):
  with monkeypatch.context() as patch:
    loops.signal_at(patch, owner, '_step', call, signal.SIGTERM)
    with pytest.raises(SystemExit) as stop:
      loops.start(tmp_path, *EXACT)
  assert stop.value.code == 143
  assert 'Start the same command again' in capsys.readouterr().out
  loops.start(tmp_path, *EXACT)
  assert identical(whole / 'one', tmp_path)


def test_more_steps_later_are_the_same_as_more_steps_at_once(toy, tmp_path):
  loops.start(tmp_path / 'once', *EXACT)
  loops.start(tmp_path / 'later', *EXACT, '--steps', 80)
  loops.start(tmp_path / 'later', *EXACT)
  assert identical(tmp_path / 'once', tmp_path / 'later')


def test_a_deterministic_run_that_deletes_episodes_is_refused(toy, tmp_path):
  with pytest.raises(loops.config_lib.UserError, match='prune_disk'):
    loops.start(tmp_path, *EXACT, '--prune_disk', 'True')


@pytest.mark.integration
def test_dreamer_gives_the_same_run_from_images_and_vectors(tmp_path):
  flags = ['--task', 'dummy_continuous', '--cnn_keys', 'image', '--steps', 80]
  for name in 'ab':
    loops.start(tmp_path / name, *flags)
  assert identical(tmp_path / 'a', tmp_path / 'b')


def command(code, *argv):
  """A process of its own that runs a piece of Python."""
  return subprocess.Popen(
      [sys.executable, '-c', code, *map(str, argv)], stdout=subprocess.DEVNULL,
      stderr=subprocess.PIPE, text=True)


@contextlib.contextmanager
def ended(process):
  """The process, which is not there afterwards, whatever happens."""
  with process:
    try:
      yield process
    finally:
      process.kill()


@pytest.mark.integration
@pytest.mark.timeout(700)
def test_dreamer_killed_in_another_process_ends_bit_identical(tmp_path):
  code = 'from dreamer import train; train.main()'
  flags = [*EXACT, '--task', 'dummy_continuous', '--cnn_keys', 'image', '--mlp_keys', '.*']
  argv = [*loops.BASE, '--logdir', tmp_path / 'killed', *flags]
  with command(code, *argv) as killed:
    try:
      deadline = time.monotonic() + 200
      while not loops.checkpoints(tmp_path / 'killed', 2):
        assert killed.poll() is None, killed.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    finally:
      killed.kill()
  assert killed.returncode == -signal.SIGKILL  # it had not ended by itself
  with ended(command(code, *argv)) as resumed:
    loops.start(tmp_path / 'whole', *flags)
    assert resumed.wait() == 0, resumed.stderr.read()
  assert identical(tmp_path / 'whole', tmp_path / 'killed')
  assert len(loops.rows(tmp_path / 'whole', 'agent/actor_loss')) == 5


AGENTS = {
    'dreamer': ['--horizon', 3, '--actor_layers', 1, '--value_layers', 1], 'planet': [],
    'plan2explore': [
        '--horizon', 3, '--expl_horizon', 3, '--disag_models', 2, '--actor_layers', 1,
        '--value_layers', 1]}
# All agents in one process, for the start of a process takes as long as a run.
EACH = """
import importlib, json, sys
for name, argv in json.loads(sys.argv[1]).items():
  importlib.import_module(f'{name}.train').main([*argv, '--logdir', f'{sys.argv[2]}/{name}'])
"""


@pytest.fixture(scope='module')
def compiled(tmp_path_factory):
  """Directory with the runs of two processes, a/AGENT and b/AGENT."""
  path = tmp_path_factory.mktemp('compiled')
  argv = {name: [str(arg) for arg in [*XLA, *flags]] for name, flags in AGENTS.items()}
  with contextlib.ExitStack() as stack:
    for one in [
        stack.enter_context(ended(command(EACH, json.dumps(argv), path / process))) for process in 'ab']:
      assert one.wait() == 0, one.stderr.read()
  return path


@pytest.mark.integration
@pytest.mark.timeout(700)
@pytest.mark.parametrize('name', AGENTS)
def test_the_same_command_gives_the_same_200_updates_with_xla(compiled, name):
  assert identical(compiled / 'a' / name, compiled / 'b' / name)
  assert loops.rows(compiled / 'a' / name, 'agent/updates')[-1]['agent/updates'] == 200


OVERLAP = ['--overlap', 'True']
UPDATES = 'agent/updates/.ATTRIBUTES/VARIABLE_VALUE'


def test_overlap_gives_the_same_run_again_and_acts_with_older_weights(toy, tmp_path):
  for name in 'ab':
    loops.start(tmp_path / name, *UNEVEN, *OVERLAP)
  loops.start(tmp_path / 'serial', *UNEVEN)
  assert identical(tmp_path / 'a', tmp_path / 'b')
  one, two = (loops.rows(tmp_path / x, 'agent/updates', timeless=True) for x in ('a', 'serial'))
  assert [row['agent/updates'] for row in one][-1] == two[-1]['agent/updates']
  assert one != two


def test_evaluations_with_overlap_come_before_the_burst_of_their_frames(toy, tmp_path, monkeypatch):
  counts = []
  evaluate = run.Run._evaluate
  monkeypatch.setattr(run.Run, '_evaluate', lambda self: (
      counts.append(self._learner.updates), evaluate(self)))
  found = {}
  for name, flags in (('serial', []), ('overlap', OVERLAP)):
    loops.start(tmp_path / name, '--eval_every', 20, '--train_every', 20, '--train_steps', 3, *flags)
    found[name], counts = list(counts), []
  assert len(found['serial']) > 3
  *middle, last = zip(found['serial'][1:], found['overlap'][1:])
  assert all(a == b + 3 for a, b in middle) and last[0] == last[1]


@pytest.fixture(scope='module')
def whole_with_overlap(tmp_path_factory):
  """Directory of an uninterrupted run."""
  path = tmp_path_factory.mktemp('overlap')
  with pytest.MonkeyPatch.context() as patch:
    loops.use_toy(patch.setattr)
    loops.start(path, *EXACT, *UNEVEN, *OVERLAP)
  return path


@pytest.mark.parametrize('owner, method, calls', [
    (Driver, '_step', [45, 12]), (loops.Toy, 'train', [8]), (checkpoint.Checkpoint, 'save', [2]),
    (Replay, 'finish', [5]), (run.Run, '_evaluate', [2])])
def test_a_killed_run_with_overlap_ends_bit_identical(
    toy, whole_with_overlap, tmp_path, monkeypatch, owner, method, calls):
  flags = [*EXACT, *UNEVEN, *OVERLAP]
  for call in calls:
    with monkeypatch.context() as patch:
      patch.setattr(parts.Parts, 'close', lambda self: None)
      loops.kill_at(patch, owner, method, call)
      with pytest.raises(loops.Kill):
        loops.start(tmp_path / 'killed', *flags)
  loops.start(tmp_path / 'killed', *flags)
  assert identical(whole_with_overlap, tmp_path / 'killed')


def test_an_interrupt_with_overlap_saves_what_is_owed(toy, tmp_path, monkeypatch, capsys):
  with monkeypatch.context() as patch:
    loops.signal_at(patch, loops.Toy, 'train', 8, signal.SIGTERM)
    with pytest.raises(SystemExit) as stop:
      loops.start(tmp_path, *OVERLAP, '--train_steps', 6)
  assert stop.value.code == 143 and 'saved' in capsys.readouterr().out
  loops.start(tmp_path, *OVERLAP, '--train_steps', 6)
  assert loops.rows(tmp_path)[-1]['step'] == 120 and loops.saved(tmp_path)[UPDATES] == 26


@pytest.mark.parametrize('call', range(3, 15))
def test_a_burst_that_is_due_when_an_interrupt_comes_is_made_later(toy, tmp_path, monkeypatch, call):
  """With slow updates collection waits for the burst before, and the next one has not begun."""
  with monkeypatch.context() as patch:
    train = loops.Toy.train
    def slow(*args):
      time.sleep(0.15)
      return train(*args)
    patch.setattr(loops.Toy, 'train', slow)
    loops.signal_at(patch, loops.Toy, 'train', call)
    with pytest.raises(SystemExit):
      loops.start(tmp_path, *OVERLAP, '--parallel', 'none')
  loops.start(tmp_path, *OVERLAP, '--parallel', 'none')
  assert loops.saved(tmp_path)[UPDATES] == 14


def test_a_burst_that_gives_up_while_an_interrupt_is_handled_is_saved(toy, tmp_path, monkeypatch):
  train, prepare, step = loops.Toy.train, Learner.prepare, Driver._step
  calls, due, sent = [], [], threading.Event()
  def last(*args):
    calls.append(1)
    if len(calls) == 6:
      os.kill(os.getpid(), signal.SIGTERM)
      sent.set()
      time.sleep(0.3)
      raise GaveUp('another machine is gone')
    return train(*args)
  def look(learner, *args):
    batches = prepare(learner, *args)
    due.append(learner.updates + learner._values['owed'])
    return batches
  def after(*args):
    if due and due[-1] >= 6:  # the burst of the sixth update has begun
      assert sent.wait(60)
    return step(*args)
  monkeypatch.setattr(loops.Toy, 'train', last)
  monkeypatch.setattr(Learner, 'prepare', look)
  monkeypatch.setattr(Driver, '_step', after)
  flags = ['--overlap', True, '--parallel', 'none', '--eval_every', 200, '--steps', 300]
  with pytest.raises(GaveUp, match='another machine is gone') as end:
    loops.start(tmp_path, *flags)
  assert isinstance(end.value.__context__, Stop)
  assert loops.saved(tmp_path)[UPDATES] == 5


def test_overlap_without_collecting_is_refused(toy, tmp_path):
  with pytest.raises(loops.config_lib.UserError, match='overlap'):
    loops.start(tmp_path, *OVERLAP, '--offline', tmp_path / 'other')
