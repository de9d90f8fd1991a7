"""Episodes that another tool has written, brought into the form of ours where their meaning is certain."""
import numpy as np

from common.envs import images
from common.envs.images import is_image

FIRST_ROW = (
    'row 0 has an action or a reward, but nothing came before it: rows are an observation with the '
    'action that led to it and the reward that came with it, zeros at first. Where they were recorded '
    'as state, action, reward, move actions and rewards one row down')


def understand(data, spaces):
  """Compare an episode with what the agent sees, and convert its images.

  Args:
    data: dict of arrays [rows, ...], uint8 or float32.
    spaces: dict of name to Box, of the environment.
  Returns:
    (data, notes, problem): arrays in the form of the environment, sentences on what was done, and
    what is wrong, or ''.
  """
  data, notes = dict(data), []
  for key, space in spaces.items():
    if key not in data:
      return {}, [], f'no key {key!r}'
    value, form = data[key], tuple(space.shape)
    if is_image(space):
      value, note, problem = _image(key, value, form)
      if problem:
        return {}, [], problem
      notes += [note] if note else []
    if value.shape[1:] != form or (value.dtype == np.uint8) != (space.dtype == np.uint8):
      return {}, [], (
          f'{key} is {value.dtype} {list(value.shape[1:])}, the agent sees {space.dtype} {list(form)}')
    data[key] = value
  if data['reward'][0] or data['action'][0].any():
    notes.append(FIRST_ROW)
  return data, notes, ''


def _image(key, value, form):
  """(uint8 [rows, H, W, C], what was done, what is wrong) of images in any form."""
  done = []
  height, width, channels = form
  if value.shape[1:] != form and value.shape[1:] == (channels, height, width):
    value = value.transpose(0, 2, 3, 1)
    done.append('channels moved to the end')
  if value.dtype != np.uint8:
    done.append(f'floats from 0 to {1 if value.max(initial=0) <= 1 else 255} as uint8')
    try:
      value = images.pixels(key, value)
    except ValueError as error:
      return value, '', str(error)
  return np.ascontiguousarray(value), f'{key}: {", ".join(done)}' if done else '', ''
