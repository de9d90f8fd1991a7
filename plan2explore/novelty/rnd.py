"""RND: error of a network that repeats a random one (Burda et al. 2018)."""
import tensorflow as tf

from common.model import nets
from plan2explore.novelty.labelled import Labelled
from plan2explore.novelty.scales import RunningStd


class RND(Labelled):
  """Error of a network that learns to repeat a fixed random one.

  rnd_input obs: of the observation itself, which imagination knows by the head; feat: of the
  latent features, directly.
  """

  UNITS, OUTPUTS, CLIP, PIXELS = 256, 64, 5.0, 16

  def __init__(self, world_model, action_size, config):
    del action_size
    super().__init__(world_model, config)
    self._encoder, self._by_feat = world_model.encoder, config.rnd_input == 'feat'
    size = world_model.rssm.feat_size if self._by_feat else (
        len(self._encoder.image_keys) * self.PIXELS ** 2 + sum(
            world_model.obs_space[key].shape[0] for key in self._encoder.vector_keys))
    self.target = nets.DenseHead(size, (self.OUTPUTS,), 2, self.UNITS)
    self.predictor = nets.DenseHead(size, (self.OUTPUTS,), 3, self.UNITS)
    self.scale = RunningStd()
    self.input_scale = RunningStd(size)

  def labellers(self):
    """The predictor; the target stays as it is."""
    return {'predictor': self.predictor}

  def label(self, rows):
    """mean over outputs of (predictor - target)^2, over its running spread: [B, T]."""
    inputs, seen = self._inputs(rows)
    error = self._error(inputs)
    label, stats = self.scale(tf.stop_gradient(error))
    return label, tf.reduce_mean(error), {**stats, **{f'input_{k}': v for k, v in seen.items()}}

  def reward(self, dream):
    """By the head, or by the error itself where features are what is compared."""
    if not self._by_feat:
      return super().reward(dream)
    return self._error(tf.cast(dream.feat, tf.float32)) / self.scale.spread()

  def update(self, stats):
    """The spread of the errors and of the observations."""
    prefix = 'input_'
    self.scale.update({k: v for k, v in stats.items() if not k.startswith(prefix)})
    self.input_scale.update({
        k[len(prefix):]: v for k, v in stats.items() if k.startswith(prefix)})

  def _error(self, inputs):
    # With the gradient of the target, too: dreams climb it, and nothing trains its weights.
    return tf.reduce_mean((self.predictor(inputs).mode() - self.target(inputs).mode()) ** 2, -1)

  def _inputs(self, rows):
    if self._by_feat:
      return tf.cast(rows['feat'], tf.float32), {}
    parts, lead = [], rows['data']['action'].shape[:2]
    for key in self._encoder.image_keys:
      image = tf.cast(rows['data'][key], tf.float32)
      gray = tf.reshape(tf.reduce_mean(image, -1), [-1, image.shape[2], image.shape[3], 1])
      window = image.shape[2] // self.PIXELS
      small = tf.nn.avg_pool2d(gray, window, window, 'VALID')
      parts.append(tf.reshape(small, [lead[0], lead[1], self.PIXELS ** 2]))
    parts += [tf.cast(rows['data'][key], tf.float32) for key in self._encoder.vector_keys]
    inputs = tf.concat(parts, -1)
    _, stats = self.input_scale(inputs)
    normed = (inputs - stats['mean']) / (self.input_scale.spread(stats) + 1e-4)
    return tf.clip_by_value(normed, -self.CLIP, self.CLIP), stats
