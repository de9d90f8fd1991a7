"""Windows of rows: which ones are drawn from episodes, and with which probability."""
import numpy as np

from common.config import UserError


class Windows:
  """Windows of equal length over a fixed list of episodes, which later additions do not change."""

  def __init__(self, episodes, length, sources, last_row, balance):
    """sources: dict of name to that of the stored array which is served under it."""
    self._episodes = episodes
    self._length = length
    self._sources = sources
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
    for key, source in self._sources.items():
      first = episodes[0].data[source]
      stacked = np.empty((batch, self._length) + first.shape[1:], first.dtype)
      for row, episode, start in zip(stacked, episodes, starts):
        row[...] = episode.data[source][start: start + self._length]
      output[key] = stacked
    return output


def window_start(rng, rows, length, last_row=True, balance=False):
  """Draw the first row of a window of `length` rows in an episode of `rows` rows.

    plain     start ~ uniform 0 .. rows - length            (to the last row, included)
    no last   start ~ uniform 0 .. rows - length - 1        (last_row False: reference code)
    balance   start = min(uniform 0 .. rows - 1, rows - length)

  With balance the last window has probability length / rows. The episode must be long enough.
  """
  last = last_start(rows, length, last_row)
  assert last >= 0, (rows, length)
  if balance:
    return min(int(rng.integers(0, rows)), rows - length)
  return int(rng.integers(0, last + 1))


def last_start(rows, length, last_row):
  """Return the largest start of plain windows; negative if the episode is too short."""
  return rows - length - (0 if last_row else 1)


def too_short(directory, length, needed, seen, others, readonly):
  """The UserError that no episode in memory has the rows that a window needs.

  Args:
    directory: of the episodes.
    length: rows of a window.
    needed: of an episode, for that.
    seen, others: lists of the rows of episodes in memory, and of those on disk alone.
    readonly: whether another run collected them.
  """
  smaller = 'Pass another --logdir and a smaller --batch_length'
  remedy = f'{smaller}.' if readonly else f'{smaller} or a larger --prefill, or collect longer episodes.'
  if max(others, default=0) >= needed:
    remedy = (
        f'One that is on disk alone has {max(others)}: pass a larger --replay_capacity, or 0, with the '
        'same command.')
  return UserError(
      f'{directory}: batch_length {length} needs an episode of {needed} rows but the longest of '
      f'{len(seen)} has {max(seen, default=0)}. {remedy}')
