"""Collection: alignment of rows, credit of decisions, seeds and the surplus."""
import functools

import gymnasium
import numpy as np
import pytest

from common import config
from common import envs
from common.data.driver import Driver, random_policy
from common.envs import wrappers
from common.envs.parallel import Parallel

DUMMY = config.Config(dict(
    task='dummy_continuous_vector', seed=0, action_repeat=2, time_limit=20,
    camera='auto',
    image_size=64, cnn_keys='image', mlp_keys='.*', action_dist='auto'))


class Counter:
  """Ends after `length` decisions; observes (t, seed) in varying dtypes; rewards t + action."""

  def __init__(self, length, discount=None):
    self.obs_space = {'t': gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)}
    self.act_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    self.length, self.discount, self.seeds, self.closed = length, discount, [], False

  def reset(self, seed=None):
    self.t = 0
    self.seeds.append(seed)
    return {'t': np.array([0, 1], np.float64)}

  def step(self, action):
    self.t += 1
    info = {} if self.discount is None else {'discount': self.discount}
    return {'t': np.array([self.t, 1])}, self.t + float(action[0]), self.t == self.length, info

  def close(self):
    self.closed = True


def counting_policy(obs, state, is_first):
  """Act with a tenth of the number of decisions since the reset, which is the state."""
  state = np.where(is_first, 0, 0 if state is None else state)
  np.testing.assert_array_equal(state, obs['t'][:, 0])
  return (state / 10)[:, None], state + 1


def collect(lengths, **kwargs):
  """Return a driver on Counters and the list that its episodes go to."""
  episodes = []
  inner = [Counter(length) for length in lengths]
  driver = Driver(
      inner, 2, seed=3, on_episode=lambda *args: episodes.append(args), **kwargs)
  return driver, episodes, inner


def test_rows_hold_what_arrived_and_the_action_that_led_to_it():
  driver, episodes, _ = collect([3])
  driver(counting_policy, episodes=1)
  (episode, number, index), = episodes
  assert (number, index) == (0, 0)
  np.testing.assert_array_equal(episode['t'][:, 0], [0, 1, 2, 3])
  np.testing.assert_allclose(episode['action'][:, 0], [0, 0, 0.1, 0.2])
  np.testing.assert_allclose(episode['reward'], [0, 1, 2.1, 3.2])
  np.testing.assert_array_equal(episode['discount'], [1, 1, 1, 0])
  assert {value.dtype for value in episode.values()} == {np.dtype(np.float32)}


def test_a_discount_in_an_array_of_its_own_is_a_number():
  episodes = []
  driver = Driver(
      [Counter(3, np.array([0.5]))], 2, seed=3, on_episode=lambda *args: episodes.append(args))
  driver(counting_policy, episodes=1)
  np.testing.assert_array_equal(episodes[0][0]['discount'], [1, 0.5, 0.5, 0.5])


def test_frames_are_credited_at_the_end_and_the_surplus_is_carried():
  driver, episodes, _ = collect([7])
  driver(counting_policy, frames=40)
  assert len(episodes) == 3 and driver.surplus == 2 and driver.frames == 42
  driver(counting_policy, frames=26)  # two are there already: 14 are not enough
  assert len(episodes) == 5 and driver.surplus == 4
  driver(counting_policy, frames=4)
  assert len(episodes) == 5 and driver.surplus == 0


def test_a_limit_ends_episodes_without_a_real_end():
  limits = iter([4, 5, 100])
  driver, episodes, _ = collect([7], limit=lambda: next(limits))
  driver(counting_policy, episodes=3)
  assert [len(episode['reward']) - 1 for episode, _, _ in episodes] == [2, 3, 7]
  assert [episode['discount'][-1] for episode, _, _ in episodes] == [1, 1, 0]
  assert driver.frames == 24


def test_episodes_are_counted_anew_in_each_call():
  driver, episodes, _ = collect([7])
  driver(counting_policy, episodes=2)
  driver(counting_policy, episodes=1)
  assert len(episodes) == 3 and driver.surplus == 0


def test_unfinished_episodes_go_on_in_the_next_call():
  driver, episodes, inner = collect([3, 5])
  state = driver(counting_policy, episodes=1)
  assert [len(env.seeds) for env in inner] == [1, 1]
  state = driver(counting_policy, state, episodes=2)
  rows = [(index, number, len(episode['reward'])) for episode, number, index in episodes]
  assert rows == [(0, 0, 4), (1, 0, 6), (0, 1, 4)]
  np.testing.assert_array_equal(state, [3, 1])
  np.testing.assert_array_equal(episodes[1][0]['t'][:, 0], range(6))


def test_episodes_that_are_abandoned_are_not_handed_over_and_others_begin():
  driver, episodes, inner = collect([3, 5])
  driver(counting_policy, episodes=1)
  driver.abandon()
  assert driver.unfinished == 0
  driver(counting_policy, episodes=2)  # without the state of before
  assert [(index, number, len(episode['reward'])) for episode, number, index in episodes] == [
      (0, 0, 4), (0, 1, 4), (1, 0, 6)]
  assert len(set(inner[1].seeds)) == len(inner[1].seeds) == 2


def test_a_game_that_would_go_on_is_abandoned_too():
  driver, episodes, (game,) = collect([3])
  game.parts = 0  # as with lost lives: after each but every third part the reset goes on with the game
  step, reset = game.step, game.reset
  def lose(action):
    obs, reward, done, info = step(action)
    game.parts += done
    return obs, reward, done, {**info, 'goes_on': bool(done and game.parts % 3)}
  def begin(seed=None):
    game.parts -= 0 if game.t == game.length else game.parts  # in the middle: another game
    return reset(seed)
  game.t, game.step, game.reset = game.length, lose, begin
  went_on = []
  driver._on_episode = lambda *args: went_on.append(driver.went_on[0])
  driver(counting_policy, episodes=2)
  driver.abandon()
  driver(counting_policy, episodes=4)
  assert went_on == [False, True, False, True, True, False]


def test_ends_at_the_same_time_come_in_the_order_of_environments():
  driver, episodes, _ = collect([2, 2, 2])
  driver(counting_policy, frames=2)
  assert [index for _, _, index in episodes] == [0, 1, 2] and driver.surplus == 10


def test_in_turn_environments_wait_for_those_with_longer_episodes():
  driver, episodes, inner = collect([2, 6, 3], in_turn=True)
  driver(lambda obs, state, is_first: (np.zeros((3, 1)), state), episodes=6)
  assert [(index, number) for _, number, index in episodes] == [
      (0, 0), (2, 0), (1, 0), (0, 1), (2, 1), (1, 1)]
  assert [len(episode['reward']) for episode, _, _ in episodes] == [3, 4, 7] * 2
  assert [len(env.seeds) for env in inner] == [2, 2, 2]
  np.testing.assert_array_equal(driver.running, [False, True, False])


def test_collection_in_turn_resumes_where_one_was_ahead():
  driver, episodes, inner = collect([2, 6, 3], in_turn=True, first_episode=[2, 1, 1])
  driver(random_policy(inner[0].act_space, 1, [2, 1, 1]), episodes=3)
  assert [(index, number) for _, number, index in episodes] == [(2, 1), (1, 1), (0, 2)]
  assert [len(env.seeds) for env in inner] == [1, 2, 2]
  whole, earlier, _ = collect([2, 6, 3], in_turn=True)
  whole(random_policy(inner[0].act_space, 1), episodes=9)
  by_number = {(index, number): episode['action'] for episode, number, index in earlier}
  for episode, number, index in episodes:
    np.testing.assert_array_equal(episode['action'], by_number[index, number])


def test_each_environment_may_have_its_own_frames_per_decision():
  episodes = []
  driver = Driver(
      [Counter(2), Counter(3)], [8, 2], 3, lambda *args: episodes.append(args), in_turn=True)
  driver(lambda obs, state, is_first: (np.zeros((2, 1)), state), frames=44)
  assert len(episodes) == 4 and driver.frames == 44 and driver.surplus == 0


def test_the_policy_sees_constant_dtypes_and_a_zero_reward_at_resets():
  seen = []
  def policy(obs, state, is_first):
    seen.append({key: (value.dtype, value.shape) for key, value in obs.items()})
    assert (obs['reward'][is_first] == 0).all() and (obs['reward'][~is_first] > 0).all()
    return np.ones((2, 1)), state
  driver, _, _ = collect([2, 3])
  driver(policy, episodes=4)
  assert all(entry == seen[0] for entry in seen)
  assert seen[0] == {'t': (np.float32, (2, 2)), 'reward': (np.float32, (2,))}


def test_seeds_are_a_function_of_seed_environment_and_episode():
  driver, _, inner = collect([2, 2])
  driver(counting_policy, episodes=6)
  seeds = inner[0].seeds + inner[1].seeds
  assert len(set(seeds)) == 6 and all(isinstance(seed, int) for seed in seeds)
  assert seeds[4] == np.random.SeedSequence((3, 1, 1)).generate_state(1)[0]
  driver, episodes, resumed = collect([2, 2], first_episode=[1, 2])
  driver(counting_policy, episodes=2)
  assert resumed[0].seeds == inner[0].seeds[1:2] and resumed[1].seeds == inner[1].seeds[2:]
  assert [number for _, number, _ in episodes] == [1, 2] and driver.next_episode == [2, 3]


def test_closing_closes_all_environments():
  driver, _, inner = collect([2, 2])
  driver.close()
  assert all(env.closed for env in inner)


def test_stored_rows_do_not_change_when_an_environment_reuses_its_buffer():
  class Reusing(Counter):
    buffer = np.zeros(2, np.float32)
    def step(self, action):
      obs, *rest = super().step(action)
      self.buffer[:] = obs['t']
      return {'t': self.buffer}, *rest
  episodes = []
  Driver([Reusing(3)], 1, 0, lambda *args: episodes.append(args))(counting_policy, episodes=1)
  np.testing.assert_array_equal(episodes[0][0]['t'][:, 0], range(4))


def test_stored_actions_do_not_change_when_an_environment_writes_into_them():
  class Writing(Counter):
    def step(self, action):
      result = super().step(action)
      action[:] = 7
      return result
  episodes = []
  Driver([Writing(3)], 1, 0, lambda *args: episodes.append(args))(counting_policy, episodes=1)
  np.testing.assert_allclose(episodes[0][0]['action'][:, 0], [0, 0, 0.1, 0.2])


@pytest.mark.parametrize('strategy', ['none', 'thread', 'process'])
def test_parallel_environments_give_the_same_episodes(strategy):
  results = []
  plain = [envs.make(DUMMY, index) for index in range(2)]
  parallel = [Parallel(functools.partial(envs.make, DUMMY, i), strategy) for i in range(2)]
  for some in (plain, parallel):
    driver = Driver(some, 2, 1, lambda *args: results.append(args))
    driver(random_policy(some[0].act_space, 1), episodes=4)
    driver.close()
  for one, other in zip(results[:4], results[4:]):
    assert one[1:] == other[1:]
    for key in one[0]:
      np.testing.assert_array_equal(one[0][key], other[0][key])


# Random actions

def actions_of(policy, resets):
  state, actions = None, []
  for is_first in resets:
    action, state = policy({}, state, np.array(is_first))
    actions.append(action)
  return np.stack(actions)


def test_random_actions_are_a_function_of_seed_environment_episode_and_decision():
  space = gymnasium.spaces.Box(-1, 1, (3,), np.float32)
  resets = [[True, True], [False, True], [False, False], [True, False]]
  actions = actions_of(random_policy(space, 5), resets)
  assert actions.shape == (4, 2, 3) and actions.dtype == np.float32
  assert len(np.unique(actions)) == actions.size
  np.testing.assert_array_equal(actions, actions_of(random_policy(space, 5), resets))
  assert not np.array_equal(actions, actions_of(random_policy(space, 6), resets))
  # Resumed where environment 0 begins its second episode and environment 1 its second.
  numbers = [1, 1]
  policy = random_policy(space, 5, numbers)
  numbers[0] = 9  # the driver counts on in its own list
  resumed = actions_of(policy, [[True, True], [False, False]])
  np.testing.assert_array_equal(resumed[0, 0], actions[3, 0])
  np.testing.assert_array_equal(resumed[:, 1], actions[1:3, 1])


def test_random_actions_fill_the_space_evenly():
  box = gymnasium.spaces.Box(-1, 1, (100,), np.float32)
  actions = actions_of(random_policy(box, 0), [[True]] * 50)
  assert abs(actions.mean()) < 0.03 and abs(actions.std() - 1 / 3 ** 0.5) < 0.02
  actions = actions_of(random_policy(wrappers.OneHot(4), 0), [[True] * 5] * 100)
  assert (actions.sum(-1) == 1).all() and set(np.unique(actions)) == {0, 1}
  assert np.abs(actions.mean((0, 1)) - 0.25).max() < 0.08
