"""One of the machines of a run, without the noise of updates: python machine.py FILE FLAGS.

Devices draw noise of their own, by which runs on one and on two would differ. At the end FILE has
the agent's weights.
"""
import gc
import sys

import numpy as np

# As in every command, see common.config.command; here before TensorFlow's modules come.
gc.set_threshold(50_000, 20, 50)
import common  # noqa: it decides how TensorFlow is loaded, so it comes before
from common import agent
from common import config as config_lib
from common.loop import acting
from common.loop import start as run_start


def main(file, *flags):
  """Entry point."""
  made, build = [], agent.Agent.__init__
  def keep(self, *args):
    build(self, *args)
    made.append(self)
  agent.Agent.__init__ = keep
  agent.Agent._seed = lambda self: None
  run_start.start(config_lib.load('dreamer', [*flags]))
  np.savez(file, *[variable.numpy() for variable in acting.weights(made[0])])


if __name__ == '__main__':
  main(*sys.argv[1:])
