"""Groups of tasks are those of the papers, and every name is one that training takes."""
import pytest

from common import config
from common import envs
from common.scores import published
from common.study import task_groups


@pytest.mark.parametrize('name, count, block', [
    ('dmc20', 20, 'dmc'), ('plan2explore20', 20, 'dmc'), ('planet6', 6, 'dmc'),
    ('dmc_early', 7, 'dmc'), ('atari26', 26, 'atari'), ('atari55', 55, 'atari')])
def test_a_group_has_as_many_tasks_as_its_paper_and_training_takes_them(name, count, block):
  if block == 'atari':
    pytest.importorskip('ale_py')
  tasks = task_groups.expand([name])
  assert len(set(tasks)) == len(tasks) == count
  for task in tasks:
    envs.check_task(task, config.load('dreamer', ['--configs', block, '--task', task]))


@pytest.mark.parametrize('name, method', [
    ('dmc20', 'dreamer'), ('plan2explore20', 'plan2explore_zeroshot'), ('dmc_early', 'dreamer'),
    ('atari26', 'dreamerv3'), ('atari55', 'dreamerv2')])
def test_every_task_of_a_group_has_its_published_curve(name, method):
  for task in task_groups.expand([name]):
    assert published.curve(method, task) is not None, task


def test_every_task_of_planet_has_its_published_score():
  tasks = task_groups.expand(['planet6'])
  assert tasks == [task for task in tasks if published.scores(task, method='planet')]


def test_the_atari_games_have_their_references():
  for task in task_groups.expand(['atari55', 'atari26']):
    assert published.normalised(task, 100.0), task


def test_the_early_tasks_are_those_that_learn_first():
  assert sorted(task_groups.expand(['dmc_early'])) == [
      'dmc_cartpole_balance', 'dmc_cartpole_balance_sparse', 'dmc_cartpole_swingup_sparse',
      'dmc_cup_catch', 'dmc_pendulum_swingup', 'dmc_walker_stand', 'dmc_walker_walk']


def test_groups_and_tasks_mix_each_task_once():
  tasks = task_groups.expand(['toy_lock', 'planet6', 'dmc_walker_walk', 'dmc20', 'toy_lock'])
  assert tasks[:2] == ['toy_lock', 'dmc_cartpole_swingup'] and len(tasks) == 21


def test_a_word_that_is_neither_is_refused_with_the_nearest():
  with pytest.raises(config.UserError, match="'atari56' in --tasks is neither.* atari5"):
    task_groups.expand(['dmc20', 'atari56'])
