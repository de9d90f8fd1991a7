"""The benchmark of a whole GPU machine: parts that fail or take too long leave the others alone."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
import tensorflow as tf
import tf_keras

from common import benchmark
from common import config as config_lib
from common.bench import following
from common.bench import gpu
from common.bench import gpu_parts
from common.bench import schedule
from common.envs import dmc

WELL = 'print("for people"); print(\'{"a": 1}\')'


def part(name, code, share=0.05, **options):
  return schedule.Part(name, share, [sys.executable, '-c', code], **options)


def test_whatever_becomes_of_a_part_the_others_run_and_are_told(tmp_path, capfd):
  path = tmp_path / 'all.json'
  pid = tmp_path / 'pid'
  hang = (
      'import pathlib, subprocess, sys, time; print(\'{"b": 2}\', flush=True)\n'
      'child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(99)"])\n'
      f'pathlib.Path("{pid}").write_text(str(child.pid)); time.sleep(99)')
  told = 'import os, sys; print(\'{"c": "%s"}\' % (os.environ["X"] + sys.argv[1]))'
  seen = f'import json; print(json.dumps(json.load(open("{path}"))["parts"][-1]))'
  found = schedule.run([
      part('fails', WELL + '; raise ValueError("why")'), part('hangs', hang), part('sees', seen),
      part('goes on', hang, endless=True), part('is silent', 'import time; time.sleep(99)', endless=True),
      part('says too little', hang, endless=True, awaited=lambda row: 'fps' in row),
      part('has no time', WELL, share=0.0),
      schedule.Part('is told', 0, [sys.executable, '-c', told, schedule.SECONDS], environ={'X': 'x'}),
  ], 1.4, path, {'about': 'me'})
  assert json.loads(path.read_text()) == found and found['about'] == 'me'
  rows = {row['name']: row for row in found['parts']}
  status = {name: row['status'] for name, row in rows.items()}
  assert status == {
      'fails': 'failed', 'hangs': 'over its limit', 'sees': 'ok', 'goes on': 'ok', 'is silent': 'failed',
      'says too little': 'failed', 'has no time': 'skipped', 'is told': 'ok'}
  assert rows['fails']['problem'] == 'ValueError: why' and rows['fails']['rows'] == [{'a': 1}]
  assert rows['hangs']['rows'] == [{'b': 2}] and rows['hangs']['problem'] == 'over 4 s'
  assert rows['sees']['rows'][0]['name'] == 'hangs'  # the file is there after each
  # The rest of the time, but for that in which the last part may save.
  assert 1 < int(rows['is told']['rows'][0]['c'][1:]) <= 84 - 4 * 4 - schedule.GRACE
  assert rows['is silent']['problem'] == 'told nothing in 4 s'
  assert rows['says too little']['problem'] == 'told too little in 4 s' and rows['says too little']['rows']
  assert 'for people' in capfd.readouterr().out
  assert gone(pid.read_text())  # nor is anything left of it


def gone(pid):
  """Whether a process has ended; it may do so while one looks."""
  try:
    return pathlib.Path(f'/proc/{pid}/stat').read_text().split()[2] == 'Z'
  except (FileNotFoundError, ProcessLookupError):
    return True


def test_an_interrupt_ends_what_is_running_and_keeps_what_it_told(tmp_path, monkeypatch):
  monkeypatch.setattr(schedule, 'EVERY', 0.1)
  path = tmp_path / 'x.json'
  def interrupt(*args):
    write_file(*args)
    if args[1]['parts'][0]['rows']:  # it was written while the part runs
      raise KeyboardInterrupt
  write_file = schedule._replace
  monkeypatch.setattr(schedule, '_replace', interrupt)
  started = time.monotonic()
  with pytest.raises(KeyboardInterrupt):
    schedule.run([part('hangs', 'import time; print(\'{"b": 2}\', flush=True); time.sleep(99)')],
                 5, path, {})
  assert time.monotonic() - started < 20
  one, = json.loads(path.read_text())['parts']
  assert one['status'] == 'running' and one['rows'] == [{'b': 2}]


def test_a_part_whose_failure_others_can_or_cannot_do_without(tmp_path):
  told = 'import sys; print(\'{"c": "%s"}\' % sys.argv[1:])'
  def status(first, **options):
    last = schedule.Part('told', 0, [sys.executable, '-c', told, schedule.FLAGS, 'end'])
    found = schedule.run(
        [part('first', first, **options), last], 1, tmp_path / 'x.json', {})['parts'][1]
    return found.get('problem'), found['rows']
  fails, otherwise = 'raise ValueError', ['--jit', 'False']
  assert status(fails, needed=True) == ('first failed', [])
  assert status(WELL, needed=True, otherwise=otherwise) == (None, [{'c': "['end']"}])
  assert status(fails, otherwise=otherwise) == (None, [{'c': "['--jit', 'False', 'end']"}])
  slow = 'import time; time.sleep(99)'
  assert status(slow, share=0.04, otherwise=otherwise) == (None, [{'c': "['end']"}])


def test_a_part_may_take_what_it_needs_at_least(tmp_path):
  found = schedule.run(
      [part('first', WELL, least=30), part('last', WELL)], 1, tmp_path / 'x.json', {})['parts']
  assert found[0]['limit'] == 30 and found[1]['limit'] <= 60 - schedule.GRACE


def test_what_runs_does_not_outlive_a_schedule_that_is_killed(tmp_path):
  hang = f'import os, pathlib, time; pathlib.Path("{tmp_path}/pid").write_text(str(os.getpid())); time.sleep(99)'
  code = (
      'import pathlib, sys; from common.bench import schedule\n'
      f'schedule.run([schedule.Part("x", 1, [sys.executable, "-c", {hang!r}])], 5, pathlib.Path("{tmp_path}/x"), {{}})')
  with subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.DEVNULL) as process:
    wait_until(lambda: (tmp_path / 'pid').exists() and (tmp_path / 'pid').read_text())
    process.kill()
  wait_until(lambda: gone((tmp_path / 'pid').read_text()))


def wait_until(happened, seconds=30):
  ends = time.monotonic() + seconds
  while not happened():
    assert time.monotonic() < ends
    time.sleep(0.05)


def test_a_signal_ends_what_is_running(tmp_path, monkeypatch):
  monkeypatch.setattr(schedule, '_ends', lambda *args: os.kill(os.getpid(), signal.SIGTERM))
  before = signal.getsignal(signal.SIGTERM)
  with pytest.raises(SystemExit) as stop:
    schedule.run([part('hangs', 'import time; time.sleep(99)')], 5, tmp_path / 'x.json', {})
  assert stop.value.code == 143 and signal.getsignal(signal.SIGTERM) == before


def test_the_parts_are_commands_that_exist_and_leave_time_for_the_published_one(
    tmp_path, monkeypatch):
  parts = gpu.parts([], tmp_path)
  assert 0.1 < 1 - sum(part.share for part in parts) < 0.5
  assert parts[-1].name == 'published command' and parts[-1].endless
  for one in parts:
    if one.endless:
      assert one.awaited({'fps': 3}) and not one.awaited({'fps': 3, 'building': True})
      assert not one.awaited({'train/return': 3})
  for one in parts:
    if 'common.bench.gpu_parts' in one.argv:
      assert one.argv[3] in gpu_parts.PARTS
      blocks = one.argv[one.argv.index('--configs') + 1:]
      assert blocks in (['dmc', schedule.FLAGS], ['atari', 'dreamerv2', schedule.FLAGS])
  published = parts[-1].argv[parts[-1].argv.index('--logdir') + 2:-1]
  config = config_lib.load('dreamer', published)
  assert dict(config) == dict(config_lib.load('dreamer', ['--configs', 'dmc', '--task', gpu.TASK]))
  fixtures, = (one for one in parts if one.name == 'fixtures')
  assert len(fixtures.argv) > 40 and fixtures.environ == {'NVIDIA_TF32_OVERRIDE': '0'}
  monkeypatch.setattr(gpu, 'GOLDEN', tmp_path)  # an installed package has none
  assert len(gpu.parts([], tmp_path)) == len(parts) - 1


@pytest.mark.parametrize('argv, message', [
    (['--out', 'there.json'], 'there.json exists'), (['--out', 'x.json', '--minutes', '0'], 'above 0'),
    (['--out', 'there.json/x.json'], 'cannot be made'), (['--out', 'old.json'], 'old.json.runs exists'),
    (['--out', 'x.json', '--task=dmc_walker_walk'], 'chosen for each part'),
    (['--out', 'new/x.json', '--parts', 'loops'], "there is no 'loops'. There are: machine, xla"),
    (['--out', 'x.json', '--configs', 'dcm'], 'dmc')])
def test_mistakes_are_refused_before_anything_is_measured(tmp_path, monkeypatch, capsys, argv, message):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'there.json').touch()
  (tmp_path / 'old.json.runs').mkdir()
  monkeypatch.setattr(schedule, 'run', lambda *args: pytest.fail('it ran'))
  with pytest.raises(SystemExit) as stop:
    benchmark.main(['gpu', *argv])
  assert stop.value.code == 2 and message in capsys.readouterr().err
  assert sorted(path.name for path in tmp_path.iterdir()) == ['old.json.runs', 'there.json']


def test_the_command_runs_its_parts_and_tells_of_failures(tmp_path, monkeypatch):
  for code, expected in ((WELL, 0), ('raise ValueError', 1)):
    monkeypatch.setattr(gpu, 'parts', lambda flags, folder: [part(f'{folder.name} {flags}', code)])
    path = tmp_path / 'new' / f'{expected}.json'
    with pytest.raises(SystemExit) as stop:
      benchmark.main(['gpu', '--out', str(path), '--minutes', '1', '--seed', '3'])
    assert (stop.value.code or 0) == expected
    assert json.loads(path.read_text())['parts'][0]['name'] == (
        f"{expected}.json.runs ['--seed', '3']")


def rows(capsys, *argv):
  """What a part prints, run in this process."""
  gpu_parts.main(list(argv))
  return [json.loads(line) for line in capsys.readouterr().out.splitlines() if line[0] == '{']


@pytest.fixture
def settings_of_the_process():
  yield
  tf_keras.mixed_precision.set_global_policy('float32')
  tf.config.experimental.enable_tensor_float_32_execution(True)


def test_a_driver_that_fails_is_told(monkeypatch):
  monkeypatch.setattr(gpu_parts.subprocess, 'run', lambda *args, **options: (
      subprocess.CompletedProcess([], 9, 'NVIDIA-SMI has failed', '')))
  monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
  with pytest.raises(SystemExit, match='does not see the GPU: nvidia-smi fails .NVIDIA-SMI has failed.'):
    gpu_parts.main(['machine', '--seconds', '9'])


@pytest.mark.integration
def test_the_machine_is_described_and_draws(capsys):
  (about,), (pictures,), (compiled,) = (
      rows(capsys, part, '--seconds', '9', '--configs', 'dmc') for part in ('machine', 'pictures', 'xla'))
  assert compiled['result'] == pytest.approx(compiled['without'], rel=1e-2)
  assert about['tensorflow'] == tf.__version__ and isinstance(about['gpus'], list)
  assert pictures['decision_ms'] > 0
  assert pictures['software'] == dmc.draws_in_software(pictures['gl_renderer'])


@pytest.mark.integration
@pytest.mark.usefixtures('settings_of_the_process')
@pytest.mark.parametrize('agent, blocks', [
    ('dreamer', ['dmc', 'debug']), ('dreamer', ['atari', 'dreamerv2', 'debug']),
    ('plan2explore', ['dmc', 'debug'])])
def test_updates_are_timed_and_a_kind_that_fails_is_a_row(capsys, monkeypatch, agent, blocks):
  fail = [ValueError('why\nmore')]
  def forget():
    if fail:
      raise fail.pop()
  monkeypatch.setattr(gpu_parts, '_forget_memory', forget)
  assert gpu_parts.kinds(config_lib.load(agent, ['--configs', *blocks])) == [
      ('float32', False), ('float32', True)]
  monkeypatch.setattr(gpu_parts, 'kinds', lambda config: [('float32', False)] * 2)
  failed, row = rows(
      capsys, 'updates', '--agent', agent, '--seconds', '600', '--configs', *blocks)
  assert failed['problem'] == 'ValueError: why' and failed['arithmetic'] == 'float32'
  assert row['ms'] > 0 and row['burst_ms'] > 0 and row['first_call'] > 0 and row['traces'] == 1 and row['memory_gb'] > 0
  assert 0 < row['share'] and row['gflop'] > 0


@pytest.mark.integration
@pytest.mark.usefixtures('settings_of_the_process')
def test_arithmetics_are_compared_with_float32(capsys, monkeypatch):
  kinds = [('float32', False), ('float32', True), ('mixed_float16', False)]
  monkeypatch.setattr(gpu_parts, 'kinds', lambda config: kinds)
  plain, compiled, half = rows(capsys, 'agreement', '--seconds', '600', '--configs', 'dmc', 'debug')
  assert plain['apart'] == 0 and 0 < compiled['apart'] < 0.01 and 0 < half['apart'] < 0.2
  assert [(row['arithmetic'], row['jit']) for row in (plain, compiled, half)] == kinds


@pytest.mark.integration
def test_policies_are_timed(capsys):
  found = rows(capsys, 'policies', '--seconds', '1', '--configs', 'dmc', 'debug')
  assert [row['agent'] for row in found] == ['dreamer', 'plan2explore']
  assert all(row['ms'] > 0 for row in found)


@pytest.mark.integration
def test_searches_are_timed_and_a_kind_that_fails_is_a_row(capsys, monkeypatch):
  measure = gpu_parts.planning.measure
  def fails_with_xla(config, calls, kinds):
    if kinds == (True,):
      raise ValueError('no ptxas')
    return measure(config, calls, kinds)
  monkeypatch.setattr(gpu_parts.planning, 'measure', fails_with_xla)
  found, failed = rows(capsys, 'searches', '--seconds', '9', '--configs', 'dmc', 'debug')
  assert not found['jit'] and found['wall'] > 0 and found['share'] > 0
  assert failed['jit'] and failed['problem'] == 'ValueError: no ptxas'


def test_kinds_that_have_no_time_left_are_rows(capsys):
  found = rows(capsys, 'updates', '--seconds', '-1', '--configs', 'dmc', 'debug')
  assert [row['problem'] for row in found] == ['TimeoutError: no time was left'] * 2


@pytest.mark.parametrize('agent, first', [('dreamer', 'mixed_float16'), ('plan2explore', 'tf32')])
def test_what_runs_use_is_timed_first(monkeypatch, agent, first):
  monkeypatch.setattr(gpu_parts.devices, 'has_gpu', lambda: True)
  monkeypatch.setattr(
      gpu_parts.devices, 'setup',
      lambda c: c.replace(precision={'auto': 'mixed_float16'}.get(c.precision, c.precision)))
  found = gpu_parts.kinds(config_lib.load(agent, ['--configs', 'dmc']))
  assert found[:2] == [(first, False), (first, True)] and len(set(found)) == 6


@pytest.mark.parametrize('flags, jits', [
    ([], [False, True]), (['--jit', 'False'], [False]), (['--jit=True'], [True])])
def test_a_flag_says_whether_xla_compiles(capsys, flags, jits):
  found = rows(capsys, 'updates', '--seconds', '-1', '--configs', 'dmc', 'debug', *flags)
  assert [row['jit'] for row in found] == jits


def test_blocks_of_the_user_are_no_dreamerv2(tmp_path):
  names = lambda *flags: [part.name for part in gpu.parts(list(flags), tmp_path)]
  assert set(names()) - set(names('--configs', 'dmc', 'debug')) == {'updates of dreamerv2'}


def test_a_gpu_that_tensorflow_does_not_see_is_a_failure(capsys, monkeypatch):
  monkeypatch.setattr(gpu_parts, '_driver', lambda: '580.1, NVIDIA H200')
  monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
  with pytest.raises(SystemExit, match='TensorFlow does not see the GPU'):
    gpu_parts.main(['machine', '--seconds', '9'])
  monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '-1')
  assert rows(capsys, 'machine', '--seconds', '9')[-1]['driver'] == '580.1, NVIDIA H200'


def test_the_time_of_parts_that_are_left_out_goes_to_the_others(tmp_path):
  parts = gpu.parts([], tmp_path)
  def shares(*names):
    return {part.name: part.share for part in gpu._chosen(parts, names)}
  assert gpu._chosen(parts, None) == parts
  assert shares('machine', 'xla') == {'machine': 0.5, 'xla': 0.5}
  found = shares('loop', 'published command')
  assert list(found) == ['loop', 'published command'] and 0.4 < found['loop'] < 0.6


def test_the_rows_of_a_run_are_told_as_they_come(capsys, tmp_path):
  path = tmp_path / 'metrics.jsonl'
  found = following.Rows(path)
  found.tell()
  path.write_text('{"step": 10, "fps": 3, "agent/kl": 1}\n{"step": 20, "ti')
  found.tell()
  path.write_text('{"step": 10}\n{"step": 20, "time/env": 0.5}\n{"fps": 4}\n{"fps": 5}\n')
  found.tell()
  told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
  assert told == [
      {'step': 10, 'fps': 3, 'building': True}, {'step': 20, 'time/env': 0.5},
      {'fps': 4, 'building': True}, {'fps': 5}]


@pytest.mark.integration
def test_a_run_that_has_to_end_saves_and_counts_as_well(tmp_path, monkeypatch):
  """The real part in the real schedule, whose time is over once the run has told something."""
  ends, asked, path = schedule._ends, [], tmp_path / 'run' / 'metrics.jsonl'
  def once_told(process, seconds, *meanwhile):
    if asked:
      return ends(process, 200)
    asked.append(seconds)
    wait_until(lambda: path.exists() and b'\n' in path.read_bytes(), 200)
    return False
  monkeypatch.setattr(schedule, '_ends', once_told)
  one = schedule.Part('run', 1.0, schedule.python(
      'common.bench.following', '--seconds', schedule.SECONDS, '--logdir',
      str(tmp_path / 'run'), '--configs', 'debug', '--task', 'dummy_continuous_vector', '--cnn_keys', '',
      '--mlp_keys', 'vector', '--steps', '1e6'), endless=True)
  found = schedule.run([one], 10, tmp_path / 'x.json', {})
  row, = found['parts']
  assert row['status'] == 'ok' and row['rows'][0]['step'] == 100
  assert list((tmp_path / 'run' / 'checkpoint').glob('*.index'))
