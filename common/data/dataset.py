"""Batches for one burst of updates, made ahead on background threads.

Batch u depends only on the seed, the update number u and the episodes in replay when the burst
begins. Nothing is made for a later burst, whose episodes do not exist yet.

    updates      | 0 1 2 ... 99 |  collect  | 100 101 ... 199 |  collect
    episodes     | those of now |           | those of now    |
"""
import collections
import concurrent.futures

import numpy as np

AHEAD = 6  # batches that are ready or in work besides the one in use; 30 MB each at 50 x 50
THREADS = 2


def batches(
    replay, seed, first_update, count, batch, length, keys=None, transform=None):
  """Return an iterator over `count` batches. The episodes are those of the moment of this call.

  An error on a thread is raised where its batch would have come. Closing the iterator early (or
  dropping it) stops the threads.

  Args:
    replay: Replay.
    seed: int, not negative; the run's seed.
    first_update: number of updates before this burst.
    count: number of batches.
    batch: windows B in a batch.
    length: rows T of a window.
    keys: names to serve; None is all that the episodes share.
    transform: applied to each batch on the thread, such as the copy to the devices.
  Returns:
    Iterator over dicts of arrays [B, T, ...], uint8 or float32, or over what transform returns.
  Raises:
    UserError: no episode in memory is long enough.
  """
  windows = replay.windows(length, keys)
  def make(update):
    data = windows.sample(np.random.default_rng([seed, update]), batch)
    return transform(data) if transform else data
  return _ahead(make, range(first_update, first_update + count))


def _ahead(make, numbers):
  """Yield make(n) of the numbers in order, computed up to AHEAD earlier than they are asked for."""
  pending = collections.deque()
  with concurrent.futures.ThreadPoolExecutor(THREADS, 'dataset') as pool:
    try:
      for number in numbers:
        pending.append(pool.submit(make, number))
        if len(pending) > AHEAD:
          yield pending.popleft().result()
      while pending:
        yield pending.popleft().result()
    finally:
      for future in pending:
        future.cancel()
