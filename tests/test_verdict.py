"""Verdicts: agreement with published scores by one rule, whatever sides have a spread."""
import math

import numpy as np
import pytest
from scipy import stats

from common import config as config_lib
from common.scores import published
from common.scores import references
from common.scores import verdict

NAN = math.nan


def reference(mean=900.0, std=20.0, n_seeds=5, enough=0.0):
  return verdict.Reference(
      'Dreamer', 'curve', 'eval', 'dreamer.json', 1e6, mean, std, n_seeds, enough)


def five(mean):
  """Five scores with a standard deviation of 20."""
  return np.array([mean - 800 ** 0.5, mean, mean, mean, mean + 800 ** 0.5])


# Five seeds on each side, both with a spread of 20: 8 degrees of freedom, t = 2.3060, so
# 2.3060 * sqrt(400 / 5 + 400 / 5) = 29.17. One seed: 4 degrees, t = 2.7764, the published spread
# for both, so 2.7764 * sqrt(400 / 5 + 400) = 60.83.
@pytest.mark.parametrize('scores, word', [
    (five(871), verdict.WITHIN), (five(929), verdict.WITHIN),
    (five(870), verdict.BELOW), (five(930), verdict.ABOVE),
    ([840.0], verdict.WITHIN), ([839.0], verdict.BELOW), ([961.0], verdict.ABOVE)])
def test_a_score_is_judged_by_the_spread_of_both_sides_and_the_number_of_seeds(scores, word):
  assert verdict.judge(scores, 1e6, reference()).word == word


def test_the_interval_lies_around_the_published_mean():
  said = verdict.judge(five(900), 1e6, reference())
  assert (said.low, said.high) == pytest.approx((870.83, 929.17), abs=0.01)


def test_unequal_sides_follow_welch():
  # Variances over seeds 8 / 2 + 36 / 3 = 16, degrees 16^2 / (4^2 / 1 + 12^2 / 2) = 2.909,
  # t = 3.2395.
  half = verdict.half_width(np.array([100.0, 104.0]), 110.0, 6.0, 3)
  p = stats.ttest_ind_from_stats(102.0, 8 ** 0.5, 2, 102.0 + half, 6.0, 3, equal_var=False).pvalue
  assert p == pytest.approx(0.05, abs=1e-6) and half == pytest.approx(12.958, abs=1e-3)


def test_a_printed_score_without_spread_borrows_ours():
  # 2.7764 * sqrt(400 / 5 + 400 / 5) = 35.12
  said = verdict.judge(five(900), 1e6, reference(std=NAN))
  assert said.high == pytest.approx(935.12, abs=0.01)


@pytest.mark.parametrize('n_seeds', [0, 5])
def test_one_seed_beside_a_score_without_spread_decides_nothing(n_seeds):
  said = verdict.judge([900.0], 1e6, reference(std=NAN, n_seeds=n_seeds))
  assert said.word == verdict.NO_SPREAD and math.isnan(said.low)


def test_a_hundredth_of_the_score_always_counts_as_within():
  assert verdict.judge([991.0] * 3, 1e6, reference(1000.0, 0.0)).word == verdict.WITHIN
  assert verdict.judge([989.0] * 3, 1e6, reference(1000.0, 0.0)).word == verdict.BELOW
  assert verdict.judge([0.0] * 3, 1e6, reference(0.0, 0.0)).word == verdict.WITHIN


def test_too_few_frames_whatever_the_score():
  assert verdict.judge(five(900), 99_999, reference(enough=1e5)).word == verdict.TOO_FEW
  assert verdict.judge(five(900), 1e5, reference(enough=1e5)).word == verdict.WITHIN


@pytest.mark.parametrize('scores, against', [
    (five(900), None), ([], reference()), (five(900), reference(mean=NAN))])
def test_without_a_published_or_an_own_score_there_is_no_figure(scores, against):
  assert verdict.judge(scores, 1e6, against).word == verdict.NO_FIGURE


def test_a_score_that_is_no_number_is_within_nothing():
  assert verdict.judge([900.0, math.nan], 1e6, reference()).word == verdict.NO_FIGURE


def test_between_two_points_the_fewer_seeds_count():
  curve = published.curve('dreamer', 'dmc_walker_walk')
  curve = curve._replace(
      frames=curve.frames[:3], mean=curve.mean[:3], std=curve.std[:3], n_seeds=np.array([5, 3, 4]))
  first, second, third = curve.frames
  def seeds(frames):
    return references.at(curve, frames).n_seeds
  assert [seeds(first), seeds(second), seeds(third)] == [5, 3, 4]
  assert [seeds((first + second) / 2), seeds((second + third) / 2)] == [3, 3]


def test_the_rule_in_words_names_what_the_code_does():
  words = ' '.join(verdict.RULE)
  for number in ('97.5 %', '1 %', 'a quarter', '90 %', 'One seed proves little'):
    assert number in words, number
  assert (verdict.SLACK, references.LEARNED, references.PRINTED_FROM) == (0.01, 0.25, 0.9)


def nearest(agent, *argv):
  config = config_lib.load(agent, argv)
  return references.nearest(config, config.task)


@pytest.mark.parametrize('agent, argv, method', [
    ('dreamer', ('dmc',), 'dreamer'), ('dreamer', ('dmc', 'dmc_tf1'), 'dreamer'),
    ('dreamer', ('dmc', 'dreamerv2'), 'dreamerv2'),
    ('planet', ('dmc',), 'planet'), ('planet', ('dmc', 'repeat2'), 'planet_R2'),
    ('plan2explore', ('dmc',), 'plan2explore_zeroshot'),
    ('plan2explore', ('dmc', 'curiosity'), 'curiosity_zeroshot'),
    ('plan2explore', ('dmc', 'few_shot', 'oracle'), 'dreamer_oracle_fewshot')])
def test_a_published_setting_is_recognised_from_its_values(agent, argv, method):
  setting, differing = nearest(agent, '--configs', *argv, '--task', 'dmc_cheetah_run', '--seed', 3)
  assert differing == {} and method in (setting.curve, *setting.printed)


@pytest.mark.parametrize('argv, differs', [
    (('--configs', 'dmc', '--source', 'there', '--steps', 4e6), ['source']),
    (('--configs', 'dmc', 'few_shot', '--source', 'there', '--steps', 4e6), ['source']),
    (('--configs', 'dmc', 'few_shot', '--steps', 2e6), ['expl_until'])])
def test_runs_whose_tasks_actor_collects_are_few_shot(argv, differs):
  setting, differing = nearest('plan2explore', '--task', 'dmc_cheetah_run', *argv)
  assert setting.printed[0] == 'plan2explore_fewshot' and list(differing) == differs


def test_of_equal_settings_the_one_with_a_score_counts():
  # PlaNet's own repeat on this task is 2, and only the Dreamer paper printed a score of it.
  setting, differing = nearest('planet', '--configs', 'dmc', '--task', 'dmc_hopper_hop')
  assert not differing and references.printed(setting, 'dmc_hopper_hop').frames == 5_000_000


def test_other_settings_are_named_by_their_keys_and_both_values():
  setting, differing = nearest(
      'dreamer', '--configs', 'dmc', '--task', 'dmc_walker_walk', '--action_repeat', 4,
      '--replay_capacity', 1e5, '--steps', 1e5, '--eval_every', 5000)
  assert differing == {'action_repeat': (2, 4), 'replay_capacity': (5_000_000, 100_000)}
  assert setting.blocks == ('dmc',)


def test_a_key_that_an_older_config_lacks_has_its_default():
  config = dict(config_lib.load('dreamer', ['--configs', 'dmc', '--task', 'dmc_walker_walk']))
  del config['disclam']
  assert references.nearest(config, 'dmc_walker_walk')[1] == {}


def test_nothing_is_compared_where_nothing_was_published():
  assert nearest('dreamer', '--configs', 'toy') == (None, {})
  assert nearest(
      'dreamer', '--configs', 'dmc_proprio', '--task', 'dmc_walker_walk') == (None, {})


@pytest.mark.parametrize('argv, keys', [
    ((), []), (('--time_limit', 500), ['time_limit']), (('--collect_limit', 150), []),
    (('--eval_noise', 0.3), ['eval_noise'])])
def test_returns_of_other_episodes_do_not_compare(argv, keys):
  config = config_lib.load('dreamer', ['--configs', 'dmc', '--task', 'dmc_walker_walk', *argv])
  setting, differing = references.nearest(config, config.task)
  assert references.mismatches(config, setting, differing) == keys


def test_a_curve_says_something_after_a_quarter_of_its_way():
  flat = np.zeros(4)
  curve = published.Curve(
      'dreamer', 'x', 'pixels', 'eval', np.array([0.0, 100, 200, 300]),
      np.array([100.0, 200, 500, 300]), flat, np.full(4, 5), 'dreamer.json')
  # A quarter of the way from 100 to 500 is 200, reached at 100 frames.
  assert references.at(curve, 250.0).enough == 100
  assert references.at(curve, 250.0).mean == 400
  assert math.isnan(references.at(curve, 301.0).mean)


@pytest.mark.parametrize('method', published.methods())
def test_every_method_has_a_name(method):
  assert references.name_of(method)


def test_every_printed_score_can_be_named():
  for seen in ('pixels', 'states'):
    for task in {score.task for score in published.scores()}:
      for score in references.printed_scores(task, seen):
        assert score.name and score.kind == 'printed'


@pytest.mark.parametrize('argv, curve, differs', [
    (('atari', 'dreamerv2', '--task', 'atari_montezuma_revenge', '--discount', 0.99),
     'dreamerv2_montezuma', []),
    (('atari', 'dreamerv2', '--task', 'atari_montezuma_revenge'), 'dreamerv2', []),
    (('atari', 'dreamerv2', '--task', 'atari_pong', '--discount', 0.99), 'dreamerv2', ['discount']),
    (('dmc', 'dreamerv2', '--task', 'dmc_humanoid_walk', '--actor_ent', '1e-5', '--kl_scale', 2),
     'dreamerv2', []),
    (('dmc', 'dreamerv2', '--task', 'dmc_humanoid_walk'), 'dreamerv2', ['actor_ent', 'kl_scale'])])
def test_a_task_that_was_published_with_keys_of_its_own_is_held_against_those(argv, curve, differs):
  setting, differing = nearest('dreamer', '--configs', *argv)
  assert (setting.curve, list(differing)) == (curve, differs)


def test_the_flags_of_a_setting_can_be_typed():
  setting, _ = nearest(
      'dreamer', '--configs', 'atari', 'dreamerv2', '--task', 'atari_montezuma_revenge', '--discount', 0.99)
  assert setting.flags == 'atari dreamerv2 --discount 0.99'
