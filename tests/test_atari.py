"""Atari games, and the other suites of discrete actions."""
import collections
import json
import sys
import types

import numpy as np
import pytest
from PIL import Image

from common import config as config_lib
from common import envs
from common.config import UserError
from common.envs import atari, dmlab, images, toy
from common.scores import curves, references
from dreamer import train

ale_py = pytest.importorskip('ale_py')


def bare(seed=0):
  """The emulator alone, with the rewards and screens of pong."""
  ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
  ale = ale_py.ALEInterface()
  ale.setFloat('repeat_action_probability', 0.0)
  ale.setInt('frame_skip', 1)
  ale.loadROM(ale_py.roms.get_rom_path('pong'))
  return ale


def small(screen):
  return images.resize(screen, 64)


@pytest.mark.parametrize('gray', [False, True])
def test_bilinear_shrinking_is_that_of_the_published_code(gray):
  env = atari.Atari('pong', 4, gray=gray, resize='bilinear', noops=0)
  image = env.reset(0)['image']
  screen = env._ale.getScreenGrayscale() if gray else env._ale.getScreenRGB()
  expected = np.asarray(Image.fromarray(screen).resize((64, 64), Image.Resampling.BILINEAR))
  np.testing.assert_array_equal(image, expected.reshape(64, 64, -1))


def played(env, seed, steps=40):
  """Images of an episode of fixed actions."""
  rng = np.random.default_rng(1)
  images = [env.reset(seed)['image']]
  for _ in range(steps):
    images.append(env.step(rng.integers(env.act_space.n))[0]['image'])
  return np.stack(images)


def test_games_are_named_in_snake_case_and_unknown_ones_refused_with_the_nearest():
  assert atari.Atari('space_invaders').act_space.n == 6
  assert atari.Atari('space_invaders', actions='full').act_space.n == 18
  with pytest.raises(UserError, match='no Atari game .spaceinvaders.*atari_space_invaders'):
    atari.find('spaceinvaders')


def test_missing_emulator_names_the_extra(monkeypatch):
  monkeypatch.setitem(sys.modules, 'ale_py', None)
  atari._library.cache_clear()
  with pytest.raises(UserError, match=r'ale-py.*\[atari\]'):
    atari.find('pong')
  atari._library.cache_clear()


def test_pictures_are_the_maximum_of_the_last_two_of_the_repeated_frames():
  env, ale = atari.Atari('pong', 4, noops=0, sticky=0.0), bare()
  actions = ale.getMinimalActionSet()
  env.reset(0)
  ale.reset_game()
  for step in range(60):
    obs, reward, _, _ = env.step(step % 6)
    screens, total = [], 0
    for _ in range(4):
      total += ale.act(actions[step % 6])
      screens.append(ale.getScreenRGB())
    np.testing.assert_array_equal(obs['image'], small(np.maximum(*screens[-2:])))
    assert reward == total


def test_at_repeat_1_the_picture_is_the_last_frame_and_moves():
  env = atari.Atari('pong', 1, noops=0)
  images = played(env, 0, 100)
  np.testing.assert_array_equal(images[-1], small(env._ale.getScreenRGB()))
  assert len(np.unique(images, axis=0)) > 30


def test_the_last_picture_of_an_episode_is_that_of_the_last_frame():
  env = atari.Atari('breakout', 4, life_end=True)
  env.reset(0)
  for step in range(2000):
    obs, _, done, _ = env.step(step % 4)
    if done:
      break
  assert done
  assert np.array_equal(env._screens[0], env._ale.getScreenRGB())
  newest = small(env._ale.getScreenRGB()).astype(int)
  # The maximum with the frame before can only be brighter, and differs where things move.
  difference = obs['image'].astype(int) - newest
  assert difference.min() >= -1 and np.mean(difference > 1) < 0.02


def test_episodes_are_functions_of_the_seed():
  env = atari.Atari('breakout')
  first, other, again = (played(env, seed) for seed in (1, 2, 1))
  np.testing.assert_array_equal(first, again)
  assert np.any(first != other)


def test_a_game_does_not_hang_on_those_before():
  env = atari.Atari('seaquest')
  first = played(env, 8)
  for seed in (1, 2, 3):
    played(env, seed)
  np.testing.assert_array_equal(played(env, 8), first)
  np.testing.assert_array_equal(played(atari.Atari('seaquest'), 8), first)


def test_actions_stick_with_the_given_probability():
  env = atari.Atari('pong', 4, sticky=0.25)
  env.reset(0)
  acted = []
  env._ale = types.SimpleNamespace(
      act=lambda action: acted.append(action) or 0.0, game_over=lambda: False, lives=lambda: 0,
      getScreenRGB=env._ale.getScreenRGB)
  for step in range(2000):
    env.step(2 + step % 2)
  first = np.array(acted[::4][1:])
  stuck = np.mean(first != np.array([env._actions[2 + step % 2] for step in range(1, 2000)]))
  assert 0.2 < stuck < 0.3  # the first frame of a step still takes the action of the last


def test_grey_images_have_one_channel():
  config = config_lib.load('dreamer', ['--configs', 'atari', '--atari_gray', 'True'])
  env = envs.make(config)
  assert env.obs_space['image'].shape == (64, 64, 1) == env.reset(0)['image'].shape


def lives(life_end, life_length=0, steps=4000):
  """Whether episodes end, go on, and what they pay, for a game of breakout without skill."""
  env = atari.Atari('breakout', 4, life_end=life_end, life_length=life_length, life_reset=False)
  env.reset(3)
  found, length = [], 0
  for step in range(steps):
    _, _, done, info = env.step(1 if step % 10 == 0 else step % 4)
    length += 1
    if done:
      found.append((info['goes_on'], float(info['discount']), env._ale.lives(), length))
      length = 0
      if not info['goes_on']:
        return found
      env.reset(4)
  raise AssertionError('the game never ended')


def test_lost_lives_end_learning_episodes_and_the_game_goes_on():
  assert [end[:3] for end in lives(True)] == [(True, 0.0, left) for left in (4, 3, 2, 1)] + [
      (False, 0.0, 0)]


def test_a_lost_life_ends_the_game_as_published():
  env = atari.Atari('breakout', 4, life_end=True)
  first = env.reset(3)['image']
  for step in range(4000):
    _, _, done, info = env.step(1 if step % 10 == 0 else step % 4)
    if done:
      break
  assert done and not info['goes_on'] and not info['discount'] and env._ale.lives() == 4
  np.testing.assert_array_equal(env.reset(3)['image'], first)
  assert env._ale.lives() == 5


def test_older_runs_of_games_went_on():
  values = {'agent': 'dreamer', 'task': 'atari_pong'}
  assert not config_lib.filled(values)['atari_life_reset']
  for other in ({'task': 'dmc_walker_walk'}, {'atari_life_end': False}):
    assert config_lib.filled({**values, **other})['atari_life_reset']


def test_older_runs_of_games_stand_apart(tmp_path):
  for name, lines in (('old', ''), ('new', 'atari_life_reset: true\n')):
    (tmp_path / name).mkdir()
    (tmp_path / name / 'config.yaml').write_text(
        f'agent: dreamer\ntask: atari_pong\nconfigs: []\neval_every: 100\nseed: 0\n{lines}')
    (tmp_path / name / 'metrics.jsonl').write_text('{"step": 100, "eval/return": 1.0}\n')
  runs = [curves.read(tmp_path / name, 'eval/return') for name in ('old', 'new')]
  assert [run.config.atari_life_reset for run in runs] == [False, True]
  apart = [references.differences(run.config) for run in runs]
  assert apart[0]['atari_life_reset'] == (True, False) and 'atari_life_reset' not in apart[1]


def test_without_that_and_in_evaluation_episodes_are_whole_games():
  assert [end[:3] for end in lives(False)] == [(False, 0.0, 0)]
  config = config_lib.load('dreamer', ['--configs', 'atari', '--task', 'atari_breakout'])
  modes = [envs.make(config, mode=mode).env.env.env for mode in ('train', 'eval')]
  assert [env._life_end for env in modes] == [True, False]


def test_lives_lost_early_do_not_end_learning_episodes():
  ends = lives(True, life_length=60)
  lengths = [length for goes_on, _, _, length in ends if goes_on]
  assert lengths and min(lengths) >= 60 and len(ends) < 5


def test_scores_are_of_whole_games(tmp_path):
  """With scores and lengths of single lives, there would be five rows for a game of breakout."""
  train.main([
      '--configs', 'atari', 'debug', '--task', 'atari_breakout', '--logdir', str(tmp_path),
      '--time_limit', '3000', '--steps', '3000', '--prefill', '2900', '--pretrain', '0',
      '--eval_every', '100000', '--eval_episodes', '0', '--atari_life_length', '0', '--atari_life_reset', 'False',
      '--batch_length', '5', '--train_every', '2900', '--train_steps', '1', '--quiet'])
  rows = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
  files = sorted((tmp_path / 'episodes').glob('*.npz'))
  scores = [row for row in rows if 'train/return' in row]
  assert 0 < len(scores) < len(files)
  rewards, frames = 0.0, 0
  for file in files:
    with np.load(file) as episode:
      rewards += episode['reward'].sum()
      frames += 4 * (len(episode['reward']) - 1)
    if scores and frames == scores[0]['train/length']:
      assert scores.pop(0)['train/return'] == rewards
      rewards, frames = 0.0, 0
  assert not scores


def test_deterministic_runs_cannot_go_on_with_games():
  flags = ['--configs', 'atari', '--deterministic', 'True']
  with pytest.raises(UserError, match='--atari_life_reset True'):
    config_lib.load('dreamer', [*flags, '--atari_life_reset', 'False'])
  config_lib.load('dreamer', flags)


@pytest.mark.parametrize('name, wrong', [('lock', 'image'), ('lock_vector', 'vector')])
def test_the_lock_opens_for_four_right_numbers_in_a_row(name, wrong):
  env = toy.make(name)
  seen, rewards, done = [env.reset()[wrong]], [], False
  while not done:
    obs, reward, done, info = env.step(toy.CODE[len(rewards) % 4])
    seen.append(obs[wrong])
    rewards.append(reward)
    assert info['discount'] == 1
  assert sum(rewards) == toy.BEST_RETURNS['lock'] == 10
  assert len(np.unique(np.stack(seen), axis=0)) == 4
  env.reset()
  for action in (2, 0, 1, 1):
    obs, reward, _, _ = env.step(action)
  assert reward == 0
  np.testing.assert_array_equal(obs[wrong], env.reset()[wrong])


def test_uniform_actions_open_the_lock_seldom():
  env, rng = toy.make('lock_vector'), np.random.default_rng(0)
  total = 0.0
  for _ in range(200):
    env.reset()
    total += sum(env.step(rng.integers(3))[1] for _ in range(toy.LOCK_DECISIONS))
  assert total / 200 < 0.3 * toy.BEST_RETURNS['lock']


def test_uniform_actions_get_little_in_the_near_maze():
  env, rng = toy.make('maze_near_vector'), np.random.default_rng(0)
  total = 0.0
  for _ in range(500):
    env.reset()
    total += sum(env.step(rng.integers(4))[1] for _ in range(toy.MAZE_DECISIONS))
  assert 0.4 < total / 500 < 0.9


@pytest.mark.parametrize('name', toy.GOALS)
def test_the_best_return_of_a_toy_maze_is_that_of_its_shortest_way(name):
  env = toy.make(name)
  def play(actions):
    env.begin()
    return sum(env.move(action) for action in actions)
  ways, known = collections.deque([()]), set()
  while not play(ways[0]):
    way = ways.popleft()
    if env.state() not in known:
      known.add(env.state())
      ways.extend((*way, action) for action in range(len(toy.MOVES)))
  way = ways[0]
  rest = toy.MAZE_DECISIONS - len(way)  # against a wall, so that it stays
  best = max(play(way + (action,) * rest) for action in range(len(toy.MOVES)))
  assert best == toy.BEST_RETURNS[name]


def test_mazes_are_functions_of_the_seed_and_unknown_sizes_refused():
  pytest.importorskip('memory_maze')
  config = config_lib.load('dreamer', ['--configs', 'discrete', '--task', 'memorymaze_9x9',
                                       '--action_repeat', '1'])
  env = envs.make(config)
  assert env.act_space.n == 6
  first = [env.reset(seed)['image'] for seed in (1, 2, 1)]
  assert first[0].shape == (64, 64, 3) and first[0].std() > 5
  np.testing.assert_array_equal(first[0], first[2])
  assert np.any(first[0] != first[1])
  obs, reward, done, info = env.step(np.eye(6, dtype=np.float32)[1])
  assert np.any(obs['image'] != first[2]) and reward == 0 and not done and info['discount'] == 1
  env.close()
  with pytest.raises(UserError, match='no maze .9x8.*memorymaze_9x9'):
    envs.check_task('memorymaze_9x8')


class FakeLab:
  """What deepmind_lab.Lab is to its callers, for an episode of 10 frames."""

  def __init__(self, level, observations, config):
    self.level, self.wanted, self.config, self.calls = level, observations, config, []

  def reset(self, seed):
    self.seed, self.frame = seed, 0

  def step(self, action, num_steps):
    assert action.dtype == np.intc and action.shape == (7,)
    self.calls.append((tuple(int(x) for x in action), num_steps))
    self.frame += num_steps
    return 0.5

  def is_running(self):
    return self.frame < 10

  def observations(self):
    assert self.is_running(), 'there is no picture after the end'
    return {self.wanted[0]: np.full((64, 64, 3), self.frame, np.uint8)}

  def close(self):
    self.closed = True


def test_deepmind_lab_is_asked_for_the_nine_published_actions(monkeypatch):
  monkeypatch.setitem(sys.modules, 'deepmind_lab', types.SimpleNamespace(Lab=FakeLab))
  config = config_lib.load('dreamer', [
      '--configs', 'discrete', '--task', 'dmlab_rooms_watermaze', '--action_repeat', '4'])
  env = envs.make(config)
  lab = env.env.env.env._env
  assert lab.level == 'contributed/dmlab30/rooms_watermaze' and lab.config['width'] == '64'
  assert env.act_space.n == 9 and env.reset(5)['image'][0, 0, 0] == 0 and lab.seed == 5
  steps = [env.step(np.eye(9, dtype=np.float32)[i]) for i in (7, 0, 8)]
  assert lab.calls == [
      ((20, 0, 0, 1, 0, 0, 0), 4), ((0, 0, 0, 1, 0, 0, 0), 4), ((0, 0, 0, 0, 1, 0, 0), 4)]
  assert [obs['image'][0, 0, 0] for obs, *_ in steps] == [4, 8, 8]
  assert [done for _, _, done, _ in steps] == [False, False, True]
  assert all(info['discount'] == 1 and reward == 0.5 for _, reward, _, info in steps)
  assert len(set(dmlab.ACTIONS)) == 9


def test_missing_deepmind_lab_says_how_to_get_it():
  with pytest.raises(UserError, match='no package index has it.*github.com/google-deepmind/lab'):
    envs.check_task('dmlab_rooms_watermaze')
