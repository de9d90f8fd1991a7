"""Noise on the actions of a policy, and its schedule (PlaNet and Dreamer, appendix A)."""

import tensorflow as tf

from common.model import dists


def amount(config, frames):
  """Standard deviation or probability of noise after `frames` of training.

  exponential: expl_amount 0.5^(frames / expl_decay), at least expl_min;
  linear: from expl_amount to expl_min over expl_decay frames. expl_decay 0 is
  no decay, expl_min 0 no floor. Actions that are random completely are so always, 1.
  """
  if config.expl == 'completely_random':
    return 1.0
  value = config.expl_amount
  if config.expl_schedule == 'linear':
    if config.expl_decay:
      share = min(1.0, frames / config.expl_decay)
      value += share * (config.expl_min - value)
    return value
  if config.expl_decay:
    value *= 0.5 ** (frames / config.expl_decay)
  return max(value, config.expl_min) if config.expl_min else value


def add_noise(kind, action, amount, seed, style='uniform'):
  """Noisy actions.

  Args:
    kind: additive_gaussian, clipped to [-1, 1]; completely_random, as `random_actions`;
      epsilon_greedy, a uniformly random one-hot row with probability `amount`, drawn for each row.
    action: float32 [M, A].
    amount: float32 scalar; 0 leaves the action as it is.
    seed: int32 [2].
    style: of completely random actions.
  Returns:
    float32 [M, A].
  """
  seeds = dists.split_seed(seed, 2)
  if kind == 'additive_gaussian':
    noise = amount * tf.random.stateless_normal(tf.shape(action), seeds[0])
    noisy = tf.clip_by_value(action + noise, -1.0, 1.0)
  elif kind == 'completely_random':
    noisy = random_actions(tf.shape(action), style, seeds[0])
  else:
    assert kind == 'epsilon_greedy', kind
    rows, size = tf.shape(action)[0], action.shape[-1]
    index = tf.random.stateless_uniform(
        [rows], seeds[0], 0, size, dtype=tf.int32)
    chosen = tf.random.stateless_uniform([rows, 1], seeds[1]) < amount
    noisy = tf.where(chosen, tf.one_hot(index, size), action)
  return tf.where(amount > 0, noisy, action)


def random_actions(shape, style, seed):
  """Continuous actions float32 [M, A] that look at nothing.

  uniform in [-1, 1]; others: Normal(0, 1), clipped to it, as in PlaNet's code and, before its noise,
  that of Plan2Explore's authors.
  """
  if style == 'uniform':
    return tf.random.stateless_uniform(shape, seed, -1.0, 1.0)
  return tf.clip_by_value(tf.random.stateless_normal(shape, seed), -1.0, 1.0)
