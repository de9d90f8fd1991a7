"""Latent overshooting: predictions over several steps, compared with what was seen later.

B batch, T time, R rows. PlaNet paper, section 4. Row r of a start t predicts time
t + r from the posterior of t - 1 by r + 1 prior steps, so row 0 is the ordinary prior.

    start   t-1      t        t+1      t+2
    row 0   post --> prior
    row 1   post --> . -----> prior
    row 2   post --> . -----> . -----> prior          each compared with post[t + r]
"""

import tensorflow as tf

from common.model.dynamics import scan
from common.model.dynamics import swap


def overshoot(model, post, action, length, rows, seed):
  """Roll the prior from every posterior.

  Args:
    model: gives `initial` and `img_step`.
    post: states [B, T, ...] of the filter.
    action: float [B, T, A].
    length: int32 [B], rows of each sequence that are real.
    rows: R, the largest distance of a prediction.
    seed: int32 [2], or None.
  Returns:
    (prior, target, mask): states [B, T, R, ...] that were predicted and those of the filter at
    the same times, zeros where mask bool [B, T, R], t + r < length, is False.
  """
  batch, steps = tf.shape(action)[0], action.shape[1]
  before = tf.nest.map_structure(
      lambda first, x: tf.concat([first[:, None], x[:, :-1]], 1), model.initial(batch), post)
  flat = lambda x: tf.reshape(x, [-1] + list(x.shape[2:]))
  actions = tf.stack([flat(_shift(action, r)) for r in range(rows)])     # [R, B T, A]
  prior = scan(model.img_step, tf.nest.map_structure(flat, before), actions, seed)
  time = tf.range(steps)[:, None] + tf.range(rows)                       # [T, R]
  mask = time < length[:, None, None]                                    # [B, T, R]
  unflat = lambda x: _masked(
      tf.reshape(swap(x), [-1, steps, rows] + list(x.shape[2:])), mask)
  prior = tf.nest.map_structure(unflat, prior)
  return prior, tf.nest.map_structure(lambda x: ahead(x, mask), post), mask


def ahead(x, mask):
  """What lies ahead of each row: x[b, t + r] at [b, t, r], zeros where the mask is False.

  x [B, T, ...] to [B, T, R, ...] by a mask bool [B, T, R].
  """
  return _masked(tf.stack([_shift(x, r) for r in range(mask.shape[2])], 2), mask)


def loss(model, post, action, distance, free_nats, norm, stop_start, seed):
  """Mean divergence beyond the free nats at the distances 2 to `distance`.

    mean max(0, KL(stop_gradient(post[t + r]) || prior[t, r]) - free_nats), r = 1 .. D-1

  Distance 1 is the ordinary divergence. The targets get no gradient, the starts do.

  Args:
    model, post, action, seed: as in overshoot; every row is real.
    distance: D; below 2 the loss is 0.
    free_nats: nats of each element that are not penalised.
    norm: all, over B T (D - 1) entries with those beyond the end as zeros (the published code);
      per_distance, the mean of means over what is valid at each distance that there is.
    stop_start: no gradient into the starts, either.
  Returns:
    float32 scalar.
  """
  if distance < 2:
    return tf.zeros(())
  if stop_start:
    post = tf.nest.map_structure(tf.stop_gradient, post)
  steps = action.shape[1]
  length, far = tf.fill([tf.shape(action)[0]], steps), min(distance, steps)
  if far < 2:
    return tf.zeros(())
  rolled = overshoot(model, post, action, length, far, seed)
  prior, target, mask = tf.nest.map_structure(lambda x: x[:, :, 1:], rolled)
  target = tf.nest.map_structure(tf.stop_gradient, target)
  beyond = tf.nn.relu(model.kl(target, prior, mask) - free_nats)         # [B, T, D-1]
  if norm == 'all':
    return tf.reduce_mean(beyond) * ((far - 1) / (distance - 1))
  count = tf.reduce_sum(tf.cast(mask, tf.float32), [0, 1])
  return tf.reduce_mean(tf.math.divide_no_nan(tf.reduce_sum(beyond, [0, 1]), count))


def _shift(x, rows):
  """x[:, t + rows] at t, zeros beyond the end: [B, T, ...] of the same shape."""
  pad = [[0, 0], [0, rows]] + [[0, 0]] * (x.shape.rank - 2)
  return tf.pad(x, pad)[:, rows:rows + x.shape[1]]


def _masked(x, mask):
  shape = tf.concat([tf.shape(mask), [1] * (x.shape.rank - 3)], 0)
  return tf.where(tf.reshape(mask, shape), x, tf.zeros_like(x))
