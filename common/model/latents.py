"""The choice of a latent model, and those of the PlaNet paper without, and with two, recurrent paths.

B batch, A action, E embed, S stoch, D deter; states as of a Gaussian latent. PlaNet paper,
section 3.
"""

import tensorflow as tf

from common.model import cells
from common.model import nets
from common.model import rssm
from common.model import stochastic
from common.model.dynamics import Dynamics


def make(action_size, embed_size, config):
  """The latent model that the config names, such as rssm.RSSM."""
  if config.latent == 'categorical':
    latent = stochastic.CategoricalLatent(
        config.stoch_size, config.stoch_classes, config.mean_only)
  else:
    latent = stochastic.GaussianLatent(
        config.stoch_size, config.rssm_min_std, config.shared_noise, config.mean_only,
        config.rssm_std_act)
  deter, act = config.deter_size, config.rssm_act
  hidden = deter if config.rssm_hidden == 'auto' else config.rssm_hidden
  heads = dict(split_heads=config.rssm_split_heads and config.latent == 'gaussian')  # no logits
  if config.latent_model == 'ssm':
    return SSM(action_size, embed_size, latent, hidden, act, **heads)
  if config.latent_model == 'drnn':
    return DRNN(action_size, embed_size, latent, deter, hidden, config.rssm_gru, **heads)
  return rssm.RSSM(
      action_size, embed_size, latent, deter, hidden, act, config.rssm_layers,
      config.rssm_gru, future_rnn=config.future_rnn, norm=config.norm,
      ensemble=config.rssm_ensemble, **heads)


class SSM(Dynamics):
  """Stochastic path alone. States: mean, std and stoch [B, S]; features: stoch."""

  def __init__(
      self, action_size, embed_size, latent, hidden=200, act='elu', split_heads=False):
    """Arguments as those of RSSM."""
    super().__init__()
    self.latent = latent
    self.feat_size = latent.size
    dist = nets.SplitDense if split_heads else nets.dense
    self.img_out = nets.dense(latent.size + action_size, hidden, act)
    self.img_dist = dist(hidden, latent.params_size)
    self.obs_out = nets.dense(latent.params_size + embed_size, hidden, act)
    self.obs_dist = dist(hidden, latent.params_size)
    self.dtype = self.img_out.compute_dtype

  def initial(self, batch_size):
    """State before the first observation: all zeros."""
    return self.latent.zeros(batch_size)

  def img_step(self, prev_state, prev_action, seed):
    """s[t] ~ dense(concat(s[t-1], a[t])); see Dynamics."""
    x = self.img_out(self._concat(self.latent.flat(prev_state), prev_action))
    return self.latent.state(self.img_dist(x), seed)

  def correct(self, prior, prev_state, prev_action, prepared, seed):
    """The posterior reads the parameters of the prior, not its sample."""
    x = self.obs_out(self._concat(self.latent.stats(prior), prepared))
    return self.latent.state(self.obs_dist(x), seed)

  def get_feat(self, state):
    """Features [N..., S]: the sample."""
    return self._concat(self.latent.flat(state))


class DRNN(Dynamics):
  """Two recurrent paths with a sequence of samples between them.

  States: mean, std and stoch [B, S], encoder_state and decoder_state [B, D]; features: the latter.

    encoder = gru(concat(embed, a, s[t-1]), encoder[t-1])
    s ~ dense(concat(encoder, s[t-1], decoder[t-1]))         always with relu, as published
    decoder = gru(s, decoder[t-1])

  The prior is the same function, with the same weights, of an embedding of zeros. Of the published
  connections, those that are off by default are left out.
  """

  def __init__(
      self, action_size, embed_size, latent, deter=200, hidden=200, gru='block',
      split_heads=False):
    """Arguments as those of RSSM."""
    super().__init__()
    self.latent = latent
    self.feat_size = deter
    self._deter, self._embed_size = deter, embed_size
    self.encoder = cells.make(gru, embed_size + action_size + latent.size, deter)
    self.out = nets.dense(deter + latent.size + deter, hidden, 'relu')
    dist = nets.SplitDense if split_heads else nets.dense
    self.dist = dist(hidden, latent.params_size)
    self.decoder = cells.make(gru, latent.size, deter)
    self.dtype = self.out.compute_dtype

  def initial(self, batch_size):
    """State before the first observation: all zeros."""
    zeros = tf.zeros([batch_size, self._deter], self.dtype)
    return {
        **self.latent.zeros(batch_size), 'encoder_state': zeros, 'decoder_state': zeros}

  def img_step(self, prev_state, prev_action, seed):
    """The step with an embedding of zeros; see Dynamics."""
    zeros = tf.zeros([tf.shape(prev_action)[0], self._embed_size], self.dtype)
    return self._step(prev_state, prev_action, zeros, seed)

  def correct(self, prior, prev_state, prev_action, prepared, seed):
    """The step with the embedding; the prior plays no part."""
    return self._step(prev_state, prev_action, prepared, seed)

  def get_feat(self, state):
    """Features [N..., D]: the state of the decoding path."""
    return state['decoder_state']

  def _step(self, prev, action, embed, seed):
    stoch = self.latent.flat(prev)
    encoder, _ = self.encoder(self._concat(embed, action, stoch), [prev['encoder_state']])
    x = self.out(self._concat(encoder, stoch, prev['decoder_state']))
    state = self.latent.state(self.dist(x), seed)
    decoder, _ = self.decoder(
        self._concat(self.latent.flat(state)), [prev['decoder_state']])
    return {**state, 'encoder_state': encoder, 'decoder_state': decoder}
