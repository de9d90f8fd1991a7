"""Images as stored, and as the networks see them."""

import tensorflow as tf


def to_float(image, bits=0, noise=0.5):
  """Stored images to what encoders read and decoders aim at.

    bits 0:    image / 255 - 0.5                                            (Dreamer)
    otherwise: (floor(image / 2^(8 - bits)) + noise) / 2^bits - 0.5         (PlaNet)

  Args:
    image: uint8 [...].
    bits: colour depth that is kept, 1 to 8, or 0.
    noise: float [...] or number in [0, 1), uniform in training, against learning exact levels.
  Returns:
    float32 of the same shape, in [-0.5, 0.5].
  """
  image = tf.cast(image, tf.float32)
  if not bits:
    return image / 255.0 - 0.5
  return (tf.floor(image / 2 ** (8 - bits)) + noise) / 2 ** bits - 0.5


def from_float(image, bits=0):
  """The colours float32 [...] for display, in [0, 1] where the input was in range.

  The inverse of to_float without its noise: floor(2^bits (x + 0.5)) / 2^bits.
  """
  if not bits:
    return image + 0.5
  return tf.floor(2 ** bits * (image + 0.5)) / 2 ** bits


def to_uint8(image, bits=0):
  """from_float as uint8 [...], clipped: levels are multiples of 2^(8 - bits)."""
  scale = 256.0 if bits else 255.0
  # Rounded to the nearest: 255 (x / 255) can fall just below the whole number.
  colours = tf.round(from_float(image, bits) * scale)
  return tf.cast(tf.clip_by_value(colours, 0.0, 255.0), tf.uint8)


def uniform(shape, seed):
  """Noise for `to_float` of a stateless seed int32 [2]; the centre 0.5 for None."""
  if seed is None:
    return 0.5
  return tf.random.stateless_uniform(shape, seed)
