"""Episodes as files: one compressed npz each, whose name alone says what it counts for.

An episode is a dict of arrays [rows, ...] with at least action float32 [rows, A], reward float32
[rows] and discount float32 [rows]. Row t holds the observation, reward and discount that arrived
at t, and the action that led to them; row 0 is the reset.

    row     0         1         2         3          rows = decisions + 1
    obs     o0        o1        o2        o3
    action  0         a0        a1        a2         a0 was chosen at o0
    reward  0         r1        r2        r3

Episode k of environment e is the file `{k:06d}-{e}-{rows}.npz`. All counts come from these names.
"""
import contextlib
import lzma
import os
import pathlib
import re
import struct
import textwrap
import zipfile
import zlib

import numpy as np

from common import config
from common.data import disk
from common.data import npz

NAME = re.compile(r'(\d{6,})-(\d+)-([1-9]\d*)\.npz')
PRUNED = 'pruned.txt'  # names of episodes that were deleted on purpose and still count
UNREADABLE = (  # what numpy and zipfile raise for damaged files
    OSError, ValueError, TypeError, EOFError, KeyError, AttributeError, RuntimeError,
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, MemoryError, OverflowError, struct.error)
REQUIRED = {'action': 2, 'reward': 1, 'discount': 1}  # number of axes


def count_frames(directory, action_repeat):
  """Frames of the episodes in a directory, by their names alone, the pruned ones included.

  action_repeat: frames per decision, or a list with those of each environment.
  """
  directory = pathlib.Path(directory)
  if not directory.is_dir():
    return 0
  found = {(k, e): rows for k, e, rows in pruned(directory)}
  found.update({(k, e): rows for _, (k, e, rows) in named(directory)})
  return sum((rows - 1) * repeat_of(action_repeat, e) for (_, e), rows in found.items())


def repeat_of(action_repeat, e):
  """Frames per decision of environment e: one number for all, or a list that goes round."""
  if isinstance(action_repeat, (list, tuple)):
    return action_repeat[e % len(action_repeat)]
  return action_repeat


def name(k, e, rows):
  """Return the file name of episode k of environment e."""
  return f'{k:06d}-{e}-{rows}.npz'


def named(directory):
  """Return sorted (path, (k, e, rows)) of the files named like episodes."""
  matches = [(path, NAME.fullmatch(path.name)) for path in directory.iterdir()]
  found = [(path, tuple(map(int, match.groups()))) for path, match in matches if match]
  return sorted(found, key=lambda x: x[1])


def pruned(directory):
  """Return {(k, e, rows)} of the episodes that were deleted on purpose."""
  path = directory / PRUNED
  lines = path.read_text(errors='replace').splitlines() if path.is_file() else []
  matches = [NAME.fullmatch(line) for line in lines]
  return {tuple(map(int, match.groups())) for match in matches if match}


def prune(directory, paths):
  """Delete files, after noting their names so that a kill in between loses no count.

  Raises:
    disk.DiskError: the system refuses. It can be called again.
  """
  if not paths:
    return
  try:
    with (directory / PRUNED).open('a+b', buffering=0) as file:
      disk.append(file, ''.join(f'{path.name}\n' for path in paths).encode())
    for path in paths:
      path.unlink(missing_ok=True)
  except OSError as error:
    raise disk.DiskError(directory / PRUNED, error) from None


def strangers(directory):
  """Return sorted paths of what is neither an episode by its name, nor hidden, nor the list."""
  return sorted(
      path for path in directory.iterdir()
      if not NAME.fullmatch(path.name) and path.name != PRUNED and path.name[0] != '.')


def clear(directory):
  """Finish what a killed run left: half-written files, and pruned ones not deleted yet."""
  for path in directory.glob('.*.npz.tmp'):
    with contextlib.suppress(IsADirectoryError):  # nothing of ours
      path.unlink(missing_ok=True)
  for found in pruned(directory):
    (directory / name(*found)).unlink(missing_ok=True)


def make_directory(directory):
  """Make the directory and its parents, or raise UserError."""
  try:
    directory.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise config.UserError(
        f'{directory}: cannot be made ({error.strerror}). Pass another --logdir.') from error


def convert(key, value):
  """Return the array as uint8 if it is that already, else as float32."""
  value = np.asarray(value)
  if value.dtype == np.uint8:
    return np.ascontiguousarray(value)
  if value.dtype.kind not in 'fiub':
    raise TypeError(f'{key}: {value.dtype} cannot be stored, only floats, ints, bools and uint8.')
  if value.dtype.kind in 'iu' and value.size and max(-int(value.min()), int(value.max())) > 2 ** 24:
    raise ValueError(f'{key}: integers beyond 2^24 lose digits in float32.')
  return np.ascontiguousarray(value, np.float32)


def forms(data):
  """Return {key: shape without rows} of all keys but the optional log_* and reward/<task>."""
  return {
      key: value.shape[1:] for key, value in data.items()
      if not key.startswith(('log_', 'reward/'))}


def describe(forms):
  """Return the keys and shapes in words."""
  return ', '.join(f'{key} {list(shape)}' for key, shape in sorted(forms.items()))


def problem(data, rows):
  """Return what is wrong with the keys and shapes of an episode, or an empty string."""
  for key, axes in REQUIRED.items():
    if key not in data:
      return f'no key {key!r}'
    if data[key].ndim != axes:
      return f'{key} has shape {list(data[key].shape)}, expected {axes} axes'
  for key, value in data.items():
    if not value.ndim or len(value) != rows:
      found = len(value) if value.ndim else 'no'
      return f'{rows} rows named, {found} found in {key!r}'
  return ''


def unsound(data):
  """Return which array holds NaN or infinite values, or an empty string; log_* may."""
  for key, value in data.items():
    if value.dtype != np.uint8 and not key.startswith('log_') and not np.isfinite(value).all():
      return f'{key} holds NaN or infinite values'
  return ''


def write(path, data):
  """Write the arrays as compressed npz through a temporary name, or raise disk.DiskError."""
  temporary = path.with_name(f'.{path.name}.tmp')
  try:
    with temporary.open('wb') as file:
      np.savez_compressed(file, **data)
      file.flush()
      os.fsync(file.fileno())
    os.replace(temporary, path)
  except BaseException as error:
    with contextlib.suppress(OSError):
      temporary.unlink(missing_ok=True)
    if isinstance(error, OSError):
      size = sum(value.nbytes for value in data.values())
      raise disk.DiskError(path, error, size) from error
    raise


def read(path, rows):
  """Return (arrays, '') of an episode file, or ({}, what is wrong with it)."""
  try:
    with np.errstate(over='ignore', invalid='ignore'):  # what float32 cannot hold is found below
      data = {key: convert(key, value) for key, value in npz.read(path, rows).items()}
  except UNREADABLE as error:
    return {}, _short(f'cannot be read ({str(error) or type(error).__name__})')
  if 'action' in data and data['action'].ndim == 1:  # of other tools, such as numbers of classes
    data['action'] = data['action'][:, None]
  wrong = problem(data, rows) or unsound(data)
  return ({}, _short(wrong)) if wrong else (data, '')


def _short(reason):
  """One line of a reason, which may quote names from the file."""
  return textwrap.shorten(reason, 300)
