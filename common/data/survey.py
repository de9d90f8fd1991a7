"""What is remarkable about the episodes that a run is about to learn from."""
import numpy as np

from common.envs import values
from common.envs.images import is_image


def sentences(replay, length, keys, spaces):
  """Sentences for people on episodes that are too short and on vectors in far-apart units.

  Args:
    replay: Replay.
    length, keys: rows of a sequence and its arrays.
    spaces: dict of name to Box of what the agent sees.
  """
  episodes = len(replay.stored)
  short = round(replay.unused(length, tuple(keys)) * episodes)
  if short:
    yield (
        f'{short} of {episodes} episodes have fewer rows than a sequence ({length}) and are not '
        'learned from; a smaller --batch_length would use them.')
  for key, space in spaces.items():
    if not is_image(space):
      sizes = np.max([np.abs(data[key]).max(0) for data in replay.stored if key in data], 0)
      text = values.far_apart(key, sizes)
      if text:
        yield f'{text}.'


def mean(replay, key):
  """Mean float64 [...] of an array [rows, ...] over all rows in memory, of episodes that have it."""
  found = [data[key] for data in replay.stored if key in data]
  return sum(x.sum(0, dtype=np.float64) for x in found) / sum(len(x) for x in found)
