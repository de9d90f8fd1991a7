"""Errors of dreams: of the pictures that the model expects, beside guesses that need no model."""
import json

import numpy as np
import pytest

from common.loop import dreams
from common.scores import curves
from common.scores import dream_chart
from common.scores import figures
import loops
import toys

SEED = (0, 7)


def episode(rows):
  return {key: value[0] for key, value in toys.batch(1, rows).items()}


def starts(found, rows):
  """All windows of one short episode."""
  count = len(found['reward']) - rows + 1
  assert count <= dreams.STARTS
  return {key: np.stack([value[t:t + rows] for t in range(count)]) for key, value in found.items()}


def test_they_are_those_of_the_mean_picture_of_dreams(monkeypatch):
  agent, found = toys.agent(), episode(50)
  data = starts(found, 50)
  model = agent.world_model
  rows = model.preprocess({key: np.repeat(x, dreams.DREAMS, 0) for key, x in data.items()})
  # One observation of the rows, or the first states of the dreams would differ.
  monkeypatch.setattr(model, 'observe', noiseless(model.observe))
  errors = dreams.errors(agent, [found], SEED)
  film = model.open_loop(rows, np.array(SEED, np.int32))['image'].numpy()
  truth, expected, _ = np.split(film[-1] / 255, 3)
  expected = expected.reshape(64, dreams.DREAMS, 64, 3).mean(1)
  assert errors['eval/dream_error_45'] == pytest.approx(
      np.square(truth[:, :64] - expected).mean(), rel=0.01)


def noiseless(observe):
  return lambda data, seed: observe(data, None)


def test_guesses_that_need_no_model(monkeypatch):
  found = episode(60)
  monkeypatch.setattr(dreams, 'STARTS', 64)  # all of them
  errors = dreams.errors(toys.agent(), [found], SEED)
  for after in dreams.AFTER:
    image = starts(found, dreams.CONTEXT + after)['image'] / 255
    still = np.square(image[:, dreams.CONTEXT - 1] - image[:, -1]).mean()
    mean = np.square(image[:, -1].mean(0) - image[:, -1]).mean()
    assert errors[f'eval/dream_error_{after}_still'] == pytest.approx(still, rel=1e-4)
    assert errors[f'eval/dream_error_{after}_mean'] == pytest.approx(mean, rel=1e-4)
  reward = starts(found, 50)['reward'][:, dreams.CONTEXT:]
  assert errors['eval/dream_reward_error_mean'] == pytest.approx(reward.var(), rel=1e-4)
  assert errors['eval/dream_reward_error'] > 0


def test_actions_of_the_episode_are_dreamt_under():
  agent, found = toys.agent(), episode(50)
  other = {**found, 'action': found['action'].copy()}
  other['action'][20:] *= -1
  one, two = (dreams.errors(agent, [each], SEED) for each in (found, other))
  changed = {name for name in one if one[name] != two[name]}
  assert {'eval/dream_error_45', 'eval/dream_reward_error'} <= changed
  assert not any(name.endswith(('_still', '_mean')) for name in changed)


@pytest.mark.parametrize('changes', [
    {}, {'shared_noise': True}, {'rssm_ensemble': 2, 'latent': 'categorical', 'stoch_classes': 4}])
def test_every_dream_from_a_start_is_another(changes):
  agent = toys.agent(**changes)
  data = agent.world_model.preprocess(starts(episode(16), 15))
  dreamt = dreams._dream(agent, data, np.array(SEED, np.int32))['stoch'].numpy()
  assert dreamt.shape[:2] == (2 * dreams.DREAMS, 10)
  apart = dreamt.reshape(2, dreams.DREAMS, -1)
  for start in apart:
    assert len(np.unique(start, axis=0)) == dreams.DREAMS
  if changes.get('shared_noise'):  # the same luck for both starts, but each its own dreams
    first = {key: value[:1] for key, value in data.items()}
    alone = dreams._dream(agent, first, np.array(SEED, np.int32))['stoch'].numpy()
    np.testing.assert_allclose(dreamt[:dreams.DREAMS], alone, atol=1e-5)


def test_starts_are_spread_over_all_episodes_and_limited():
  found = [{'reward': np.arange(200.0) + 1000 * i} for i in range(3)]
  windows = dreams.windows(found, 50, ['reward'])['reward']
  assert windows.shape == (dreams.STARTS, 50)
  assert np.all(np.diff(windows, axis=1) == 1)  # no window leaves its episode
  assert windows[0, 0] == 0 and windows[-1, -1] == 2199
  assert {int(start // 1000) for start in windows[:, 0]} == {0, 1, 2}


@pytest.mark.parametrize('rows, names', [
    (14, set()), (15, {'10', '10_still', '10_mean'})])
def test_what_no_episode_is_long_enough_for_is_left_out(rows, names):
  errors = dreams.errors(toys.agent(), [episode(rows), episode(3)], SEED)
  assert set(errors) == {f'eval/dream_error_{name}' for name in names}


def test_without_pictures_rewards_remain(tmp_path):
  loops.start(tmp_path, '--time_limit', 120, '--prefill', 120, '--eval_every', 120)
  row = loops.rows(tmp_path, 'eval/return')[-1]
  assert {name for name in row if 'dream' in name} == {
      'eval/dream_reward_error', 'eval/dream_reward_error_mean'}


def test_the_curve_has_a_panel_of_them(tmp_path):
  loops.start(
      tmp_path, '--task', 'dummy_continuous', '--cnn_keys', 'image', '--mlp_keys=', '--cnn_depth',
      1, '--time_limit', 120, '--prefill', 120, '--eval_every', 120)
  row = loops.rows(tmp_path, 'eval/return')[-1]
  assert 0 < row['eval/dream_error_45'] < 1 and row['eval/dream_error_45_still'] >= 0
  groups = curves.grouped([curves.read(tmp_path, 'eval/return')])
  figure = figures.curve(groups)
  returns, under = figure.axes
  assert returns.get_xlabel() == '' and 'frames' in under.get_xlabel()
  assert [line.get_label() for line in under.lines] == [
      name for _, name in dream_chart.GUESSES.values()]
  assert under.lines[0].get_ydata()[-1] == row['eval/dream_error_45']


def run_with(path, task, **metrics):
  path.mkdir()
  (path / 'config.yaml').write_text(json.dumps({
      'agent': 'dreamer', 'task': task.split(',')[0].partition(':')[0], 'tasks': task if ',' in task else '',
      'configs': ['dmc'], 'eval_every': 10, 'seed': 0, 'action_repeat': 2, 'deter_size': len(metrics)}))
  row = {'step': 10, 'time': 1.0, 'eval/return': 1.0, **metrics}
  (path / 'metrics.jsonl').write_text(json.dumps(row) + '\n')
  return curves.read(path, 'eval/return')


def test_a_group_without_dreams_leaves_the_legend_to_the_others(tmp_path):
  groups = curves.grouped([
      run_with(tmp_path / 'a', 'dmc_walker_walk'),
      run_with(tmp_path / 'b', 'dmc_walker_walk', **{
          'eval/dream_error_45': 1e-3, 'eval/dream_error_45_still': 2e-3})])
  under = figures.curve(groups).axes[1]
  assert [text.get_text() for text in under.get_legend().get_texts()] == ['dream', 'nothing moves']


def test_runs_of_several_tasks_dream_of_the_first(tmp_path):
  both = 'dmc_walker_walk:2,dmc_cheetah_run:2'
  groups = curves.grouped([run_with(tmp_path / 'a', both, **{'eval/dream_error_45': 1e-3})])
  assert dream_chart.panel(groups, 'dmc_walker_walk')
  assert dream_chart.panel(groups, 'dmc_cheetah_run') is None


def test_without_them_the_curve_is_alone(tmp_path):
  loops.start(tmp_path)
  groups = curves.grouped([curves.read(tmp_path, 'eval/return')])
  assert dream_chart.panel(groups) is None and len(figures.curve(groups).axes) == 1
