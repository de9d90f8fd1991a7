"""Short runs that have to come out the same: every metric in every row.

A seeded run on fixed episodes is the same to the bit on one machine. On others sums are made in
another order, which moves the last digits, and learning makes more of that with each update. So

  |here - stored| <= 0.001 size                                       up to update EARLY
  |here - stored| <= max(0.001 size, SAFETY spread)                   later

where size is |stored|, but not less than a tenth of what is usual for the metric, and spread is how
far runs of the same command under several kernels and thread counts (common.checks.kernels) came from
their median up to that update. What is stored is the median.
"""
import json
from typing import NamedTuple

import numpy as np

from common import config as config_lib
from common.config import UserError

EARLY = 20
TOLERANCE = 1e-3
SAFETY = 10
FLOOR = 0.1   # of the mean size of a metric
SHOWN = 12    # lines on metrics that moved
CLOCKS = ('time', 'fps', 'time/env', 'time/policy', 'time/train', 'time/data')


class Moved(NamedTuple):
  """A metric that is not within its band."""
  metric: str
  step: int      # where first
  stored: float
  here: float    # None where the row or the number is missing
  error: float   # share of the size; infinite where it is missing
  band: float    # share of the size
  rows: int      # how many are outside
  of: int


def summarise(runs):
  """Return what a reference holds of runs of one command under several kernels.

  Args:
    runs: directories.
  Returns:
    Dict with `early` (the frames of update EARLY) and `metrics`: by name a dict of lists, step
    (frames), value and spread.
  Raises:
    UserError: there is one run alone, or they differ so much that EARLY cannot hold.
  """
  if len(runs) < 2:
    raise UserError(
        f'{runs[0]}: one run does not tell how far kernels move it. Make several of the same '
        'command: python -m common.verify kernels DIR AGENT --KEY VALUE ...')
  found = [read(run) for run in runs]
  if any(_steps(one) != _steps(found[0]) for one in found):
    raise UserError(f'{runs[0]}: its rows are not those of the other runs. Make all of them anew.')
  config = config_lib.read(runs[0] / 'config.yaml')
  early = EARLY * config.train_every // config.train_steps
  metrics = {}
  for name, points in found[0].items():
    steps = sorted(points)
    values = np.array([[one[name][step] for step in steps] for one in found], np.float64)
    if not np.isfinite(values).all():
      raise UserError(f'{runs[0]}: {name} is not a number in every row, here or in another run.')
    median = np.median(values, 0)
    spread = np.maximum.accumulate(np.abs(values - median).max(0))
    _check_spread(name, np.array(steps) <= early, median, spread)
    metrics[name] = {
        'step': steps, 'value': [float(f'{x:.8g}') for x in median],
        'spread': [float(f'{x:.2g}') for x in spread]}
  return {'early': early, 'metrics': metrics}


def compare(reference, runs):
  """Compare every run with a reference, row by row; see common.checks.stored.compare."""
  ok, lines = True, []
  for run in runs:
    found = read(run)
    moved, worst = outside(reference, found)
    ok = ok and not moved
    count = len(reference['metrics'])
    if moved:
      lines.append(
          f'{run}: {len(moved)} of {count} metrics are not those of {reference["name"]}. First:')
      lines += [f'  {describe(one)}' for one in moved[:SHOWN]]
      lines += [f'  and {len(moved) - SHOWN} more'] if len(moved) > SHOWN else []
    else:
      lines.append(
          f'{run}: all {count} metrics are those of {reference["name"]}. Closest to its band: '
          f'{describe(worst)}')
    new = sorted(set(found) - set(reference['metrics']))
    lines += [f'  not stored, so not compared: {", ".join(new)}'] if new else []
  return ok, lines


def outside(reference, found):
  """Find the metrics that have left their bands.

  Args:
    reference: as stored.
    found: what `read` gave.
  Returns:
    (list of Moved, those that moved first at the top; the one closest to its band).
  """
  each = [
      _judge(name, known, found.get(name, {}), reference['early'])
      for name, known in reference['metrics'].items()]
  moved = sorted(
      (one for one in each if one.rows), key=lambda one: (one.step, -one.error / one.band))
  return moved, max(each, key=lambda one: one.error / one.band)


def read(run):
  """Return {metric: {step: value}} of all that does not tell time; null becomes NaN."""
  metrics = {}
  with (run / 'metrics.jsonl').open() as file:
    for number, line in enumerate(file, 1):
      try:
        row = json.loads(line)
        row['step']
      except (ValueError, TypeError, KeyError):
        raise UserError(
            f'{run / "metrics.jsonl"}: line {number} is no row of metrics. Make the run anew.'
        ) from None
      for name, value in row.items():
        if name != 'step' and name not in CLOCKS:
          value = float('nan') if value is None else value
          metrics.setdefault(name, {})[row['step']] = value
  return metrics


def describe(one):
  """Return a line on a metric."""
  here = 'nothing' if one.here is None else f'{one.here:.6g}'
  where = f', outside in {one.rows} of {one.of} rows' if one.rows else ''
  return (
      f'{one.metric} at step {one.step}: {here} here, {one.stored:.6g} stored, '
      f'{100 * one.error:.3g} % apart, band {100 * one.band:.2g} %{where}')


def _sizes(values):
  """What errors are shares of, [N]; 1 for a metric that is zero throughout."""
  sizes = np.abs(values)
  return np.maximum(sizes, FLOOR * sizes.mean() or 1.0)


def _judge(name, known, points, early):
  """Return the Moved of a metric: where it is first outside, else where it is closest to that."""
  steps, values = np.array(known['step']), np.array(known['value'])
  sizes = _sizes(values)
  here = np.array([points.get(step, np.nan) for step in known['step']], np.float64)
  apart = np.nan_to_num(np.abs(here - values) / sizes, nan=np.inf)
  spread = SAFETY * np.array(known['spread']) / sizes
  bands = np.where(steps <= early, TOLERANCE, np.maximum(TOLERANCE, spread))
  outside_ = apart > bands
  new = sorted(set(points) - set(known['step']))
  if new and not outside_.any():  # rows that were not there: another schedule
    return Moved(
        name, new[0], float('nan'), points[new[0]], np.inf, TOLERANCE, len(new), len(points))
  i = int(np.argmax(outside_ if outside_.any() else apart / bands))
  return Moved(
      name, int(steps[i]), float(values[i]), None if np.isnan(here[i]) else float(here[i]),
      float(apart[i]), float(bands[i]), int(outside_.sum()), len(steps))


def _steps(found):
  return {name: sorted(points) for name, points in found.items()}


def _check_spread(name, early, median, spread):
  """Refuse runs whose kernels alone would nearly leave the early band."""
  share = (spread / _sizes(median))[early].max(initial=0)
  if not share < TOLERANCE / 2:
    raise UserError(
        f'verify: {name} differs by {100 * share:.2g} % between kernels in the first {EARLY} '
        f'updates, which is too near to the band of {100 * TOLERANCE:.2g} %. Make the runs calmer, '
        'such as by a smaller learning rate or larger batches.')
