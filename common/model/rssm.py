"""Recurrent state-space model (PlaNet paper, section 3).

B batch, T time, A action, E embed, S stoch, D deter, F = S + D features, K members.
A state is a dict: what the latent kind makes of the stochastic part (mean, std and stoch [B, S]
of a Gaussian), always float32, and deter [B, D] in the dtype of the layers.

    deter[t-1] ------------> gru ---> deter[t] -----> prior stoch[t]
    stoch[t-1], action[t] ----^          |
                                embed[t] '----------> posterior stoch[t]
"""

import tensorflow as tf

from common.model import cells
from common.model import dists
from common.model import nets
from common.model.dynamics import Dynamics


class RSSM(Dynamics):
  """Latent dynamics with a deterministic and a stochastic path."""

  def __init__(
      self, action_size, embed_size, latent, deter=200, hidden=200, act='elu',
      layers=1, gru='keras', split_heads=False, future_rnn=True, norm='none', ensemble=1):
    """Build all layers.

    Args:
      action_size, embed_size: A and E.
      latent: what makes stochastic states: a class of stochastic.
      deter, hidden: D, and the width of the dense layers.
      act: activation of the dense layers.
      layers: dense layers before the GRU, after it, and in the posterior each.
      gru: kind of cell, see `cells.make`.
      split_heads: mean and std from two layers, as in PlaNet, not from one.
      future_rnn: the prior reads the GRU; False is PlaNet's first version.
      norm: of the dense layers, none or layer.
      ensemble: K, networks of the prior, one of which predicts each step (DreamerV2).
    """
    super().__init__()
    self.latent = latent
    self.deter_size = deter
    self.feat_size = latent.size + deter
    self._future_rnn = future_rnn
    dist = nets.SplitDense if split_heads else nets.dense
    self.img_in = nets.MLP(latent.size + action_size, layers, hidden, act, norm)
    self.gru = cells.make(gru, self.img_in.output_size, deter)
    inputs = deter if future_rnn else self.img_in.output_size
    self.img_out = [nets.MLP(inputs, layers, hidden, act, norm) for _ in range(ensemble)]
    self.img_dist = [dist(mlp.output_size, latent.params_size) for mlp in self.img_out]
    self.centre_member = 0  # which member predicts where nothing is drawn
    self.obs_out = nets.MLP(deter + embed_size, layers, hidden, act, norm)
    self.obs_dist = dist(self.obs_out.output_size, latent.params_size)
    self.dtype = self.obs_out.layers[0].compute_dtype

  def initial(self, batch_size):
    """State before the first observation: all zeros."""
    return {
        **self.latent.zeros(batch_size),
        'deter': tf.zeros([batch_size, self.deter_size], self.dtype)}

  def img_step(self, prev_state, prev_action, seed):
    """Predict the next latent state without seeing it; see Dynamics.

      h[t] = gru(dense(concat(s[t-1], a[t])), h[t-1])
      s[t] ~ Normal(mean(h[t]), softplus(raw(h[t])) + min_std)       (or as the latent kind says)

    Of prev_state, stoch and deter are used.
    """
    x = self.img_in(self._concat(self.latent.flat(prev_state), prev_action))
    deter, _ = self.gru(x, [prev_state['deter']])
    x = deter if self._future_rnn else x
    if len(self.img_out) == 1:
      return {**self.latent.state(self._member(0, x), seed), 'deter': deter}
    params = self.members(x)
    seeds = dists.split_seed(seed, 2)
    member = self.centre_member
    if seed is not None:
      member = tf.random.stateless_uniform((), seeds[0], 0, len(self.img_out), tf.int32)
    return {**self.latent.state(params[member], seeds[1]), 'deter': deter}

  def members(self, x):
    """Parameters [K, B, P] of the prior by each member, from what the prior reads [B, D]."""
    return tf.stack([self._member(i, x) for i in range(len(self.img_out))])

  def _member(self, i, x):
    return self.img_dist[i](self.img_out[i](x))

  def correct(self, prior, prev_state, prev_action, prepared, seed):
    """The posterior: it knows the past by the deter of the prior alone."""
    first, *others = self.obs_out.layers
    deter = prior['deter']
    kernel = tf.cast(first.kernel, deter.dtype)
    x = first.activation(tf.matmul(deter, kernel[:self.deter_size]) + prepared)
    for layer in others:
      x = layer(x)
    return {**self.latent.state(self.obs_dist(x), seed), 'deter': deter}

  def get_feat(self, state):
    """Features [N..., F] for the heads: concat(stoch, deter)."""
    return self._concat(self.latent.flat(state), state['deter'])

  def prepare(self, embed):
    """The share of embeddings in the first layer of obs_out on concat(deter, embed)."""
    layer = self.obs_out.layers[0]
    kernel = tf.cast(layer.kernel, embed.dtype)[self.deter_size:]
    rows = tf.reshape(embed, [-1, embed.shape[-1]])
    x = tf.matmul(rows, kernel) + tf.cast(layer.bias, embed.dtype)
    shape = tf.concat([tf.shape(embed)[:-1], [kernel.shape[-1]]], 0)
    return tf.reshape(x, shape)
