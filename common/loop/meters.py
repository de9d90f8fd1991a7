"""What a run measures of itself: means of metrics, and where the time goes."""

import time

import numpy as np


class Means:
  """Running means of the metrics of updates since the last row.

  Attributes:
    values: dict of name to [sum, count], which a checkpoint keeps.
    seconds_per_update: measured on the second and third; None before.
  """

  def __init__(self, values):
    self.values = values
    self._pending, self._ends = [], []
    self.seconds_per_update = None

  def add(self, metrics):
    """Keep the scalar tensors of one update, which may still be computed."""
    self._pending.append(metrics)
    if self.seconds_per_update is None:
      self._measure(metrics)

  def _measure(self, metrics):
    next(iter(metrics.values())).numpy()  # waits until it is computed
    self._ends.append(time.perf_counter())
    if len(self._ends) == 3:  # the first update also compiles the graph
      self.seconds_per_update = (self._ends[2] - self._ends[0]) / 2

  def settle(self):
    """Fetch what is pending, at the end of a burst."""
    for metrics in self._pending:
      metrics = {name: float(value) for name, value in metrics.items()}
      norms = [value for name, value in metrics.items() if 'grad_norm' in name]
      self._add('skipped', float(not np.all(np.isfinite(norms))))
      for name, value in metrics.items():
        if np.isfinite(value):
          self._add(name, value)
    self._pending = []
    self._ends = []  # between bursts other things take time

  def take(self):
    """Means by name, with the count of skipped updates; starts anew."""
    skipped = int(self.values.pop('skipped', [0, 0])[0])
    result = {name: total / count for name, (total, count) in self.values.items()}
    self.values = {}
    return {**result, 'skipped': skipped}

  def _add(self, name, value):
    total, count = self.values.get(name, (0.0, 0))
    self.values[name] = [total + value, count + 1]


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

  def skip(self):
    """Leave the time since the last row up to now out of fps (evaluation)."""
    self._switch()
    self._mark += self._seconds.pop(None, 0.0)

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
