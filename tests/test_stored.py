"""Learning runs are compared with stored ones by bands that seeds explain."""
import json
import pathlib
import shutil

import numpy as np
import pytest

from common import verify
from common.checks import bands
from common.checks import stored
from common.config import UserError

ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULTS = sorted(path.parent for path in (ROOT / 'results').glob('*/run.json'))
CONFIG = dict(agent='dreamer', task='dmc_walker_walk', configs=['dmc'], eval_every=10, batch_size=4)


def write(path, curve, seed=0, final=None, **config):
  """A finished run of 200 frames with an evaluation each 10 frames, curve a function of frames."""
  path.mkdir(parents=True)
  (path / 'config.yaml').write_text(json.dumps({**CONFIG, 'seed': seed, **config}))
  (path / 'run.json').write_text('{"finished_at": 200, "command": "python", "commit": null}')
  rows = [{'step': step, 'time': 1.0, 'eval/return': curve(step)} for step in range(10, 201, 10)]
  (path / 'metrics.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows))
  if final is not None:
    (path / 'evaluate.jsonl').write_text(json.dumps({
        'step': 200, 'episodes': 10, 'return': final, 'return_std': 1.0, 'zero_return': 0.0,
        'random_return': 0.0}) + '\n')
  return path


def line(step):
  """A curve from 0 to 1000."""
  return 1000.0 * (step - 10) / 190


def result(capsys, *argv):
  """Exit code and output of the command."""
  with pytest.raises(SystemExit) as stop:
    verify.main([str(arg) for arg in argv])
  out = capsys.readouterr()
  return stop.value.code, out.out + out.err


def test_every_result_has_stored_metrics_of_its_name():
  assert {path.name for path in RESULTS} <= set(stored.names())


@pytest.mark.parametrize('path', RESULTS, ids=lambda path: path.name)
def test_a_result_is_within_its_own_bands(capsys, path):
  code, text = result(capsys, 'run', path, '--against', path.name)
  assert code == 0 and 'No regression' in text


@pytest.mark.parametrize('path', RESULTS, ids=lambda path: path.name)
def test_a_run_that_did_not_learn_is_a_regression(capsys, tmp_path, path):
  shutil.copytree(path, tmp_path / 'flat')
  rows = [json.loads(row) for row in (path / 'metrics.jsonl').read_text().splitlines()]
  start = {
      name: next(row[name] for row in rows if name in row)
      for name in ('eval/return', 'train/return')}
  flat = [{**row, **{name: start[name] for name in start if name in row}} for row in rows]
  (tmp_path / 'flat' / 'metrics.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in flat))
  code, text = result(capsys, 'run', tmp_path / 'flat', '--against', path.name)
  assert code == 1 and 'Regression: ' in text
  # Without its curve, the final evaluation alone tells.
  shutil.copy(path / 'metrics.jsonl', tmp_path / 'flat' / 'metrics.jsonl')
  final = json.loads((path / 'evaluate.jsonl').read_text().splitlines()[-1])
  final['return'] = final['random_return']
  (tmp_path / 'flat' / 'evaluate.jsonl').write_text(json.dumps(final) + '\n')
  code, text = result(capsys, 'run', tmp_path / 'flat', '--against', path.name)
  assert code == 1 and 'first final evaluation' in text


def test_one_stored_seed_makes_a_wide_band_and_the_output_says_so(capsys, tmp_path):
  write(tmp_path / 'stored', line, final=1000.0)
  name = tmp_path / 'x.json'
  assert result(capsys, 'store', tmp_path / 'stored', name)[0] == 0
  half = 2.776 * 0.15 * np.sqrt(2) * 1000  # t of 4 degrees of freedom
  for final, code in ((1000 - half + 1, 0), (1000 - half - 1, 1)):
    run = write(tmp_path / str(code), line, seed=1, final=final)
    found, text = result(capsys, 'run', run, '--against', name)
    assert found == code, text
    assert '+- 59 %' in text and 'one seed' in text


def test_more_seeds_narrow_the_band_unless_they_spread(tmp_path):
  widths = {}
  for kind, spread in (('alike', 10.0), ('apart', 400.0)):
    for seed in range(5):
      write(tmp_path / kind / str(seed), line, seed, final=800.0 + spread * (seed - 2) / 2)
    _, reference = stored.store(tmp_path / kind, str(tmp_path / f'{kind}.json'), 'learning')
    assert [one['seed'] for one in reference['seeds']] == list(range(5))
    _, lines = bands.compare(reference | {'name': kind}, [tmp_path / kind / '0'])
    final = next(text for text in lines if 'final evaluation' in text)
    widths[kind] = float(final.split('+- ')[1].split()[0])
  assert widths['alike'] < 0.35 * 800 < 0.7 * 800 < widths['apart']


def test_more_runs_here_narrow_the_band(tmp_path):
  write(tmp_path / 'stored', line, final=1000.0)
  _, reference = stored.store(tmp_path / 'stored', str(tmp_path / 'x.json'), 'learning')
  runs = [write(tmp_path / 'new' / str(i), line, i, final=500.0) for i in range(5)]
  assert bands.compare(reference | {'name': 'x'}, runs[:1])[0]
  ok, lines = bands.compare(reference | {'name': 'x'}, runs)
  assert not ok and 'first final evaluation at 200 frames' in lines[-1]


def test_what_moved_is_said_with_where_it_began(capsys, tmp_path):
  write(tmp_path / 'stored', line)
  result(capsys, 'store', tmp_path / 'stored', tmp_path / 'x.json')
  run = write(tmp_path / 'new', lambda step: line(step) if step <= 100 else 0.0)
  code, text = result(capsys, 'run', run, '--against', tmp_path / 'x.json')
  assert code == 1
  assert 'eval/return at 100 to 150 frames: 0 here, 631.6 +- 527 stored: below' in text
  assert 'Regression: 2 of 4 below the band, first eval/return at 100 frames.' in text


def test_what_is_above_the_band_is_no_regression(capsys, tmp_path):
  write(tmp_path / 'stored', line)
  result(capsys, 'store', tmp_path / 'stored', tmp_path / 'x.json')
  run = write(tmp_path / 'new', lambda step: 1000.0)
  code, text = result(capsys, 'run', run, '--against', tmp_path / 'x.json')
  assert code == 0 and 'above' in text


def test_the_final_evaluation_of_a_run_that_fell_back_has_the_height_of_its_curve(capsys, tmp_path):
  write(tmp_path / 'stored', lambda step: 500.0 if 50 < step <= 100 else 0.0, final=150.0)
  result(capsys, 'store', tmp_path / 'stored', tmp_path / 'x.json')
  run = write(tmp_path / 'new', lambda step: 500.0 if 50 < step <= 100 else 0.0, final=149.0)
  code, text = result(capsys, 'run', run, '--against', tmp_path / 'x.json')
  half = 2.776 * 0.15 * np.sqrt(2) * 500
  assert code == 0 and f'149 here, 150 +- {half:.3g} stored: within' in text


def test_a_reference_with_numbers_that_are_none_is_no_pass(tmp_path):
  run = write(tmp_path / 'stored', line)
  _, reference = stored.store(run, str(tmp_path / 'x.json'), 'learning')
  cells = reference['seeds'][0]['eval/return']
  reference['seeds'][0]['eval/return'] = [float('nan')] * len(cells)
  with pytest.raises(UserError, match='x: holds numbers that are not finite'):
    bands.compare(reference | {'name': 'x'}, [run])


def test_the_first_frames_that_are_below_are_told_first(tmp_path):
  write(tmp_path / 'stored', line)
  write(tmp_path / 'new', lambda step: line(step) * (step <= 150))
  for path, trained in (('stored', line), ('new', lambda step: 0.0)):
    with (tmp_path / path / 'metrics.jsonl').open('a') as file:
      for step in range(10, 201, 10):
        file.write(json.dumps({'step': step, 'time': 1.0, 'train/return': trained(step)}) + '\n')
  _, reference = stored.store(tmp_path / 'stored', str(tmp_path / 'x.json'), 'learning')
  assert list(reference['seeds'][0])[1:3] == ['eval/return', 'train/return']
  ok, lines = bands.compare(reference | {'name': 'x'}, [tmp_path / 'new'])
  assert not ok and 'first train/return at 100 frames' in lines[-1]


@pytest.mark.parametrize('argv, words', [
    (['--against', 'dreamer-toy-toy_lok-0'], 'Nearest: dreamer-toy-toy_lock-0'),
    (['--against', 'planet-dmc-cpu-dmc_cartpole_swingup-0'], "'planet' there, 'dreamer' here"),
    (['--against', 'a/b'], 'no name of stored metrics')])
def test_a_mistake_is_one_line_that_helps(capsys, tmp_path, argv, words):
  run = write(tmp_path / 'run', line)
  code, text = result(capsys, 'run', run, *argv)
  assert code == 2 and words in text and len(text.splitlines()) == 1


def test_a_run_of_other_settings_is_refused_with_the_difference(capsys, tmp_path):
  write(tmp_path / 'stored', line)
  stored.store(tmp_path / 'stored', str(tmp_path / 'x.json'), 'learning')
  run = write(tmp_path / 'new', line, batch_size=8)
  code, text = result(capsys, 'run', run, '--against', tmp_path / 'x.json')
  assert code == 2 and 'batch_size: 4 there, 8 here' in text
  run = write(tmp_path / 'offline', line, offline='logs/x')
  code, text = result(capsys, 'run', run, '--against', tmp_path / 'x.json')
  assert code == 2 and 'collecting there, offline here' in text
  stored.store(run, str(tmp_path / 'y.json'), 'learning')
  assert result(capsys, 'run', run, '--against', tmp_path / 'y.json')[0] == 0


def test_a_run_that_is_not_finished_or_too_short_is_refused(capsys, tmp_path):
  write(tmp_path / 'stored', line)
  stored.store(tmp_path / 'stored', str(tmp_path / 'x.json'), 'learning')
  run = write(tmp_path / 'new', line)
  rows = (run / 'metrics.jsonl').read_text().splitlines()[:10]
  (run / 'metrics.jsonl').write_text('\n'.join(rows) + '\n')
  code, text = result(capsys, 'run', run, '--against', tmp_path / 'x.json')
  assert code == 2 and 'up to 100 frames' in text
  (run / 'run.json').write_text('{}')
  code, text = result(capsys, 'run', run, '--against', tmp_path / 'x.json')
  assert code == 2 and 'not finished' in text


def test_runs_of_two_settings_are_not_stored_as_one(tmp_path):
  write(tmp_path / 'runs' / 'a', line)
  write(tmp_path / 'runs' / 'b', line, seed=1, batch_size=8)
  with pytest.raises(UserError, match='batch_size'):
    stored.store(tmp_path / 'runs', str(tmp_path / 'x.json'), 'learning')


def test_the_same_seed_twice_is_not_stored_as_two(tmp_path):
  write(tmp_path / 'runs' / 'a', line)
  write(tmp_path / 'runs' / 'b', line)
  with pytest.raises(UserError, match='must differ'):
    stored.store(tmp_path / 'runs', str(tmp_path / 'x.json'), 'learning')


def test_the_same_seed_twice_is_not_compared_as_two(tmp_path):
  write(tmp_path / 'runs' / 'a', line)
  write(tmp_path / 'runs' / 'b', line, seed=1)
  stored.store(tmp_path / 'runs', str(tmp_path / 'x.json'), 'learning')
  write(tmp_path / 'here' / 'a', line)
  write(tmp_path / 'here' / 'b', line)
  with pytest.raises(UserError, match='must differ'):
    stored.compare(tmp_path / 'here', str(tmp_path / 'x.json'))


def test_the_final_evaluation_is_one_near_the_stored_frames_with_most_episodes(tmp_path):
  run = write(tmp_path / 'run', line)
  def evaluate(step, episodes, value):
    with (run / 'evaluate.jsonl').open('a') as file:
      file.write(json.dumps({
          'step': step, 'episodes': episodes, 'return': value, 'return_std': 1.0,
          'zero_return': 0.0, 'random_return': 0.0}) + '\n')
  def final():
    return bands.summarise([run])['seeds'][0].get('final', {}).get('return')
  evaluate(100, 10, 1.0)
  evaluate(400, 10, 2.0)
  assert final() is None
  evaluate(200, 10, 3.0)
  evaluate(200, 1, 4.0)
  assert final() == 3.0
  evaluate(210, 12, 5.0)
  evaluate(None, 10, 6.0)
  assert final() == 5.0


def test_odd_json_is_a_mistake_in_one_line(capsys, tmp_path):
  run = write(tmp_path / 'run', line)
  (tmp_path / 'x.json').write_text('{"kind": "learning"}')
  code, text = result(capsys, 'run', run, '--against', tmp_path / 'x.json')
  assert code == 2 and 'holds no stored metrics' in text and len(text.splitlines()) == 1
  (run / 'run.json').write_text('[]')
  code, text = result(capsys, 'run', run, '--against', 'dreamer-toy-toy_lock-0')
  assert code == 2 and 'is not finished' in text and len(text.splitlines()) == 1


def test_names_that_are_not_there_are_answered_by_all_that_are(tmp_path):
  with pytest.raises(UserError) as error:
    stored.load('nope')
  assert all(name in str(error.value) for name in stored.names())
  with pytest.raises(UserError, match='there is no file .*nope.json'):
    stored.load(tmp_path / 'nope.json')


def test_a_file_that_holds_something_else_is_refused(tmp_path):
  for text in (
      '{"kind": "other"}', '{"kind": "learning", "config": {"agent": "dreamer"}, "frames": 9, "seeds": []}',
      '{"kind": "learning", "config": {}, "frames": 9, "seeds": [{"seed": 0}]}',
      '{"kind": "exact", "config": {"agent": "dreamer"}, "early": 0, "metrics": {}}'):
    (tmp_path / 'x.json').write_text(text)
    with pytest.raises(UserError, match='holds no stored metrics'):
      stored.load(tmp_path / 'x.json')


def test_references_hold_no_local_path():
  for name in stored.names():
    for run in stored.load(name)['runs']:
      assert ' /' not in run['command'], name


def test_references_are_small():
  assert sum(path.stat().st_size for path in stored.FOLDER.iterdir()) < 1e6
