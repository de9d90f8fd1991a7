"""Commands refuse mistakes at once in a sentence, and leave directories to their owners."""
import os
import subprocess
import sys

import pytest
from ruamel import yaml

from common import config as config_lib
from common import evaluate
from common.loop import logdir
from dreamer import train
from plan2explore import train as plan2explore
import loops
import toys


def refused(capsys, main, *argv):
  """The one line that a command leaves on stderr with exit code 2."""
  capsys.readouterr()
  with pytest.raises(SystemExit) as stop:
    main([str(arg) for arg in argv])
  assert stop.value.code == 2
  error = capsys.readouterr().err
  assert error.count('\n') == 1 and error.endswith('\n'), error
  return error


@pytest.fixture
def command(tmp_path, monkeypatch):
  """Arguments of a short run of the toy agent at tmp_path / 'run'."""
  loops.use_toy(monkeypatch.setattr)
  return [*loops.BASE, '--logdir', tmp_path / 'run']


@pytest.mark.parametrize('flags, words', [
    (['--configs', 'dcm'], ['dcm', 'dmc']),
    (['--free_nat', '1'], ['free_nat', 'free_nats']),
    (['--task', 'dmx_walker_walk'], ['dmx', 'dmc']),
    (['--task', 'dmc_walker_wak'], ['wak', 'dmc_walker_walk']),
    (['--steps', '-5'], ['steps', 'at least 1']),
    (['--seed', 'one'], ['seed', "'one'", 'whole number']),
    (['--configs', 'debug', '--batch_length', '60'], ['batch_length 60', 'time_limit']),
    (['--task', 'py_worlds:Nowhere'], ['Nowhere']),
    (['walker'], ['walker']),
    (['--logdir'], ['--logdir needs a value'])])
def test_mistakes_are_one_sentence_and_create_nothing(tmp_path, capsys, flags, words):
  path = tmp_path / 'new'
  error = refused(capsys, train.main, '--logdir', path, *flags)
  assert all(word in error for word in words), error
  assert not path.exists()


def test_a_reader_that_has_seen_enough_of_the_help_leaves_no_traceback():
  with subprocess.Popen(
      [sys.executable, '-m', 'dreamer.train', '--help'], stdout=subprocess.PIPE,
      stderr=subprocess.PIPE) as process:
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b'' and process.wait() in (0, 141)


def test_characters_that_a_terminal_lacks_end_no_command():
  code = 'from common import config\nconfig.entry(lambda argv: print("90 \u00b1 1"))([])'
  done = subprocess.run(
      [sys.executable, '-c', code], env={**os.environ, 'PYTHONIOENCODING': 'ascii'}, capture_output=True)
  assert (done.returncode, done.stdout, done.stderr) == (0, b'90 ? 1\n', b'')


@pytest.mark.parametrize('given, expected', [
    ('module://not_there.backend_inline', 'agg'), ('module://json.decoder', 'module://json.decoder'),
    ('Qt4Agg', 'agg')])
def test_a_notebooks_back_end_that_is_not_there_ends_no_command(monkeypatch, given, expected):
  monkeypatch.setenv('MPLBACKEND', given)
  assert config_lib.entry(lambda argv: os.environ['MPLBACKEND'])([]) == expected


def test_a_mistake_is_refused_within_three_seconds_and_without_tensorflow(tmp_path, processor_seconds):
  code = (
      'import sys\nfrom dreamer import train\ntry:\n  train.main(sys.argv[1:])\n'
      'finally:\n  print("tensorflow" in sys.modules)')
  argv = ['--configs', 'dmc', '--task', 'dmc_walker_wlak', '--logdir', str(tmp_path / 'new')]
  done, seconds = processor_seconds(
      subprocess.run, [sys.executable, '-c', code, *argv], capture_output=True, text=True)
  assert (done.returncode, done.stdout) == (2, 'False\n')
  assert 'dmc_walker_walk' in done.stderr and done.stderr.count('\n') == 1
  assert seconds < 3


@pytest.mark.parametrize('module', [
    'common.plot', 'common.report', 'common.sweep', 'common.verify', 'common.evaluate',
    'common.check_env', 'common.benchmark', 'common.doctor', 'dreamer.train'])
def test_help_is_shown_without_what_takes_long_to_import(module):
  code = (
      f'import runpy, sys\nsys.argv[1:] = ["--help"]\ntry:\n  runpy.run_module({module!r}, '
      'run_name="__main__")\nfinally:\n  print({"tensorflow", "matplotlib", "scipy"} & {*sys.modules})')
  done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
  assert done.returncode == 0 and done.stdout.endswith('set()\n'), done


def test_a_finished_run_says_so_and_more_steps_continue_it(command, tmp_path, capsys):
  train.main([str(arg) for arg in command])
  before = (tmp_path / 'run' / 'metrics.jsonl').read_bytes()
  capsys.readouterr()
  train.main([str(arg) for arg in command])
  out = capsys.readouterr().out
  assert 'finished' in out and '--steps above 120' in out and out.count('\n') == 1
  assert (tmp_path / 'run' / 'metrics.jsonl').read_bytes() == before
  train.main([str(arg) for arg in [*command, '--steps', 160]])
  rows = loops.rows(tmp_path / 'run')
  assert [row['step'] for row in rows if 'eval/return' in row] == [40, 80, 120, 160]
  assert rows[-1]['step'] == 160


def test_a_finished_run_is_told_without_tensorflow(command, tmp_path):
  train.main([str(arg) for arg in command])
  code = (
      'import sys\nfrom dreamer import train\ntrain.main(sys.argv[1:])\n'
      'print("tensorflow" in sys.modules)')
  done = subprocess.run(
      [sys.executable, '-c', code, *map(str, command)], capture_output=True, text=True)
  assert done.returncode == 0 and done.stdout.endswith('False\n') and 'finished' in done.stdout


@pytest.mark.parametrize('prune', [False, True])
def test_pruned_episodes_count_for_the_end(command, tmp_path, capsys, prune):
  command = [*command, '--replay_capacity', 60, '--prune_disk', prune]
  train.main([str(arg) for arg in command])
  assert len(list((tmp_path / 'run' / 'episodes').glob('*.npz'))) == (3 if prune else 6)
  capsys.readouterr()
  train.main([str(arg) for arg in command])
  assert capsys.readouterr().out.count('\n') == 1


def test_a_run_in_use_is_refused_and_left_alone(command, tmp_path, capsys):
  config = config_lib.load('dreamer', command)
  with logdir.claim(config) as path:
    before = sorted(path.rglob('*'))
    assert 'another process is training here' in refused(capsys, train.main, *command)
    assert sorted(path.rglob('*')) == before
  with logdir.claim(config):  # free again
    pass


def test_other_settings_are_refused_with_the_difference(command, tmp_path, capsys):
  train.main([str(arg) for arg in command])
  files = {x: x.stat().st_mtime_ns for x in (tmp_path / 'run').rglob('*')}
  other = ['--deter_size', 9, '--task', 'dummy_terminal_vector']
  error = refused(capsys, train.main, *command, *other)
  assert 'deter_size: 4 there, 9 here' in error and 'task: ' in error
  assert {x: x.stat().st_mtime_ns for x in (tmp_path / 'run').rglob('*')} == files


def test_what_does_not_shape_the_run_may_change(command, tmp_path):
  train.main([str(arg) for arg in command])
  train.main([str(arg) for arg in [
      *command, '--steps', 140, '--eval_every', 20, '--log_every', 40, '--nan_limit', 5]])
  assert loops.rows(tmp_path / 'run')[-1]['step'] == 140


def test_the_run_of_another_agent_is_refused(command, tmp_path, capsys):
  train.main([str(arg) for arg in command])
  path = tmp_path / 'run' / 'config.yaml'
  values = yaml.YAML(typ='safe').load(path)
  with path.open('w') as file:
    yaml.YAML(typ='safe').dump({**values, 'agent': 'planet', 'planner': 5}, file)
  error = refused(capsys, train.main, *command)
  assert "agent: 'planet' there, 'dreamer' here" in error and len(error) < 300
  path.write_text(path.read_text()[:30])
  assert 'config.yaml is cut short' in refused(capsys, train.main, *command)


def test_a_directory_without_config_counts_as_new(command, tmp_path):
  train.main([str(arg) for arg in command])
  (tmp_path / 'run' / 'config.yaml').unlink()
  train.main([str(arg) for arg in [*command, '--steps', 140]])
  assert loops.rows(tmp_path / 'run')[-1]['step'] == 140


def test_a_logdir_that_cannot_be_is_refused(tmp_path, capsys):
  (tmp_path / 'file').write_text('')
  for path in (tmp_path / 'file', tmp_path / 'file' / 'run'):
    error = refused(capsys, train.main, *loops.BASE, '--logdir', path)
    assert str(path) in error and '--logdir' in error


@pytest.mark.parametrize('flag', ['--logdir', '--offline', '--source'])
def test_a_path_that_no_system_has_is_refused(capsys, tmp_path, flag):
  path = tmp_path / ('x' * 300)
  agent = plan2explore if flag == '--source' else train
  where = [] if flag == '--logdir' else ['--logdir', tmp_path / 'run']
  error = refused(capsys, agent.main, *loops.BASE, *where, flag, path)
  assert str(path) in error and not (tmp_path / 'run').exists()


def test_noise_that_discrete_actions_cannot_take_is_refused(command, tmp_path, capsys):
  error = refused(
      capsys, train.main, *command, '--task', 'dummy_discrete_vector', '--action_dist', 'onehot',
      '--logdir', tmp_path / 'new' / 'runs' / 'a')
  assert '--expl epsilon_greedy' in error
  assert not (tmp_path / 'new').exists()  # though it was found with the directory claimed


@pytest.mark.parametrize('flags, word', [
    ([], 'holds no run'), (['--episodes', '0'], 'at least 1'),
    (['--video', 'a.avi'], '.gif, .mp4')])
def test_evaluate_refuses_mistakes_in_one_line(tmp_path, capsys, flags, word):
  path = tmp_path / 'nowhere'
  if flags:
    path = tmp_path
    logdir.save_config(path, loops.config(path), {}, toys.actions(2))
  assert word in refused(capsys, evaluate.main, '--logdir', path, *flags)
  assert not (tmp_path / 'nowhere').exists()
