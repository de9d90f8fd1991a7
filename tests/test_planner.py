"""The cross-entropy method: optima, bounds, counts of terms, several environments."""
import numpy as np
import pytest
import tensorflow as tf

from planet import planner


class Remembers:
  """A known latent model: the state is the last action, or a position that actions move."""

  def __init__(self, moves=False):
    self._moves = moves

  def img_step(self, state, action, seed):
    """{x [N, A]}: the action, added to the state if it moves."""
    return {'x': action + (state['x'] if self._moves else 0)}


def near(target):
  """Reward with its optimum at the target, summed over entries."""
  return lambda states: -tf.reduce_sum((states['x'] - target) ** 2, -1)




def search(reward, size=1, seed=0, start=None, moves=False, **options):
  start = tf.zeros([1, size]) if start is None else tf.constant(start, tf.float32)
  options = {'horizon': 12, 'iterations': 10, 'amount': 1000, 'topk': 100, **options}
  run = tf.function(lambda seed: planner.plan(
      Remembers(moves), reward, {'x': start}, size, seed, **options), autograph=False)
  return run(tf.constant([seed, 1]))


def error(**options):
  """Mean distance from an optimum of 0.4 over seeds, at A = 2 and H = 12."""
  plans = [search(near(0.4), 2, seed, **options).mean[-1] for seed in range(3)]
  return np.abs(np.array(plans) - 0.4).mean()


def test_one_action_is_found_exactly():
  assert np.abs(search(near(0.4), horizon=1).mean[-1] - 0.4).max() < 1e-3
  assert np.abs(search(near(0.4), horizon=12).mean[-1] - 0.4).max() < 1e-2


def test_two_actions_over_twelve_steps_and_more_iterations_help():
  assert np.abs(search(near(0.4), 2).mean[-1] - 0.4).max() < 0.06
  one, three, ten = (error(iterations=number) for number in (1, 3, 10))
  assert one > three > ten


def test_refitting_beats_random_shooting_with_as_many_candidates():
  shooting = error(iterations=1, amount=10_000, topk=1)
  assert error(iterations=10, amount=1000, topk=100) < shooting / 5


def test_an_optimum_out_of_bounds_is_approached_from_inside():
  seen = []
  def reward(states):
    seen.append(states['x'])
    return near(2.0)(states)
  found = planner.plan(
      Remembers(), reward, {'x': tf.zeros([1, 1])}, 1, tf.constant([0, 0]), horizon=12,
      iterations=10, amount=1000, topk=100)
  plan = found.mean[-1].numpy()
  assert plan.min() >= 0.8 and plan.max() <= 1.0
  assert all(np.abs(x).max() <= 1 for x in seen)


def test_without_iterations_or_selection_nothing_is_preferred():
  assert not np.any(search(near(0.4), iterations=0).mean[-1])
  every = search(near(0.4), iterations=1, amount=1000, topk=1000).mean[-1]
  assert np.abs(every).max() < 0.1


def test_of_more_draws_than_iterations_the_first_are_used():
  noise = tf.constant(np.random.default_rng(0).normal(size=(3, 1, 50, 4, 1)), tf.float32)
  options = dict(horizon=4, amount=50, topk=10)
  none = search(near(0.4), iterations=0, noise=noise, **options)
  assert none.mean.shape == (1, 1, 4, 1) and not np.any(none.mean) and np.all(none.std == 1)
  two = search(near(0.4), iterations=2, noise=noise, **options)
  three = search(near(0.4), iterations=3, noise=noise, **options)
  np.testing.assert_array_equal(two.mean, three.mean[:3])


def test_environments_are_planned_from_their_own_states():
  found = search(near(0.0), start=[[0.9], [-0.9]], moves=True, horizon=3).mean[-1]
  np.testing.assert_allclose(found[:, 0, 0], [-0.9, 0.9], atol=0.05)


def test_the_sum_has_as_many_terms_as_decisions_and_none_of_the_current_state():
  ones = lambda states: tf.ones(tf.shape(states['x'])[:-1])
  for start in (0.0, 100.0):
    found = search(ones, start=[[start]], horizon=7)
    np.testing.assert_allclose(found.returns[1:], 7.0)
  discounted = search(ones, horizon=3, discount=0.5)
  np.testing.assert_allclose(discounted.returns[1:], 1.75)


def test_a_reward_at_the_last_step_steers_the_plan():
  def last(states):
    reward = near(2.0)(states)
    return tf.concat([tf.zeros_like(reward[:-1]), reward[-1:]], 0)
  plan = search(last, moves=True, horizon=4).mean[-1].numpy()
  assert plan.sum() == pytest.approx(2.0, abs=0.1)


def test_shooting_returns_the_best_of_its_sequences():
  noise = np.random.default_rng(0).normal(size=(1, 1, 50, 3, 2)).astype(np.float32)
  found = search(near(0.4), 2, horizon=3, iterations=1, amount=50, topk=1, noise=tf.constant(noise))
  best = int(np.argmax(found.returns[1, 0]))
  np.testing.assert_allclose(found.mean[-1, 0], np.clip(noise[0, 0, best], -1, 1), atol=1e-6)


def test_candidates_rolled_in_parts_are_the_same():
  noise = np.random.default_rng(0).normal(size=(3, 2, 50, 4, 2)).astype(np.float32)
  start = tf.constant([[0.1, 0.2], [-0.3, 0.0]])
  plans = [
      planner.plan(
          Remembers(True), near(0.4), {'x': start}, 2, None, horizon=4, iterations=3, amount=50,
          topk=5, noise=tf.constant(noise), parts=parts) for parts in (1, 2, 4)]
  for other in plans[1:]:
    for ours, theirs in zip(plans[0], other):
      np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_plans_in_parts_find_the_optimum():
  assert np.abs(search(near(0.4), horizon=12, parts=2).mean[-1] - 0.4).max() < 1e-2
