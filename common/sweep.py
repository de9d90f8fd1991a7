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
import math
import os
import pathlib
import re
import sys
from typing import NamedTuple

from common import config as config_lib
from common import curves
from common import jobs
from common import logdir
from common import ray_jobs
from common import sources
from common import sweep_view
from common import task_groups
from common.config import UserError
from common.options import AGENTS, RANGES

TAKEN = {'seed': '--seeds', 'task': '--tasks'}  # what the grid decides, and how
MOST = 1000  # seeds


class Run(NamedTuple):
  """One run of the grid."""
  name: str
  path: pathlib.Path         # its directory
  config: config_lib.Config
  argv: list                 # what follows `python`


@config_lib.entry
def main(argv=None):
  """Run the command; exit code 1 if a run is not finished at the end, 2 for a mistake."""
  args, flags = parse(sys.argv[1:] if argv is None else list(map(str, argv)))
  runs = grid(args, flags)
  check(runs, args.logdir)
  over = all(logdir.finished(run.path, run.config) for run in runs)
  pool = None if over else make_pool(args, runs[0].config)
  title = f'{" ".join([args.agent, *args.configs])}  {args.logdir}'
  view = sweep_view.make(runs, title, args.quiet)
  try:
    code = train(runs, pool, view)
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
  parser.add_argument('--configs', nargs='+', default=[], metavar='BLOCK', help='as for training')
  parser.add_argument(
      '--tasks', nargs='+', metavar='TASK', help='tasks and groups (default: that of the blocks)')
  parser.add_argument(
      '--seeds', default='1', help='5 is 0 to 4; 3-7 and 0,3 are those (default: 1, which is 0)')
  parser.add_argument('--logdir', help='folder of the runs (default: ~/logs/AGENT-CONFIGS)')
  parser.add_argument('--jobs', help='runs at a time here (default: one for each GPU, else 1)')
  parser.add_argument(
      '--ray', metavar='ADDRESS', help='run on a Ray cluster: local, auto or HOST:PORT')
  parser.add_argument('--cpus-per-run', metavar='N', help='of the cluster (default: 1)')
  parser.add_argument(
      '--gpus-per-run', metavar='N', help='of the cluster, 0.5 is half of one (default: 1 if any)')
  parser.add_argument('--quiet', action='store_true', help='lines instead of the table')
  args, flags = parser.parse_known_args(argv)
  if args.agent not in AGENTS:
    raise UserError(
        f'sweep: unknown --agent {args.agent!r}. {config_lib.nearest(args.agent, AGENTS)}')
  args.seeds = seeds(args.seeds)
  check_place(args)
  default = pathlib.Path('~/logs', '-'.join([args.agent, *args.configs]))
  args.logdir = pathlib.Path(args.logdir or default).expanduser().absolute()
  return args, flags


def seeds(text):
  """Return the list of seeds that a text such as 5, 3-7 or 0,3 means. Raises UserError."""
  words = [f'0-{int(text) - 1}'] if re.fullmatch(r'0*[1-9]\d*', text) else text.split(',')
  parts = [re.fullmatch(r'\s*(\d+)(?:-(\d+))?\s*', word) for word in words if word]
  ranges = [(int(part[1]), int(part[2] or part[1])) for part in parts if part]
  if text == '0' or not parts or not all(parts) or any(first > last for first, last in ranges):
    raise UserError(
        f'sweep: --seeds is {text!r} but must be how many, such as 5, or which, such as 3-7 or '
        '0,3.')
  if max(last for _, last in ranges) > RANGES['seed'][1] or (
      sum(last - first for first, last in ranges) >= MOST):
    raise UserError(
        f'sweep: --seeds is {text!r} but seeds end at {RANGES["seed"][1]}, a sweep takes {MOST}.')
  return list(dict.fromkeys(
      seed for first, last in ranges for seed in range(first, last + 1)))


def check_place(args):
  """Refuse options of where to run that do not go together, and make numbers of them."""
  if args.ray and args.jobs:
    raise UserError('sweep: --jobs is for this machine, --ray for a cluster. Pass one of them.')
  for name in ('cpus_per_run', 'gpus_per_run'):
    if getattr(args, name) is not None and not args.ray:
      raise UserError(
          f'sweep: --{name.replace("_", "-")} is for a Ray cluster. Pass --ray ADDRESS, or --jobs.')
  args.jobs = number('--jobs', args.jobs, 1)
  args.cpus_per_run = number('--cpus-per-run', args.cpus_per_run, 1)
  args.gpus_per_run = number('--gpus-per-run', args.gpus_per_run, 0, parts=True)
  if args.ray:
    ray_jobs.check_installed()


def number(flag, text, low, parts=False):
  """Return the number that a flag has, None without one.

  Args:
    flag: its name.
    text: what was given, or None.
    low: the lowest that is allowed.
    parts: whether parts of one are allowed, too.
  Raises:
    UserError: it is something else.
  """
  if text is None:
    return None
  try:
    value = float(text)
  except ValueError:
    value = math.nan
  if not low <= value < math.inf or (value % 1 and not (parts and value < 1)):
    some = 'a part of 1, or ' if parts else ''
    raise UserError(
        f'sweep: {flag} is {text!r} but must be {some}a whole number of at least {low}.')
  return value if value % 1 else int(value)


def grid(args, flags):
  """Return the list of Run, the first seed of all tasks first.

  Args:
    args: as parsed.
    flags: list of further arguments of every run.
  Raises:
    UserError: a block, key, value or task is wrong, or one of the flags is the sweep's own.
  """
  blocks = ['--configs', *args.configs] if args.configs else []
  for flag in flags:
    key = flag.removeprefix('--').partition('=')[0]
    if flag.startswith('--') and key in TAKEN:
      raise UserError(f'sweep: --{key} is one of the grid. Pass {TAKEN[key]}.')
  settings = []
  for task in task_groups.expand(args.tasks) if args.tasks else [None]:
    argv = [*blocks, *(['--task', task] if task else []), *flags]
    config = config_lib.load(args.agent, argv)
    if task and config.tasks:
      raise UserError(
          f'sweep: each run plays several tasks ({config.tasks}). Leave --tasks out, or the block.')
    settings.append((config, argv))
  runs = []
  for seed in args.seeds:
    for config, argv in settings:
      task = config.task.replace('/', '-')
      name = '-'.join([args.agent, *args.configs, task, str(seed)])
      path = args.logdir / name
      own = ['--seed', str(seed), '--logdir', str(path), '--quiet']
      runs.append(Run(
          name, path, config.replace(seed=seed, logdir=str(path), quiet=True),
          ['-m', f'{args.agent}.train', *argv, *own]))
  return runs


def check(runs, folder):
  """Refuse a folder that cannot hold the runs, or has some of other settings; make it."""
  if (folder / 'config.yaml').exists():
    raise UserError(f'{folder}: is a run itself. Pass another --logdir.')
  for run in runs:
    sources.check(run.config)
    logdir.check(run.path, run.config)
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise UserError(f'{folder}: cannot be used as --logdir ({error.strerror}).') from None


def make_pool(args, config):
  """Where the runs go: processes of this machine, or a Ray cluster."""
  if args.ray:
    return ray_jobs.Cluster(
        args.ray, args.cpus_per_run or 1, args.gpus_per_run, config.devices or 1)
  gpus = jobs.visible_gpus(os.environ)
  each = config.devices or len(gpus) or 1
  return jobs.Processes(args.jobs or max(1, len(gpus) // each), gpus)


def train(runs, pool, view):
  """Train the runs that are not finished, telling the view.

  Args:
    runs: list of Run.
    pool: jobs.Processes or ray_jobs.Cluster, closed at the end; None if all runs are finished.
    view: as sweep_view.make returns it.
  Returns:
    Exit code: 0 if all runs are finished, 1 if not, 128 + number of the signal that ended it.
  """
  of = {run.name: run for run in runs}
  state = lambda run: view.statuses[run.name].state

  def ready(job):
    run = of[job.name]
    if logdir.finished(run.path, run.config):
      view.tell(run, 'skipped', 'finished already')
      return jobs.NEVER
    if logdir.held(run.path):
      if state(run) != 'held':
        view.tell(run, 'held', 'another process trains here')
      return jobs.LATER
    return jobs.START

  # All that is finished is told of now, not when there is room for it.
  waiting = [job for job in map(make_job, runs) if ready(job) != jobs.NEVER]
  try:
    for job, code, reason in jobs.run(waiting, pool, ready) if pool else ():
      run = of[job.name]
      if code is None:
        view.tell(run, 'running')
      elif code == 0:
        view.tell(run, 'done')
      elif pool.stopping:
        if state(run) == 'running':  # and is not only queued in a cluster
          view.tell(run, 'stopped')
      elif logdir.held(run.path):  # someone was faster
        waiting.append(job)
      else:
        view.tell(run, 'failed', f'{reason} | {job.log}')
  except SystemExit as stop:
    return stop.code
  return int(not all(state(run) in ('done', 'skipped') for run in runs))


def make_job(run):
  """The jobs.Job that trains a run, with its log beside the directory."""
  return jobs.Job(
      run.name, run.argv, run.path.with_name(f'{run.name}.log'), run.config.devices)


def summary(statuses, folder):
  """Lines to say at the end: failures, and what to type next."""
  lines = [f'failed: {status.run.name}: {status.note}'
           for status in statuses if status.state == 'failed']
  if any(status.state not in ('done', 'skipped') for status in statuses):
    lines.append('Start the same command again for those that are not finished.')
  if any(status.frames for status in statuses):
    lines.append(f'Curves: python -m common.plot {folder} --out curves.png')
  return lines


if __name__ == '__main__':
  main()
