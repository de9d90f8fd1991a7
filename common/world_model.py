"""World model: encoder, latent dynamics, decoder, heads and their objective.

B batch, T time, N any leading dimensions, A action, E embed, F features.
Spec sections 2 to 5. The training batch and the observations of a policy pass
through the same `preprocess`.
"""

import re
import zlib

import tensorflow as tf

from common import dists
from common import images
from common import latents
from common import nets
from common import optimizer
from common import overshooting
from common import rssm
from common import stochastic


def select(pattern, spaces, rank):
  """Names of the spaces of `rank` dimensions that match a regular expression."""
  return [
      key for key, space in sorted(spaces.items())
      if len(space.shape) == rank and re.fullmatch(pattern, key)]


class WorldModel(tf.Module):
  """What all agents learn from replay: how the world looks, moves and pays."""

  def __init__(self, obs_space, action_size, config):
    """obs_space: name -> Box; images uint8 [H, W, C], vectors float32 [D]."""
    super().__init__()
    self._config = config
    image_keys = select(config.cnn_keys, obs_space, 3)
    vector_keys = select(config.mlp_keys, obs_space, 1)
    self.encoder = Encoder(obs_space, image_keys, vector_keys, config)
    self.rssm = make_dynamics(action_size, self.encoder.embed_size, config)
    feat_size = self.rssm.feat_size
    self.decoder = Decoder(feat_size, obs_space, image_keys, vector_keys, config)
    self.reward = nets.DenseHead(
        feat_size, (), config.reward_layers, config.num_units, config.dense_act)
    parts = dict(
        encoder=self.encoder, rssm=self.rssm, decoder=self.decoder,
        reward=self.reward)
    if config.pcont:
      self.pcont_head = nets.DenseHead(
          feat_size, (), config.pcont_layers, config.num_units,
          config.dense_act, 'binary')
      parts['pcont'] = self.pcont_head
    self.optimizer = optimizer.make(
        parts, config.model_lr, config, config.model_lr_ramp)

  @property
  def obs_keys(self):
    """Names of the observations that the encoder reads."""
    return self.encoder.image_keys + self.encoder.vector_keys

  def preprocess(self, data, seed=None):
    """Rows as stored to rows as the networks see them (spec section 3).

    uint8 images as `images.to_float` says, the reward clipped as configured, everything else as
    float32.

    Args:
      data: dict of tensors [N..., ...].
      seed: int32 [2] for the noise that image_bits adds, or None.
    """
    data = dict(data)
    bits = self._config.image_bits
    for key, value in sorted(data.items()):
      if value.dtype == tf.uint8:
        noise = images.uniform(tf.shape(value), fold(seed, key)) if bits else None
        data[key] = images.to_float(value, bits, noise)
      elif value.dtype != tf.bool:
        data[key] = tf.cast(value, tf.float32)
    clip = {'none': tf.identity, 'tanh': tf.tanh}[self._config.clip_rewards]
    if 'reward' in data:
      data['reward'] = clip(data['reward'])
    return data

  def observe(self, data, seed):
    """Filter preprocessed rows [B, T, ...] into (post, prior, embed)."""
    embed = self.encoder(data)
    action = tf.cast(data['action'], embed.dtype)
    post, prior = self.rssm.observe(embed, action, seed)
    return post, prior, embed

  def loss(self, data, seed):
    """Objective of the world model on one batch (spec section 5).

      model_loss = kl_scale max(mean KL(post || prior), free_nats)
                   - sum over heads of scale * mean log-likelihood
                   + global_div_scale mean KL(post || Normal(0, 1))
                   + overshooting_scale overshooting

    The last two are PlaNet's and off by default.

    Args:
      data: preprocessed rows [B, T, ...]: observations, action, reward,
        discount.
      seed: int32 [2], or None for zero noise.
    Returns:
      (loss, outputs): float32 scalar and a dict of post and prior states,
      embed, feat [B, T, F], likes and terms (dicts of scalars), div_raw and div.
    """
    post, prior, embed = self.observe(data, seed)
    feat = self.rssm.get_feat(post)                                 # [B, T, F]
    likes = {}
    for key, dist in self.decoder(feat).items():
      likes[key] = tf.reduce_mean(dist.log_prob(data[key]))
    likes['reward'] = tf.reduce_mean(self.reward(feat).log_prob(data['reward']))
    if self._config.pcont:
      target = self._config.discount * data['discount']             # [B, T]
      likes['pcont'] = self._config.pcont_scale * tf.reduce_mean(
          self.pcont_head(feat).log_prob(target))
    kl = self.rssm.kl(post, prior)                                  # [B, T]
    div_raw = replica_mean(tf.reduce_mean(kl))
    div = free_nats(kl, self._config.free_nats, self._config.free_nats_mode)
    scales = {'reward': self._config.reward_scale}
    loss = self._config.kl_scale * div - sum(
        scales.get(key, 1.0) * like for key, like in likes.items())
    more = self._further_terms(post, data['action'], seed)
    loss += sum(scale * term for scale, term in more.values())
    outputs = dict(
        post=post, prior=prior, embed=embed, feat=feat, likes=likes,
        div_raw=div_raw, div=div, terms={key: term for key, (_, term) in more.items()})
    return loss, outputs

  def _further_terms(self, post, action, seed):
    """Dict of name to (scale, float32 scalar) of those terms that are switched on."""
    c, terms = self._config, {}
    if c.global_div_scale:
      zeros = tf.zeros_like(post['mean'])
      standard = {'mean': zeros, 'std': tf.ones_like(zeros), 'stoch': zeros}
      terms['global_div'] = (
          c.global_div_scale, tf.reduce_mean(self.rssm.kl(post, standard)))
    if c.overshooting_scale:
      terms['overshooting'] = (c.overshooting_scale, overshooting.loss(
          self.rssm, post, action, c.overshooting_distance, c.free_nats,
          c.overshooting_norm, c.overshooting_stop_start, fold(seed, 'overshooting')))
    return terms

  def gradients(self, data, seed):
    """Gradients of the scaled loss, for `optimizer.apply`.

    Args as in `loss`.
    Returns:
      (grads, outputs, metrics): one tensor per variable of the optimiser, the
      outputs of `loss`, and a dict of float32 scalars.
    """
    with tf.GradientTape() as tape:
      loss, outputs = self.loss(data, seed)
      scaled = self.optimizer.scale_loss(loss)
    grads = tape.gradient(scaled, self.optimizer.variables_)
    metrics = {f'{key}_loss': -like for key, like in outputs['likes'].items()}
    metrics.update(outputs['terms'])
    entropy = lambda state: tf.reduce_mean(self.rssm.get_dist(state).entropy())
    metrics.update(
        model_loss=loss, kl=outputs['div_raw'], div=outputs['div'],
        prior_ent=entropy(outputs['prior']), post_ent=entropy(outputs['post']))
    return grads, outputs, metrics

  def open_loop(self, data, seed, context=5):
    """Pictures of what the model expects (spec section 12).

    The first `context` rows are filtered, the others imagined from the actions.

    Args:
      data: preprocessed rows [B, T, ...].
      seed: int32 [2], or None.
      context: rows.
    Returns:
      Dict of image key to uint8 [T, 3 H, B W, C]: truth, model, and the error
      (model - truth + 1) / 2 below each other, the sequences side by side.
    """
    post, last = self._filter(data, seed, context)
    prior = self.rssm.imagine(data['action'][:, context:], seed, last)
    videos = {}
    for key, model in self._pictures(post, prior).items():
      truth = data[key] + 0.5
      error = (model - truth + 1) / 2
      videos[key] = _side_by_side(tf.concat([truth, model, error], 2))
    return videos

  def dream(self, data, seed, imagine, context=5):
    """Pictures of what the model expects of actions of the agent's own choice.

    Args:
      data: preprocessed rows [B, T, ...], of which the first `context` are used.
      seed: int32 [2], or None.
      imagine: function (states [B, ...], seed) -> states [B, L, ...] that follow.
      context: rows.
    Returns:
      Dict of image key to uint8 [context + L, H, B W, C]: what was seen, then the dream.
    """
    _, last = self._filter(data, seed, context)
    dreamt = self._pictures(imagine(last, seed))
    return {
        key: _side_by_side(tf.concat([data[key][:, :context] + 0.5, images_], 1))
        for key, images_ in dreamt.items()}

  def _filter(self, data, seed, context):
    """Posterior states of the first rows, [B, context, ...], and the last of them, [B, ...]."""
    post, _, _ = self.observe({key: value[:, :context] for key, value in data.items()}, seed)
    return post, {key: value[:, -1] for key, value in post.items()}

  def _pictures(self, *states):
    """Dict of image key to decoded images [B, T, H, W, C] in 0 to 1, of states one after another."""
    states = tf.nest.map_structure(lambda *parts: tf.concat(parts, 1), *states)
    decoded = self.decoder(self.rssm.get_feat(states))
    return {key: decoded[key].mode() + 0.5 for key in self.encoder.image_keys}

  def pcont(self, feat):
    """Probability that an episode goes on times gamma, [N...] (section 6).

    The constant gamma if `pcont` is off.
    """
    if self._config.pcont:
      return self.pcont_head(feat).mean()
    return self._config.discount * tf.ones(tf.shape(feat)[:-1], tf.float32)

  def starts(self, post):
    """States [N, ...] from which to imagine, without gradient (section 6).

    Every posterior of the batch; with pcont not the last of each chunk, which
    may be terminal. Index b * T + t.
    """
    def flatten(x):
      x = x[:, :-1] if self._config.pcont else x
      return tf.stop_gradient(tf.reshape(x, [-1] + list(x.shape[2:])))
    return tf.nest.map_structure(flatten, post)


def _side_by_side(pictures):
  """uint8 [T, H, B W, C] of float pictures [B, T, H, W, C] in 0 to 1."""
  video = tf.concat(tf.unstack(pictures, axis=0), 2)
  return tf.cast(tf.clip_by_value(255 * video, 0, 255), tf.uint8)


def free_nats(kl, free, mode):
  """Divergence float32 scalar beyond what is free, of a KL [B, T] in nats.

    mean:    max(mean KL, free)                 (Dreamer)
    element: mean max(0, KL - free)             (PlaNet)
  """
  if mode == 'element':
    return tf.reduce_mean(tf.nn.relu(kl - free))
  # The floor is under the mean of the whole batch, so replicas agree on it.
  mean = tf.reduce_mean(kl)
  held = replica_mean(mean) < free
  return tf.where(held, free, mean)


def replica_mean(x):
  """Mean of `x` over the devices that share a batch, with its gradient."""
  context = tf.distribute.get_replica_context()
  if context is None or context.num_replicas_in_sync == 1:
    return x
  return context.all_reduce(tf.distribute.ReduceOp.MEAN, x)


def make_dynamics(action_size, embed_size, config):
  """The latent model that the config names, such as rssm.RSSM."""
  latent = stochastic.GaussianLatent(
      config.stoch_size, config.rssm_min_std, config.shared_noise, config.mean_only)
  deter, act = config.deter_size, config.rssm_act
  hidden = deter if config.rssm_hidden == 'auto' else config.rssm_hidden
  heads = dict(split_heads=config.rssm_split_heads)
  if config.latent_model == 'ssm':
    return latents.SSM(action_size, embed_size, latent, hidden, act, **heads)
  if config.latent_model == 'drnn':
    return latents.DRNN(
        action_size, embed_size, latent, deter, hidden, config.rssm_gru, **heads)
  return rssm.RSSM(
      action_size, embed_size, latent, deter, hidden, act, config.rssm_layers,
      config.rssm_gru, future_rnn=config.future_rnn, **heads)


def fold(seed, name):
  """A seed int32 [2] for one purpose, from one that others use; None stays."""
  if seed is None:
    return None
  return tf.random.experimental.stateless_fold_in(seed, zlib.crc32(name.encode()) % 2 ** 31)


class Encoder(tf.Module):
  """Embedding of image and vector observations, images first."""

  def __init__(self, spaces, image_keys, vector_keys, config):
    super().__init__()
    self.image_keys, self.vector_keys = list(image_keys), list(vector_keys)
    self.embed_size = 0
    if image_keys:
      self.conv = nets.ConvEncoder(
          nets.stacked_shape(spaces, image_keys), config.cnn_depth,
          config.cnn_act)
      self.embed_size += self.conv.embed_size
    if vector_keys:
      size = sum(spaces[key].shape[0] for key in vector_keys)
      self.mlp = nets.MLP(
          size, config.mlp_layers, config.mlp_units, config.dense_act)
      self.embed_size += self.mlp.output_size

  def __call__(self, data):
    """Embed float [N..., E] of preprocessed observations [N..., *shape]."""
    outputs = []
    if self.image_keys:
      outputs.append(self.conv(
          tf.concat([data[key] for key in self.image_keys], -1)))
    if self.vector_keys:
      outputs.append(self.mlp(
          tf.concat([data[key] for key in self.vector_keys], -1)))
    return tf.concat(outputs, -1) if len(outputs) > 1 else outputs[0]


class Decoder(tf.Module):
  """One unit-variance Normal per observation key (spec sections 3 and 14.4)."""

  def __init__(self, feat_size, spaces, image_keys, vector_keys, config):
    super().__init__()
    self._image_keys, self._vector_keys = list(image_keys), list(vector_keys)
    self._channels = [spaces[key].shape[-1] for key in image_keys]
    if image_keys:
      self.conv = nets.ConvDecoder(
          feat_size, nets.stacked_shape(spaces, image_keys), config.cnn_depth,
          config.cnn_act)
    if vector_keys:
      self.mlp = nets.MLP(
          feat_size, config.mlp_layers, config.mlp_units, config.dense_act)
      self.outs = [
          nets.dense(self.mlp.output_size, spaces[key].shape[0])
          for key in vector_keys]

  def __call__(self, feat):
    """Dict of distributions over observations [N..., *shape] of [N..., F]."""
    outputs = {}
    if self._image_keys:
      means = tf.split(self.conv.mean(feat), self._channels, -1)
      for key, mean in zip(self._image_keys, means):
        outputs[key] = dists.normal(mean, 3)
    if self._vector_keys:
      x = self.mlp(feat)
      for key, out in zip(self._vector_keys, self.outs):
        outputs[key] = dists.normal(tf.cast(out(x), tf.float32), 1)
    return outputs
