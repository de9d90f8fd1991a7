"""Aggregate scores of groups of runs, and published ones over the same tasks and frames.

Scores are normalised: DeepMind Control by the length of an episode, of which a frame gives 1 at
most; games by random and human play. A score is that of one run: the mean of its rows in a window
of frames, the same for all runs of a group.
"""
from typing import NamedTuple

import numpy as np

from common import config as config_lib
from common.scores import aggregate
from common.scores import canvas
from common.scores import chart
from common.scores import curves
from common.scores import protocol
from common.scores import published
from common.scores.references import flags
from common.scores.references import name_of
from common.scores.references import own_name

UNITS = {
    'dmc': {'return': 'return / 1000'},
    'atari': {
        'gamer': 'human-normalised by gamers', 'record': 'normalised by human records',
        'clipped_record': 'normalised by human records, at most 1'}}


class Row(NamedTuple):
  """Aggregates of one group of runs, or of one published method."""
  unit: str        # of UNITS
  name: str
  group: str       # name of the own group, or of that beside which a published method stands
  published: bool
  tasks: tuple     # names without the suite
  seeds: tuple     # number of each task; empty where it is not known
  frames: str      # at which scores are taken, in words
  estimates: dict  # of aggregate.STATISTICS: (value, low, high), NaN where not known


class Window(NamedTuple):
  """Frames that the scores of one task are taken from."""
  low: float      # after these
  high: float     # up to these
  curve: object   # published.Curve whose bin that is, or None
  x: float        # what that bin is labelled with


class Taken(NamedTuple):
  """Scores of one task."""
  scores: np.ndarray  # returns of the runs, as logged, float64 [N]
  frames: float       # mean of the rows that they come from; of a published bin its label
  window: Window


def rows(groups, metric, width=None, at=None):
  """Return the aggregates (list of Row) of groups of runs, and notes on what is left out.

  A run that ends before the window does is left out and named. Without `at`, scores are taken
  where the shortest run of a group ends.

  Args:
    groups: list of curves.Group with runs that are not empty.
    metric: what their values are. Only returns are aggregated.
    width: of the window that ends there, in frames; None is a tenth of the frames, from one to ten
      times `eval_every`; chart.PUBLISHED is the last published bin up to there.
    at: frame count; None chooses for each group.
  Returns:
    (rows, notes), a list of Row and a list of sentences.
  """
  found, notes = [], []
  for name, tasks in _methods(groups, metric, notes).items():
    taken = _take(name, tasks, metric, width, at, notes)
    if taken:
      compared = {
          task: taken[task] for task, group in tasks.items()
          if task in taken and protocol.comparable(group, metric)}
      for unit in UNITS[config_lib.suite(next(iter(taken)))]:
        found += _block(unit, name, taken, _known(unit, tasks, compared, metric), notes)
  return found, list(dict.fromkeys(notes))


def lines(found):
  """Return a table of the rows as a list of lines, in a block for each unit."""
  result = []
  for unit in dict.fromkeys(row.unit for row in found):
    cells = [('', 'tasks', 'seeds', 'frames', *aggregate.STATISTICS)]
    for row in found:
      if row.unit == unit:
        cells.append((
            ('  ' if row.published else '') + row.name, str(len(row.tasks)), _span(row.seeds),
            row.frames, *(interval_text(*row.estimates[name]) for name in aggregate.STATISTICS)))
    widths = [max(len(cell) for cell in column) for column in zip(*cells)]
    result += ['', f'{unit[:1].upper()}{unit[1:]}, with 95 % intervals over seeds']
    result += ['  '.join(
        cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in cells]
  return result


def interval_text(value, low, high):
  """Return such as '0.823 [0.801, 0.842]', or a dash where the value is not known."""
  if not np.isfinite(value):
    return '-'
  digits = 3 if abs(value) < 10 else 1
  text = f'{value:.{digits}f}'
  return f'{text} [{low:.{digits}f}, {high:.{digits}f}]' if np.isfinite(low) else text


def _methods(groups, metric, notes):
  """{name: {task: group}} of what can be aggregated; names are of one suite each."""
  found, suites, told = {}, {}, {}
  for group in groups:
    told.setdefault(group.name, []).append(flags(group))
  for task, members in protocol.panels(groups, metric).items() if protocol.returns(metric) else ():
    suite = config_lib.suite(task)
    for group, named in zip(members, protocol.named_apart(members)):
      # Tasks are one method also where an option differs between them.
      same = all(words == told[group.name][0] for words in told[group.name])
      name = own_name(named, metric, told[group.name][0] if same else [])
      if suite not in UNITS:
        notes.append(f'{task}: not aggregated, there is no scale that it shares with other tasks.')
      elif protocol.episode(group, metric) != protocol.EPISODES[suite]:
        notes.append(
            f'{name}: not aggregated, its episodes have {protocol.episode(group, metric):,} frames, '
            f'published ones {protocol.EPISODES[suite]:,}.')
      elif suite == 'atari' and published.normalised(task, 0.0) is None:
        notes.append(f'{task}: not aggregated, its human scores are not known.')
      else:
        found.setdefault((suite, name), {})[task] = group
        suites.setdefault(name, set()).add(suite)
  for (_, name), tasks in found.items():
    keys = curves.differing([run for group in tasks.values() for run in group.runs])
    keys = [key for key in keys if key != 'task']
    if keys:
      notes.append(f'{name}: tasks differ in {", ".join(keys)}.')
  return {
      name if len(suites[name]) == 1 else f'{name}, {suite}': tasks
      for (suite, name), tasks in found.items()}


def _take(name, tasks, metric, width, at, notes):
  """{task: Taken} of a group; runs that did not come so far are named in notes."""
  runs = [run for group in tasks.values() for run in group.runs]
  taken = {}
  for task, group in tasks.items():
    window = _window(task, group, metric, width, at, runs)
    if window is None:
      notes.append(f'{name}: {task} is not aggregated, no published bin of it is complete.')
      continue
    pairs = [(run, *_score(run, window)) for run in group.runs]
    notes += [
        f'{run.path}: left out of the aggregates at {window.high:,.0f} frames, as ' + (
            f'it ends at {run.frames[-1]:,.0f}.' if _ends_before(run, window) else
            f'its first row is at {run.frames[0]:,.0f}.')
        for run, score, _ in pairs if not np.isfinite(score)]
    kept = [(score, frames) for _, score, frames in pairs if np.isfinite(score)]
    if kept:
      scores, frames = np.asarray(kept).T
      taken[task] = Taken(scores, frames.mean(), window)
  if taken and 1 < min(len(part.scores) for part in taken.values()) < 5:
    notes.append(
        'Intervals from fewer than five seeds come out too short: with three 88 %, with two 80 % '
        'of them hold the true score.')
  shortest = min(runs, key=lambda run: run.frames[-1])
  if at is None and shortest.frames[-1] < 0.9 * max(run.frames[-1] for run in runs):
    notes.append(
        f'{name}: aggregated where {shortest.path} ends, others go on. In plots --at FRAMES '
        'chooses more and leaves out what ends earlier.')
  return taken


def _window(task, group, metric, width, at, runs):
  """Window of a task, or None where no published bin fits."""
  if width != chart.PUBLISHED:
    end = min(run.frames[-1] for run in runs) if at is None else at
    every = max(run.config.eval_every for run in runs)
    return Window(end - (width or np.clip(end / 10, every, 10 * every)), end, None, np.nan)
  for curve in protocol.references(task, [group], metric, binned=True):
    windows = published.windows(curve.method, curve.task, curve.observation)
    # Bins of 1M frames may end a little later.
    end = at + published.BIN_WIDTHS[curve.source] / 20 if at is not None else np.min(
        [curves.reach(run, windows[:, 1] - windows[:, 0]) for run in runs], 0)
    reached = np.flatnonzero(windows[:, 1] <= end)
    if len(reached):
      return Window(*windows[reached[-1]], curve, curve.frames[reached[-1]])
  return None


def _ends_before(run, window):
  """Whether a run does not reach the end of a window."""
  published_bin = window.curve is not None
  end = curves.reach(run, window.high - window.low) if published_bin else run.frames[-1]
  return end < window.high


def _score(run, window):
  """Return (mean value, mean frames) of a run in a window; NaN where it did not get there."""
  if window.curve is not None:
    bins = curves.windowed([run], [window[:2]], [window.x])
    return (bins.mean[0], window.x) if len(bins.mean) else (np.nan, np.nan)
  reached = run.frames <= window.high
  if run.frames[-1] < window.high or not reached.any():
    return np.nan, np.nan
  inside = reached & (run.frames > window.low)
  if not inside.any():  # after long episodes rows lie further apart
    inside = run.frames == run.frames[reached].max()
  return run.values[inside].mean(), run.frames[inside].mean()


def _known(unit, tasks, compared, metric):
  """Published results at the frames of own scores, {name: {task: (mean, std, seeds, frames)}}."""
  found = {}
  for task, (_, frames, window) in compared.items():
    group = tasks[task]
    references = [window.curve] if window.curve is not None else protocol.references(
        task, [group], metric)
    for curve in references:
      mean, std = curve.at(frames)
      if np.isfinite(mean):
        place = min(np.searchsorted(curve.frames, frames), len(curve.frames) - 1)
        name = f'{name_of(curve.method)}, from {curve.observation}'
        found.setdefault(name, {})[task] = mean, std, curve.n_seeds[place], frames
    if protocol.returns(metric) == 'eval':
      for name, score in protocol.printed(task, group, window[:2]).items():
        std, seeds = (np.nan if x is None else x for x in (score.std, score.n_seeds))
        found.setdefault(f'{name}, from {score.observation}', {})[task] = (
            score.value, std, seeds, score.frames)
  return {
      name: {task: _scaled(unit, task, *rest) for task, rest in scores.items()}
      for name, scores in found.items()}


def _block(unit, name, taken, known, notes):
  """Rows of a group in one unit, and under it those of published methods on the same tasks."""
  text = next(texts[unit] for texts in UNITS.values() if unit in texts)
  found = [_own(unit, text, name, name, taken)]
  if unit == 'clipped_record' and known:
    # The mean of clipped seeds is not the clipped mean.
    notes.append('Published scores have no clipped ones beside them: files hold means over seeds.')
    return found
  for method, scores in known.items():
    means, stds, seeds, frames = zip(*scores.values())
    estimates = {statistic: (np.nan,) * 3 for statistic in aggregate.STATISTICS}
    estimates['mean'] = np.mean(means), *aggregate.mean_interval(means, stds, seeds)
    estimates['median'] = np.median(means), np.nan, np.nan
    seeds = () if np.isnan(seeds).any() else tuple(map(int, seeds))
    found.append(Row(text, f'{method}, published', name, True, _names(scores), seeds,
                     canvas.short(np.mean(frames)), estimates))
    if len(scores) < len(taken):
      part = {task: taken[task] for task in scores}
      found.append(_own(unit, text, f'{name}, on the tasks of {method}', name, part))
  return found


def _own(unit, text, name, group, taken):
  """Row of own scores."""
  scores = [
      np.asarray([_scaled(unit, task, score)[0] for score in part.scores])
      for task, part in taken.items()]
  low, high = zip(*(part.window[:2] for part in taken.values()))
  return Row(
      text, name, group, False, _names(taken), tuple(map(len, scores)),
      f'{canvas.short(max(0, min(low)))} to {canvas.short(max(high))}',
      {word: (float(statistic(scores)), *aggregate.interval(scores, statistic))
       for word, statistic in aggregate.STATISTICS.items()})


def _scaled(unit, task, score, std=np.nan, *rest):
  """Score and deviation in a unit."""
  if unit == 'return':
    length = protocol.EPISODES['dmc']
    return score / length, std / length, *rest
  share = lambda value: published.normalised(task, value)[unit]
  return share(score), share(std) - share(0.0), *rest


def _names(tasks):
  return tuple(map(published.task_name, tasks))


def _span(values, text=str):
  """Such as '3 to 5', or '5' where all are the same."""
  return ' to '.join(dict.fromkeys([text(min(values)), text(max(values))])) if values else '-'
