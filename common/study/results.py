"""What a run left behind besides its curves: its end, its speed, its evaluations, its faults."""
import json
import math
import os
import pathlib
from typing import NamedTuple

import numpy as np

from common import config as config_lib
from common.config import UserError
from common.config.options import FREE_TO_CHANGE
from common.scores import curves
from common.scores import run_files

# What may differ between seeds without a word: names, and how much was shown or checked on the way.
UNREMARKABLE = ('configs', 'logdir', 'quiet', 'log_every', 'nan_limit', 'deterministic', 'track')

# Of what run.json holds; each may be missing, or null.
KINDS = {'finished_at': (int, float), 'seconds': (int, float), 'command': str, 'commit': str, 'versions': dict}
UNEVEN = 1.1  # times as many frames as another seed


class Facts(NamedTuple):
  """One run."""
  path: pathlib.Path
  config: config_lib.Config
  frames: int          # of its last row
  finished: bool       # run.json says that nothing is left to do
  seconds: float       # of running, summed over restarts
  command: str         # '' where it is not known
  commit: str          # ends in -dirty if its code had changes that were not committed
  versions: dict       # package: version
  updates: int         # 0 where none were logged
  skipped: int         # of them, with non-finite gradients
  fps: float           # frames per second, evaluation left out; NaN where it is not known
  split: dict          # name such as time/env: share of that time
  evaluations: list    # rows of evaluate.jsonl
  problems: list       # of text


def facts(path, config):
  """Read what is known of a run. Files that are missing or torn are problems, not errors.

  Args:
    path: directory of the run.
    config: its Config.
  Returns:
    Facts.
  Raises:
    UserError: its config lacks what every run has.
  """
  path, problems = pathlib.Path(path), []
  missing = sorted({'seed', 'steps'} - set(config))
  if missing:
    raise UserError(f'{path}: its config.yaml lacks {", ".join(missing)}. Copy the file anew.')
  rows = _rows(path / 'metrics.jsonl', problems, _is_row)
  evaluations = _rows(path / 'evaluate.jsonl', problems, _is_evaluation)
  run = _run_json(path / 'run.json', problems)
  frames = max((int(row['step']) for row in rows), default=0)
  finished = (run.get('finished_at', frames) or 0) >= config['steps']
  if not finished:
    problems.append(f'unfinished: {frames:,} of {config["steps"]:,} frames')
  training = [row for row in rows if 'agent/updates' in row]
  updates = int(training[-1]['agent/updates']) if training else 0
  skipped = int(sum(row.get('agent/skipped') or 0 for row in training))
  if skipped:
    problems.append(f'{skipped:,} of {updates:,} updates skipped: their gradients were not finite')
  broken = sum(value is None for row in training for value in row.values())
  if broken:
    problems.append(f'{broken:,} logged training metrics were not finite')
  # What was never finite between two rows is left out of them.
  told = ['agent/model_loss' in row for row in training if row['agent/updates']]
  if any(told) and not all(told):
    problems.append(f'{told.count(False):,} rows of training metrics have no loss: none was finite')
  commit = run.get('commit') or ''
  if commit.endswith('-dirty'):
    problems.append(f'its code was commit {commit[:10]} with changes that were not committed')
  seconds = run.get('seconds') or max((row.get('time') or 0.0 for row in rows), default=0.0)
  if evaluations and evaluations[-1]['step'] < frames - config['eval_every']:
    problems.append(
        f'evaluate.jsonl is of {evaluations[-1]["step"]:,} frames, but the run went on')
  return Facts(
      path, config, frames, finished, float(seconds), run.get('command') or '',
      commit, run.get('versions') or {}, updates, skipped, *_speed(training),
      evaluations, problems)


def differences(runs, scored, at=None):
  """What makes the runs of one group less alike than they should be, as sentences.

  Args:
    runs: list of Facts with the same settings.
    scored: places of those that have a score.
    at: frames at which scores are taken, or None where all have got.
  """
  found = []
  twice = curves.repeated(runs)
  if twice:
    found.append(f'{twice}: those runs are not independent')
  commits = {run.commit for run in runs}
  if len(commits) > 1:
    found.append(
        'commits differ: ' + ', '.join(sorted(curves.abbreviated(c) or 'unknown' for c in commits)))
  packages = sorted({name for run in runs for name in run.versions})
  for name in packages:
    versions = {run.versions.get(name, 'unknown') for run in runs}
    if len(versions) > 1:
      found.append(f'versions of {name} differ: {", ".join(sorted(versions))}')
  for key in sorted(set(FREE_TO_CHANGE) - set(UNREMARKABLE)):
    values = {str(run.config[key]) for run in runs if key in run.config}
    if len(values) > 1:
      found.append(f'{key} differs: {", ".join(sorted(values))}')
  if scored and len(scored) < len(runs):
    left = ', '.join(str(run.config['seed']) for i, run in enumerate(runs) if i not in scored)
    found.append(f'without evaluation, so that it does not count: seed {left}')
  frames = [runs[i].frames for i in scored] or [0]
  if not at and max(frames) > UNEVEN * min(frames):
    found.append(
        f'seeds ended between {min(frames):,} and {max(frames):,} frames: scores are those at the '
        'frames that all have reached')
  return found


def _speed(training):
  """(frames per second, shares of the time) of all rows, each for the time that it stands for."""
  rows, last = [], None
  for row in training:
    if last is not None and row.get('fps') and row['step'] > last:
      rows.append((row['step'] - last, row))
    last = row['step']
  if not rows:
    return math.nan, {}
  seconds = np.array([frames / row['fps'] for frames, row in rows])
  fps = sum(frames for frames, _ in rows) / seconds.sum()
  split = {
      name: float(np.dot(seconds, [row.get(name) or 0.0 for _, row in rows]) / seconds.sum())
      for name in rows[-1][1] if name.startswith('time/')}
  return float(fps), split


def _is_row(row):
  shown = [key for key in row if key in ('agent/skipped', 'fps', 'time') or key.startswith('time/')]
  return _finite(row.get('step')) and _finite(row.get('agent/updates', 0)) and all(
      row[key] is None or _finite(row[key]) for key in shown)


def _is_evaluation(row):
  found = row.get('returns')
  lists = list(found.values()) if isinstance(found, dict) else [found]
  whole = all(map(_finite, (row.get('step'), row.get('return'), row.get('episodes', 0))))
  more = all(_finite(row[key]) for key in ('return_std', 'random_return', 'zero_return') if key in row)
  return whole and more and all(
      isinstance(returns, list) and all(map(_finite, returns)) for returns in lists)


def _finite(value):
  return run_files.is_number(value, -curves.LARGEST, curves.LARGEST)


def _rows(path, problems, sound):
  """Rows of a file of JSON lines; lines that are none, or not `sound`, become a problem."""
  rows, torn = [], 0
  if os.path.isfile(path):
    try:
      lines = path.read_bytes().splitlines()
    except OSError as error:
      problems.append(f'{path.name} cannot be read ({error.strerror})')
      lines = []
    for line in lines:
      try:
        row = json.loads(line)
      except (ValueError, RecursionError):
        row = None
      if isinstance(row, dict) and sound(row):
        rows.append(row)
      else:
        torn += 1
  if torn:
    problems.append(f'{path.name}: {torn} torn line{"s" if torn > 1 else ""} left out')
  return rows


def _run_json(path, problems):
  try:
    run = json.loads(path.read_text())
  except FileNotFoundError:
    problems.append('run.json is missing: command, commit, versions and time are not known')
  except (OSError, ValueError, RecursionError):
    problems.append('run.json cannot be read: command, commit, versions and time are not known')
  else:
    if isinstance(run, dict) and all(
        isinstance(run.get(key), (kind, type(None))) for key, kind in KINDS.items()) and all(
            isinstance(text, str) for text in (run.get('versions') or {}).values()) and all(
                run.get(key) is None or _finite(run[key]) for key in ('finished_at', 'seconds')):
      return run
    problems.append('run.json cannot be read: command, commit, versions and time are not known')
  return {}
