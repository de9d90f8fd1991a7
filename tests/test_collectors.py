"""Collectors apart from the learner: the same run wherever they are, whatever happens to them."""
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from common import config as config_lib
from common.config import UserError
from common.data import episodes
from common.data.disk import DiskError
from common.data.driver import Driver
from common.data.faults import GaveUp
from common.envs import workers
from common.loop import collector
from common.loop import crew
from common.loop import parts
from common.loop import rounds
from common.loop import run
from common.loop import start as run_start

import loops

# Four environments of 10 decisions an episode; a barrier every 40 frames, which are 5 decisions.
FLAGS = [
    '--overlap', True, '--envs', 4, '--collectors', 2, '--train_every', 40, '--prefill', 80,
    '--steps', 400, '--eval_every', 160]
EPISODES = [(k, e, 11) for k in range(5) for e in range(4)]


@pytest.fixture
def toy(monkeypatch):
  """Runs with the small agent of `loops`."""
  loops.use_toy(monkeypatch.setattr)


@pytest.fixture
def near(toy, monkeypatch):
  """Collectors in this process."""
  monkeypatch.setattr(collector, 'alone', collector.Collector)
  monkeypatch.setattr(
      crew, 'local', lambda config, stopped: crew.Crew(
          config, lambda make: workers.make(make, 'none'), stopped=stopped))


def same_run(one, two):
  """Whether two directories hold the same weights, episodes and rows."""
  assert loops.same(loops.saved(one), loops.saved(two))
  assert loops.episodes(one) == loops.episodes(two)
  for k, e, rows in loops.episodes(one):
    name = f'episodes/{episodes.name(k, e, rows)}'
    assert (one / name).read_bytes() == (two / name).read_bytes()
  assert loops.rows(one, timeless=True) == loops.rows(two, timeless=True)
  return True


def test_a_run_is_the_same_again_however_rounds_are_cut(toy, tmp_path, monkeypatch):
  loops.start(tmp_path / 'one', *FLAGS)
  monkeypatch.setattr(crew, 'CHUNK', 2)
  loops.start(tmp_path / 'two', *FLAGS)
  assert loops.episodes(tmp_path / 'one') == EPISODES
  assert same_run(tmp_path / 'one', tmp_path / 'two')


def test_no_episode_is_random_at_first_and_the_agents_later(near, tmp_path, monkeypatch):
  pretrain, running = run.Run.pretrain, []
  monkeypatch.setattr(rounds.CrewRun, 'pretrain', lambda self: (
      running.append((self._crew.unfinished, self.frames)), pretrain(self)))
  loops.start(tmp_path, *FLAGS, '--prefill', 50, '--train_every', 24)
  assert running == [(0, 80)]


def test_weights_are_those_of_one_burst_ago_and_collectors_differ(near, tmp_path, monkeypatch):
  taken, acted, play = [], [], collector.Collector.play
  def spy(self, order):
    if not order.random:
      acted.append((self._index, order.calls, self._copy.weights.numpy().copy()))
    return play(self, order)
  monkeypatch.setattr(collector.Collector, 'play', spy)
  take = crew.Crew.take
  def spy_take(self):
    taken.append(self._agent.weights.numpy().copy())
    take(self)
  monkeypatch.setattr(crew.Crew, 'take', spy_take)
  loops.start(tmp_path, *FLAGS)
  assert [x[0] for x in acted] == [0, 1] * (len(acted) // 2)
  calls = [x[1] for x in acted[::2]]  # those of evaluations count, too
  assert calls == [x[1] for x in acted[1::2]] and set(np.diff(calls)) == {5, 15}
  for _, _, weights in acted:
    assert any(np.array_equal(weights, x) for x in taken)
  assert len({x[2].tobytes() for x in acted}) > 5
  assert loops.saved(tmp_path)['agent/calls/.ATTRIBUTES/VARIABLE_VALUE'] == calls[-1] + 15


@pytest.mark.parametrize('where, more', [
    ((loops.Toy, 'train', 13), []), ((Driver, '_step', 80), []),
    ((loops.Toy, 'train', 4), ['--train_every', 24])])  # barriers in the middle of episodes
def test_a_killed_run_ends_bit_identical(near, tmp_path, monkeypatch, where, more):
  flags = [*FLAGS, '--deterministic', True, *more]
  loops.start(tmp_path / 'whole', *flags)
  with monkeypatch.context() as patch:
    loops.kill_at(patch, *where)
    with pytest.raises(loops.Kill):
      loops.start(tmp_path / 'killed', *flags)
  loops.start(tmp_path / 'killed', *flags)
  assert same_run(tmp_path / 'whole', tmp_path / 'killed')


def test_an_interrupt_saves_what_was_played(near, tmp_path, monkeypatch, capsys):
  with monkeypatch.context() as patch:
    loops.signal_at(patch, collector.Collector, 'play', 13)
    with pytest.raises(SystemExit) as end:
      loops.start(tmp_path, *FLAGS)
  assert end.value.code == 128 + signal.SIGINT and 'saved at' in capsys.readouterr().out
  loops.start(tmp_path, *FLAGS)
  assert loops.rows(tmp_path)[-1]['step'] >= 400
  assert loops.episodes(tmp_path) == EPISODES


def test_a_collector_that_dies_is_begun_anew(toy, tmp_path, monkeypatch, capsys):
  play, rounds = crew.Crew.play, []
  def deadly(self, *args, **kwargs):
    rounds.append(None)
    if len(rounds) == 5:
      self._workers[1]._process.kill()
    return play(self, *args, **kwargs)
  monkeypatch.setattr(crew.Crew, 'play', deadly)
  loops.start(tmp_path, *FLAGS)
  assert {(k, e) for k, e, _ in loops.episodes(tmp_path)} >= {(k, e) for k in range(4) for e in range(4)}
  assert loops.rows(tmp_path, 'train/return')[-1]['collector/restarts'] == 1
  assert 'collector 1: a collector is gone: its process was ended by signal SIGKILL; begun anew' in (
      capsys.readouterr().out)


def test_collectors_that_always_die_end_the_run(near, tmp_path, monkeypatch):
  def gone(self, order):
    raise workers.Gone('a collector is gone')
  monkeypatch.setattr(collector.Collector, 'play', gone)
  monkeypatch.setattr(workers._Local, 'call', _call_with_promise)
  with pytest.raises(GaveUp, match='fault 11 in a row'):
    loops.start(tmp_path, *FLAGS)
  with pytest.raises(GaveUp, match='env_faults is stop'):
    loops.start(tmp_path, *FLAGS, '--env_faults', 'stop')


def _call_with_promise(self, method, *args):
  """As a worker elsewhere: failures come with the promise."""
  def wait():
    return 'result', workers._perform(self._object, method, args)
  return workers.Promise(wait)


def test_faults_in_collectors_are_told_and_counted(near, tmp_path, monkeypatch, capsys):
  reset, calls = run_start.envs.wrappers.TimeLimit.reset, []
  def faulty(self, *args, **kwargs):
    calls.append(None)
    if len(calls) == 9:
      raise ValueError('no such joint')
    return reset(self, *args, **kwargs)
  monkeypatch.setattr(run_start.envs.wrappers.TimeLimit, 'reset', faulty)
  loops.start(tmp_path, *FLAGS)
  said = capsys.readouterr().out
  assert 'raised ValueError: no such joint; built anew' in said
  assert f'see {tmp_path}/faults.log' in said
  assert 'no such joint' in (tmp_path / 'faults.log').read_text()
  assert loops.rows(tmp_path, 'train/return')[-1]['env/restarts'] == 1
  with pytest.raises(GaveUp, match='env_faults is stop'):
    calls.clear()
    loops.start(tmp_path / 'stop', *FLAGS, '--env_faults', 'stop')


def test_where_a_fault_ends_the_run_the_episodes_of_all_collectors_are_kept(near, tmp_path, monkeypatch):
  step, calls = run_start.envs.wrappers.TimeLimit.step, []
  def faulty(self, *args):
    calls.append(None)
    if len(calls) == 30:  # in the step that ends all first episodes, of the second environment
      raise ValueError('no such joint')
    return step(self, *args)
  monkeypatch.setattr(run_start.envs.wrappers.TimeLimit, 'step', faulty)
  with pytest.raises(GaveUp, match='no such joint; its episode is dropped'):
    loops.start(tmp_path, *FLAGS, '--env_faults', 'stop')
  assert loops.episodes(tmp_path) == [(0, 0, 11), (0, 2, 11), (0, 3, 11)]


def test_several_tasks_go_to_each_collector_whole(near, tmp_path):
  tasks = 'dummy_continuous_vector,dummy_terminal_vector'
  loops.start(tmp_path, *FLAGS, '--tasks', tasks)
  counts = {}
  for _, e, _ in loops.episodes(tmp_path):
    counts[e] = counts.get(e, 0) + 1
  assert sorted(counts) == list(range(8)) and max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.parametrize('flags, said', [
    (['--overlap', False], 'Pass --overlap True'),
    (['--envs', 3], 'Pass --envs 4'),
    (['--act_on', 'gpu'], 'Pass --act_on auto'),
    (['--collectors', 0, '--ray', 'local'], 'Pass --collectors 2'),
])
def test_what_collectors_cannot_do_is_refused(tmp_path, flags, said):
  with pytest.raises(loops.config_lib.UserError, match=said):
    loops.config(tmp_path, *FLAGS, *flags)


def train(path, *flags):
  """Arguments of a training process with the real agent."""
  return [
      sys.executable, '-m', 'dreamer.train', *map(str, loops.BASE), '--logdir', str(path),
      *map(str, FLAGS), *map(str, flags)]


def test_a_cluster_that_does_not_answer_is_told_at_once(tmp_path):
  pytest.importorskip('ray')
  began = time.monotonic()
  result = subprocess.run(
      train(tmp_path / 'run', '--ray', '127.0.0.1:1'), capture_output=True, text=True, check=False)
  assert result.returncode == 2 and time.monotonic() - began < 10
  assert result.stderr.startswith('config: no Ray cluster at --ray 127.0.0.1:1 (')
  assert not (tmp_path / 'run').exists()


def wait_for_cpus(address, count):
  """Return when a cluster has so many CPUs; a process of its own looks, to join nothing here."""
  code = (
      'import os, sys, ray; ray.init(sys.argv[1], log_to_driver=False, logging_level="ERROR"); '
      'sys.exit(ray.cluster_resources().get("CPU", 0) < int(sys.argv[2]))')
  for _ in range(30):
    look = [sys.executable, '-c', code, address, str(count)]
    if not subprocess.run(look, capture_output=True, check=False).returncode:
      return
    time.sleep(1)
  pytest.fail('the cluster did not start')


@pytest.fixture
def nodes(tmp_path, monkeypatch):
  """Address of a Ray cluster of two nodes with a CPU each."""
  pytest.importorskip('ray')
  monkeypatch.setenv('RAY_AUTH_MODE', 'disabled')
  with socket.create_server(('127.0.0.1', 0)) as server:
    address = f'127.0.0.1:{server.getsockname()[1]}'
  ray = [os.path.join(os.path.dirname(sys.executable), 'ray'), 'start', '--num-cpus', '1',
         '--object-store-memory', '100000000', '--block']
  head = ['--head', '--port', address.split(':')[1], '--include-dashboard=false']
  started = []
  try:
    with (tmp_path / 'ray.log').open('w') as log:
      for own in (head, ['--address', address]):
        started.append(subprocess.Popen([*ray, *own], stdout=log, stderr=log, start_new_session=True))
        wait_for_cpus(address, len(started))
    yield address
  finally:
    for process in started[::-1]:
      process.terminate()
    for process in started:
      process.wait(60)


def test_two_nodes_of_a_cluster_make_the_run_of_local_processes(nodes, tmp_path, monkeypatch):
  with subprocess.Popen(train(tmp_path / 'local')) as local:
    subprocess.run(train(tmp_path / 'ray', '--ray', nodes), check=True)
  assert local.returncode == 0
  assert same_run(tmp_path / 'local', tmp_path / 'ray')


@pytest.mark.slow
def test_a_collector_that_dies_on_a_node_is_begun_anew(nodes, tmp_path, monkeypatch, capsys):
  play, rounds = crew.Crew.play, []
  def deadly(self, *args, **kwargs):
    rounds.append(None)
    if len(rounds) == 5:
      self._workers[1]._ray.kill(self._workers[1]._actor)
    return play(self, *args, **kwargs)
  monkeypatch.setattr(crew.Crew, 'play', deadly)
  loops.start(tmp_path, *FLAGS, '--ray', nodes)
  assert loops.rows(tmp_path, 'train/return')[-1]['collector/restarts'] == 1
  assert 'collector 1: a collector is gone' in capsys.readouterr().out


class Builds:
  """A worker that is still at what it was told first."""

  def __init__(self):
    self.told = []

  def call(self, method, *args):
    self.told.append(method)
    return workers.Promise(lambda: ('result', None), ready=lambda seconds: False)


def test_a_run_that_is_asked_to_end_does_not_wait_for_collectors_that_are_built(monkeypatch):
  monkeypatch.setattr(crew, 'POLL', 0.01)
  config = config_lib.load('dreamer', [*map(str, loops.BASE), *map(str, FLAGS)])
  asked = []
  team = crew.Crew(config, lambda make: Builds(), stopped=lambda: asked.append(None) or len(asked) > 2)
  team.follow(loops.Toy)
  monkeypatch.setattr(crew.acting, 'weights', lambda agent: [])
  team.build(loops.Toy, config)
  team.take()
  assert len(asked) == 3 and [worker.told for worker in team._workers] == [['build']] * 2
  def check():
    raise KeyboardInterrupt
  with pytest.raises(KeyboardInterrupt):
    team._restart(1, check)


def test_collectors_end_at_the_same_time(monkeypatch):
  config = config_lib.load('dreamer', [*map(str, loops.BASE), *map(str, FLAGS)])
  together = threading.Barrier(2, timeout=20)
  class Slow(Builds):
    def close(self):
      together.wait()
  crew.Crew(config, lambda make: Slow()).close()
  assert not together.broken


def test_an_interrupt_while_a_run_is_built_has_its_exit_code(toy, tmp_path, monkeypatch, capsys):
  def build(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGTERM)
    assert kwargs['stopped']()
    raise UserError('asked to end')
  monkeypatch.setattr(parts, 'build', build)
  with pytest.raises(SystemExit) as end:
    loops.start(tmp_path, *FLAGS)
  assert end.value.code == 143 and 'SIGTERM: asked to end' in capsys.readouterr().err


def test_a_burst_that_nobody_would_keep_is_not_waited_for(toy, tmp_path, monkeypatch):
  made, train = [], loops.Toy.train
  def slow(self, data, frames=0):
    made.append(None)
    time.sleep(0.005)
    return train(self, data, frames)
  monkeypatch.setattr(loops.Toy, 'train', slow)
  loops.kill_at(monkeypatch, Driver, '_step', 45, error=DiskError(tmp_path, OSError(28, 'No space left on device')))
  with pytest.raises(DiskError):
    loops.start(tmp_path, '--overlap', True, '--train_steps', 5000, '--pretrain', 1)
  assert len(made) < 2000
