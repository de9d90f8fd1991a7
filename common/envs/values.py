"""What an environment may hand over: the one place where its values are judged."""
import contextlib

import numpy as np

# Gradients of the first layer grow with the square of what is seen, and their norm squares them
# once more: beyond this float32 ends.
LARGEST = 1e9
FAR = 1000  # times the smallest entry, or 1 if that is larger: where vectors are hard to learn from
WIDEST = 1e12  # bounds of actions


def far_apart(key, sizes):
  """Words about a vector whose entries networks learn badly from, or ''.

  Args:
    key: its name.
    sizes: array [n], largest absolute value of each entry.
  """
  large, small = np.max(sizes, initial=0.0), np.min(sizes[sizes > 0], initial=1.0)
  if large <= FAR * small:
    return ''
  return (
      f'{key}: entries reach from {np.min(sizes[sizes > 0]):.3g} to {large:.3g}. Networks learn badly '
      'from numbers that are large or far apart: divide them by their usual size, in the environment '
      'or by gymnasium.wrappers.TransformObservation')


def check_shapes(obs, like):
  """Raise ValueError if a dict of arrays has other shapes than that of the row before."""
  for key, value in obs.items():
    if key in like and value.shape != like[key].shape:
      raise ValueError(
          f'{key} has shape {list(value.shape)}, before it was {list(like[key].shape)}')


def problem(obs, discount):
  """What is wrong with a row that arrived, or an empty string.

  Args:
    obs: dict of arrays, `reward` among them; log_* is for analysis alone and may hold anything.
    discount: float.
  Returns:
    Words such as 'reward is nan', which name the key.
  """
  for key, value in obs.items():
    wrong = '' if key.startswith('log_') else _number(key, value)
    if wrong:
      return wrong
  if not 0 <= discount <= 1:  # NaN is not, either
    return f'discount is {discount:g}, expected 0 to 1'
  return ''


def _number(key, value):
  if value.dtype == np.uint8:
    return ''
  sound = np.abs(value) <= LARGEST  # NaN is not
  if sound.all():
    return ''
  worst = float(value[~sound].flat[0]) if value.ndim else float(value)
  beyond = f', beyond {LARGEST:g}' if np.isfinite(worst) else ''
  return f'{key} is {worst:g}{beyond}' if not value.ndim else f'{key} holds {worst:g}{beyond}'


def number(name, value):
  """Return a number, perhaps in an array of one entry, as a float.

  Raises:
    ValueError: it is something else; names it.
  """
  kind = getattr(getattr(value, 'dtype', None), 'kind', 'f')  # V is bfloat16
  if not isinstance(value, (str, bytes, bytearray)) and kind in 'biufVO':
    for take in (float, lambda x: float(np.asarray(x).item())):
      with contextlib.suppress(TypeError, ValueError, RuntimeError, OverflowError):
        return take(value)
  raise ValueError(f'{name} is {value!r}, expected one number')


def kinds(space):
  """Names of a space's classes, which are the same in Gymnasium and Gym."""
  return {kind.__name__ for kind in type(space).__mro__}


def bounded(space):
  """Whether actions can be scaled to a Box: each entry has two bounds within WIDEST."""
  return all(np.all(np.abs(np.asarray(x, np.float64)) <= WIDEST) for x in (space.low, space.high))
