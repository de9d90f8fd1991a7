"""Step an environment with random actions and name what is wrong with it.

TASK is gym_ID or py_PACKAGE.MODULE:FUNCTION, as for --task; see docs/environment.md. Options of
training that shape what the agent sees, such as --configs dmc or --gym_draw True, come after it and
are taken as there; without --configs it is the block gym. Exit code 0 with a summary, 1 if there
are faults, 2 if there is no such task.
"""
import argparse
import shlex
import sys
import time

import numpy as np

from common import config as config_lib
from common import envs
from common.envs import check_play
from common.envs import checks


@config_lib.entry
def main(argv=None):
  """Run the command."""
  parser = argparse.ArgumentParser(
      prog='python -m common.check_env', description=__doc__,
      usage='%(prog)s TASK [--episodes N] [--steps N] [--seed N] [--KEY VALUE ...]',
      formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('task', metavar='TASK')
  parser.add_argument('--episodes', type=int, default=3, help='how many (default: 3)')
  parser.add_argument(
      '--steps', type=int, default=1000, help='at most as many in an episode (default: 1000)')
  parser.add_argument('--seed', type=int, default=0)
  args, options = parser.parse_known_args(argv)
  if args.episodes < 1 or args.steps < 1:
    raise config_lib.UserError('check_env: --episodes and --steps must be at least 1.')
  options = [*([] if '--configs' in options else ['--configs', 'gym']), '--task', args.task, *options]
  config = config_lib.load('dreamer', ['--seed', str(args.seed), *options])
  envs.check(config)
  report = checks.Report()
  played = check(config, report, args.episodes, args.steps)
  for line in report.lines():
    print(line)
  if report.faults:
    print(f'{args.task}: {len(report.faults)} fault{"s" * (len(report.faults) > 1)}.')
    sys.exit(1)
  for line in summary(config, played):
    print(line)
  print(f'No faults. Train on it: python -m dreamer.train {shlex.join(options)}')


def check(config, report, episodes, steps):
  """Check spaces, then episodes of the raw environment, then the one that agents see.

  Args:
    config: Config, whose task and seed count.
    report: checks.Report that takes what is found.
    episodes, steps: how many, and decisions in each at most.
  Returns:
    List of (length, return) of the episodes.
  """
  with report.guard('building it'):
    env = checks.Raw(envs.raw(config))
    checks.check_spaces(env, report)
    if report.faults:
      return []
    played = check_play.Player(env, report, config.seed).play(episodes, steps)
    checks.check_seed(env, report, config.seed)
    checks.check_second(lambda: envs.raw(config), report)
    _note_short(config, [length for length, _ in played if length < steps], report)
    with report.guard('close()'):
      env.close()
    if not report.faults:
      _check_wrapped(config, report)
    return played
  return []


def _note_short(config, lengths, report):
  """Note how many episodes that came to an end are too short for the sequences of the block gym."""
  short = sum(length + 1 < config.batch_length for length in lengths)
  if short:
    report.note(
        'short', f'{short} of {len(lengths)} episodes have fewer rows than the sequences that are '
        f'learned from ({config.batch_length} rows), and would never be used: pass a smaller '
        '--batch_length')


def _check_wrapped(config, report):
  """What adapters and wrappers refuse, too."""
  with report.guard('taking it into training'):
    env = envs.make(config)
    env.act_space.seed(config.seed)
    env.reset(config.seed)
    ends = [] if hasattr(env.act_space, 'n') else [env.act_space.low, env.act_space.high]
    for action in [*ends, *(env.act_space.sample() for _ in range(5))]:
      if env.step(action)[2]:
        env.reset()
    env.close()


def summary(config, played):
  """Lines on what the agents will see."""
  env = envs.make(config)
  images = [key for key, space in env.obs_space.items() if len(space.shape) == 3]
  for key, space in env.obs_space.items():
    kind = 'image' if key in images else 'vector'
    yield f'{key}: {kind} {list(space.shape)} for the agent'
  discrete = hasattr(env.act_space, 'n')
  yield f'actions: {"one of" if discrete else "continuous,"} {env.act_space.shape[0]}' + (
      '' if discrete else ' entries')
  started = time.perf_counter()
  env.act_space.seed(config.seed)
  env.reset(config.seed)
  for number in range(1, 201):
    if env.step(env.act_space.sample())[2]:
      env.reset()
    if time.perf_counter() - started > 2:
      break
  speed = number / (time.perf_counter() - started)
  env.close()
  lengths, returns = zip(*played)
  yield (
      f'episodes of random actions: {min(lengths)} to {max(lengths)} decisions, return '
      f'{np.mean(returns):.4g} +- {np.std(returns):.4g}; {speed:,.0f} decisions/s')


if __name__ == '__main__':
  main()
