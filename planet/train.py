"""Train PlaNet: python -m planet.train --configs dmc --task dmc_cheetah_run."""

from common import config
from common import logdir


@config.entry
def main(argv=None):
  """Check the command, hold the directory, train."""
  logdir.start(config.load('planet', argv))


if __name__ == '__main__':
  main()
