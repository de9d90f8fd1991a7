"""Full disks: a run waits for what it needs, goes on without the rest, and ends with all it had."""
import contextlib
import errno
import functools
import json
import os
import pathlib
import resource
import signal
import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from common import config as config_lib
from common.config import UserError
from common.data import disk
from common.data import episodes
from common.data import replay
from common.loop import checkpoint
from common.loop import logdir
from common.loop import logger
from common.loop.logger import Logger
import loops
import own
from test_faults import odd

# What has to be written, the function that does so, and a call of it in the middle of a run.
NEEDED = [
    (episodes, 'write', 3), (Logger, '_append', 6), (checkpoint.Checkpoint, '_write', 2),
    (logdir, 'save_run', 3)]
EACH = pytest.mark.parametrize(
    'owner, name, call', NEEDED, ids=['episode', 'metrics', 'checkpoint', 'run.json'])
PAUSE = 'The run needs'


@pytest.fixture
def toy(monkeypatch):
  """Runs of the toy, which try again soon."""
  loops.use_toy(monkeypatch.setattr)
  monkeypatch.setattr(disk, 'EVERY', 0.05)


@pytest.fixture(scope='module')
def calm(tmp_path_factory):
  """Directory of a run that nothing disturbs."""
  path = tmp_path_factory.mktemp('calm') / 'run'
  with pytest.MonkeyPatch.context() as patch:
    loops.use_toy(patch.setattr)
    loops.start(path)
  return path


@contextlib.contextmanager
def full(size=5):
  """Within, no file of this process grows beyond so many bytes."""
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def refuse(monkeypatch, path, owner, name, first, last=10 ** 9):
  """Let the disk be full during some calls of a function.

  An episode is small enough for the limit at times, so it meets an error of the same kind.
  """
  original, calls, lock = getattr(owner, name), [0], threading.Lock()
  def function(*args):
    with lock:
      calls[0] += 1
      number = calls[0]
    if not first <= number <= last:
      return original(*args)
    if name == 'write':
      with monkeypatch.context() as patch:
        patch.setattr(os, 'fsync', no_room)
        return original(*args)
    # Half of a line fits.
    size = (path / 'metrics.jsonl').stat().st_size if name == '_append' else 0
    with full(size + 5):
      return original(*args)
  monkeypatch.setattr(owner, name, function)
  return calls


def once_it_waits(monkeypatch, function, *args):
  """Call a function, from another thread, a moment after a run has begun to wait for the disk."""
  rest, begun = disk.Disk._rest, []
  def later(self, seconds):
    if not begun:
      begun.append(threading.Timer(0.1, function, args))
      begun[0].start()
    return rest(self, seconds)
  monkeypatch.setattr(disk.Disk, '_rest', later)


def no_room(*_):
  raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def files(path):
  """Names of all that a run left, but for those of TensorBoard, and how many of those."""
  names = [str(x.relative_to(path)) for x in path.rglob('*')]
  events = [name for name in names if name.startswith('events')]
  return sorted(set(names) - set(events)), len(events)


def contents(path):
  """Episodes byte by byte, metrics without clocks, and the newest checkpoint."""
  stored = {x.name: x.read_bytes() for x in (path / 'episodes').iterdir()}
  return stored, loops.rows(path, timeless=True), loops.saved(path)


def alike(one, two):
  """Whether two runs left the same, to the bit."""
  (stored, rows, saved), (stored2, rows2, saved2) = contents(one), contents(two)
  return stored == stored2 and rows == rows2 and loops.same(saved, saved2)


def whole(path):
  """Whether all rows, episodes and the newest checkpoint can be read."""
  for line in (path / 'metrics.jsonl').read_bytes().splitlines(keepends=True):
    assert line.endswith(b'\n') and json.loads(line)
  for file, (_, _, rows) in episodes.named(path / 'episodes'):
    assert episodes.read(file, rows)[1] == ''
  assert not episodes.strangers(path / 'episodes') and not list(path.glob('episodes/.*'))
  return bool(loops.saved(path))


def code(function):
  """Exit code of a command that calls a function."""
  with pytest.raises(SystemExit) as stop:
    config_lib.entry(lambda argv: function())([])
  return stop.value.code


@EACH
def test_a_run_that_had_to_wait_ends_like_one_that_had_not(
    toy, calm, tmp_path, monkeypatch, capsys, owner, name, call):
  one, two = calm, tmp_path / 'run'
  with monkeypatch.context() as patch:
    calls = refuse(patch, two, owner, name, call, call + 2)
    loops.start(two)
  assert calls[0] >= call + 3
  out = capsys.readouterr().out
  assert out.count(PAUSE) == out.count('is written. The run goes on.') == 1
  assert 'tries again every 0.05 s for 10 min' in out
  assert files(one) == files(two)
  assert alike(one, two)


@EACH
def test_a_run_gives_up_in_the_end_and_goes_on_later(
    toy, calm, tmp_path, monkeypatch, capsys, owner, name, call):
  one, two = calm, tmp_path / 'run'
  with monkeypatch.context() as patch:
    calls = refuse(patch, two, owner, name, call)
    started = time.monotonic()
    assert code(lambda: loops.start(two, '--deterministic', True, '--disk_wait', 1)) == 2
    # A checkpoint takes its time before it fails.
    assert time.monotonic() - started > 1 and calls[0] > call + (1 if name == 'save' else 3)
  said = capsys.readouterr()
  assert said.out.count(PAUSE) == 1 and 'for 1 s.' in said.out and 'goes on' not in said.out
  assert said.err.count('\n') == 1 and 'then start the same command again' in said.err
  assert 'cannot be written (' in said.err and str(two) in said.err
  assert whole(two)
  before = {x: x.read_bytes() for x in (two / 'episodes').iterdir()}
  loops.start(two, '--deterministic', True)
  assert all(x.read_bytes() == content for x, content in before.items())
  assert alike(one, two)


@EACH
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_pause(
    toy, tmp_path, monkeypatch, capsys, owner, name, call, number):
  monkeypatch.setattr(disk, 'EVERY', 30.0)
  since = []
  def interrupt():
    since.append(time.monotonic())
    os.kill(os.getpid(), number)
  once_it_waits(monkeypatch, interrupt)
  refuse(monkeypatch, tmp_path, owner, name, call)
  assert code(lambda: loops.start(tmp_path)) == 128 + number
  assert time.monotonic() - since[0] < 20 and disk.LOOK < 1  # seconds between two looks
  out, err = capsys.readouterr()
  assert out.count(PAUSE) == 1 and 'saved at' not in out and not err
  assert out.splitlines()[-1].startswith(f'{number.name}: {tmp_path}')
  assert 'cannot be written (' in out.splitlines()[-1]


@EACH
def test_an_interrupt_after_room_was_made_saves(
    toy, tmp_path, monkeypatch, capsys, owner, name, call):
  monkeypatch.setattr(disk, 'EVERY', 30.0)
  once_it_waits(monkeypatch, os.kill, os.getpid(), signal.SIGTERM)
  refuse(monkeypatch, tmp_path, owner, name, call, call)
  assert code(lambda: loops.start(tmp_path)) == 143
  out = capsys.readouterr().out
  assert out.count('is written. The run goes on.') == 1 and 'SIGTERM: saved at' in out
  assert whole(tmp_path)


def test_ctrl_c_twice_ends_a_pause_at_once(toy, tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(disk, 'EVERY', 30.0)
  monkeypatch.setattr(disk, 'LOOK', 60.0)  # so long the first is not seen
  def twice():
    for _ in range(2):
      os.kill(os.getpid(), signal.SIGINT)
      time.sleep(0.1)
  once_it_waits(monkeypatch, twice)
  refuse(monkeypatch, tmp_path, episodes, 'write', 3)
  started = time.monotonic()
  assert code(lambda: loops.start(tmp_path)) == 130
  assert time.monotonic() - started < 25 and 'Interrupted.' in capsys.readouterr().err


def test_what_is_optional_ends_no_run_and_is_said_once(calm, tmp_path, monkeypatch, capsys):
  loops.use_toy(monkeypatch.setattr, curve=True)
  one, two = calm, tmp_path / 'run'
  (two / 'curve.png').mkdir(parents=True)  # nothing can be renamed to that
  write = logger.TensorBoard._write
  def torn(self, step, summary):
    with full():
      write(self, step, summary)
  with monkeypatch.context() as patch:
    patch.setattr(logger.TensorBoard, '_write', torn)
    loops.write_at_once(patch.setattr)  # the limit is that of all threads
    loops.start(two)
  out = capsys.readouterr().out
  assert out.count('The run goes on without.') == 2 and PAUSE not in out
  assert 'curve.png cannot be written (Is a directory). The run goes on without.\n' in out
  assert 'TensorBoard files cannot be written (File too large). The run goes on without.\n' in out
  assert alike(one, two)
  assert not [x for x in two.iterdir() if x.name.startswith('.') and x.name != '.lock']


def test_tracebacks_are_optional(toy, tmp_path, monkeypatch, capsys):
  (tmp_path / 'faults.log').symlink_to('/dev/full')
  monkeypatch.setattr(own, 'Fault', functools.partial(odd, 'raises'), raising=False)
  loops.start(tmp_path, '--configs', 'gym', 'debug', '--task', 'py_own:Fault', '--eval_episodes', 0)
  out = capsys.readouterr().out
  assert out.count('Tracebacks cannot be written (No space left on device)') == 1
  assert out.count('built anew') > 1 and 'see ' not in out
  assert loops.rows(tmp_path)[-1]['step'] == 120


def test_events_before_and_after_a_full_disk_can_be_read(tmp_path, capsys):
  log = Logger(tmp_path, disk=disk.Disk())
  log.write(1, {'a': 1}, 'train')
  with full(size=100):
    for step in (2, 3):
      log._disk.attempt(logger.BOARD, log._tensorboard().scalars, step, {'a': step})
  for step in (4, 5):
    log.write(step, {'a': step}, 'train')
  log.close()
  found = []
  for file in sorted(tmp_path.glob('events*'), key=lambda x: int(x.name.split('.')[-2])):
    assert file.stat().st_size
    with contextlib.suppress(tf.errors.DataLossError):  # where the disk was full
      for record in tf.data.TFRecordDataset([str(file)]):
        event = tf.compat.v1.Event.FromString(record.numpy())
        found += [event.step for _ in event.summary.value]
  assert found == [1, 4, 5]
  assert capsys.readouterr().out.count('goes on without') == 1


class Tape:
  """A file of a disk, and what was said of it."""

  def __init__(self, failures, seconds=60, stopped=lambda: False):
    self.failures, self.said, self.calls = failures, [], 0
    self.disk = disk.Disk(seconds, self.said.append, stopped)

  def write(self, value=None):
    """Fail so many times."""
    self.calls += 1
    if self.calls <= self.failures:
      raise disk.DiskError('/d/file', OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 2_500_000)
    return value


def test_one_sentence_tells_of_a_pause_and_one_of_its_end(toy):
  tape = Tape(3)
  assert tape.disk.insist(tape.write, 7) == 7 and tape.calls == 4
  assert tape.said == [
      '/d/file: cannot be written (No space left on device). The run needs up to 2.5 MB of room '
      'there: it waits, and tries again every 0.05 s for 60 s.',
      '/d/file: is written. The run goes on.']


def test_without_patience_an_error_is_one_at_once(toy):
  tape = Tape(1, seconds=0)
  with pytest.raises(UserError, match='/d/file: cannot be written .* make room, then start the'):
    tape.disk.insist(tape.write)
  assert tape.calls == 1 and not tape.said


def test_a_run_that_was_asked_to_end_does_not_begin_to_wait():
  tape = Tape(1, stopped=lambda: True)
  with pytest.raises(disk.DiskError):
    tape.disk.insist(tape.write)
  assert tape.calls == 1 and not tape.said


def test_mistakes_are_not_waited_for(toy):
  tape = Tape(0)
  for error in (UserError('no'), KeyError('no')):
    def fail():
      raise error
    with pytest.raises(type(error)):
      tape.disk.insist(fail)
  assert not tape.said


class Clock(threading.Event):
  """An event, and a clock that goes on only while the event is waited for."""
  now = 0.0

  def monotonic(self):
    return self.now

  def wait(self, seconds):
    self.now += seconds
    return self.is_set()


def test_the_last_attempt_is_at_the_end_of_the_time(monkeypatch):
  monkeypatch.setattr(disk, 'EVERY', 0.25)
  tape, clock = Tape(100, seconds=0.625), Clock()
  tape.disk._over = clock
  monkeypatch.setattr(disk, 'time', clock)
  with pytest.raises(disk.DiskError):
    tape.disk.insist(tape.write)
  assert clock.now == 0.625 and tape.calls == 4
  # Nothing else waits then, for the run ends.
  with pytest.raises(disk.DiskError):
    tape.disk.insist(tape.write)
  assert tape.calls == 5 and len(tape.said) == 1


def test_threads_that_wait_together_are_one_pause(toy):
  tape = Tape(9)
  threads = [threading.Thread(target=tape.disk.insist, args=[tape.write]) for _ in range(3)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert len(tape.said) == 2 and tape.said[1].endswith('goes on.')


def test_the_end_of_a_run_ends_waiting_threads():
  tape, errors = Tape(100), []
  def wait():
    try:
      tape.disk.insist(tape.write)
    except disk.DiskError as error:
      errors.append(error)
  thread = threading.Thread(target=wait)
  thread.start()
  while not tape.said:
    time.sleep(0.01)
  tape.disk.end()
  thread.join(60)
  assert len(errors) == 1 and tape.calls == 2


@pytest.mark.parametrize('number, need, remedy', [
    (errno.ENOSPC, 'room', 'make room'), (errno.EDQUOT, 'room', 'make room'),
    (errno.EROFS, 'to write', 'mend that'), (errno.EIO, 'to write', 'mend that')])
def test_what_is_needed_is_said(number, need, remedy):
  for error in (
      OSError(number, os.strerror(number)),
      tf.errors.UnknownError(None, None, f'/d/x; {os.strerror(number)}\n\tCould not flush.')):
    refused = disk.DiskError('/d/x', error)
    assert refused.reason == os.strerror(number)
    assert need in refused.need and remedy in str(refused) and '\n' not in str(refused)


def test_lines_are_appended_whole_or_not_at_all(tmp_path):
  path = tmp_path / 'metrics.jsonl'
  path.write_bytes(b'one\ntw')
  with path.open('a+b', buffering=0) as file:
    disk.append(file, b'two\n')
    assert path.read_bytes() == b'one\ntwo\n'
    with full(size=12), pytest.raises(OSError):
      disk.append(file, b'three and more\n')
    assert path.read_bytes() == b'one\ntwo\n'
    disk.append(file, b'three\n')
  assert path.read_bytes() == b'one\ntwo\nthree\n'


def test_a_torn_line_that_could_not_be_cut_is_cut_by_the_next_row(toy, tmp_path, monkeypatch):
  log = Logger(tmp_path, disk=disk.Disk(60, lambda text: None))
  log.write(1, {}, 'train')
  size = (tmp_path / 'metrics.jsonl').stat().st_size
  with monkeypatch.context() as patch, full(size + 5):
    patch.setattr(os, 'ftruncate', no_room)
    with pytest.raises(disk.DiskError):
      log._append(b'{"step": 2}\n')
  assert (tmp_path / 'metrics.jsonl').read_bytes().endswith(b'\n{"ste')
  log.write(2, {}, 'train')
  assert [row['step'] for row in loops.rows(tmp_path)] == [1, 2] and log.rows == 2


def test_pruning_waits_for_its_list(toy, tmp_path, monkeypatch):
  said, opened, count = [], pathlib.Path.open, [0]
  store = replay.Replay(
      tmp_path, 2, capacity=40, prune_disk=True, disk=disk.Disk(60, said.append))
  def refusing(self, *args, **kwargs):
    if self.name == episodes.PRUNED:
      count[0] += 1
      if count[0] <= 2:
        no_room()
    return opened(self, *args, **kwargs)
  monkeypatch.setattr(pathlib.Path, 'open', refusing)
  data = {'action': np.zeros((11, 1)), 'reward': np.zeros(11), 'discount': np.ones(11)}
  for k in range(4):
    store.add(data, k, 0)
  assert len(said) == 2 and 'pruned.txt' in said[0] and store.frames == 80
  again = replay.Replay(tmp_path, 2, capacity=40)
  assert (again.frames, again.episodes) == (80, 4)
  assert len(episodes.named(tmp_path)) == 2


def test_a_failed_checkpoint_gives_its_room_back(toy, tmp_path):
  class Agent(tf.Module):
    optimizers = dict
  agent = Agent()
  agent.value = tf.Variable(np.random.default_rng(0).normal(size=10_000))
  saver = checkpoint.Checkpoint(tmp_path, agent, checkpoint.Progress())
  for _ in range(3):
    saver.save()
  before = {x.name: x.read_bytes() for x in tmp_path.iterdir()}
  for limit in (5, 10_000, 79_000):
    with full(limit), pytest.raises(disk.DiskError, match='File too large') as error:
      saver.save()
    assert 'MB of room' in error.value.need
    assert before == {x.name: x.read_bytes() for x in tmp_path.iterdir()}
  (tmp_path / 'ckpt-2_temp').mkdir()  # as of a process that was killed
  saver.save()
  assert sorted(x.name for x in tmp_path.iterdir()) == [
      'checkpoint', 'ckpt-3.data-00000-of-00001', 'ckpt-3.index', 'ckpt-4.data-00000-of-00001',
      'ckpt-4.index']
