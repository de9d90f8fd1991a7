"""Verify that our modules compute what the reference code computed, and what they did before.

    python -m common.verify parity FILE.npz [FILE.npz ...]

prints one JSON line a file: fixture, ok, checked (number of keys), skipped (keys), worst_key (the
one with the largest share of its tolerance), worst_error and its tolerance; `quirks` (keys) where
a mistake of the published code was recorded that is repaired here, and `error` where something
prevented the check.

    python -m common.verify run DIR --against NAME

compares the runs below DIR with stored metrics: what moved, where first, how far, beside its band.
NAME is one of those in the package (an unknown one tells which), or a file that ends in .json.
`exact-*` are short runs on fixed episodes, whose first 20 updates have to agree to 0.1 %, later
ones within what other kernels and thread counts change; the others are learning runs, whose returns
must not be lower than seeds explain. docs/regressions.md says more.

    python -m common.verify store DIR NAME [--exact]

stores what the runs below DIR have measured: runs of one setting that differ in their seeds, or
with --exact runs of one command on fixed episodes (--offline) under several kernels, which

    python -m common.verify kernels DIR AGENT --KEY VALUE ...

makes, AGENT and the flags being those of its training command without --logdir.

Exit code 0 if all is well, 1 if a file is not ok or something has moved, 2 for a mistake in the
command.
"""
import argparse
import json
import sys

from common import config
from common.checks import judge
from common.checks import kernels
from common.checks import stored


@config.entry
def main(argv=None):
  """Run the command line. Returns nothing; exits with the code above."""
  parser = argparse.ArgumentParser(
      prog='python -m common.verify', description=__doc__,
      formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
  commands = parser.add_subparsers(dest='command', required=True)
  command = commands.add_parser('parity', help='repeat golden fixtures')
  command.add_argument('files', nargs='+', metavar='FILE.npz')
  command.set_defaults(run=_parity)
  command = commands.add_parser('run', help='compare runs with stored metrics')
  command.add_argument('dir', metavar='DIR', help='a run, or a folder of runs')
  command.add_argument('--against', required=True, metavar='NAME', help='stored metrics')
  command.set_defaults(run=_compare)
  command = commands.add_parser('store', help='store what runs have measured')
  command.add_argument('dir', metavar='DIR', help='a run, or a folder of runs')
  command.add_argument('name', metavar='NAME', help='a name, or a file that ends in .json')
  command.add_argument('--exact', action='store_true', help='to be repeated row by row')
  command.set_defaults(run=_store)
  command = commands.add_parser('kernels', help='make a run under several kernels')
  command.add_argument('dir', metavar='DIR', help='folder for the runs')
  command.add_argument('agent', metavar='AGENT', help='dreamer, planet or plan2explore')
  command.add_argument('flags', nargs=argparse.REMAINDER, metavar='--KEY VALUE')
  command.set_defaults(run=_kernels)
  args = parser.parse_args(argv)
  sys.exit(0 if args.run(args) else 1)


def _parity(args):
  ok = True
  for path in args.files:
    report = judge.verify(path)
    print(json.dumps(report), flush=True)
    ok = ok and report['ok']
  return ok


def _compare(args):
  ok, lines = stored.compare(args.dir, args.against)
  print('\n'.join(lines))
  return ok


def _store(args):
  path, reference = stored.store(args.dir, args.name, 'exact' if args.exact else 'learning')
  print(f'{path}: {reference["kind"]}, {len(reference["runs"])} runs of {reference["agent"]}')
  return True


def _kernels(args):
  kernels.repeat(args.dir, args.agent, args.flags)
  return True


if __name__ == '__main__':
  main()
