"""Studies of explorers: methods and worlds times seeds as runs, means with intervals over seeds."""
import argparse
import itertools
import os
import pathlib
import sys

import numpy as np

from common import config as config_lib
from common.config import UserError
from common.loop import logdir
from common.loop.output import forgiving
from common.scores import aggregate
from common.study import jobs
from common.study.grid import MOST

LINES = ('-', '--', ':', '-.')

# What collects, as blocks of configs.yaml.
METHODS = {
    'disagreement': [], **{name: [name] for name in (
        'curiosity', 'icm', 'max', 'rnd', 'retrospective', 'retrospective_replay', 'random')}}


def parser(module, description, worlds, methods, steps):
  """An argparse parser with what all studies take.

  Args:
    module: such as plan2explore.noisy_tv.
    description: what --help says.
    worlds: (name of the option, list of its defaults).
    methods, steps: defaults.
  """
  made = argparse.ArgumentParser(
      prog=f'python -m {module}', description=description,
      formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
  made.add_argument('--out', required=True, type=pathlib.Path, help='directory of the study')
  made.add_argument(
      f'--{worlds[0]}', nargs='+', default=worlds[1], dest='worlds',
      help=f'(default: {" ".join(worlds[1])})')
  made.add_argument(
      '--methods', nargs='+', default=methods, choices=METHODS,
      help=f'(default: {" ".join(methods)})')
  made.add_argument('--seeds', type=int, default=5, help='how many (default: 5)')
  made.add_argument('--steps', type=int, default=steps, help='frames of each run (default: %(default)s)')
  made.add_argument('--jobs', type=int, default=jobs.cores(), help='runs at a time (default: one a core)')
  made.add_argument(
      '--single', nargs=3, metavar=('WORLD', 'METHOD', 'SEED'),
      help='make one run of the study in this process, its world named as in the table')
  return made


def check(args):
  """Refuse numbers that make no study, and write out the path. Raises UserError."""
  if min(args.seeds, args.jobs, args.steps) < 1:
    raise UserError('study: --seeds, --jobs and --steps must be at least 1.')
  if args.seeds > MOST:
    raise UserError(f'study: --seeds {args.seeds} is more than {MOST}.')
  args.out = config_lib.expand(args.out)
  args.worlds, args.methods = (list(dict.fromkeys(names)) for names in (args.worlds, args.methods))
  if args.single:
    world, method, seed = args.single
    if method not in METHODS or not seed.isdecimal():
      raise UserError(
          f'study: --single {" ".join(args.single)}: after the world come one of '
          f'{", ".join(METHODS)} and a number of a seed.')
    args.single = world, method, int(seed)


def cells(args):
  """All (world, method, seed)."""
  return list(itertools.product(args.worlds, args.methods, range(args.seeds)))


def path_of(args, world, method, seed):
  """Directory of one run."""
  return args.out / f'{world}-{method}-{seed}'


def run(module, args, more=()):
  """Make the runs in processes of their own, args.jobs at a time; finished ones take seconds.

  Args:
    module: whose --single makes one run.
    args: as `parser` gave them.
    more: further arguments of that command.
  Returns:
    List of the cells whose runs are complete. What failed is said on stderr.
  Raises:
    UserError: a run has more frames than are asked for, or args.out is no place for them.
    SystemExit: after Ctrl-C or SIGTERM, once the runs have saved; the same command goes on.
  """
  for cell in cells(args):
    _refuse_longer(path_of(args, *cell), args.steps)
  try:
    args.out.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise UserError(f'study: {args.out} cannot be used as --out ({error.strerror}).') from None
  words = ['-m', module, '--out', str(args.out), '--steps', str(args.steps), *more]
  todo = {
      str(path_of(args, *cell)): cell for cell in cells(args)}
  listed = [
      jobs.Job(name, [*words, '--single', *map(str, cell)], pathlib.Path(f'{name}.log'))
      for name, cell in todo.items()]
  done = []
  with forgiving():
    for event in jobs.run(listed, jobs.Processes(args.jobs)):
      if event.code == 0:
        done.append(todo[event.job.name])
        print(f'{len(done)}/{len(todo)} {event.job.name}', flush=True)
      elif event.code is not None:
        print(f'{event.job.name}: {event.reason}. More in {event.job.log}', file=sys.stderr)
  return [cell for cell in todo.values() if cell in done]


def _refuse_longer(path, steps):
  """Refuse a run made for more frames, which would count as one of fewer."""
  if os.path.exists(path / 'config.yaml'):
    planned, made = config_lib.read(path / 'config.yaml').get('steps', 0), logdir.last_step(path)
    if planned > steps and made > steps:
      raise UserError(
          f'study: {path} has {made} frames, more than --steps {steps}. Pass --steps {planned}, '
          'or another --out.')


def interval(values):
  """(mean, half of the 95 % t interval) of numbers, one a seed; the half is NaN for one."""
  values = np.asarray(values, float)
  spread = values.std(ddof=1) if len(values) > 1 else np.nan
  return float(values.mean()), float(aggregate.half_width(spread, len(values)))


def text(values, digits=2):
  """Such as '0.52 +- 0.11' of numbers, one a seed."""
  mean, half = interval(values)
  return f'{mean:.{digits}f}' + (f' +- {half:.{digits}f}' if np.isfinite(half) else '')


def table(args, columns, found, rows):
  """Markdown: a row for each world and method that has runs.

  Args:
    args: as `parser` gave them.
    columns: titles.
    found: {(world, method, seed): what a run did}, whose seeds are counted.
    rows: {(world, method): list of texts, one a column}.
  """
  lines = [
      f'{args.steps} frames, {args.seeds} seeds asked for, rows are of those that are complete; '
      'mean and 95 % t interval over seeds.', '',
      '| world | method | seeds | ' + ' | '.join(columns) + ' |', '|---' * (3 + len(columns)) + '|']
  return '\n'.join(lines + [
      f'| {world} | {method} | {sum(cell[:2] == (world, method) for cell in found)} | '
      + ' | '.join(row) + ' |' for (world, method), row in rows.items()]) + '\n'


def style(number, method):
  """Keywords for the line of the method with a number."""
  return dict(color=f'C{number}', linestyle=LINES[number % len(LINES)], label=method)


def draw_curve(axis, frames, curves, style):
  """Mean and t interval over seeds, as far as all have come.

  Args:
    axis: of matplotlib.
    frames: of the points, at least as many as the shortest curve has.
    curves: list of arrays, one a seed.
    style: dict of matplotlib's keywords for the line.
  """
  length = min(map(len, curves))
  mean, half = np.array([interval([curve[i] for curve in curves]) for i in range(length)]).T
  axis.plot(frames[:length], mean, **style)
  axis.fill_between(
      frames[:length], mean - half, mean + half, color=style['color'], alpha=0.15)


def by_method(args, found):
  """{(world, method): list over seeds} of {(world, method, seed): what a run did}."""
  return {
      pair: runs for pair in itertools.product(args.worlds, args.methods)
      if (runs := [run for cell, run in found.items() if cell[:2] == pair])}


def finish(args, shown, complete):
  """Write and print table.md, say what was drawn, and exit with 1 if a run is missing."""
  try:
    (args.out / 'table.md').write_text(shown, encoding='utf-8')
  except OSError as error:
    raise UserError(f'{args.out / "table.md"}: cannot be written ({error.strerror}).') from None
  print(shown)
  print(os.path.join(args.out, 'curves.png'))
  sys.exit(int(len(complete) < len(cells(args))))
