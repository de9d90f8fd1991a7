"""The benchmark of a whole GPU machine: parts that fail or take too long leave the others alone."""
import json
import os
import pathlib
import signal
import sys
import time

import pytest
import tensorflow as tf
import tf_keras

from common import benchmark
from common import config as config_lib
from common.bench import gpu
from common.bench import gpu_parts
from common.bench import schedule
from common.envs import dmc

WELL = 'print("for people"); print(\'{"a": 1}\')'


def part(name, code, share=0.1, **options):
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
      part('goes on', hang, endless=True), part('has no time', WELL, share=0.0),
      schedule.Part('is told', 0, [sys.executable, '-c', told, schedule.SECONDS], environ={'X': 'x'}),
  ], 0.5, path, {'about': 'me'})
  assert json.loads(path.read_text()) == found and found['about'] == 'me'
  rows = {row['name']: row for row in found['parts']}
  status = {name: row['status'] for name, row in rows.items()}
  assert status == {
      'fails': 'failed', 'hangs': 'over its limit', 'sees': 'ok', 'goes on': 'ok',
      'has no time': 'skipped', 'is told': 'ok'}
  assert rows['fails']['problem'] == 'ValueError: why' and rows['fails']['rows'] == [{'a': 1}]
  assert rows['hangs']['rows'] == [{'b': 2}] and rows['hangs']['problem'] == 'over 3 s'
  assert rows['sees']['rows'][0]['name'] == 'hangs'  # the file is there after each
  # The rest of the time, but for that in which the last part may save.
  assert 1 < int(rows['is told']['rows'][0]['c'][1:]) <= 24 - schedule.GRACE
  assert 'for people' in capfd.readouterr().out
  stat = pathlib.Path(f'/proc/{pid.read_text()}/stat')
  assert not stat.exists() or stat.read_text().split()[2] == 'Z'  # nor is anything left of it


def test_an_interrupt_ends_what_is_running(tmp_path, monkeypatch):
  monkeypatch.setattr(schedule, '_ends', lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
  started = time.monotonic()
  with pytest.raises(KeyboardInterrupt):
    schedule.run([part('hangs', 'import time; time.sleep(99)')], 5, tmp_path / 'x.json', {})
  assert time.monotonic() - started < 20


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
    if 'common.bench.gpu_parts' in one.argv:
      assert one.argv[3] in gpu_parts.PARTS
      blocks = one.argv[one.argv.index('--configs') + 1:]
      assert blocks in (['dmc'], ['atari', 'dreamerv2'])
  published = parts[-1].argv[one.argv.index('--logdir') + 2:]
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


@pytest.mark.integration
def test_the_machine_is_described_and_draws(capsys):
  about, pictures = rows(capsys, 'machine', '--seconds', '9', '--configs', 'dmc')
  assert about['tensorflow'] == tf.__version__ and isinstance(about['gpus'], list)
  assert pictures['decision_ms'] > 0
  assert pictures['software'] == dmc.draws_in_software(pictures['gl_renderer'])


@pytest.mark.integration
@pytest.mark.usefixtures('settings_of_the_process')
@pytest.mark.parametrize('agent, blocks', [
    ('dreamer', ['dmc', 'debug']), ('dreamer', ['atari', 'dreamerv2', 'debug'])])
def test_updates_are_timed_and_a_kind_that_fails_is_a_row(capsys, monkeypatch, agent, blocks):
  fail = [ValueError('why\nmore')]
  def forget():
    if fail:
      raise fail.pop()
  monkeypatch.setattr(gpu_parts, '_forget_memory', forget)
  monkeypatch.setattr(gpu_parts, 'XLA', (True, False))
  failed, row = rows(
      capsys, 'updates', '--agent', agent, '--seconds', '1', '--configs', *blocks)
  assert failed['problem'] == 'ValueError: why' and failed['arithmetic'] == 'float32'
  assert row['ms'] > 0 and row['first_call'] > 0 and row['traces'] == 1 and row['memory_gb'] > 0
  assert ('share' in row) == ('dreamerv2' not in blocks)


@pytest.mark.integration
def test_policies_are_timed(capsys):
  found = rows(capsys, 'policies', '--seconds', '1', '--configs', 'dmc', 'debug')
  assert [row['agent'] for row in found] == ['dreamer', 'plan2explore']
  assert all(row['ms'] > 0 for row in found)


def test_the_rows_of_a_run_are_told_as_they_come(capsys, tmp_path):
  path = tmp_path / 'metrics.jsonl'
  assert gpu_parts._tell(path, 0) == 0
  path.write_text('{"step": 10, "fps": 3, "agent/kl": 1}\n')
  assert gpu_parts._tell(path, 0) == 1
  path.write_text(path.read_text() + '{"step": 20, "time/env": 0.5}\n')
  assert gpu_parts._tell(path, 1) == 2
  told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
  assert told == [{'step': 10, 'fps': 3}, {'step': 20, 'time/env': 0.5}]


@pytest.mark.integration
def test_a_run_that_has_to_end_saves_and_counts_as_well(tmp_path):
  """The real part in the real schedule, ended when its time is over."""
  one = schedule.Part('run', 1.0, schedule.python(
      'common.bench.gpu_parts', 'run', '--seconds', schedule.SECONDS, '--logdir',
      str(tmp_path / 'run'), '--configs', 'debug', '--task', 'dummy_continuous_vector', '--cnn_keys', '',
      '--mlp_keys', 'vector', '--steps', '1e6'), endless=True)
  found = schedule.run([one], 0.55, tmp_path / 'x.json', {})
  row, = found['parts']
  assert row['status'] == 'ok' and row['rows'][0]['step'] == 100
  assert list((tmp_path / 'run' / 'checkpoint').glob('*.index'))
