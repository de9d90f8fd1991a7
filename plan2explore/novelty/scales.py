"""Running scales of rewards for novelty, whose size nobody knows beforehand."""
import tensorflow as tf

from common.model.divergence import replica_mean

ROUNDING = 1e-6
LEAST, LEAST_OF_COLUMNS = 1e-20, 1e-8  # variances: of errors, which get small; of what is seen


class RunningStd(tf.Module):
  """Moving mean and spread, by which numbers of unknown scale are divided."""

  MOMENTUM = 0.99

  def __init__(self, size=None):
    """size: None for one spread of everything, or the columns with one of each."""
    super().__init__()
    shape = [] if size is None else [size]
    self.mean = tf.Variable(tf.zeros(shape), trainable=False)
    self.square = tf.Variable(tf.zeros(shape), trainable=False)
    self.weight = tf.Variable(0.0, trainable=False)  # how much of both has come in so far

  def __call__(self, x):
    """(x over the spread, new statistics) of float32 [N...] or [N..., size]."""
    axes = list(range(x.shape.rank - self.mean.shape.rank))
    blend = lambda old, new: self.MOMENTUM * old + (1 - self.MOMENTUM) * new
    weight = blend(self.weight, 1.0)
    # Unbiased while little has come in.
    mean = blend(self.weight * self.mean, replica_mean(tf.reduce_mean(x, axes))) / weight
    square = blend(self.weight * self.square, replica_mean(tf.reduce_mean(x ** 2, axes))) / weight
    stats = dict(mean=mean, square=square, weight=weight)
    return x / self.spread(stats), stats

  def spread(self, stats=None):
    """Standard deviation by the given statistics, or by those so far; 1 before there are any."""
    stats = stats or dict(mean=self.mean, square=self.square, weight=self.weight)
    least = LEAST_OF_COLUMNS
    if not self.mean.shape.rank:  # what is left of equal numbers is rounding, a share of their square
      least = tf.maximum(ROUNDING * stats['square'], LEAST)
    spread = tf.sqrt(tf.maximum(stats['square'] - stats['mean'] ** 2, least))
    return tf.where(stats['weight'] > 0, spread, 1.0)

  def update(self, stats):
    """Take over statistics, all or, unless all are finite, none."""
    finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(x)) for x in stats.values()])
    for name, value in stats.items():
      old = getattr(self, name)
      old.assign(tf.where(finite, value, old))


class StreamNorm(tf.Module):
  """Division by a running mean of magnitudes (DreamerV2): x / (mag + eps) * scale.

    mag = momentum mag + (1 - momentum) mean |x|,  1 at first and so for ever if momentum is 1.
  """

  def __init__(self, momentum=1.0, scale=1.0, eps=1e-8):
    super().__init__()
    self._momentum, self._scale, self._eps = momentum, scale, eps
    self.mag = tf.Variable(1.0, trainable=False)

  def __call__(self, x):
    """(normed float32, new mag) of float32 [N...]."""
    if self._momentum == 1:  # which needs to know nothing of other devices
      return x / (self.mag + self._eps) * self._scale, self.mag.value()
    size = tf.stop_gradient(replica_mean(tf.reduce_mean(tf.abs(x))))
    mag = self._momentum * self.mag + (1 - self._momentum) * size
    return x / (mag + self._eps) * self._scale, mag

  def update(self, mag):
    """Take over a magnitude that is finite."""
    self.mag.assign(tf.where(tf.math.is_finite(mag), mag, self.mag))


def shape_reward(raw, norm, config, extrinsic=None):
  """(reward, new mag) that explorers are paid for raw novelty float32 [L, N].

    intr_scale norm(log raw or raw) + extr_scale extrinsic
  """
  if config.intr_log:
    raw = tf.math.log(raw + 1e-8)
  normed, mag = norm(raw)
  reward = config.intr_scale * normed
  return (reward if extrinsic is None else reward + config.extr_scale * extrinsic), mag
