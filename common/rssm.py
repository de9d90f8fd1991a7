"""Recurrent state-space model (PlaNet, section 3; spec section 2).

B batch, T time, A action, E embed, S stoch, D deter, F = S + D features.
A state is a dict: mean, std and stoch [B, S] of the stochastic part, always
float32, and deter [B, D] in the dtype of the layers. Every step takes a
stateless seed, int32 [2], or None for the centre of each distribution instead
of a sample.

    deter[t-1] ------------> gru ---> deter[t] -----> prior stoch[t]
    stoch[t-1], action[t] ----^          |
                                embed[t] '----------> posterior stoch[t]

action[t] is the action that led to observation t.
"""

import tensorflow as tf
import tf_keras

from common import dists
from common import nets


class RSSM(tf.Module):
  """Latent dynamics with a deterministic and a stochastic path."""

  def __init__(
      self, action_size, embed_size, latent, deter=200, hidden=200, act='elu'):
    """latent: what makes stochastic states, such as latents.GaussianLatent."""
    super().__init__()
    self.latent = latent
    self.deter_size = deter
    self.feat_size = latent.size + deter
    self.img1 = nets.dense(latent.size + action_size, hidden, act)
    self.gru = tf_keras.layers.GRUCell(deter)
    self.gru.build([None, hidden])
    self.img2 = nets.dense(deter, hidden, act)
    self.img3 = nets.dense(hidden, latent.params_size)
    self.obs1 = nets.dense(deter + embed_size, hidden, act)
    self.obs2 = nets.dense(hidden, latent.params_size)
    self.dtype = self.img1.compute_dtype

  def initial(self, batch_size):
    """State before the first observation: all zeros."""
    return {
        **self.latent.zeros(batch_size),
        'deter': tf.zeros([batch_size, self.deter_size], self.dtype)}

  def img_step(self, prev_state, prev_action, seed):
    """Predict the next latent state without seeing it (the prior).

      h[t] = gru(dense(concat(s[t-1], a[t])), h[t-1])
      s[t] ~ Normal(mean(h[t]), softplus(raw(h[t])) + min_std)

    Args:
      prev_state: state at t-1, of which stoch and deter are used.
      prev_action: float [B, A], the action that leads from t-1 to t.
      seed: int32 [2], or None.
    Returns:
      State at t.
    """
    x = self.img1(self._concat(prev_state['stoch'], prev_action))
    deter, _ = self.gru(x, [prev_state['deter']])
    params = self.img3(self.img2(deter))
    return {**self.latent.state(params, seed), 'deter': deter}

  def obs_step(self, prev_state, prev_action, embed, seed):
    """Predict the next latent state, then correct it by what was seen.

    Args:
      prev_state, prev_action: as in img_step.
      embed: float [B, E] of the observation at t.
      seed: int32 [2], or None.
    Returns:
      (post, prior), states at t with the same deter.
    """
    return self._obs_step(prev_state, prev_action, self._project(embed), seed)

  def observe(self, embed, action, seed, state=None):
    """Filter a sequence with obs_step.

    Args:
      embed: float [B, T, E].
      action: float [B, T, A]; action[:, t] led to embed[:, t].
      seed: int32 [2], or None.
      state: state before the first row; zeros if None.
    Returns:
      (post, prior), states [B, T, ...].
    """
    if state is None:
      state = self.initial(tf.shape(action)[0])
    # The embedding meets its weights once for all rows, outside the scan.
    projected = _swap(self._project(embed))

    def step(carry, inputs, seed):
      post, prior = self._obs_step(carry[0], inputs[0], inputs[1], seed)
      return post, prior
    post, prior = scan(step, (state, state), (_swap(action), projected), seed)
    return tf.nest.map_structure(_swap, (post, prior))

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
    step = lambda carry, inputs, seed: self.img_step(carry, inputs, seed)
    prior = scan(step, state, _swap(action), seed)
    return tf.nest.map_structure(_swap, prior)

  def get_feat(self, state):
    """Features [N..., F] for the heads: concat(stoch, deter)."""
    return self._concat(state['stoch'], state['deter'])

  def get_dist(self, state):
    """Distribution of the stochastic part of `state`, event size S."""
    return self.latent.dist(state)

  def kl(self, post, prior):
    """KL(post || prior) [N...] in nats."""
    return self.latent.kl(post, prior)

  def _obs_step(self, prev_state, prev_action, projected, seed):
    seeds = dists.split_seed(seed, 2)
    prior = self.img_step(prev_state, prev_action, seeds[0])
    deter = prior['deter']
    kernel = tf.cast(self.obs1.kernel, deter.dtype)
    x = self.obs1.activation(
        tf.matmul(deter, kernel[:self.deter_size]) + projected)
    params = self.obs2(x)
    post = {**self.latent.state(params, seeds[1]), 'deter': deter}
    return post, prior

  def _concat(self, *parts):
    return tf.concat([tf.cast(x, self.dtype) for x in parts], -1)

  def _project(self, embed):
    """The share of the embedding in layer obs1 on concat(deter, embed)."""
    kernel = tf.cast(self.obs1.kernel, embed.dtype)[self.deter_size:]
    rows = tf.reshape(embed, [-1, embed.shape[-1]])
    x = tf.matmul(rows, kernel) + tf.cast(self.obs1.bias, embed.dtype)
    shape = tf.concat([tf.shape(embed)[:-1], [kernel.shape[-1]]], 0)
    return tf.reshape(x, shape)


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


def _swap(x):
  """Exchange the batch and time axes [B, T, ...] <-> [T, B, ...]."""
  return tf.transpose(x, [1, 0] + list(range(2, x.shape.rank)))
