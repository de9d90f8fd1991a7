"""The points of learning curves as a table for other programs."""
import csv
import os

from common import config as config_lib
from common.config import UserError
from common.scores.references import own_name


def check(path):
  """Refuse the name of a table that cannot be written, before any work is done."""
  path = config_lib.expand(path)
  if path.suffix.lower() != '.csv':
    raise UserError(f'{path}: the table is CSV. Expected a name that ends in .csv.')
  if not os.path.isdir(path.absolute().parent):
    raise UserError(f'{path}: its folder does not exist. Make it first.')


def save(groups, metric, path):
  """Write a row for each point of each run: task, group, seed, run, frames, value.

  Args:
    groups: list of curves.Group.
    metric: what the values are, the name of their column.
    path: .csv; an older file is replaced once the new one is complete.
  Raises:
    UserError: it cannot be written.
  """
  with config_lib.replacing(config_lib.expand(path)) as temporary:
    with temporary.open('w', newline='', encoding='utf-8', errors='backslashreplace') as file:
      table = csv.writer(file, lineterminator='\n')
      table.writerow(['task', 'group', 'seed', 'run', 'frames', metric])
      for group in groups:
        for run in group.runs:
          place = group.task, own_name(group, metric), run.config.get('seed'), run.path
          table.writerows([*place, int(step), value] for step, value in zip(run.frames, run.values))
