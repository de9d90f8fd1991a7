"""Who explores without being paid: random actions."""
import tensorflow as tf

from common.model import exploration


def random_actions(shape, discrete, style, seed):
  """Actions float32 [M, A] of the random explorer.

  One of the classes with equal probabilities, or as `exploration.random_actions`.
  """
  if discrete:
    index = tf.random.stateless_uniform(shape[:1], seed, 0, shape[1], tf.int32)
    return tf.one_hot(index, shape[1])
  return exploration.random_actions(shape, style, seed)
