"""ICM: error of a forward model on features that tell actions apart (Pathak et al. 2017)."""
import tensorflow as tf

from common.model import nets
from plan2explore.novelty.labelled import Labelled
from plan2explore.novelty.scales import RunningStd


class ICM(Labelled):
  """Error of a forward model in features that tell which action was taken."""

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
    """1/2 mean over dimensions of (forward(phi[t-1], a[t]) - phi[t])^2 / spread, t = 1 to T - 1.

    The spread is that of these errors so far.
    """
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
