"""Aggregates over tasks and seeds: statistics, their intervals, and what may be put together."""
import json

import numpy as np
import pytest
from scipy import stats

from common import config as config_lib
from common.scores import aggregate
from common.scores import aggregate_chart
from common.scores import chart
from common.scores import figures
from common.scores import published
from common.scores import summary

STATISTICS = list(aggregate.STATISTICS.values())


def normal(tasks, seeds, generator):
  """Scores of tasks at 0, 1 / tasks, ... with a deviation of 0.2 over seeds."""
  return [generator.normal(task / tasks, 0.2, seeds) for task in range(tasks)]


def test_statistics_are_those_of_a_sum_on_paper():
  scores = [np.array([0.0, 1, 2, 9]), np.array([3.0, 4, 5, 6]), np.array([1.0, 1, 1, 1])]
  # Means of the tasks are 3, 4.5 and 1; of 0 1 1 1 1 1 2 3 4 5 6 9 three are cut at either end.
  assert aggregate.mean(scores) == pytest.approx(8.5 / 3)
  assert aggregate.median(scores) == 3
  assert aggregate.iqm(scores) == pytest.approx((1 + 1 + 1 + 2 + 3 + 4) / 6)


@pytest.mark.parametrize('tasks, seeds', [(1, 3), (3, 5), (20, 5), (26, 10), (5, 1)])
def test_iqm_is_the_trimmed_mean_of_all_runs(tasks, seeds):
  scores = normal(tasks, seeds, np.random.default_rng(tasks))
  assert aggregate.iqm(scores) == pytest.approx(stats.trim_mean(np.concatenate(scores), 0.25))


def test_a_task_with_more_seeds_does_not_weigh_more():
  scores = normal(4, 4, np.random.default_rng(0))
  twice = [np.concatenate([scores[0], scores[0]]), *scores[1:]]
  for statistic in STATISTICS:
    assert statistic(twice) == pytest.approx(statistic(scores))


def test_seeds_are_drawn_within_their_task():
  # Drawn from all runs, tasks at 0, 1 and 5 would give an interval.
  scores = [np.zeros(3), np.ones(3), np.full(3, 5.0)]
  assert aggregate.interval(scores, aggregate.mean) == (2, 2)
  scores = [np.array([0.0, 2.0]), np.full(2, 7.0)]
  low, high = aggregate.interval(scores, aggregate.mean)
  assert (low, high) == (3.5, 4.5)


def test_intervals_are_repeatable_and_depend_on_the_seed_of_the_draws():
  scores = normal(5, 5, np.random.default_rng(0))
  first = aggregate.interval(scores, aggregate.iqm, draws=500)
  assert aggregate.interval(scores, aggregate.iqm, draws=500) == first
  assert aggregate.interval(scores, aggregate.iqm, draws=500, seed=1) != first


def test_one_seed_has_no_interval():
  scores = [np.array([0.5]), np.array([0.1, 0.4])]
  assert np.isnan(aggregate.interval(scores, aggregate.mean)).all()


@pytest.mark.parametrize('seeds, low, high', [(10, 0.89, 0.97), (3, 0.82, 0.92)])
def test_intervals_hold_the_true_score_as_often_as_the_docstring_says(seeds, low, high):
  generator = np.random.default_rng(1)
  truth = [statistic(normal(10, 100_000, generator)) for statistic in STATISTICS]
  hits = np.zeros(len(STATISTICS))
  for i in range(300):
    scores = normal(10, seeds, generator)
    for k, statistic in enumerate(STATISTICS):
      interval = aggregate.interval(scores, statistic, draws=400, seed=i)
      hits[k] += interval[0] <= truth[k] <= interval[1]
  for place in (0, 2):  # mean and IQM
    assert low < hits[place] / 300 < high
  assert low < hits[1] / 300 < 0.98


def test_t_intervals_are_those_of_students_table():
  assert aggregate.half_width(1.0, 3) == pytest.approx(4.3027 / np.sqrt(3), rel=1e-4)
  assert np.isnan(aggregate.half_width(1.0, 1))
  assert aggregate.mean_interval([5.0], [1.0], [3]) == pytest.approx(
      (5 - 4.3027 / np.sqrt(3), 5 + 4.3027 / np.sqrt(3)), rel=1e-4)
  # Two tasks alike: the error of the mean falls by sqrt(2), at twice the degrees of freedom.
  low, high = aggregate.mean_interval([5.0, 7.0], [1.0, 1.0], [3, 3])
  assert (high - low) / 2 == pytest.approx(2.7764 / np.sqrt(6), rel=1e-4)
  assert np.isnan(aggregate.mean_interval([5.0, 7.0], [1.0, np.nan], [3, 3])).all()


def runs(
    path, task, values, steps=1_000_000, agent='dreamer', argv=('--configs', 'dmc'), every=10_000, **more):
  """Runs of some seeds that score the same in every evaluation, as on disk."""
  for seed, value in enumerate(values):
    folder = path / f'{agent}-{task}-{seed}-{steps}'
    folder.mkdir(parents=True)
    config = config_lib.load(agent, [*argv, '--task', task, '--seed', str(seed)])
    config_lib.save(config.replace(logdir=str(folder), **more), folder / 'config.yaml')
    frames = [*range(every // 2, steps, every), steps]
    (folder / 'metrics.jsonl').write_text(''.join(
        json.dumps({'step': step, 'eval/return': value}) + '\n' for step in frames))


def rows(path, metric='eval/return', **more):
  return summary.rows(figures.load([path], metric), metric, **more)


def test_published_aggregates_are_over_the_same_tasks_at_the_same_frames(tmp_path):
  tasks = ('walker_walk', 'cup_catch', 'hopper_hop')
  for task in tasks:
    runs(tmp_path, f'dmc_{task}', [400.0, 600.0])
  (own, known), notes = rows(tmp_path)
  assert own.tasks == known.tasks and set(own.tasks) == set(tasks)
  assert own.estimates['mean'][0] == 0.5 and own.frames == '900k to 1M'
  # Evaluations after 900k: at 905k, 915k, ..., 995k, and 1M.
  at = np.mean([*range(905_000, 1_000_000, 10_000), 1_000_000])
  scores = [published.curve('dreamer', task).at(at)[0] / 1000 for task in tasks]
  assert known.published and known.estimates['mean'][0] == pytest.approx(np.mean(scores))
  assert known.estimates['median'][0] == pytest.approx(np.median(scores))
  assert np.isnan(known.estimates['IQM'][0])  # files do not hold seeds
  assert any('two 80 %' in note for note in notes)


def test_where_only_some_tasks_are_published_own_scores_are_repeated_over_those(tmp_path):
  runs(tmp_path, 'dmc_walker_walk', [900.0, 900.0])
  runs(tmp_path, 'dmc_humanoid_walk', [100.0, 100.0])
  (own, known, part), _ = rows(tmp_path)
  assert own.estimates['mean'][0] == 0.5
  assert known.tasks == part.tasks == ('walker_walk',)
  assert part.estimates['mean'][0] == 0.9 and 'on the tasks of Dreamer' in part.name


def test_runs_that_ended_early_are_named_and_left_out_at_later_frames(tmp_path):
  runs(tmp_path, 'dmc_walker_walk', [900.0, 900.0])
  runs(tmp_path, 'dmc_walker_walk', [100.0], steps=200_000)
  runs(tmp_path, 'dmc_cup_catch', [100.0], steps=300_000)
  found, notes = rows(tmp_path, at=1_000_000)
  assert found[0].estimates['mean'][0] == 0.9 and found[0].seeds == (2,)
  assert found[0].tasks == ('walker_walk',)
  assert sum('left out' in note for note in notes) == 2
  assert any('walker_walk-0-200000' in note and 'ends at 200,000' in note for note in notes)
  found, notes = rows(tmp_path)
  assert found[0].frames == '180k to 200k' and set(found[0].seeds) == {3, 1}
  assert any('200000 ends, others go on' in note for note in notes)


def test_on_published_bins_scores_are_those_of_the_last_complete_one(tmp_path):
  runs(tmp_path, 'dmc_walker_walk', [900.0, 800.0])
  (own, known), _ = rows(tmp_path, width=chart.PUBLISHED)
  assert (own.frames, known.frames) == ('905k to 1.005M', '1.005M')
  curve = published.curve('dreamer', 'walker_walk', binned=True)
  value = curve.mean[list(curve.frames).index(1_005_000)]
  assert known.estimates['mean'][0] == pytest.approx(value / 1000)
  own, known, *_ = rows(tmp_path, width=chart.PUBLISHED, at=5e5)[0]
  assert (own.frames, known.frames) == ('405k to 505k', '505k')


def test_of_wide_published_bins_the_last_one_that_all_have_counts(tmp_path):
  """Those of games are up to 10M frames wide in the end, and evaluations 1M apart."""
  flags = dict(argv=('--configs', 'atari', 'dreamerv2'), every=1_000_000)
  runs(tmp_path, 'atari_pong', [10.0], steps=99_200_000, **flags)
  runs(tmp_path, 'atari_pong', [20.0], steps=150_500_000, **flags)
  own = rows(tmp_path, width=chart.PUBLISHED)[0][0]
  assert own.frames.endswith('to 50M') and own.seeds == (2,)
  notes = rows(tmp_path, width=chart.PUBLISHED, at=1e8)[1]
  assert any('it ends at 99,200,000' in note for note in notes)


def test_printed_scores_stand_only_beside_runs_of_as_many_frames(tmp_path):
  for task in ('cheetah_run', 'walker_walk'):
    runs(tmp_path, f'dmc_{task}', [500.0, 500.0], agent='planet')
  names = {row.name: row for row in rows(tmp_path)[0]}
  table = names['PlaNet, from pixels, published']
  assert table.estimates['mean'][0] == pytest.approx((0.662 + 0.951) / 2)
  assert table.frames == '1M'
  later = [row.name for row in rows(tmp_path, at=750_000)[0]]
  assert not any(name.startswith('PlaNet,') for name in later)


@pytest.mark.parametrize('change, words', [
    ({'time_limit': 500}, 'not aggregated, its episodes have 500 frames, published ones 1,000'), ({'eval_noise': 0.3}, ''), ({'offline': 'there'}, '')])
def test_what_does_not_compare_has_no_published_rows(tmp_path, change, words):
  runs(tmp_path, 'dmc_walker_walk', [900.0, 900.0], **change)
  found, notes = rows(tmp_path)
  assert not any(row.published for row in found)
  assert bool(found) == (not words) and words in ' '.join(notes)


def test_games_are_normalised_by_seed_then_clipped_then_averaged(tmp_path):
  known = published.atari_references('pong')
  best = known['human_record']
  span = best - known['random']
  argv = ('--configs', 'atari', 'dreamerv2')
  runs(tmp_path, 'atari_pong', [best + span, known['random']], argv=argv)
  own = {row.unit: row.estimates['mean'][0] for row in rows(tmp_path)[0] if not row.published}
  record, clipped = (own[summary.UNITS['atari'][unit]] for unit in ('record', 'clipped_record'))
  assert record == pytest.approx(1) and clipped == pytest.approx(0.5)
  assert not any(
      row.published and row.unit == summary.UNITS['atari']['clipped_record']
      for row in rows(tmp_path)[0])


def test_runs_with_a_variant_on_one_task_keep_their_name_on_the_others(tmp_path):
  for task in ('dmc_walker_walk', 'dmc_cup_catch'):
    runs(tmp_path / 'a', task, [900.0])
  runs(tmp_path / 'b', 'dmc_walker_walk', [800.0], kl_scale=0.5)
  own = {row.name: row.tasks for row in rows(tmp_path)[0] if not row.published}
  assert {len(tasks) for tasks in own.values()} == {1, 2} and len(own) == 2


def test_settings_that_differ_between_tasks_are_said(tmp_path):
  runs(tmp_path, 'dmc_walker_walk', [900.0])
  runs(tmp_path, 'dmc_cup_catch', [900.0], action_repeat=4)
  assert any('tasks differ in action_repeat' in note for note in rows(tmp_path)[1])


def test_tasks_without_a_common_scale_are_not_aggregated(tmp_path):
  runs(tmp_path, 'toy_lock', [10.0], argv=('--configs', 'toy'))
  found, notes = rows(tmp_path)
  assert found == [] and 'no scale' in notes[0]


def test_the_figure_has_a_row_for_each_own_group_and_each_published_method_once(tmp_path):
  for kl_scale in (1.0, 0.5):
    runs(tmp_path / str(kl_scale), 'dmc_walker_walk', [900.0, 800.0], kl_scale=kl_scale)
  found = rows(tmp_path)[0]
  assert sum(row.published for row in found) == 2
  figure = aggregate_chart.draw(found)
  labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
  assert len(labels) == 3 and sum('Dreamer, from pixels' in label for label in labels) == 1
  assert [axis.get_title() for axis in figure.axes] == ['Mean', 'Median', 'IQM']
