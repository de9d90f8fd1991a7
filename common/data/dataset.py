"""Batches for updates, made ahead on background threads.

Batch u depends only on the seed, the update number u and the episodes in replay when the burst of
updates begins. As long as no episode comes between bursts, those ahead are of the next burst, too;
where one does, they are made anew.

    updates      | 0 1 2 ... 99 |  collect  | 100 101 ... 199 |  collect
    episodes     | those of now |           | those of now    |
"""
import collections
import concurrent.futures

import numpy as np

AHEAD = 6  # batches that are ready or in work besides the one in use; 30 MB each at 50 x 50
THREADS = 2


class Loader:
  """Batches in the order of updates; keeps its threads until `close`."""

  def __init__(self, replay, seed, batch, length, keys=None, transform=None):
    """Nothing is made yet.

    Args:
      replay: Replay.
      seed: int, not negative; the run's seed.
      batch: windows B in a batch.
      length: rows T of a window.
      keys: names to serve; None is all that the episodes share.
      transform: applied to each batch on the thread, such as the copy to the devices.
    """
    self._replay, self._seed, self._batch = replay, seed, batch
    self._length, self._keys, self._transform = length, keys, transform
    self._pool = concurrent.futures.ThreadPoolExecutor(THREADS, 'dataset')
    self._windows = None  # that the pending batches are drawn from
    self._first = 0       # number of the first pending one
    self._pending = collections.deque()

  def burst(self, first, count):
    """Return an iterator over the batches of `count` updates.

    The episodes are those of the moment of this call. An error on a thread is raised where its
    batch would have come.

    Args:
      first: number of updates before this burst.
      count: number of batches.
    Returns:
      Iterator over dicts of arrays [B, T, ...], uint8 or float32, or over what transform returns.
    Raises:
      UserError: no episode in memory is long enough.
    """
    return self._take(self._replay.windows(self._length, self._keys), first, count)

  def close(self):
    """Drop what is pending and end the threads."""
    self._drop()
    self._pool.shutdown()

  def _take(self, windows, first, count):
    # Where episodes came since the last burst, they will again before the next one.
    steady = windows is self._windows
    for update in range(first, first + count):
      if windows is not self._windows or update != self._first:
        self._drop()
        self._windows, self._first = windows, update
      ahead = AHEAD if steady else min(AHEAD, first + count - 1 - update)
      while len(self._pending) <= ahead:
        self._pending.append(
            self._pool.submit(self._make, windows, self._first + len(self._pending)))
      self._first += 1
      yield self._pending.popleft().result()

  def _make(self, windows, update):
    data = windows.sample(np.random.default_rng([self._seed, update]), self._batch)
    return self._transform(data) if self._transform else data

  def _drop(self):
    for future in self._pending:
      future.cancel()
    self._pending.clear()
    self._windows = None
