"""Replay: finished episodes on disk, the newest of them in memory, and windows drawn from those.

An episode is a dict of arrays [rows, ...] with at least action float32 [rows, A], reward float32
[rows] and discount float32 [rows]. Row t holds the observation, reward and discount that arrived
at t, and the action that led to them; row 0 is the reset. See section 10 of the Dreamer
specification.

    row     0         1         2         3          rows = decisions + 1
    obs     o0        o1        o2        o3
    action  0         a0        a1        a2         a0 was chosen at o0
    reward  0         r1        r2        r3

Episode k of environment e is the file `{k:06d}-{e}-{rows}.npz`. All counts come from these names.
"""
import bisect
import collections
import concurrent.futures
import math
import os
import pathlib
import re
import sys
import zipfile
import zlib

import numpy as np

from common import config

NAME = re.compile(r'(\d{6,})-(\d+)-([1-9]\d*)\.npz')
PRUNED = 'pruned.txt'  # names of episodes that were deleted on purpose and still count
UNREADABLE = (  # what numpy and zipfile raise for damaged files
    OSError, ValueError, TypeError, EOFError, KeyError, AttributeError, RuntimeError,
    zipfile.BadZipFile, zlib.error)
REQUIRED = {'action': 2, 'reward': 1, 'discount': 1}  # number of axes

Episode = collections.namedtuple('Episode', 'k e rows data')


class Replay:
  """Store of episodes that counts in frames and survives broken files.

  Which episodes are in memory, and in which order, depends only on which ones exist: they are
  sorted by (k, e), and the newest whose frames together fit the capacity are kept, at least one.
  So a resumed run draws the same windows as one that was never interrupted. To that end the
  contents are read at once at the start, by threads, and not when they are first drawn: a file
  that proves to be broken later would change the draws in the middle of a run. This takes about
  16 ms of one core for an episode of 500 images of 64 x 64. Of the files beyond the capacity only
  the end is looked at, which is enough to notice a truncated one.

  Args:
    directory: where the episodes are. Created if needed, unless readonly.
    action_repeat: frames per decision.
    capacity: bound on the frames in memory; 0 is none. Episodes beyond it stay on disk.
    prune_disk: delete episodes beyond the capacity from disk, too; they still count.
    last_row: False never draws the last row of an episode, like the reference code.
    balance: draw the ends of episodes more often (see window_start).
    readonly: change nothing in the directory, for reading what another run collects.
    warn: called with one sentence for each file that is skipped. Default: print to stderr.
  Raises:
    UserError: the directory cannot be made, or a readonly one does not exist.
  """

  def __init__(
      self, directory, action_repeat, capacity=0, *, prune_disk=False, last_row=True,
      balance=False, readonly=False, warn=None):
    self._directory = pathlib.Path(directory)
    self._repeat = action_repeat
    self._capacity = capacity or math.inf
    self._prune_disk = prune_disk
    self._last_row = last_row
    self._balance = balance
    self._readonly = readonly
    self._warn = warn or (lambda message: print(message, file=sys.stderr))
    self._rows = {}  # (k, e) -> rows, of every episode that counts
    self._broken = set()  # (k, e) of files that were reported and skipped
    self._memory = []  # Episodes sorted by (k, e)
    self._forms = None  # key -> shape without rows, which the episodes in memory share
    self._open()
    self._fill()
    self._trim()

  @property
  def frames(self):
    """Frames of all finished episodes, the pruned ones included."""
    return sum(rows - 1 for rows in self._rows.values()) * self._repeat

  @property
  def episodes(self):
    """Number of finished episodes, the pruned ones included."""
    return len(self._rows)

  def count_per_env(self):
    """Return {e: number of the next episode}. Numbers of skipped files are not used again."""
    counts = {}
    for k, e in [*self._rows, *self._broken]:
      counts[e] = max(counts.get(e, 0), k + 1)
    return counts

  def add(self, episode, k, e):
    """Write one finished episode under a temporary name, rename it, and keep it in memory.

    Args:
      episode: dict of arrays [rows, ...]. uint8 stays; floats, ints and bools become float32.
      k: number of the episode, counted per environment.
      e: index of the environment.
    Raises:
      UserError: the disk is full or refuses; no half-written file remains. Or the episode does
        not have the keys and shapes of those already in the directory.
      TypeError, ValueError: a value that cannot be stored.
    """
    assert not self._readonly, 'readonly replay'
    assert (k, e) not in self._rows and (k, e) not in self._broken, (k, e)
    data = {key: _convert(key, value) for key, value in episode.items()}
    rows = len(data['reward'])
    problem = _problem(data, rows)
    assert not problem, problem
    forms = _forms(data)
    if self._forms is not None and forms != self._forms:
      raise config.UserError(
          f'{self._directory}: the episodes there have {_describe(self._forms)} but the '
          f'environment gives {_describe(forms)}. Use another --logdir or remove them.')
    self._forms = forms
    _write(self._directory / _name(k, e, rows), data)
    self._rows[k, e] = rows
    bisect.insort(self._memory, Episode(k, e, rows, data), key=lambda x: x[:2])
    self._trim()

  def windows(self, length, keys=None):
    """Return the Windows of `length` rows over the episodes that are in memory now.

    Args:
      length: rows of a window.
      keys: names to serve; None is all that the episodes share.
    Raises:
      UserError: no episode in memory is long enough.
    """
    keys = tuple(sorted(self._forms or ()) if keys is None else keys)
    episodes = [x for x in self._memory if all(key in x.data for key in keys)]
    usable = tuple(x for x in episodes if _last_start(x.rows, length, self._last_row) >= 0)
    if not usable:
      longest = max((x.rows for x in episodes), default=0)
      needed = length + (not self._last_row)
      raise config.UserError(
          f'{self._directory}: batch_length {length} needs an episode of {needed} rows but the '
          f'longest of {len(episodes)} has {longest}. Pass a smaller --batch_length or a larger '
          '--prefill, or collect longer episodes.')
    return Windows(usable, length, keys, self._last_row, self._balance)

  def sample(self, rng, batch, length, keys=None):
    """Draw `batch` windows; see Windows.sample and, for the errors, `windows`."""
    return self.windows(length, keys).sample(rng, batch)

  def set_aside(self, counts):
    """Move episodes newer than the given counts out of the way, to be collected again.

    They go to the directory `NAME_aside` beside the episodes, which nothing ever reads; what lies
    there from an earlier time under the same name is replaced.

    Args:
      counts: {e: number of episodes to keep}, as count_per_env gave them; 0 for a missing e.
    Returns:
      Number of files that were moved.
    Raises:
      UserError: together with prune_disk, which may have deleted what was in memory then.
    """
    assert not self._readonly, 'readonly replay'
    if self._prune_disk:
      raise config.UserError(
          'replay: a deterministic resume needs the episodes that prune_disk deletes. '
          'Pass --prune_disk False or --deterministic False.')
    aside = self._directory.with_name(f'{self._directory.name}_aside')
    moved = 0
    for path, (k, e, _) in _named(self._directory):
      if k >= counts.get(e, 0):
        aside.mkdir(exist_ok=True)
        os.replace(path, aside / path.name)
        self._rows.pop((k, e), None)
        self._broken.discard((k, e))
        moved += 1
    if moved:
      self._memory = [x for x in self._memory if (x.k, x.e) in self._rows]
      self._fill()
    return moved

  def _open(self):
    """List the directory: clear what a killed run left, count names, report what is no episode."""
    if self._readonly and not self._directory.is_dir():
      raise config.UserError(f'{self._directory}: no such directory of episodes.')
    if not self._readonly:
      _make_directory(self._directory)
      for path in self._directory.glob('.*.npz.tmp'):
        path.unlink()
      self._finish_pruning()
    for path in sorted(self._directory.iterdir()):
      if not NAME.fullmatch(path.name) and path.name != PRUNED and path.name[0] != '.':
        self._warn(f'{path}: not an episode by its name. Skipped; move it to silence this.')
    self._rows.update({(k, e): rows for k, e, rows in self._pruned()})
    for path, (k, e, rows) in _named(self._directory):
      if (k, e) in self._rows:
        self._warn(f'{path}: another file is the same episode. Skipped; move it to silence this.')
      elif zipfile.is_zipfile(path):  # the index at the end is missing from a truncated file
        self._rows[k, e] = rows
      else:
        self._reject(k, e, rows, 'truncated or not an npz file')

  def _fill(self):
    """Read from disk what belongs into memory, again until no broken file is found."""
    workers = min(16, os.cpu_count() or 1)
    while True:
      have = {(x.k, x.e) for x in self._memory}
      missing = [x for x in self._fitting() if x[:2] not in have]
      if not missing:
        return
      paths = [self._directory / _name(*x) for x in missing]
      with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        found = list(pool.map(_read, paths, [x[2] for x in missing]))
      for (k, e, rows), (data, problem) in zip(missing, found):
        if problem:
          self._reject(k, e, rows, problem)
        else:
          self._memory.append(Episode(k, e, rows, data))
      self._memory.sort(key=lambda x: x[:2])
      self._agree()

  def _fitting(self):
    """Return (k, e, rows) of the newest episodes that fit the capacity, at least one."""
    pruned = {x[:2] for x in self._pruned()}
    fitting, frames = [], 0
    for (k, e), rows in sorted(self._rows.items(), reverse=True):
      if (k, e) in pruned:
        continue
      frames += (rows - 1) * self._repeat
      if fitting and frames > self._capacity:
        break
      fitting.append((k, e, rows))
    return fitting[::-1]

  def _agree(self):
    """Keep the episodes in memory that have the most common keys and shapes, reject the others."""
    forms = [tuple(sorted(_forms(x.data).items())) for x in self._memory]
    if not forms:
      return
    counts = collections.Counter(reversed(forms))  # of equally common ones the newest
    most = counts.most_common(1)[0][0]
    self._forms = dict(most)
    episodes, self._memory = self._memory, []
    for episode, form in zip(episodes, forms):
      if form == most:
        self._memory.append(episode)
      else:
        self._reject(
            *episode[:3], f'{_describe(dict(form))}, most have {_describe(self._forms)}')

  def _trim(self):
    """Drop from memory, and perhaps from disk, what no longer fits the capacity."""
    fitting = set(self._fitting())
    self._memory = [x for x in self._memory if x[:3] in fitting]
    if self._prune_disk and not self._readonly and self._memory:
      old = [x for x in _named(self._directory) if x[1][:2] < self._memory[0][:2]]
      self._prune([path for path, name in old if name[:2] in self._rows])

  def _reject(self, k, e, rows, problem):
    self._rows.pop((k, e), None)
    self._broken.add((k, e))
    path = self._directory / _name(k, e, rows)
    self._warn(f'{path}: {problem}. Skipped; delete the file to silence this.')

  def _prune(self, paths):
    """Delete files, after noting their names so that a kill in between loses no count."""
    if paths:
      with (self._directory / PRUNED).open('a') as file:
        file.writelines(f'{path.name}\n' for path in paths)
      for path in paths:
        path.unlink()

  def _finish_pruning(self):
    for name in self._pruned():
      (self._directory / _name(*name)).unlink(missing_ok=True)

  def _pruned(self):
    """Return {(k, e, rows)} of the episodes that were deleted on purpose."""
    path = self._directory / PRUNED
    lines = path.read_text().splitlines() if path.exists() else []
    matches = [NAME.fullmatch(line) for line in lines]
    return {tuple(map(int, match.groups())) for match in matches if match}


class Windows:
  """Windows of equal length over a fixed list of episodes, which later additions do not change."""

  def __init__(self, episodes, length, keys, last_row, balance):
    self._episodes = episodes
    self._length = length
    self._keys = keys
    self._last_row = last_row
    self._balance = balance

  def sample(self, rng, batch):
    """Draw windows: an episode uniformly, with replacement, then a start in it.

    Args:
      rng: numpy Generator; the draws depend on nothing else.
      batch: number of windows B.
    Returns:
      Dict of arrays [B, T, ...], T the length, in the stored dtypes (uint8 or float32).
    """
    picks = rng.integers(0, len(self._episodes), batch)
    episodes = [self._episodes[i] for i in picks]
    starts = [
        window_start(rng, x.rows, self._length, self._last_row, self._balance) for x in episodes]
    output = {}
    for key in self._keys:
      first = episodes[0].data[key]
      stacked = np.empty((batch, self._length) + first.shape[1:], first.dtype)
      for row, episode, start in zip(stacked, episodes, starts):
        row[...] = episode.data[key][start: start + self._length]
      output[key] = stacked
    return output


def count_frames(directory, action_repeat):
  """Frames of the episodes in a directory, by their names alone; 0 if there is none."""
  directory = pathlib.Path(directory)
  if not directory.is_dir():
    return 0
  return sum(rows - 1 for _, (_, _, rows) in _named(directory)) * action_repeat


def window_start(rng, rows, length, last_row=True, balance=False):
  """Draw the first row of a window of `length` rows in an episode of `rows` rows.

    plain     start ~ uniform 0 .. rows - length            (to the last row, included)
    no last   start ~ uniform 0 .. rows - length - 1        (last_row False: reference code)
    balance   start = min(uniform 0 .. rows - 1, rows - length)

  With balance the last window has probability length / rows. The episode must be long enough.
  Specification: Dreamer section 10, verdicts Q3 and Q4.
  """
  last = _last_start(rows, length, last_row)
  assert last >= 0, (rows, length)
  if balance:
    return min(int(rng.integers(0, rows)), rows - length)
  return int(rng.integers(0, last + 1))


def _last_start(rows, length, last_row):
  """Return the largest start of plain windows; negative if the episode is too short."""
  return rows - length - (0 if last_row else 1)


def _name(k, e, rows):
  return f'{k:06d}-{e}-{rows}.npz'


def _named(directory):
  """Return sorted (path, (k, e, rows)) of the files named like episodes."""
  matches = [(path, NAME.fullmatch(path.name)) for path in directory.iterdir()]
  named = [(path, tuple(map(int, match.groups()))) for path, match in matches if match]
  return sorted(named, key=lambda x: x[1])


def _make_directory(directory):
  try:
    directory.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise config.UserError(
        f'{directory}: cannot be made ({error.strerror}). Pass another --logdir.') from error


def _convert(key, value):
  """Return the array as uint8 if it is that already, else as float32."""
  value = np.asarray(value)
  if value.dtype == np.uint8:
    return np.ascontiguousarray(value)
  if value.dtype.kind not in 'fiub':
    raise TypeError(f'{key}: {value.dtype} cannot be stored, only floats, ints, bools and uint8.')
  if value.dtype.kind in 'iu' and value.size and max(-int(value.min()), int(value.max())) > 2 ** 24:
    raise ValueError(f'{key}: integers beyond 2^24 lose digits in float32.')
  return np.ascontiguousarray(value, np.float32)


def _forms(data):
  """Return {key: shape without rows} of all keys but the optional log_* and reward/<task>."""
  return {
      key: value.shape[1:] for key, value in data.items()
      if not key.startswith(('log_', 'reward/'))}


def _describe(forms):
  return ', '.join(f'{key} {list(shape)}' for key, shape in sorted(forms.items()))


def _problem(data, rows):
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


def _write(path, data):
  """Write the arrays as compressed npz through a temporary name, or raise UserError."""
  temporary = path.with_name(f'.{path.name}.tmp')
  try:
    with temporary.open('wb') as file:
      np.savez_compressed(file, **data)
      file.flush()
      os.fsync(file.fileno())
    os.replace(temporary, path)
  except OSError as error:
    temporary.unlink(missing_ok=True)
    raise config.UserError(
        f'{path}: could not be saved ({error.strerror}). Free space, then give the same command '
        'again: the run goes on from its last checkpoint.') from error
  except BaseException:
    temporary.unlink(missing_ok=True)
    raise


def _read(path, rows):
  """Return (arrays, '') of an episode file, or ({}, what is wrong with it)."""
  try:
    with np.load(path, allow_pickle=False) as archive:
      data = {key: _convert(key, archive[key]) for key in archive.files}
  except UNREADABLE as error:
    return {}, f'cannot be read ({str(error) or type(error).__name__})'
  problem = _problem(data, rows)
  return ({}, problem) if problem else (data, '')
