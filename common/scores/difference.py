"""What one changed thing has changed: the difference of two groups of runs, with its interval."""
import numpy as np

from common.scores import aggregate
from common.scores.references import own_name


def lines(task, groups, metric, bins, width):
  """A line on the difference of two groups with several runs each, or an empty list.

  Args:
    task: name.
    groups: list of curves.Group.
    metric: full name.
    bins: list of curves.Bins, one for each group.
    width: frames of a bin; NaN for bins as published.
  """
  if len(groups) != 2 or not all(len(part.frames) for part in bins):
    return []
  # Where all runs of both still are, and on the same frames.
  end = min(part.frames[part.count == part.count.max()][-1] for part in bins)
  places = [np.argmin(np.abs(part.frames - end)) for part in bins]
  if any(abs(part.frames[i] - end) > (0 if np.isnan(width) else width / 2) for part, i in zip(bins, places)):
    return []
  mean, std, count = (
      np.array([getattr(part, name)[i] for part, i in zip(bins, places)])
      for name in ('mean', 'std', 'count'))
  low, high = aggregate.mean_interval(mean, std, count)
  if not np.isfinite(high):
    return []
  gap, half = mean[0] - mean[1], high - low  # of a difference twice that of a mean of two
  names = ' - '.join(f'({own_name(group, metric)})' for group in groups)
  return [
      f'{task} | {names}: {gap:.4g}, 95 % interval {gap - half:.4g} to {gap + half:.4g} (Welch) at '
      f'{end:,.0f} frames']
