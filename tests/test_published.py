"""Published scores: every table can be read, and its numbers keep their protocol and units."""
import numpy as np
import pytest

from common.scores import published


def test_a_score_at_a_frame_count_lies_between_the_centres_of_bins():
  curve = published.curve('dreamer', 'dmc_walker_walk')
  assert (curve.observation, curve.protocol, curve.source) == ('pixels', 'eval', 'dreamer.json')
  mean, std = curve.at(500_000)
  assert (mean, std) == pytest.approx((903.5, 26.1))
  # The first point is the evaluation of the untrained agent, before its bin of five episodes.
  assert curve.frames[0] == 5_000 and curve.mean[0] == pytest.approx(25.8)


def test_bins_as_published_are_labelled_with_their_right_edge():
  curve = published.curve('dreamer', 'walker_walk', binned=True)
  at = list(curve.frames).index(505_000)
  assert curve.mean[at] == pytest.approx(885.8)
  assert len(set(curve.frames)) == len(curve.frames)  # each bin once


def test_windows_are_the_frames_that_published_bins_are_means_of():
  curve = published.curve('dreamer', 'walker_walk', binned=True)
  windows = dict(zip(curve.frames, published.windows('dreamer', 'walker_walk').tolist()))
  assert windows[5_000][1] == 5_000  # the evaluation of the untrained agent alone
  assert windows[105_000] == [5_000, 105_000] and windows[1_005_000] == [905_000, 1_005_000]
  assert windows[2_955_000] == [2_805_000, 3_005_000]  # two bins of the file
  # Running means of 20 evaluations, 10k apart.
  assert published.windows('plan2explore_zeroshot', 'walker_walk')[0].tolist() == [50_000, 250_000]
  assert published.windows('dreamerv2', 'pong')[0].tolist() == [0, 1_000_000]
  assert published.windows('drqv2', 'walker_walk') is None  # no file of bins


def test_outside_of_a_curve_nothing_is_known():
  curve = published.curve('dreamer', 'walker_walk')
  assert np.isnan(curve.at(1_000)).all() and np.isnan(curve.at(1e9)).all()


@pytest.mark.parametrize('name', ['dmc_ball_in_cup_catch', 'dmc_cup_catch', 'cup_catch'])
def test_tasks_are_found_under_the_names_of_both_papers_and_the_suite(name):
  assert published.curve('dreamer', name).task == 'cup_catch'


@pytest.mark.parametrize('method', published.methods())
def test_every_curve_is_in_order_and_counts_its_seeds(method):
  tasks = {
      (row['task'], seen) for table, (seen, protocols) in published.TABLES.items()
      if method in protocols for row in published._table(table) if row['method'] == method}
  assert tasks
  for task, observation in tasks:
    for binned in (False, True):
      curve = published.curve(method, task, observation, binned)
      assert np.all(np.diff(curve.frames) > 0), (task, binned)
      assert np.isfinite(curve.mean).all() and np.all(curve.n_seeds >= 1), (task, binned)


def test_scores_of_planets_table_1_with_their_source():
  score, = published.scores('dmc_cheetah_run', method='planet', source='PlaNet paper Table 1')
  assert (score.value, score.frames, score.n_seeds) == (662.0, 1_000_000, 5)


def test_what_is_unknown_is_none_or_said():
  assert published.curve('dreamer', 'dmc_humanoid_walk') is None
  assert published.atari_references('atari_no_such_game') is None
  with pytest.raises(ValueError, match='only of .*dreamer'):
    published.curve('nobody', 'walker_walk')


def test_references_of_a_game():
  pong = published.atari_references('atari_pong')
  assert pong['random'] == pytest.approx(-20.7) and pong['human_gamer'] == pytest.approx(14.6)
