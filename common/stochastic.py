"""Stochastic part of a latent state: the Gaussian of PlaNet and Dreamer.

A latent kind turns the output of a network into state entries, and states into
distributions. The latent models know it only through these methods.
"""

import tensorflow as tf
import tensorflow_probability as tfp

from common import dists


class GaussianLatent:
  """Diagonal Gaussian with S dimensions (spec section 2).

    mean, raw = split(params);  std = softplus(raw) + min_std
  """

  def __init__(self, size, min_std=0.1, shared_noise=False, mean_only=False):
    """mean_only: states are means, though a std exists (PlaNet's deterministic model)."""
    self.size = size                 # columns of stoch in the features
    self.params_size = 2 * size      # columns the network has to give
    self._min_std = min_std
    self._shared_noise = shared_noise
    self._mean_only = mean_only

  def zeros(self, batch_size):
    """Entries of the initial state, all zeros: mean, std, stoch [B, S]."""
    zeros = tf.zeros([batch_size, self.size])
    return {'mean': zeros, 'std': zeros, 'stoch': zeros}

  def state(self, params, seed):
    """Entries mean, std, stoch float32 [B, S] from params [B, 2S].

    seed int32 [2], or None for the mean in place of a sample.
    """
    mean, raw = tf.split(tf.cast(params, tf.float32), 2, -1)
    std = tf.nn.softplus(raw) + self._min_std
    seed = None if self._mean_only else seed
    stoch = dists.sample_gaussian(mean, std, seed, self._shared_noise)
    return {'mean': mean, 'std': std, 'stoch': stoch}

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
