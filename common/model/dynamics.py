"""What every latent dynamics model offers, and the scan that they and the actor run on.

B batch, T time, A action, E embed, F features. A state is a dict with what the latent kind makes of
the stochastic part (stochastic.py), always float32, and what the model carries besides. Every step
takes a stateless seed, int32 [2], or None for the centre of each distribution instead of a sample.

action[t] is the action that led to observation t.
"""

import tensorflow as tf

from common.model import dists


class Dynamics(tf.Module):
  """Base of RSSM, SSM and DRNN: `img_step` predicts, `obs_step` corrects.

  A model defines `initial`, `img_step`, `get_feat` and `correct`, and sets `latent`, `feat_size`
  and `dtype`, that of its layers.
  """

  def initial(self, batch_size):
    """State before the first observation: all zeros."""
    raise NotImplementedError

  def img_step(self, prev_state, prev_action, seed):
    """Predict the next latent state without seeing it (the prior).

    Args:
      prev_state: state at t-1.
      prev_action: float [B, A], the action that leads from t-1 to t.
      seed: int32 [2], or None.
    Returns:
      State at t.
    """
    raise NotImplementedError

  def correct(self, prior, prev_state, prev_action, prepared, seed):
    """The posterior at t, from the prior and what `prepare` made of the embedding at t."""
    raise NotImplementedError

  def get_feat(self, state):
    """Features [N..., F] for the heads."""
    raise NotImplementedError

  def prepare(self, embed):
    """What of embeddings [N..., E] can be computed for all rows at once, outside the scan."""
    return embed

  def obs_step(self, prev_state, prev_action, embed, seed, is_first=None):
    """Predict the next latent state, then correct it by what was seen.

    Args:
      prev_state, prev_action: as in img_step.
      embed: float [B, E] of the observation at t.
      seed: int32 [2], or None.
      is_first: bool [B]; what it marks starts from zeros, state and action.
    Returns:
      (post, prior), states at t.
    """
    if is_first is not None:
      prev_state, prev_action = reset((prev_state, prev_action), is_first)
    return self._obs_step(prev_state, prev_action, self.prepare(embed), seed)

  def observe(self, embed, action, seed, state=None, is_first=None):
    """Filter a sequence with obs_step.

    Args:
      embed: float [B, T, E].
      action: float [B, T, A]; action[:, t] led to embed[:, t].
      seed: int32 [2], or None.
      state: state before the first row; zeros if None.
      is_first: bool [B, T] as in obs_step, or None for no row.
    Returns:
      (post, prior), states [B, T, ...].
    """
    if state is None:
      state = self.initial(tf.shape(action)[0])
    inputs = (swap(action), swap(self.prepare(embed)))
    if is_first is not None:
      inputs += (swap(is_first),)
    def step(carry, inputs, seed):
      action, prepared, *first = inputs
      before = (carry[0], action)
      return self._obs_step(*(reset(before, *first) if first else before), prepared, seed)
    post, prior = scan(step, (state, state), inputs, seed)
    return tf.nest.map_structure(swap, (post, prior))

  def imagine(self, action, seed, state=None):
    """Predict a sequence with img_step from given actions.

    Args:
      action: float [B, T, A].
      seed: int32 [2], or None.
      state: state before the first action; zeros if None.
    Returns:
      Prior states [B, T, ...], those after each action.
    """
    if state is None:
      state = self.initial(tf.shape(action)[0])
    prior = scan(self.img_step, state, swap(action), seed)
    return tf.nest.map_structure(swap, prior)

  def get_dist(self, state):
    """Distribution of the stochastic part of `state`, event size S."""
    return self.latent.dist(state)

  def kl(self, post, prior, mask=None):
    """KL(post || prior) [N...] in nats; exactly 0 where a bool mask [N...] is False."""
    return self.latent.kl(post, prior, mask)

  def _obs_step(self, prev_state, prev_action, prepared, seed):
    seeds = dists.split_seed(seed, 2)
    prior = self.img_step(prev_state, prev_action, seeds[0])
    return self.correct(prior, prev_state, prev_action, prepared, seeds[1]), prior

  def _concat(self, *parts):
    return tf.concat([tf.cast(x, self.dtype) for x in parts], -1)


def scan(step, start, inputs, seed):
  """Carry a state through time in a graph loop.

  Unrolled steps would take several times longer to trace and no less to run.

    carry[t] = step(carry[t-1], inputs[t], seed[t])

  Args:
    step: function (carry, inputs at t, seed int32 [2] or None) -> carry.
    start: nested tensors, the carry before the first step.
    inputs: nested tensors [T, ...], time first.
    seed: int32 [2] or None.
  Returns:
    Nested tensors [T, ...]: the carry after each step.
  """
  flat = tf.nest.flatten(inputs)
  length = flat[0].shape[0]
  if length is None:
    length = tf.shape(flat[0])[0]
  seeds = None if seed is None else dists.split_seed(seed, length)
  at = lambda t: (
      tf.nest.map_structure(lambda x: x[t], inputs),
      None if seeds is None else seeds[t])
  def body(t, carry, arrays):
    carry = step(carry, *at(t))
    arrays = tf.nest.map_structure(
        lambda array, x: array.write(t, x), arrays, carry)
    return t + 1, carry, arrays
  arrays = tf.nest.map_structure(
      lambda x: tf.TensorArray(x.dtype, length, element_shape=x.shape), start)
  _, _, arrays = tf.while_loop(
      lambda t, *_: t < length, body, (0, start, arrays),
      maximum_iterations=length)
  return tf.nest.map_structure(lambda array: array.stack(), arrays)


def reset(values, is_first):
  """Nested tensors [B, ...] with zeros in the rows that bool [B] marks."""
  def zero(x):
    marked = tf.reshape(is_first, [-1] + [1] * (x.shape.rank - 1))
    return tf.where(marked, tf.zeros_like(x), x)
  return tf.nest.map_structure(zero, values)


def swap(x):
  """Exchange the batch and time axes [B, T, ...] <-> [T, B, ...]."""
  return tf.transpose(x, [1, 0] + list(range(2, x.shape.rank)))
