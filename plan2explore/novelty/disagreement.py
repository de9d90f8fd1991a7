"""Expected disagreement of an ensemble: what Plan2Explore pays (its paper, section 3.1)."""
import tensorflow as tf

from plan2explore import ensemble


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
