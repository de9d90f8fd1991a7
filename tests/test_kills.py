"""SIGKILL at random moments, in processes of their own: the run goes on, and nothing is lost."""
import json
import pathlib
import subprocess
import sys

import pytest

import loops

KILLED = pathlib.Path(__file__).with_name('killed.py')
MOMENTS = ['any', 'episode', 'checkpoint', 'metrics']
TOY = [*loops.BASE, '--steps', 400, '--eval_every', 80, '--log_every', 20]
# The real agents at their smallest, with the images of the block.
REAL = [
    '--configs', 'debug', '--task', 'dummy_continuous', '--time_limit', 20, '--prefill', 40,
    '--steps', 400, '--train_every', 20, '--eval_every', 80, '--log_every', 20, '--batch_size', 2,
    '--batch_length', 5]


@pytest.fixture(scope='module')
def server():
  """A function that returns the process that forks all runs, or another if it has ended."""
  started = []
  def process():
    if not started or started[-1].poll() is not None:
      started.append(subprocess.Popen(
          [sys.executable, KILLED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    return started[-1]
  yield process
  for one in started:
    one.kill()
    one.communicate()


@pytest.fixture
def killed(server):
  """Function that starts a run as often as there are moments to kill it at, and once more: what was seen."""
  process = server()
  def function(path, agent, moments, flags, seed=0):
    print(json.dumps([seed, agent, moments, str(path), *map(str, flags)]), file=process.stdin, flush=True)
    seen = []
    while len(seen) <= len(moments):
      line = process.stdout.readline()
      assert line, process.wait()
      if line[:1] == '{':
        seen.append(json.loads(line))
    assert [start['moment'] for start in seen] == [*moments, '']
    assert seen[-1]['code'] == 0
    return seen[:-1]
  return function


def went_back_to_the_same(one, two):
  """Whether a run that was killed ends as the other, to the bit."""
  assert loops.same(loops.saved(one), loops.saved(two))
  assert loops.episodes(one) == loops.episodes(two)
  assert loops.rows(one, timeless=True) == loops.rows(two, timeless=True)
  return True


def lost_nothing(path, seen):
  """Whether episodes only came, and all of them count once."""
  for before, after in zip(seen, seen[1:]):
    assert set(before['episodes']) <= set(after['episodes'])
    assert before['rows'] <= after['rows']
  found = loops.episodes(path)
  assert [(k, e) for k, e, _ in found] == [(k, 0) for k in range(len(found))]
  rows = loops.rows(path)
  assert rows[-1]['step'] == sum(2 * (rows - 1) for _, _, rows in found) >= 400
  assert [row['step'] for row in rows] == sorted(row['step'] for row in rows)
  return True


@pytest.mark.parametrize('flags', [(), ('--overlap', True)])
def test_three_kills_of_a_deterministic_run_leave_no_trace(killed, tmp_path, flags):
  flags = [*TOY, '--deterministic', True, *flags]
  killed(tmp_path / 'whole', 'toy', [], flags)
  seen = killed(tmp_path / 'killed', 'toy', ['any', 'checkpoint', 'episode'], flags)
  assert [start['code'] for start in seen] == [-9] * 3
  assert went_back_to_the_same(tmp_path / 'whole', tmp_path / 'killed')


def test_three_kills_lose_no_episode_and_tear_no_line(killed, tmp_path):
  seen = killed(tmp_path, 'toy', ['any', 'episode', 'metrics'], TOY)
  assert [start['code'] for start in seen] == [-9] * 3
  assert lost_nothing(tmp_path, seen)


@pytest.mark.slow
@pytest.mark.parametrize('agent', ['dreamer', 'planet', 'plan2explore'])
@pytest.mark.parametrize('deterministic', [True, False])
def test_twenty_kills(killed, tmp_path, agent, deterministic):
  flags = [*REAL, '--steps', 1200, '--deterministic', deterministic]
  seen = killed(tmp_path / 'killed', agent, MOMENTS * 5, flags)
  print([(start['moment'], start['code']) for start in seen])
  assert sum(start['code'] == -9 for start in seen) >= 15  # the end may come before some
  if deterministic:
    killed(tmp_path / 'whole', agent, [], flags)
    assert went_back_to_the_same(tmp_path / 'whole', tmp_path / 'killed')
  else:
    assert lost_nothing(tmp_path / 'killed', seen)
