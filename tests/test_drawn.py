"""gym_draw: what an environment of Gymnasium or Gym draws is an observation."""
import gym
import gymnasium
import numpy as np
import pytest

from common import config as config_lib
from common import envs
from common.config import UserError


class Bar(gymnasium.Env):
  """A bar grows to the right by one cell a step; its length is felt, or drawn as 8 x 10 pixels."""

  metadata = {'render_modes': ['rgb_array']}
  observation_space = gymnasium.spaces.Box(0, 10, (1,), np.float32)
  action_space = gymnasium.spaces.Discrete(2)
  closed = 0

  def __init__(self, render_mode='rgb_array'):
    self.render_mode = render_mode

  def reset(self, seed=None, options=None):
    super().reset(seed=seed)
    self.length = 0
    return self._felt(), {}

  def step(self, action):
    self.length += 1
    return self._felt(), 1.0, self.length == 10, False, {}

  def render(self):
    picture = np.zeros((8, 10, 3), np.uint8)
    picture[:, :self.length] = 255
    return picture

  def close(self):
    Bar.closed += 1

  def _felt(self):
    return np.array([self.length], np.float32)


class Blind(Bar):

  def render(self):
    raise RuntimeError('no brush is installed,\nrun `pip install brush`.')


class Nothing(Bar):

  def render(self):
    return None


class Old(Bar):
  """In the interface of Gym before 0.26."""

  def reset(self):
    self.length = 0
    return self._felt()

  def step(self, action):
    obs, reward, done, _, info = super().step(action)
    return obs, reward, done, info

  def render(self, mode='human'):
    assert mode == 'rgb_array'
    return super().render()


class Gym(gym.Env):
  """One of Gym 0.26, whose wrappers take any keyword and hand it on."""

  metadata, observation_space = Bar.metadata, gym.spaces.Box(0, 10, (1,), np.float32)
  action_space = gym.spaces.Discrete(2)
  __init__, step, render, _felt = Bar.__init__, Bar.step, Bar.render, Bar._felt

  def reset(self, seed=None, options=None):
    self.length = 0
    return self._felt(), {}


class Seen(Bar):
  observation_space = gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)


class NoMode(Bar):

  def __init__(self):
    super().__init__()


class Own:
  obs_space = {'x': gymnasium.spaces.Box(0, 1, (1,))}
  act_space = gymnasium.spaces.Discrete(2)


for kind in (Bar, NoMode):
  gymnasium.register(f'{kind.__name__}OfTests-v0', kind)

gym.register('GymOfTests-v0', Gym)

def below(wrapper):
  """One of before Gym 0.26 below a wrapper of Gymnasium."""
  return lambda: wrapper(Old())


limited = below(lambda env: gymnasium.wrappers.TimeLimit(env, 100))
ordered = below(gymnasium.wrappers.OrderEnforcing)

TASKS = ['py_test_drawn:limited', 'py_test_drawn:ordered', 'py_test_drawn:Bar', 'py_test_drawn:Old', 'gym_BarOfTests-v0', 'gym_GymOfTests-v0']
DRAW = ['--gym_draw', 'True']
PICTURES = [*DRAW, '--mlp_keys', '']


def config(task, *argv):
  return config_lib.load('dreamer', ['--configs', 'gym', '--task', task, *argv])


def make(task, *argv):
  return envs.make(config(task, *argv))


@pytest.mark.parametrize('task', TASKS)
@pytest.mark.parametrize('argv, keys', [
    ([], ['vector']), (['--cnn_keys', 'image'], ['vector']), (PICTURES, ['image']),
    (DRAW, ['image', 'vector'])])
def test_what_is_drawn_is_seen_where_that_is_asked_for(task, argv, keys):
  env = make(task, *argv)
  assert sorted(env.obs_space) == keys == sorted(env.reset(seed=0))


@pytest.mark.parametrize('task', TASKS)
def test_the_picture_is_that_of_the_state(task):
  env = make(task, *DRAW, '--action_repeat', '3')
  obs, done, lengths = env.reset(seed=0), False, []
  while True:
    assert obs['image'].shape == (64, 64, 3) and obs['image'].dtype == np.uint8
    assert obs['image'].mean() == pytest.approx(25.5 * obs['vector'][0], abs=1)
    lengths.append(obs['vector'][0])
    if done:
      break
    obs, _, done, info = env.step(np.array([1, 0], np.float32))
  assert lengths == [0, 3, 6, 9, 10] and info['discount'] == 0


@pytest.mark.parametrize('task, message', [
    ('py_test_drawn:Blind', 'cannot be drawn: no brush is installed, run `pip install brush`. Ins'),
    ('py_test_drawn:Nothing', 'render returned NoneType, expected an array uint8'),
    ('py_test_drawn:Seen', "shows an observation 'image' by itself. Leave out gym_draw"),
    ('py_test_drawn:Own', 'has obs_space, which is all that it shows. Leave out gym_draw'),
    ('gym_NoModeOfTests-v0', 'takes no render_mode, so nothing is drawn. Leave out gym_draw')])
def test_what_cannot_be_drawn_is_one_sentence(task, message):
  before = Bar.closed
  with pytest.raises(UserError) as error:
    make(task, *PICTURES)
  assert str(error.value).startswith(f'{task}: {message}')
  assert Bar.closed == before + (':' in task and 'Own' not in task)


def test_other_suites_refuse_it():
  with pytest.raises(UserError, match='gym_draw means nothing to dummy_discrete'):
    envs.check(config('dummy_discrete', *DRAW))


def test_what_is_drawn_has_to_be_seen():
  with pytest.raises(UserError, match="gym_draw draws 'image', which cnn_keys '' does not fit"):
    envs.check(config('gym_CartPole-v1', *DRAW, '--cnn_keys', ''))


def test_the_pole_of_gymnasium_is_drawn():
  env = make('gym_CartPole-v1', *PICTURES)
  one, other = env.reset(seed=1)['image'], env.reset(seed=2)['image']
  assert 200 < one.mean() < 255 and (one != other).any()
  np.testing.assert_array_equal(one, env.reset(seed=1)['image'])
  env.close()
