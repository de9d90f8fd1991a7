"""Environments in threads and processes answer like those in the same thread, and never hang."""
import functools
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from common import config
from common import envs
from common.config import UserError
from common.envs.parallel import Parallel

STRATEGIES = ['none', 'thread', 'process']
DUMMY = config.Config(dict(
    task='dummy_continuous_vector', seed=0, action_repeat=2, time_limit=1000,
    camera='auto',
    image_size=64, cnn_keys='image', mlp_keys='.*', action_dist='auto'))


class Faulty:
  """Fails, hangs or ends the process, by the value of the action."""

  obs_space = act_space = None

  def reset(self, seed=None):
    return os.getpid()

  def step(self, action):
    if action == 'user':
      raise UserError('no such thing. Pass --other')
    if action == 'exit':
      os._exit(7)
    if action == 'sleep':
      time.sleep(60)
    return [1][action]

  def close(self):
    pass


@pytest.fixture(name='build')
def fixture_build():
  """Build Parallel environments and close them after the test."""
  built = []
  def build(*args, **kwargs):
    built.append(Parallel(*args, **kwargs))
    return built[-1]
  yield build
  for env in built:
    env.close()


def test_signals_to_the_whole_group_are_left_to_the_parent(build):
  env = build(Faulty, 'process')
  pid = env.reset()()
  for number in (signal.SIGINT, signal.SIGTERM):
    os.kill(pid, number)
  assert env.reset()() == pid


@pytest.mark.parametrize('strategy', STRATEGIES)
def test_strategies_give_the_same_episode(build, strategy):
  plain, env = envs.make(DUMMY), build(functools.partial(envs.make, DUMMY), strategy)
  assert env.obs_space == plain.obs_space and env.act_space == plain.act_space
  np.testing.assert_array_equal(env.reset(3)()['vector'], plain.reset(3)['vector'])
  for _ in range(3):
    action = plain.act_space.sample()
    obs, reward, done, info = env.step(action)()
    expected = plain.step(action)
    np.testing.assert_array_equal(obs['vector'], expected[0]['vector'])
    assert (reward, done, info) == expected[1:]


@pytest.mark.parametrize('strategy', STRATEGIES)
def test_blocking_returns_the_result_itself(build, strategy):
  env = build(functools.partial(envs.make, DUMMY), strategy)
  assert env.reset(1, blocking=True)['vector'].shape == (2,)
  assert env.step(np.zeros(2), blocking=True)[1] == 1.0


@pytest.mark.parametrize('strategy', STRATEGIES)
def test_promises_may_be_called_in_any_order_and_twice(build, strategy):
  env = build(functools.partial(envs.make, DUMMY), strategy)
  promises = [env.reset(1)] + [env.step(np.zeros(2)) for _ in range(3)]
  times = [promises[i]()[0]['vector'][0] for i in (3, 1, 2, 1)]
  np.testing.assert_allclose(times, [0.06, 0.02, 0.04, 0.02])


class Meeting(Faulty):
  """Each waits in `reset` until the other has come there, too."""

  def __init__(self, own, other):
    self._own, self._other = own, other

  def reset(self, seed=None):
    self._own.touch()
    while not self._other.exists():
      time.sleep(0.01)
    return os.getpid()


def test_processes_work_at_the_same_time(build, tmp_path):
  one, two = tmp_path / 'one', tmp_path / 'two'
  both = [build(functools.partial(Meeting, *names)) for names in ((one, two), (two, one))]
  promises = [env.reset() for env in both]
  assert len({promise() for promise in promises} | {os.getpid()}) == 3


@pytest.mark.parametrize('strategy', ['thread', 'process'])
def test_failures_arrive_with_the_traceback_and_the_environment_goes_on(build, strategy):
  env = build(Faulty, strategy)
  promise = env.step(5)
  for _ in range(2):
    with pytest.raises(RuntimeError, match='return .1..action.(.|\n)*IndexError'):
      promise()
  with pytest.raises(UserError, match='^no such thing. Pass --other$'):
    env.step('user')()
  assert env.step(0)() == 1


@pytest.mark.parametrize('strategy', ['thread', 'process'])
def test_a_failure_while_building_arrives(build, strategy):
  with pytest.raises(UserError, match='dmc_walker_walk'):
    bad = DUMMY.replace(task='dmc_walker_wlak')
    _ = build(functools.partial(envs.make, bad), strategy).obs_space
  with pytest.raises(RuntimeError, match='ZeroDivisionError'):
    build(lambda: 1 / 0, strategy).reset()()


def test_the_end_of_a_process_is_told(build):
  env = build(Faulty)
  with pytest.raises(RuntimeError, match='exit code 7'):
    env.step('exit')()
  with pytest.raises(RuntimeError, match='exit code 7'):
    env.step(0)()


@pytest.mark.parametrize('strategy', ['thread', 'process'])
def test_waiting_ends_after_the_timeout_and_closing_never_hangs(build, strategy):
  env = build(Faulty, strategy)
  env.reset()()
  env = env if strategy == 'process' else build(Faulty, strategy, timeout=0.3)
  env._worker._timeout = 0.3
  with pytest.raises(TimeoutError, match='0.3 seconds'):
    env.step('sleep')()
  started = time.time()
  env.close()
  env.close()
  assert time.time() - started < 8


def test_one_may_wait_for_as_long_as_one_likes(build):
  env = build(Faulty, 'process', timeout=1e9)
  assert env.step(0)() == 1


def test_processes_ignore_interrupts(build):
  env = build(Faulty)
  pid = env.reset()()
  os.kill(pid, signal.SIGINT)
  time.sleep(0.2)
  assert env.step(0)() == 1


PROGRAM = '''
    import sys
    if __name__ != '__main__':
      sys.exit('the program was imported again')
    from common.envs.parallel import Parallel
    class Sleeper:
      def reset(self, seed=None):
        import os
        return os.getpid(), 'tensorflow' in sys.modules
      def step(self, action):
        import time
        time.sleep(60)
      def close(self):
        pass
    env = Parallel(Sleeper, 'process')
    pid, imported = env.reset()()
    assert not imported
    print(pid, flush=True)
    env.step(0)
    input()
'''


def test_a_process_neither_imports_the_program_nor_survives_it(tmp_path):
  script = tmp_path / 'program.py'
  script.write_text(textwrap.dedent(PROGRAM))
  with subprocess.Popen(
      [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
      text=True) as parent:
    child = int(parent.stdout.readline())
    os.kill(child, 0)  # alive, in the middle of a long step
    parent.kill()
  limit = time.monotonic() + 50
  while not _is_gone(child):
    assert time.monotonic() < limit
    time.sleep(0.05)


def _is_gone(pid):
  try:
    with open(f'/proc/{pid}/stat') as file:
      return file.read().rpartition(')')[2].split()[0] == 'Z'
  except (FileNotFoundError, ProcessLookupError):  # it went while one looked
    return True


@pytest.mark.parametrize('strategy', ['thread', 'process'])
def test_images_are_rendered_in_threads_and_processes(build, strategy):
  control = DUMMY.replace(task='dmc_cartpole_swingup', mlp_keys='')
  both = [build(functools.partial(envs.make, control, i), strategy) for i in range(2)]
  expected = envs.make(control)
  for promise in [env.reset(5) for env in both]:
    image = promise()['image'].astype(int)
    assert np.abs(image - expected.reset(5)['image']).max() <= 2 and image.std() > 5
  expected.close()


def test_a_program_that_closes_nothing_ends_all_the_same():
  code = (
      'import io\nfrom common.envs import workers\n'
      'worker = workers.make(io.StringIO, "process")\n'
      'print(worker.call("tell")())')
  done = subprocess.run(
      [sys.executable, '-c', code], capture_output=True, text=True, timeout=60)
  assert (done.returncode, done.stdout) == (0, '0\n'), done.stderr
