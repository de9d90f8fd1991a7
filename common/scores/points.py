"""The points of learning curves as a table for other programs."""
import csv
import os

from common import config as config_lib
from common.config import UserError


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
  path = config_lib.expand(path)
  temporary = path.with_name(f'.{path.name}.{os.getpid()}')
  try:
    with temporary.open('w', newline='', encoding='utf-8') as file:
      table = csv.writer(file)
      table.writerow(['task', 'group', 'seed', 'run', 'frames', metric])
      for group in groups:
        for run in group.runs:
          place = group.task, group.name, run.config.get('seed'), run.path
          table.writerows([*place, int(step), value] for step, value in zip(run.frames, run.values))
    os.replace(temporary, path)
  except OSError as error:
    raise UserError(f'{path}: cannot be written ({error.strerror}).') from None
  finally:
    temporary.unlink(missing_ok=True)
