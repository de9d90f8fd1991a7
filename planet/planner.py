"""The cross-entropy method over action sequences in latent space (PlaNet, algorithm 2).

N environments, J candidates, K elites, H horizon, A action, I iterations. A candidate is worth the
rewards that the model expects along it; a Gaussian over sequences is fitted to the best again and
again. One iteration and K = 1 are random shooting.
"""

import collections

import tensorflow as tf

from common.model import dists
from common.model.dynamics import scan

Plan = collections.namedtuple('Plan', 'mean std returns')


def plan(
    model, reward_fn, state, action_size, seed, *, horizon=12, iterations=10, amount=1000,
    topk=100, discount=1.0, low=-1.0, high=1.0, noise=None, parts=1):
  """Search action sequences from the current states of all environments.

    actions[j] = clip(mean + std noise[j], low, high);  return[j] = sum of discount^h reward[h]
    mean, std <- mean and sqrt(variance + 1e-6) of the K best candidates, as clipped

  It begins with mean 0 and std 1 at every call. Each candidate is one sampled trajectory; the
  reward of the current state does not count, nor does anything beyond the horizon.

  Args:
    model: gives img_step(state, action, seed).
    reward_fn: states [H, N J, ...] -> float32 [H, N J], the expected rewards.
    state: latent states [N, ...], N known when the graph is made.
    action_size: A.
    seed: int32 [2] for candidates and trajectories, or None: states are then centres of their
      distributions, and `noise` is needed.
    horizon, iterations, amount, topk, discount: H, I, J, K and the factor of later rewards.
    low, high: bounds of the actions.
    noise: float32 [I or more, N, J, H, A] in place of standard normal draws; the first I are used.
    parts: in how many parts the candidates are rolled. Two can run side by side, and keep the
      cores of a CPU busy where one would wait for its next small operation.
  Returns:
    Plan of what each iteration found: mean and std float32 [I + 1, N, H, A], those at the start
    first, and returns [I + 1, N, J], at the start zeros. The plan is the last mean.
  """
  count = tf.nest.flatten(state)[0].shape[0]
  # Candidate j of environment n is row n J + j.
  starts = tf.nest.map_structure(lambda x: tf.repeat(x, amount, 0), state)
  powers = discount ** tf.range(horizon, dtype=tf.float32)

  def iterate(carry, inputs, seed):
    mean, std, _ = carry
    seeds = dists.split_seed(seed, 2)
    shape = [count, amount, horizon, action_size]
    draws = tf.random.stateless_normal(shape, seeds[0]) if noise is None else inputs
    actions = tf.clip_by_value(mean[:, None] + std[:, None] * draws, low, high)
    rows = tf.transpose(
        tf.reshape(actions, [count * amount, horizon, action_size]), [1, 0, 2])        # [H, N J, A]
    reward = tf.concat([
        reward_fn(scan(model.img_step, *part)) for part in _split(
            starts, rows, seeds[1], parts)], 1)                           # [H, N J]
    returns = tf.reshape(tf.linalg.matvec(reward, powers, True), [count, amount])
    best = tf.math.top_k(returns, topk, sorted=False).indices             # [N, K]
    elites = tf.gather(actions, best, batch_dims=1)                       # [N, K, H, A]
    mean, variance = tf.nn.moments(elites, [1])
    return Plan(mean, tf.sqrt(variance + 1e-6), returns)

  shape = [count, horizon, action_size]
  start = Plan(tf.zeros(shape), tf.ones(shape), tf.zeros([count, amount]))
  inputs = tf.zeros([iterations, 0]) if noise is None else noise[:iterations]
  found = scan(iterate, start, inputs, seed)
  return tf.nest.map_structure(lambda x, all_: tf.concat([x[None], all_], 0), start, found)


def _split(starts, rows, seed, parts):
  """List of (starts, actions, seed) of `parts` equal parts of the candidates."""
  if parts == 1:
    return [(starts, rows, seed)]
  seeds = dists.split_seed(seed, parts)
  states = [tf.split(x, parts) for x in tf.nest.flatten(starts)]
  actions = tf.split(rows, parts, 1)
  return [
      (tf.nest.pack_sequence_as(starts, [x[i] for x in states]), actions[i], seeds[i])
      for i in range(parts)]
