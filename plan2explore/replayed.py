"""The retrospective explorer: values of the novelty that was met, climbed by one imagined step."""

import tensorflow as tf

from common.config import schedules
from common.model import dists
from common.model.actor_critic import ActorCritic, Imagined, bootstrap, lambda_return


class ReplayedCritic(ActorCritic):
  """Its value function learns along replayed sequences (Plan2Explore paper, section 5.4).

    value_loss = -mean log Normal(value(feat[t]), 1)(R[t]),  R of the replayed rewards
    actor_loss = -mean value(feat of one imagined step) - actor_ent entropy
  """

  def gradients(self, world_model, rows, start, reward_fn, seed, frames=0):
    """As ActorCritic.gradients, on filtered rows (see `novelty`) and the starts in them.

    The outputs are the one imagined action [N, A], reward [L, B] and returns [L - 1, B] of the rows,
    where L is T, or T - 1 where the first row has no novelty.
    """
    first = lambda x: tf.concat([x[:1], x[:-1]], 0)
    swap = lambda x: tf.transpose(x, [1, 0, 2])
    feat = swap(rows['feat'])                                       # [T, B, F]
    action = tf.cast(swap(rows['data']['action']), feat.dtype)
    met, c = Imagined(feat, action, first(feat)), self._config
    if c.expl_behavior == 'plan2explore' and c.disag_input == 'feat':  # not seen before the first row
      met = Imagined(*(x[1:] for x in met))
    feat, reward = met.feat, tf.stop_gradient(reward_fn(met))
    with tf.GradientTape() as value_tape:
      dist = self.value(feat)
      value = (self.slow_value(feat) if self._config.slow_value else dist).mode()
      # Novelty goes on where an episode ended, as it does in dreams without pcont. Nor is a predicted
      # end asked for with it: what was met is known.
      returns = lambda_return(
          reward[:-1], value[:-1], self._config.discount,
          bootstrap(value, self._config.lambda_bootstrap), self._config.disclam)
      value_loss = -tf.reduce_mean(dist[:-1].log_prob(tf.stop_gradient(returns)))
      value_scaled = self.value_optimizer.scale_loss(value_loss)
    rssm, seeds = world_model.rssm, dists.split_seed(seed, 2)
    with tf.GradientTape() as actor_tape:
      chosen = self.actor(tf.stop_gradient(rssm.get_feat(start)))
      act, entropy = chosen.sample_with_entropy(seeds[0])
      ahead = rssm.img_step(start, tf.cast(act, rssm.dtype), seeds[1])
      reached = self.value(rssm.get_feat(ahead)).mode()
      weight = schedules.at(self._config.actor_ent, frames)
      actor_loss = -tf.reduce_mean(reached + weight * entropy)
      actor_scaled = self.actor_optimizer.scale_loss(actor_loss)
    grads = dict(
        value=value_tape.gradient(value_scaled, self.value_optimizer.variables_),
        actor=actor_tape.gradient(actor_scaled, self.actor_optimizer.variables_))
    metrics = dict(
        actor_loss=actor_loss, value_loss=value_loss, imag_value=tf.reduce_mean(reached))
    return grads, dict(action=act, reward=reward, returns=returns), metrics
