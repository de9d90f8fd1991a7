"""Train a grid of tasks and seeds, several runs at a time.

    python -m common.sweep --agent dreamer --configs dmc --tasks dmc20 --seeds 5
    python -m common.sweep --agent planet --configs dmc --tasks planet6 --seeds 0,3-5 --jobs 4
    python -m common.sweep --agent dreamer --configs dmc --tasks dmc_early --ray auto

Everything is checked before the first run starts. The same command again goes on: finished runs are
skipped, interrupted ones continue, failed ones are tried again. A run that another process holds is
left to it and looked at again; at the end, when nothing else is to be done, for five minutes more.

Each run is `python -m AGENT.train` in the directory LOGDIR/AGENT-CONFIGS-TASK-SEED; what it prints
is beside it in a file .log. All tasks with the first seed come first. Ctrl-C (or SIGTERM) lets the
runs save and end. Exit code 0: all runs are finished; 1: some are not.
"""
import argparse
import os
import pathlib
import shlex
import sys

from common import config as config_lib
from common.config import UserError
from common.config.options import AGENTS
from common.loop import cluster
from common.loop import logdir
from common.loop.output import forgiving
from common.study import grid
from common.study import jobs
from common.study import ray_jobs
from common.study import sweep_view
from common.study import task_groups
from common.study import training


@config_lib.entry
def main(argv=None):
  """Run the command; exit code 1 if a run is not finished at the end, 2 for a mistake."""
  args, flags = parse(sys.argv[1:] if argv is None else list(map(str, argv)))
  runs = grid.runs(args, flags)
  grid.check(runs, args.logdir)
  over = all(logdir.finished(run.path, run.config) for run in runs)
  pool = None if over else make_pool(args, runs[0].config)
  title = f'{" ".join([args.agent, *args.configs])}  {args.logdir}'
  with forgiving():
    view = sweep_view.make(runs, title, args.quiet)
    try:
      code = training.train(runs, pool, view)
    finally:
      view.close()
    for line in summary(view.statuses.values(), args.logdir):
      print(line)
  sys.exit(code)


def parse(argv):
  """Return (arguments of the sweep, flags for every run); raises UserError for a bad one."""
  parser = argparse.ArgumentParser(
      prog='python -m common.sweep', description=__doc__, allow_abbrev=False,
      formatter_class=argparse.RawDescriptionHelpFormatter,
      epilog='All other flags, --KEY VALUE (python -m AGENT.train --help), go to every run.\n\n'
      + task_groups.__doc__)
  parser.add_argument('--agent', required=True, help=', '.join(AGENTS))
  parser.add_argument(
      '--configs', nargs='+', action='extend', default=[], metavar='BLOCK', help='as for training')
  parser.add_argument(
      '--tasks', nargs='+', action='extend', metavar='TASK',
      help='tasks and groups, with commas or spaces (default: that of the blocks)')
  parser.add_argument(
      '--seeds', default='1', help='5 is seeds 0 to 4; 3-7, 0,3 or 3-3 exactly those (default: 1, which is seed 0)')
  parser.add_argument('--logdir', help='folder of the runs (default: ~/logs/AGENT-CONFIGS)')
  parser.add_argument('--jobs', help='runs at a time here (default: one for each GPU, else 1)')
  parser.add_argument(
      '--ray', metavar='ADDRESS', help='run on a Ray cluster: local, auto or HOST:PORT')
  parser.add_argument('--cpus-per-run', metavar='N', help='of the cluster (default: 1)')
  parser.add_argument(
      '--gpus-per-run', metavar='N', help='of the cluster, 0.5 is half of one (default: --devices, if any)')
  parser.add_argument('--quiet', action='store_true', help='lines instead of the table')
  args, flags = parser.parse_known_args(argv)
  if args.agent not in AGENTS:
    raise UserError(
        f'sweep: unknown --agent {args.agent!r}. {config_lib.nearest(args.agent, AGENTS)}')
  args.seeds = grid.seeds(args.seeds)
  check_place(args)
  default = pathlib.Path('~/logs', '-'.join([args.agent, *args.configs]))
  args.logdir = config_lib.expand(args.logdir or default).absolute()
  return args, flags


def check_place(args):
  """Refuse options of where to run that do not go together, and make numbers of them."""
  if args.ray and args.jobs:
    raise UserError('sweep: --jobs is for this machine, --ray for a cluster. Pass one of them.')
  for name in ('cpus_per_run', 'gpus_per_run'):
    if getattr(args, name) is not None and not args.ray:
      raise UserError(
          f'sweep: --{name.replace("_", "-")} is for a Ray cluster. Pass --ray ADDRESS, or --jobs.')
  args.jobs = grid.number('--jobs', args.jobs, 1)
  args.cpus_per_run = grid.number('--cpus-per-run', args.cpus_per_run, 1)
  args.gpus_per_run = grid.number('--gpus-per-run', args.gpus_per_run, 0, parts=True)
  if args.ray:
    cluster.check_installed('sweep')


def make_pool(args, config):
  """Where the runs go: processes of this machine, or a Ray cluster."""
  if args.ray:
    return ray_jobs.Cluster(
        args.ray, args.cpus_per_run or 1, args.gpus_per_run, config.devices)
  gpus = jobs.visible_gpus(os.environ)
  each = config.devices or len(gpus) or 1
  return jobs.Processes(args.jobs or max(1, len(gpus) // each), gpus)


def summary(statuses, folder):
  """Lines to say at the end: failures, and what to type next."""
  lines = [f'failed: {status.run.name}: {status.note}'
           for status in statuses if status.state == 'failed']
  if any(status.state not in ('done', 'skipped') for status in statuses):
    lines.append('Start the same command again for those that are not finished.')
  if any(status.frames for status in statuses):
    lines.append(f'Curves: python -m common.plot {shlex.quote(str(folder))} --out curves.png')
  return lines


if __name__ == '__main__':
  main()
