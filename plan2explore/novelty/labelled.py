"""What the baselines share: labels of replayed rows, and a head that knows them in dreams."""
import tensorflow as tf

from common.model import nets


class Labelled(tf.Module):
  """Base of those that label replayed rows, and pay by a head that learns the labels from feat."""

  def __init__(self, world_model, config):
    super().__init__()
    self._config = config
    self.head = nets.DenseHead(
        world_model.rssm.feat_size, (), config.reward_layers, config.num_units, config.dense_act,
        norm=config.norm)

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
