"""Networks: image encoder and decoder, multilayer perceptrons, heads.

N any leading dimensions, H and W image height and width, C channels,
E embedding, F features. Layers come from tf_keras, are built with their input
sizes known, and compute in the dtype of the tf_keras policy; distributions
are always made from float32 parameters.
"""

import tensorflow as tf
import tf_keras

from common.model import convs
from common.model import dists

# ~/.keras/keras.json may say otherwise, for programs of the user.
tf_keras.backend.set_image_data_format('channels_last')
tf_keras.backend.set_floatx('float32')

ENCODER_KERNELS = (4, 4, 4, 4)
DECODER_KERNELS = (5, 5, 6, 6)


def activation(name):
  """The function called `name` (elu, relu, tanh, ..., or none) of tf_keras."""
  return tf_keras.activations.get(None if name == 'none' else name)


def dense(inputs, units, act='none', norm='none'):
  """A built Dense layer from `inputs` to `units` columns (Glorot, zero bias)."""
  layer = tf_keras.layers.Dense(units, finish(units, act, norm))
  layer.build([None, inputs])
  return layer


def finish(units, act, norm):
  """What follows the linear part of a layer of `units` columns: none or layer norm, then `act`."""
  return NormAct(units, act) if norm == 'layer' else activation(act)


class NormAct(tf_keras.layers.Layer):
  """Layer norm over the last axis in float32, then an activation."""

  def __init__(self, units, act='none'):
    super().__init__()
    self.norm = tf_keras.layers.LayerNormalization(epsilon=1e-3, dtype='float32')
    self.norm.build([None, units])
    self.act = activation(act)

  def call(self, x):
    """Float [N..., units] to the same, in the dtype of x."""
    rows = tf.reshape(tf.cast(x, tf.float32), [-1, x.shape[-1]])  # the rank that the norm was built for
    return self.act(tf.cast(tf.reshape(self.norm(rows), tf.shape(x)), x.dtype))


class SplitDense(tf.Module):
  """Two linear layers side by side: their outputs [N..., units / 2] concatenated.

  Unlike one layer of `units`, each half begins with weights of its own size (PlaNet).
  """

  def __init__(self, inputs, units):
    super().__init__()
    self.layers = [dense(inputs, units // 2) for _ in range(2)]

  def __call__(self, x):
    """Float [N..., inputs] to [N..., units]."""
    return tf.concat([layer(x) for layer in self.layers], -1)


def embed_size(image_size, depth):
  """Encoder output width for square images; 1024 for 64 pixels, depth 32.

  Raises ValueError if the four convolutions do not fit.
  """
  size = image_size
  for kernel in ENCODER_KERNELS:
    if size < kernel:
      raise ValueError(image_size)
    size = (size - kernel) // 2 + 1
  return size * size * 8 * depth


def stacked_shape(spaces, keys):
  """(H, W, C) of the images `keys` stacked on their channels."""
  shapes = [spaces[key].shape for key in keys]
  if len({shape[:2] for shape in shapes}) > 1:
    raise ValueError(f'images differ in size: {dict(zip(keys, shapes))}')
  return shapes[0][:2] + (sum(shape[-1] for shape in shapes),)


class ConvEncoder(tf.Module):
  """Four strided convolutions and a flatten (Dreamer paper, appendix A)."""

  def __init__(self, shape, depth=32, act='relu', norm='none'):
    """`shape` (H, W, C) of the images."""
    super().__init__()
    height, width, channels = shape
    if height != width:
      raise ValueError(f'images must be square, got {shape}')
    self.embed_size = embed_size(height, depth)
    self._shape = tuple(shape)
    self.layers = []
    for i, kernel in enumerate(ENCODER_KERNELS):
      filters = depth * 2 ** i
      out = (width - kernel) // 2 + 1
      read = None  # of the columns: strides of the next layer may leave the last one out
      if i + 1 < len(ENCODER_KERNELS):
        read = (out - ENCODER_KERNELS[i + 1]) // 2 * 2 + ENCODER_KERNELS[i + 1]
      layer = convs.Conv(filters, kernel, finish(filters, act, norm), read)
      layer.build([None, height, width, channels])
      self.layers.append(layer)
      channels, width, height = filters, out, out

  def __call__(self, image):
    """Float image [N..., H, W, C] in [-0.5, 0.5] to embed [N..., E]."""
    lead = tf.shape(image)[:-3]
    x = tf.reshape(image, (-1,) + self._shape)
    for layer in self.layers:
      x = layer(x)
    return tf.reshape(x, tf.concat([lead, [self.embed_size]], 0))


class ConvDecoder(tf.Module):
  """Dense layer and four transposed convolutions (Dreamer paper, appendix A).

  Makes 64x64 images with the published kernels.
  """

  def __init__(
      self, feat_size, shape=(64, 64, 3), depth=32, act='relu', norm='none', background=False):
    """background: add a picture that is learned pixel by pixel, zero at first, as `background`."""
    super().__init__()
    self._shape = tuple(shape)
    self._depth = depth
    self.background = tf.Variable(tf.zeros(shape), name='background') if background else None
    self.layers = [dense(feat_size, 32 * depth)]
    channels, size = 32 * depth, 1
    for i, kernel in enumerate(DECODER_KERNELS):
      last = i == len(DECODER_KERNELS) - 1
      filters = shape[-1] if last else depth * 2 ** (2 - i)
      layer = convs.ConvTranspose(
          filters, kernel, None if last else finish(filters, act, norm))
      layer.build([None, size, size, channels])
      self.layers.append(layer)
      channels, size = filters, 2 * (size - 1) + kernel
    if self._shape[:2] != (size, size):
      raise ValueError(f'the decoder makes {size}x{size} images, not {shape}')

  def mean(self, feat):
    """Mean image float32 [N..., H, W, C] of feat [N..., F]."""
    lead = tf.shape(feat)[:-1]
    x = self.layers[0](tf.reshape(feat, [-1, feat.shape[-1]]))
    x = tf.reshape(x, [-1, 1, 1, 32 * self._depth])
    for layer in self.layers[1:-1]:
      x = layer(x)
    # Keras' __call__ would cast the bias to float16, in which its gradient, a sum over all pixels,
    # overflows and holds down the scale of all losses.
    x = self.layers[-1].call(x)
    x = tf.cast(tf.reshape(x, tf.concat([lead, self._shape], 0)), tf.float32)
    return x if self.background is None else x + self.background

  def __call__(self, feat):
    """Normal(mean, 1) over images of feat [N..., F], event [H, W, C]."""
    return dists.normal(self.mean(feat), 3)


class MLP(tf.Module):
  """`layers` dense layers of `units`, all with `norm` and activation `act`."""

  def __init__(self, inputs, layers, units, act='elu', norm='none'):
    super().__init__()
    self.output_size = units if layers else inputs
    self.layers = []
    for _ in range(layers):
      self.layers.append(dense(inputs, units, act, norm))
      inputs = units

  def __call__(self, x):
    """Float [N..., inputs] to [N..., output_size]."""
    for layer in self.layers:
      x = layer(x)
    return x


class DenseHead(tf.Module):
  """MLP to a distribution over `shape` at each position (Dreamer paper, appendix A).

  kind `normal`: Normal(x, 1); `binary`: Bernoulli(logits=x).
  """

  def __init__(
      self, feat_size, shape, layers, units, act='elu', kind='normal', norm='none'):
    super().__init__()
    assert kind in ('normal', 'binary'), kind
    self._shape, self._kind = tuple(shape), kind
    self.mlp = MLP(feat_size, layers, units, act, norm)
    size = 1
    for dim in self._shape:
      size *= dim
    self.out = dense(self.mlp.output_size, size)

  @property
  def layers(self):
    """All dense layers, in the order of use."""
    return self.mlp.layers + [self.out]

  def __call__(self, feat):
    """Distribution over float [N..., *shape] of feat [N..., F]."""
    x = tf.cast(self.out(self.mlp(_rows(feat))), tf.float32)
    x = tf.reshape(x, tf.concat([tf.shape(feat)[:-1], self._shape], 0))
    dist = dists.binary if self._kind == 'binary' else dists.normal
    return dist(x, len(self._shape))


class Actor(tf.Module):
  """MLP to a distribution over actions [N..., A] (Dreamer paper, section 3).

  kind `tanh_normal` (Dreamer), `onehot`, or DreamerV2's `trunc_normal` and `tanh_normal_v2`,
  whose mean and std come from two layers.
  """

  def __init__(
      self, feat_size, size, kind='tanh_normal', layers=4, units=400, act='elu',
      init_std=5.0, min_std=1e-4, mean_scale=5.0, norm='none',
      onehot_gradient='straight_through'):
    super().__init__()
    assert kind in ('tanh_normal', 'onehot', 'trunc_normal', 'tanh_normal_v2'), kind
    self.size, self.kind = size, kind
    self._constants = (init_std, min_std, mean_scale)
    self._onehot_gradient = onehot_gradient
    self.mlp = MLP(feat_size, layers, units, act, norm)
    if kind in ('trunc_normal', 'tanh_normal_v2'):
      self.out = SplitDense(self.mlp.output_size, 2 * size)
    else:
      self.out = dense(self.mlp.output_size, 2 * size if kind == 'tanh_normal' else size)

  @property
  def layers(self):
    """All dense layers, in the order of use."""
    return self.mlp.layers + [self.out]

  def __call__(self, feat):
    """dists.TanhNormal, TruncNormal or OneHot over actions of feat [N..., F]."""
    x = tf.cast(self.out(self.mlp(_rows(feat))), tf.float32)
    x = tf.reshape(x, tf.concat([tf.shape(feat)[:-1], x.shape[-1:]], 0))
    if self.kind == 'onehot':
      return dists.OneHot(x, self._onehot_gradient)
    init_std, min_std, mean_scale = self._constants
    if self.kind == 'trunc_normal':
      return dists.TruncNormal.from_params(x, init_std, min_std)
    make = {
        'tanh_normal': dists.TanhNormal.from_params,
        'tanh_normal_v2': dists.TanhNormal.from_params_v2}[self.kind]
    return make(x, init_std, min_std, mean_scale)


def _rows(x):
  """[N..., F] as [rows, F], for which the kernels of dense layers are faster."""
  return tf.reshape(x, [-1, x.shape[-1]])
