"""Benchmarks of what a run spends its time on; docs/benchmarks.md tells how to read them.

    python -m common.benchmark train_step            XLA and oneDNN on and off, against the peak
    python -m common.benchmark train_step --against CHECKOUT --size small
    python -m common.benchmark parts                 each part of an update alone
    python -m common.benchmark data                  is a batch ready before an update needs it?
    python -m common.benchmark env --task dmc_walker_walk
    python -m common.benchmark loop                  what the loop costs beside updates and steps
    python -m common.benchmark start                 what passes until the first update of a run
    python -m common.benchmark plan                  one search of PlaNet, XLA off and on
    python -m common.benchmark explore               what Plan2Explore's ensemble costs an update
    python -m common.benchmark view                  what the live view and the pictures cost
    python -m common.benchmark emulator              Atari frames, against the bare emulator
    python -m common.benchmark gpu --out FILE.json   all that is worth knowing of a GPU machine

Each prints a table for people and JSON lines. Other flags are those of `python -m dreamer.train`
(of planet.train for plan, of plan2explore.train for explore, or of the agent that --agent names), but
--steps counts what is timed. Exit code 1 if a variant failed, 2 for a mistake in the command, such as
a checkout that makes no updates.
"""
import argparse
import functools
import importlib
import sys

from common import config as config_lib
from common.bench import against
from common.bench import cases, gpu, sizes, starting, stepping, updates
from common.bench.arguments import counted, milliseconds, positive


@config_lib.entry
def main(argv=None):
  """Run the command line; exits with the code above."""
  parser = argparse.ArgumentParser(
      prog='python -m common.benchmark', description=__doc__, allow_abbrev=False,
      formatter_class=argparse.RawDescriptionHelpFormatter)
  commands = parser.add_subparsers(dest='command', required=True)
  add = functools.partial(commands.add_parser, allow_abbrev=False)

  step = add('train_step', help='seconds of an update and their share of the matmul peak')
  step.add_argument('--size', choices=[*sizes.SIZES, 'both'], help='default: both; with --configs theirs')
  step.add_argument('--steps', type=positive, help='timed updates; default 2, with --against 10, with --vary 30')
  step.add_argument('--onednn', choices=['both', 'True', 'False'], help='default: both')
  step.add_argument(
      '--timeout', type=float, help=f'seconds that a variant may work; default {updates.TIMEOUT}')
  step.add_argument('--memory', type=float, help=f'GB that a variant may take; default {updates.MEMORY}')
  other = step.add_mutually_exclusive_group()
  other.add_argument(
      '--vary', nargs=3, metavar=('KEY', 'VALUE', 'VALUE'), help='compare two agents instead')
  other.add_argument('--against', metavar='CHECKOUT', help='compare with code in a directory instead')
  step.add_argument('--agent', choices=against.AGENTS, help='with --against; default: dreamer')
  step.set_defaults(run=updates.train_step)

  parts = add('parts', help='each part of an update alone: milliseconds, GFLOP/s and GB/s')
  parts.add_argument('--size', choices=sizes.SIZES, help='default: small; with --configs theirs')
  parts.add_argument('--steps', type=positive, default=15, help='timed calls of each')
  parts.set_defaults(run=_delayed('parts', 'measure_parts'))

  data = add('data', help='batches a second, and how long updates wait for them')
  data.add_argument('--size', choices=sizes.SIZES, help='default: published; with --configs theirs')
  data.add_argument('--steps', type=positive, default=10, help='updates in the burst')
  data.set_defaults(run=_delayed('waiting', 'wait_for_data'))

  env = add('env', help='decisions a second: without images, with them, in processes')
  env.add_argument('--steps', type=positive, default=200, help='decisions of each environment')
  env.set_defaults(run=stepping.step_environments)

  loop = add('loop', help='host time of the real loop around stand-ins that only wait')
  loop.add_argument('--stored', type=counted, nargs='+', default=[0, 5000, 50000], help='episodes')
  loop.add_argument('--train_steps', type=int, nargs='+', choices=[1, 100], default=[100, 1])
  loop.add_argument('--frames', type=positive, default=20000, help='to be measured')
  loop.add_argument('--update_ms', type=milliseconds, default=2, help='milliseconds of an update')
  loop.add_argument('--policy_ms', type=milliseconds, default=0.3, help='of a policy call')
  loop.add_argument('--env_ms', type=milliseconds, default=0.2, help='of a step of the environment')
  loop.add_argument(
      '--busy', action='store_true', help='policy and environment compute for so long instead of sleeping')
  loop.set_defaults(run=_delayed('looping', 'measure_loop'))

  start = add('start', help='seconds until the first update: imports, environment, tracing')
  start.add_argument('--agent', choices=against.AGENTS, default='dreamer')
  start.set_defaults(run=starting.measure_start)

  plan = add('plan', help='seconds of a search of the planner and its share of the matmul peak')
  plan.add_argument('--steps', type=positive, default=3, help='timed searches')
  plan.set_defaults(run=functools.partial(
      cases.measure, 'planet', 'planning', [],
      'XLA {jit}: {wall:.2f} s a search, {share:.1%} of {peak:.0f} GFLOP/s ({gflop:.0f} GFLOP)'))

  explore = add('explore', help='share of the ensemble of Plan2Explore in time and operations')
  explore.add_argument('--steps', type=positive, default=3, help='timed updates of each')
  explore.set_defaults(run=functools.partial(
      cases.measure, 'plan2explore', 'exploring', [],
      '{update:.2f} s an update, {without:.2f} s with nearly no ensemble: {time_share:.1%} of the '
      'time for {operations_share:.1%} of {gflop:.0f} GFLOP, ratio {ratio:.2f}; {share:.1%} of '
      '{peak:.0f} GFLOP/s, {memory:.1f} GB'))

  view = add('view', help='share of the live view and of the pictures in the time of a run')
  view.add_argument('--steps', type=positive, default=10, help='pairs of bursts of updates')
  view.set_defaults(run=functools.partial(
      cases.measure, 'dreamer', 'viewing', ['dmc', 'cpu'],
      'view {view:+.2%} of the time of updates ({update:.3f} s each); pictures {pictures:.2f} s '
      'every {between:.0f} s, {pictures_share:.2%}; together {total:.2%}'))

  games = add('emulator', help='frames a second of Atari and their share of the bare emulator')
  games.add_argument('--steps', type=positive, default=1000, help='decisions of each turn')
  games.set_defaults(run=functools.partial(
      cases.measure, 'dreamer', 'emulator', ['atari'],
      '{task}: {wrapper:.0f} frames/s through the wrapper, {share:.0%} of the bare {bare:.0f}'))

  everything = add('gpu', help='devices, fixtures, updates, policies, the loop, the published run')
  everything.add_argument('--minutes', type=float, default=8, help='for all parts together')
  everything.add_argument('--out', required=True, metavar='FILE.json')
  everything.add_argument('--runs', metavar='DIR', help='for the runs; default: FILE.json.runs')
  everything.add_argument('--parts', nargs='+', metavar='NAME', help='default: all')
  everything.set_defaults(run=gpu.measure_gpu)

  args, flags = parser.parse_known_args(argv)
  sys.exit(args.run(args, flags))


def _delayed(file, function):
  """A function of a file that imports TensorFlow, whose settings other benchmarks choose."""
  load = lambda: importlib.import_module(f'common.bench.{file}')
  return lambda args, flags: getattr(load(), function)(args, flags)


if __name__ == '__main__':
  main()
