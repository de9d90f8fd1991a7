"""How much of the state space was visited: cells of simulator coordinates, for analysis only."""

import collections

import numpy as np

BINS = 20       # of each coordinate
EPISODES = 100  # that the recent numbers are about


class Coverage:
  """Counts the cells that episodes visit, by their `log_state` [rows, D] in 0 to 1."""

  def __init__(self, episodes=()):
    """episodes: those before, in order, as dicts of arrays; only those with log_state count."""
    self._all = set()
    self._recent = collections.deque(maxlen=EPISODES)
    for episode in episodes:
      self.add(episode)

  def add(self, episode):
    """Count one more episode; returns metrics, none if it has no coordinates.

      train/coverage: cells that the last episodes visited.
      train/coverage_entropy: nats, of the shares of time in them.
      train/coverage_total: cells that any episode visited.
    """
    if 'log_state' not in episode:
      return {}
    found = collections.Counter(cells(episode['log_state']))
    self._recent.append(found)
    self._all.update(found)
    counts = sum(self._recent, collections.Counter())
    shares = np.array(list(counts.values())) / sum(counts.values())
    return {
        'train/coverage': len(counts), 'train/coverage_total': len(self._all),
        'train/coverage_entropy': float(-np.sum(shares * np.log(shares)))}


def cells(state, bins=BINS):
  """The cell of each row of coordinates float [rows, D] in 0 to 1: list of tuples."""
  state = np.asarray(state).reshape(len(state), -1)
  return list(map(tuple, np.clip((state * bins).astype(int), 0, bins - 1)))
