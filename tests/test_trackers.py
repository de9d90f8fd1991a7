"""Trackers are told what TensorBoard is told, go on with a resumed run, and never end one."""
import importlib.util
import json
import struct
import threading

import pytest

from common import config as config_lib
from common.config import UserError
from common.loop import trackers
from common.scores import curves
import loops

WORLD = (
    '--task', 'dummy_continuous', '--cnn_keys', 'image', '--mlp_keys=', '--cnn_depth', '1',
    '--steps', '80')


def numbers(row):
  return {name: value for name, value in row.items() if name not in ('step', 'time')}


@pytest.fixture
def mlflow(tmp_path, monkeypatch):
  """A client of a store in files, without a server."""
  monkeypatch.setenv('MLFLOW_ALLOW_FILE_STORE', 'true')
  monkeypatch.setenv('MLFLOW_TRACKING_URI', (tmp_path / 'store').as_uri())
  monkeypatch.delenv('MLFLOW_EXPERIMENT_NAME', raising=False)
  module = pytest.importorskip('mlflow')
  return module.MlflowClient()


def tracked(logdir, tracker):
  return json.loads((logdir / trackers.FILE).read_text())[tracker]


def test_mlflow_has_every_row_and_film(tmp_path, mlflow):
  logdir = tmp_path / 'run'
  loops.start(logdir, *WORLD, '--track', 'mlflow')
  run = mlflow.get_run(tracked(logdir, 'mlflow'))
  assert run.info.status == 'FINISHED' and run.info.run_name == 'run'
  assert run.data.params['task'] == 'dummy_continuous' and run.data.params['seed'] == '0'
  rows = loops.rows(logdir)
  for name in {name for row in rows for name in numbers(row)}:
    theirs = [(m.step, m.value) for m in mlflow.get_metric_history(run.info.run_id, name)]
    ours = [(row['step'], row[name]) for row in rows if row.get(name) is not None]
    assert sorted(theirs) == sorted(ours), name
  kept = {item.path for item in mlflow.list_artifacts(run.info.run_id, 'pictures')}
  assert {f'pictures/{kind}-{step:09d}.gif' for step in (40, 80) for kind in (
      'eval_image', 'agent_openl_image', 'agent_dream_image')} == kept


def test_a_resumed_run_goes_on_in_the_same_place(tmp_path, mlflow, monkeypatch):
  loops.use_toy(monkeypatch.setattr)
  logdir = tmp_path / 'run'
  loops.start(logdir, '--track', 'mlflow', '--steps', 80)
  first = tracked(logdir, 'mlflow')
  loops.start(logdir, '--track', 'mlflow', '--steps', 120)
  assert tracked(logdir, 'mlflow') == first
  steps = [m.step for m in mlflow.get_metric_history(first, 'eval/return')]
  assert sorted(steps) == [row['step'] for row in loops.rows(logdir, 'eval/return')]


def test_a_run_that_the_server_does_not_have_begins_another_there(tmp_path, mlflow, monkeypatch, capsys):
  loops.use_toy(monkeypatch.setattr)
  logdir = tmp_path / 'run'
  loops.start(logdir, '--track', 'mlflow', '--steps', 80)
  first = tracked(logdir, 'mlflow')
  mlflow.delete_run(first)
  loops.start(logdir, '--track', 'mlflow', '--steps', 100)
  second = tracked(logdir, 'mlflow')
  assert second != first and f'has no run {first}, so another one begins' in capsys.readouterr().out
  (logdir / trackers.FILE).write_text(json.dumps({'mlflow': 'e' * 32}))
  loops.start(logdir, '--track', 'mlflow', '--steps', 120)
  assert tracked(logdir, 'mlflow') not in (first, second, 'e' * 32)
  assert mlflow.get_run(tracked(logdir, 'mlflow')).info.status == 'FINISHED'


def test_a_run_that_runs_has_no_end(tmp_path, mlflow):
  config = config_lib.load('dreamer', ['--configs', 'dmc'])
  tracker = trackers.Mlflow(config, tmp_path, print)
  info = mlflow.get_run(tracker._id).info
  assert info.status == 'RUNNING' and not info.end_time


def test_a_directory_that_is_named_by_its_seed_is_no_name_for_people(tmp_path):
  config = config_lib.load('dreamer', ['--configs', 'dmc'])
  assert trackers._name(config, tmp_path / '0') == 'dreamer-dmc_walker_walk-0'
  assert trackers._name(config, tmp_path / 'walker-0') == 'walker-0'


def wandb_records(data):
  """Records of a .wandb file, which is a log of LevelDB: 7 bytes, then blocks of 32 KiB."""
  place, record = 7, b''
  while place < len(data):
    left = 32768 - place % 32768
    if left < 7:  # padding
      place += left
      continue
    length, kind = struct.unpack_from('<HB', data, place + 4)
    record += data[place + 7:place + 7 + length]
    place += 7 + length
    if kind in (1, 4):  # whole, or the last part
      yield record
      record = b''


def test_wandb_offline_keeps_rows_and_films(tmp_path, monkeypatch):
  wandb = pytest.importorskip('wandb')
  from wandb.proto import wandb_internal_pb2
  monkeypatch.setenv('WANDB_MODE', 'offline')
  wandb.teardown()  # it remembers variables
  loops.start(tmp_path, *WORLD, '--track', 'wandb')
  path, = (tmp_path / 'wandb').glob('offline-run-*/run-*.wandb')
  assert tracked(tmp_path, 'wandb') in path.name
  history, config = [], {}
  for data in wandb_records(path.read_bytes()):
    record = wandb_internal_pb2.Record.FromString(data)
    if record.WhichOneof('record_type') == 'history':
      history.append({
          item.key or '/'.join(item.nested_key): json.loads(item.value_json)
          for item in record.history.item})
    config.update({
        item.key: json.loads(item.value_json) for item in record.run.config.update if item.key})
  assert config['task'] == 'dummy_continuous'
  rows = loops.rows(tmp_path)
  theirs = [row for row in history if not any(name.endswith('/sha256') for name in row)]
  assert len(theirs) == len(rows)
  for own, row in zip(rows, theirs):
    assert row['frames'] == own['step']
    assert {name: row[name] for name in numbers(own) if own[name] is not None} == {
        name: value for name, value in numbers(own).items() if value is not None}
  films = list((tmp_path / 'wandb').glob('offline-run-*/files/media/videos/*/*.gif'))
  assert len(films) == 6
  assert len(curves.read(tmp_path, 'eval/return').frames) == 2  # as before, for plot and report


class Broken:
  """A tracker that fails from its call number `good` on."""

  def __init__(self, good):
    self.good = good

  def scalars(self, step, metrics):
    """Take a row, or fail."""
    self.good -= 1
    if self.good < 0:
      raise ConnectionError('no route\nto host.')

  gif = scalars

  def close(self, ending):
    """As scalars."""
    self.scalars(0, {})


@pytest.mark.parametrize('good', [0, 3, 10 ** 6])
def test_one_that_fails_is_told_once_and_left_out(tmp_path, monkeypatch, capsys, good):
  loops.use_toy(monkeypatch.setattr)
  loops.start(tmp_path / 'alone')
  monkeypatch.setattr(trackers, 'check', lambda config: None)
  monkeypatch.setattr(trackers, 'Wandb', lambda *args: Broken(good))
  capsys.readouterr()
  loops.start(tmp_path / 'tracked', '--track', 'wandb')
  said = capsys.readouterr().out
  assert said.count('Tracking by wandb fails (no route to host).') == (good < 10 ** 6)
  assert loops.rows(tmp_path / 'tracked', timeless=True) == loops.rows(
      tmp_path / 'alone', timeless=True)


def test_one_that_cannot_be_reached_ends_nothing(tmp_path, monkeypatch, capsys):
  loops.use_toy(monkeypatch.setattr)
  def refused(*args):
    raise SystemExit('not logged in')
  monkeypatch.setattr(trackers, 'check', lambda config: None)
  monkeypatch.setattr(trackers, 'Mlflow', refused)
  loops.start(tmp_path, '--track', 'mlflow')
  assert 'Tracking by mlflow fails (not logged in). The run goes on' in capsys.readouterr().out
  assert loops.rows(tmp_path, 'eval/return')


def test_one_that_never_answers_is_not_waited_for(monkeypatch):
  monkeypatch.setattr(trackers, 'PATIENCE', 0.05)
  monkeypatch.setattr(trackers, 'WAITING', 2)
  said, answers = [], threading.Event()
  tracker = trackers.Tracker('slow', answers.wait, said.append)
  for step in range(5):
    tracker.scalars(step, {'x': 1.0})
  tracker.close()
  answers.set()
  assert said[0] == 'slow does not answer yet. The run begins.'
  assert said[1:] == [
      'Tracking by slow fails (it is 2 rows behind). The run goes on without; its own files have '
      'everything.']


class Kept:
  """A tracker that keeps what it is told."""

  def __init__(self):
    self.rows, self.endings = [], []

  def scalars(self, step, metrics):
    """Take a row."""
    self.rows.append((step, metrics))

  def close(self, ending):
    """Take how the run ended."""
    self.endings.append(ending)


def test_how_a_run_ended_is_told():
  kept, error = Kept(), SystemExit(143)
  trackers.Tracker('kept', lambda: kept, print).close()
  tracker = trackers.Tracker('kept', lambda: kept, print)
  try:
    raise error
  except SystemExit:
    tracker.close()
  assert kept.endings == [None, error]


def test_wandb_without_a_login_is_told_and_asks_nothing(tmp_path, monkeypatch, capsys):
  pytest.importorskip('wandb').teardown()
  for name in ('WANDB_API_KEY', 'WANDB_MODE', 'NETRC'):
    monkeypatch.delenv(name, raising=False)
  monkeypatch.setenv('HOME', str(tmp_path))
  monkeypatch.chdir(tmp_path)
  loops.use_toy(monkeypatch.setattr)
  loops.start(tmp_path / 'run', '--track', 'wandb')
  said = capsys.readouterr().out
  assert 'Tracking by wandb fails (not logged in: type wandb login, or set WANDB_MODE=off' in said
  assert 'Finished at 120 frames' in said


def test_variables_of_wandb_come_first(tmp_path, monkeypatch):
  wandb = pytest.importorskip('wandb')
  for name, value in (('MODE', 'offline'), ('NAME', 'mine'), ('PROJECT', 'theirs')):
    monkeypatch.setenv(f'WANDB_{name}', value)
  wandb.teardown()
  made = {}
  original = wandb.init
  monkeypatch.setattr(wandb, 'init', lambda **kwargs: made.update(kwargs) or original(**kwargs))
  loops.use_toy(monkeypatch.setattr)
  loops.start(tmp_path / 'run', '--track', 'wandb')
  assert not {'name', 'project'} & set(made) and made['group'] == 'dreamer dummy_continuous_vector'


def test_what_is_not_finite_is_left_out():
  kept = Kept()
  tracker = trackers.Tracker('kept', lambda: kept, print)
  tracker.scalars(5, {'a': 1.0, 'b': float('nan'), 'c': float('inf')})
  tracker.close()
  assert kept.rows == [(5, {'a': 1.0})]


@pytest.mark.parametrize('name', ['wandb', 'mlflow'])
def test_a_package_that_is_missing_is_said_before_anything_is_made(
    tmp_path, monkeypatch, name):
  class Folder:
    origin = None
  found = {'wandb': None, 'mlflow': Folder}[name]  # a folder of that name is found, too
  monkeypatch.setattr(
      importlib.util, 'find_spec', lambda asked: found if asked == name else Folder)
  with pytest.raises(UserError) as refused:
    loops.start(tmp_path / 'run', '--track', name)
  assert f"pip install -e '.[{name}]'" in str(refused.value) and not (tmp_path / 'run').exists()


def test_runs_that_start_together_share_the_experiment(mlflow, monkeypatch):
  made, asked = mlflow.create_experiment('shared'), []
  look = mlflow.get_experiment_by_name
  def too_early(name):
    asked.append(name)
    return look(name) if len(asked) > 1 else None
  monkeypatch.setattr(mlflow, 'get_experiment_by_name', too_early)
  assert trackers._experiment(mlflow, 'shared') == made  # pylint: disable=protected-access
