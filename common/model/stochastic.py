"""Stochastic part of a latent state: Gaussian (PlaNet, Dreamer) or categorical (DreamerV2).

A latent kind turns the output of a network into state entries, and states into distributions.
The latent models know it only through these methods. N are any leading dimensions, B is a batch.
"""

import tensorflow as tf
import tensorflow_probability as tfp

from common.model import dists

STD_ACTS = {
    'softplus': tf.nn.softplus, 'sigmoid': tf.nn.sigmoid,
    'sigmoid2': lambda x: 2 * tf.nn.sigmoid(x / 2)}


class GaussianLatent:
  """Diagonal Gaussian with S dimensions (PlaNet paper, section 3).

    mean, raw = split(params);  std = std_act(raw) + min_std
  """

  def __init__(
      self, size, min_std=0.1, shared_noise=False, mean_only=False, std_act='softplus'):
    """mean_only: states are means, though a std exists (PlaNet's deterministic model)."""
    self.size = size                 # columns of stoch in the features
    self.params_size = 2 * size      # columns the network has to give
    self._min_std = min_std
    self._shared_noise = shared_noise
    self._mean_only = mean_only
    self._std_act = STD_ACTS[std_act]

  def zeros(self, batch_size):
    """Entries of the initial state, all zeros: mean, std, stoch [B, S]."""
    zeros = tf.zeros([batch_size, self.size])
    return {'mean': zeros, 'std': zeros, 'stoch': zeros}

  def state(self, params, seed):
    """Entries mean, std, stoch float32 [B, S] from params [B, 2S].

    seed int32 [2], or None for the mean in place of a sample.
    """
    mean, raw = tf.split(tf.cast(params, tf.float32), 2, -1)
    std = self._std_act(raw) + self._min_std
    seed = None if self._mean_only else seed
    stoch = dists.sample_gaussian(mean, std, seed, self._shared_noise)
    return {'mean': mean, 'std': std, 'stoch': stoch}

  def flat(self, state):
    """The sample as columns [N..., S]."""
    return state['stoch']

  def stats(self, state):
    """The parameters of the distribution as columns [N..., 2S]."""
    return tf.concat([state['mean'], state['std']], -1)

  def standard(self, state):
    """Entries of the fixed prior, Normal(0, 1), in the shapes of `state`."""
    zeros = tf.zeros_like(state['mean'])
    return {'mean': zeros, 'std': tf.ones_like(zeros), 'stoch': zeros}

  def dist(self, state):
    """Diagonal Gaussian of event size S of a state [N..., S]."""
    return dists.gaussian(state['mean'], state['std'])

  def kl(self, post, prior, mask=None):
    """KL(post || prior) in nats, float32 [N...], summed over the S dims.

    Where a bool mask [N...] is False it is exactly 0, whatever the states hold.
    """
    if mask is None:
      return tfp.distributions.kl_divergence(self.dist(post), self.dist(prior))
    # A std of zero, as padding has it, would give nan, which no later mask removes.
    valid = lambda state: {
        **state, 'std': tf.where(mask[..., None], state['std'], 1.0)}
    return tf.where(mask, self.kl(valid(post), valid(prior)), 0.0)


class CategoricalLatent:
  """S categorical variables of C classes, sampled straight-through (DreamerV2, algorithm 1)."""

  def __init__(self, variables, classes, mean_only=False):
    """mean_only: states are the most likely classes, not samples."""
    self.size = variables * classes          # columns of stoch in the features
    self.params_size = variables * classes   # columns the network has to give
    self._shape = [variables, classes]
    self._mean_only = mean_only

  def zeros(self, batch_size):
    """Entries of the initial state, all zeros: logit, stoch [B, S, C]."""
    zeros = tf.zeros([batch_size] + self._shape)
    return {'logit': zeros, 'stoch': zeros}

  def state(self, params, seed):
    """Entries logit, stoch float32 [B, S, C] from params [B, S C].

    stoch is one-hot with the gradient of the probabilities. seed int32 [2], or None for the most
    likely classes in place of a sample.
    """
    logit = tf.reshape(tf.cast(params, tf.float32), [-1] + self._shape)
    seed = None if self._mean_only else seed
    return {'logit': logit, 'stoch': dists.OneHot(logit).sample(seed)}

  def flat(self, state):
    """The sample as columns [N..., S C]."""
    return self._columns(state['stoch'])

  def stats(self, state):
    """The logits as columns [N..., S C]."""
    return self._columns(state['logit'])

  def standard(self, state):
    """Entries of the fixed prior, equal probabilities, in the shapes of `state`."""
    zeros = tf.zeros_like(state['logit'])
    return {'logit': zeros, 'stoch': zeros}

  def dist(self, state):
    """Independent one-hot categoricals, event [S, C], of a state [N..., S, C]."""
    return tfp.distributions.Independent(
        tfp.distributions.OneHotCategorical(logits=state['logit'], dtype=tf.float32), 1)

  def kl(self, post, prior, mask=None):
    """KL(post || prior) in nats, float32 [N...], summed over the S variables; masked as above."""
    kl = tfp.distributions.kl_divergence(self.dist(post), self.dist(prior))
    return kl if mask is None else tf.where(mask, kl, 0.0)

  def _columns(self, x):
    return tf.reshape(x, tf.concat([tf.shape(x)[:-2], [self.size]], 0))
