"""Numbers that change as training goes on, written into configs as text.

    linear(A,B,N)    from A to B over N frames
    exp(A,B,N)       from A towards B, half of what is left in every N frames
    warmup(N,A)      from 0 to A over N frames
    horizon(A,B,N)   1 - 1 / h, where h goes from A to B over N frames

N is 1 or more, and horizons are above 0. As in DreamerV2's published code, but in frames.
Nothing here imports TensorFlow.
"""
import math
import re

KINDS = {'linear': 3, 'exp': 3, 'warmup': 2, 'horizon': 3}  # how many numbers each has
FORMS = 'linear(A,B,FRAMES), exp(A,B,FRAMES), warmup(FRAMES,A) or horizon(A,B,FRAMES)'


def parse(value):
  """(kind, list of its numbers) of the text of a schedule; None for anything else."""
  match = re.fullmatch(r'\s*(\w+)\s*\(([^()]*)\)\s*', value) if isinstance(value, str) else None
  if not match or match[1] not in KINDS:
    return None
  try:
    numbers = [float(word) for word in match[2].split(',')]
  except ValueError:
    return None
  length = numbers[0 if match[1] == 'warmup' else -1]
  if len(numbers) != KINDS[match[1]] or not all(map(math.isfinite, numbers)) or length < 1:
    return None
  if match[1] == 'horizon' and min(numbers) <= 0:  # between which 1 / h would have no bound
    return None
  return match[1], numbers


def at(value, frames):
  """The number after `frames` of training, a number or a float32 scalar tensor.

  value: a number, which stays what it is, or the text of a schedule.
  """
  found = parse(value)
  if found is None:
    return value
  kind, numbers = found
  if kind == 'warmup':
    return numbers[1] * _share(frames / numbers[0])
  first, last, length = numbers
  if kind == 'exp':
    return (first - last) * 0.5 ** (frames / length) + last
  number = first + (last - first) * _share(frames / length)
  return 1 - 1 / number if kind == 'horizon' else number


def ends(value):
  """The numbers between which a schedule moves, for a check of bounds; see `parse`."""
  kind, numbers = parse(value)
  if kind == 'warmup':
    return 0.0, numbers[1]
  if kind == 'horizon':
    return tuple(1 - 1 / number for number in numbers[:2])
  return tuple(numbers[:2])


def _share(x):
  """x, which is not negative, but at most 1: for numbers and tensors alike, and for large ones."""
  left = 1 - x
  return 1 - (left + abs(left)) / 2
