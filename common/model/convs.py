"""Convolutions of stride 2 without padding, in the forms that run fastest.

The arithmetic is that of the tf_keras layers that these extend. Kernels of CPUs want many channels:
there, neighbouring pixels of a row count as channels of one wider pixel, which costs nothing, as
they lie side by side in memory. On GPUs cuDNN chooses kernels for the plain form, so that only the
last layer of a decoder, of three channels, has another there: sub-pixels. `python -m
common.benchmark parts` times each layer.

N images, H and W their height and width, C channels.
"""

import tensorflow as tf
import tf_keras

FEW = 4      # output channels up to which a transposed convolution runs over sub-pixels
ENOUGH = 16  # channels from which on kernels of CPUs are busy


class Conv(tf_keras.layers.Conv2D):
  """A strided convolution.

  On a CPU, images of even width are read in pairs of pixels; where few filters would leave kernels
  idle, quads are read and pairs are made.
  """

  def __init__(self, filters, kernel, activation=None, columns=None):
    """columns: how many of the output are read by what follows; None is all."""
    super().__init__(filters, kernel, 2, activation=activation)
    self._columns = columns

  def call(self, x):
    """Float [N, H, W, C] to [N, (H - k) // 2 + 1, (W - k) // 2 + 1, filters].

    What nobody reads at the end of the rows may be left out.
    """
    size, filters = self.kernel_size[0], self.filters
    width, channels = x.shape[2:]
    kernel, bias = tf.cast(self.kernel, x.dtype), tf.cast(self.bias, x.dtype)
    strides, pairs = 2, 1
    if on_cpu() and width % 2 == size % 2 == 0 and channels >= ENOUGH // 2:
      x = tf.reshape(x, [-1, x.shape[1], width // 2, 2 * channels])
      kernel = tf.reshape(kernel, [size, size // 2, 2 * channels, filters])
      strides = [2, 1]
    elif on_cpu() and width % 4 == 0 and filters < ENOUGH and self._columns:
      wide = _widen(kernel)
      if self._columns <= 2 * (width // 4 - wide.shape[1] + 1):
        x = tf.reshape(x, [-1, x.shape[1], width // 4, 4 * channels])
        kernel, strides, pairs = wide, [2, 1], 2
    y = tf.nn.bias_add(tf.nn.conv2d(x, kernel, strides, 'VALID'), tf.tile(bias, [pairs]))
    return _activate(self.activation, y, [-1, y.shape[1], pairs * y.shape[2], filters])


class ConvTranspose(tf_keras.layers.Conv2DTranspose):
  """A transposed convolution.

  From 1x1 inputs it is one matrix product; with few output channels it is a convolution over output
  sub-pixels, because kernels for transposed convolutions waste most of their lanes on three
  channels; on a CPU it makes pairs of pixels of a row at once where it can.
  """

  def __init__(self, filters, kernel, activation=None):
    super().__init__(filters, kernel, 2, activation=activation)

  def call(self, x):
    """Float [N, H, W, C] to [N, 2H + k - 2, 2W + k - 2, filters]."""
    kernel, bias = tf.cast(self.kernel, x.dtype), tf.cast(self.bias, x.dtype)
    size, filters = self.kernel_size[0], self.filters
    if x.shape[1:3] == (1, 1):
      rows = tf.reshape(x, [-1, x.shape[-1]])
      y = tf.matmul(rows, tf.reshape(kernel, [-1, x.shape[-1]]), transpose_b=True)
      y = tf.nn.bias_add(tf.reshape(y, [-1, size, size, filters]), bias)
    elif filters <= FEW and size % 2 == 0:
      y = subpixel_conv_transpose(x, kernel, tf.convert_to_tensor(self.bias))
    elif on_cpu() and size % 2 == 0:
      kernel = tf.reshape(kernel, [size, size // 2, 2 * filters, x.shape[-1]])
      y = tf.nn.conv2d_transpose(x, kernel, _transposed_shape(x, kernel, [2, 1]), [2, 1], 'VALID')
      y = tf.nn.bias_add(y, tf.tile(bias, [2]))
    else:
      y = tf.nn.conv2d_transpose(x, kernel, _transposed_shape(x, kernel, [2, 2]), 2, 'VALID')
      y = tf.nn.bias_add(y, bias)
    return _activate(self.activation, y, _transposed_shape(x, self.kernel, [2, 2]))


def on_cpu():
  """Whether graphs run on a CPU."""
  return not tf.config.get_visible_devices('GPU')


def _activate(activation, y, shape):
  """Outputs in their shape, activated: before that unless layers of all channels are normalised.

  TensorFlow makes one kernel of a convolution, a bias and an activation that follow each other.
  """
  if activation is None:
    return tf.reshape(y, shape)
  if isinstance(activation, tf_keras.layers.Layer):
    return activation(tf.reshape(y, shape))
  return tf.reshape(activation(y), shape)


def _transposed_shape(x, kernel, strides):
  height, width = (strides[i] * (x.shape[i + 1] - 1) + kernel.shape[i] for i in (0, 1))
  return [tf.shape(x)[0], height, width, kernel.shape[2]]


@tf.custom_gradient
def subpixel_conv_transpose(x, kernel, bias):
  """Transposed convolution of x [N, H, W, I] by kernel [k, k, O, I], k even, plus bias [O].

  The bias keeps its type, and so does its gradient: a sum over all pixels can be beyond float16.

  An output pixel 2j + r only meets the taps 2p + r, so the four parities r are four output channel
  groups of one dense convolution with k/2 taps. The gradients are plain convolutions.
  """
  size, _, out, inputs = kernel.shape
  taps = size // 2
  # [p, r, p', r', O, I], taps reversed -> [p, p', I, r, r', O]
  sub = tf.reverse(tf.reshape(kernel, [taps, 2, taps, 2, out, inputs]), [0, 2])
  sub = tf.transpose(sub, [0, 2, 5, 1, 3, 4])
  sub = tf.reshape(sub, [taps, taps, inputs, 4 * out])
  pad = [taps - 1, taps - 1]
  y = tf.nn.conv2d(x, sub, 1, [[0, 0], pad, pad, [0, 0]])
  y = tf.nn.bias_add(y, tf.tile(tf.cast(bias, y.dtype), [4]))
  # [N H', W', r, r' O] -> [N H', r, W', r' O]. tf.nn.depth_to_space uses one core for the same.
  height, width = y.shape[1:3]
  y = tf.transpose(tf.reshape(y, [-1, width, 2, 2 * out]), [0, 2, 1, 3])
  y = tf.reshape(y, [-1, 2 * height, 2 * width, out])

  def grad(dy):
    # Pairs of inputs meet quads of outputs where their pixels fill a whole number of these.
    quads = on_cpu() and inputs < ENOUGH and x.shape[2] % 2 == 0 and size % 4 == 2
    dx, dkernel = (_gradients_by_quads if quads else _gradients)(x, kernel, dy)
    # By columns first: a sum that leaves three numbers runs on one core.
    columns = tf.reduce_sum(tf.reshape(tf.cast(dy, tf.float32), [-1, 2 * width * out]), 0)
    dbias = tf.reduce_sum(tf.reshape(columns, [-1, out]), 0)
    return dx, dkernel, tf.cast(dbias, bias.dtype)
  return y, grad


def _widen(kernel):
  """A kernel [k, k, A, B] for quads of the larger pixels, A channels, and pairs of the smaller.

  Pixel 2j + i of the smaller ones meets the larger 4j + 2i + c, c < k: the kernel has columns that
  are zero for either pixel of a pair. Float [k, (k + 2) / 4 rounded up, 4 A, 2 B].
  """
  size, _, large, small = kernel.shape
  columns = -(-(size + 2) // 4) * 4
  pad = lambda i: [[0, 0], [2 * i, columns - size - 2 * i], [0, 0], [0, 0]]
  wide = tf.stack([tf.pad(kernel, pad(i)) for i in (0, 1)], 3)
  return tf.reshape(wide, [size, columns // 4, 4 * large, 2 * small])


def _gradients(x, kernel, dy, strides=(2, 2)):
  """Those of the inputs and of the kernel, from those of the outputs."""
  dkernel = tf.raw_ops.Conv2DBackpropFilter(
      input=dy, filter_sizes=kernel.shape, out_backprop=x, strides=[1, *strides, 1],
      padding='VALID')
  return tf.nn.conv2d(dy, kernel, strides, 'VALID'), dkernel


def _gradients_by_quads(x, kernel, dy):
  """The same for few channels: two inputs are one pixel, and four outputs."""
  size, _, out, inputs = kernel.shape
  wide = _widen(kernel)
  dx, dwide = _gradients(
      tf.reshape(x, [-1, x.shape[1], x.shape[2] // 2, 2 * inputs]), wide,
      tf.reshape(dy, [-1, dy.shape[1], dy.shape[2] // 4, 4 * out]), (2, 1))
  dwide = tf.reshape(dwide, [size, -1, out, 2, inputs])
  dkernel = dwide[:, :size, :, 0] + dwide[:, 2:size + 2, :, 1]
  return tf.reshape(dx, [-1, *x.shape[1:]]), dkernel
