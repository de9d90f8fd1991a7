"""Step an environment with random actions and name what is wrong with it.

TASK is gym_ID, py_PACKAGE.MODULE:FUNCTION or any other, as for --task; see docs/environment.md. Options of
training that shape what the agent sees, such as --configs dmc or --gym_draw True, come after it and
are taken as there; without --configs it is the block gym. Exit code 0 with a summary, 1 if there
are faults, 2 if there is no such task.
"""
import argparse
import shlex
import sys

from common import config as config_lib
from common import envs
from common.envs import check_play
from common.envs import checks


def number(text):
  """A whole number as options of training may be written, such as 5e3. Raises ValueError."""
  value = float(text)
  if not value.is_integer():
    raise ValueError(text)
  return int(value)


@config_lib.entry
def main(argv=None):
  """Run the command."""
  parser = argparse.ArgumentParser(
      prog='python -m common.check_env', description=__doc__,
      usage='%(prog)s TASK [--episodes N] [--steps N] [--seed N] [--KEY VALUE ...]',
      formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('task', metavar='TASK')
  parser.add_argument('--episodes', type=number, metavar='N', default=3, help='how many (default: 3)')
  parser.add_argument(
      '--steps', type=number, metavar='N', default=1000,
      help='of the environment, at most as many in an episode (default: 1000)')
  parser.add_argument('--seed', type=number, metavar='N', default=0, help='of resets and actions (default: 0)')
  args, options = parser.parse_known_args(argv)
  if args.episodes < 1 or args.steps < 1:
    raise config_lib.UserError('check_env: --episodes and --steps must be at least 1.')
  if any(option.partition('=')[0] in ('--task', '--tasks') for option in options):
    raise config_lib.UserError(
        f'check_env: {args.task} is checked, whatever --task and --tasks say. Leave them out. Check one '
        'TASK after the other.')
  options = config_lib.with_blocks(['gym'], ['--task', args.task, *options])
  config = config_lib.load('dreamer', ['--seed', str(args.seed), *options])
  envs.check(config)
  report = checks.Report()
  played = check(config, report, args.episodes, args.steps)
  for line in report.lines():
    print(line)
  if report.faults:
    print(f'{args.task}: {len(report.faults)} fault{"s" * (len(report.faults) > 1)}.')
    sys.exit(1)
  for line in check_play.summary(config, played):
    print(line)
  print(f'No faults. Train on it: python -m dreamer.train {shlex.join(options)}')


def check(config, report, episodes, steps):
  """Check spaces, then episodes of the raw environment, then the one that agents see.

  Args:
    config: Config, whose task and seed count.
    report: checks.Report that takes what is found.
    episodes, steps: how many, and steps of the environment in each at most.
  Returns:
    List of (decisions, return) of the episodes.
  """
  with report.guard('building it'):
    env = checks.Raw(envs.raw(config))
    checks.check_spaces(env, report, config)
    if report.faults:
      return []
    steps = min(steps, check_play.steps(config))
    played = check_play.Player(env, report, config.seed).play(episodes, steps)
    ended = [length < steps for length, _ in played]
    played = [(check_play.decisions(config, length), score) for length, score in played]
    checks.check_seed(env, report, config.seed)
    checks.check_second(lambda: envs.raw(config), report)
    check_play.note_short(config, [length for (length, _), end in zip(played, ended) if end], report)
    with report.guard('close()'):
      env.close()
    if not report.faults:
      _check_wrapped(config, report)
    return played
  return []


def _check_wrapped(config, report):
  """What adapters and wrappers refuse or note, too."""
  with report.guard('taking it into training'):
    env = envs.make(config)
    known = [text for text, _ in report.notes.values()]
    for text in env.notes:
      if text not in known:
        report.note(text, text)
    env.act_space.seed(config.seed)
    env.reset(config.seed)
    ends = [] if hasattr(env.act_space, 'n') else [env.act_space.low, env.act_space.high]
    for action in [*ends, *(env.act_space.sample() for _ in range(5))]:
      if env.step(action)[2]:
        env.reset()
    env.close()


if __name__ == '__main__':
  main()
