"""Behaviour learning in imagination: actor, value and lambda-returns.

H horizon, L imagined states that count, N starts, A action, F features. Dreamer
paper, section 3; DreamerV2 paper, section 2. The actor climbs lambda-returns by
gradients through the learned dynamics, or by the score function; the value
function regresses them. Rewards come from a function of the features, so that
explorers can be paid by something else than the task.

    H = 4    start --a1--> s1 --a2--> s2 --a3--> s3 --a4--> s4
    feat                   feat[0]    feat[1]    feat[2]    feat[3]
    return                 R[0]       R[1]       R[2]       bootstrap value[3]
    weight                 1          p[0]       p[0]p[1]   no gradient
    s1 is paid reward[0]; reward[3] is not used; the start is not in feat.
    With imag_start (DreamerV2) feat[0] is the start, and everything moves by one.
"""

import collections

import tensorflow as tf

from common.config import schedules
from common.model import dists
from common.model import nets
from common.model import optimizer
from common.model.dynamics import scan


# What rewards are computed from, L imagined states that count: feat float [L, N, F], action
# [L, N, A] that led to it (zeros for the start), before [L, N, F], the feat that it was chosen in.
Imagined = collections.namedtuple('Imagined', 'feat action before')


class ActorCritic(tf.Module):
  """An actor and a value function that learn inside a world model."""

  def __init__(self, feat_size, action_size, config):
    super().__init__()
    self._config = config
    self.actor = nets.Actor(
        feat_size, action_size, config.action_dist, config.actor_layers,
        config.num_units, config.dense_act, config.action_init_std,
        config.actor_min_std, config.actor_mean_scale, config.norm,
        config.onehot_gradient)
    self.value = self._make_value(feat_size)
    if config.slow_value:
      self.slow_value = self._make_value(feat_size)
      self._updates = tf.Variable(0, trainable=False, dtype=tf.int64)
      self._copy_value(1.0)
    self.actor_optimizer = optimizer.make(
        {'actor': self.actor}, config.actor_lr, config)
    self.value_optimizer = optimizer.make(
        {'value': self.value}, config.value_lr, config)
    self._reinforces = config.actor_grad != 'dynamics'

  def _make_value(self, feat_size):
    c = self._config
    return nets.DenseHead(
        feat_size, (), c.value_layers, c.num_units, c.dense_act, norm=c.norm)

  def imagine(self, world_model, start, seed):
    """Roll the prior forward under the actor.

      a[i] ~ actor(stop_gradient(feat(s[i])));  s[i+1] ~ img_step(s[i], a[i])

    Args:
      world_model: gives `rssm` with img_step and get_feat.
      start: states [N, ...].
      seed: int32 [2], or None for zero noise.
    Returns:
      (feat, action, entropy, log_prob) float [H, N, F], [H, N, A] and [H, N]: feat[i]
      follows action[i]. The last two are of the actor that chose action[i], zero unless
      actor_ent or actor_grad ask for them; without a closed form the entropy is an estimate
      from one sample.
    """
    model = world_model.rssm

    def step(carry, _, seed):
      state, _, entropy, log_prob = carry
      seeds = dists.split_seed(seed, 2)
      dist = self.actor(tf.stop_gradient(model.get_feat(state)))
      if self._config.actor_ent:
        action, entropy = dist.sample_with_entropy(seeds[0])
      else:
        action = dist.sample(seeds[0])
      if self._reinforces:
        log_prob = self.log_prob(dist, action)
      action = tf.cast(action, model.dtype)
      return model.img_step(state, action, seeds[1]), action, entropy, log_prob
    count = tf.shape(tf.nest.flatten(start)[0])[0]
    zeros = tf.zeros([count])
    carry = (start, tf.zeros([count, self.actor.size], model.dtype), zeros, zeros)
    inputs = tf.zeros([self._config.horizon, 0])
    states, action, entropy, log_prob = scan(step, carry, inputs, seed)
    return model.get_feat(states), action, entropy, log_prob

  def log_prob(self, dist, action):
    """Log-probability [...] of an action that a distribution of the actor gave.

    Only the mixed gradient lets it depend on a continuous action (DreamerV2 paper, section 2). That of
    tanh_normal is the density of the action clipped short of -1 and 1, as published.
    """
    mixed = self._config.actor_grad == 'both'
    return dist.log_prob(action if mixed else tf.stop_gradient(action))

  def gradients(self, world_model, start, reward_fn, seed, start_pcont=None, frames=0):
    """Gradients of both losses on imagined trajectories; see `losses`.

    Args:
      world_model: gives `rssm` and pcont(feat).
      start: states [N, ...] without gradient.
      reward_fn: Imagined -> reward float32 [L, N].
      seed: int32 [2], or None.
      start_pcont: float32 [N], what is known of the starts; for imag_start.
      frames: of training so far, for schedules; a number or a float32 scalar.
    Returns:
      (grads, outputs, metrics): dict of `actor` and `value` gradients of the
      scaled losses; dict of action [H, N, A], feat [L, N, F], reward, value, pcont [L, N],
      returns and weight [L-1, N]; dict of float32 scalars. L is H, or H + 1 with imag_start.
    """
    with tf.GradientTape() as actor_tape:
      feat, action, entropy, log_prob = self.imagine(world_model, start, seed)
      first, led = world_model.rssm.get_feat(start)[None], action
      if self._config.imag_start:
        feat = tf.concat([first, feat], 0)
        led = tf.concat([tf.zeros_like(action[:1]), action], 0)
      before = tf.concat([first, feat[:-1]], 0)
      reward = reward_fn(Imagined(feat, led, before))               # [L, N]
      pcont = world_model.pcont(feat)                               # [L, N]
      if self._config.imag_start:
        pcont = tf.concat([start_pcont[None], pcont[1:]], 0)
      with tf.GradientTape() as value_tape:
        actor_loss, value_loss, outputs = self.losses(
            feat, reward, pcont, entropy, log_prob, frames)
        value_scaled = self.value_optimizer.scale_loss(value_loss)
      actor_scaled = self.actor_optimizer.scale_loss(actor_loss)
    grads = dict(
        value=value_tape.gradient(value_scaled, self.value_optimizer.variables_),
        actor=actor_tape.gradient(actor_scaled, self.actor_optimizer.variables_))
    outputs = dict(feat=feat, action=action, reward=reward, pcont=pcont, **outputs)
    metrics = dict(
        actor_loss=actor_loss, value_loss=value_loss, imag_reward=tf.reduce_mean(reward),
        imag_value=tf.reduce_mean(outputs['value']))
    return grads, outputs, metrics

  def losses(self, feat, reward, pcont, entropy, log_prob, frames=0):
    """Both losses on L imagined states (Dreamer paper, section 3; DreamerV2 paper, section 2).

      actor_loss = -mean(weight * (objective + actor_ent * entropy))
      value_loss = -mean(weight * log Normal(value, 1)(stop_gradient(R)))

      dynamics:  objective = R
      reinforce: objective = log_prob * stop_gradient(R - value of the state acted in)
      both:      objective = mix R + (1 - mix) log_prob * stop_gradient(...)

    The states follow the start or, with imag_start, begin with it: then the return R[0] of the
    start trains the value alone, as no action led to it.

    Args:
      feat: float [L, N, F].
      reward, pcont: float32 [L, N] of them.
      entropy, log_prob: float32 [H, N] of the actions, all of which led to a state of feat.
      frames: as in `gradients`.
    Returns:
      (actor_loss, value_loss, outputs): float32 scalars, and a dict of value [L, N],
      returns and weight [L-1, N].
    """
    c = self._config
    value_dist = self.value(feat)                                   # [L, N]
    value = (self.slow_value(feat) if c.slow_value else value_dist).mode()
    returns = self._returns(reward, value, pcont)                   # [L-1, N]
    weight = discount_weights(pcont)                                # [L-1, N]
    value_loss = -tf.reduce_mean(
        weight * value_dist[:-1].log_prob(tf.stop_gradient(returns)))
    objective = returns[1:] if c.imag_start else returns            # [H-1, N]
    if self._reinforces:
      paired = returns[:-1] if c.aligned_baseline else objective
      score = log_prob[:-1] * tf.stop_gradient(paired - value[:-2])
      mix = schedules.at(c.actor_grad_mix, frames)
      objective = mix * objective + (1 - mix) * score if c.actor_grad == 'both' else score
    if c.actor_ent:
      objective += schedules.at(c.actor_ent, frames) * entropy[:-1]
    actor_loss = -tf.reduce_mean(weight[:objective.shape[0]] * objective)
    return actor_loss, value_loss, dict(value=value, returns=returns, weight=weight)

  def after_update(self):
    """Let the slow value network follow, after updates 0, slow_value, 2 slow_value, ..."""
    if self._config.slow_value:
      due = self._updates % self._config.slow_value == 0
      # A share of zero leaves every weight as it is.
      self._copy_value(tf.where(due, self._config.slow_value_fraction, 0.0))
      self._updates.assign_add(1)

  def _copy_value(self, share):
    for slow, fast in zip(self.slow_value.variables, self.value.variables):
      slow.assign(share * fast + (1 - share) * slow)

  def _returns(self, reward, value, pcont):
    if self._config.use_value:
      last = bootstrap(value, self._config.get('lambda_bootstrap', 'last'))
      return lambda_return(
          reward[:-1], value[:-1], pcont[:-1], last, self._config.disclam)
    return lambda_return(
        reward[:-1], tf.zeros_like(value[:-1]), pcont[:-1], None, 1.0)


def lambda_return(reward, value, pcont, bootstrap, lambda_, axis=0):
  """Lambda-returns (Dreamer paper, equation 6).

    R[t] = reward[t] + pcont[t] ((1 - lambda) value[t+1] + lambda R[t+1])

  with value[T] = R[T] = bootstrap.

  Args:
    reward, value: float [T, ...] with time on `axis`.
    pcont: float of the same shape, or a number.
    bootstrap: float [...], the value after the last row; zeros if None.
    lambda_: 0 is one-step, 1 the discounted sum.
    axis: the time axis.
  Returns:
    float of reward's shape.
  """
  if isinstance(pcont, (int, float)):
    pcont = pcont * tf.ones_like(reward)
  order = [axis] + [i for i in range(reward.shape.rank) if i != axis]
  back = [order.index(i) for i in range(len(order))]
  reward, value, pcont = (
      tf.transpose(x, order) for x in (reward, value, pcont))
  if bootstrap is None:
    bootstrap = tf.zeros_like(value[-1])
  next_value = tf.concat([value[1:], bootstrap[None]], 0)
  inputs = reward + pcont * next_value * (1 - lambda_)
  returns, last = [], bootstrap
  for t in reversed(range(reward.shape[0])):
    last = inputs[t] + pcont[t] * lambda_ * last
    returns.append(last)
  return tf.transpose(tf.stack(returns[::-1], 0), back)


def bootstrap(value, kind='last'):
  """The value [...] of [L, ...] with which returns over L - 1 rows end.

  last: that of the state after them. authors: that of their own last state, as in the published
  code of Plan2Explore.
  """
  return value[-1] if kind == 'last' else value[-2]


def discount_weights(pcont):
  """Weights [L-1, N] of imagined steps: products of the pcont [L, N] before.

  weight[0] = 1, weight[i] = pcont[0] ... pcont[i-1]; without gradient.
  """
  ones = tf.ones_like(pcont[:1])
  return tf.stop_gradient(
      tf.math.cumprod(tf.concat([ones, pcont[:-2]], 0), 0))
