"""Environments without pictures are drawn where the agent asks for an image, and nowhere else."""
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

  def __init__(self, render_mode=None):
    self.render_mode, self.drawn = render_mode, 0

  def reset(self, seed=None, options=None):
    super().reset(seed=seed)
    self.length = 0
    return self._felt(), {}

  def step(self, action):
    self.length += 1
    return self._felt(), 1.0, self.length == 10, False, {}

  def render(self):
    self.drawn += 1
    picture = np.zeros((8, 10, 3), np.uint8)
    picture[:, :self.length] = 255
    return picture

  def _felt(self):
    return np.array([self.length], np.float32)


class Blind(Bar):

  def render(self):
    raise gymnasium.error.DependencyNotInstalled('no brush is installed,\nrun `pip install brush`')


def bar():
  return Bar('rgb_array')


def blind():
  return Blind('rgb_array')


def still():
  return Bar()


gymnasium.register('BarOfTests-v0', Bar)


def make(task, *argv):
  return envs.make(config_lib.load('dreamer', ['--configs', 'gym', '--task', task, *argv]))


PICTURES = ['--cnn_keys', 'image', '--mlp_keys', '']
BOTH = ['--cnn_keys', 'image']


@pytest.mark.parametrize('task', ['py_test_drawn:bar', 'gym_BarOfTests-v0'])
@pytest.mark.parametrize('argv, keys', [
    ([], ['vector']), (PICTURES, ['image']), (BOTH, ['image', 'vector']),
    (['--cnn_keys', ''], ['vector'])])
def test_what_is_drawn_is_what_was_asked_for(task, argv, keys):
  env = make(task, *argv)
  assert sorted(env.obs_space) == keys == sorted(env.reset(seed=0))
  assert (f'{task} is drawn, as it shows no pictures by itself' in env.notes) == ('image' in keys)


def test_the_picture_is_that_of_the_state_and_drawn_once_a_decision(monkeypatch):
  drawn = []
  render = Bar.render
  monkeypatch.setattr(Bar, 'render', lambda self: drawn.append(self.length) or render(self))
  env = make('py_test_drawn:bar', *BOTH, '--action_repeat', '3')
  drawn.clear()
  seen = [env.reset(seed=0)]
  while not (result := env.step(np.array([1, 0], np.float32)))[2]:
    seen.append(result[0])
  seen.append(result[0])
  assert drawn == [0, 3, 6, 9, 10] and result[3]['discount'] == 0
  for obs, length in zip(seen, drawn):
    assert obs['image'].shape == (64, 64, 3) and obs['image'].dtype == np.uint8
    assert obs['image'].mean() == pytest.approx(25.5 * length, abs=1) and obs['vector'] == [length]


def test_what_cannot_be_drawn_is_one_sentence():
  with pytest.raises(UserError, match=(
      'py_test_drawn:blind: cannot be drawn: no brush is installed, run `pip install brush`. Install')):
    make('py_test_drawn:blind', *PICTURES)
  assert list(make('py_test_drawn:blind').obs_space) == ['vector']
  with pytest.raises(UserError, match="no observation fits cnn_keys 'image'"):
    make('py_test_drawn:still', *PICTURES)


def test_the_pole_of_gymnasium_is_drawn():
  env = make('gym_CartPole-v1', *PICTURES)
  one, other = env.reset(seed=1)['image'], env.reset(seed=2)['image']
  assert 200 < one.mean() < 255 and (one != other).any()
  np.testing.assert_array_equal(one, env.reset(seed=1)['image'])
  env.close()
