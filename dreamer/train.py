"""Train Dreamer: python -m dreamer.train --configs dmc --task dmc_walker_walk."""

from common import config
from common.loop.start import start


@config.entry
def main(argv=None):
  """Check the command, hold the directory, train."""
  start(config.load('dreamer', argv))


if __name__ == '__main__':
  main()
