"""The wrappers keep their promises on environments that can be checked by hand."""
import gymnasium
import numpy as np
import pytest

from common.config import UserError
from common.envs import images
from common.envs import wrappers
import own


class Counter:
  """Observes t, rewards 10 ** t, ends at `end`, remembers its actions and observations."""

  def __init__(self, end=None, discount=None, space=None):
    box = gymnasium.spaces.Box(-np.inf, np.inf, (), np.float64)
    self.obs_space = {'t': box}
    self.act_space = space or gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    self.end, self.discount, self.actions, self.t = end, discount, [], 0

  def reset(self, seed=None):
    self.t = 0
    return {'t': 0.0}

  def step(self, action):
    self.actions.append(action)
    self.t += 1
    info = {} if self.discount is None else {'discount': self.discount}
    return {'t': self.t}, 10.0 ** self.t, self.t == self.end, info

  def close(self):
    pass


class SplitCounter(Counter):
  """The same with the two halves of step."""

  observed = 0

  def advance(self, action):
    return super().step(action)[1:]

  def observe(self):
    self.observed += 1
    return {'t': self.t}

  def step(self, action):
    raise AssertionError('the halves should be used')


def episode(env, action=(0.0, 0.0), limit=20):
  env.reset()
  steps = []
  while not steps or (not steps[-1][2] and len(steps) < limit):
    steps.append(env.step(np.array(action, np.float32)))
  return steps


@pytest.mark.parametrize('kind', [Counter, SplitCounter])
def test_action_repeat_sums_rewards_and_stops_at_the_end(kind):
  first, second = episode(wrappers.ActionRepeat(kind(end=3), 2))
  assert first == ({'t': 2}, 10 + 100, False, {})
  assert second == ({'t': 3}, 1000, True, {})


@pytest.mark.parametrize('method', ['step', 'advance'])
def test_each_frame_gets_the_action_that_was_chosen(method):
  seen = []
  class Writing(Counter if method == 'step' else SplitCounter):
    pass
  def write(self, action):
    seen.append(action.tolist())
    action *= 10
    return getattr(super(Writing, self), method)(action)
  setattr(Writing, method, write)
  wrappers.ActionRepeat(Writing(end=9), 3).step(chosen := np.ones(2, np.float32))
  assert seen == [[1, 1]] * 3 and chosen.tolist() == [1, 1]


def test_action_repeat_observes_only_the_last_frame():
  env = SplitCounter(end=7)
  assert len(episode(wrappers.ActionRepeat(env, 3))) == 3
  assert env.observed == 3


def test_actions_map_to_the_bounds_and_infinite_entries_pass_through():
  low = np.array([-2, 0, -np.inf, 0], np.float32)
  high = np.array([2, 1, np.inf, np.inf], np.float32)
  inner = Counter(space=gymnasium.spaces.Box(low, high))
  env = wrappers.NormalizeActions(inner)
  assert (env.act_space.low == -1).all() and (env.act_space.high == 1).all()
  for value in (-1, 0, 1):
    env.step(np.full(4, value, np.float32))
  np.testing.assert_allclose(inner.actions, [[-2, 0, -1, -1], [0, 0.5, 0, 0], [2, 1, 1, 1]])


def test_an_action_of_another_size_is_refused():
  env = wrappers.NormalizeActions(Counter(space=gymnasium.spaces.Box(-1, 1, (2,))))
  with pytest.raises(ValueError, match='size 1 into shape'):
    env.step([0.3])


def test_actions_stay_inside_bounds_that_rounding_would_leave_by_a_bit():
  inner = own.Strict()
  env = wrappers.NormalizeActions(inner)
  env.reset()
  ends = (1 + 1) / 2 * (inner.act_space.high - inner.act_space.low) + inner.act_space.low
  assert (ends > inner.act_space.high).any()  # else this would test nothing
  for value in np.linspace(-1, 1, 101, dtype=np.float32):
    env.step(np.full(2, value, np.float32))


def test_one_hot_action_becomes_its_class_and_others_are_refused():
  inner = Counter(space=gymnasium.spaces.Discrete(2))
  env = wrappers.OneHotAction(inner)
  env.step(np.array([0.0, 1.0]))
  assert inner.actions == [1]
  for wrong in ([0.9, 0.1], [1, 1], [0, 0], [1, 0, 0]):
    with pytest.raises(ValueError, match='one-hot'):
      env.step(np.array(wrong))


@pytest.mark.parametrize('kind', [Counter, SplitCounter])
def test_a_class_is_a_number_in_each_frame(kind):
  env = kind(space=gymnasium.spaces.Discrete(3))
  wrappers.OneHotAction(wrappers.ActionRepeat(env, 2)).step(np.array([0, 1, 0], np.float32))
  assert env.actions == [1, 1] and {type(action) for action in env.actions} == {int}


def test_one_hot_samples_are_one_hot_and_cover_all_classes():
  space = wrappers.OneHot(4, seed=1)
  samples = np.stack([space.sample() for _ in range(200)])
  assert samples.dtype == np.float32 and set(np.unique(samples)) == {0, 1}
  assert (samples.sum(1) == 1).all() and (samples.mean(0) > 0.15).all()
  assert all(space.contains(sample) for sample in samples)
  again = wrappers.OneHot(4, seed=1)
  np.testing.assert_array_equal(samples[0], again.sample())


@pytest.mark.parametrize('duration, decisions', [(5, 5), (4.5, 5), (5.0, 5), (0.5, 1)])
def test_a_time_limit_may_be_fractional(duration, decisions):
  assert len(episode(wrappers.TimeLimit(Counter(), duration))) == decisions


@pytest.mark.parametrize('end, given, expected', [
    (None, None, 1),   # the limit alone is no real end
    (None, 0.5, 0.5),  # the environment's word counts
    (3, None, 0),      # really ended on the very step of the limit (quirk Q28)
    (3, 1.0, 1),
    (3, 0.0, 0)])
def test_discount_at_the_time_limit(end, given, expected):
  _, _, done, info = episode(wrappers.TimeLimit(Counter(end, given), 3))[-1]
  assert done and info['discount'] == expected


def test_time_limit_counts_anew_after_a_reset_and_refuses_steps_after_the_end():
  env = wrappers.TimeLimit(Counter(), 2)
  assert len(episode(env)) == len(episode(env)) == 2
  with pytest.raises(AssertionError):
    env.step(0)


def test_selected_observations_have_constant_dtypes_and_at_least_one_dimension():
  env = wrappers.SelectKeys(Counter(), '.*', '.*', 64, 'task')
  for obs in (env.reset(), env.step(0)[0]):
    assert obs['t'].dtype == np.float32 and obs['t'].shape == (1,)
  assert env.obs_space['t'].shape == (1,)


def test_keys_are_chosen_by_whole_names_and_kind():
  image = gymnasium.spaces.Box(0, 255, (4, 4, 3), np.uint8)
  vector = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
  spaces = {'image': image, 'image2': image, 'position': vector}
  select = lambda cnn, mlp: list(wrappers.select_keys(spaces, cnn, mlp, 'task'))
  assert select('image', '') == ['image']
  assert select('image', '.*') == ['image', 'position']
  assert select('.*', '') == ['image', 'image2']
  assert select('', 'position') == ['position']
  with pytest.raises(UserError, match=r'image \(image\), image2 \(image\), position \(vector\)'):
    select('', 'pos')
  with pytest.raises(UserError, match="'reward'"):
    wrappers.select_keys({'reward': vector}, '', '.*', 'task')


def test_info_of_an_environment_keeps_only_what_can_be_sent_to_another_process():
  env = wrappers.TimeLimit(own.LambdaInfo(), 2)
  env.reset()
  assert [env.step(np.zeros(2))[3] for _ in range(2)] == [{}, {'discount': 1.0}]


@pytest.mark.parametrize('values, words', [
    (np.full((4, 4, 3), 0.5, np.float32), 'image is float32 and holds 0.5 to 0.5'),
    (np.full((4, 4, 3), 256), 'holds 256 to 256, declared is uint8'),
    (np.full((4, 4, 3), -1), 'holds -1 to -1')])
def test_images_that_uint8_would_wrap_around_are_refused(values, words):
  space = gymnasium.spaces.Box(0, 255, (4, 4, 3), np.uint8)
  with pytest.raises(ValueError, match=words):
    images.whole_image('image', values, space)
  whole = images.whole_image('image', np.full((4, 4, 3), 255), space)
  assert whole.dtype == np.uint8 and (whole == 255).all()


def test_floats_beyond_their_bounds_by_rounding_are_pictures_and_others_are_told_in_their_unit():
  form = images.form('image', gymnasium.spaces.Box(0, 1, (40, 40, 3), np.float32))
  value = np.full((40, 40, 3), 1.0000001, np.float32)
  value[0] = -1e-7
  assert form.image(value).max() == 255 and form.image(value).min() == 0
  for wrong, words in ((1.01, '1.01 to 1.01'), (-0.01, '-0.01 to -0.01'), (np.nan, 'nan to nan')):
    with pytest.raises(ValueError, match=f'holds {words}, declared is float32 from 0 to 1$'):
      form.image(np.full((40, 40, 3), wrong, np.float32))


def test_an_observation_of_another_shape_than_declared_is_refused():
  inner = own.Own()
  inner.obs_space = {'vector': gymnasium.spaces.Box(-1, 1, (4,), np.float32)}
  env = wrappers.SelectKeys(inner, '', '.*', 64, 'task')
  with pytest.raises(ValueError, match=r'vector has shape \[3\], declared is \[4\]'):
    env.reset(1)


def test_resize_averages_areas():
  image = np.zeros((4, 6, 1), np.uint8)
  image[:2, :3] = 200
  image[0, 0] = 80
  expected = [[180, 0], [0, 0]]  # (5 * 200 + 80) / 6
  np.testing.assert_array_equal(images.resize(image, 2)[..., 0], expected)


def test_resize_keeps_the_mean_where_sizes_do_not_divide_and_enlarges():
  image = np.random.default_rng(0).integers(0, 256, (210, 160, 3)).astype(np.uint8)
  small = images.resize(image, 64)
  assert small.shape == (64, 64, 3) and small.dtype == np.uint8
  assert abs(small.mean() - image.mean()) < 0.1
  np.testing.assert_array_equal(images.resize(image[:32, :32], 64)[::2, ::2], image[:32, :32])
