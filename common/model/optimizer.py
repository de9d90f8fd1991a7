"""Adam with global-norm clipping, loss scaling and skipped bad updates.

Gradients arrive scaled by `scale`; the order is unscale,
global norm (the one that is logged), clip, decay, apply. A non-finite norm
skips the update, moments included, and halves the scale under float16.
"""

import re

import tensorflow as tf
import tf_keras

LARGEST_SCALE = 2.0 ** 30  # of losses: what is infinite once would stay so


def make(parts, lr, config, ramp=0):
  """The optimiser of some modules, with the settings that all optimisers share.

  parts: dict of name to tf.Module. Variables are called PART/NAME, such as
  rssm/kernel, in weight_decay_pattern. ramp: updates over which lr rises.
  """
  if ramp:
    lr = tf_keras.optimizers.schedules.PolynomialDecay(lr / ramp, ramp, lr)
  named = [
      (f'{part}/{var.name}', var) for part, module in parts.items()
      for var in module.trainable_variables]
  return Optimizer(
      [var for _, var in named], lr, config.adam_eps, config.grad_clip,
      config.weight_decay, config.weight_decay_pattern,
      names=[name for name, _ in named],
      loss_scale=tf_keras.mixed_precision.global_policy().name == 'mixed_float16')


class Optimizer(tf.Module):
  """One Adam over a fixed list of variables.

    var -= lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps)
  """

  GROW_AFTER = 2000  # finite updates after which the loss scale doubles

  def __init__(
      self, variables, lr, eps=1e-7, clip=100.0, decay=0.0, decay_pattern='.*',
      names=None, loss_scale=False):
    """Make the moments.

    Args:
      variables: list of those to update.
      lr, eps: learning rate (or schedule of it) and epsilon of Adam.
      clip: largest global norm of the gradients.
      decay: fraction by which variables shrink at each update.
      decay_pattern: regular expression; names that it is found in decay.
      names: of the variables; None is their own.
      loss_scale: keep a dynamic scale, starting at 2^15 (for float16).
    """
    super().__init__()
    self.variables_ = list(variables)
    self._clip, self._decay = clip, decay
    names = names or [var.name for var in self.variables_]
    self._decays = [bool(decay and re.search(decay_pattern, x)) for x in names]
    self._dynamic = loss_scale
    self._scale = tf.Variable(
        2.0 ** 15, trainable=False, name='loss_scale')  # used if dynamic
    # Whole numbers as int32 would live on the host, out of reach of XLA on a GPU.
    counter = lambda name: tf.Variable(
        0, trainable=False, dtype=tf.int64, name=name)
    self._finite = counter('finite_updates')
    self.skipped = counter('skipped')
    self.adam = tf_keras.optimizers.legacy.Adam(lr, epsilon=eps)
    # Moments exist from the start, so that a checkpoint can be restored
    # before the first update.
    self.adam._create_all_weights(self.variables_)  # pylint: disable=protected-access

  @property
  def decaying(self):
    """Whether the pattern fits the name of a variable, and decay is not 0."""
    return any(self._decays)

  @property
  def counters(self):
    """Variables of its own, besides the moments of Adam."""
    return [self._scale, self._finite, self.skipped]

  def scale_loss(self, loss):
    """The scalar float32 loss that gradients have to be taken of."""
    return loss * self._scale if self._dynamic else loss

  def apply(self, grads):
    """Update the variables with gradients of the scaled loss.

    With variables on several devices this is called in the scope of their
    strategy, outside of its `run`.

    Args:
      grads: one tensor per variable, averaged over devices; None where the
        loss does not depend on the variable.
    Returns:
      The float32 global norm before clipping.
    """
    variables = [v for g, v in zip(grads, self.variables_) if g is not None]
    if not variables:
      return tf.constant(0.0)
    # One vector of all gradients takes few operations where each of its own takes hundreds.
    flat = tf.concat([tf.reshape(g, [-1]) for g in grads if g is not None], 0)
    if self._dynamic:
      flat /= tf.cast(self._scale, flat.dtype)
    norm = tf.sqrt(2 * tf.nn.l2_loss(flat))
    finite = tf.math.is_finite(norm)
    # Under a non-finite norm the clipped gradients are not used.
    flat *= tf.cast(self._clip / tf.maximum(norm, self._clip), flat.dtype)
    parts = tf.split(flat, [v.shape.num_elements() for v in variables])
    clipped = [tf.reshape(part, v.shape) for part, v in zip(parts, variables)]

    def adam(grads):
      self.adam.apply_gradients(
          zip(grads, variables), experimental_aggregate_gradients=False)

    def update():
      for grad, var, decays in zip(grads, self.variables_, self._decays):
        if decays and grad is not None:
          var.assign(var * (1 - self._decay))
      _on_each_replica(adam, clipped)
      self.skipped.assign(0)
      return tf.constant(True)

    def skip():
      self.skipped.assign_add(1)
      return tf.constant(False)
    tf.cond(finite, update, skip)
    if self._dynamic:
      self._update_scale(finite)
    return norm

  def _update_scale(self, finite):
    grow = self._finite + 1 >= self.GROW_AFTER
    factor = tf.where(finite, tf.where(grow, 2.0, 1.0), 0.5)
    self._scale.assign(tf.clip_by_value(self._scale * factor, 1.0, LARGEST_SCALE))
    self._finite.assign(tf.where(finite & ~grow, self._finite + 1, 0))


def _on_each_replica(function, *args):
  """Call a function here, or on each device where several share the variables.

  Called from the outside, Adam would change the copy of the first device only.
  """
  if tf.distribute.in_cross_replica_context():
    tf.distribute.get_strategy().run(function, args)
  else:
    function(*args)
