"""Plan2Explore: an explorer that is paid for expected novelty, and actors for tasks beside it.

Sekar et al. 2020, "Planning to Explore via Self-Supervised World Models". One update fits the
world model to a batch without letting rewards shape it, fits what measures novelty, improves the
explorer in dreams that are paid by novelty, and each task's actor in dreams that are paid by its
reward.

    phase explore   the explorer collects; rewards train their heads alone    (zero-shot: always)
    phase task      the task's actor collects; rewards shape the features     (few-shot: at last)
"""

import tensorflow as tf

from common import agent
from common import config as config_lib
from common.model import dists
from common.model import optimizer
from common.model.actor_critic import ActorCritic
from common.model.actor_critic import Imagined
from common.model.world_model import WorldModel
from plan2explore import novelty
from plan2explore import replayed
from plan2explore.novelty import random_explorer
from plan2explore.novelty import scales
from plan2explore.tasks import SiblingTask
from plan2explore.tasks import Task


class Plan2Explore(agent.Agent):
  """The world model of `common`, one actor-critic for novelty, and one for each task."""

  def make_world_model(self):
    """The world model, and what measures novelty, which may share its optimiser."""
    self.novelty = None
    def partner(world_model):
      self.novelty = novelty.make(world_model, self.action_size, self.config)
      return self.novelty.trained() if self._shared else {}
    return WorldModel(self.obs_space, self.action_size, self.config, partner)

  @property
  def _shared(self):
    """Whether the model's optimiser trains what measures novelty, too."""
    c = self.config
    return self.novelty is not None and (
        c.curiosity_shapes if c.expl_behavior == 'curiosity'
        else c.disag_opt == 'shared' and c.expl_behavior == 'plan2explore')

  def build(self):
    """Make the explorer, then the actors of tasks, to which it owes nothing, not even draws."""
    c, feat_size = self.config, self.world_model.rssm.feat_size
    self.novelty_optimizer = None
    if self.novelty:
      self.explorer = self._make_explorer(feat_size)
      self.reward_norm = scales.StreamNorm(c.intr_norm_momentum)
      if not self._shared:
        self.novelty_optimizer = optimizer.make(self.novelty.trained(), c.disag_lr, c)
    self.tasks = [Task(c.task, self.world_model, self.action_size, c)]
    self.tasks += [
        SiblingTask(name, self.world_model, self.action_size, c)
        for name, _ in config_lib.eval_tasks(c)[1:]]
    self.evaluation = 'eval_tasks' if len(self.tasks) > 1 else 'eval'

  def _make_explorer(self, feat_size):
    c = self.config
    if c.expl_replay:
      return replayed.ReplayedCritic(feat_size, self.action_size, c)
    # Without bootstrap the last imagined state is not counted, so one more makes the horizon.
    return ActorCritic(feat_size, self.action_size, c.replace(
        horizon=c.expl_horizon + (not c.expl_bootstrap), use_value=c.expl_bootstrap))

  def phase(self, frames):
    """explore, or task once `expl_until` frames are over, and for runs that begin there."""
    c = self.config
    if c.source or c.expl_behavior == 'greedy' or (c.expl_until and frames >= c.expl_until):
      return 'task'
    return 'explore'

  def noise(self, frames):
    """None on the uniform actions of the random explorer, and as much again on the authors'."""
    c = self.config
    if c.expl_behavior == 'random' and self.phase(frames) == 'explore':
      return 1.0 if c.random_style == 'authors' and not self.discrete else 0.0
    return super().noise(frames)

  @property
  def discrete(self):
    """Whether actions are one-hot."""
    return hasattr(self.act_space, 'n')

  @property
  def data_keys(self):
    """With the rewards of further tasks, and which rewards count if not all do."""
    mask = [] if self.config.seed_episode_rewards else ['reward_mask']
    return super().data_keys + [task.key for task in self.tasks[1:]] + mask

  def gradients(self, data, seed, phase='explore', frames=0):
    """Gradients of every part on rows [B, T, ...]; see Agent."""
    c, wm = self.config, self.world_model
    seeds = dists.split_seed(seed, 4)
    rows_of = lambda outputs: {'data': data, **tf.nest.map_structure(tf.stop_gradient, {
        key: outputs[key] for key in ('post', 'prior', 'embed', 'feat', 'obs_log_prob', 'kl')})}
    explores = self.novelty and not (c.expl_freeze and phase == 'task')
    extra = None
    if explores and c.expl_behavior == 'curiosity' and c.curiosity_shapes:
      extra = lambda outputs: self.novelty.loss(
          {**rows_of(outputs), 'feat': outputs['feat']}, None)[0]
    grads, outputs, metrics = wm.gradients(
        data, seeds[0], c.adapt_heads if phase == 'task' else c.grad_heads, c.snapshot, extra)
    rows, starts = rows_of(outputs), wm.starts(outputs['post'])
    start_pcont = wm.start_pcont(data)
    if explores:
      more_grads, more = self._explore(
          rows, starts, start_pcont, seeds[1], seeds[2], extra is not None, frames)
      # What shares the model's optimiser has gradients where the model has none.
      shared = more_grads.pop('shared', [None] * len(grads['model']))
      grads['model'] = [a if b is None else b for a, b in zip(grads['model'], shared)]
      grads.update(more_grads)
      metrics.update(more)
    for task in self.tasks:
      more_grads, more = task.gradients(rows, starts, start_pcont, seeds[3], frames)
      grads.update(more_grads)
      metrics.update(more)
    return grads, metrics

  def _explore(self, rows, starts, start_pcont, loss_seed, seed, fitted, frames):
    """Gradients of what measures novelty, and of the explorer that it pays.

    fitted: whether the world model's loss has had the former in it.
    """
    c, wm = self.config, self.world_model
    opt = wm.optimizer if self._shared else self.novelty_optimizer
    with tf.GradientTape() as tape:
      loss, metrics, stats = self.novelty.loss(rows, loss_seed)
      scaled = opt.scale_loss(loss)
    grads = {}
    if not fitted:
      grads['shared' if self._shared else 'novelty'] = tape.gradient(scaled, opt.variables_)
    paid = {}
    def reward_fn(dream):
      extrinsic = wm.reward(dream.feat).mode() if c.extr_scale else None
      paid['raw'] = self.novelty.reward(dream)
      reward, paid['mag'] = scales.shape_reward(paid['raw'], self.reward_norm, c, extrinsic)
      return reward
    if c.expl_replay:
      found = self.explorer.gradients(wm, rows, starts, reward_fn, seed, frames)
    else:
      found = self.explorer.gradients(wm, starts, reward_fn, seed, start_pcont, frames)
    learned, outputs, more = found
    grads.update(
        {f'expl_{name}': value for name, value in learned.items()}, stats=stats, mag=paid['mag'])
    raw = tf.stop_gradient(paid['raw'])
    metrics.update(
        expl_reward_mean=tf.reduce_mean(raw), expl_reward_std=tf.math.reduce_std(raw),
        expl_reward_max=tf.reduce_max(raw), expl_reward_first=tf.reduce_mean(raw[0]),
        expl_reward_last=tf.reduce_mean(raw[-1]), expl_actor_loss=more['actor_loss'],
        expl_value_loss=more['value_loss'], expl_imag_value=more['imag_value'])
    if not self.discrete:
      metrics['expl_saturation'] = tf.reduce_mean(
          tf.cast(tf.abs(outputs['action']) > 0.99, tf.float32))
    return grads, metrics

  def novelty_of(self, rows):
    """Raw novelty float32 numpy [B, T] of replayed rows, a dict of arrays [B, T, ...] as stored.

    That is the reward of having reached each row, for analysis; of the first, whose row before is not
    there, as if it had been the same. Needs an explorer that is paid.
    """
    wm = self.world_model
    data = wm.preprocess({key: tf.constant(rows[key]) for key in wm.obs_keys + ['action']})
    post, prior, _ = wm.observe(data, None)
    c = self.config
    unseen = c.expl_behavior == 'plan2explore' and c.disag_input == 'prior_feat'
    feat = wm.rssm.get_feat(prior if unseen else post)
    before = tf.concat([feat[:, :1], feat[:, :-1]], 1)
    return self.novelty.reward(
        Imagined(feat, tf.cast(data['action'], feat.dtype), before)).numpy()

  def apply(self, grads):
    """Update what has gradients; returns their norms."""
    norms = super().apply(grads)
    if 'mag' in grads:
      self.novelty.update(grads['stats'])
      self.reward_norm.update(grads['mag'])
      self.explorer.after_update()
    for task in self.tasks:
      task.behaviour.after_update()
    return norms

  def act(self, latent, mode, seed):
    """What the phase's actor samples; in evaluation the mode of the task's actor, [M, A].

    With eval_tasks environment e plays task e, so that M is their number.
    """
    feat = self.world_model.rssm.get_feat(latent)
    if mode == 'eval':
      return self.tasks[0].behaviour.actor(feat).mode(seed)
    if mode == 'eval_tasks':
      return tf.concat([
          task.behaviour.actor(feat[i:i + 1]).mode(seed) for i, task in enumerate(self.tasks)], 0)
    if mode == 'explore' and not self.novelty:
      return random_explorer.random_actions(
          [tf.shape(feat)[0], self.action_size], self.discrete, self.config.random_style, seed)
    behaviour = self.explorer if mode == 'explore' else self.tasks[0].behaviour
    return behaviour.actor(feat).sample(seed)

  def optimizers(self):
    """The optimisers by name, in the order in which they are applied."""
    found = self.world_model.optimizers()
    if self.config.snapshot:
      del found['model']
    if self.novelty_optimizer:
      found['novelty'] = self.novelty_optimizer
    if self.novelty:
      found.update(
          expl_actor=self.explorer.actor_optimizer, expl_value=self.explorer.value_optimizer)
    for task in self.tasks:
      found.update(task.optimizers())
    return found
