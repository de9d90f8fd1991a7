"""Who explores without being paid: random actions."""
import tensorflow as tf


def random_actions(shape, discrete, style, seed):
  """Actions float32 [M, A] of the random explorer (section 6.1).

  uniform in [-1, 1] or over classes; authors: Normal(0, 1) clipped, before their noise.
  """
  if discrete:
    index = tf.random.stateless_uniform(shape[:1], seed, 0, shape[1], tf.int32)
    return tf.one_hot(index, shape[1])
  if style == 'uniform':
    return tf.random.stateless_uniform(shape, seed, -1.0, 1.0)
  return tf.clip_by_value(tf.random.stateless_normal(shape, seed), -1.0, 1.0)
