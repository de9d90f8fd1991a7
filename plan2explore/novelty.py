"""What pays an explorer: disagreement, and the baselines' rewards for novelty.

B batch, T time, L imagined rows, N starts. Specification sections 2, 3 and 6. Every kind offers

  trained(): modules to optimise, by name.
  loss(rows, seed) -> (loss, metrics, stats): on what was filtered from a batch, gradients stopped.
  reward(dream) -> float32 [L, N]: of imagined states, see actor_critic.Imagined.
  update(stats): take over the running statistics, once an update is made.

`rows` has post and prior states, embed and feat [B, T, ...], the preprocessed data (observations
and action), obs_log_prob and kl [B, T].
"""

import math

import tensorflow as tf

from common import nets
from plan2explore import ensemble


def make(world_model, action_size, config):
  """The kind that config.expl_behavior names; None for those that are not paid."""
  kinds = {'plan2explore': Disagreement, 'curiosity': Curiosity, 'icm': ICM, 'rnd': RND}
  if config.expl_behavior not in kinds:
    return None
  return kinds[config.expl_behavior](world_model, action_size, config)


class Disagreement(tf.Module):
  """Expected disagreement of an ensemble of one-step predictors (Plan2Explore)."""

  def __init__(self, world_model, action_size, config):
    super().__init__()
    self._config, self._rssm = config, world_model.rssm
    feat = world_model.rssm.feat_size
    self._stoch = world_model.rssm.latent.size
    sizes = dict(
        embed=world_model.encoder.embed_size, stoch=self._stoch, deter=feat - self._stoch,
        feat=feat)
    target = sizes[config.disag_target]
    self.ensemble = ensemble.Ensemble(
        sizes['deter' if config.disag_input == 'deter' else 'feat'],
        0 if config.disag_action == 'none' else action_size, target, config.disag_models,
        config.disag_layers, config.disag_units or max(1, int(config.disag_width_factor * target)), config.disag_act,
        config.disag_action_skip,
        learned_std=config.disag_loss == 'nll_learned' or config.intr_reduce == 'jrd')

  def trained(self):
    """The ensemble."""
    return {'ensemble': self.ensemble}

  def loss(self, rows, seed):
    """Sum of the members' losses on pairs of rows."""
    c = self._config
    inputs, action, target, mask = ensemble.pairs(
        c.disag_action, c.disag_offset, self._inputs(rows), self._target(rows),
        rows['data']['action'], rows['data'].get('is_first'))
    batch = None
    if c.disag_bootstrap and seed is not None:
      batch = ensemble.bootstrap(c.disag_models, tf.shape(inputs)[0], seed)
    loss, losses = ensemble.loss(
        self.ensemble, inputs, action, target, c.disag_loss, batch, mask)
    metrics = {f'ensemble_loss_{i}': losses[i] for i in range(c.disag_models)}
    # A sample of what is paid in replay: the last pair of each sequence.
    last = lambda x: None if x is None else x[:, -1]
    mean, std = self.ensemble(last(inputs), last(action))
    paid = tf.reduce_mean(self._spread(mean, std))
    error = tf.reduce_mean((tf.reduce_mean(mean, 0) - tf.cast(last(target), tf.float32)) ** 2)
    metrics.update(
        ensemble_loss=loss, ensemble_error=error, expl_reward_replay=paid,
        disagreement=tf.reduce_mean(ensemble.disagreement(mean)),
        disagreement_to_error=tf.reduce_mean(ensemble.disagreement(mean)) / (error + 1e-8))
    return loss, metrics, {}

  def reward(self, dream):
    """Spread of the members' predictions of what follows each imagined action.

    With `past` or without action, as in DreamerV2, of what follows each imagined state.
    """
    c = self._config
    if c.disag_input == 'deter':
      inputs = dream.feat[..., self._stoch:]
    elif c.disag_offset and c.disag_action == 'next':
      inputs = dream.before
    else:
      inputs = dream.feat
    action = None if c.disag_action == 'none' else dream.action
    if not c.disag_reward_grad:
      inputs = tf.stop_gradient(inputs)
      action = None if action is None else tf.stop_gradient(action)
    return self._spread(*self.ensemble(inputs, action))

  def update(self, stats):
    """Nothing is kept."""

  def _spread(self, mean, std):
    c = self._config
    if c.intr_reduce == 'jrd':
      return ensemble.jensen_renyi(mean, std)
    return ensemble.disagreement(mean, c.intr_reduce, c.intr_ddof)

  def _inputs(self, rows):
    if self._config.disag_input == 'deter':
      return rows['prior']['deter']
    return rows['feat'] if self._config.disag_input == 'feat' else self._rssm.get_feat(
        rows['prior'])

  def _target(self, rows):
    target = self._config.disag_target
    if target in ('embed', 'feat'):
      return rows[target]
    return rows['post']['deter'] if target == 'deter' else self._rssm.latent.flat(rows['post'])


class Labelled(tf.Module):
  """Base of those that label replayed rows, and pay by a head that learns the labels from feat."""

  def __init__(self, world_model, config):
    super().__init__()
    self._config = config
    self.head = nets.DenseHead(
        world_model.rssm.feat_size, (), config.reward_layers, config.num_units, config.dense_act)

  def trained(self):
    """The head, and what the labels take."""
    return {'head': self.head, **self.labellers()}

  def labellers(self):
    """Modules that are trained for the labels, by name."""
    return {}

  def label(self, rows):
    """(labels float32 [B, T'] of the last T' rows, loss of the labellers, stats)."""
    raise NotImplementedError

  def loss(self, rows, seed):
    """The head's regression and the labellers' loss."""
    del seed
    labels, loss, stats = self.label(rows)
    labels = tf.stop_gradient(labels)
    feat = rows['feat'][:, rows['feat'].shape[1] - labels.shape[1]:]
    head_loss = -tf.reduce_mean(self.head(feat).log_prob(labels))
    metrics = dict(expl_head_loss=head_loss, expl_reward_replay=tf.reduce_mean(labels))
    return loss + head_loss, metrics, stats

  def reward(self, dream):
    """What the head expects of imagined states; the actor's gradient passes through it."""
    return self.head(dream.feat).mode()

  def update(self, stats):
    """Nothing is kept."""


class Curiosity(Labelled):
  """Error of the world model itself: how badly it saw a row coming (section 6.3)."""

  def __init__(self, world_model, action_size, config):
    del action_size
    super().__init__(world_model, config)
    self._constant = 0.0
    if config.curiosity_offset == 'removed':
      self._constant = 0.5 * world_model.observed_size * math.log(2 * math.pi)

  def label(self, rows):
    """curiosity_scale (-log p(o | f) - constant + max(0, KL - curiosity_free_nats)), [B, T]."""
    surprise = -rows['obs_log_prob'] - self._constant
    surprise += tf.maximum(0.0, rows['kl'] - self._config.curiosity_free_nats)
    return self._config.curiosity_scale * surprise, 0.0, {}


class ICM(Labelled):
  """Error of a forward model in features that tell which action was taken (section 6.3)."""

  UNITS, FORWARD = 256, 0.2

  def __init__(self, world_model, action_size, config):
    super().__init__(world_model, config)
    self.phi = nets.MLP(world_model.encoder.embed_size, 2, self.UNITS)
    net = lambda inputs, size: nets.DenseHead(inputs, (size,), 1, self.UNITS)
    self.inverse = net(2 * self.UNITS, action_size)
    self.forward = net(self.UNITS + action_size, self.UNITS)
    self.scale = RunningStd()

  def labellers(self):
    """Features, inverse and forward model."""
    return {'phi': self.phi, 'inverse': self.inverse, 'forward': self.forward}

  def label(self, rows):
    """1/2 mean over dimensions of (forward(phi[t-1], a[t]) - phi[t])^2, for t = 1 to T - 1."""
    phi = tf.cast(self.phi(rows['embed']), tf.float32)
    action = tf.cast(rows['data']['action'][:, 1:], tf.float32)
    told = self.inverse(tf.concat([phi[:, :-1], phi[:, 1:]], -1)).mode()
    inverse = tf.reduce_mean((told - action) ** 2)
    fixed = tf.stop_gradient(phi)
    expected = self.forward(tf.concat([fixed[:, :-1], action], -1)).mode()
    error = 0.5 * tf.reduce_mean((expected - fixed[:, 1:]) ** 2, -1)         # [B, T-1]
    loss = (1 - self.FORWARD) * inverse + self.FORWARD * tf.reduce_mean(error)
    label, stats = self.scale(tf.stop_gradient(error))
    return label, loss, stats

  def update(self, stats):
    """The spread of the errors."""
    self.scale.update(stats)


class RND(Labelled):
  """Error of a network that learns to repeat a fixed random one (section 6.6).

  rnd_input obs: of the observation itself, which imagination knows by the head; feat: of the
  latent features, directly.
  """

  UNITS, OUTPUTS, CLIP, PIXELS = 256, 64, 5.0, 16

  def __init__(self, world_model, action_size, config):
    del action_size
    super().__init__(world_model, config)
    self._encoder, self._by_feat = world_model.encoder, config.rnd_input == 'feat'
    size = world_model.rssm.feat_size if self._by_feat else (
        len(self._encoder.image_keys) * self.PIXELS ** 2 + sum(
            world_model.obs_space[key].shape[0] for key in self._encoder.vector_keys))
    self.target = nets.DenseHead(size, (self.OUTPUTS,), 2, self.UNITS)
    self.predictor = nets.DenseHead(size, (self.OUTPUTS,), 3, self.UNITS)
    self.scale = RunningStd()
    self.input_scale = RunningStd(size)

  def labellers(self):
    """The predictor; the target stays as it is."""
    return {'predictor': self.predictor}

  def label(self, rows):
    """mean over outputs of (predictor - target)^2, over its running spread: [B, T]."""
    inputs, seen = self._inputs(rows)
    error = self._error(inputs)
    label, stats = self.scale(tf.stop_gradient(error))
    return label, tf.reduce_mean(error), {**stats, **{f'input_{k}': v for k, v in seen.items()}}

  def reward(self, dream):
    """By the head, or by the error itself where features are what is compared."""
    if not self._by_feat:
      return super().reward(dream)
    return self._error(tf.cast(dream.feat, tf.float32)) / self.scale.spread()

  def update(self, stats):
    """The spread of the errors and of the observations."""
    prefix = 'input_'
    self.scale.update({k: v for k, v in stats.items() if not k.startswith(prefix)})
    self.input_scale.update({
        k[len(prefix):]: v for k, v in stats.items() if k.startswith(prefix)})

  def _error(self, inputs):
    target = tf.stop_gradient(self.target(inputs).mode())
    return tf.reduce_mean((self.predictor(inputs).mode() - target) ** 2, -1)

  def _inputs(self, rows):
    if self._by_feat:
      return tf.cast(rows['feat'], tf.float32), {}
    parts, lead = [], rows['data']['action'].shape[:2]
    for key in self._encoder.image_keys:
      image = tf.cast(rows['data'][key], tf.float32)
      gray = tf.reshape(tf.reduce_mean(image, -1), [-1, image.shape[2], image.shape[3], 1])
      window = image.shape[2] // self.PIXELS
      small = tf.nn.avg_pool2d(gray, window, window, 'VALID')
      parts.append(tf.reshape(small, [lead[0], lead[1], self.PIXELS ** 2]))
    parts += [tf.cast(rows['data'][key], tf.float32) for key in self._encoder.vector_keys]
    inputs = tf.concat(parts, -1)
    _, stats = self.input_scale(inputs)
    normed = (inputs - stats['mean']) / (self.input_scale.spread(stats) + 1e-4)
    return tf.clip_by_value(normed, -self.CLIP, self.CLIP), stats


class RunningStd(tf.Module):
  """Moving mean and spread, by which numbers of unknown scale are divided."""

  MOMENTUM = 0.99

  def __init__(self, size=None):
    """size: None for one spread of everything, or the columns with one of each."""
    super().__init__()
    shape = [] if size is None else [size]
    self.mean = tf.Variable(tf.zeros(shape), trainable=False)
    self.square = tf.Variable(tf.zeros(shape), trainable=False)
    self.weight = tf.Variable(0.0, trainable=False)  # how much of both has come in so far

  def __call__(self, x):
    """(x over the spread, new statistics) of float32 [N...] or [N..., size]."""
    axes = list(range(x.shape.rank - self.mean.shape.rank))
    blend = lambda old, new: self.MOMENTUM * old + (1 - self.MOMENTUM) * new
    weight = blend(self.weight, 1.0)
    # Unbiased while little has come in.
    mean = blend(self.weight * self.mean, tf.reduce_mean(x, axes)) / weight
    square = blend(self.weight * self.square, tf.reduce_mean(x ** 2, axes)) / weight
    stats = dict(mean=mean, square=square, weight=weight)
    return x / self.spread(stats), stats

  def spread(self, stats=None):
    """Standard deviation by the given statistics, or by those so far; 1 before there are any."""
    stats = stats or dict(mean=self.mean, square=self.square, weight=self.weight)
    spread = tf.sqrt(tf.maximum(stats['square'] - stats['mean'] ** 2, 1e-8))
    return tf.where(stats['weight'] > 0, spread, 1.0)

  def update(self, stats):
    """Take over statistics that are finite."""
    for name, value in stats.items():
      old = getattr(self, name)
      old.assign(tf.where(tf.reduce_all(tf.math.is_finite(value)), value, old))


class StreamNorm(tf.Module):
  """Division by a running mean of magnitudes (DreamerV2): x / (mag + eps) * scale.

    mag = momentum mag + (1 - momentum) mean |x|,  1 at first and so for ever if momentum is 1.
  """

  def __init__(self, momentum=1.0, scale=1.0, eps=1e-8):
    super().__init__()
    self._momentum, self._scale, self._eps = momentum, scale, eps
    self.mag = tf.Variable(1.0, trainable=False)

  def __call__(self, x):
    """(normed float32, new mag) of float32 [N...]."""
    size = tf.stop_gradient(tf.reduce_mean(tf.abs(x)))
    mag = self._momentum * self.mag + (1 - self._momentum) * size
    return x / (mag + self._eps) * self._scale, mag

  def update(self, mag):
    """Take over a magnitude that is finite."""
    self.mag.assign(tf.where(tf.math.is_finite(mag), mag, self.mag))


def shape_reward(raw, norm, config, extrinsic=None):
  """(reward, new mag) that explorers are paid for raw novelty float32 [L, N] (section 3).

    intr_scale norm(log raw or raw) + extr_scale extrinsic
  """
  if config.intr_log:
    raw = tf.math.log(raw + 1e-8)
  normed, mag = norm(raw)
  reward = config.intr_scale * normed
  return (reward if extrinsic is None else reward + config.extr_scale * extrinsic), mag


def random_actions(shape, discrete, style, seed):
  """Actions float32 [M, A] of the random explorer (section 6.1).

  uniform in [-1, 1] or over classes; authors: Normal(0, 1) clipped, before their noise.
  """
  if discrete:
    index = tf.random.stateless_uniform(shape[:1], seed, 0, shape[1], tf.int32)
    return tf.one_hot(index, shape[1])
  if style == 'uniform':
    return tf.random.stateless_uniform(shape, seed, -1.0, 1.0)
  return tf.clip_by_value(tf.random.stateless_normal(shape, seed), -1.0, 1.0)
