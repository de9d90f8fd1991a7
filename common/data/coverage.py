"""How much of the state space was visited: cells of simulator coordinates, for analysis only."""

import collections
import contextlib

import numpy as np

from common.data import episodes as files
from common.data import npz

BINS = 20       # of each coordinate
EPISODES = 100  # that the recent numbers are about
SOME = 10       # episodes without coordinates after which none is looked for


class Coverage:
  """Counts the cells that episodes visit, by their `log_state` [rows, D] in 0 to 1."""

  def __init__(self, episodes=()):
    """episodes: those before, in order, as dicts of arrays; only those with log_state count."""
    self._all, self._counts = set(), collections.Counter()
    self._recent = collections.deque()
    for episode in episodes:
      self._count(episode)

  def add(self, episode):
    """Count one more episode; returns metrics, none if it has no coordinates.

      train/coverage: cells that the last episodes visited.
      train/coverage_entropy: nats, of the shares of time in them.
      train/coverage_total: cells that any episode visited.
    """
    if not self._count(episode):
      return {}
    counts = np.array(list(self._counts.values()))
    shares = counts / counts.sum()
    return {
        'train/coverage': len(counts), 'train/coverage_total': len(self._all),
        'train/coverage_entropy': float(-np.sum(shares * np.log(shares)))}

  def _count(self, episode):
    """Count an episode, and the one that is no longer recent no more; False without coordinates."""
    if 'log_state' not in episode:
      return False
    found = collections.Counter(cells(episode['log_state']))
    self._recent.append(found)
    self._all.update(found)
    self._counts += found
    if len(self._recent) > EPISODES:
      self._counts -= self._recent.popleft()  # without those that come to 0
    return True


def stored(directory):
  """Dicts with the `log_state` of the episodes in a directory that have one, in order.

  None if it is missing from the first SOME.
  """
  seen = False
  named = files.named(directory) if directory.is_dir() else ()
  for number, (path, (_, _, rows)) in enumerate(named):
    with contextlib.suppress(*files.UNREADABLE):  # the replay says so
      found = npz.read(path, rows, ['log_state'])
      if 'log_state' in found and found['log_state'].ndim:
        seen = True
        yield found
      elif number >= SOME and not seen:
        return


def cells(state, bins=BINS):
  """The cell of each row of coordinates float [rows, D] in 0 to 1: list of tuples."""
  state = np.asarray(state).reshape(len(state), -1)
  return list(map(tuple, np.clip((state * bins).astype(int), 0, bins - 1)))
