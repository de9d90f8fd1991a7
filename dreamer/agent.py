"""Dreamer: learns an actor and a value function in imagined latent rollouts.

Hafner et al. 2020, "Dream to Control", algorithm 1. One update fits the world
model to a batch, takes its posterior states as starts, dreams from them, and
improves actor and value on the dreams.
"""

import tensorflow as tf

from common import agent
from common.model import dists
from common.model.actor_critic import ActorCritic


class Dreamer(agent.Agent):
  """The world model of `common` and one actor-critic on the task's reward."""

  def build(self):
    """Make the actor-critic."""
    self.behaviour = ActorCritic(
        self.world_model.rssm.feat_size, self.action_size, self.config)

  def gradients(self, data, seed, phase='train', frames=0):
    """Gradients of model, actor and value on rows [B, T, ...]; see Agent."""
    seeds = dists.split_seed(seed, 3)
    wm = self.world_model
    model_grads, outputs, metrics = wm.gradients(data, seeds[0])
    reward_fn = lambda dream: wm.reward(dream.feat).mode()
    grads, _, more = self.behaviour.gradients(
        wm, wm.starts(outputs['post']), reward_fn, seeds[1], wm.start_pcont(data), frames)
    # Of the last state of each sequence only: the estimate takes 100 draws of each.
    last = self.behaviour.actor(tf.stop_gradient(outputs['feat'][:, -1]))
    entropy = (
        tf.zeros(()) if seed is None else tf.reduce_mean(last.entropy(seeds[2])))
    return {**model_grads, **grads}, {**metrics, **more, 'action_ent': entropy}

  def apply(self, grads):
    """Update model, actor and value, in this order; returns their norms."""
    norms = super().apply(grads)
    self.behaviour.after_update()
    return norms

  def act(self, latent, mode, seed):
    """A sample of the actor in training, its mode in evaluation: [M, A]."""
    dist = self.behaviour.actor(self.world_model.rssm.get_feat(latent))
    return dist.sample(seed) if mode == 'train' else dist.mode(seed)

  def optimizers(self):
    """The optimisers by name, in the order in which they are applied."""
    return {
        **self.world_model.optimizers(),
        'actor': self.behaviour.actor_optimizer,
        'value': self.behaviour.value_optimizer}
