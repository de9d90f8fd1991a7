"""What a sweep shows is read from the ends of files, and fits on the screen."""
import pytest
import sweeps

from common import sweep
from common.study import grid
from common.study import sweep_view


def rows(path, *found):
  path.mkdir(exist_ok=True)
  with (path / 'metrics.jsonl').open('a') as file:
    file.write(''.join(f'{row}\n' for row in found))


@pytest.fixture
def runs(tmp_path):
  """Three runs of 1000 frames, of which the second has some."""
  argv = [*sweeps.GRID, '--seeds', 3, '--steps', 1000, '--logdir', tmp_path]
  found = grid.runs(*sweep.parse(list(map(str, argv))))
  rows(
      found[1].path, '{"step": 200, "eval/return": 12.5}', '{"step": 300, "fps": 7}',
      '{"step": 400, "eval/return": null, "fps": null}')
  return found


def test_progress_is_read_from_new_rows_alone(runs, monkeypatch):
  monkeypatch.setattr(sweep_view, 'FIRST_LOOK', 60)
  path = runs[0].path
  rows(path, '{"step": 1, "eval/return": 1}', *40 * ['{"step": 10}'], '{"step": 20, "fps": 3}')
  status = sweep_view.Status(runs[0])
  assert (status.frames, status.fps, status.eval_return) == (20, 3, None)  # out of the last bytes
  with (path / 'metrics.jsonl').open('a') as file:
    file.write('{"step": 30, "eval/ret')
    file.flush()
    status.look()
    assert status.frames == 20
    file.write('urn": 5}\n')
  tail = sweep_view.Tail(path / 'metrics.jsonl')
  status.look()
  assert (status.frames, status.eval_return) == (30, 5)
  assert tail.rows()[-1]['step'] == 30 and tail.rows() == []
  (path / 'metrics.jsonl').write_text('{"step": 10}\n')  # a deterministic run goes back
  status.look()
  assert status.frames == 10


def test_totals_sum_frames_and_time_of_what_is_left(runs):
  view = sweep_view.Plain(runs, 'title')
  for run, state in zip(runs, ('done', 'running', 'waiting')):
    view.statuses[run.name].state = state
  assert sweep_view.totals(view.statuses.values()) == (
      '3 runs: 1 running, 1 waiting, 1 done | 400 of 3,000 frames (13.3 %) | left 0:03:48')


def test_the_table_shows_what_matters_most_where_not_all_fit(runs):
  view = sweep_view.Plain(runs, 'title')
  statuses = list(view.statuses.values())
  for status, state in zip(statuses, ('done', 'failed', 'running')):
    status.state = state
  assert sweep_view.fitting(statuses, 2) == statuses[1:]
  assert sweep_view.fitting(statuses, 9) == statuses
  assert sweep_view.fitting(statuses, 0) == statuses[2:]
