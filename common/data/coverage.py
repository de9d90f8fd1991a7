"""How much of the state space was visited: cells of simulator coordinates, for analysis only."""

import collections
import contextlib
import heapq

import numpy as np

from common.data import episodes as files
from common.data import npz

BINS = 20       # of each coordinate
EPISODES = 100  # that the recent numbers are about: the last by number
SOME = 10       # episodes without coordinates after which none is looked for


class Coverage:
  """Counts the cells that episodes visit, by their `log_state` [rows, D] in 0 to 1."""

  def __init__(self, episodes=()):
    """episodes: those before, as (episode, number) of `add`; only those with log_state count."""
    self._all, self._counts = set(), collections.Counter()
    self._recent = []  # a heap: whichever ends first, the same are recent
    for episode, number in episodes:
      self._count(episode, number)

  def add(self, episode, number):
    """Count one more episode; returns metrics, none if it has no coordinates.

    Args:
      episode: dict of arrays.
      number: (k, e) of the episode, which no other has.

      train/coverage: cells that the last episodes visited.
      train/coverage_entropy: nats, of the shares of time in them.
      train/coverage_total: cells that any episode visited.
    """
    if not self._count(episode, number):
      return {}
    counts = np.sort(list(self._counts.values()))  # sums hang on the order, in which a run that resumes differs
    shares = counts / counts.sum()
    return {
        'train/coverage': len(counts), 'train/coverage_total': len(self._all),
        'train/coverage_entropy': float(-np.sum(shares * np.log(shares)))}

  def _count(self, episode, number):
    """Count an episode, and the one that is no longer recent no more; False without coordinates."""
    if 'log_state' not in episode:
      return False
    found = collections.Counter(cells(episode['log_state']))
    heapq.heappush(self._recent, (number, found))
    self._all.update(found)
    self._counts += found
    if len(self._recent) > EPISODES:
      self._counts -= heapq.heappop(self._recent)[1]  # without those that come to 0
    return True


def stored(directory):
  """(dict with the `log_state`, (k, e)) of the episodes in a directory that have one, in order.

  None if it is missing from the first SOME.
  """
  seen = False
  named = files.named(directory) if directory.is_dir() else ()
  for number, (path, (k, e, rows)) in enumerate(named):
    with contextlib.suppress(*files.UNREADABLE):  # the replay says so
      found = npz.read(path, rows, ['log_state'])
      if 'log_state' in found and found['log_state'].ndim:
        seen = True
        yield found, (k, e)
      elif number >= SOME and not seen:
        return


def cells(state, bins=BINS):
  """The cell of each row of coordinates float [rows, D] in 0 to 1: list of tuples."""
  state = np.asarray(state).reshape(len(state), -1)
  return list(map(tuple, np.clip((state * bins).astype(int), 0, bins - 1)))
