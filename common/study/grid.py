"""The runs of a sweep: tasks times seeds, checked before the first one starts."""
import math
import os
import pathlib
import re
from typing import NamedTuple

from common import config as config_lib
from common import envs
from common.config import UserError
from common.config.options import RANGES
from common.data import sources
from common.loop import logdir
from common.loop import trackers
from common.study import task_groups

TAKEN = {'seed': '--seeds', 'task': '--tasks'}  # what the grid decides, and how
MOST = 1000  # seeds


class Run(NamedTuple):
  """One run of the grid."""
  name: str
  path: pathlib.Path         # its directory
  config: config_lib.Config
  argv: list                 # what follows `python`


def runs(args, flags):
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
    # Runs that have begun may be of an older version, which refused less.
    config = config_lib.load(args.agent, argv, new=False)
    if not all((_place(args, config, seed) / 'config.yaml').exists() for seed in args.seeds):
      config_lib.load(args.agent, argv)
    envs.check(config)
    trackers.check(config)
    if config.machines:
      raise UserError(
          'sweep: machines that share a batch are started run by run, not by a sweep. Pass '
          '--machines False; --ray spreads whole runs over machines.')
    settings.append((config, argv))
  made = []
  for seed in args.seeds:
    for config, argv in settings:
      path = _place(args, config, seed)
      own = ['--seed', str(seed), '--logdir', str(path), '--quiet']
      made.append(Run(
          path.name, path, config.replace(seed=seed, logdir=str(path), quiet=True),
          ['-m', f'{args.agent}.train', *argv, *own]))
  return made


def _place(args, config, seed):
  """Directory of a run of the grid."""
  task = config.task.replace('/', '-')
  return args.logdir / '-'.join([args.agent, *args.configs, task, str(seed)])


def check(runs, folder):
  """Refuse a folder that cannot hold the runs, or has some of other settings; make it."""
  if os.path.exists(folder / 'config.yaml'):
    raise UserError(f'{folder}: is a run itself. Pass another --logdir.')
  for run in runs:
    sources.check(run.config)
    logdir.check(run.path, run.config)
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise UserError(f'{folder}: cannot be used as --logdir ({error.strerror}).') from None


def seeds(text):
  """Return the list of seeds that a text such as 5, 3-7 or 0,3 means. Raises UserError."""
  words = [f'0-{int(text) - 1}'] if re.fullmatch(r'0*[1-9][0-9]{0,18}', text) else text.split(',')
  parts = [re.fullmatch(r'\s*([0-9]{1,18})(?:-([0-9]{1,18}))?\s*', word) for word in words if word]
  ranges = [(int(part[1]), int(part[2] or part[1])) for part in parts if part]
  if text == '0' or not parts or not all(parts) or any(first > last for first, last in ranges):
    raise UserError(
        f'sweep: --seeds is {text!r} but must be how many, such as 5, or which, such as 3-7 or '
        '0,3; 3-3 is seed 3 alone.')
  if max(last for _, last in ranges) > RANGES['seed'][1] or (
      sum(last - first for first, last in ranges) >= MOST):
    raise UserError(
        f'sweep: --seeds is {text!r} but seeds end at {RANGES["seed"][1]}, a sweep takes {MOST}.')
  return list(dict.fromkeys(
      seed for first, last in ranges for seed in range(first, last + 1)))


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
