"""Images as environments give them, and in the size and dtype that agents see."""
import functools

import numpy as np


def whole_image(key, value, space):
  """An image as uint8, if its values say that it is one.

  Args:
    key: name of the observation.
    value: array [H, W, C] of any dtype.
    space: Box, uint8.
  Returns:
    uint8 [H, W, C].
  Raises:
    ValueError: floats, or numbers that uint8 would wrap around.
  """
  if value.dtype == np.uint8:
    return value
  if value.dtype.kind not in 'iub' or value.size and (value.min() < 0 or value.max() > 255):
    held = f'{value.min():.4g} to {value.max():.4g}' if value.size else 'nothing'
    raise ValueError(
        f'{key} is {value.dtype} and holds {held}, declared is {space.dtype} from 0 to 255')
  return value.astype(np.uint8)


def resize(image, size):
  """Resize an image by averaging over areas.

  Args:
    image: uint8 [H, W, C].
    size: height and width of the result, pixels.
  Returns:
    uint8 [size, size, C].
  """
  height, width, channels = image.shape
  small = _overlap(height, size) @ image.reshape(height, -1).astype(np.float32)
  small = (_overlap(width, size, channels) @ small.T).T
  return np.rint(small).astype(np.uint8).reshape(size, size, channels)


@functools.lru_cache(maxsize=64)
def _overlap(source, target, channels=1):
  """Return which share of each of `target` cells the `source` pixels cover.

  A sparse float32 matrix [target channels, source channels]: few products, and none of the threads
  that dense ones would start in every process of an environment.
  """
  from scipy import sparse  # here, as most environments draw in the size that is asked for
  edges = np.linspace(0, source, target + 1)
  pixels = np.arange(source)
  shared = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
  shares = np.clip(shared, 0, None) * target / source
  return sparse.csr_matrix(np.kron(shares, np.eye(channels)).astype(np.float32))
