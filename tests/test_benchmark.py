"""The benchmark: what it counts, its limits, its answers, and how it refuses mistakes."""
import json
import os
import subprocess
import sys
import time
import types

import gymnasium
import numpy as np
import pytest

from common import benchmark
from common import config
from common.bench import sizes, standins
from common.bench import operations

IMAGE = {'image': gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)}
VECTOR = {'vector': gymnasium.spaces.Box(-np.inf, np.inf, (24,), np.float32)}

# GFLOP of 50 x 50 rows and horizon 15, counted by hand.
PUBLISHED = {
    'encoder': 213, 'decoder': 363, 'posterior scan': 8, 'heads on the posterior': 4,
    'actor': 123, 'prior steps': 45, 'heads on dreams': 38, 'value, for the actor': 62,
    'value, for its loss': 86}


def count(*flags, spaces=None, **options):
  return operations.count(config.load('dreamer', flags), spaces or IMAGE, 6, **options)


def answers(capsys):
  """The JSON lines that were printed."""
  lines = capsys.readouterr().out.splitlines()
  return [json.loads(line) for line in lines if line.startswith('{')]


@pytest.fixture(autouse=True)
def float32_afterwards():
  """The precision of layers is a setting of the process."""
  yield
  if 'tf_keras' in sys.modules:
    sys.modules['tf_keras'].mixed_precision.set_global_policy('float32')


def run(*argv):
  """Run a command in this process; returns its exit code."""
  with pytest.raises(SystemExit) as error:
    benchmark.main([str(arg) for arg in argv])
  return error.value.code or 0


def test_published_size_counts_942_gflop_with_the_value_head_twice():
  parts = count(value_twice=True)
  assert {key: round(value) for key, value in parts.items()} == PUBLISHED
  assert sum(parts.values()) == pytest.approx(942, rel=0.002)


def test_value_head_counted_once_saves_one_forward_pass():
  weights = 230 * 400 + 2 * 400 * 400 + 400
  saved = 2e-9 * 2500 * 15 * weights
  assert sum(count(value_twice=True).values()) - sum(count().values()) == pytest.approx(saved)


def test_count_is_proportional_to_the_batch():
  assert sum(count('--batch_size', '100').values()) == pytest.approx(2 * sum(count().values()))


def test_the_ensemble_is_counted_with_what_is_made_of_it():
  from common.bench import exploring
  from common.bench import trial
  def parts(*flags):
    made = trial.Trial(config.load('plan2explore', [
        '--configs', 'debug', '--disag_bootstrap', 'False', *flags]))
    found, ensemble = exploring.count(made), made.agent.novelty.ensemble
    size = lambda layer: 2e-9 * layer.kernel.shape.num_elements()
    return found, sum(map(size, ensemble.hidden)) + size(ensemble.mean), size(ensemble.hidden[0]), (
        size(ensemble.std) if ensemble.std else 0), made.agent.config
  found, layers, first, _, c = parts()
  rows, dreams = c.batch_size * c.batch_length, c.batch_size * c.batch_length * c.expl_horizon
  assert found['ensemble on replay'] == pytest.approx(rows * (3 * layers - first))
  assert found['ensemble on dreams'] == pytest.approx(dreams * layers)
  found, layers, first, std, _ = parts(
      '--disag_reward_grad', 'True', '--disag_loss', 'nll_learned', '--disag_offset', '1',
      '--disag_input', 'feat')
  assert found['ensemble on replay'] == pytest.approx(
      (rows - c.batch_size) * (3 * (layers + std) - first))
  assert found['ensemble on dreams'] == pytest.approx(2 * dreams * layers)
  found, layers, _, std, _ = parts('--intr_reduce', 'jrd')
  assert found['ensemble on dreams'] == pytest.approx(dreams * (layers + std)) and std


def test_blocks_are_seen_in_either_spelling():
  args = types.SimpleNamespace(size=None)
  for flags in (['--configs', 'debug'], ['--configs=debug']):
    assert sizes.name_of(args, flags, 'both') == 'configured'
  assert sizes.name_of(args, ['--seed', '1'], 'both') == 'both'


def test_the_peak_is_of_products_in_the_type_of_the_layers(monkeypatch):
  from common.bench import trial
  monkeypatch.setattr(trial, 'MATRIX', 8)
  made = trial.Trial(config.load('dreamer', ['--configs', 'debug']))
  assert made.peak()['product'] == '8 x 8, float32'
  made._config = made._config.replace(precision='mixed_float16')
  assert made.peak()['product'] == '8 x 8, float32'
  monkeypatch.setattr(trial, 'MATRIX_GPU', 9)
  monkeypatch.setattr(trial.devices, 'has_gpu', lambda: True)
  assert made.peak()['product'] == '9 x 9, float16'


def test_pcont_adds_heads_and_leaves_out_the_last_rows():
  parts, more = count(), count('--pcont', 'True')
  assert more['actor'] == pytest.approx(parts['actor'] * 49 / 50)
  assert more['heads on the posterior'] > parts['heads on the posterior']


def test_an_actor_that_is_only_reinforced_looks_through_nothing():
  flags = ('--imag_start', 'True', '--action_dist', 'onehot')
  parts, less = (count(*flags, '--actor_grad', kind) for kind in ('dynamics', 'reinforce'))
  for name in ('prior steps', 'heads on dreams'):
    assert less[name] == pytest.approx(parts[name] / 2)
  assert less['value, for the actor'] == 0 < parts['value, for the actor']
  # What follows the value is a network of its own, and is asked first.
  slow = count(*flags, '--actor_grad', 'reinforce', '--slow_value', '100')
  assert slow['value, for the actor'] == pytest.approx(parts['value, for the actor'])


def test_layers_and_members_of_the_latent_model_are_counted():
  parts = count()
  steps = 2 * 2e-9 * 2500 * 15
  assert count('--rssm_layers', '2')['prior steps'] - parts['prior steps'] == pytest.approx(
      steps * 2 * 200 ** 2)
  assert count('--rssm_ensemble', '3')['prior steps'] - parts['prior steps'] == pytest.approx(
      steps * 2 * (200 ** 2 + 200 * 60))


def test_an_explorer_without_a_value_at_the_end_dreams_a_step_more():
  from common.bench import exploring
  from common.bench import trial
  one, two = (
      exploring.count(trial.Trial(config.load('plan2explore', [
          '--configs', 'debug', '--expl_horizon', '4', '--expl_bootstrap', value])))
      for value in ('True', 'False'))
  for name in ('ensemble on dreams', 'explorer: actor'):
    assert two[name] == pytest.approx(one[name] * 5 / 4)


def test_vectors_are_counted_as_perceptrons():
  parts = count('--configs', 'dmc_proprio', spaces=VECTOR)
  assert parts['encoder'] == pytest.approx(2e-9 * 2500 * (2 * 24 * 400 + 3 * 3 * 400 ** 2))
  hidden = 230 * 400 + 3 * 400 ** 2 + 400 * 24
  assert parts['decoder'] == pytest.approx(2e-9 * 2500 * 3 * hidden)


@pytest.mark.parametrize('argv, hint', [
    (['train_step', '--free_nat', '1'], 'free_nats'),
    (['train_step', '--configs', 'debgu'], 'debug'),
    (['train_step', '--vary', 'jjit', 'True', 'False'], 'jit'),
    (['train_step', '--size', 'smal'], 'small'),
    (['train_step', '--size', 'published', '--configs', 'debug'], 'Leave one of them out'),
    (['train_step', '--latent_model', 'ssm'], 'not counted for latent_model ssm'),
    (['train_step', '--vary', '.*_lr', '1e-4', '1e-3'], 'by its whole name'),
    (['train_step', '--vary', 'deterministic', 'True', 'False'], 'of a whole process'),
    (['train_step', '--vary', 'horizon', '5', '6', '--onednn', 'False'], 'are of variants'),
    (['parts', '--latent_model', 'drnn'], 'for latent_model drnn'),
    (['plan', '--latent_model', 'ssm'], 'for latent_model ssm'),
    (['explore', '--configs', 'dmc', 'rnd'], 'but it is rnd'),
    (['env', '--envs', '2'], '--envs is what the benchmark varies'),
    (['loop', '--steps', '1000'], '--steps is what the benchmark itself chooses'),
    (['loop', '--envs=2'], '--envs is what'),
    (['loop', '--.*_every', '5'], '--train_every is what'),
    (['parts', '--obs_loss', 'contrastive'], 'not counted for obs_loss contrastive'),
    (['explore', '--configs', 'dmc', 'retrospective_replay'], 'not counted for expl_replay True'),
    (['train_step', '--steps', '0'], 'at least 1'),
    (['train_step', '--against', 'nowhere'], 'no checkout'),
    (['train_step', '--against', 'tests', '--vary', 'jit', 'True', 'False'], 'not allowed'),
    (['train_step', '--agent', 'planet'], '--against'),
    (['parts', '--size', 'smal'], 'small'),
    (['train_step', '--vary', 'horizon', '5', 'x'], 'horizon'),
    (['data', '--batch_size', 'x'], 'batch_size'),
    (['env', '--task', 'dmc_walker_wlak'], 'dmc_walker_walk'),
    (['emulator', '--task', 'toy_lock'], 'toy_lock is no game of Atari'),
    (['loop', '--stored', '-1'], 'at least 0'),
    (['loop', '--update_ms', '-5'], 'at least 0'),
    (['loop', '--env_ms', 'nan'], 'at least 0'),
    (['train-step'], 'train_step')])
def test_mistakes_are_refused_with_code_2_and_a_hint(argv, hint, capsys):
  assert run(*argv) == 2
  captured = capsys.readouterr()
  assert hint in captured.err and not captured.out


def test_mistakes_are_refused_before_tensorflow_is_imported(root):
  started = time.perf_counter()
  code = (
      'import sys; from common import benchmark\n'
      'try: benchmark.main(["train_step", "--free_nat", "1"])\n'
      'except SystemExit as error: assert error.code == 2\n'
      'assert "tensorflow" not in sys.modules')
  subprocess.run([sys.executable, '-c', code], cwd=root, check=True, capture_output=True)
  assert time.perf_counter() - started < 10


@pytest.mark.integration
def test_each_variant_gives_seconds_memory_peak_and_one_trace(capsys):
  assert run('train_step', '--configs', 'debug', '--steps', '1') == 0
  rows = answers(capsys)
  assert [(row['jit'], row['onednn']) for row in rows] == [(False, True), (False, False)]
  for row in rows:
    assert row['traces'] == 1
    assert 0 < row['wall'] < row['first_call'] and row['cpu'] > 0 and 0.1 < row['memory'] < 14
    assert row['best_peak'] == max(row['peak'] for row in rows)
    expected = row['gflop'] / row['wall'] / row['best_peak']
    assert row['share'] == pytest.approx(expected, rel=1e-3)
    assert row['gflop'] == pytest.approx(sum(row['parts'].values()), rel=1e-3)


def test_a_variant_over_its_limits_is_a_row_and_no_failure(capsys):
  flags = ['--configs', 'debug', '--onednn', 'True']
  assert run('train_step', *flags, '--timeout', '0.1') == 0
  assert run('train_step', *flags, '--memory', '0.05') == 0
  assert [row['problem'] for row in answers(capsys)] == ['over 0.1 s', 'over 0.05 GB']


@pytest.mark.integration
def test_an_error_in_a_process_is_shown_and_gives_code_1(capsys):
  # No observation has this name, which only the world model finds out.
  flags = ['--configs', 'debug', '--onednn', 'True', '--cnn_keys', '', '--mlp_keys', 'nothing']
  assert run('train_step', *flags) == 1
  captured = capsys.readouterr()
  assert 'Traceback' in captured.err and 'world_model.py' in captured.err
  assert json.loads(captured.out.splitlines()[-1])['problem'].startswith('failed: ')


@pytest.mark.integration
def test_vary_compares_the_medians_of_two_agents(capsys):
  flags = ['--configs', 'debug', '--cnn_keys', '', '--mlp_keys', 'vector']
  assert run('train_step', *flags, '--vary', 'horizon', '3', '60', '--steps', '5') == 0
  row, = answers(capsys)
  assert row['key'] == 'horizon' and row['values'] == [3, 60]
  assert row['medians'][0] < row['medians'][1]
  assert row['ratio'] == pytest.approx(row['medians'][1] / row['medians'][0], rel=1e-3)


@pytest.mark.integration
@pytest.mark.parametrize('agent', [
    pytest.param('dreamer', marks=pytest.mark.slow), 'planet'])
def test_updates_of_two_checkouts_are_timed_in_turns(root, capsys, agent):
  assert run(
      'train_step', '--configs', 'debug', '--agent', agent, '--against', root, '--steps', '2') == 0
  row, = answers(capsys)
  assert (row['agent'], row['size'], row['steps']) == (agent, 'configured', 2)
  assert row['ratio'] == pytest.approx(row['wall_against'] / row['wall'], rel=1e-3)
  assert 0 < row['wall'] < row['first_call'] and 0.1 < row['memory'] < 14


@pytest.mark.integration
@pytest.mark.parametrize('code, words', [
    ('raise RuntimeError("old")', 'RuntimeError: old'),
    ('import sys\nsys.stderr.write(200_000 * "x" + "\\nlast")\nsys.exit(1)', 'last'),
    ('import os\nos.kill(os.getpid(), 9)', 'exit code -9')])
def test_a_failure_in_another_checkout_is_one_sentence(tmp_path, capsys, code, words):
  (tmp_path / 'common').mkdir()
  (tmp_path / 'common' / 'config.py').write_text(code)
  assert run('train_step', '--configs', 'debug', '--against', tmp_path) == 2
  error = capsys.readouterr().err
  assert f'the update failed: {words}' in error and error.count('\n') == 1


def test_another_checkout_finds_packages_on_the_path_but_not_our_code(tmp_path, monkeypatch):
  from common.bench import against
  for name in ('ours/common', 'packages'):
    (tmp_path / name).mkdir(parents=True)
  monkeypatch.setenv('PYTHONPATH', os.pathsep.join(['', *(str(tmp_path / x) for x in ('ours', 'packages'))]))
  assert against._others() == [str(tmp_path / 'packages')]
  monkeypatch.delenv('PYTHONPATH')
  assert against._others() == []


def test_sizes_leave_out_what_an_agent_does_not_have():
  assert '--horizon' in sizes.flags('small')
  config.load('planet', sizes.flags('small', 'planet'))
  assert sizes.flags('published') == sizes.flags('configured') == []


@pytest.mark.integration
@pytest.mark.parametrize('flags, pictures', [
    (['--precision', 'mixed_float16'], True), (['--cnn_keys', ''], False)])
def test_each_part_of_an_update_is_timed_alone(capsys, flags, pictures):
  assert run(
      'parts', '--configs', 'debug', '--steps', '1', '--mlp_keys', '.*', *flags) == 0
  rows = {row['part']: row for row in answers(capsys)}
  assert ('likelihood of the pictures' in rows) == pictures
  assert ('decoder 5: 30x30x2 to 64x64x3' in rows) == pictures
  for name in ('posterior scan', 'dreaming', 'heads and losses on dreams'):
    row = rows[name]
    assert row['gflops'] == pytest.approx(row['gflop'] / row['both'] * 1e3, rel=1e-2)
    assert 0 < row['forward'] and 0 < row['gb'] and 0 < row['share'] < 1
  alone = sum(row['gflop'] for name, row in rows.items() if name != 'the whole update')
  if pictures:  # perceptrons of vectors are no part
    assert alone < rows['the whole update']['gflop']


@pytest.mark.integration
@pytest.mark.parametrize('agent', ['dreamer', 'plan2explore'])
def test_a_start_is_split_into_its_steps(capsys, agent):
  assert run('start', '--agent', agent, '--configs', 'debug', '--task', 'dummy_continuous') == 0
  row, = answers(capsys)
  steps = ('imports', 'environment', 'building', 'tracing', 'first_update', 'second_update')
  assert row['agent'] == agent and all(row[step] >= 0 for step in steps)
  assert row['tracing'] > row['second_update']  # which is traced no more
  assert row['until_learning'] == pytest.approx(sum(row[step] for step in steps[:-1]), rel=1e-3)


def test_data_reports_the_share_of_waiting(capsys):
  assert run('data', '--configs', 'debug', '--steps', '3') == 0
  row, = answers(capsys)
  assert row['batches_per_s'] > 0 and row['updates_per_s'] > 0
  assert 0 <= row['wait_share'] < 1


def test_env_counts_decisions_with_and_without_images_and_in_processes(capsys):
  assert run('env', '--task', 'dummy_continuous', '--steps', '5') == 0
  rows = answers(capsys)
  assert len(rows) == 3 and all(row['decisions_per_s'] > 0 for row in rows)
  for row in rows:
    assert row['frames_per_s'] == pytest.approx(2 * row['decisions_per_s'], rel=1e-3)




def test_the_planner_is_timed_with_and_without_xla(capsys):
  with pytest.raises(SystemExit) as caught:
    benchmark.main(['plan', '--steps', '1', '--configs', 'debug'])
  rows = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line[0] == '{']
  assert not caught.value.code and [row['jit'] for row in rows] == [False, True]
  assert all(row['wall'] > 0 and 0 < row['share'] < 1 for row in rows)


def test_operations_of_a_search_are_those_of_the_published_size():
  from common.bench import planning
  assert planning.operations(config.load('planet', [])) == pytest.approx(131.6, abs=0.1)


def test_the_view_and_the_pictures_are_timed_against_updates(capsys):
  assert run('view', '--configs', 'debug', '--steps', '2') == 0
  row, = answers(capsys)
  assert row['update'] > 0 and row['pictures'] > 0
  assert row['total'] == pytest.approx(row['view'] + row['pictures_share'], abs=1e-3)


def test_games_are_timed_against_the_bare_emulator(capsys):
  pytest.importorskip('ale_py')
  assert run('emulator', '--steps', '400') == 0
  row, = answers(capsys)
  assert row['task'] == 'atari_pong' and 0 < row['wrapper'] < row['bare'] and 0 < row['share'] < 1


def test_stand_ins_compute_or_sleep_for_a_given_time():
  worked = []
  for busy in (False, True):
    waiter, before = standins.Waiter(50, busy), time.thread_time()
    with waiter:
      pass
    worked.append(time.thread_time() - before)
    assert waiter.total >= 0.05 and waiter.count == 1
  assert worked[0] < worked[1]


@pytest.mark.parametrize('overlap, busy', [('False', []), ('True', ['--busy'])])
def test_the_loop_is_timed_against_what_its_stand_ins_waited_for(capsys, overlap, busy):
  assert run(
      'loop', '--stored', '0', '30', '--train_steps', '100', '--frames', '2000', '--update_ms',
      '0.5', '--policy_ms', '0.1', '--env_ms', '0.1', '--overlap', overlap, *busy) == 0
  rows = answers(capsys)
  assert [(row['stored'], row['train_steps']) for row in rows] == [(0, 100), (30, 100)]
  for row in rows:
    assert row['overlap'] == (overlap == 'True') and row['updates'] == 200
    assert row['busy'] == bool(busy)
    assert row['frames_per_second'] == pytest.approx(2000 / row['wall'], rel=1e-3)
    assert row['share_of_bound'] == pytest.approx(row['bound'] / row['wall'], rel=1e-3)
    least, waited = 200 * 0.5e-3, 200 * 0.5e-3 + 1000 * 0.2e-3
    assert row['bound'] > (max(least, waited - least) if row['overlap'] else waited)
    assert row['host_ms_per_update'] == pytest.approx(
        1e3 * (row['wall'] - row['bound']) / 200, rel=1e-2)


def test_the_loop_is_not_timed_around_collectors(capsys):
  with pytest.raises(SystemExit) as stop:
    benchmark.main(['loop', '--stored', '0', '--overlap', 'True', '--collectors', '1'])
  assert stop.value.code == 2 and 'Pass --collectors 0' in capsys.readouterr().err
