"""Episodes that another tool has written, brought into the form of ours where their meaning is certain."""
import numpy as np

from common.envs import images
from common.envs import values
from common.envs.images import is_image

FIRST_ROW = (
    'row 0 has an action or a reward, but nothing came before it: rows are an observation with the '
    'action that led to it and the reward that came with it, zeros at first. Where they were recorded '
    'as state, action, reward, move actions and rewards one row down')

BOUNDS = (
    'action goes beyond -1 to 1, between which those of the agent lie: scale them by their bounds')


def understand(data, spaces):
  """Compare an episode with what the agent sees and does, and convert its images and classes.

  Args:
    data: dict of arrays [rows, ...], uint8 or float32.
    spaces: dict of name to Box, of the environment; `action` is that of actions, if given.
  Returns:
    (data, notes, problem): arrays in the form of the environment, sentences on what was done, and
    what is wrong, or ''.
  """
  data, notes, first = dict(data), [], False
  for key, space in spaces.items():
    if key not in data:
      return {}, [], f'no key {key!r}'
    value, form = data[key], tuple(space.shape)
    convert = _image if is_image(space) else _action if key == 'action' else None
    if convert:
      first = first or (key == 'action' and value[:1].any())  # a class, too, may be told too early
      value, note, problem = convert(key, value, space)
      if problem:
        return {}, [], problem
      notes += [note] if note else []
    if value.shape[1:] != form or (value.dtype == np.uint8) != (space.dtype == np.uint8):
      verb = 'takes' if key == 'action' else 'sees'
      return {}, [], (
          f'{key} is {value.dtype} {list(value.shape[1:])}, the agent {verb} {space.dtype} {list(form)}')
    data[key] = value
  problem = _numbers(data)
  if problem:
    return {}, [], problem
  if first or data['reward'][0] or data['action'][0].any():
    notes.append(FIRST_ROW)
  return data, notes, ''


def _numbers(data):
  """What is wrong with the numbers of an episode, as in those of an environment, or ''."""
  discount = data['discount']
  outside = discount[(discount < 0) | (discount > 1)]
  return values.problem(
      {key: value for key, value in data.items() if key != 'discount'},
      outside[0] if outside.size else 1)


def _action(key, value, space):
  """(actions [rows, A], what is to be said, what is wrong) of vectors, or of numbers of classes."""
  if not hasattr(space, 'n'):
    return value, '' if np.abs(value).max(initial=0) <= 1.001 else BOUNDS, ''
  numbers = value.reshape(len(value), -1)
  if numbers.shape[1] != 1 or space.n == 1:
    return value, '', ''
  if not np.isin(numbers, np.arange(space.n)).all():
    return value, '', f'{key} is no class from 0 to {space.n - 1}'
  vectors = np.zeros((len(value), space.n), np.float32)
  rows = np.arange(1, len(value))  # nothing led to the first
  vectors[rows, numbers[1:, 0].astype(int)] = 1
  return vectors, f'{key}: numbers of classes as vectors', ''


def _image(key, value, space):
  """(uint8 [rows, H, W, C], what was done, what is wrong) of images in any form."""
  done, form = [], tuple(space.shape)
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
