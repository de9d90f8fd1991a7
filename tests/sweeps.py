"""Sweeps whose runs take a moment: the real command around stand-ins for training.

    python sweeps.py real FLAGS     a sweep as it is
    python sweeps.py toy FLAGS      a sweep whose runs are those of loops.py
    python sweeps.py stub FLAGS     a sweep of stubs
    python sweeps.py run FLAGS      one stub
"""
import json
import os
import pathlib
import sys
import time

import numpy as np
from gymnasium import spaces

from common import config as config_lib
from common import sweep
from common.loop import logdir
from common.loop.interrupts import Interrupts, Stop
from common.study import training

HERE = pathlib.Path(__file__).resolve()
# A grid of stubs: 100 frames in rows of 10.
GRID = [
    '--agent', 'dreamer', '--configs', 'debug', '--tasks', 'dummy_continuous_vector', '--steps',
    100]
NAME = 'dreamer-debug-dummy_continuous_vector'  # of its runs, before the seed


def use(kind, setter=setattr):
  """Let sweeps start stand-ins: `toy` the runs of loops.py, `stub` those of this file."""
  original = training.make_job
  def make_job(run):
    job = original(run)
    argv = {
        'stub': [str(HERE), 'run', *job.argv[2:]],
        'toy': [str(HERE.with_name('loops.py')), str(run.path), *job.argv[2:]]}
    return job._replace(argv=argv[kind])
  setter(training, 'make_job', make_job)


def stub(argv):
  """Do what a run does to its directory, without learning anything.

  It prints nothing but what went wrong. With FAIL in the environment the run of that seed fails,
  with HOLD one waits in its middle until that file exists.
  """
  config = config_lib.load('dreamer', argv)
  with logdir.claim(config) as path, Interrupts() as interrupts:
    if logdir.finished(path, config):
      return
    logdir.save_config(path, config, {}, spaces.Box(-1, 1, (1,), np.float32))
    (path / 'starts').open('a').write(f'{os.environ.get("TF_NUM_INTRAOP_THREADS")}\n')
    try:
      while frames(path) < config.steps:
        if frames(path) == 50:
          _middle(config, interrupts)
        interrupts.check()
        row = {'step': frames(path) + 10, 'time': 1.0, 'eval/return': frames(path), 'fps': 5.0}
        with (path / 'metrics.jsonl').open('a') as file:
          file.write(json.dumps(row) + '\n')
    except Stop as stop:
      print(f'{stop}: saved', flush=True)  # before the directory is free
      sys.exit(128 + interrupts.signal)
    logdir.save_run(path, 1.0, config.steps)


def _middle(config, interrupts):
  if os.environ.get('FAIL') == str(config.seed):
    print('ValueError: something broke\n')
    sys.exit(1)
  hold = os.environ.get('HOLD')
  while hold and not os.path.exists(hold):
    interrupts.check()
    time.sleep(0.02)


def frames(path):
  """Frames that a stub has made."""
  file = path / 'metrics.jsonl'
  return 10 * len(file.read_text().splitlines()) if file.exists() else 0


if __name__ == '__main__':
  if sys.argv[1] == 'run':
    config_lib.entry(stub)(sys.argv[2:])
  else:
    if sys.argv[1] != 'real':
      use(sys.argv[1])
    sweep.main(sys.argv[2:])
