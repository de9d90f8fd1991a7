"""Figures of runs as files, and the runs that they are of."""
import os
import pathlib

from common import config as config_lib
from common.config import UserError
from common.scores import chart
from common.scores import curves
from common.scores import dream_chart

SUFFIXES = ('.png', '.pdf')


def write_curve(logdir, path=None, config=None):
  """Draw the evaluation returns of one run beside the published curve of its task, and its dreams.

  Made for the training loop: takes a fraction of a second, holds no state, leaves the old picture
  until the new one is complete.

  Args:
    logdir: directory of the run.
    path: .png or .pdf to write; None is curve.png in the logdir.
    config: Config of the run; None reads its config.yaml.
  Returns:
    Whether there was an evaluation to draw.
  Raises:
    UserError: the picture cannot be written, or config.yaml cannot be read.
  """
  path = pathlib.Path(logdir) / 'curve.png' if path is None else path
  check(path)
  run = curves.read(logdir, 'eval/return', config)
  if not len(run.frames):
    return False
  save(curve(curves.grouped([run])), path)
  return True


def curve(groups, metric='eval/return', task=None):
  """Figure of evaluation returns of groups, and below them of their dreams of a task, or of any."""
  return chart.draw(groups, metric, below=dream_chart.panel(groups, task))


def load(paths, metric):
  """Read the runs below some directories as groups, without those that have no such rows.

  Raises:
    UserError: a directory is missing or holds no run, or no run has the metric.
  """
  return curves.grouped(read(paths, metric)[0])


def read(paths, metric):
  """Return ([curves.Run], [path]): the runs below some directories, and those without the metric.

  Raises:
    UserError: a directory is missing or holds no run, or no run has the metric.
  """
  runs = curves.read_all(paths, metric)
  found = [run.path for run in runs]
  filled = [run for run in runs if len(run.frames)]
  if filled:
    return filled, [run.path for run in runs if not len(run.frames)]
  where = str(found[0]) if len(found) == 1 else f'{found[0]} and {len(found) - 1} more'
  known = sorted({name for path in found for name in curves.metrics(path)})
  if not known:
    raise UserError(
        f'{where}: metrics.jsonl has no row that can be read. Of a run that has just begun there will be '
        'some in a while.')
  if metric == 'eval/return':
    raise UserError(
        f'{where}: no evaluation yet. The first one follows the prefill; until then draw '
        '--metric train/return.')
  raise UserError(f'{where}: no rows of {metric!r}. {config_lib.nearest(metric, known)}')


def save(figure, path):
  """Write a figure as .png or .pdf, through a temporary name.

  Raises:
    UserError: it cannot be written.
  """
  path = config_lib.expand(path)
  kind = path.suffix.lower()[1:]
  try:
    with config_lib.replacing(path) as temporary:
      # What the layout could not place makes the picture larger instead of being cut off.
      figure.savefig(
          temporary, format=kind, dpi=130, bbox_inches='tight', pad_inches=0.1,
          metadata={'CreationDate': None} if kind == 'pdf' else None)
  finally:
    figure.clear()  # figure and canvas refer to each other


def check(path):
  """Refuse a file name that cannot become a picture, before any work is done."""
  path = config_lib.expand(path)
  if path.suffix.lower() not in SUFFIXES:
    raise UserError(
        f'{path}: the suffix chooses the format. Expected one of {", ".join(SUFFIXES)}.')
  if not os.path.isdir(path.absolute().parent):
    raise UserError(f'{path}: its folder does not exist. Make it first.')
