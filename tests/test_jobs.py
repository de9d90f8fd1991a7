"""Commands as processes: as many at a time as fit, each with its share, and what became of them."""
import os
import signal

import pytest

from common.loop import interrupts
from common.study import jobs


def test_gpus_are_those_that_are_visible():
  assert jobs.visible_gpus({'CUDA_VISIBLE_DEVICES': '2, 0'}) == ['2', '0']
  assert jobs.visible_gpus({'CUDA_VISIBLE_DEVICES': 'GPU-1,-1,3'}) == ['GPU-1']
  assert jobs.visible_gpus({'CUDA_VISIBLE_DEVICES': ''}) == []


def test_runs_are_spread_over_the_gpus_that_the_fewest_use():
  gpus, used, order = ['0', '1', '2'], [], []
  for _ in range(5):
    order += jobs.spread(gpus, used, 1)
    used.append(order[-1])
  assert order == ['0', '1', '2', '0', '1']
  used.remove('1')
  used.remove('1')
  assert jobs.spread(gpus, used, 1) == ['1']
  assert jobs.spread(gpus, ['0'], 2) == ['1', '2']
  assert jobs.spread(gpus, ['0'], 0) == ['1', '2', '0'] and jobs.spread([], [], 1) == []


def test_each_process_is_given_its_gpu(tmp_path):
  show = ['-c', 'import os; print(os.environ["CUDA_VISIBLE_DEVICES"])']
  names = ['a', 'b', 'c']
  waiting = [jobs.Job(name, show, tmp_path / name) for name in names]
  events = list(jobs.run(waiting, jobs.Processes(2, ['5', '7'])))
  assert sorted(event.job.name for event in events if event.code == 0) == names
  assert {jobs.last_line(tmp_path / name) for name in names[:2]} == {'5', '7'}


def test_signals_of_a_dying_parent_count_as_one():
  with interrupts.Interrupts() as caught:
    for _ in range(3):
      os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(interrupts.Stop, match='SIGTERM'):
      caught.check()


def test_a_killed_process_is_told_as_such(tmp_path):
  code = 'import os; print("so far", flush=True); os.kill(os.getpid(), 9)'
  waiting = [jobs.Job('job', ['-c', code], tmp_path / 'log')]
  *_, event = jobs.run(waiting, jobs.Processes(1))
  assert (event.code, event.reason) == (-9, 'killed by SIGKILL: so far')
  waiting = [jobs.Job('job', ['-c', 'raise SystemExit(3)'], tmp_path / 'log')]
  *_, event = jobs.run(waiting, jobs.Processes(1))
  assert (event.code, event.reason) == (3, 'exit code 3')  # not what an earlier process printed


def test_a_job_whose_log_cannot_be_written_fails_alone(tmp_path):
  say = ['-c', 'print("done")']
  waiting = [
      jobs.Job('a', say, tmp_path / 'a'), jobs.Job('b', say, tmp_path / 'missing' / 'b'),
      jobs.Job('c', say, tmp_path / 'c')]
  ended = {event.job.name: event for event in jobs.run(waiting, jobs.Processes(1)) if event.code is not None}
  assert [ended[name].code for name in 'abc'] == [0, 1, 0]
  assert ended['b'].reason == 'cannot be started (No such file or directory)'
