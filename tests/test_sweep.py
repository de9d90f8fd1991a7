"""A grid of runs: checked before it starts, resumed, and reported; failures stay where they are."""
import os
import pathlib
import pty
import signal
import subprocess
import sys
import time

import loops
import pytest
import sweeps

from common import config as config_lib
from common import sweep
from common.data import sources
from common.loop import logdir
from common.scores import curves
from common.study import grid
from common.study import jobs
from common.loop import cluster
from common.study import ray_jobs
from common.study import task_groups

NAME = sweeps.NAME
NEVER = {'HOLD': '/there/is/no/such/file'}


def runs_of(*argv):
  return grid.runs(*sweep.parse(list(map(str, argv))))


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
  """Function that sweeps stubs below tmp_path and returns (exit code, lines of the output)."""
  sweeps.use('stub', monkeypatch.setattr)
  def function(*flags):
    with pytest.raises(SystemExit) as end:
      sweep.main([*sweeps.GRID, '--logdir', tmp_path, *flags])
    output = capsys.readouterr()
    return end.value.code, (output.err if end.value.code == 2 else output.out).splitlines()
  return function


def starts(path):
  """How many processes each stub of a sweep had, by seed."""
  return {
      int(file.parent.name.rpartition('-')[2]): len(file.read_text().splitlines())
      for file in path.glob('*/starts')}


@pytest.fixture
def start(tmp_path):
  """Function that sweeps below tmp_path in a process of its own, or makes one run of the grid."""
  started = []
  def function(kind, *flags, environ=None, seed=None, **options):
    argv = [*sweeps.GRID, '--logdir', tmp_path, *flags]
    if kind == 'run':
      argv = grid.runs(*sweep.parse(list(map(str, argv))))[seed].argv[2:]
    options = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) | options
    started.append(subprocess.Popen(
        list(map(str, [sys.executable, sweeps.HERE, kind, *argv])), start_new_session=True,
        env={**os.environ, **(environ or {})}, **options))
    return started[-1]
  yield function
  for process in started:
    process.kill()
    process.wait()


def wait_for(condition, process, seconds=250):
  """Wait until a condition holds, while a process runs."""
  end = time.monotonic() + seconds
  while not condition():
    assert process.poll() is None, process.stdout.read()
    assert time.monotonic() < end
    time.sleep(0.02)


def config_of(path, seed):
  return config_lib.load('dreamer', [
      '--configs', 'debug', '--task', 'dummy_continuous_vector', '--steps', 100, '--seed', seed,
      '--logdir', path / f'{NAME}-{seed}'])


# The grid and its checks.


@pytest.mark.parametrize('text, expected', [
    ('5', [0, 1, 2, 3, 4]), ('1', [0]), ('3-7', [3, 4, 5, 6, 7]), ('0,3', [0, 3]),
    ('5,', [5]), ('4-4', [4]), ('2,0-2', [2, 0, 1])])
def test_seeds_are_how_many_or_which(text, expected):
  assert grid.seeds(text) == expected


@pytest.mark.parametrize('text', [
    '0', '', '-1', 'x', '3-', '7-3', '1.5', '0,x', '99999999999', '2,,-', 5000 * '9', '\uff15'])
def test_what_are_no_seeds_is_refused(text):
  with pytest.raises(config_lib.UserError, match='--seeds is'):
    grid.seeds(text)


def test_the_grid_holds_every_task_with_every_seed_the_first_seeds_first(tmp_path):
  runs = runs_of(
      '--agent', 'planet', '--configs', 'dmc', 'debug', '--tasks', 'planet6', 'dmc_walker_run',
      'dmc_walker_walk', '--seeds', 2, '--logdir', tmp_path, '--batch_length', 7)
  assert len({run.path for run in runs}) == len(runs) == 14
  assert [run.config.seed for run in runs] == 7 * [0] + 7 * [1]
  assert runs[0].path == tmp_path / 'planet-dmc-debug-dmc_cartpole_swingup-0'
  assert [run.config.task for run in runs[:7]] == [run.config.task for run in runs[7:]]


def test_the_command_of_a_run_means_the_settings_that_were_checked(tmp_path):
  for run in runs_of(
      '--agent', 'planet', '--configs', 'dmc', 'debug', '--tasks', 'planet6', '--seeds', '1,3',
      '--logdir', tmp_path, '--batch_length', 7, '--expl_amount=0.1'):
    assert run.argv[:2] == ['-m', 'planet.train']
    assert dict(config_lib.load('planet', run.argv[2:])) == dict(run.config)
    assert run.config.batch_length == 7 and run.config.quiet


def test_planets_tasks_keep_its_action_repeats():
  runs = runs_of('--agent', 'planet', '--configs', 'dmc', '--tasks', 'planet6')
  assert {run.config.task: run.config.action_repeat for run in runs} == {
      'dmc_cartpole_swingup': 8, 'dmc_reacher_easy': 4, 'dmc_cheetah_run': 4,
      'dmc_finger_spin': 2, 'dmc_cup_catch': 4, 'dmc_walker_walk': 2}


def test_tasks_that_are_given_twice_add_up():
  once, twice = (
      [run.name for run in runs_of('--agent', 'dreamer', '--configs', 'dmc', *tasks)] for tasks in (
          ['--tasks', 'dmc_walker_walk', 'dmc_walker_run'],
          ['--tasks', 'dmc_walker_walk', '--tasks', 'dmc_walker_run']))
  assert once == twice and len(once) == 2


def test_commas_stand_between_tasks_too():
  names = [run.config.task for run in runs_of(
      '--agent', 'dreamer', '--configs', 'dmc', '--tasks', 'dmc_walker_walk,dmc_cup_catch', 'dmc_walker_run')]
  assert names == ['dmc_walker_walk', 'dmc_cup_catch', 'dmc_walker_run']


@pytest.mark.parametrize('words', [[''], [','], ['', ',']])
def test_no_task_is_a_mistake(words):
  with pytest.raises(config_lib.UserError, match='--tasks names none'):
    runs_of('--agent', 'dreamer', '--configs', 'dmc', '--tasks', *words)


def test_without_tasks_the_blocks_decide():
  run, = runs_of('--agent', 'dreamer', '--configs', 'multitask')
  assert run.config.task == 'dmc_multitask' and '--task' not in run.argv


def test_runs_that_have_not_begun_are_checked_as_new_ones(tmp_path):
  argv = ['--agent', 'dreamer', '--configs', 'dmc', '--logdir', tmp_path]
  for name in ('dreamer-dmc-cpu-dmc_walker_walk-0', 'dreamer-dmc-dmc_walker_walk-1'):
    (tmp_path / name).mkdir()
    (tmp_path / name / 'config.yaml').write_text('')
  with pytest.raises(config_lib.UserError, match='stoch_classes means nothing'):
    runs_of(*argv, '--seeds', '0-1', '--stoch_classes', '16')
  run, = runs_of(*argv, '--seeds', '1,', '--stoch_classes', '16')  # looks at its own again
  assert run.config.stoch_classes == 16


def test_the_threads_of_a_node_are_what_its_environment_says(tmp_path, monkeypatch):
  given = []
  def launch(job, env, cwd):
    given.append(env)
    return subprocess.Popen(['true']), 0
  monkeypatch.setattr(jobs, 'launch', launch)
  monkeypatch.setenv('TF_NUM_INTRAOP_THREADS', '7')
  monkeypatch.setenv('PYTHONPATH', 'here')
  job = jobs.Job('a', [], tmp_path / 'log.txt')
  assert ray_jobs.work(job, jobs.threads(2), {'PYTHONPATH': 'there'}, str(tmp_path)) == (0, '')
  assert given[0]['TF_NUM_INTRAOP_THREADS'] == '7' and given[0]['PYTHONPATH'] == 'there'
  assert given[0]['TF_NUM_INTEROP_THREADS'] == '2'


def test_the_default_folder_is_named_after_agent_and_blocks():
  run, = runs_of('--agent', 'dreamer', '--configs', 'toy', 'debug')
  path = pathlib.Path('~/logs/dreamer-toy-debug/dreamer-toy-debug-toy_lock-0')
  assert run.path == path.expanduser()


@pytest.mark.parametrize('gpus, devices, given, expected', [
    (0, 1, None, 1), (4, 1, None, 4), (4, 2, None, 2), (4, 0, None, 1), (4, 1, 8, 8)])
def test_without_jobs_no_gpu_has_two_runs(monkeypatch, gpus, devices, given, expected):
  monkeypatch.setattr(jobs, 'visible_gpus', lambda environ: list('0123')[:gpus])
  argv = ['--agent', 'dreamer', *(['--jobs', str(given)] if given else [])]
  args, flags = sweep.parse([*argv, '--devices', str(devices)])
  run, = grid.runs(args, flags)
  assert sweep.make_pool(args, run.config)._jobs == expected


def test_help_names_the_command_and_the_groups(capsys):
  with pytest.raises(SystemExit) as end:
    sweep.main(['--help'])
  output = capsys.readouterr().out
  assert end.value.code == 0 and output.startswith('usage: python -m common.sweep')
  assert all(group in output for group in task_groups.groups())


@pytest.mark.parametrize('flags, message', [
    (['--agent', 'dreamr'], "unknown --agent 'dreamr'. Nearest: dreamer."),
    (['--configs', 'dcm'], "unknown block 'dcm'. Nearest: "),
    (['--tasks', 'dmc2'], "'dmc2' in --tasks is neither a group of tasks nor SUITE_TASK. "),
    (['--tasks', 'dmc_wlker_walk'], "no task 'wlker_walk'. Nearest: dmc_walker_walk"),
    (['--hrizon', '3'], "unknown key 'hrizon' on the command line. Nearest: horizon"),
    (['--horizon', 'x'], "horizon is 'x'"),
    (['--seeds', '7-3'], "--seeds is '7-3'"),
    (['--seed', '3'], 'Pass --seeds.'),
    (['--task=dummy_x'], 'Pass --tasks.'),
    (['--jobs', '0'], "--jobs is '0' but must be a whole number of at least 1."),
    (['--jobs', '1.5'], "--jobs is '1.5' but must be a whole number"),
    (['--jobs', '2', '--ray', 'local'], 'Pass one of them.'),
    (['--gpus-per-run', '1'], '--gpus-per-run is for a Ray cluster.'),
    (['--ray', 'local', '--cpus-per-run', '0'], "--cpus-per-run is '0'"),
    (['--ray', 'local', '--gpus-per-run', '1.5'], "--gpus-per-run is '1.5' but must be a part of"),
    (['--configs', 'multitask', 'debug'], 'is one task, but a block names several'),
    (['--machines', 'True'], 'started run by run, not by a sweep'),
    (['--offline', '/none'], 'holds no run'),
    (['--logdir', '/proc/none'], 'cannot be used as --logdir')])
def test_a_mistake_is_one_sentence_and_starts_nothing(run, tmp_path, flags, message):
  code, lines = run(*flags)
  assert code == 2 and len(lines) == 1 and message in lines[0]
  assert not list(tmp_path.iterdir())


def test_a_folder_that_is_a_run_or_has_one_of_other_settings_is_refused(run, tmp_path):
  assert run()[0] == 0
  code, lines = run('--deter_size', 17, '--seeds', 2)
  assert code == 2 and 'deter_size: 16 there, 17 here' in lines[0]
  assert starts(tmp_path) == {0: 1}
  code, lines = run('--logdir', tmp_path / f'{NAME}-0')
  assert code == 2 and 'is a run itself' in lines[0]


def test_ray_that_is_missing_is_named_with_its_extra(run, monkeypatch):
  monkeypatch.setattr(cluster.importlib.util, 'find_spec', lambda name: None)
  code, lines = run('--ray', 'local')
  assert code == 2
  assert lines == ["sweep: --ray needs the package ray. Type: pip install -e '.[ray]'"]


def test_a_sweep_is_checked_without_tensorflow_and_ray(tmp_path):
  code = (
      'import pathlib, sys\nfrom common import sweep\nfrom common.study import grid\n'
      'grid.check(grid.runs(*sweep.parse(sys.argv[1:])), pathlib.Path(sys.argv[-1]))\n'
      'print({"tensorflow", "ray", "dm_control"} & set(sys.modules))')
  done = subprocess.run(
      [sys.executable, '-c', code, '--agent', 'dreamer', '--tasks', 'toy_lock', '--configs', 'toy',
       '--logdir', str(tmp_path)], capture_output=True, text=True)
  assert done.stdout == 'set()\n', done.stderr


# Runs.


def test_what_fails_is_told_with_the_last_line_of_its_log_and_the_rest_goes_on(
    run, tmp_path, monkeypatch):
  monkeypatch.setenv('FAIL', '1')
  code, lines = run('--seeds', 3)
  log = tmp_path / f'{NAME}-1.log'
  assert code == 1
  assert f'failed: {NAME}-1: exit code 1: ValueError: something broke | {log}' in lines
  assert any(line.startswith('3 runs: 1 failed, 2 done | 250 of 300 frames') for line in lines)
  monkeypatch.delenv('FAIL')
  code, lines = run('--seeds', 4)
  assert code == 0 and starts(tmp_path) == {0: 1, 1: 2, 2: 1, 3: 1}
  assert [line.split(' | ')[:2] for line in lines[:2]] == [
      [f'{NAME}-{seed}', 'skipped'] for seed in (0, 2)]
  # Where it stopped, and the log of both tries.
  assert f'{NAME}-1 | running | 50 of 100 frames (50 %) | return 40' in lines
  assert len(loops.rows(tmp_path / f'{NAME}-1')) == 10
  assert log.read_text().count(f'--seed 1 --logdir {tmp_path / NAME}-1 --quiet\n') == 2
  assert run('--seeds', 4)[0] == 0 and sum(starts(tmp_path).values()) == 5
  # More frames are a reason to go on.
  assert run('--seeds', 4, '--steps', 110)[0] == 0 and starts(tmp_path)[0] == 2


def test_plot_finds_all_runs_as_one_group(run, tmp_path):
  assert run('--seeds', 2)[0] == 0
  found = [curves.read(path, 'eval/return') for path in curves.find([tmp_path])]
  group, = curves.grouped(found)
  assert len(group.runs) == 2


def test_a_run_that_another_process_holds_is_left_to_it(run, tmp_path, monkeypatch):
  monkeypatch.setattr(jobs, 'PATIENCE', 0.5)
  with logdir.claim(config_of(tmp_path, 0)):
    code, lines = run('--seeds', 2)
  assert code == 1 and starts(tmp_path) == {1: 1}
  assert f'{NAME}-0 | held | 0 of 100 frames (0 %) | another process trains here' in lines
  assert sum('held |' in line for line in lines) == 1
  assert any(line.startswith('2 runs: 1 held, 1 done') for line in lines)


def test_a_run_whose_process_was_faster_is_held_and_tried_again(tmp_path, monkeypatch, run):
  """Free at the look before the start, but not when the run itself wants the directory."""
  held, claim = sources.held, logdir.claim(config_of(tmp_path, 0))
  looks = []
  def look_that_misses(path):
    looks.append(path)
    if len(looks) == 2:  # the first is that at all runs
      claim.__enter__()
      return False
    if len(looks) == 5:
      claim.__exit__(None, None, None)
    return held(path)
  monkeypatch.setattr(sources, 'held', look_that_misses)
  code, lines = run()
  states = [line.split(' | ')[1] for line in lines if line.startswith(NAME)]
  assert code == 0 and states == ['running', 'held', 'running', 'done']


def test_as_many_runs_at_a_time_as_jobs_share_the_cores(tmp_path, monkeypatch, start):
  hold = tmp_path / 'go'
  monkeypatch.delenv('TF_NUM_INTRAOP_THREADS', raising=False)
  process = start('stub', '--seeds', 3, '--jobs', 2, environ={'HOLD': str(hold)})
  wait_for(lambda: starts(tmp_path) == {0: 1, 1: 1}, process)
  assert not (tmp_path / f'{NAME}-2.log').exists()  # where it begins
  hold.touch()
  output, _ = process.communicate()
  assert process.returncode == 0, output
  threads = (tmp_path / f'{NAME}-0' / 'starts').read_text()
  assert int(threads) == max(1, jobs.cores() // 2)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sweep_lets_its_runs_save_and_goes_on_later(tmp_path, number, start, run):
  process = start('stub', '--seeds', 3, '--jobs', 2, environ=NEVER)
  wait_for(lambda: all(
      sweeps.frames(tmp_path / f'{NAME}-{seed}') == 50 for seed in (0, 1)), process)
  os.killpg(process.pid, number)  # as a terminal does
  output, _ = process.communicate()
  assert process.returncode == 128 + number
  assert 'Ending the runs' in output and 'Start the same command again' in output
  assert output.count('| stopped |') == 2 and 'failed' not in output
  assert (tmp_path / f'{NAME}-0.log').read_text().endswith('SIGTERM: saved\n')
  assert not sources.held(tmp_path / f'{NAME}-0')
  assert run('--seeds', 3)[0] == 0 and starts(tmp_path) == {0: 2, 1: 2, 2: 1}


@pytest.mark.skipif(sys.platform != 'linux', reason='elsewhere nobody tells the runs')
def test_runs_save_and_end_with_a_sweep_that_was_killed(tmp_path, start):
  process = start('stub', environ=NEVER)
  path = tmp_path / f'{NAME}-0'
  wait_for(lambda: sweeps.frames(path) == 50, process)
  process.kill()
  while sources.held(path):  # until the timeout of the test
    time.sleep(0.02)
  assert path.with_suffix('.log').read_text().endswith('SIGTERM: saved\n')


def test_a_sweep_waits_for_the_runs_of_one_that_was_killed(tmp_path, start):
  """As where the system does not end them, or while they save."""
  hold = tmp_path / 'go'
  environ = {'HOLD': str(hold)}
  orphan = start('run', environ=environ, seed=0)
  wait_for(lambda: sweeps.frames(tmp_path / f'{NAME}-0') == 50, orphan)
  process = start('stub', '--seeds', 2)
  wait_for(lambda: logdir.finished(tmp_path / f'{NAME}-1', config_of(tmp_path, 1)), process)
  hold.touch()
  output, _ = process.communicate()
  assert orphan.wait() == 0 and process.returncode == 0, output
  assert f'{NAME}-0 | held |' in output and f'{NAME}-0 | skipped | 100 of 100' in output
  assert starts(tmp_path) == {0: 1, 1: 1}


def evaluations(metrics):
  """How many rows of them a run has, whose last line may be half written."""
  return metrics.read_bytes().count(b'"eval/return"') if metrics.exists() else 0


@pytest.mark.integration
@pytest.mark.timeout(600)
def test_three_runs_killed_in_the_middle_end_complete_with_none_done_twice(tmp_path, start):
  """The real loop with its checkpoints, around an agent that computes next to nothing."""
  flags = [*loops.BASE[4:], '--seeds', 3, '--steps', 1200, '--eval_every', 120]
  process = start('toy', *flags)
  metrics = tmp_path / f'{NAME}-1' / 'metrics.jsonl'
  # The second run is in its middle: past its first checkpoints.
  wait_for(lambda: evaluations(metrics) > 3, process)
  process.kill()
  process.wait()
  first = tmp_path / f'{NAME}-0'
  assert logdir.finished(first, loops.config(first, '--steps', 1200))
  before = (first / 'metrics.jsonl').read_bytes()
  assert not (tmp_path / f'{NAME}-2').exists()
  process = start('toy', *flags)
  output, _ = process.communicate()
  assert process.returncode == 0, output
  assert (first / 'metrics.jsonl').read_bytes() == before
  assert 'Continuing at' in (tmp_path / f'{NAME}-1.log').read_text()
  counts = [(tmp_path / f'{NAME}-{seed}.log').read_text().count('--seed') for seed in range(3)]
  assert counts == [1, 2, 1]
  for seed in range(3):
    path = tmp_path / f'{NAME}-{seed}'
    assert loops.rows(path)[-1]['step'] == 1200
    assert loops.episodes(path) == [(k, 0, 11) for k in range(60)]
    evaluated = [row['step'] for row in loops.rows(path, 'eval/return')]
    assert evaluated == sorted(set(evaluated)) and evaluated[-1] == 1200


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_three_debug_runs_of_the_real_command_killed_in_the_middle_end_complete(
    tmp_path, start):
  name = 'dreamer-dmc-debug-dmc_cartpole_balance'
  flags = ['--configs', 'dmc', 'debug', '--tasks', 'dmc_cartpole_balance', '--seeds', 3,
           '--steps', 600]
  process = start('real', *flags)
  metrics = tmp_path / f'{name}-1' / 'metrics.jsonl'
  wait_for(lambda: evaluations(metrics), process, 900)
  process.kill()
  process.wait()
  process = start('real', *flags)
  output, _ = process.communicate()
  assert process.returncode == 0, output
  counts = [(tmp_path / f'{name}-{seed}.log').read_text().count('--seed') for seed in range(3)]
  assert counts == [1, 2, 1]
  for seed in range(3):
    rows = loops.rows(tmp_path / f'{name}-{seed}', 'train/return')
    assert [row['step'] for row in rows] == list(range(100, 601, 100))  # no episode twice


@pytest.mark.integration
@pytest.mark.timeout(600)
def test_a_local_ray_cluster_runs_continues_and_reports_like_processes(tmp_path, start):
  pytest.importorskip('ray')
  home = {
      'HOME': str(tmp_path / 'home'),  # where Ray keeps a secret
      'RAY_memory_monitor_refresh_ms': '0'}  # it ends what works on a machine that is nearly full
  process = start('stub', '--seeds', 2, '--ray', 'local', environ={**home, 'FAIL': '1'})
  output, _ = process.communicate()
  assert process.returncode == 1, output
  log = tmp_path / f'{NAME}-1.log'
  assert f'failed: {NAME}-1: exit code 1: ValueError: something broke | {log}' in output
  assert f'{NAME}-0 | running |' in output and f'{NAME}-0 | done | 100 of 100' in output
  assert (tmp_path / f'{NAME}-0' / 'starts').read_text() == '1\n'  # threads
  # Another one goes on, and is interrupted while a run is in its middle.
  process = start('stub', '--seeds', 2, '--ray', 'local', environ={**home, **NEVER})
  wait_for(lambda: starts(tmp_path) == {0: 1, 1: 2}, process)
  process.send_signal(signal.SIGTERM)
  output, _ = process.communicate()
  assert process.returncode == 143, output
  assert f'{NAME}-0 | skipped |' in output and f'{NAME}-1 | stopped |' in output
  assert log.read_text().endswith('SIGTERM: saved\n')


def test_a_cluster_without_room_for_a_run_is_refused():
  nodes = [{'CPU': 8.0}, {'CPU': 4.0, 'GPU': 2.0}]
  ray_jobs.check_fits(nodes, 8, 0)
  ray_jobs.check_fits(nodes, 4, 2)
  assert ray_jobs.default_gpus(nodes, 0) == 2  # all of a node
  assert ray_jobs.default_gpus(nodes, 1) == 1 and ray_jobs.default_gpus(nodes[:1], 1) == 0
  for cpus, gpus in ((9, 0), (8, 1), (1, 4)):
    with pytest.raises(config_lib.UserError, match='no node of the cluster has'):
      ray_jobs.check_fits(nodes, cpus, gpus)


def test_a_cluster_that_does_not_answer_is_told_at_once(run):
  pytest.importorskip('ray')
  code, lines = run('--ray', '127.0.0.1:1')
  assert code == 2 and 'no Ray cluster at --ray 127.0.0.1:1 (' in lines[0]


def test_a_sweep_in_a_terminal_draws_one_table(tmp_path, start):
  master, slave = pty.openpty()
  hold = tmp_path / 'go'
  process = start('stub', '--seeds', 2, stdin=slave, stdout=slave, stderr=slave, environ={
      'TERM': 'xterm', 'COLUMNS': '120', 'LINES': '40', 'FAIL': '1', 'HOLD': str(hold)})
  os.close(slave)
  text = ''
  while True:
    try:
      text += os.read(master, 65536).decode(errors='replace')
    except OSError:  # the terminal is closed: the process has ended
      break
    if 'running' in text and 'waiting' in text:
      hold.touch()
  assert process.wait() == 1, text[-3000:]
  for word in ('task', 'seed', 'dummy_continuous_vector', '2 runs: '):
    assert word in text, word
  assert f'{NAME}-1 | failed | 50 of 100' in text and f'{NAME}-0 | done' not in text


def test_a_sweep_whose_reader_is_gone_trains_on(tmp_path, start):
  with open('/dev/full', 'w') as full:
    process = start('stub', '--seeds', 2, stdout=full, stderr=subprocess.PIPE)
    assert process.wait(250) == 0, process.stderr.read()
  assert starts(tmp_path) == {0: 1, 1: 1}
