"""One agent for several tasks: padded actions, episodes in turn, frames by each task's repeat."""
import json

import numpy as np
import pytest

import loops
from common import config
from common import envs
from common.config import UserError
from common.loop import evaluation

TASKS = ['--tasks', 'dmc_cartpole_swingup, dmc_walker_walk']
VECTORLESS = ['--cnn_keys', 'image', '--mlp_keys', '']


def test_the_block_has_the_six_tasks_with_their_repeats():
  settings = config.load('planet', ['--configs', 'dmc', 'multitask'])
  assert [repeat for _, repeat in config.tasks(settings)] == [8, 4, 4, 2, 4, 2]
  assert settings.action_repeat == 2 and settings.task == 'dmc_multitask'
  settings = config.load('planet', ['--configs', 'dmc', 'multitask', 'repeat2'])
  assert config.repeats(settings) == [2] * 6


def test_a_run_of_one_task_is_itself():
  settings = config.load('planet', ['--configs', 'dmc', '--task', 'dmc_cup_catch', '--envs', '2'])
  assert config.tasks(settings) == [('dmc_cup_catch', 4)]
  assert config.repeats(settings) == [4, 4]


@pytest.mark.parametrize('flags, words', [
    (['--tasks', 'dmc_cartpole_swingup, dmc_walker_wolk'], ["'walker_wolk'", 'dmc_walker_walk']),
    (['--tasks', 'dmc_walker_walk,dummy_continuous'], ['several suites'])])
def test_wrong_tasks_are_refused(flags, words):
  with pytest.raises(UserError) as caught:
    envs.check(config.load('planet', flags))
  assert all(word in str(caught.value) for word in words)


def test_actions_are_padded_and_the_environment_gets_its_own():
  settings = config.load(
      'planet', [*TASKS, '--cnn_keys', '', '--mlp_keys', 'velocity', '--time_limit', '100', '--batch_length',
          '10'])
  with pytest.raises(UserError, match='differ in what is observed'):
    envs.make_all(settings, 1, 0, 'train')
  settings = config.load('planet', [*TASKS, *VECTORLESS])
  # The baselines of an evaluation see what the agent sees, as vectors differ.
  for env in envs.make_all(evaluation._without_images(settings), 1, 0, 'eval'):
    env.close()
  made = envs.make_all(settings, 1, 0, 'train')
  try:
    assert [env.act_space.shape for env in made] == [(6,), (6,)]
    made[0].reset(seed=1)()
    first = made[0].step(np.array([0.3, 9, 9, 9, 9, 9], np.float32))()
    own = envs.make(settings.replace(task='dmc_cartpole_swingup', action_repeat=8))
    own.reset(seed=1)
    second = own.step(np.array([0.3], np.float32))
    own.close()
    assert first[1] == second[1]
    np.testing.assert_array_equal(first[0]['image'], second[0]['image'])
  finally:
    for env in made:
      env.close()


def test_a_run_collects_the_tasks_in_turn_and_evaluates_each(monkeypatch, tmp_path):
  loops.use_toy(monkeypatch.setattr)
  tasks = 'dummy_continuous_vector, dummy_terminal_vector'
  loops.start(tmp_path, '--time_limit', 30, '--tasks', tasks)
  rows = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
  names = ['dummy_continuous_vector', 'dummy_terminal_vector']
  trained = [
      name for row in rows for name in names if f'train/return/{name}' in row]
  assert trained[:4] == names[::-1] * 2  # the second ends earlier, and waits
  evaluated = [row for row in rows if 'eval/return' in row]
  assert len(evaluated) > 1
  for row in evaluated:
    values = [row[f'eval/return/{name}'] for name in names]
    assert row['eval/return'] == pytest.approx(np.mean(values)) and row['eval/episodes'] == 2
