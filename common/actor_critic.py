"""Behaviour learning in imagination: actor, value and lambda-returns.

H horizon, N start states, A action, F features. Spec section 6. The actor
climbs lambda-returns by gradients through the learned dynamics; the value
function regresses them. Rewards come from a function of the features, so that
explorers can be paid by something else than the task.

    H = 4    start --a1--> s1 --a2--> s2 --a3--> s3 --a4--> s4
    feat                   feat[0]    feat[1]    feat[2]    feat[3]
    return                 R[0]       R[1]       R[2]       bootstrap value[3]
    weight                 1          p[0]       p[0]p[1]   no gradient
    s1 is paid reward[0]; reward[3] is not used; the start is not in feat.
"""

import tensorflow as tf

from common import dists
from common import nets
from common import optimizer
from common.dynamics import scan


class ActorCritic(tf.Module):
  """An actor and a value function that learn inside a world model."""

  def __init__(self, feat_size, action_size, config):
    super().__init__()
    self._config = config
    self.actor = nets.Actor(
        feat_size, action_size, config.action_dist, config.actor_layers,
        config.num_units, config.dense_act, config.action_init_std,
        config.actor_min_std, config.actor_mean_scale)
    self.value = nets.DenseHead(
        feat_size, (), config.value_layers, config.num_units, config.dense_act)
    self.actor_optimizer = optimizer.make(
        {'actor': self.actor}, config.actor_lr, config)
    self.value_optimizer = optimizer.make(
        {'value': self.value}, config.value_lr, config)

  def imagine(self, world_model, start, seed):
    """Roll the prior forward under the actor.

      a[i] ~ actor(stop_gradient(feat(s[i])));  s[i+1] ~ img_step(s[i], a[i])

    Args:
      world_model: gives `rssm` with img_step and get_feat.
      start: states [N, ...].
      seed: int32 [2], or None for zero noise.
    Returns:
      (feat, action, entropy) float [H, N, F], [H, N, A] and [H, N]: feat[i]
      follows action[i]. The entropy is an estimate from one sample, and zero
      unless actor_ent asks for it.
    """
    model = world_model.rssm

    def step(carry, _, seed):
      state, _, entropy = carry
      seeds = dists.split_seed(seed, 2)
      dist = self.actor(tf.stop_gradient(model.get_feat(state)))
      if self._config.actor_ent:
        action, entropy = dist.sample_with_entropy(seeds[0])
      else:
        action = dist.sample(seeds[0])
      action = tf.cast(action, model.dtype)
      return model.img_step(state, action, seeds[1]), action, entropy
    count = tf.shape(start['stoch'])[0]
    carry = (start, tf.zeros([count, self.actor.size], model.dtype), tf.zeros([count]))
    inputs = tf.zeros([self._config.horizon, 0])
    states, action, entropy = scan(step, carry, inputs, seed)
    return model.get_feat(states), action, entropy

  def gradients(self, world_model, start, reward_fn, seed):
    """Gradients of both losses on imagined trajectories.

      actor_loss = -mean(weight * (R + actor_ent * entropy))
      value_loss = -mean(weight * log Normal(value, 1)(stop_gradient(R)))

    Args:
      world_model: gives `rssm` and pcont(feat).
      start: states [N, ...] without gradient.
      reward_fn: feat [H, N, F] -> reward float32 [H, N].
      seed: int32 [2], or None.
    Returns:
      (grads, outputs, metrics): dict of `actor` and `value` gradients of the
      scaled losses; dict of feat, action, reward, value, pcont [H, N], returns
      and weight [H-1, N]; dict of float32 scalars.
    """
    with tf.GradientTape() as actor_tape:
      feat, action, entropy = self.imagine(world_model, start, seed)
      reward = reward_fn(feat)                                      # [H, N]
      pcont = world_model.pcont(feat)                               # [H, N]
      with tf.GradientTape() as value_tape:
        value_dist = self.value(feat)                               # [H, N]
        value = value_dist.mode()
        returns = self._returns(reward, value, pcont)               # [H-1, N]
        weight = discount_weights(pcont)                            # [H-1, N]
        value_loss = -tf.reduce_mean(
            weight * value_dist[:-1].log_prob(tf.stop_gradient(returns)))
        value_scaled = self.value_optimizer.scale_loss(value_loss)
      objective = returns
      if self._config.actor_ent:
        objective += self._config.actor_ent * entropy[:-1]          # [H-1, N]
      actor_loss = -tf.reduce_mean(weight * objective)
      actor_scaled = self.actor_optimizer.scale_loss(actor_loss)
    grads = dict(
        value=value_tape.gradient(value_scaled, self.value_optimizer.variables_),
        actor=actor_tape.gradient(actor_scaled, self.actor_optimizer.variables_))
    outputs = dict(
        feat=feat, action=action, reward=reward, value=value, pcont=pcont,
        returns=returns, weight=weight)
    metrics = dict(
        actor_loss=actor_loss, value_loss=value_loss,
        imag_reward=tf.reduce_mean(reward), imag_value=tf.reduce_mean(value))
    return grads, outputs, metrics

  def _returns(self, reward, value, pcont):
    if self._config.use_value:
      return lambda_return(
          reward[:-1], value[:-1], pcont[:-1], value[-1], self._config.disclam)
    return lambda_return(
        reward[:-1], tf.zeros_like(value[:-1]), pcont[:-1], None, 1.0)


def lambda_return(reward, value, pcont, bootstrap, lambda_, axis=0):
  """Lambda-returns (spec section 6).

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


def discount_weights(pcont):
  """Weights [H-1, N] of imagined steps: products of the pcont [H, N] before.

  weight[0] = 1, weight[i] = pcont[0] ... pcont[i-1]; without gradient.
  """
  ones = tf.ones_like(pcont[:1])
  return tf.stop_gradient(
      tf.math.cumprod(tf.concat([ones, pcont[:-2]], 0), 0))
