"""Train PlaNet: python -m planet.train --configs dmc --task dmc_cheetah_run."""

from common import config
from common.loop.start import start


@config.entry
def main(argv=None):
  """Check the command, hold the directory, train."""
  start(config.load('planet', argv))


if __name__ == '__main__':
  main()
