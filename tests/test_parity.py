"""The golden fixtures, and whether the command that checks them can fail."""
import importlib
import json
import pathlib

import numpy as np
import pytest

from common import config
from common import verify
from common.checks import judge
from common.checks import parity
from common.data import windows

GOLDEN = pathlib.Path(__file__).parent / 'golden'
FILES = sorted(GOLDEN.glob('*.npz'))
WINDOWS = GOLDEN / 'replay_windows.npz'


def run(capsys, *paths):
  """Run the command; return its exit code and the JSON objects that it printed."""
  with pytest.raises(SystemExit) as exit_info:
    verify.main(['parity', *map(str, paths)])
  return exit_info.value.code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def toy_fixture(component='toy', settings=(), **arrays):
  arrays = {key.replace('__', '/'): np.asarray(value) for key, value in arrays.items()}
  return parity.Fixture(
      pathlib.Path('toy.npz'), {'component': component, 'config': dict(settings)}, arrays)


def changed(tmp_path, source, change):
  """Write a copy of a golden file with other meta or arrays."""
  with np.load(source) as archive:
    arrays = {key: archive[key] for key in archive.files}
  meta = json.loads(str(arrays.pop('meta')))
  change(meta, arrays)
  path = tmp_path / 'changed.npz'
  np.savez_compressed(path, meta=np.array(json.dumps(meta)), **arrays)
  return path


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_our_modules_compute_what_the_reference_computed(path):
  try:
    parity.find(parity.load(path).component)
  except config.UserError as error:
    pytest.skip(str(error))
  report = judge.verify(path)
  assert report['ok'], report
  assert report['checked'] and not report['skipped'] and 'error' not in report


def test_every_parity_module_registers_its_checks_and_none_twice():
  names = [name for module in parity.modules() for name in importlib.import_module(module).CHECKS]
  assert sorted(set(names)) == sorted(names)


def test_report_is_one_json_line_a_file_with_the_agreed_fields(capsys):
  code, reports = run(capsys, WINDOWS, WINDOWS)
  assert code == 0 and len(reports) == 2
  assert set(reports[0]) == {
      'fixture', 'ok', 'checked', 'skipped', 'worst_key', 'worst_error', 'tolerance'}
  assert reports[0]['fixture'] == 'replay_windows' and reports[0]['checked'] == 8


@pytest.mark.parametrize('start', [
    lambda rng, rows, length, last_row, balance: int(rng.integers(0, rows - length + 1)),
    lambda rng, rows, length, last_row, balance: 0])
def test_a_disturbed_window_start_is_noticed(capsys, monkeypatch, start):
  monkeypatch.setattr(windows, 'window_start', start)
  code, reports = run(capsys, WINDOWS)
  assert code == 1 and not reports[0]['ok']
  assert reports[0]['worst_error'] > reports[0]['tolerance']


@pytest.mark.parametrize('key', ['out/case1/episode/reward', 'out/case0/env_actions',
                                 'out/case5/episode/position', 'out/case9/episode/discount'])
def test_a_changed_number_is_noticed_in_any_output(tmp_path, capsys, key):
  def change(meta, arrays):
    arrays[key].ravel()[1] += 0.01
  code, reports = run(capsys, changed(tmp_path, GOLDEN / 'replay_alignment.npz', change))
  assert code == 1 and reports[0]['worst_key'] == key


def test_only_fixed_quirks_are_listed_and_the_rest_is_compared(capsys):
  code, reports = run(capsys, GOLDEN / 'replay_alignment.npz')
  assert code == 0
  assert reports[0]['quirks'] == [
      'out/case5/episode/action', 'out/case5/episode/reward', 'out/case9/episode/discount']
  expected = parity.load(GOLDEN / 'replay_alignment.npz').expected
  assert reports[0]['checked'] == len(expected) - 3


def test_episodes_of_other_lengths_and_window_sizes_are_checked_as_well(tmp_path):
  def change(meta, arrays):
    arrays.clear()
    meta['config']['cases'] = [{'total': 4, 'length': 3, 'balance': False},
                               {'total': 5, 'length': 5, 'balance': True}]
    arrays['out/case0/frequency'] = np.array([1, 0, 0, 0], np.float32)
    arrays['out/case0/possible'] = np.array([1, 0, 0, 0])
    arrays['out/case1/frequency'] = np.zeros(5, np.float32)
    arrays['out/case1/possible'] = np.zeros(5, np.int32)
  assert judge.verify(changed(tmp_path, WINDOWS, change))['ok']


def test_settings_that_a_fixture_does_not_use_may_have_any_value(tmp_path):
  path = GOLDEN / 'v2_actor_critic_dynamics.npz'
  def change(meta, arrays):
    del arrays
    meta['config']['actor_grad_mix'] = 0.5
  assert judge.verify(changed(tmp_path, path, change))['ok']


@pytest.mark.parametrize('content', [None, b'', b'not a zip'])
def test_missing_or_foreign_files_give_a_line_with_an_error(tmp_path, capsys, content):
  path = tmp_path / 'some.npz'
  if content is not None:
    path.write_bytes(content)
  code, reports = run(capsys, path, WINDOWS)
  assert code == 1
  assert not reports[0]['ok'] and 'some.npz' in reports[0]['error'] and reports[1]['ok']


def test_episode_files_are_no_fixtures(tmp_path, capsys):
  np.savez(tmp_path / 'episode.npz', reward=np.zeros(3))
  code, reports = run(capsys, tmp_path / 'episode.npz')
  assert code == 1 and 'not a golden fixture' in reports[0]['error']


def test_an_unknown_component_is_an_error(tmp_path, capsys):
  path = changed(tmp_path, WINDOWS, lambda meta, _: meta.update(component='replay_window'))
  code, reports = run(capsys, path)
  assert code == 1 and 'replay_window' in reports[0]['error'] and reports[0]['checked'] == 0


def test_a_check_that_raises_gives_a_line_and_no_traceback_on_stdout(monkeypatch, capsys):
  def broken(fixture):
    print('noise')
    raise RuntimeError('boom')
  monkeypatch.setattr(parity, 'find', lambda component: broken)
  code, reports = run(capsys, WINDOWS)
  assert code == 1 and reports[0]['error'] == 'RuntimeError: boom'
  assert reports[0]['checked'] == 0 and len(reports[0]['skipped']) == 8


@pytest.mark.parametrize('argv', [[], ['parity'], ['parities', 'x.npz']])
def test_a_wrong_command_exits_with_two(argv):
  with pytest.raises(SystemExit) as exit_info:
    verify.main(argv)
  assert exit_info.value.code == 2


def test_a_missing_output_is_skipped_and_fails():
  report = judge.judge(toy_fixture(out__x=1.0, out__y=2.0), {'out/x': 1.0})
  assert not report['ok'] and report['skipped'] == ['out/y'] and report['checked'] == 1


def test_nothing_checked_is_not_ok():
  assert not judge.judge(toy_fixture(in__x=1.0), {})['ok']


@pytest.mark.parametrize('value', [np.nan, np.inf, [1.0], 'shape'])
def test_values_that_cannot_be_compared_fail(value):
  value = np.ones((1, 1)) if value == 'shape' else value
  report = judge.judge(toy_fixture(out__x=1.0), {'out/x': value})
  assert not report['ok']
  json.loads(json.dumps(report, allow_nan=False))


def test_a_recorded_nan_fails():
  assert not judge.judge(toy_fixture(out__x=np.nan), {'out/x': np.nan})['ok']


@pytest.mark.parametrize('component, key, limit', [
    ('encoder', 'out/x', 2e-5), ('dreamer_train_step', 'out/x', 5e-5),
    ('encoder', 'grad/encoder/h1/bias', 1e-4)])
def test_limits_of_outputs_and_gradients(component, key, limit):
  expected = np.array([3.0, -10.0])
  scale = 10.0 + 1e-3
  fixture = toy_fixture(component, **{key.replace('/', '__'): expected})
  for share, ok in ((0.9, True), (1.1, False)):
    report = judge.judge(fixture, {key: expected + [share * limit * scale, 0]})
    assert report['ok'] == ok and report['tolerance'] == limit
    np.testing.assert_allclose(report['worst_error'], share * limit, rtol=1e-3)


@pytest.mark.parametrize('step, limit', [('step1', 0.05), ('step3', 0.15)])
@pytest.mark.parametrize('owner, rate', [
    ('encoder', 6e-4), ('rssm', 6e-4), ('decoder', 6e-4), ('reward', 6e-4), ('pcont', 6e-4),
    ('value', 1e-4), ('actor', 2e-4)])
def test_weights_after_a_step_are_compared_in_units_of_their_learning_rate(
    step, limit, owner, rate):
  key = f'{step}/{owner}/h0/kernel'
  settings = {'model_lr': 6e-4, 'value_lr': 1e-4, 'actor_lr': 2e-4}
  fixture = toy_fixture(settings=settings, **{key.replace('/', '__'): np.ones(3)})
  for share, ok in ((0.9, True), (1.1, False)):
    report = judge.judge(fixture, {key: 1 + share * limit * rate * np.ones(3)})
    assert report['ok'] == ok and report['tolerance'] == limit


def test_whole_numbers_are_compared_exactly():
  fixture = toy_fixture(out__x=np.array([10 ** 6, 3], np.int32))
  assert judge.judge(fixture, {'out/x': np.array([1e6, 3.0])})['ok']
  assert not judge.judge(fixture, {'out/x': np.array([10 ** 6, 4])})['ok']


@pytest.mark.parametrize('row, change, ok', [(0, 5e-4, True), (2, 5e-4, False), (1, 2e-3, False)])
def test_actions_at_the_boundary_have_a_wider_limit(row, change, ok):
  expected = np.ones(5)
  value = expected.copy()
  value[row] += change
  fixture = toy_fixture('actor_tanh_normal', out__log_prob=expected)
  assert judge.judge(fixture, {'out/log_prob': value})['ok'] == ok


def test_worst_key_is_the_one_nearest_to_its_own_limit():
  fixture = toy_fixture(out__x=1.0, grad__x=1.0)
  report = judge.judge(fixture, {'out/x': 1 + 1e-5, 'grad/x': 1 + 3e-5})
  assert report['worst_key'] == 'out/x'


def test_a_check_may_bring_its_own_limit():
  fixture = toy_fixture(out__x=np.array([0.1, 0.2]))
  for change, ok in ((0.015, True), (0.025, False)):
    value = parity.Compare(np.array([0.1, 0.2 + change]), 0.02)
    assert judge.judge(fixture, {'out/x': value})['ok'] == ok


def test_only_the_named_components_may_have_quirks():
  with pytest.raises(ValueError, match='may not have quirks'):
    judge.judge(toy_fixture('encoder', out__x=1.0), ({}, ['out/x']))
  report = judge.judge(toy_fixture('p2e_lambda_return', out__x=1.0, out__y=1.0),
                        ({'out/y': 1.0}, ['out/x']))
  assert report['ok'] and report['quirks'] == ['out/x'] and report['checked'] == 1
