"""Machines that share batches: two processes, named by TF_CONFIG, make the run of one."""
import concurrent.futures as futures
import contextlib
import json
import os
import pathlib
import random
import signal
import socket
import struct
import subprocess
import sys
import time

import numpy as np
import pytest

import loops

from common import config as config_lib
from common.config import UserError
from common.loop import machines
from common.loop import wire

MACHINE = pathlib.Path(__file__).with_name('machine.py')
FLAGS = [*map(str, loops.BASE), '--batch_size', '4']
PICTURES = [
    '--task', 'dummy_continuous', '--cnn_keys', 'image', '--mlp_keys', 'vector', '--cnn_depth', '1',
    '--image_background', 'True']
ENDLESS = ['--steps', '1e6', '--train_steps', '1000000', '--log_every', '1']
SECONDS = 120
# Threads of two processes that wait for each other take the cores from both.
ENVIRON = {**os.environ, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''}


def tf_config(addresses, index=0, kind='worker'):
  """The variable for one of the machines."""
  return json.dumps({
      'cluster': {'worker': list(addresses)}, 'task': {'type': kind, 'index': index}})


def ports(count):
  """Ports of this machine whose successors are free, too.

  They are below those that connections begin at, or one might come to be both ends of itself.
  """
  below = pathlib.Path('/proc/sys/net/ipv4/ip_local_port_range')
  below = int(below.read_text().split()[0]) if below.exists() else 32768
  low, high = (10_000, below - 1) if below > 12_000 else (20_000, 60_000)
  found = []
  with contextlib.ExitStack() as stack:
    while len(found) < count:
      first = random.SystemRandom().randrange(low, high)  # others have a seed
      with contextlib.suppress(OSError):
        for port in (first, first + 1):
          stack.enter_context(socket.create_server(('', port)))
        found.append(first)
  return found


def begin(path, *flags):
  """Start two machines; the run is in path/run. Returns their processes."""
  addresses = [f'127.0.0.1:{port}' for port in ports(2)]
  return [
      subprocess.Popen(
          [sys.executable, MACHINE, path / f'{i}.npz', *FLAGS, '--machines', 'True', '--logdir',
           path / ('run' if i == 0 else 'none'), *flags],
          env={**ENVIRON, 'TF_CONFIG': tf_config(addresses, i)}, text=True,
          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
      for i in range(2)]


def end(processes):
  """Wait for both. Returns their (exit code, output)."""
  try:
    outputs = [process.communicate(timeout=SECONDS)[0] for process in processes]
    return [(process.returncode, output) for process, output in zip(processes, outputs)]
  finally:
    for process in processes:
      process.kill()


def until_updates(processes):
  """Wait until updates are made."""
  for line in processes[0].stdout:
    if 'an update' in line:
      return
  raise AssertionError(processes[0].wait())


def weights(file):
  with np.load(file) as arrays:
    return [arrays[key] for key in arrays.files]


@pytest.mark.integration
@pytest.mark.parametrize('ends', [
    ('80',), pytest.param(('80', '120'), marks=pytest.mark.slow)])
def test_two_machines_make_the_run_of_one(tmp_path, ends):
  one = tmp_path / 'one'
  for steps in ends:  # the second goes on with what the first machine has saved
    results = end(begin(tmp_path, '--steps', steps))
    assert [code for code, _ in results] == [0, 0], results
    subprocess.run(
        [sys.executable, MACHINE, tmp_path / 'one.npz', *FLAGS, '--logdir', one, '--steps', steps],
        check=True, env=ENVIRON, stdout=subprocess.DEVNULL)
    first, other, alone = (weights(tmp_path / f'{name}.npz') for name in ('0', '1', 'one'))
    assert all(map(np.array_equal, first, other))
    assert max(np.abs(a - b).max() for a, b in zip(first, alone, strict=True)) < 1e-5
  assert not (tmp_path / 'none').exists()
  for ours, theirs in zip(
      loops.rows(tmp_path / 'run', timeless=True), loops.rows(one, timeless=True), strict=True):
    assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-4)


@pytest.mark.integration
def test_all_machines_draw_on_the_picture_that_the_first_begins_with(tmp_path):
  results = end(begin(tmp_path, '--steps', '80', *PICTURES))
  assert [code for code, _ in results] == [0, 0], results
  first, other = (weights(tmp_path / f'{name}.npz') for name in '01')
  assert all(map(np.array_equal, first, other))
  background, = (x for x in first if x.shape == (64, 64, 3))
  assert np.abs(background).min() > 0.1  # the mean is far from the zeros that networks begin with


@pytest.mark.integration
@pytest.mark.parametrize('machine, number, codes', [
    (1, signal.SIGKILL, (1, -9)),
    pytest.param(0, signal.SIGTERM, (143, 0), marks=pytest.mark.slow),
    pytest.param(1, signal.SIGTERM, (1, 0), marks=pytest.mark.slow)])
def test_a_machine_that_ends_ends_the_run_which_is_saved(tmp_path, machine, number, codes):
  processes = begin(tmp_path, *ENDLESS)
  try:
    until_updates(processes)
    time.sleep(0.5)
    processes[machine].send_signal(number)
  except BaseException:
    for process in processes:
      process.kill()
    raise
  results = end(processes)
  assert tuple(code for code, _ in results) == codes, results
  assert ('Machine 1' in results[0][1] or 'A machine' in results[0][1]) == (machine == 1)
  saved = loops.saved(tmp_path / 'run')
  counts = [int(v) for k, v in saved.items() if 'agent/updates' in k or '/iter/' in k]
  assert len(counts) > 2 and min(counts) == max(counts) > 0, counts


@pytest.mark.parametrize('text', [
    None, '', '{}', '[]', tf_config(['a:1']), tf_config(['a:1', 'b:2'], 2), tf_config(['a', 'b']),
    tf_config(['a:1', 'b:2'], kind='ps'), tf_config([1, 2])])
def test_machines_that_are_not_named_are_refused(monkeypatch, text):
  monkeypatch.delenv('TF_CONFIG', raising=False)
  if text is not None:
    monkeypatch.setenv('TF_CONFIG', text)
  words = 'names 2 machines, but its index is 2' if text == tf_config(['a:1', 'b:2'], 2) else 'TF_CONFIG'
  with pytest.raises(UserError, match=words):
    machines.check(config_lib.load('dreamer', [*FLAGS, '--machines', 'True']))
  assert machines.check(config_lib.load('dreamer', FLAGS)) == 0


def test_a_batch_that_they_cannot_share_is_refused(monkeypatch):
  monkeypatch.setenv('TF_CONFIG', tf_config(['a:1', 'b:1', 'c:1'], 2))
  with pytest.raises(UserError, match='batch_size 4 .* 3 machines'):
    machines.check(config_lib.load('dreamer', [*FLAGS, '--machines', 'True']))
  assert machines.check(config_lib.load(
      'dreamer', [*FLAGS, '--machines', 'True', '--batch_size', '6'])) == 2


def test_who_is_no_machine_is_sent_away(monkeypatch, capsys):
  port, = ports(1)
  monkeypatch.setenv('TF_CONFIG', tf_config([f'127.0.0.1:{port}', 'b:1']))
  strangers = [b'GET / HTTP/1.1', struct.pack('>I', 0), struct.pack('>I', 2), struct.pack('>I', 1)]
  with futures.ThreadPoolExecutor(1) as pool:
    met = pool.submit(machines.First, config_lib.load('dreamer', FLAGS))
    others = [connected(port, words) for words in strangers]
    with met.result(30):
      assert [other.recv(4) != b'' for other in others[2:]] == [False, True]
  for other in others:
    other.close()
  assert capsys.readouterr().out.count('Waiting for b:1') == 1


def connected(port, said):
  """A connection to the first machine, that says which one it is, or some words."""
  until = time.monotonic() + 20
  while time.monotonic() < until:
    with contextlib.suppress(ConnectionRefusedError):
      other = socket.create_connection(('127.0.0.1', port + 1), 10)
      other.sendall(said if isinstance(said, bytes) else struct.pack('>I', said))
      return other
  raise AssertionError


def test_a_machine_that_is_started_again_before_all_are_there_is_taken(monkeypatch, capsys):
  port, = ports(1)
  monkeypatch.setenv('TF_CONFIG', tf_config([f'127.0.0.1:{port}', 'b:1', 'c:1']))
  with futures.ThreadPoolExecutor(1) as pool:
    met = pool.submit(machines.First, config_lib.load('dreamer', FLAGS))
    connected(port, 1).close()
    again = connected(port, 1)
    last = connected(port, 2)
    with met.result(30) as first:
      assert first._missing() == set()
      for other in (again, last):
        with other.makefile('rb') as file:
          assert wire.read(file)[0]['config']['agent'] == 'dreamer'
        other.close()
  assert 'b:1 has gone again' in capsys.readouterr().out


def test_a_machine_that_cannot_join_is_told_at_the_first(monkeypatch):
  port, = ports(1)
  monkeypatch.setenv('TF_CONFIG', tf_config([f'127.0.0.1:{port}', 'b:1']))
  for said, agrees in ((machines.FITS, True), (b'', False)):
    with futures.ThreadPoolExecutor(1) as pool:
      met = pool.submit(machines.First, config_lib.load('dreamer', FLAGS))
      other = connected(port, 1)
      with met.result(30) as first:
        other.sendall(said)
        if not agrees:
          other.close()
        with contextlib.nullcontext() if agrees else pytest.raises(UserError, match='b:1 does not join'):
          first.agree()
        other.close()


def test_a_connection_to_itself_is_none():
  port, = ports(1)
  create = socket.create_connection
  def both_ends(address, timeout):
    return create(address, timeout, source_address=address)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(socket, 'create_connection', both_ends)
    with pytest.raises(ConnectionRefusedError):
      wire.reach('127.0.0.1', port)
  with socket.create_server(('127.0.0.1', port)):  # the port is free again
    wire.reach('127.0.0.1', port).close()


def test_a_machine_that_is_sent_away_says_what_may_be_wrong(monkeypatch, capsys):
  port, = ports(1)
  monkeypatch.setenv('TF_CONFIG', tf_config([f'127.0.0.1:{port}', 'b:1'], 1))
  with socket.create_server(('127.0.0.1', port + 1)) as server, futures.ThreadPoolExecutor(1) as pool:
    pool.submit(lambda: server.accept()[0].close())
    with pytest.raises(UserError, match='another one has the index 1, too'):
      machines.follow(config_lib.load('dreamer', [*FLAGS, '--machines', 'True']))


def test_a_loss_that_tensorflow_finds_is_one_sentence():
  tf = pytest.importorskip('tensorflow')
  with pytest.raises(machines.Lost, match='is gone .* no update is made without it'):
    with machines.noticing_loss():
      raise tf.errors.UnavailableError(None, None, 'Collective ops is aborted by: Connection reset by peer')
