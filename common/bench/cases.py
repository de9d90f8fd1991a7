"""The benchmarks that are a file each, with the agent and blocks that they time."""
import importlib

from common import config as config_lib
from common import envs
from common.bench import printing


def measure(agent, case, blocks, text, args, flags):
  """Run a file beside this one and print its rows; returns the exit code.

  blocks: of the configuration, unless the flags name some. text: for people, formatted with a row.
  """
  config = config_lib.load(agent, config_lib.with_blocks(blocks, flags) if blocks else flags)
  envs.check(config)
  module = importlib.import_module(f'common.bench.{case}')
  for row in module.measure(config, args.steps):
    print(text.format(**row))
    printing.json_line(row)
  return 0
