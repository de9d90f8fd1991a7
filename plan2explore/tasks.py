"""Tasks: an actor-critic on an imagined reward, and for further tasks the head that knows it."""

import tensorflow as tf

from common.model import dists
from common.model import nets
from common.model import optimizer
from common.model.actor_critic import ActorCritic


class Task(tf.Module):
  """The run's own task, whose reward the world model predicts."""

  def __init__(self, name, world_model, action_size, config):
    super().__init__()
    self.task, self.key = name, 'reward'
    self.world_model, self._suffix = world_model, ''
    self.behaviour = ActorCritic(world_model.rssm.feat_size, action_size, config)

  def reward(self, feat):
    """Distribution of the reward [N...] of features [N..., F]."""
    return self.world_model.reward(feat)

  def gradients(self, rows, starts, start_pcont, seed, frames=0):
    """Gradients by the name of the optimiser, and metrics.

    Args:
      rows: dict of filtered rows, see `novelty`.
      starts, start_pcont, frames: as in ActorCritic.gradients.
      seed: int32 [2], or None.
    """
    del rows
    grads, _, metrics = self.behaviour.gradients(
        self.world_model, starts, lambda dream: self.reward(dream.feat).mode(),
        dists.fold_seed(seed, self.task), start_pcont, frames)
    return self._named(grads), self._named(metrics)

  def optimizers(self):
    """Those of actor and value, by name."""
    return self._named({
        'actor': self.behaviour.actor_optimizer, 'value': self.behaviour.value_optimizer})

  def _named(self, values):
    return {f'{name}{self._suffix}': value for name, value in values.items()}


class SiblingTask(Task):
  """Another task of the same physics, whose rewards are stored beside the episodes.

  Its head reads the features without ever shaping them.
  """

  def __init__(self, name, world_model, action_size, config):
    super().__init__(name, world_model, action_size, config)
    self.key, self._suffix = f'reward/{name}', f'/{name}'
    self.head = nets.DenseHead(
        world_model.rssm.feat_size, (), config.reward_layers, config.num_units, config.dense_act,
        norm=config.norm)
    self.head_optimizer = optimizer.make({'head': self.head}, config.head_lr, config)

  def reward(self, feat):
    """By the task's own head."""
    return self.head(feat)

  def gradients(self, rows, starts, start_pcont, seed, frames=0):
    """As above, and those of the head."""
    grads, metrics = super().gradients(rows, starts, start_pcont, seed, frames)
    with tf.GradientTape() as tape:
      loss = -self.world_model.reward_likelihood(self.head, rows['feat'], rows['data'], self.key)
      scaled = self.head_optimizer.scale_loss(loss)
    head = {'head': tape.gradient(scaled, self.head_optimizer.variables_)}
    return {**grads, **self._named(head)}, {**metrics, **self._named({'reward_loss': loss})}

  def optimizers(self):
    """With that of the head."""
    return {**super().optimizers(), **self._named({'head': self.head_optimizer})}
