"""Environments of users: what spaces declare is honoured, in training and in check_env."""
import fractions
import functools
import os
import pathlib
import subprocess
import sys

import gym
import gymnasium
import numpy as np
import pytest

from common import check_env
from common import config as config_lib
from common import envs
from common import evaluate
from common.config import UserError
from common.envs import protocol, values

import loops
import odd
import own


def make(task, *flags):
  """The environment as agents see it."""
  return envs.make(config_lib.load('dreamer', ['--configs', 'gym', '--task', task, *flags]))


def inner(env):
  """What the user wrote, below all adapters."""
  while True:
    below = getattr(env, 'env', None) or env.__dict__.get('_env')
    if below is None:
      return env
    env = below


def checked(task, capsys, *flags):
  """Exit code and output of check_env."""
  try:
    check_env.main([task, *flags])
    code = 0
  except SystemExit as stop:
    code = stop.code
  return code, capsys.readouterr().out


def uniform_actions(env, count=4000):
  """What the user's environment gets of uniformly random actions."""
  rng = np.random.default_rng(0)
  user = inner(env)
  for _ in range(count):
    if not hasattr(user, 't') and not hasattr(user, 'time') or getattr(env, '_count', None) is None:
      env.reset()
    env.step(rng.uniform(-1, 1, env.act_space.shape).astype(np.float32))
  return np.array(user.seen)


@pytest.mark.parametrize('low, high, dtype', [
    (0, 1, np.int8), (-2, 2, np.int64), (0, 4, np.int32), (0, 1, bool)])
def test_each_whole_number_comes_equally_often_in_its_dtype(monkeypatch, low, high, dtype):
  space = odd.Box(low, high, (2,), dtype)
  monkeypatch.setattr(odd, 'Made', lambda: odd.Odd(odd.VECTOR, space), raising=False)
  env = make('py_odd:Made')
  seen = uniform_actions(env)
  assert seen.dtype == dtype and all(space.contains(x) for x in seen)
  counts = np.array([(seen == value).sum() for value in range(low, high + 1)])
  np.testing.assert_allclose(counts / seen.size, 1 / len(counts), rtol=0.1)
  for end, value in ((-1, low), (1, high)):
    env.reset()
    env.step(np.full(2, end, np.float32))
    assert (inner(env).seen[-1] == value).all()


def test_own_environments_get_what_their_space_declares():
  assert {*uniform_actions(make('py_own:Int'))[:, 0].tolist()} == {0, 1, 2, 3, 4}
  env = make('py_own:Int')
  env.reset()
  env.step(np.ones(1, np.float32))
  assert inner(env).seen[-1].dtype == np.int32
  env = make('py_own:Start')
  env.reset()
  for vector in np.eye(3, dtype=np.float32):
    env.step(vector)
  assert inner(env).seen == [1, 2, 3]
  env = make('py_own:Double')
  for end in (-1, 1):
    env.reset()
    env.step(np.full(2, end, np.float32))
    action = inner(env).seen[-1]
    assert action.dtype == np.float64 and env.env.env.env.act_space.contains(action)


@pytest.mark.parametrize('kind, shape', [
    ('chw', (64, 64, 3)), ('stack5', (64, 64, 5)), ('stack2', (64, 64, 2)), ('gray2d', (64, 64, 1)),
    ('float_img', (64, 64, 3)), ('float255', (64, 64, 3)), ('int_img', (64, 64, 3))])
def test_plain_kinds_of_pictures_are_converted_and_said(monkeypatch, capsys, kind, shape):
  monkeypatch.setattr(odd, 'Made', lambda: odd.picture(kind), raising=False)
  env = make('py_odd:Made')
  assert env.obs_space['image'].shape == shape and env.obs_space['image'].dtype == np.uint8
  image = env.reset(0)['image']
  assert image.dtype == np.uint8 and image.shape == shape and 100 < image.mean() < 155
  assert ['taken for an image' in note for note in env.notes] == [True]
  code, out = checked('py_odd:Made', capsys)
  assert code == 0 and 'note: image is declared as' in out


def test_channels_and_pixels_stay_where_they_are(monkeypatch):
  source = np.arange(3 * 64 * 64, dtype=np.uint8).reshape(3, 64, 64)
  monkeypatch.setattr(
      odd, 'Made', lambda: odd.Odd(odd.pixels(3, 64, 64), make=lambda: source), raising=False)
  np.testing.assert_array_equal(make('py_odd:Made').reset()['image'], source.transpose(1, 2, 0))
  floats = np.random.default_rng(0).uniform(0, 1, (64, 64, 3)).astype(np.float32)
  space = odd.Box(0, 1, (64, 64, 3), np.float32)
  monkeypatch.setattr(odd, 'Made', lambda: odd.Odd(space, make=lambda: floats))
  np.testing.assert_array_equal(make('py_odd:Made').reset()['image'], np.rint(floats * 255))


@pytest.mark.parametrize('kind, word', [('stackrgb', 'stack of images'), ('u16_depth', 'as uint8')])
def test_other_pictures_are_refused_by_name(monkeypatch, capsys, kind, word):
  monkeypatch.setattr(odd, 'Made', lambda: odd.picture(kind), raising=False)
  with pytest.raises(UserError, match=f'image is declared as .*{word}'):
    make('py_odd:Made')
  code, out = checked('py_odd:Made', capsys)
  assert code == 1 and word in out


@pytest.mark.parametrize('shape, words', [
    ((28, 28), 'taken for a vector of numbers up to 255'), ((3, 10, 10), '3 pixels high with 10 channels')])
def test_small_pictures_that_are_misread_are_said(monkeypatch, shape, words):
  monkeypatch.setattr(odd, 'Made', lambda: odd.Odd(odd.pixels(*shape)), raising=False)
  note, = make('py_odd:Made').notes
  assert words in note


@pytest.mark.parametrize('space', [
    odd.Box(-np.inf, np.inf, (20, 60), np.float32), odd.Box(-1, 1, (64, 64), np.float32),
    odd.Box(0, 10, (20, 20, 5), np.int64), odd.Box(0, 1, (16, 512), np.float32)])
def test_matrices_that_are_no_pictures_stay_vectors(monkeypatch, space):
  monkeypatch.setattr(odd, 'Made', lambda: odd.Odd(space), raising=False)
  env = make('py_odd:Made')
  assert env.obs_space['vector'].shape == (np.prod(space.shape),) and not env.notes


@pytest.mark.parametrize('make_values', [
    lambda rng: rng.random((64, 64, 3), np.float32), lambda rng: np.full((64, 64, 3), 300),
    lambda rng: np.full((64, 64, 3), -1), lambda rng: np.full((64, 64, 3), np.nan)])
def test_pictures_that_are_not_what_is_declared_are_refused(monkeypatch, make_values):
  space, rng = odd.pixels(64, 64, 3), np.random.default_rng(0)
  monkeypatch.setattr(
      odd, 'Made', lambda: odd.Odd(space, make=lambda: make_values(rng)), raising=False)
  with pytest.raises(ValueError, match='image is .* declared is uint8 from 0 to 255'):
    make('py_odd:Made').reset()


def test_whole_numbers_do_not_wrap_around_where_floats_are_declared(monkeypatch):
  space, kept = odd.Box(0, 1, (64, 64, 3), np.float32), np.full((64, 64, 3), 200, np.uint8)
  monkeypatch.setattr(odd, 'Made', lambda: odd.Odd(space, make=lambda: kept), raising=False)
  with pytest.raises(ValueError, match='holds 200 to 200, declared is float32 from 0 to 1'):
    make('py_odd:Made').reset()
  kept[:] = 1
  assert make('py_odd:Made').reset()['image'].min() == 255


@pytest.mark.parametrize('value', [-1, 0, 4])
def test_a_discrete_observation_outside_its_space_is_refused(monkeypatch, value):
  space = gymnasium.spaces.Discrete(3, start=1)
  monkeypatch.setattr(odd, 'Made', lambda: odd.Odd(space, make=lambda: value), raising=False)
  with pytest.raises(ValueError, match=rf'vector is {value}, declared is Discrete\(3, start=1\)'):
    make('py_odd:Made').reset()


@pytest.mark.parametrize('name, discount', [('Old', 1), ('OldSeeded', 1), ('OldKeyword', 0)])
def test_the_interface_before_gym_026_works(capsys, name, discount):
  odd.Old.seeds.clear()
  env = make(f'py_odd:{name}')
  env.reset(3)
  for _ in range(20):
    _, reward, done, info = env.step(np.eye(5, dtype=np.float32)[0])
  assert done and reward == 0.1 and info['discount'] == discount
  assert odd.Old.seeds == ([3] if name == 'OldSeeded' else [])
  assert name == 'OldKeyword' or 'interface of Gym before 0.26' in env.notes[0]
  code, out = checked(f'py_odd:{name}', capsys)
  assert code == 0 and 'as before Gym 0.26' in out


@pytest.mark.parametrize('name', ['Old', 'OldSeeded', 'OldKeyword'])
def test_old_environments_that_are_registered_keep_their_limit_of_time(monkeypatch, name):
  gymnasium.register('OldWorld-v0', f'odd:{name}', max_episode_steps=7)
  monkeypatch.setattr(odd.Old, 'step', lambda self, action: (odd.VECTOR.sample(), 0.1, False, {}))
  try:
    env = make('gym_OldWorld-v0')
    env.reset(0)
    ends = [env.step(np.eye(5, dtype=np.float32)[0]) for _ in range(7)]
  finally:
    del gymnasium.registry['OldWorld-v0']
  assert [end[2] for end in ends] == [False] * 6 + [True] and ends[-1][3]['discount'] == 1


def test_limits_of_time_and_resets_of_own_environments(capsys):
  env = make('py_own:TimeOut')
  env.reset()
  results = [env.step(np.zeros(2, np.float32)) for _ in range(25)]
  assert results[-1][2] and results[-1][3]['discount'] == 1
  for name in ('TimeOut', 'KwReset', 'NoSeed'):
    make(f'py_own:{name}').reset(5)
    assert checked(f'py_own:{name}', capsys)[0] == 0
  first, second = (make('py_own:KwReset').reset(5)['vector'] for _ in range(2))
  np.testing.assert_array_equal(first, second)


def test_only_what_is_a_seed_is_seeded(capsys):
  for name, seeded in (('Level', False), ('Named', True), ('Needs', True)):
    env = make(f'py_own:{name}')
    env.reset(5)
    assert inner(env).given == (5 if seeded else None)
    code, out = checked(f'py_own:{name}', capsys)
    assert code == 0 and ('cannot be repeated' in out) != seeded


def test_a_space_without_actions_is_refused(monkeypatch):
  inverted = own.Box(-1, 1, (2,), np.float32)
  inverted.low[:] = 2
  for space in (own.Box(-1, 1, (0,), np.float32), inverted):
    monkeypatch.setattr(own, 'Made', type('Made', (own.Own,), {'act_space': space}), raising=False)
    with pytest.raises(UserError, match='holds no action'):
      make('py_own:Made')


def test_an_end_that_is_a_word_is_no_end(monkeypatch):
  step = lambda self, action: (*own.Own.step(self, action)[:2], 'False', {})
  monkeypatch.setattr(own, 'Made', type('Made', (own.Own,), {'step': step}), raising=False)
  env = make('py_own:Made')
  env.reset()
  with pytest.raises(ValueError, match="'False',. for the end of an episode"):
    env.step(np.zeros(2, np.float32))


def test_a_seed_that_is_no_method_is_left_alone(monkeypatch):
  reset = lambda self: own.Own.reset(self)
  monkeypatch.setattr(own, 'Made', type('Made', (own.Own,), {'seed': 42, 'reset': reset}), raising=False)
  make('py_own:Made').reset(3)


def test_a_program_that_ends_itself_is_said(monkeypatch, tmp_path, capsys):
  (tmp_path / 'program_of_mine.py').write_text('import sys\nsys.exit()\n')
  monkeypatch.syspath_prepend(tmp_path)
  with pytest.raises(UserError, match="'program_of_mine' ends the program while it is imported"):
    make('py_program_of_mine:Env')
  def ends():
    raise SystemExit
  monkeypatch.setattr(own, 'ends', ends, raising=False)
  with pytest.raises(UserError, match='py_own:ends ended the program'):
    make('py_own:ends')
  code, out = checked('py_own:ends', capsys)
  assert code == 1 and 'ended the program' in out


def test_an_environment_that_moves_elsewhere_leaves_the_run_where_it_is(monkeypatch, tmp_path):
  def moves():
    os.chdir(tmp_path / 'elsewhere')
    return own.Own()
  (tmp_path / 'elsewhere').mkdir()
  loops.use_toy(monkeypatch.setattr)
  monkeypatch.setattr(own, 'moves', moves, raising=False)
  monkeypatch.chdir(tmp_path)
  loops.start('run', '--configs', 'gym', 'debug', '--task', 'py_own:moves')
  assert (tmp_path / 'run' / 'checkpoint').exists() and not any((tmp_path / 'elsewhere').iterdir())


def test_what_is_no_function_is_named_as_what_it_is(monkeypatch):
  monkeypatch.setattr(odd, 'made', odd.States(2), raising=False)
  with pytest.raises(UserError, match="'made' of the module 'odd' is a States, no function"):
    make('py_odd:made')


def test_an_environment_without_close_is_sound(capsys):
  code, out = checked('py_own:NoEnd', capsys)
  assert code == 0 and 'No faults' in out


def test_many_discrete_states_cost_no_more_than_few(monkeypatch):
  monkeypatch.setattr(odd, 'Made', lambda: odd.States(20_000), raising=False)
  monkeypatch.setattr(np, 'eye', lambda *args, **kwargs: pytest.fail('a matrix for one vector'))
  vector = make('py_odd:Made').reset()['vector']
  assert vector.shape == (20_000,) and vector.sum() == 1


def test_units_far_apart_are_noted(capsys):
  code, out = checked('py_own:Many', capsys)
  assert code == 0 and 'note: vector: entries reach from' in out and 'TransformObservation' in out


def test_short_episodes_and_simulators_that_are_there_once_are_noted(capsys):
  assert 'note: 3 of 3 episodes have fewer rows' in checked('py_odd:Short', capsys, '--seed', '7')[1]
  out = checked('py_own:Single', capsys)[1]
  assert 'note: a second one cannot be made beside the first (port 5005 is in use' in out


def test_a_second_environment_that_cannot_be_made_is_one_sentence(tmp_path, monkeypatch):
  loops.use_toy(monkeypatch.setattr)
  flags = ['--task', 'py_own:Single', '--cnn_keys=', '--mlp_keys', '.*']
  with pytest.raises(UserError, match='port 5005 is in use.*Pass --eval_episodes 0'):
    loops.start(tmp_path / 'both', *flags)
  loops.start(tmp_path / 'one', *flags, '--eval_episodes', 0)


def test_a_function_that_wants_arguments_is_one_sentence(monkeypatch):
  monkeypatch.setattr(odd, 'Made', lambda size, shown=True: odd.Odd(), raising=False)
  with pytest.raises(UserError, match="py_odd:Made is called without arguments, but missing .* 'size'"):
    make('py_odd:Made')


def test_an_environment_whose_process_dies_while_it_is_built_is_one_sentence(tmp_path, monkeypatch):
  loops.use_toy(monkeypatch.setattr)
  with pytest.raises(UserError, match='py_odd:Dying: cannot be built: .* is gone: .*exit code 7'):
    loops.start(
        tmp_path / 'run', '--task', 'py_odd:Dying', '--cnn_keys=', '--mlp_keys', '.*', '--parallel', 'process')
  assert not (tmp_path / 'run').exists()


def test_an_environment_that_has_changed_is_told_by_key(tmp_path, monkeypatch):
  loops.use_toy(monkeypatch.setattr)
  flags = ['--task', 'py_odd:Odd', '--cnn_keys=', '--mlp_keys', '.*']
  loops.start(tmp_path, *flags)
  wider = odd.Box(-1, 1, (4,), np.float32)
  monkeypatch.setattr(odd, 'Odd', functools.partial(odd.Odd, wider, odd.Box(-1, 1, (3,), np.float32)))
  said = r'vector is vector \[3\] in the run, vector \[4\] now; actions are continuous 2 in the run, continuous 3 now'
  for command in (
      lambda: loops.start(tmp_path, *flags, '--steps', 200), lambda: evaluate.evaluate(tmp_path, 1)):
    with pytest.raises(UserError, match=said):
      command()


def test_how_an_environment_is_understood_is_said_at_the_start(tmp_path, monkeypatch, capsys):
  loops.use_toy(monkeypatch.setattr)
  loops.start(tmp_path, '--task', 'py_odd:Old', '--cnn_keys=', '--mlp_keys', '.*', '--action_dist', 'auto')
  assert 'Old has the interface of Gym before 0.26; it cannot be seeded' in capsys.readouterr().out


@pytest.mark.parametrize('files', [['common/__init__.py'], ['common/other.py'], ['common.py']])
def test_a_folder_that_is_called_like_ours_is_named(tmp_path, root, files):
  for name in files:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
  code = f'import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(root)!r}]; import dreamer.train'
  done = subprocess.run(
      [sys.executable, '-c', code], capture_output=True, text=True, check=False, cwd=tmp_path,
      env={key: value for key, value in os.environ.items() if key != 'PYTHONPATH'})
  if files == ['common/other.py']:  # a folder without __init__.py comes after ours
    assert done.returncode == 0, done.stderr
  else:
    assert done.returncode == 1 and 'another module called common was found' in done.stderr
    assert 'Traceback' not in done.stderr


def test_ids_of_gym_lead_to_our_atari():
  pytest.importorskip('ale_py')
  for task, name in (
      ('atari_PongNoFrameskip-v4', 'atari_pong'), ('atari_ALE/SpaceInvaders-v5', 'atari_space_invaders'),
      ('gym_ALE/NewGame-v5', 'atari_new_game'), ('gym_PongNoFrameskip-v9', 'atari_pong'),
      ('gym_Breakout-v9', 'atari_breakout')):
    with pytest.raises(UserError, match=name):
      envs.check_task(task)


def test_episodes_that_time_limit_cuts_short_are_said(capsys):
  assert not make('gym_CartPole-v1', '--time_limit', '500').notes
  note, = make('gym_CartPole-v1', '--time_limit', '100').notes
  assert note.startswith('gym_CartPole-v1 is played for up to 500 frames elsewhere, but time_limit ends episodes,')
  code, out = checked('gym_CartPole-v1', capsys, '--time_limit', '100')
  assert code == 0 and f'note: {note}' in out
  pytest.importorskip('ale_py')
  note, = make('atari_pong').notes
  assert 'up to 108,000 frames' in note and 'after 1,000.' in note


@pytest.mark.parametrize('limit, said', [(5000, 5000), (5e3, 5000), ('1500', 0), (np.inf, 0), (None, 0)])
def test_limits_of_odd_kinds_end_no_run(limit, said):
  class Spec:
    max_episode_steps = limit
  class World:
    spec = Spec()
  assert protocol.longest(World()) == said
  assert protocol.longest(gymnasium.wrappers.TimeLimit(odd.Odd(odd.VECTOR), 1500)) == 1500


def test_all_environments_say_what_is_to_be_known_once():
  worlds = [make('gym_CartPole-v1', '--time_limit', limit) for limit in ('100', '200', '100')]
  assert envs.notes(worlds) == [*worlds[0].notes, *worlds[1].notes]


@pytest.mark.parametrize('base, said, discount', [
    ('Own', False, 1), ('Own', True, 0), ('Halves', False, 1), ('Halves', True, 0),
    ('TimeOut', True, 1), ('Five', True, 1), ('Over', False, 0)])  # these say it in words of their own
def test_the_end_of_an_own_world_may_be_told_by_is_terminal(monkeypatch, capsys, base, said, discount):
  class Told(getattr(own, base)):
    def obs(self):
      return {**super().obs(), 'is_terminal': np.array(said)}
  monkeypatch.setattr(own, 'Told', Told, raising=False)
  env, done = make('py_own:Told', '--action_repeat', '2'), False
  env.reset()
  while not done:
    obs, _, done, info = env.step(np.zeros(2, np.float32))
  assert info['discount'] == discount and 'is_terminal' not in obs
  assert 'is_terminal' not in checked('py_own:Told', capsys)[1]


def test_a_world_that_cannot_be_closed_hides_no_message(monkeypatch):
  class Duck:
    observation_space, action_space = odd.VECTOR, gymnasium.spaces.Discrete(2)
    def reset(self, seed=None):
      return self.observation_space.sample(), {}
  monkeypatch.setattr(odd, 'Made', Duck, raising=False)
  make('py_odd:Made').close()
  with pytest.raises(UserError, match='no observation fits'):
    make('py_odd:Made', '--mlp_keys', 'nope')
  Duck.action_space = gymnasium.spaces.MultiDiscrete([2, 3])
  with pytest.raises(UserError, match='the space MultiDiscrete'):
    make('py_odd:Made')


def test_frames_that_are_skipped_twice_are_said():
  pytest.importorskip('ale_py')
  env = make('gym_ale_py:ALE/Pong-v5')
  assert 'repeats each action by itself' in env.notes[0] and 'atari_GAME' in env.notes[0]


def test_a_system_without_a_home_is_told(monkeypatch, tmp_path):
  monkeypatch.setattr(os.path, 'expanduser', lambda path: path)
  with pytest.raises(UserError, match='knows no home directory'):
    config_lib.load('dreamer', ['--configs', 'debug'])


@pytest.mark.parametrize('name, reward', [('wrapped', 10), ('wrapped_old', 1)])
def test_wrappers_of_users_stay(name, reward, capsys):
  env = make(f'py_odd:{name}')
  env.reset(1)
  assert env.step(env.act_space.sample())[1] == reward
  assert checked(f'py_odd:{name}', capsys)[0] == 0


@pytest.mark.parametrize('kind', ['NoOptions', 'Alone'])
def test_wrappers_of_the_library_stay_around_what_they_could_not_call(monkeypatch, kind, capsys):
  made = []
  def build():
    made.append(odd.stack(getattr(odd, kind)))
    return made[-1]
  monkeypatch.setattr(odd, 'Made', build, raising=False)
  env = make('py_odd:Made')
  env.reset(1)
  ends = [env.step(np.ones(2, np.float32)) for _ in range(5)]
  assert made[-1].unwrapped.seen[0].tolist() == [2, 2] and ends[0][1] == -1
  assert [end[2] for end in ends] == [False] * 4 + [True] and ends[-1][3]['discount'] == 1
  code, out = checked('py_odd:Made', capsys)
  assert code == 0 and 'as before Gym 0.26' in out and '5 to 5 decisions, return -5 +- 0' in out


def test_wrappers_of_users_may_be_around_those_of_the_library(capsys):
  env = make('py_odd:topped')
  env.reset(0)
  ends = [env.step(np.eye(5, dtype=np.float32)[0])[2] for _ in range(7)]
  assert ends == [False] * 6 + [True] and 'interface of Gym before 0.26' in env.notes[0]
  assert checked('py_odd:topped', capsys)[0] == 0


class Observing(gym.ObservationWrapper):
  """Inherits all that calls."""

  def observation(self, obs):
    return obs


class Passing(gym.Wrapper):
  """Passes on what it is told."""

  def reset(self, **kwargs):
    return self.env.reset(**kwargs)

  def step(self, action):
    return self.env.step(action)


class Stepping(gym.Wrapper):
  """Inherits `reset` alone."""

  def step(self, action):
    obs, reward, done, info = self.env.step(action)
    return obs, reward, done, info


class Resetting(gym.RewardWrapper):
  """Inherits `step` alone."""

  def reset(self):
    return self.env.reset() + np.float32(0)

  def reward(self, reward):
    return reward


class Delegating:
  """A class of this name of the user's own, which hands on what it does not have."""

  def __init__(self, env):
    self.env = env

  def __getattr__(self, name):
    return getattr(self.__dict__['env'], name)


Wrapper = type('Wrapper', (Delegating,), {})


@pytest.mark.parametrize('inner', [odd.OldSeeded, odd.Odd])
def test_a_wrapper_that_only_hands_on_works(monkeypatch, inner, capsys):
  odd.Old.seeds.clear()
  monkeypatch.setattr(odd, 'Made', lambda: Wrapper(inner()), raising=False)
  env = make('py_odd:Made')
  env.reset(3)
  env.step(env.act_space.sample())
  assert odd.Old.seeds == ([3] if inner is odd.OldSeeded else [])
  assert checked('py_odd:Made', capsys)[0] == 0


def test_seeds_reach_an_old_environment_through_wrappers_that_pass_keywords_on(monkeypatch):
  class PassingOn(gymnasium.Wrapper):
    def reset(self, **kwargs):
      return self.env.reset(**kwargs)

    def step(self, action):
      return self.env.step(action)
  class OldEnv(odd.OldGym, gymnasium.Env):
    seed = odd.OldSeeded.seed
    seeds = odd.Old.seeds
  odd.Old.seeds.clear()
  monkeypatch.setattr(odd, 'Made', lambda: PassingOn(OldEnv()), raising=False)
  env = make('py_odd:Made')
  env.reset(5)
  assert odd.Old.seeds == [5] and 'seeded by its method seed' in env.notes[0]


def test_wrappers_of_users_see_what_is_below_as_it_is(monkeypatch):
  class Looking(gymnasium.RewardWrapper):
    def reward(self, reward):
      assert isinstance(self.env, gymnasium.Env)
      return reward + (self.env.env.unwrapped is self.unwrapped)
  class Nothing(gymnasium.Wrapper):
    pass
  monkeypatch.setattr(odd, 'Made', lambda: Looking(Nothing(odd.Odd())), raising=False)
  env = make('py_odd:Made')
  env.reset(0)
  plain = odd.Odd()
  plain.reset(seed=0)
  assert env.step(np.zeros(2, np.float32))[1] == plain.step(np.zeros(2, np.float32))[1] + 1


@pytest.mark.parametrize('limited', [False, True])
@pytest.mark.parametrize('kind', [Observing, Passing, Stepping, Resetting])
def test_wrappers_of_users_may_inherit_from_the_library(monkeypatch, kind, limited):
  wrap = (lambda env: gym.wrappers.TimeLimit(env, 7)) if limited else lambda env: env
  monkeypatch.setattr(odd, 'Made', lambda: wrap(kind(odd.OldGym())), raising=False)
  env = make('py_odd:Made')
  env.reset(0)
  ends = [env.step(np.eye(5, dtype=np.float32)[0])[2] for _ in range(7 if limited else 20)]
  assert ends[-1] and not any(ends[:-1])


def test_what_a_users_wrapper_writes_reaches_the_environment(monkeypatch):
  class Harder(gymnasium.Wrapper):
    def reset(self, **kwargs):
      self.env.env.length = 2
      return self.env.reset(**kwargs)
  monkeypatch.setattr(
      odd, 'Made', lambda: Harder(gymnasium.wrappers.TimeLimit(odd.Odd(), 9)), raising=False)
  env = make('py_odd:Made')
  env.reset(0)
  assert [env.step(np.zeros(2, np.float32))[2] for _ in range(2)] == [False, True]


def test_what_gym_makes_for_a_user_works_without_its_checker(monkeypatch, capsys):
  gym.register('OldGymWorld-v0', odd.OldGym, max_episode_steps=7)
  monkeypatch.setattr(odd, 'Made', lambda: gym.make('OldGymWorld-v0'), raising=False)
  try:
    env = make('py_odd:Made')
    env.reset(0)
    ends = [env.step(np.eye(5, dtype=np.float32)[0])[2] for _ in range(7)]
    assert checked('py_odd:Made', capsys)[0] == 0
  finally:
    del gym.envs.registry['OldGymWorld-v0']
  assert ends == [False] * 6 + [True]


def test_costly_observations_of_own_environments_are_made_once_a_decision(monkeypatch):
  env = make('py_own:Halves', '--action_repeat', '4')
  env.reset(1)
  env.step(np.zeros(2, np.float32))
  assert inner(env).observed == 2


def test_own_environments_may_return_the_five_values_of_gymnasium(capsys):
  env = make('py_own:Five')
  env.reset(0)
  for _ in range(25):
    _, _, done, info = env.step(np.zeros(2, np.float32))
  assert done and info['discount'] == 1
  assert checked('py_own:Five', capsys)[0] == 0


def test_methods_that_are_called_as_the_halves_of_a_step_are_left_alone(capsys):
  env = make('py_own:Physics', '--action_repeat', '2')
  env.reset(0)
  assert env.step(np.zeros(2, np.float32))[1] == 2
  assert checked('py_own:Physics', capsys)[0] == 0
  env = make('py_own:WrongHalves')
  env.reset(0)
  with pytest.raises(ValueError, match='advance returned .* the two halves of step. Rename them'):
    env.step(np.zeros(2, np.float32))


def test_a_reward_is_one_number_or_the_message_names_it(monkeypatch, capsys):
  code, out = checked('py_own:OneEntry', capsys)  # other code may not take it
  assert code == 1 and 'the reward is array' in out
  for value, number in (
      (True, 1.0), (np.float16(2), 2.0), (np.array([[3]]), 3.0), (fractions.Fraction(1, 2), 0.5)):
    assert values.number('reward', value) == number
  for value in ('3', None, [1, 2], np.zeros(2), 1j, 10 ** 400, np.array('3'), np.complex64(1)):
    with pytest.raises(ValueError, match='reward is .* expected one number'):
      values.number('reward', value)
  env = make('py_own:OneEntry')
  env.reset(0)
  assert isinstance(env.step(np.zeros(2, np.float32))[1], float)
  env = make('py_own:NoReward')
  env.reset(0)
  with pytest.raises(ValueError, match='reward is None, expected one number'):
    env.step(np.zeros(2, np.float32))
  for kind, words in (('r1', ''), ('rnone', 'reward is None')):
    monkeypatch.setattr(odd, 'Made', lambda kind=kind: Rewarded(kind), raising=False)
    env = make('py_odd:Made')
    env.reset(0)
    if words:
      with pytest.raises(ValueError, match=words):
        env.step(np.zeros(env.act_space.shape, np.float32))
    else:
      assert env.step(np.zeros(env.act_space.shape, np.float32))[1] == 1.0


class Rewarded(odd.Odd):
  """An environment of Gymnasium with an odd reward."""

  def __init__(self, kind):
    super().__init__()
    self.kind = kind

  def step(self, action):
    obs, _, *rest = super().step(action)
    return obs, {'r1': np.array([1.0]), 'rnone': None}[self.kind], *rest


def test_entries_that_are_no_arrays_are_refused_only_where_they_are_selected(capsys):
  assert set(make('py_own:Words', '--mlp_keys', 'vector').reset(0)) == {'vector'}
  assert checked('py_own:Words', capsys, '--mlp_keys', 'vector')[0] == 0
  with pytest.raises(UserError, match='obs_space declares mission as Text'):
    make('py_own:Words', '--mlp_keys', '.*')


def test_what_an_environment_starts_is_its_own_affair_in_a_process(capsys):
  """A process of its own, and a program that has to end by the signal that asks it to."""
  config = config_lib.load('dreamer', ['--configs', 'gym', '--task', 'py_own:Servant', '--parallel', 'process'])
  env, = envs.make_all(config, 1, 0, 'train')
  env.reset(0)()
  pid = env.env._worker._process.pid if hasattr(env, 'env') else env._worker._process.pid
  children = pathlib.Path(f'/proc/{pid}/task/{pid}/children').read_text().split()
  env.close()
  assert children and not any(pathlib.Path(f'/proc/{child}').exists() for child in children)


def test_check_env_plays_no_longer_than_an_episode_of_training(capsys):
  code, out = checked('py_own:Endless', capsys, '--time_limit', '30', '--action_repeat', '2', '--batch_length', '9')
  assert code == 0 and '15 to 15 decisions, return 30 +- 0' in out
  assert 'no end within 30 steps: what does not end by itself is ended by time_limit' in out


def test_an_action_that_can_have_one_value_is_a_note(monkeypatch, capsys):
  space = odd.Box(np.float32([0, -1]), np.float32([0, 1]), dtype=np.float32)
  monkeypatch.setattr(odd, 'Made', lambda: odd.Odd(odd.VECTOR, space), raising=False)
  code, out = checked('py_odd:Made', capsys)
  assert code == 0 and 'note: an entry of the action space' in out
