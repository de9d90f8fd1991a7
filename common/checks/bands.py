"""Learning runs that have to be as good as stored ones, as far as their seeds can tell.

Returns are averaged over quarters of the stored run, evaluations and training episodes apart, and
the final evaluation (python -m common.evaluate) counts by itself. Each mean over the runs here has
to reach the lower end of

  mean over stored seeds +- t(0.975) s sqrt(1 / stored + 1 / here)          (prediction interval)
  s^2 = (4 (0.15 height)^2 + sum over stored seeds (x - mean)^2) / (4 + stored - 1)

with t of 4 + stored - 1 degrees of freedom: the spread of the stored seeds, moderated by what is
known beforehand. That is PRIOR = 0.15 of the height, from the lowest to the highest that the curve
has reached: in the published curves of Dreamer, 20 tasks with mostly 5 seeds, the standard
deviation over seeds is 0.14 of that in the mean square (0.05 in the median, 0.30 at 95 %). It
weighs as much as five seeds. So one stored seed and one run make a wide band of +- 0.59 of the
height, which a run that does not learn still leaves; five and five make +- 0.22 if seeds spread as
expected. Each single comparison falls below by chance in one of forty cases. What is above the band
is said and is no regression.
"""
import contextlib
import json
import math
from typing import NamedTuple

import numpy as np

from common.config import UserError
from common.scores import curves

KEPT = ('step', 'episodes', 'return', 'return_std', 'zero_return', 'random_return')
CELLS = 20     # parts of a run whose means are stored
QUARTERS = 4   # parts that are compared
PRIOR = 0.15   # standard deviation over seeds, as a share of the height
WEIGHT = 4     # degrees of freedom of that
LEVEL = 0.975  # of the lower end, and of the upper one


class Compared(NamedTuple):
  """A mean here beside its band."""
  what: str       # metric, or final evaluation
  first: int      # frames
  last: int
  stored: float
  here: float
  half: float     # half the width of the band

  @property
  def verdict(self):
    """below, within or above."""
    if self.here < self.stored - self.half:
      return 'below'
    return 'above' if self.here > self.stored + self.half else 'within'


def summarise(runs):
  """Return what a reference holds of runs that differ in their seeds.

  Returns:
    Dict with `frames` (of the longest run) and `seeds`: for each run its seed, by metric CELLS
    means (null where there is none), and final, the evaluation at its end if there is one.
  Raises:
    UserError: a run has no returns, or seeds are not different.
  """
  frames = max(int(curves.read(run, 'eval/return').frames.max(initial=0)) for run in runs)
  if not frames:
    raise UserError(f'{runs[0]}: has no evaluation. Store runs that have eval/return.')
  return {'frames': frames, 'seeds': _seeds(runs, frames)}


def compare(reference, runs):
  """Compare runs with a reference by their means; see common.checks.stored.compare."""
  frames = reference['frames']
  for run in runs:
    reached = curves.read(run, 'eval/return').frames.max(initial=0)
    if reached < 0.95 * frames:
      raise UserError(
          f'{run}: was evaluated up to {reached:,.0f} frames, but {reference["name"]} goes to '
          f'{frames:,}. Train on: --steps {frames}.')
  here = _seeds(runs, frames)
  results = [
      one for metric in _metrics(reference['seeds'])
      for one in _quarters(metric, reference['seeds'], here, frames)]
  results += _final(reference['seeds'], here, frames)
  if not results:
    raise UserError(
        f'{runs[0]}: has no number at the frames of {reference["name"]}, so there is nothing to '
        'compare. Evaluate as often as the stored runs: --eval_every.')
  if not all(np.isfinite([one.stored, one.here, one.half]).all() for one in results):
    raise UserError(f'{reference["name"]}: holds numbers that are not finite. Store its runs again.')
  below = sorted((one for one in results if one.verdict == 'below'), key=lambda one: one.first)
  seeds = [one['seed'] for one in reference['seeds']]
  share = 100 * _half(1.0, [0.0] * len(seeds), len(runs))
  lines = [
      f'{reference["name"]}: {_count(len(seeds), "stored seed")}, {_count(len(runs), "run")} here. '
      f'Bands are +- {share:.0f} % of the height of a curve'
      + (': wide, as one seed does not tell how seeds differ.' if len(seeds) == 1 else
         ', more where the stored seeds spread.')]
  lines += [f'  {describe(one)}' for one in results]
  if not any('final' in one for one in here):
    lines.append(
        f'  final evaluation: not made near {frames:,} frames. python -m common.evaluate --logdir '
        'DIR --episodes 10')
  lines.append(
      f'Regression: {len(below)} of {len(results)} below the band, first {below[0].what} at '
      f'{below[0].first:,} frames.' if below else
      f'No regression: none of {len(results)} below the band.')
  return not below, lines


def describe(one):
  """Return a line on a comparison."""
  where = f'{one.first:,} to {one.last:,}' if one.first < one.last else f'{one.last:,}'
  return (
      f'{one.what} at {where} frames: {one.here:.4g} here, {one.stored:.4g} +- {one.half:.3g} '
      f'stored: {one.verdict}')


def _seeds(runs, frames):
  """What is kept of each run. Raises UserError if two are of the same seed."""
  seeds = [_seed(run, frames) for run in runs]
  numbers = [one['seed'] for one in seeds]
  if len(set(numbers)) < len(numbers):
    raise UserError(f'{runs[0]}: the seeds of the runs are {numbers}, but must differ.')
  return seeds


def _seed(run, frames):
  """What is kept of one run: means over CELLS parts of the frames, and the final evaluation."""
  result = {'seed': int(curves.read(run, 'eval/return').config['seed'])}
  for metric in curves.metrics(run):
    if metric in ('eval/return', 'train/return') or metric.startswith('eval/return/'):
      result[metric] = _cells(curves.read(run, metric), frames)
  found = [row for row in _evaluations(run) if 0.9 * frames <= row['step'] <= 1.1 * frames]
  if found:  # the newest with ten episodes, or else with the most
    result['final'] = max(reversed(found), key=lambda row: min(row['episodes'], 10))
  return result


def _evaluations(run):
  """What is kept of the whole rows of evaluate.jsonl."""
  rows = []
  with contextlib.suppress(OSError):
    for line in (run / 'evaluate.jsonl').read_text().splitlines():
      with contextlib.suppress(ValueError, KeyError, TypeError):
        row = json.loads(line)
        row = {key: row[key] for key in KEPT}
        if all(math.isfinite(value) for value in row.values()):
          rows.append(row)
  return rows


def _cells(points, frames):
  """Means [CELLS] of the points up to `frames`; None where there is none."""
  place = np.ceil(points.frames * CELLS / frames).astype(int) - 1
  return [
      float(f'{points.values[place == i].mean():.7g}') if (place == i).any() else None
      for i in range(CELLS)]


def _metrics(seeds):
  """Names of what all seeds have."""
  return [name for name, x in seeds[0].items() if isinstance(x, list) and all(
      name in one for one in seeds)]


def _quarters(metric, stored, here, frames):
  """List of Compared for the quarters in which both sides have points."""
  old, new = _parts(metric, stored), _parts(metric, here)
  height = _height(metric, stored)
  return [
      Compared(
          metric, q * frames // QUARTERS, (q + 1) * frames // QUARTERS, np.mean(old[q]),
          np.mean(new[q]), _half(height, old[q], len(new[q])))
      for q in range(QUARTERS) if old[q] and new[q]]


def _parts(metric, seeds):
  """For each quarter a list of the means of the seeds that have points there."""
  size = CELLS // QUARTERS
  return [
      [x for x in (_mean(one.get(metric, [])[q * size:(q + 1) * size]) for one in seeds)
       if x is not None] for q in range(QUARTERS)]


def _height(metric, stored):
  """From the lowest that the curves or random actions had to the highest mean of a quarter."""
  low = [x for one in stored for x in one.get(metric, []) if x is not None]
  if metric == 'eval/return':  # random actions are one number, the mean over tasks
    low += [one['final']['random_return'] for one in stored if 'final' in one]
  means = [np.mean(part) for part in _parts(metric, stored) if part]
  return max(means, default=0.0) - min(low, default=0.0)


def _final(stored, here, frames):
  """List of one Compared, or empty where a side has no final evaluation.

  Its height is that of the evaluations before it, or its own above random actions if that is more.
  """
  old, new = (
      [one['final']['return'] for one in seeds if 'final' in one] for seeds in (stored, here))
  if not old or not new:
    return []
  low = min(one['final']['random_return'] for one in stored if 'final' in one)
  return [Compared(
      'final evaluation', frames, frames, np.mean(old), np.mean(new),
      _half(max(np.mean(old) - low, _height('eval/return', stored)), old, len(new)))]


def _half(height, stored, here):
  """Half the width of the band for the mean of `here` runs; stored: list of the stored means."""
  # Delayed: who compares short runs does not wait for SciPy.
  from scipy import special
  n, freedom = len(stored), WEIGHT + len(stored) - 1
  squares = WEIGHT * (PRIOR * height) ** 2 + np.sum((stored - np.mean(stored)) ** 2)
  return float(
      special.stdtrit(freedom, LEVEL) * math.sqrt(squares / freedom * (1 / n + 1 / here)))


def _mean(values):
  values = [x for x in values if x is not None]
  return np.mean(values) if values else None


def _count(number, word):
  return f'{number} {word}' + ('' if number == 1 else 's')
