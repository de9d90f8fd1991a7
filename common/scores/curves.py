"""Learning curves of runs on disk: found, read, grouped by their settings, put on common bins."""
import contextlib
import json
import os
import pathlib
import re
from typing import NamedTuple

import numpy as np

from common import config as config_lib
from common.config import UserError
from common.scores import run_files
from common.scores.run_files import FREE

# Of the keys in FREE, what decides which episodes are learned from: with others it is not the same setting.
KEPT = ('replay_capacity', 'prune_disk')

SHOWN = 3  # keys that a name tells, if these are enough

BINS = 50  # about as many as a picture can show

LARGEST = 1e100  # of a metric: squares of larger ones overflow


class Run(NamedTuple):
  """One metric of one run; frames and values are float64 [N], N may be 0."""
  path: pathlib.Path
  config: config_lib.Config
  frames: np.ndarray
  values: np.ndarray
  label: str = ''  # that the user gave it, and all beside it


class Group(NamedTuple):
  """Runs of one agent with the same settings on one task."""
  agent: str
  task: str
  name: str   # label, agent, blocks and, where groups differ in more, the keys that do
  runs: list  # of Run


class Bins(NamedTuple):
  """A group on common bins; arrays are [N]."""
  frames: np.ndarray  # mean over the points in the bin
  mean: np.ndarray    # over runs
  std: np.ndarray     # over runs, with n-1; NaN for one
  count: np.ndarray   # runs that have points in the bin, int64


def find(paths):
  """Return the directories of runs in the order of their names, each once.

  Args:
    paths: directories of runs, or folders that hold some at any depth.
  Raises:
    UserError: a path is no directory, or holds no run.
  """
  found = {}
  for path in paths:
    path = config_lib.expand(path)
    if not os.path.isdir(path):  # Path's own raises for names that are too long
      raise UserError(f'{path}: is no directory. Pass the --logdir of a run, or a folder of runs.')
    runs = sorted(run_files.below(path))
    if not runs and os.path.exists(path / 'metrics.jsonl'):
      raise UserError(
          f'{path}: config.yaml is missing, which names the agent and the task. Copy it from where '
          'the metrics come from.')
    if not runs:
      raise UserError(
          f'{path}: holds no run (metrics.jsonl beside config.yaml). Pass the --logdir of a run, '
          'or a folder of runs.')
    found.update((run.resolve(), run) for run in runs)
  return list(found.values())


def read_all(paths, metric):
  """Read one metric of all runs below some directories: list of Run.

  Args:
    paths: as `find` takes them, or LABEL=DIR, which sets the runs there apart from others.
    metric: full name, such as eval/return.
  Raises:
    UserError: as `find` and `read`; or a run has two labels.
  """
  found, labels = {}, {}
  for path in paths:
    label, path = _split(path)
    for run in find([path]):
      real = run.resolve()
      if label and labels.setdefault(real, label) != label:
        raise UserError(f'{run}: is called {labels[real]} and {label}. Give it one label.')
      found[real] = run
  return [read(run, metric)._replace(label=labels.get(real, '')) for real, run in found.items()]


def read(path, metric, config=None):
  """Read one metric of a run. What is null, beyond LARGEST or a torn line is left out.

  Args:
    path: directory with metrics.jsonl.
    metric: full name, such as eval/return.
    config: Config of the run; None reads config.yaml.
  Returns:
    Run, empty where the metric has no row yet. Keys that shape a run and that its version did not
    have are in its config with what held then.
  Raises:
    UserError: config.yaml is missing or broken, or metrics.jsonl cannot be read.
  """
  path = pathlib.Path(path)
  config = run_files.config(path / 'config.yaml') if config is None else config
  needed = {'agent', 'task', 'configs', 'eval_every'}
  if not needed <= set(config):
    raise UserError(
        f'{path}: its config.yaml is not one of ours ({", ".join(sorted(needed - set(config)))} '
        'missing). Pass the --logdir of a run.')
  run_files.check_types(path, config)
  later = {**run_files.later_keys(config.agent, config.task), **config_lib.before(config)}
  config = config_lib.Config({**later, **config})
  key = json.dumps(metric).encode()
  points = sorted([
      (row['step'], row[metric]) for row in run_files.rows(path / 'metrics.jsonl', key)
      if run_files.is_number(row.get('step'), 0, run_files.LATEST)
      and run_files.is_number(row.get(metric), -LARGEST, LARGEST)], key=lambda point: point[0])  # files may be joined
  frames, values = np.asarray(points, np.float64).reshape(-1, 2).T
  return Run(path, config, frames, values)


def repeated(runs):
  """'seed 0 occurs more than once' of runs with a config, such as a run and its export; or ''."""
  seeds = [run.config['seed'] for run in runs if 'seed' in run.config]
  twice = sorted({seed for seed in seeds if seeds.count(seed) > 1}, key=str)
  return f'seed {", ".join(map(str, twice))} occurs more than once' if twice else ''


def metrics(path):
  """Return the names of the metrics that a run has, sorted. Raises UserError if it cannot be read."""
  names = {name for row in run_files.rows(pathlib.Path(path) / 'metrics.jsonl', b'') for name in row}
  return sorted(names - {'step', 'time'})


def grouped(runs):
  """Return the list of Group: runs that differ in nothing but their seed and how they were run.

  A key that only some configs have, as later versions dropped it, makes no difference.
  """
  alike = {}
  for run in runs:
    config = run.config
    place = config.task, config.agent, tuple(config.configs), run.label
    alike.setdefault(place, []).append(run)
  own, named_by = {}, {}
  for place, members in alike.items():
    own[place] = differing(members)
    # What tells groups apart on one task names those of the others, too.
    named_by.setdefault(place[1:], set()).update(own[place])
  split = {place: _parts(members, own[place], named_by[place[1:]]) for place, members in alike.items()}
  # A method has one name on all tasks, or those that are averaged over would miss some.
  short = {}
  for place, parts in split.items():
    unlike = len({tuple(words[:SHOWN]) for words, _ in parts}) == len(parts)
    short[place[1:]] = short.get(place[1:], True) and unlike
  groups = []
  for place, parts in sorted(split.items(), key=lambda item: item[0]):
    task, agent, blocks, label = place
    shown = SHOWN if short[place[1:]] else None
    for words, part in parts:
      more = [f'and {len(words) - SHOWN} more'] if shown and len(words) > SHOWN else []
      name = f'{agent} ({" ".join(blocks) or "defaults"})'
      name = f'{label}: {name}' if label else name
      groups.append(Group(agent, task, ', '.join([name, *words[:shown], *more]), part))
  return groups


def _parts(members, own, named_by):
  """Runs of one task, agent, blocks and label by their values of the keys `own`.

  Returns:
    List of (words, runs), one for each combination of values, whose words tell the keys `named_by`.
  """
  shapes = {
      key: dict(zip(map(id, members), _shapes(members, key)))
      for key in named_by if all(key in run.config for run in members)}
  parts = {}
  for run in members:
    parts.setdefault(tuple(shapes[key][id(run)] for key in own), []).append(run)
  return [
      ([f'{key} {shapes[key][id(part[0])] or repr("")}' for key in sorted(shapes)], part)
      for part in parts.values()]


def differing(runs):
  """Return the keys that shape a run and have different values in the configs of some, sorted."""
  shared = set.intersection(*(set(run.config) for run in runs)) - set(FREE)
  return sorted(
      key for key in shared if len(set(_shapes(runs, key))) > 1)


def _shapes(runs, key):
  """The value of a key in the words of each run.

  Paths of runs that only the seed at their end names began from, such as /a/run-SEED, are /a/run-*.
  """
  texts = [str(run.config[key]) for run in runs]
  if key not in ('source', 'offline'):
    return texts
  texts = [text and os.path.normpath(os.path.expanduser(text)) for text in texts]
  seeds = [run.config.get('seed') for run in runs]
  users = {}
  for text, seed in zip(texts, seeds):
    users.setdefault(text, set()).add(seed)
  return [
      re.sub(rf'(?<!\d){seed}$', '*', text) if users[text] == {seed} else text
      for text, seed in zip(texts, seeds)]


def kept_unlike(runs):
  """'replay_capacity differs: 1e5, 5e6' of runs of a group that keep unlike many episodes; or ''."""
  values = {key: sorted({str(run.config[key]) for run in runs if key in run.config}) for key in KEPT}
  return '; '.join(f'{key} differs: {", ".join(some)}' for key, some in values.items() if len(some) > 1)


def commits(runs):
  """The commits that runs were made with, as far as they say, abbreviated and sorted."""
  found = set()
  for run in runs:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
      commit = json.loads((run.path / 'run.json').read_text())['commit']
      if commit and isinstance(commit, str):
        found.add(abbreviated(commit))
  return sorted(found)


def abbreviated(commit, digits=10):
  """Its first digits, and whether it is -dirty."""
  return commit[:digits] + ('-dirty' if commit.endswith('-dirty') else '')


def bin_width(runs):
  """Return the width (frames) that leaves about BINS bins, a multiple of all eval_every.

  The multiple is odd, so that evaluations lie at the centres of bins and not on their edges.
  """
  every = max(run.config.eval_every for run in runs)
  span = max(np.ptp(run.frames) for run in runs)
  return every * (2 * int(np.ceil((span / BINS / every - 1) / 2)) + 1) if span else every


def binned(runs, width):
  """Average runs whose points lie at different frames.

  Bin k holds what is nearest to first + k * width, where first is the first point of all runs. The
  points of a run are averaged first, so that each run counts the same.

  Args:
    runs: list of Run, none empty.
    width: frames, above 0.
  Returns:
    Bins, without those that are empty.
  """
  first = min(run.frames.min() for run in runs)
  places = [np.floor((run.frames - first) / width + 0.5).astype(np.int64) for run in runs]
  filled, where = np.unique(np.concatenate(places), return_inverse=True)
  frames, means = np.full((2, len(runs), len(filled)), np.nan)
  starts = np.cumsum([0] + [len(place) for place in places])
  for i, run in enumerate(runs):
    own = where[starts[i]:starts[i + 1]]
    count = np.bincount(own, minlength=len(filled))
    with np.errstate(invalid='ignore'):  # 0 / 0 where the run has nothing
      frames[i] = np.bincount(own, run.frames, len(filled)) / count
      means[i] = np.bincount(own, run.values, len(filled)) / count
  return Bins(np.nanmean(frames, 0), *_over_runs(means))


def windowed(runs, windows, frames):
  """Average runs over given windows, as published files do; see published.windows.

  An evaluation belongs to the frames at which it was due, which may lie some way before those of
  its row: edges give way by half the distance between rows, at most a twentieth of the window. A
  run counts in a window only if it has gone through all of it.

  Args:
    runs: list of Run, none empty.
    windows: float [N, 2], after the first and up to the second frame count.
    frames: float [N], x of each window.
  Returns:
    Bins at these frames, without those that no run has gone through.
  """
  windows = np.asarray(windows, np.float64)
  means = np.stack([_window_means(run, windows) for run in runs])
  filled = np.isfinite(means).any(0)
  mean, std, count = _over_runs(means[:, filled])
  return Bins(np.asarray(frames, np.float64)[filled], mean, std, count)


def reach(run, width):
  """Return the frames up to which windows of widths [N] are complete in a run that is not empty."""
  gap = _gap(run)
  return run.frames[-1] + gap - _slack(gap, width)


def _window_means(run, windows):
  """Mean of a run in each window [N], NaN where it has not gone through it."""
  low, high = windows.T
  gap, sums = _gap(run), np.concatenate([[0.0], np.cumsum(run.values)])
  slack = _slack(gap, high - low)
  first, last = (np.searchsorted(run.frames, edge + slack, 'right') for edge in (low, high))
  with np.errstate(invalid='ignore'):  # 0 / 0 where it has nothing
    means = (sums[last] - sums[first]) / (last - first)
  through = (run.frames[-1] + gap >= high + slack) & (
      (low <= 0) | (run.frames[0] - gap <= low + slack))
  return np.where(through, means, np.nan)


def _gap(run):
  """Frames from one row to the next."""
  return np.median(np.diff(run.frames)) if len(run.frames) > 1 else run.config.eval_every


def _slack(gap, width):
  return np.minimum(gap / 2, width / 20)


def _split(text):
  """(label, path) of LABEL=DIR, or of a path; what is there counts as one."""
  label, equals, path = str(text).partition('=')
  if not equals or os.sep in label or os.path.exists(config_lib.expand(text)):
    return '', text
  if not (label.strip() and os.path.isdir(config_lib.expand(path or '.'))):
    raise UserError(f'{text}: is no directory, nor is it one with a label, LABEL=DIR.')
  return label.strip(), path


def _over_runs(means):
  """Mean, standard deviation and count [N] over runs, of means [runs, N] that may be NaN."""
  count = np.isfinite(means).sum(0)
  mean = np.nanmean(means, 0)
  with np.errstate(invalid='ignore', divide='ignore'):
    std = np.sqrt(np.nansum((means - mean) ** 2, 0) / (count - 1))
  return mean, std, count
