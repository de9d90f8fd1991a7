"""Makes updates of the agent of a checkout, one for every line that it reads; answers are JSON lines.

    python turns.py AGENT [FLAG ...]        in the checkout, as common.bench.against starts it

The checkout may be an older one: only what all of them have is used.
"""
import json
import os
import sys
import time

import numpy as np


def main(agent, *flags):
  """Answer {"ready": seconds of the first update}, then {"wall": seconds, "memory": GB} a line."""
  answers = os.fdopen(os.dup(1), 'w')
  os.dup2(2, 1)  # what libraries print
  sys.path[0] = os.getcwd()
  from common import config as config_lib
  try:
    from common.bench import trial
  except ImportError:
    from common.benchmark_cases import trial  # its place before version 0.2
  config = config_lib.load(agent, list(flags))
  made = trial.Trial(config)
  first, _ = made.step()
  search = _searches(made, config) if agent == 'planet' else lambda: 0.0
  search()
  answer = lambda row: print(json.dumps(row), file=answers, flush=True)
  answer(dict(ready=first))
  for _ in sys.stdin:
    answer(dict(wall=made.step()[0] + search(), memory=made.memory()))


def _searches(made, config):
  """A function that makes a decision, and returns the seconds of those that go with an update."""
  agent = made.agent
  obs = {key: np.zeros_like(made.spaces[key].low)[None] for key in agent.world_model.obs_keys}
  number = config.train_every / config.action_repeat / config.train_steps

  def search():
    started = time.perf_counter()
    agent.policy(obs)
    return number * (time.perf_counter() - started)
  return search


if __name__ == '__main__':
  main(*sys.argv[1:])
