"""What is seen: embeddings of observations, and what the latent state must say of them.

N any leading dimensions, E embed, F features. Observations are either reconstructed by a decoder
or told apart by a classifier (Dreamer paper, section 4).
"""

import re

import tensorflow as tf

from common.model import dists
from common.model import nets


def select(pattern, spaces, rank):
  """Names of the spaces of `rank` dimensions that match a regular expression."""
  return [
      key for key, space in sorted(spaces.items())
      if len(space.shape) == rank and re.fullmatch(pattern, key)]


class Encoder(tf.Module):
  """Embedding of image and vector observations, images first."""

  def __init__(self, spaces, config):
    """spaces: name -> Box. cnn_keys and mlp_keys of the config choose among them."""
    super().__init__()
    self.image_keys = select(config.cnn_keys, spaces, 3)
    self.vector_keys = select(config.mlp_keys, spaces, 1)
    self.embed_size = 0
    if self.image_keys:
      self.conv = nets.ConvEncoder(
          nets.stacked_shape(spaces, self.image_keys), config.cnn_depth,
          config.cnn_act, config.norm)
      self.embed_size += self.conv.embed_size
    if self.vector_keys:
      size = sum(spaces[key].shape[0] for key in self.vector_keys)
      self.mlp = nets.MLP(
          size, config.mlp_layers, config.mlp_units, config.dense_act, config.norm)
      self.embed_size += self.mlp.output_size

  def __call__(self, data):
    """Embed float [N..., E] of preprocessed observations [N..., *shape]."""
    outputs = []
    if self.image_keys:
      outputs.append(self.conv(
          tf.concat([data[key] for key in self.image_keys], -1)))
    if self.vector_keys:
      outputs.append(self.mlp(
          tf.concat([data[key] for key in self.vector_keys], -1)))
    return tf.concat(outputs, -1) if len(outputs) > 1 else outputs[0]


class Decoder(tf.Module):
  """One unit-variance Normal per observation key (Dreamer paper, section 4)."""

  def __init__(self, feat_size, spaces, config):
    """spaces: as of the encoder; the same keys are decoded."""
    super().__init__()
    self._image_keys = select(config.cnn_keys, spaces, 3)
    self._vector_keys = select(config.mlp_keys, spaces, 1)
    self._channels = [spaces[key].shape[-1] for key in self._image_keys]
    if self._image_keys:
      self.conv = nets.ConvDecoder(
          feat_size, nets.stacked_shape(spaces, self._image_keys), config.cnn_depth,
          config.cnn_act, config.norm, config.image_background)
    if self._vector_keys:
      self.mlp = nets.MLP(
          feat_size, config.mlp_layers, config.mlp_units, config.dense_act, config.norm)
      self.outs = [
          nets.dense(self.mlp.output_size, spaces[key].shape[0])
          for key in self._vector_keys]

  def draw_on(self, mean):
    """Begin the background, if there is one (image_background).

    mean: function of an image key to the mean of its pictures, [H, W, C] in 0 to 255.
    """
    if self._image_keys and self.conv.background is not None:
      pictures = tf.concat([mean(key) for key in self._image_keys], -1)
      self.conv.background.assign(tf.cast(pictures / 255 - 0.5, tf.float32))

  def __call__(self, feat):
    """Dict of distributions over observations [N..., *shape] of [N..., F]."""
    outputs = {}
    if self._image_keys:
      means = tf.split(self.conv.mean(feat), self._channels, -1)
      for key, mean in zip(self._image_keys, means):
        outputs[key] = dists.normal(mean, 3)
    if self._vector_keys:
      x = self.mlp(feat)
      for key, out in zip(self._vector_keys, self.outs):
        outputs[key] = dists.normal(tf.cast(out(x), tf.float32), 1)
    return outputs


class Classifier(tf.Module):
  """Tells which observation of a batch a latent state belongs to (Dreamer paper, section 4).

    mean over i of log q(feat[i] | o[i]) - log sum_j q(feat[i] | o[j]) / R

  a bound of the mutual information of states and observations (noise-contrastive estimation)
  that takes the place of the decoder. q is a unit-variance Normal around what a network makes of
  the embedding; R rows are compared.
  """

  def __init__(self, embed_size, feat_size, config):
    super().__init__()
    self.head = nets.DenseHead(
        embed_size, (feat_size,), 1, config.num_units, config.dense_act, norm=config.norm)

  def log_likelihood(self, feat, embed):
    """The bound, float32 scalar, of feat [N..., F] and embed [N..., E] of the same rows."""
    state = tf.reshape(tf.cast(feat, tf.float32), [-1, feat.shape[-1]])      # [R, F]
    mean = tf.reshape(self.head(embed).mean(), [-1, feat.shape[-1]])         # [R, F]
    # log q up to what is equal for all observations: -|state - mean|^2 / 2.
    score = tf.matmul(state, mean, transpose_b=True)                         # [R, R]
    score -= 0.5 * tf.reduce_sum(mean ** 2, -1)
    rows = tf.cast(tf.shape(state)[0], tf.float32)
    return tf.reduce_mean(
        tf.linalg.diag_part(score) - tf.reduce_logsumexp(score, -1)) + tf.math.log(rows)
