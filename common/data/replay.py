"""Replay: finished episodes on disk, the newest of them in memory, and windows drawn from those.

`episodes` states the files and the meaning of their rows, `windows` which windows are drawn.
"""
import bisect
import collections
import concurrent.futures
import math
import pathlib
import sys

from common import config
from common.data import episodes as files
from common.data import reading
from common.data.disk import Disk
from common.data.windows import Windows, last_start, too_short

WRITERS = 2  # threads; several environments may end at the same time

Episode = collections.namedtuple('Episode', 'k e rows data')
Begun = collections.namedtuple('Begun', 'episode written')  # written: a future


class Replay:
  """Store of episodes that counts in frames and survives broken files.

  Which episodes are in memory, and in which order, depends only on which ones exist: they are
  sorted by (k, e), and the newest whose frames together fit the capacity are kept, at least one.
  So a resumed run draws the same windows as one that was never interrupted. To that end the
  contents are read at once at the start, and not when they are first drawn: a file that proves to be
  broken later would change the draws in the middle of a run. An episode of 500 images takes a core
  about 16 ms. Of the files beyond the capacity only the end is looked at, see reading.scan.

  Args:
    directory: where the episodes are. Created if needed, unless readonly.
    action_repeat: frames per decision, or a list with those of each environment.
    capacity: bound on the frames in memory; 0 is none. Episodes beyond it stay on disk.
    prune_disk: delete episodes beyond the capacity from disk, too; they still count.
    last_row: False never draws the last row of an episode, as the reference code; balance still does.
    balance: draw the ends of episodes more often (see window_start).
    readonly: change nothing in the directory, for reading what another run collects.
    relabel: name of the array that is served as `reward` in its place.
    warn: called with one sentence for each file that is skipped. Default: print to stderr.
    spaces: dict of name to Box, as foreign.understand takes it, for episodes of other tools.
    disk: Disk that waits where the system refuses. Default: that is an error at once.
  Raises:
    UserError: the directory cannot be made, or a readonly one does not exist.
  """

  def __init__(
      self, directory, action_repeat, capacity=0, *, prune_disk=False, last_row=True,
      balance=False, readonly=False, relabel=None, warn=None, spaces=None, disk=None):
    self._directory = pathlib.Path(directory)
    self._repeat = action_repeat
    self._capacity = capacity or math.inf
    self._prune_disk = prune_disk
    self._last_row = last_row
    self._balance = balance
    self._readonly = readonly
    self._relabel = {'reward': relabel} if relabel else {}
    self._warn = warn or (lambda message: print(message, file=sys.stderr))
    self._disk = disk or Disk()
    self._reader = reading.Reader(self._directory, spaces or {}, self._warn)
    self._lost = self._gone = 0  # frames and episodes that once counted and whose files are gone
    self._rows = {}  # (k, e) -> rows, of every episode that counts
    self._broken, self._memory = set(), []  # (k, e) of skipped files; Episodes sorted by (k, e)
    self._forms = None  # key -> shape without rows, which the episodes in memory share
    self._writer = concurrent.futures.ThreadPoolExecutor(WRITERS, 'episodes')
    self._written = {}  # e -> future of its last episode
    self._open()
    self._fill()
    self._trim()
    self._recount()

  @property
  def frames(self):
    """Frames of all finished episodes, the pruned and the lost ones included."""
    return self._total + self._lost

  @property
  def episodes(self):
    """Number of finished episodes, the pruned and the lost ones included."""
    return len(self._rows) + self._gone

  @property
  def longest(self):
    """Rows of the longest episode in memory; 0 without one."""
    return max((x.rows for x in self._memory), default=0)

  @property
  def stored(self):
    """Dicts of arrays of the episodes in memory, the oldest first."""
    return [x.data for x in self._memory]

  def count_per_env(self):
    """Return {e: number of the next episode}. Numbers of skipped files are not used again."""
    return dict(self._next)

  def unused(self, length, keys):
    """Share of the episodes in memory that are too short for `windows`; raises as that does."""
    self.windows(length, keys)
    return 1 - len(self._usable[length, keys]) / len(self._memory)

  def lose(self, frames, counts):
    """Count frames on whose files are gone, give no number twice; returns how many are missing.

    Args:
      frames: of the episodes that there were once.
      counts: {e: number of the episode after these}, as count_per_env gave them then.
    """
    there = [self._frames(e, rows) for (k, e), rows in self._rows.items() if k < counts.get(e, 0)]
    self._lost = max(0, frames - sum(there))
    # Numbers of files that never counted, as they were broken, are among them: nobody knows which.
    self._gone = max(0, sum(counts.values()) - len(there)) if self._lost else 0
    for e, k in counts.items():
      self._next[e] = max(self._next.get(e, 0), k)
    return self._lost

  def add(self, episode, k, e):
    """Store one finished episode: `finish` of what `begin` returns, with their errors."""
    self.finish(self.begin(episode, k, e))

  def begin(self, episode, k, e):
    """Write one finished episode on a thread: under a temporary name, then renamed.

    Args:
      episode: dict of arrays [rows, ...]. uint8 stays; floats, ints and bools become float32.
      k: number of the episode, counted per environment.
      e: index of the environment.
    Returns:
      Begun, for `finish`.
    Raises:
      UserError: the episode does not have the keys and shapes of those already in the directory.
      TypeError, ValueError: a value that cannot be stored.
    """
    assert not self._readonly, 'readonly replay'
    assert (k, e) not in self._rows and (k, e) not in self._broken, (k, e)
    data = {key: files.convert(key, value) for key, value in episode.items()}
    rows = len(data['reward'])
    problem = files.problem(data, rows)
    assert not problem, problem
    forms = files.forms(data)
    if self._forms is not None and forms != self._forms:
      raise config.UserError(
          f'{self._directory}: the episodes there have {files.describe(self._forms)} but the '
          f'environment gives {files.describe(forms)}. Use another --logdir or remove them.')
    self._forms = forms
    path = self._directory / files.name(k, e, rows)
    self._written[e] = self._writer.submit(_write_after, self._written.get(e), self._disk, path, data)
    return Begun(Episode(k, e, rows, data), self._written[e])

  def finish(self, begun):
    """Count an episode and keep it in memory, once it is on disk.

    Raises:
      DiskError: the disk is full or refuses; no half-written file remains.
    """
    begun.written.result()
    k, e, rows, _ = begun.episode
    self._rows[k, e] = rows
    self._total += self._frames(e, rows)
    self._next[e] = max(self._next.get(e, 0), k + 1)
    self._keep(begun.episode)

  def close(self):
    """End the threads that write."""
    self._writer.shutdown()

  def windows(self, length, keys=None):
    """Return the Windows of `length` rows over the episodes that are in memory now.

    It is the same object until an episode comes or goes.

    Args:
      length: rows of a window.
      keys: names to serve; None is all that the episodes share.
    Raises:
      UserError: no episode in memory is long enough.
    """
    keys = tuple(sorted(self._forms or ()) if keys is None else keys)
    if (length, keys) not in self._usable:
      self._usable[length, keys] = [x for x in self._memory if self._fits(x, length, keys)]
    usable = self._usable[length, keys]
    if not usable:
      seen = [x.rows for x in self._memory if self._fits(x, 0, keys)]
      away = {(k, e) for k, e, _ in files.pruned(self._directory)} | {(x.k, x.e) for x in self._memory}
      raise too_short(
          self._directory, length, length + (not self._last_row), seen,
          [rows for episode, rows in self._rows.items() if episode not in away], self._readonly)
    if (length, keys) not in self._windows:
      sources = {key: self._relabel.get(key, key) for key in keys}
      self._windows[length, keys] = Windows(
          tuple(usable), length, sources, self._last_row, self._balance)
    return self._windows[length, keys]

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
    newer = [x for x in files.named(self._directory) if x[1][0] >= counts.get(x[1][1], 0)]
    for path, (k, e, _) in newer:
      aside.mkdir(exist_ok=True)
      path.replace(aside / path.name)
      self._rows.pop((k, e), None)
      self._broken.discard((k, e))
    if newer:
      self._memory = [x for x in self._memory if (x.k, x.e) in self._rows]
      self._fill()
      self._recount()
    return len(newer)

  def _open(self):
    """List the directory: clear what a killed run left, count names, report what is no episode."""
    if self._readonly and not self._directory.is_dir():
      raise config.UserError(f'{self._directory}: no such directory of episodes.')
    if not self._readonly:
      files.make_directory(self._directory)
      files.clear(self._directory)
    self._rows, truncated = reading.scan(self._directory, self._warn)
    for name in truncated:
      self._reject(*name, 'truncated or not an npz file')

  def _fill(self):
    """Read from disk what belongs into memory, again until no broken file is found."""
    while True:
      have = {(x.k, x.e) for x in self._memory}
      missing = [x for x in self._fitting() if x[:2] not in have]
      if not missing:
        return
      for (k, e, rows), (data, problem) in zip(missing, self._reader(missing)):
        if problem:
          self._reject(k, e, rows, problem)
        else:
          self._memory.append(Episode(k, e, rows, data))
      self._memory.sort(key=lambda x: x[:2])
      self._agree()

  def _recount(self):
    """Count anew what `add` keeps up to date, so that no call grows with what is stored."""
    self._total = sum(self._frames(e, rows) for (_, e), rows in self._rows.items())
    self._held = sum(self._frames(x.e, x.rows) for x in self._memory)  # frames in memory
    self._next = {}
    for k, e in [*self._rows, *self._broken]:
      self._next[e] = max(self._next.get(e, 0), k + 1)
    have = {(x.k, x.e) for x in self._memory} | {x[:2] for x in files.pruned(self._directory)}
    # The newest that memory had no room for: nothing older comes into it.
    self._left = max((key for key in self._rows if key not in have), default=(-1, -1))
    self._usable = {}   # (length, keys) -> Episodes in memory that windows can be drawn from
    self._windows = {}  # (length, keys) -> Windows over them

  def _keep(self, episode):
    """Take a new episode into memory, and let the oldest go that no longer fit."""
    self._windows = {}
    gone = []
    if self._prune_disk or episode[:2] > self._left:
      bisect.insort(self._memory, episode, key=lambda x: x[:2])
      self._held += self._frames(episode.e, episode.rows)
      for (length, keys), usable in self._usable.items():
        if self._fits(episode, length, keys):
          bisect.insort(usable, episode, key=lambda x: x[:2])
    while self._held > self._capacity and len(self._memory) > 1:
      gone.append(self._memory.pop(0))
      self._held -= self._frames(gone[-1].e, gone[-1].rows)
      for usable in self._usable.values():
        if usable and usable[0] is gone[-1]:
          usable.pop(0)
    if self._prune_disk:
      paths = [self._directory / files.name(*x[:3]) for x in gone]
      self._disk.insist(files.prune, self._directory, paths)
    elif gone:
      self._left = max(self._left, gone[-1][:2])

  def _fits(self, episode, length, keys):
    """Whether windows of a length with these keys can be drawn from an episode."""
    return last_start(episode.rows, length, self._last_row) >= 0 and all(
        self._relabel.get(key, key) in episode.data for key in keys)

  def _frames(self, e, rows):
    return (rows - 1) * files.repeat_of(self._repeat, e)

  def _fitting(self):
    """Return (k, e, rows) of the newest episodes that fit the capacity, at least one."""
    pruned = {x[:2] for x in files.pruned(self._directory)}
    fitting, frames = [], 0
    for (k, e), rows in sorted(self._rows.items(), reverse=True):
      if (k, e) in pruned:
        continue
      frames += self._frames(e, rows)
      if fitting and frames > self._capacity:
        break
      fitting.append((k, e, rows))
    return fitting[::-1]

  def _agree(self):
    """Keep the episodes in memory that have the most common keys and shapes, reject the others."""
    if not self._memory:
      return
    self._forms, self._memory, others = reading.agreeing(self._memory)
    for episode, problem in others:
      self._reject(*episode[:3], problem)

  def _trim(self):
    """Drop from memory, and perhaps from disk, what no longer fits the capacity."""
    fitting = set(self._fitting())
    self._memory = [x for x in self._memory if x[:3] in fitting]
    if self._prune_disk and not self._readonly and self._memory:
      old = [x for x in files.named(self._directory) if x[1][:2] < self._memory[0][:2]]
      files.prune(self._directory, [path for path, name in old if name[:2] in self._rows])

  def _reject(self, k, e, rows, problem):
    self._rows.pop((k, e), None)
    self._broken.add((k, e))
    name = files.name(k, e, rows)
    self._warn(f'{self._directory / name}: {problem}. Skipped; delete the file to silence this.')


def _write_after(earlier, disk, path, data):
  """Write an episode once the one before it is there, so that a full disk leaves no gap."""
  if earlier:
    earlier.result()
  disk.insist(files.write, path, data)
