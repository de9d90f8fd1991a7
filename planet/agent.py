"""PlaNet: no policy and no value function, only the world model and a search in it.

Hafner et al. 2019, "Learning Latent Dynamics for Planning from Pixels". One update fits the world
model to a batch; every decision is planned anew.
"""

import tensorflow as tf

from common import agent
from common.config import UserError
from planet import planner


class PlaNet(agent.Agent):
  """The world model of `common` and the cross-entropy method."""

  def build(self):
    """The search as one compiled function. Raises UserError if actions are discrete."""
    if hasattr(self.act_space, 'n'):
      raise UserError(
          f'{self.config.task}: actions are discrete [{self.act_space.n}], but planet plans '
          'continuous ones only. Dreamer takes them: python -m dreamer.train.')
    self.plan = tf.function(
        self._plan, autograph=False, jit_compile=self.config.jit or None)

  def gradients(self, data, seed, phase='train', frames=0):
    """Gradients of the model on rows [B, T, ...]; see Agent."""
    grads, _, metrics = self.world_model.gradients(data, seed)
    return grads, metrics

  def act(self, latent, mode, seed):
    """The first actions of plans from latent states: [M, A]."""
    if mode == 'train' and self.config.expl == 'completely_random':
      # Noise replaces them.
      return tf.zeros([tf.shape(latent['stoch'])[0], self.action_size])
    return self.plan(latent, seed, mode)[:, 0]

  def imagine(self, latent, seed):
    """States [M, H, ...] that are expected along the plans from states [M, ...]."""
    return self.world_model.rssm.imagine(self.plan(latent, seed, 'eval'), seed, latent)

  def _plan(self, latent, seed, mode='train'):
    """Planned actions float32 [M, H, A] from latent states of M environments."""
    c, wm = self.config, self.world_model
    reward_fn = lambda states: wm.reward(wm.rssm.get_feat(states)).mode()
    effort = c.planner_eval_effort if mode == 'eval' else 1
    together = c.shared_noise or c.rssm_ensemble > 1  # all candidates have the same luck
    found = planner.plan(
        wm.rssm, reward_fn, latent, self.action_size, seed, horizon=c.planner_horizon,
        iterations=c.planner_iterations, amount=effort * c.planner_amount,
        topk=effort * c.planner_topk, discount=c.planner_discount,
        parts=1 if c.jit or together or effort * c.planner_amount % 2 else 2)
    return found.mean[-1]

  def optimizers(self):
    """That of the model, by name."""
    return self.world_model.optimizers()
