"""Runs that are killed by SIGKILL again and again: python killed.py, and a line to it for each run.

A line is a JSON list of SEED, AGENT, MOMENTS, DIR and FLAGS. AGENT is one of the three, or toy. MOMENTS
is a list of words: each is a start of the command that ends at

    any         some time after an update
    episode     while an episode is written
    checkpoint  while a checkpoint is written
    metrics     in the middle of a line of metrics.jsonl

A last start runs to the end. For each of them a line of JSON tells how it ended (`code`, -9 if it
was killed) and what there was then. All are forks of one process that has imported TensorFlow and
computes nothing.
"""
import json
import os
import pathlib
import random
import signal
import sys
import threading

import loops

from common import config as config_lib
from common.agent import Agent
from common.data import episodes
from common.loop import checkpoint
from common.loop import start as run_start
from common.loop.logger import Logger


def kill(*_):
  """End this process, as the system would."""
  os.kill(os.getpid(), signal.SIGKILL)


def kill_within(owner, name, call, seconds):
  """Die some seconds after call number `call` of a function has begun."""
  original, calls = getattr(owner, name), [0]
  def function(*args, **kwargs):
    calls[0] += 1
    if calls[0] == call:
      threading.Timer(seconds, kill).start()
    return original(*args, **kwargs)
  setattr(owner, name, function)


def kill_in_a_line(call):
  """Die when half of a line is written."""
  append, calls = Logger._append, [0]
  def function(self, line):
    calls[0] += 1
    if calls[0] == call:
      self._file.write(line[:len(line) // 2])
      kill()
    append(self, line)
  Logger._append = function


def arrange(moment, rng):
  """Let this process die at a moment, a few milliseconds earlier or later by chance."""
  if moment == 'any':
    kill_within(Agent, 'train', rng.randint(1, 15), rng.uniform(0, 0.05))
  elif moment == 'episode':
    kill_within(episodes, 'write', rng.randint(1, 4), rng.uniform(0, 0.005))
  elif moment == 'checkpoint':
    kill_within(checkpoint.Checkpoint, 'save', rng.randint(1, 2), rng.uniform(0, 0.05))
  elif moment == 'metrics':
    kill_in_a_line(rng.randint(1, 6))


def start(agent, path, flags, moment, seed):
  """Run in a child; returns its exit code, or minus the signal that ended it."""
  child = os.fork()
  if not child:
    code = 1
    try:
      if agent == 'toy':
        loops.use_toy()
        agent = 'dreamer'
      arrange(moment, random.Random(seed))
      run_start.start(config_lib.load(agent, [*flags, '--logdir', str(path)]))
      code = 0
    finally:
      sys.stdout.flush()
      os._exit(code)
  return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def look(path):
  """What is there: updates of the newest checkpoint, whole rows of metrics, names of episodes."""
  lines = (path / 'metrics.jsonl').read_bytes().split(b'\n')[:-1]
  for line in lines:
    json.loads(line)
  return {'rows': len(lines), 'episodes': sorted(
      x.name for x in (path / 'episodes').iterdir() if x.name[0] != '.')}


def repeat(seed, agent, moments, path, *flags):
  """Start a run as often as there are moments, and once more."""
  for number, moment in enumerate([*moments, '']):
    code = start(agent, path, flags, moment, f'{seed} {number}')
    # On a line of its own: what was killed may have left half of one.
    found = {'moment': moment, 'code': code, **look(pathlib.Path(path))}
    print(f'\n{json.dumps(found)}', flush=True)


def main():
  """Entry point."""
  for line in iter(sys.stdin.readline, ''):
    repeat(*json.loads(line))


if __name__ == '__main__':
  main()
