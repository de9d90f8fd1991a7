"""Published results to compare with: curves and single numbers, with their protocol and source.

The tables and their provenance are in common/scores. x is environment frames, y the undiscounted
return of an episode (DeepMind Control: 1000 frames, at most 1000).
"""
import csv
import functools
import pathlib
from typing import NamedTuple

import numpy as np

FOLDER = pathlib.Path(__file__).resolve().parent

# File of the curves, what its runs see, and whether returns are those of noise-free evaluations
# or of training episodes; those of DreamerV3's rivals are not stated. scores/README.md says how
# sure that is.
TABLES = {
    'dreamer_dmc': ('pixels', {'dreamer': 'eval'}),
    'dreamerv2_dmc': ('pixels', {'dreamerv2': 'train'}),
    'dreamerv2_atari': ('pixels', {
        'dreamerv2': 'eval', 'dreamerv2_nosched': 'eval', 'dreamerv2_schedules': 'eval',
        'dreamerv2_montezuma': 'eval'}),
    'plan2explore_zeroshot': ('pixels', {'plan2explore_zeroshot': 'eval'}),
    'dmc_vision_others': ('pixels', {
        'dreamerv3': 'train', 'drqv2': 'unknown', 'curl': 'unknown', 'sac_pixels': 'unknown',
        'ppo_fixhp': 'unknown'}),
    'dmc_proprio': ('states', {
        'dreamerv3': 'train', 'dmpo': 'unknown', 'd4pg': 'unknown', 'mpo': 'unknown',
        'ddpg': 'unknown', 'ppo_fixhp': 'unknown'}),
    'atari100k': ('pixels', {'dreamerv3': 'train', 'ppo_fixhp': 'unknown'}),
}

# Frames from the centre of a file's first bin to the x that it carries. Dreamer's first x is one
# evaluation of the untrained agent, not a bin.
FIRST_BIN = {'dreamer.json': 0, 'dmc-vision-dreamerv2.json': 15_000}

# Frames of evaluations or episodes that a point of a file is the mean of, where they are bins.
BIN_WIDTHS = {
    'dreamer.json': 100_000, 'dmc-vision-dreamerv2.json': 30_000,
    'humanoid-dreamerv2.json': 300_000, 'atari-dreamerv2.json': 1_000_000,
    'atari-dreamerv2-schedules.json': 1_000_000, 'montezuma-dreamerv2.json': 1_000_000,
    'dmc_zeroshot_plan2explore.json': 200_000, 'dmc_proprio-dreamerv3.json.gz': 10_000}


class Curve(NamedTuple):
  """Scores of one method on one task over frames; arrays are float64 [N]."""
  method: str
  task: str            # without the suite
  observation: str     # pixels | states
  protocol: str        # eval | train | unknown
  frames: np.ndarray   # increasing
  mean: np.ndarray     # over seeds
  std: np.ndarray      # over seeds, with n-1; NaN where it is not known
  n_seeds: np.ndarray  # int64
  source: str          # name of the published file

  def at(self, frames):
    """Return (mean, std) at a frame count by linear interpolation; NaN outside of the curve."""
    between = functools.partial(np.interp, frames, self.frames, left=np.nan, right=np.nan)
    return between(self.mean), between(self.std)


class Score(NamedTuple):
  """One published number."""
  source: str
  provenance: str      # from file | paper text
  method: str
  task: str
  observation: str
  frames: int | None   # after which it was reached; None where that has no meaning
  value: float
  std: float | None
  n_seeds: int | None
  note: str


def curve(method, task, observation='pixels', binned=False):
  """Return the published curve of a method on a task, or None if there is none.

  Published bins are wide and labelled with their right edge (Dreamer: 100k frames of ten
  evaluations), so their mean belongs to a point half a bin earlier. There are two readings:

    binned=False: the score *at* a frame count, from bins moved to their centre (`mean_mid`).
      Compare with an evaluation made at that count, or with bins drawn at their centre. Dreamer's
      starts with the evaluation of the untrained agent.
    binned=True: the bins as published, at their right edge (`mean`). Compare only with a run that
      is averaged over the same windows and labelled in the same way.

  Args:
    method: one of `methods()`.
    task: name with or without the suite, such as dmc_walker_walk or walker_walk; MEAN_OF_20 and
      MEAN_OF_18 are means over the tasks of DeepMind Control.
    observation: pixels or states.
    binned: which reading.
  Raises:
    ValueError: no file has the method.
  """
  if method not in methods():
    raise ValueError(f'no published curve of {method!r}, only of {", ".join(methods())}')
  rows, seen, protocol = _rows(method, task, observation)
  if not rows:
    return None
  columns = _bins(rows) if binned else _points(rows)
  return Curve(method, task_name(task), seen, protocol, *columns, rows[0]['source'])


def windows(method, task, observation='pixels'):
  """Return the frames that each point of `curve(..., binned=True)` is the mean of.

  A run that is averaged over these, and labelled with the x of the points, is binned as the
  published ones are. Where seeds end at different frames (`points_per_seed` is no whole number
  then), the windows are those of their mean.

  Args:
    method, task, observation: as for `curve`.
  Returns:
    float64 [N, 2], after the first and up to the second frame count; None if there is no curve, or
    its file is not one of bins.
  """
  rows, _, _ = _rows(method, task, observation)
  width = BIN_WIDTHS.get(rows[0]['source']) if rows else None
  if not width or not rows[0]['points_per_seed']:
    return None
  rows = list({row['x_used']: row for row in rows}.values())
  center = np.asarray([float(row['x_used']) for row in rows])
  spread = (np.asarray([float(row['points_per_seed']) for row in rows]) - 1) / 2 * width
  return np.stack([center - spread - width, center + spread], -1)


def scores(task=None, **fields):
  """Return the single numbers (list of Score) whose fields have the given values.

  For example the final score of PlaNet's Table 1:
  scores('cheetah_run', method='planet', source='PlaNet paper Table 1')[0].value

  Args:
    task: as for `curve`; None is all.
    fields: further fields of Score.
  """
  if task is not None:
    fields['task'] = task_name(task)
  return [
      score for score in _scores()
      if all(getattr(score, name) == value for name, value in fields.items())]


def atari_references(game):
  """Return what is known about a game, or None: random, human_gamer, human_record, ...

  Keys are those of scores/atari_references.csv; values are floats, None where empty.
  """
  for row in _table('atari_references'):
    if row['task'] == task_name(game):
      return {
          key: _number(value) for key, value in row.items() if key not in ('task', 'note')}
  return None


def normalised(game, score):
  """Return a score of a game as shares of what people reach, or None if that is not known.

    gamer = (score - random) / (human_gamer - random);  record: the same with the world record
    clipped_record = min(record, 1)

  Averages over games are taken of these (of each seed). Dict of name to float.
  """
  known = atari_references(game)
  if known is None or None in (known['random'], known['human_gamer'], known['human_record']):
    return None
  share = lambda best: (score - known['random']) / (known[best] - known['random'])
  record = share('human_record')
  return {'gamer': share('human_gamer'), 'record': record, 'clipped_record': min(record, 1.0)}


def methods():
  """Names of the methods that have curves."""
  return sorted({method for _, protocols in TABLES.values() for method in protocols})


def tasks(table, method):
  """Names of the tasks, without the suite, of which a file of TABLES has a curve of the method."""
  names = [row['task'] for row in _table(table) if row['method'] == method]
  return [name for name in dict.fromkeys(names) if not name.startswith('MEAN_OF')]


def task_name(task):
  """Name of a task in the tables: dmc_ball_in_cup_catch and dmc_cup_catch are cup_catch there.

  One game goes by two names in the files; it has that of the environment here.
  """
  for suite in ('dmc_', 'atari_'):
    task = task.removeprefix(suite)
  return task.replace('ball_in_cup', 'cup').replace('james_bond', 'jamesbond')


def _rows(method, task, observation):
  """Rows of a curve, what its runs see, and its protocol."""
  for table, (seen, protocols) in TABLES.items():
    if method in protocols and seen == observation:
      rows = [
          row for row in _table(table)
          if row['method'] == method and row['task'] == task_name(task)]
      if rows:
        return rows, seen, protocols[method]
  return [], observation, ''


def _points(rows):
  """Columns of scores at frame counts."""
  columns = [
      (float(row['env_frames']), float(row['mean_mid']), _or_nan(row['std_mid']),
       int(row['n_mid']))
      for row in rows if row['mean_mid']]
  shift = FIRST_BIN.get(rows[0]['source'])
  if shift is not None:
    first = rows[0]
    columns.insert(0, (
        float(first['x_used']) - shift, float(first['mean']), _or_nan(first['std']),
        int(first['n_seeds'])))
  return _arrays(columns)


def _bins(rows):
  """Columns of the bins that fill the grid, each once."""
  return _arrays({
      row['x_used']: (
          float(row['x_used']), float(row['mean']), _or_nan(row['std']), int(row['n_seeds']))
      for row in rows}.values())


def _arrays(columns):
  frames, mean, std, seeds = zip(*columns) if columns else ((), (), (), ())
  return (*(np.asarray(column, np.float64) for column in (frames, mean, std)),
          np.asarray(seeds, np.int64))


@functools.cache
def _table(name):
  """Rows of a file as dicts of text."""
  with (FOLDER / f'{name}.csv').open(newline='') as file:
    return [{**row, 'task': task_name(row['task'])} for row in csv.DictReader(file)]


@functools.cache
def _scores():
  whole = lambda text: int(text) if text else None
  return [
      Score(
          row['source'], row['provenance'], row['method'], row['task'], row['observation'],
          whole(row['budget_frames']), float(row['value']), _number(row['std']),
          whole(row['n_seeds']), row['note'])
      for row in _table('baselines')]


def _number(text):
  return float(text) if text else None


def _or_nan(text):
  return float(text) if text else np.nan
