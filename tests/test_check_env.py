"""check_env names the fault of broken environments, and the guide's examples have none."""
import pathlib
import re
import sys

import gymnasium
import numpy as np
import pytest

from common import check_env
from common import config as config_lib
from common import envs
from common.config import UserError
from common.envs import images
import loops

GUIDE = pathlib.Path(__file__).parents[1] / 'docs' / 'environment.md'
Box = gymnasium.spaces.Box


class Good:
  """An environment in our protocol without faults: three numbers, five steps."""

  obs_space = {'vector': Box(-1, 1, (3,), np.float32)}
  act_space = Box(-1, 1, (2,), np.float32)

  def reset(self, seed=None):
    """Begin an episode."""
    self.random, self.time = np.random.default_rng(seed), 0
    return self.observe()

  def step(self, action):
    """Count to five."""
    self.time += 1
    return self.observe(), 0.5, self.time >= 5, {}

  def observe(self):
    """Random numbers."""
    return {'vector': self.random.uniform(-1, 1, 3).astype(np.float32)}

  def close(self):
    """Nothing to free."""


class GoodGym(gymnasium.Env):
  """The same in the protocol of Gymnasium, with nested and discrete observations."""

  observation_space = gymnasium.spaces.Dict({
      'a': gymnasium.spaces.Dict({'b': Box(-1, 1, (2,), np.float32)}),
      'c': gymnasium.spaces.Discrete(3)})
  action_space = gymnasium.spaces.Discrete(2)

  def reset(self, seed=None, options=None):
    """Begin an episode."""
    super().reset(seed=seed)
    self.time = 0
    return self.observe(), {}

  def step(self, action):
    """Count to five."""
    self.time += 1
    return self.observe(), 1.0, self.time >= 5, False, {}

  def observe(self):
    """Random numbers."""
    return {'a': {'b': self.np_random.uniform(-1, 1, 2).astype(np.float32)}, 'c': 1}


def observing(value):
  """A class that returns the same function of the good observation always."""
  return type('Broken', (Good,), {'observe': lambda self: value(Good.observe(self)['vector'])})


def declaring(**spaces):
  """A class that declares other spaces and returns zeros of them."""
  zeros = lambda self: {k: np.zeros(s.shape, s.dtype) for k, s in spaces.items()}
  return type('Broken', (Good,), {'obs_space': spaces, 'observe': zeros})


def stepping(change, base=Good):
  """A class whose step returns what the function makes of the good result."""
  return type('Broken', (base,), {
      'step': lambda self, action: change(self, action, base.step(self, action))})


def swap(index, value):
  """Replace one entry of the result of step."""
  return lambda env, action, result: result[:index] + (value,) + result[index + 1:]


def put(array, value):
  """Change an array in place."""
  array[...] = value


class Reusing(Good):
  """Returns the same array always, with new contents."""

  array = np.zeros(3, np.float32)

  def observe(self):
    """New contents in the old array."""
    self.array[:] = Good.observe(self)['vector']
    return {'vector': self.array}


class Stuck(Good):
  """Its reset does not begin a new episode."""

  time = 0

  def reset(self, seed=None):
    """Keep the time."""
    self.random = np.random.default_rng(seed)
    return self.observe()


class Unseeded(Good):
  """Does not use its seed."""

  def reset(self, seed=None):
    """Forget the seed."""
    return super().reset(None)


class Raising(Good):
  """Fails in the middle of an episode."""

  def step(self, action):
    """Fail at the third step."""
    assert self.time < 2, 'the motor is hot'
    return super().step(action)


class OldReset(GoodGym):
  """Returns the observation alone, as Gym did before 0.26."""

  def reset(self, seed=None, options=None):
    """Begin an episode."""
    return super().reset(seed=seed)[0]


BROKEN = {
    'dtype': (observing(lambda x: {'vector': x.astype(np.float64)}), 'vector is float64, declared is float32'),
    'shape': (observing(lambda x: {'vector': x[:2]}), r'vector has shape \[2\], declared is \[3\]'),
    'changing shape': (
        type('Broken', (Good,), {'observe': lambda self: {
            'vector': np.zeros(3 + (self.time > 2), np.float32)}}), r'step 3 .* shape \[4\]'),
    'lacking key': (observing(lambda x: {}), 'lacks vector'),
    'no dict': (observing(lambda x: x), 'the observation is ndarray, expected a dict with vector'),
    'discrete in our protocol': (declaring(pose=gymnasium.spaces.Discrete(3)), 'pose: the space Discrete'),
    'plain space of several': (
        type('Broken', (GoodGym,), {'observation_space': gymnasium.spaces.MultiDiscrete([2, 2])}),
        r'^fault: vector: the space MultiDiscrete\(\[2 2\]\) is not supported'),
    'no actions': (type('Broken', (Good,), {'act_space': Box(-1, 1, (0,))}), 'has no entries'),
    'grey of 16 bits': (declaring(image=Box(0, 65535, (64, 64), np.uint16)), 'looks like an image'),
    'small with channels at first': (
        declaring(image=Box(0, 255, (3, 20, 20), np.uint8)), '3 pixels high with 20 channels'),
    'NaN': (observing(lambda x: {'vector': x * np.float32('nan')}), 'vector holds NaN'),
    'bounds': (observing(lambda x: {'vector': x + np.float32(5)}), 'declared are -1 to 1'),
    'depth image': (declaring(image=Box(0, 9, (64, 64, 1), np.float32)), 'looks like an image'),
    'stack of images': (declaring(image=Box(0, 255, (4, 64, 64, 3), np.uint8)), 'stack of images'),
    'four values without an end': (
        stepping(lambda env, action, result: (*result[:2], 0, {}), GoodGym), r'done is 0 \(int\)'),
    'reused array': (Reusing, 'changed the array vector that was returned before'),
    'reward NaN': (stepping(swap(1, float('nan'))), 'the reward is nan'),
    'reward too large': (stepping(swap(1, 1e30)), r'the reward is 1e\+30, .* beyond 1e\+09'),
    'vector too large': (
        type('Broken', (Good,), {
            'obs_space': {'vector': Box(-np.inf, np.inf, (3,), np.float32)},
            'observe': lambda self: {'vector': np.full(3, -2e9, np.float32)}}),
        r'vector holds 2e\+09, .* beyond 1e\+09'),
    'discount NaN': (stepping(swap(3, {'discount': float('nan')})), 'discount in info is nan'),
    'reward array': (stepping(swap(1, np.ones(1))), r'reward is array\(\[1\.\]\) \(ndarray\)'),
    'reward None': (stepping(swap(1, None)), 'reward is None'),
    'done number': (stepping(swap(2, 0)), r'done is 0 \(int\), expected True or False'),
    'info': (stepping(swap(3, None)), 'info is NoneType'),
    'discount pair': (
        stepping(swap(3, {'discount': np.ones(2, np.float32)})), 'discount in info is .*, expected one'),
    'discount': (stepping(swap(3, {'discount': 2.0})), 'discount in info is 2.0'),
    'five values': (stepping(lambda env, action, result: (*result, {})), 'returned 5 values'),
    'changed action': (
        stepping(lambda env, action, result: put(action, 0) or result), 'changed the array of the action'),
    'no reset': (Stuck, 'reset does not begin a new one'),
    'raising': (Raising, r'(?s)AssertionError.*the motor is hot'),
    'unbounded actions': (
        type('Broken', (Good,), {'act_space': Box(-np.inf, np.inf, (2,), np.float32)}),
        'no finite bounds'),
    'unsupported actions': (
        type('Broken', (Good,), {'act_space': gymnasium.spaces.MultiDiscrete([2, 2])}),
        r'action space MultiDiscrete\(\[2 2\]\) is not supported'),
    'obs_space': (type('Broken', (Good,), {'obs_space': Box(0, 1, (3,))}), 'expected a dict of name'),
    'name of writer': (declaring(file=Box(0, 1, (3,), np.float32)), "key 'file' is a name of"),
    'reserved key': (declaring(reward=Box(0, 1, (3,), np.float32)), "key 'reward' is a name of"),
    'no environment': (lambda: None, 'returned NoneType, which is no environment'),
    'terminated number': (stepping(swap(2, 1), GoodGym), r'terminated is 1 \(int\)'),
    'three values': (
        stepping(lambda env, action, result: result[:3], GoodGym), 'returned 3 values, expected'),
    'not in discrete': (
        type('Broken', (GoodGym,), {'observe': lambda self: {
            'a': {'b': np.zeros(2, np.float32)}, 'c': 7}}), 'c is 7, which is not in Discrete')}


def run(monkeypatch, maker, *flags):
  """Exit code of the command on what a function returns."""
  monkeypatch.setattr(sys.modules[__name__], 'make', maker, raising=False)
  monkeypatch.setitem(sys.modules, 'broken_world', sys.modules[__name__])
  try:
    check_env.main(['py_broken_world:make', *flags])
  except SystemExit as stop:
    return stop.code
  return 0


@pytest.mark.parametrize('name', BROKEN)
def test_a_fault_is_named(monkeypatch, capsys, name):
  maker, words = BROKEN[name]
  assert run(monkeypatch, maker) == 1
  out = capsys.readouterr().out
  assert re.search(words, out) and out.startswith('fault: '), out
  assert 'No faults' not in out


@pytest.mark.parametrize('maker', [Good, GoodGym])
def test_a_good_environment_gets_a_summary_and_the_command(monkeypatch, capsys, maker):
  assert run(monkeypatch, maker) == 0
  out = capsys.readouterr().out
  assert 'No faults. Train on it: python -m dreamer.train --configs gym' in out
  assert '5 to 5 decisions' in out and 'fault:' not in out


def test_what_agents_never_see_may_be_anything(monkeypatch, capsys):
  odd = np.full((64, 64, 1), np.nan, np.float32)
  maker = type('Broken', (Good,), {
      'obs_space': {**Good.obs_space, 'log_x': Box(0, 1, (2,)), 'depth': Box(0, 9, (64, 64, 1))},
      'observe': lambda self: {
          **Good.observe(self), 'log_x': np.full(2, np.nan, np.float32), 'depth': odd, 'more': 3}})
  assert run(monkeypatch, maker, '--mlp_keys', 'vector') == 0
  out = capsys.readouterr().out
  assert 'note: reset 1: the observation has more, which no space declares' in out


def test_what_is_not_selected_may_be_discrete_in_our_protocol(monkeypatch):
  maker = type('Broken', (Good,), {
      'obs_space': {**Good.obs_space, 'log_count': gymnasium.spaces.Discrete(9),
                    'mode': gymnasium.spaces.Discrete(2)},
      'observe': lambda self: {**Good.observe(self), 'log_count': 3, 'mode': 1}})
  assert run(monkeypatch, maker, '--mlp_keys', 'vector') == 0
  assert run(monkeypatch, maker) == 1


@pytest.mark.parametrize('space, image', [
    (Box(0, 255, (64, 64), np.int32), True), (Box(0, 1, (64, 64, 3), np.uint8), True),
    (Box(0, 255, (4, 5, 6), np.uint8), True), (Box(0, 9, (64, 64), np.int32), False),
    (Box(0, 10, (64, 64), np.float32), False)])
def test_what_is_taken_for_a_picture(space, image):
  form = images.form('x', space)
  assert not form.unclear and bool(form.image) == image
  if image and space.high.max() == 1:
    assert form.image(np.ones(space.shape, np.uint8)).min() == 255 and 'scaled by 255' in form.note


def test_entries_of_a_dict_that_no_agent_understands_are_left_out(monkeypatch, capsys):
  spaces = gymnasium.spaces
  maker = type('Broken', (GoodGym,), {
      'observation_space': spaces.Dict(vector=Box(-1, 1, (3,)), mission=spaces.Text(9)),
      'observe': lambda self: {'vector': np.zeros(3, np.float32), 'mission': 'go'}})
  assert run(monkeypatch, maker) == 0
  assert 'note: mission: the space Text' in capsys.readouterr().out


def test_steps_of_the_environment_are_no_decisions_where_actions_repeat(monkeypatch, capsys):
  assert run(monkeypatch, Good, '--action_repeat', '2', '--batch_length', '5') == 0
  out = capsys.readouterr().out
  assert '3 to 3 decisions' in out and '3 of 3 episodes have fewer rows' in out


@pytest.mark.parametrize('flags, words', [
    (['--tasks', 'a,b'], 'Check one TASK'), (['--task', 'py_own:Many'], 'Leave them out'), (['--steps', '1.5'], 'invalid number'),
    (['--steps', 'inf'], 'invalid number')])
def test_options_that_cannot_be_are_refused_in_a_sentence(monkeypatch, capsys, flags, words):
  assert run(monkeypatch, Good, *flags) == 2
  assert words in capsys.readouterr().err
  assert run(monkeypatch, Good, '--steps', '2e1') == 0


def test_what_only_surprises_is_a_note(monkeypatch, capsys):
  assert run(monkeypatch, Unseeded) == 0
  assert 'note: vector differs between two resets with the same seed' in capsys.readouterr().out
  endless = stepping(swap(2, False))
  assert run(monkeypatch, endless, '--steps', '20') == 0
  assert 'note: no end within 20 steps' in capsys.readouterr().out


def test_a_fault_is_told_once_with_its_count(monkeypatch, capsys):
  assert run(monkeypatch, BROKEN['reward NaN'][0]) == 1
  out = capsys.readouterr().out
  assert out.count('the reward is nan') == 1 and '(15 times)' in out and '1 fault.' in out


@pytest.mark.parametrize('task, word', [
    ('gym_CartPol-v1', 'CartPole-v1'), ('py_no_such_module:f', 'no_such_module'),
    ('nothing', 'suite'), ('py_math:sqroot', 'sqrt')])
def test_a_mistyped_task_is_one_sentence(capsys, task, word):
  with pytest.raises(SystemExit) as stop:
    check_env.main([task])
  error = capsys.readouterr().err
  assert stop.value.code == 2 and word in error and error.count('\n') == 1


@pytest.mark.parametrize('task', ['gym_CartPole-v1', 'gym_Pendulum-v1', 'dummy_terminal'])
def test_environments_of_libraries_have_no_faults(capsys, task):
  check_env.main([task, '--steps', '60', '--episodes', '2'])
  assert 'No faults' in capsys.readouterr().out


@pytest.fixture(scope='module')
def guide(tmp_path_factory):
  """The examples of the guide as a module."""
  folder = tmp_path_factory.mktemp('guide')
  blocks = re.findall(r'```python\n(.*?)```', GUIDE.read_text(), re.DOTALL)
  (folder / 'my_world.py').write_text('\n\n'.join(blocks))
  sys.path.insert(0, str(folder))
  yield 'py_my_world'
  sys.path.remove(str(folder))
  sys.modules.pop('my_world', None)


@pytest.mark.parametrize('name', ['Dot', 'Walk'])
def test_the_examples_of_the_guide_have_no_faults_and_train(guide, name, tmp_path, capsys):
  task = f'{guide}:{name}'
  check_env.main([task, '--steps', '50'])
  assert 'No faults' in capsys.readouterr().out
  # The blocks that the guide names; `debug` and the flags only make everything smaller.
  config = config_lib.load('dreamer', [
      '--configs', 'gym', 'cpu', 'debug', '--task', task, '--logdir', str(tmp_path), '--time_limit',
      '40', '--prefill', '80', '--steps', '160', '--eval_every', '80', '--train_every', '40',
      '--deter_size', '4', '--stoch_size', '2', '--num_units', '4', '--mlp_units', '4',
      '--cnn_depth', '1', '--batch_size', '2', '--batch_length', '5', '--horizon', '3'])
  loops.run_start.start(config)
  assert loops.rows(tmp_path, 'eval/return') and loops.rows(tmp_path, 'agent/actor_loss')


def test_options_of_training_are_taken_and_named_again(capsys):
  check_env.main(['gym_CartPole-v1', '--gym_draw', 'True', '--mlp_keys', ''])
  out = capsys.readouterr().out
  assert 'image: image [64, 64, 3] for the agent' in out and 'vector' not in out
  assert out.endswith(
      "dreamer.train --configs gym --task gym_CartPole-v1 --gym_draw True --mlp_keys ''\n")
  check_env.main(['dummy_discrete', '--steps', '5', '--configs', 'gym', 'cpu'])
  assert capsys.readouterr().out.endswith('train --task dummy_discrete --configs gym cpu\n')
  with pytest.raises(SystemExit) as stop:
    check_env.main(['gym_CartPole-v1', '--epsiodes', '3'])
  assert stop.value.code == 2 and "unknown key 'epsiodes'" in capsys.readouterr().err


@pytest.mark.parametrize('name', ['HugeBox', 'BigBox', 'HalfBox'])
def test_bounds_that_nothing_can_be_scaled_to_are_refused_here_and_in_training(capsys, name):
  with pytest.raises(SystemExit):
    check_env.main([f'py_own:{name}'])
  said = capsys.readouterr()
  assert 'no finite bounds' in said.out + said.err
  with pytest.raises(UserError, match='no finite bounds.*within 1e[+]12'):
    envs.make(config_lib.load('dreamer', ['--configs', 'gym', '--task', f'py_own:{name}']))
