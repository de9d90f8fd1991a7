"""Images as environments give them, and in the size and dtype that agents see."""
import functools
from typing import NamedTuple

import gymnasium
import numpy as np

CHANNELS = 16  # at most; a longer axis is height or width
SIDE = 32      # pixels of a picture at least, where uint8 [H, W, C] does not say that it is one


class Form(NamedTuple):
  """How an observation is understood.

  Attributes:
    space: Box uint8 [H, W, C] of an image, else the declared one, of a vector.
    image: function of an array as declared that returns it as uint8 [H, W, C]; raises ValueError
      for values that are none. None for a vector.
    note: what people should know about it, or ''.
    unclear: why it cannot be used, and what to do; or ''.
  """
  space: object
  image: object = None
  note: str = ''
  unclear: str = ''


def is_image(space):
  """Return whether a Box holds images: uint8 with height, width and channels."""
  return space.dtype == np.uint8 and len(space.shape or ()) == 3


def form(key, space):
  """How observations of a declared Box are understood: returns Form.

  Images are uint8 [H, W, C]. Of what is larger than SIDE, channels at first, uint8 without channels,
  whole numbers from 0 to 255 and floats from 0 to 1 or 255 are converted. Other arrays in the form of
  pictures are unclear. The rest, such as matrices of floats, are vectors.
  """
  if not hasattr(space, 'low'):
    return Form(space)  # Discrete, which nobody is to select
  shape, where = tuple(space.shape), f'{key} is declared as {space.dtype} {list(space.shape)}'
  if len(shape) > 3 and sorted(shape)[-2] >= SIDE:
    return Form(space, unclear=(
        f'{where}, which looks like a stack of images. Stack them as channels, [height, width, '
        'channels], or give the last one'))
  axes = _axes(shape, space.dtype == np.uint8, _is_grey(space))
  if axes is None:
    small = len(shape) == 2 and _is_grey(space) and np.max(space.high) == 255
    return Form(space, note=(
        f'{where}: taken for a vector of numbers up to 255, as images have {SIDE} pixels a side or more'
        if small else ''))
  scale = _scale(space)
  if scale is None:
    return Form(space, unclear=(
        f'{where} from {np.min(space.low):.4g} to {np.max(space.high):.4g}, which looks like an '
        'image. Give it as uint8 from 0 to 255, or as one long vector'))
  flat = len(shape) == 3 and axes == (0, 1, 2) and shape[0] <= 4 < min(shape[1:])
  if flat and shape[2] > CHANNELS:
    return Form(space, unclear=(
        f'{where}, which would be an image {shape[0]} pixels high with {shape[2]} channels. Give it as '
        '[height, width, channels], or as one long vector'))
  notes = []
  if space.dtype != np.uint8 or scale != 1:
    notes.append(f'scaled by {scale:g}' if scale != 1 else 'as uint8')
  if flat:
    notes.append(f'{shape[0]} pixels high with {shape[2]} channels')
  if len(shape) == 2:
    notes.append('with one channel')
  elif axes != (0, 1, 2):
    notes.append('with its channels at first')
  full = shape + (1,) if len(shape) == 2 else tuple(shape[axis] for axis in axes)
  def image(value):
    # In float32, in which a uint8 that does not lie between 0 and 1 cannot wrap around.
    value = np.asarray(value) * np.float32(scale) if scale != 1 else value
    value = whole_image(key, value, space, scale)
    return value.reshape(full) if len(shape) == 2 else value.transpose(axes)
  note = f'{where}: taken for an image, {", ".join(notes)}' if notes else ''
  return Form(gymnasium.spaces.Box(0, 255, full, np.uint8), image, note)


def _axes(shape, pixels, grey):
  """The order of axes that gives height, width and channels; None if they hardly are that.

  pixels: they are uint8, which is an image with three axes.
  grey: they are an image with two, see `_is_grey`.
  """
  if len(shape) == 3 and min(shape[1:]) >= SIDE and shape[0] <= CHANNELS:
    return 1, 2, 0
  if len(shape) == 3 and (pixels or min(shape[:2]) >= SIDE and shape[2] <= CHANNELS):
    return 0, 1, 2
  return (0, 1, 2) if len(shape) == 2 and grey and min(shape) >= SIDE else None


def _is_grey(space):
  """Whether two axes are a picture: unsigned or whole numbers from 0 to 255. Others may be any table."""
  whole = space.dtype.kind == 'i' and np.min(space.low) == 0 and np.max(space.high) == 255
  return space.dtype.kind == 'u' or whole


def _scale(space):
  """What numbers of a Box are multiplied with to lie between 0 and 255; None if that is unclear."""
  low, high = np.min(space.low), np.max(space.high)
  if space.dtype == np.uint8:
    return 255 if high == 1 else 1
  if low == 0 and high == 255:
    return 1
  return 255 if low == 0 and high == 1 and space.dtype.kind == 'f' else None


def whole_image(key, value, space, scale=1):
  """An image as uint8, if its values say that it is one.

  Args:
    key: name of the observation.
    value: array [H, W, C] of any dtype.
    space: Box that declares it.
    scale: what floats that were given were multiplied with.
  Returns:
    uint8 [H, W, C].
  Raises:
    ValueError: floats where whole numbers are declared, or numbers that uint8 would wrap around.
  """
  if value.dtype == np.uint8:
    return value
  floats = scale != 1 or space.dtype.kind == 'f'
  kinds = 'iubf' if floats else 'iub'
  # What is calculated may be beyond by its rounding. NaN is not within.
  inside = not value.size or (value.min() > -0.5 and value.max() < 255.5)
  if value.dtype.kind not in kinds or not inside:
    held = f'{value.min() / scale:.7g} to {value.max() / scale:.7g}' if value.size else 'nothing'
    raise ValueError(
        f'{key} is {value.dtype} and holds {held}, declared is {space.dtype} from 0 to {255 / scale:g}')
  return np.rint(value).astype(np.uint8)


def pixels(key, value):
  """Images of which only the numbers tell what they are, as uint8: 0 to 255, or floats from 0 to 1.

  Raises:
    ValueError: they are neither, with the key.
  """
  if value.dtype == np.uint8:
    return value
  low, high = value.min(initial=0), value.max(initial=0)  # of nothing: 0
  if not 0 <= low <= high <= 255:  # NaN is not
    raise ValueError(f'{key} holds {low:.4g} to {high:.4g}, expected images from 0 to 255')
  scale = 255 if high <= 1 and value.dtype.kind == 'f' else 1
  return np.rint(value * np.float32(scale)).astype(np.uint8)


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
