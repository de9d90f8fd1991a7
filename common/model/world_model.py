"""World model: encoder, latent dynamics, decoder, heads and their objective.

B batch, T time, N any leading dimensions, A action, E embed, F features.
Dreamer paper, section 4; DreamerV2 paper, section 2. The training batch and the observations of a
policy pass through the same `preprocess`.
"""

import math
import re

import tensorflow as tf

from common.model import dists
from common.model import divergence
from common.model import images
from common.model import latents
from common.model import nets
from common.model import observations
from common.model import optimizer
from common.model import overshooting

CONTEXT = 5  # rows that are seen before the model goes on alone


class WorldModel(tf.Module):
  """What all agents learn from replay: how the world looks, moves and pays."""

  def __init__(self, obs_space, action_size, config, partner=None):
    """Build all networks and their optimisers.

    Args:
      obs_space: name -> Box; images uint8 [H, W, C], vectors float32 [D].
      action_size: A.
      config: Config, as settled by devices.setup.
      partner: function of this model, called when its networks exist, that returns modules by
        name which share its optimiser though not its loss.
    """
    super().__init__()
    self._config, self.obs_space = config, obs_space
    self.encoder = observations.Encoder(obs_space, config)
    self.rssm = latents.make(action_size, self.encoder.embed_size, config)
    feat_size = self.rssm.feat_size
    parts = dict(encoder=self.encoder, rssm=self.rssm)
    if config.obs_loss == 'reconstruction':
      self.decoder = parts['decoder'] = observations.Decoder(feat_size, obs_space, config)
    elif config.obs_loss == 'contrastive':
      self.classifier = parts['classifier'] = observations.Classifier(
          self.encoder.embed_size, feat_size, config)
    head = lambda layers, kind: nets.DenseHead(
        feat_size, (), layers, config.num_units, config.dense_act, kind, config.norm)
    heads = dict(reward=head(config.reward_layers, 'normal'))
    self.reward = heads['reward']
    if config.pcont:
      self.pcont_head = heads['pcont'] = head(config.pcont_layers, 'binary')
    own_heads = config.head_opt == 'own'
    parts.update({} if own_heads else heads, **(partner(self) if partner else {}))
    self.optimizer = optimizer.make(
        parts, config.model_lr, config, config.model_lr_ramp)
    self.head_optimizer = None
    if own_heads:
      self.head_optimizer = optimizer.make(heads, config.head_lr, config)

  @property
  def obs_keys(self):
    """Names of the observations that the encoder reads."""
    return self.encoder.image_keys + self.encoder.vector_keys

  @property
  def observed_size(self):
    """Numbers in an observation, all keys together."""
    return sum(math.prod(self.obs_space[key].shape) for key in self.obs_keys)

  def optimizers(self):
    """The model's optimiser and, with head_opt own, that of the heads, by name."""
    own = {'heads': self.head_optimizer} if self.head_optimizer else {}
    return {'model': self.optimizer, **own}

  def preprocess(self, data, seed=None):
    """Rows as stored to rows as the networks see them.

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
        noise = images.uniform(tf.shape(value), dists.fold_seed(seed, key)) if bits else None
        data[key] = images.to_float(value, bits, noise)
      elif value.dtype != tf.bool:
        data[key] = tf.cast(value, tf.float32)
    clip = {'none': tf.identity, 'tanh': tf.tanh, 'sign': tf.sign}[self._config.clip_rewards]
    for key in data:
      if key.partition('/')[0] == 'reward':  # of the task, or reward/TASK
        data[key] = clip(data[key])
    return data

  def observe(self, data, seed):
    """Filter preprocessed rows [B, T, ...] into (post, prior, embed)."""
    embed = self.encoder(data)
    action = tf.cast(data['action'], embed.dtype)
    is_first = None
    if not self._config.first_action:
      is_first = tf.broadcast_to(tf.range(action.shape[1]) == 0, tf.shape(action)[:2])
    post, prior = self.rssm.observe(embed, action, seed, is_first=is_first)
    return post, prior, embed

  def loss(self, data, seed, grad_heads=None):
    """Objective of the world model on one batch (Dreamer paper, section 4).

      model_loss = kl_scale divergence(post, prior)
                   - sum over heads of scale * mean log-likelihood
                   + global_div_scale mean KL(post || fixed prior)
                   + overshooting_scale overshooting

    The last two are PlaNet's and off by default.

    Args:
      data: preprocessed rows [B, T, ...]: observations, action, reward,
        discount.
      seed: int32 [2], or None for zero noise.
      grad_heads: in place of that of the config.
    Returns:
      (loss, outputs): float32 scalar and a dict of post and prior states,
      embed, feat [B, T, F], obs_log_prob and kl [B, T], likes and terms (dicts of
      scalars), div_raw and div.
    """
    c = self._config
    post, prior, embed = self.observe(data, seed)
    feat = self.rssm.get_feat(post)                                 # [B, T, F]
    heads = c.grad_heads if grad_heads is None else grad_heads
    rows, likes = self._likes(feat, embed, data, heads)
    div, kl = divergence.loss(
        self.rssm, post, prior, c.free_nats, c.free_nats_mode, c.kl_balance, c.kl_forward)
    kl = self.rssm.kl(post, prior) if c.kl_forward else kl
    loss = c.kl_scale * div - sum(
        (c.reward_scale if key == 'reward' else 1.0) * like for key, like in likes.items())
    more = self._further_terms(post, data['action'], seed)
    loss += sum(scale * term for scale, term in more.values())
    outputs = dict(
        post=post, prior=prior, embed=embed, feat=feat, likes=likes, obs_log_prob=rows, kl=kl,
        div_raw=tf.reduce_mean(kl), div=div, terms={key: term for key, (_, term) in more.items()})
    return loss, outputs

  def _likes(self, feat, embed, data, grad_heads):
    """Log-likelihood of the observations [B, T], and dict of name to mean log-likelihoods.

    float32. That of pcont is times its scale; [B, T] is 0 without a decoder.
    """
    # A head that grad_heads leaves out learns from the features without shaping them.
    shape = lambda head, x: x if re.fullmatch(grad_heads, head) else tf.stop_gradient(x)
    seen_by = lambda head: shape(head, feat)
    likes, rows = {}, tf.zeros(tf.shape(feat)[:2])
    if self._config.obs_loss == 'reconstruction':
      for key, dist in self.decoder(seen_by('decoder')).items():
        like = dist.log_prob(data[key])
        rows += like
        likes[key] = tf.reduce_mean(like)
    elif self._config.obs_loss == 'contrastive':
      embed = shape('decoder', embed)
      likes['contrastive'] = self.classifier.log_likelihood(seen_by('decoder'), embed)
    likes['reward'] = self.reward_likelihood(self.reward, seen_by('reward'), data)
    if self._config.pcont:
      target = self._config.discount * data['discount']             # [B, T]
      likes['pcont'] = self._config.pcont_scale * tf.reduce_mean(
          self.pcont_head(seen_by('pcont')).log_prob(target))
    return rows, likes

  def reward_likelihood(self, head, feat, data, key='reward'):
    """Mean log-likelihood, float32 scalar, of the rewards in rows that count.

    Rows whose reward_mask is 0 do not; without such a key all do.
    """
    like = head(feat).log_prob(data[key])                           # [B, T]
    if 'reward_mask' not in data:
      return tf.reduce_mean(like)
    mask = data['reward_mask']
    count = divergence.replica_mean(tf.reduce_sum(mask))  # or a share with few would count for more
    return tf.math.divide_no_nan(tf.reduce_sum(mask * tf.where(mask > 0, like, 0.0)), count)

  def _further_terms(self, post, action, seed):
    """Dict of name to (scale, float32 scalar) of those terms that are switched on."""
    c, terms = self._config, {}
    if c.global_div_scale:
      standard = self.rssm.latent.standard(post)
      terms['global_div'] = (
          c.global_div_scale, tf.reduce_mean(self.rssm.kl(post, standard)))
    if c.overshooting_scale:
      if not c.first_action:  # the filter was not told of it
        action = tf.concat([tf.zeros_like(action[:, :1]), action[:, 1:]], 1)
      terms['overshooting'] = (c.overshooting_scale, overshooting.loss(
          self.rssm, post, action, c.overshooting_distance, c.free_nats,
          c.overshooting_norm, c.overshooting_stop_start, dists.fold_seed(seed, 'overshooting')))
    return terms

  def gradients(self, data, seed, grad_heads=None, frozen=False, extra=None):
    """Gradients of the scaled loss, for `optimizer.apply`.

    Args as in `loss`, and:
      frozen: only the heads learn, which needs head_opt own.
      extra: function of the outputs to a further loss, float32 scalar, of the model's optimiser.
    Returns:
      (grads, outputs, metrics): by the name of the optimiser one tensor per variable, the
      outputs of `loss`, and a dict of float32 scalars.
    """
    trained = {'heads': self.optimizers()['heads']} if frozen else self.optimizers()
    with tf.GradientTape(persistent=len(trained) > 1) as tape:
      loss, outputs = self.loss(data, seed, grad_heads)
      if extra:
        loss += extra(outputs)
      scaled = {name: opt.scale_loss(loss) for name, opt in trained.items()}
    grads = {
        name: tape.gradient(scaled[name], opt.variables_) for name, opt in trained.items()}
    metrics = {f'{key}_loss': -like for key, like in outputs['likes'].items()}
    metrics.update(outputs['terms'])
    entropy = lambda state: tf.reduce_mean(self.rssm.get_dist(state).entropy())
    metrics.update(
        model_loss=loss, kl=outputs['div_raw'], div=outputs['div'],
        prior_ent=entropy(outputs['prior']), post_ent=entropy(outputs['post']))
    return grads, outputs, metrics

  def open_loop(self, data, seed, context=CONTEXT):
    """Pictures of what the model expects (PlaNet paper, appendix H).

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
    for key, model in self.pictures(post, prior).items():
      truth = data[key] + 0.5
      error = (model - truth + 1) / 2
      videos[key] = _side_by_side(tf.concat([truth, model, error], 2))
    return videos

  def dream(self, data, seed, imagine, context=CONTEXT):
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
    dreamt = self.pictures(imagine(last, seed))
    return {
        key: _side_by_side(tf.concat([data[key][:, :context] + 0.5, images_], 1))
        for key, images_ in dreamt.items()}

  def _filter(self, data, seed, context):
    """Posterior states of the first rows, [B, context, ...], and the last of them, [B, ...]."""
    post, _, _ = self.observe({key: value[:, :context] for key, value in data.items()}, seed)
    return post, {key: value[:, -1] for key, value in post.items()}

  def pictures(self, *states):
    """Dict of image key to decoded images [B, T, H, W, C] in 0 to 1, of states one after another.

    Empty without a decoder.
    """
    if self._config.obs_loss != 'reconstruction':
      return {}
    states = tf.nest.map_structure(lambda *parts: tf.concat(parts, 1), *states)
    decoded = self.decoder(self.rssm.get_feat(states))
    return {key: decoded[key].mode() + 0.5 for key in self.encoder.image_keys}

  def pcont(self, feat):
    """Probability that an episode goes on times gamma, [N...] (Dreamer paper, appendix C).

    The constant gamma if `pcont` is off.
    """
    if self._config.pcont:
      return self.pcont_head(feat).mean()
    return self._config.discount * tf.ones(tf.shape(feat)[:-1], tf.float32)

  def starts(self, post):
    """States [N, ...] from which to imagine, without gradient (Dreamer paper, section 3).

    Every posterior of the batch; with pcont not the last of each chunk, which
    may be terminal, unless imag_start weighs it. Index b * T + t.
    """
    drop = self._config.pcont and not self._config.imag_start
    def flatten(x):
      x = x[:, :-1] if drop else x
      return tf.stop_gradient(tf.reshape(x, [-1] + list(x.shape[2:])))
    return tf.nest.map_structure(flatten, post)

  def start_pcont(self, data):
    """What is known of the starts that imag_start takes: gamma times discount, [N]."""
    known = data['discount'] if self._config.pcont else tf.ones_like(data['discount'])
    return self._config.discount * tf.reshape(known, [-1])


def _side_by_side(pictures):
  """uint8 [T, H, B W, C] of float pictures [B, T, H, W, C] in 0 to 1."""
  return images.to_uint8(tf.concat(tf.unstack(pictures, axis=0), 2) - 0.5)
