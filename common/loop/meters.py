"""What a run measures of itself: means of metrics, and where the time goes."""

import itertools
import time

import numpy as np

from common.model import metrics as metrics_lib


class Means:
  """Running means of the metrics of updates since the last row.

  Attributes:
    seconds_per_update: measured on the second and third; None before.
  """

  def __init__(self, values):
    self._values = values
    self._pending, self._took = [], []
    self.seconds_per_update = None

  @property
  def values(self):
    """Dict of name to [sum, count], which a checkpoint keeps."""
    self._settle()
    return self._values

  def add(self, metrics, started):
    """Keep the model.metrics.Metrics of one update, which may still be computed.

    started: time.perf_counter() when it began.
    """
    self._pending.append(metrics)
    if self.seconds_per_update is None:
      self._measure(started)

  def wait(self):
    """Return when the last update is computed; the end of a burst."""
    if self._pending:
      self._pending[-1].vector.numpy()

  def take(self):
    """Means by name, with the count of skipped updates; starts anew."""
    values, self._values = self.values, {}
    skipped = int(values.pop('skipped', [0, 0])[0])
    result = {name: total / count for name, (total, count) in values.items()}
    return {**result, 'skipped': skipped}

  def _measure(self, started):
    self._pending[-1].vector.numpy()  # waits until it is computed
    self._took.append(time.perf_counter() - started)
    if len(self._took) == 3:  # the first update also compiles the graph
      self.seconds_per_update = sum(self._took[1:]) / 2

  def _settle(self):
    """Fetch what is pending and add it up; what is not finite counts for nothing."""
    pending, self._pending = self._pending, []
    for names, group in itertools.groupby(pending, lambda metrics: metrics.names):
      rows = metrics_lib.fetch(list(group)).astype(np.float64)  # [updates, names]
      finite = np.isfinite(rows)
      norms = [i for i, name in enumerate(names) if 'grad_norm' in name]
      self._add('skipped', ~finite[:, norms].all(1))
      for name, column, known in zip(names, rows.T, finite.T):
        if known.any():
          self._add(name, column[known])

  def _add(self, name, numbers):
    total, count = self._values.get(name, (0.0, 0))
    # One after the other, so that sums do not depend on how many are fetched at once.
    total = np.add.accumulate([total, *numbers])[-1]
    self._values[name] = [float(total), count + len(numbers)]


class Clock:
  """Where the time goes: nested sections, each counted without its inner ones."""

  def __init__(self, frames):
    self._frames, self._stack = frames, []
    self._mark = self._last = time.perf_counter()
    self._seconds = {}

  def __call__(self, name):
    """Context manager: the time inside belongs to the section `name`."""
    self._switch()
    self._stack.append(name)
    return self

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self._switch()
    self._stack.pop()

  def skip(self, seconds=None):
    """Leave so many seconds out of the next row, and return them.

    Default: those since the last row that belong to no section (evaluation).
    """
    self._switch()
    seconds = self._seconds.pop(None, 0.0) if seconds is None else seconds
    self._mark += seconds
    return seconds

  def take(self, frames):
    """fps since the last row, and the shares of time/NAME of that time."""
    self._switch()
    now = time.perf_counter()
    total = max(now - self._mark, 1e-9)
    row = {'fps': (frames - self._frames) / total}
    for name in ('env', 'policy', 'train', 'data'):
      row[f'time/{name}'] = self._seconds.get(name, 0.0) / total
    self._frames, self._mark, self._seconds = frames, now, {}
    return row

  def _switch(self):
    now = time.perf_counter()
    name = self._stack[-1] if self._stack else None
    self._seconds[name] = self._seconds.get(name, 0.0) + now - self._last
    self._last = now
