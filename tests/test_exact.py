"""Short runs of every agent come out as they are stored; what is not the same run is refused."""
import json

import common  # noqa: it decides how TensorFlow is loaded, so it comes before
import numpy as np
import pytest

from common import verify
from common.checks import exact
from common.checks import kernels
from common.checks import stored
from common.config import UserError
import exact_runs

CONFIG = dict(
    agent='dreamer', task='dummy_continuous', configs=['debug'], seed=0, steps=30, eval_every=10,
    train_every=1, train_steps=1, batch_size=4)


@pytest.mark.parametrize('name', exact_runs.RUNS)
def test_every_update_of_a_short_run_is_as_stored(tmp_path, capsys, name):
  exact_runs.start(name, tmp_path)
  with pytest.raises(SystemExit) as stop:
    verify.main(['run', str(tmp_path), '--against', name])
  assert stop.value.code == 0, capsys.readouterr().out


@pytest.mark.parametrize('name', exact_runs.RUNS)
def test_stored_runs_have_an_early_part_that_kernels_hardly_move(name):
  reference = stored.load(name)
  assert len(reference['runs']) == len(kernels.KERNELS)
  assert {'eval/return', 'agent/model_loss', 'agent/kl'} <= set(reference['metrics'])
  for known in reference['metrics'].values():
    early = np.array(known['step']) <= reference['early']
    assert early.any() and not early.all()
  # What is free is crossed, or a wrong floor under the KL could not be seen.
  kl, free = reference['metrics']['agent/kl']['value'][:20], reference['config']['free_nats']
  assert min(kl) < free < max(kl)


def write(path, change=lambda update, value: value, **config):
  """A finished run of 30 updates, whose loss is 10 plus half the number of the update."""
  path.mkdir(parents=True)
  source = path.parent / 'source' / 'episodes'
  source.mkdir(parents=True, exist_ok=True)
  (source / '000000-0-3.npz').write_bytes(b'the same')
  config = {**CONFIG, 'offline': str(source.parent), **config}
  (path / 'config.yaml').write_text(json.dumps(config))
  (path / 'run.json').write_text('{"finished_at": 30, "command": "python", "commit": null}')
  rows = [
      {'step': update, 'time': 0.5 * update, 'fps': 3.0, 'agent/loss': change(
          update, 10 + update / 2), 'agent/skipped': 0} for update in range(1, 31)]
  (path / 'metrics.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows))
  return path


@pytest.fixture
def name(tmp_path):
  """A reference of two runs, one of which drifts away by 0.1 after update 20."""
  write(tmp_path / 'runs' / 'a')
  write(tmp_path / 'runs' / 'b', lambda update, value: value + 0.1 * (update > 20))
  path = str(tmp_path / 'reference.json')
  stored.store(tmp_path / 'runs', path, 'exact')
  return path


def moved(tmp_path, name, *args, **kwargs):
  """Moved metrics of a run that `write` makes."""
  run = write(tmp_path / 'runs' / 'new', *args, **kwargs)
  ok, lines = stored.compare(run, name)
  found, _ = exact.outside(stored.load(name), exact.read(run))
  assert ok == (not found)
  return found, '\n'.join(lines)


def test_early_rows_have_to_agree_to_a_thousandth(tmp_path, name):
  found, text = moved(tmp_path, name, lambda i, x: x * (1.0011 if i in (7, 9) else 1.0009))
  assert [(one.metric, one.step, one.rows) for one in found] == [('agent/loss', 7, 2)]
  assert 'agent/loss at step 7: 13.5149 here, 13.5 stored' in text


def test_later_rows_may_differ_by_ten_times_what_kernels_change(tmp_path, name):
  # The median lies between the two, each 0.05 away from it.
  found, _ = moved(tmp_path, name, lambda i, x: x + 0.05 + (0.49 if i > 20 else 0.0) - 0.05)
  assert not found


def test_later_rows_that_differ_by_more_have_moved(tmp_path, name):
  found, _ = moved(tmp_path, name, lambda i, x: x + (0.56 if i > 25 else 0.0))
  assert [(one.step, one.rows, one.of) for one in found] == [(26, 5, 30)]


@pytest.mark.parametrize('value', [None, float('nan')])
def test_a_number_that_is_lost_has_moved(tmp_path, name, value):
  found, text = moved(tmp_path, name, lambda i, x: x if i < 30 else value)
  assert found[0].step == 30 and found[0].here is None
  assert 'nothing here' in text


def test_a_metric_that_is_zero_throughout_moves_when_it_is_not(tmp_path, name):
  run = write(tmp_path / 'runs' / 'new')
  text = (run / 'metrics.jsonl').read_text()
  (run / 'metrics.jsonl').write_text(text.replace('"agent/skipped": 0', '"agent/skipped": 1', 1))
  found, _ = exact.outside(stored.load(name), exact.read(run))
  assert [(one.metric, one.step) for one in found] == [('agent/skipped', 1)]


def test_clocks_are_not_compared(name):
  assert set(stored.load(name)['metrics']) == {'agent/loss', 'agent/skipped'}


@pytest.mark.parametrize('changes, words', [
    ({'batch_size': 5}, 'batch_size: 4 there, 5 here'), ({'seed': 1}, 'seed: 0 there, 1 here'),
    ({'jit': True}, 'jit'), ({'agent': 'planet'}, "'dreamer' there, 'planet' here"),
    ({'offline': ''}, '--offline')])
def test_another_run_is_refused_with_the_difference(tmp_path, name, capsys, changes, words):
  run = write(tmp_path / 'new', **changes)
  with pytest.raises(SystemExit) as stop:
    verify.main(['run', str(run), '--against', name])
  assert stop.value.code == 2 and words in capsys.readouterr().err


def test_a_run_on_other_episodes_is_refused(tmp_path, name):
  run = write(tmp_path / 'elsewhere' / 'new')
  (run.parent / 'source' / 'episodes' / '000000-0-3.npz').write_bytes(b'others')
  with pytest.raises(UserError, match='episodes'):
    stored.compare(run, name)


def test_one_run_or_a_chaotic_one_cannot_be_stored(tmp_path):
  run = write(tmp_path / 'a')
  with pytest.raises(UserError, match='common.verify kernels'):
    stored.store(run, str(tmp_path / 'x.json'), 'exact')
  write(tmp_path / 'b', lambda update, value: value * 1.002)
  with pytest.raises(UserError, match='too near'):
    stored.store(tmp_path, str(tmp_path / 'x.json'), 'exact')
  write(tmp_path / 'one' / 'a')
  write(tmp_path / 'one' / 'b', lambda update, value: None if update == 25 else value)
  with pytest.raises(UserError, match='agent/loss is not a number'):
    stored.store(tmp_path / 'one', str(tmp_path / 'x.json'), 'exact')
  assert not (tmp_path / 'x.json').exists()


def test_kernels_refuse_flags_before_any_run(tmp_path, capsys):
  for argv, word in ((['dreamr'], 'dreamer'), (['dreamer', '--batch_siz', '3'], 'batch_size'),
                     (['dreamer', '--configs', 'debug'], 'Pass --offline DIR'),
                     (['dreamer', '--logdir', 'x'], '--logdir')):
    with pytest.raises(SystemExit) as stop:
      verify.main(['kernels', str(tmp_path / 'runs'), *argv])
    assert stop.value.code == 2 and word in capsys.readouterr().err
  assert not (tmp_path / 'runs').exists()


def test_rows_that_were_not_there_are_a_change_of_schedule():
  reference = {'early': 20, 'metrics': {
      'agent/kl': {'step': [10, 20], 'value': [1.0, 2.0], 'spread': [0.0, 0.0]}}}
  moved, _ = exact.outside(reference, {'agent/kl': {10: 1.0, 20: 2.0}})
  assert not moved
  moved, _ = exact.outside(reference, {'agent/kl': {10: 1.0, 15: 1.5, 20: 2.0}})
  assert [(one.metric, one.step) for one in moved] == [('agent/kl', 15)]
