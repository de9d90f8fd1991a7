"""Say whether this machine can run the project, and how to mend what is missing.

Each line is one check: ok, note (something is missed that the main job does not need) or fail.
Exit code 1 if `python -m dreamer.train --configs dmc cpu` could not run here.
"""
import argparse
import sys

from common.checks import machine

try:
  from common.config import entry
except ImportError:  # of a package whose absence is to be told
  entry = lambda main: main


@entry
def main(argv=None):
  """Run the command."""
  parser = argparse.ArgumentParser(
      prog='python -m common.doctor', description=__doc__,
      formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.parse_args(argv)
  findings = [report(name, check) for name, check in machine.CHECKS.items()]
  fails = sum(finding.status == 'fail' for finding in findings)
  if fails:
    print(f'Not ready: mend the {fails} failure{"s" * (fails > 1)} above, then ask again.')
    sys.exit(1)
  print('Ready: python -m dreamer.train --configs dmc cpu --task dmc_cartpole_balance_sparse')


def report(name, check):
  """Make a check and print its line; what it raises is a failure. Returns the Finding."""
  try:
    finding = check()
  except Exception as error:  # one broken check must not hide the others
    finding = machine.Finding('fail', f'the check itself failed: {type(error).__name__}: {error}')
  print(f'{finding.status:<5}{name:<12}{finding.text}', flush=True)
  if finding.fix:
    print(f'{"":<17}fix: {finding.fix}', flush=True)
  return finding


if __name__ == '__main__':
  main()
