"""Every suite gives environments in one form, and mistakes are named."""
import os
import pathlib
import subprocess
import sys
import textwrap

import gymnasium
import numpy as np
import pytest

from common import config
from common import envs
from common.checks.parity import dmc as parity
from common.config import UserError
from common.envs import actions, dmc, wrappers
from common.envs import gym as gym_suite

BASE = dict(
    seed=0, action_repeat=2, time_limit=1000, camera='auto', image_size=64,
    cnn_keys='image', mlp_keys='', action_dist='auto')
ALL = dict(cnn_keys='.*', mlp_keys='.*')
VECTORS = dict(cnn_keys='', mlp_keys='.*')


def make(task, **values):
  return envs.make(config.Config({**BASE, 'task': task, **values}))


def check_protocol(env, steps=3):
  """Assert shapes, dtypes and ranges over some steps; return the observations."""
  observations = [env.reset(seed=1)]
  for _ in range(steps):
    obs, reward, done, info = env.step(env.act_space.sample())
    assert isinstance(reward, float) and isinstance(done, bool) and isinstance(info, dict)
    observations.append(obs)
  for obs in observations:
    assert obs.keys() == env.obs_space.keys()
    for key, space in env.obs_space.items():
      assert (obs[key].shape, obs[key].dtype) == (space.shape, space.dtype), key
      assert len(space.shape) in (1, 3)
  assert env.act_space.dtype == np.float32
  env.close()
  return observations


def run_python(code, **environ):
  """Run code in a fresh interpreter with some variables set (or, if None, removed)."""
  values = {key: value for key, value in {**os.environ, **environ}.items() if value is not None}
  return subprocess.run(
      [sys.executable, '-c', textwrap.dedent(code)], env=values, timeout=120,
      capture_output=True, text=True)


# DeepMind Control

@pytest.mark.parametrize('task', [
    'dmc_walker_walk', 'dmc_cup_catch', 'dmc_quadruped_run', 'dmc_humanoid_CMU_run',
    'dmc_finger_turn_easy', 'dmc_manipulator_bring_ball', 'dmc_point_mass_easy'])
def test_tasks_of_the_suite_have_images_and_vectors(task):
  env = make(task, **ALL)
  observations = check_protocol(env)
  images = np.stack([obs['image'] for obs in observations])
  assert images.std() > 5 and (images[0] != images[-1]).any()
  assert len(env.obs_space) > 1


def test_default_keys_give_the_image_alone():
  env = make('dmc_cartpole_balance')
  assert list(check_protocol(env, 1)[0]) == ['image']


def test_quadruped_is_filmed_by_the_camera_that_follows_it():
  assert dmc.camera_id('quadruped') == 2 and dmc.camera_id('walker') == 0
  assert dmc.camera_id('quadruped', 1) == 1
  with pytest.raises(UserError, match='no camera 7'):
    make('dmc_walker_walk', camera=7)


def test_only_the_last_repeated_frame_is_rendered():
  env = make('dmc_cartpole_balance', action_repeat=4)
  physics = env.env.env.env._env.physics  # below TimeLimit, NormalizeActions, ActionRepeat
  calls, render = [], physics.render
  physics.render = lambda *args: calls.append(args) or render(*args)
  check_protocol(env, steps=5)
  assert calls == [(64, 64, 0)] * 6


@pytest.mark.parametrize('task', ['dmc_reacher_easy', 'dmc_lqr_lqr_2_1', 'dmc_quadruped_walk'])
def test_an_episode_is_a_function_of_its_seed(task):
  def episode(env, seed):
    actions = np.random.default_rng(0).uniform(-1, 1, (10, env.act_space.shape[0]))
    rows = [env.reset(seed)] + [env.step(action)[0] for action in actions]
    return np.concatenate([np.concatenate(list(row.values())) for row in rows])
  one, other = make(task, **VECTORS), make(task, seed=5, **VECTORS)
  first = episode(one, 3)
  episode(other, 4)
  np.testing.assert_array_equal(first, episode(other, 3))
  assert not np.array_equal(first, episode(one, 4))
  one.close(), other.close()


def test_actions_without_bounds_are_those_of_a_usual_size():
  env = make('dmc_lqr_lqr_2_1', **VECTORS)
  env.reset(0)
  _, reward, _, _ = env.step(np.ones(env.act_space.shape, np.float32))
  assert abs(reward) < 100


@pytest.mark.parametrize('time_limit, decisions', [(1000, 500), (30, 15), (5, 3), (4000, 500)])
def test_control_episodes_end_at_a_time_limit_with_discount_one(time_limit, decisions):
  env = make('dmc_pendulum_swingup', time_limit=time_limit, **VECTORS)
  env.reset()
  count, done, discounts = 0, False, []
  while not done:
    _, _, done, info = env.step(np.zeros(1))
    discounts.append(info['discount'])
    count += 1
  assert count == decisions and set(discounts) == {1.0}
  env.close()


def test_actions_reach_the_bounds_of_the_suite():
  env = make('dmc_quadruped_walk', **VECTORS)
  inner, received = env.env.env.env, []  # DeepMindControl
  inner.advance = lambda action: received.append(action) or (0.0, False, {})
  env.reset()
  env.step(np.ones(12))
  np.testing.assert_allclose(received[0], [1, 1.1, 0.8] * 4, rtol=1e-6)
  env.close()


def test_closing_frees_the_physics():
  env = dmc.DeepMindControl('pendulum_swingup')
  env.reset()
  physics = env._env.physics
  env.close()
  env.close()
  with pytest.raises(AttributeError):
    physics.render(64, 64, 0)


def test_vectors_alone_need_no_opengl_and_no_tensorflow():
  code = '''
      import sys
      from common import config
      from common import envs
      c = config.Config(dict(
          task='dmc_walker_walk', seed=0, action_repeat=2, time_limit=1000,
          camera='auto',
          image_size=64, cnn_keys='', mlp_keys='.*'))
      envs.check_task(c.task, c)
      env = envs.make(c)
      env.step(env.reset() and env.act_space.sample())
      assert not [m for m in sys.modules if m.partition('.')[0] in ('OpenGL', 'glfw')]
      assert 'tensorflow' not in sys.modules
      # The environment is left open: freeing it is not the user's business.
  '''
  done = run_python(code, MUJOCO_GL=None)
  assert (done.returncode, done.stderr) == (0, '')


def test_images_work_after_vectors_in_the_same_process_and_end_without_traceback():
  code = '''
      from common.envs import dmc
      dmc.DeepMindControl('walker_walk', cnn_keys='', mlp_keys='.*').reset()
      assert dmc.DeepMindControl('walker_walk').reset()['image'].std() > 5
  '''
  done = run_python(code, MUJOCO_GL=None)
  assert (done.returncode, done.stderr) == (0, '')


@pytest.mark.parametrize('first', ['environment', 'tensorflow'])
def test_tensorflow_and_a_renderer_live_in_one_process(first):
  code = f'''
      import common
      if {first == 'tensorflow'}:
        import tensorflow
      from common.envs import dmc
      env = dmc.DeepMindControl('walker_walk')
      env.reset()
      import tensorflow as tf
      double = tf.function(lambda x: x + x, jit_compile=True)
      assert double(tf.ones(3)).numpy().sum() == 6 and env.reset()['image'].std() > 5
      env.close()
  '''
  assert run_python(code).returncode == 0


@pytest.mark.parametrize('backend', ['egl', None])
@pytest.mark.parametrize('first', [
    "envs.make(config.load('dreamer', ['--configs', 'gym', '--task', 'py_own_dmc:Pole']))",
    'own_dmc.Pole()'])
def test_own_tasks_on_dm_control_draw_before_tensorflow_comes(backend, first):
  if backend is None and first.startswith('own'):
    pytest.skip('what a program of its own draws with is its own business')
  code = f'''
      import sys
      sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})
      if {first.startswith('own')}:
        import own_dmc
        env = own_dmc.Pole()
        env.reset()
      from common import config, envs
      env = {first}
      assert env.reset()['image'].std() > 5
      import tensorflow as tf
      double = tf.function(lambda x: x + x, jit_compile=True)
      assert double(tf.ones(3)).numpy().sum() == 6 and env.reset()['image'].std() > 5
  '''
  done = run_python(code, MUJOCO_GL=backend)
  assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('backend, said', [
    ('disabled', 'forbids rendering'), ('nonsense', 'does not load'), ('glfw', 'and there is none')])
def test_a_renderer_that_the_user_chose_is_respected(backend, said):
  code = '''
      from common import config
      from common.envs import dmc
      try:
        dmc.DeepMindControl('walker_walk')
      except config.UserError as error:
        print(error)
  '''
  done = run_python(code, MUJOCO_GL=backend, DISPLAY=None, WAYLAND_DISPLAY=None)
  assert said in done.stdout and 'MUJOCO_GL' in done.stdout and done.stderr == ''


def test_a_machine_without_opengl_is_told_what_to_install():
  code = '''
      from common import config
      from common.envs import dmc
      dmc._egl_works = dmc._osmesa_works = lambda: False
      try:
        dmc.DeepMindControl('walker_walk')
      except config.UserError as error:
        print(error)
  '''
  done = run_python(code, MUJOCO_GL=None)
  assert 'libegl1 libgl1 libosmesa6 libopengl0' in done.stdout


# Gymnasium, Gym and the user's own

class Scripted(gymnasium.Env):
  """Terminates or is truncated at the second step; spaces as given."""

  def __init__(self, observation, action, terminated=False):
    self.observation_space, self.action_space = observation, action
    self.terminated, self.t, self.received = terminated, 0, []

  def reset(self, seed=None, options=None):
    self.t = 0
    return self.observation_space.sample(), {}

  def step(self, action):
    assert self.action_space.contains(action), action
    self.received.append(action)
    self.t += 1
    end = self.t == 2
    terminated, truncated = (end and self.terminated, end and not self.terminated)
    return self.observation_space.sample(), 1, terminated, truncated, {}


SPACES = gymnasium.spaces
BOX = SPACES.Box(-1, 1, (2,), np.float32)
SCRIPTED = {}


def scripted():
  """Function for py_ tasks: returns the environment that a test prepared."""
  return SCRIPTED['env']


def scripted_task(env, **values):
  SCRIPTED['env'] = env
  values = {**ALL, 'action_repeat': 1, **values}
  sys.modules.setdefault('scripted_module', sys.modules[__name__])
  return make('py_scripted_module:scripted', **values)


def test_gymnasium_environments_have_a_vector_and_one_hot_actions():
  env = make('gym_CartPole-v1', **ALL)
  obs = check_protocol(env)
  assert list(obs[0]) == ['vector'] and isinstance(env.act_space, wrappers.OneHot)


def test_gym_environments_that_gymnasium_lacks_work_without_a_notice():
  code = '''
      import gym
  '''
  assert 'unmaintained' in run_python(code).stderr  # the notice that has to go
  code = '''
      import numpy as np
      from common.envs import gym
      class Own(gym._import_library('gym').Env):
        import gym
        observation_space = gym.spaces.Dict(
            a=gym.spaces.Box(0, 255, (8, 8, 3), np.uint8), b=gym.spaces.Discrete(3))
        action_space = gym.spaces.Box(-2, 2, (1,))
        def reset(self, seed=None, options=None):
          return self.observation_space.sample(), {}
        def step(self, action):
          return self.observation_space.sample(), action[0], False, False, {}
      import gym as library
      library.register('Own-v7', Own)
      from common import config
      from common import envs
      c = config.Config(dict(
          task='gym_Own-v7', seed=0, action_repeat=2, time_limit=10,
          image_size=64, cnn_keys='.*',
          mlp_keys='.*'))
      envs.check_task(c.task, c)
      env = envs.make(c)
      obs = env.reset(3)
      assert obs['a'].shape == (64, 64, 3) and obs['b'].shape == (3,), obs
      assert env.step(np.ones(1))[1] == 4
  '''
  done = run_python(code)
  assert (done.returncode, done.stderr) == (0, '')


@pytest.mark.parametrize('terminated, discount', [(True, 0), (False, 1)])
def test_terminated_means_discount_zero_and_truncated_one(terminated, discount):
  env = scripted_task(Scripted(BOX, BOX, terminated))
  env.reset()
  _, _, done, info = env.step(np.zeros(2))
  assert not done and info['discount'] == 1
  _, _, done, info = env.step(np.zeros(2))
  assert done and info['discount'] == discount


def test_images_are_resized_and_entries_of_a_dict_keep_their_names():
  image = SPACES.Box(0, 255, (20, 30, 3), np.uint8)
  table = SPACES.Box(-1, 1, (2, 3), np.float64)
  space = SPACES.Dict(eye=image, inner=SPACES.Dict(table=table, pose=SPACES.Discrete(4, start=1)))
  env = scripted_task(Scripted(space, SPACES.Discrete(3)))
  shapes = {key: box.shape for key, box in env.obs_space.items()}
  assert shapes == {'eye': (64, 64, 3), 'inner/table': (6,), 'inner/pose': (4,)}
  assert all(obs['inner/pose'].sum() == 1 for obs in check_protocol(env, 1))
  plain = scripted_task(Scripted(image, BOX))
  assert list(plain.obs_space) == ['image']


def test_actions_arrive_in_the_form_of_the_environment():
  inner = Scripted(BOX, SPACES.Discrete(3, start=5))
  env = scripted_task(inner)
  env.reset()
  env.step(np.eye(3)[2])
  assert inner.received == [7]
  inner = Scripted(BOX, SPACES.Box(-0.1, np.float32(0.7), (2, 2), np.float32))
  env = scripted_task(inner)
  env.reset()
  env.step(np.ones(4))
  np.testing.assert_allclose(inner.received[0], np.full((2, 2), 0.7), rtol=1e-6)


@pytest.mark.parametrize('observation, action, said', [
    (SPACES.Tuple([BOX]), BOX, 'the space Tuple'),
    (BOX, SPACES.MultiDiscrete([2, 2]), 'the space MultiDiscrete'),
    (BOX, SPACES.Box(-np.inf, np.inf, (2,)), 'finite bounds'),
    (BOX, SPACES.Dict(a=BOX), 'finite bounds')])
def test_other_spaces_are_refused_in_one_sentence(observation, action, said):
  with pytest.raises(UserError, match=said):
    scripted_task(Scripted(observation, action))


def test_a_function_may_return_an_environment_in_our_own_protocol():
  env = scripted_task(make('dummy_discrete', **ALL), **VECTORS, time_limit=3)
  assert list(check_protocol(env, 2)[0]) == ['vector']
  assert isinstance(env.act_space, wrappers.OneHot)
  with pytest.raises(UserError, match='returned int'):
    scripted_task(3)


def test_gym_import_inside_the_package_reaches_the_library():
  assert gym_suite.gymnasium is gymnasium
  assert gym_suite._import_library('gym').__name__ == 'gym'
  assert gym_suite._import_library('gym') is not gym_suite


# Dummies

def test_dummy_rewards_can_be_worked_out():
  env = make('dummy_continuous', **ALL)
  env.reset()
  obs, reward, _, _ = env.step(np.array([0.25, -0.25]))  # 0.5 and -0.5 in the bounds of -2, 2
  assert reward == 2 * (1 - 0.5) and obs['vector'][0] == np.float32(0.02)
  assert (obs['image'][1:] == 2).all()
  env = make('dummy_discrete', action_repeat=1, **ALL)
  env.reset()
  assert [env.step(np.eye(3)[i])[1] for i in (0, 1, 0)] == [1, 1, 0]


@pytest.mark.parametrize('task, decisions, discount', [
    ('dummy_continuous', 25, 1), ('dummy_terminal', 10, 0)])
def test_dummies_end_by_time_limit_or_really(task, decisions, discount):
  env = make(task + '_vector', time_limit=50, **VECTORS)
  env.reset()
  done, count = False, 0
  while not done:
    _, _, done, info = env.step(np.zeros(2))
    count += 1
  assert count == decisions and info.get('discount', 0) == discount


def test_dummy_marks_depend_on_the_seed():
  env = make('dummy_continuous_vector', **VECTORS)
  marks = [env.reset(seed)['vector'][1] for seed in (1, 1, 2)]
  assert marks[0] == marks[1] != marks[2]


# Mistakes

@pytest.mark.parametrize('task, said', [
    ('dmc_walker_wlak', 'dmc_walker_walk'), ('dcm_walker_walk', 'Nearest: dmc'),
    ('walker_walk', 'dmc_walker_walk'), ('dmc_', 'names a suite only'), ('', 'no known suite'),
    ('gym_CartPole-v7', 'gym_CartPole-v1'), ('gym_CartPloe-v1', 'gym_CartPole-v1'),
    ('dummy_continous', 'dummy_continuous'), ('py_nothing', 'PACKAGE.MODULE:FUNCTION'),
    ('py_no_such.module:f', "no module 'no_such'"), ('py_os.nope:f', "no module 'os.nope'"),
    ('py_os.path:joinn', 'Nearest: join'), ('gym_no_such.package:Env-v0', "no package 'no_such'"),
    ('gym_ale_py:ALE/Pon-v5', 'gym_ale_py:ALE/Pong-v5'),
    ('py_./my/env.py:make', 'Expected --task py_my.env:make'), ('py_.my:make', 'Expected --task py_my:make'),
    ('py_:make', 'py_PACKAGE.MODULE:make'), ('gym_.pkg:Foo-v0', 'gym_PACKAGE:Foo-v0'),
    ('gym_:CartPole-v1', 'does not name a package')])
def test_unknown_tasks_are_refused_with_the_nearest_names(task, said):
  with pytest.raises(UserError, match=said.replace('(', r'\(')) as info:
    envs.check_task(task)
  assert '\n' not in str(info.value)


def test_known_tasks_are_accepted():
  for task in ('dmc_walker_walk', 'dmc_cup_catch', 'dmc_ball_in_cup_catch', 'gym_CartPole-v1',
               'dummy_terminal_vector', 'py_os.path:join'):
    envs.check_task(task)


def test_keys_that_fit_nothing_are_refused_with_the_available_ones():
  with pytest.raises(UserError, match='vector'):
    make('gym_CartPole-v1')
  with pytest.raises(UserError, match='orientations'):
    make('dmc_walker_walk', cnn_keys='', mlp_keys='nothing')


def test_action_distributions_that_do_not_fit_are_refused():
  with pytest.raises(UserError, match='discrete.*--action_dist onehot'):
    make('gym_CartPole-v1', action_dist='tanh_normal', **ALL)
  with pytest.raises(UserError, match='continuous.*--action_dist tanh_normal'):
    make('gym_Pendulum-v1', action_dist='onehot', **ALL)
  with pytest.raises(UserError, match='continuous'):
    envs.check_task('dmc_walker_walk', config.Config({'action_dist': 'onehot'}))


@pytest.mark.parametrize('task, kind, block', [
    ('atari_pong', 'discrete', 'atari'), ('py_m:Env', 'discrete', 'gym'), ('dmlab_x', 'discrete', 'discrete'),
    ('dmc_walker_walk', 'continuous', 'dmc')])
def test_the_block_of_the_suite_is_named_before_single_flags(task, kind, block):
  wrong = {'discrete': 'tanh_normal', 'continuous': 'onehot'}[kind]
  with pytest.raises(UserError, match=f'Pass --configs {block}, its block, or --action_dist'):
    actions.check(task, kind, config.Config({'action_dist': wrong, 'configs': ['cpu']}))
  with pytest.raises(UserError, match='Pass --action_dist'):
    actions.check(task, kind, config.Config({'action_dist': wrong, 'configs': [block]}))


def test_checking_a_task_is_quick(processor_seconds):
  result, seconds = processor_seconds(
      run_python, 'from common import envs; envs.check_task("dmc_walker_walk")')
  assert result.returncode == 0 and seconds < 3


# Recorded facts

class Fixture:
  """What common.checks.parity reads of a golden file."""

  def __init__(self, tasks):
    self.config = {'tasks': tasks, 'size': [64, 64]}


FACTS = dict(
    camera=0, action_shape=[1], action_low=[-1.0], action_high=[1.0],
    observation={'position': [3], 'velocity': [2]}, step_limit=1000.0, first_reward=None,
    image_shape=[64, 64, 3])


def test_recorded_facts_are_reproduced_and_differences_noticed():
  facts = parity.dmc_facts(Fixture({'cartpole_swingup': FACTS}))
  assert facts['out/cameras'].tolist() == [0] and facts['out/action_dims'].tolist() == [1]
  for key, wrong in [('action_low', [-2.0]), ('observation', {'position': [3]}), ('camera', 2),
                     ('step_limit', 500.0), ('image_shape', [32, 32, 3])]:
    with pytest.raises(AssertionError):
      parity.dmc_facts(Fixture({'cartpole_swingup': {**FACTS, key: wrong}}))
