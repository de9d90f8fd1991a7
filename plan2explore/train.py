"""Train Plan2Explore: python -m plan2explore.train --configs dmc --task dmc_walker_walk."""

from common import config
from common.loop.start import start


@config.entry
def main(argv=None):
  """Check the command, hold the directory, train."""
  start(config.load('plan2explore', argv))


if __name__ == '__main__':
  main()
