"""Decisions a second of environments: without images, with them, in processes."""
import functools
import os
import time

from common import config as config_lib
from common import envs
from common.bench import arguments
from common.bench import printing
from common.envs import parallel


def step_environments(args, flags):
  """Time random decisions of the task's environment in three ways; returns the exit code."""
  arguments.refuse(flags, ('envs', 'parallel'), 'is what the benchmark varies')
  config = config_lib.load('dreamer', flags)
  envs.check(config)
  number = max(2, os.cpu_count() or 1)
  ways = [
      ('vectors only', ['--cnn_keys', '', '--mlp_keys', '.*'], 1),
      ('as configured', [], 1),
      (f'as configured, {number} processes', [], number)]
  print(f'{config.task}, action repeat {config.action_repeat}, {args.steps} decisions each')
  for name, more, amount in ways:
    config = config_lib.load('dreamer', [*flags, *more])
    strategy = 'process' if amount > 1 else 'none'
    try:
      rate = _decisions_per_second(config, amount, strategy, args.steps)
    except config_lib.UserError as error:
      print(f'  {name}: not possible ({error})')
      continue
    frames = rate * config.action_repeat
    print(f'  {name}: {rate:.1f} decisions/s, {frames:.1f} frames/s, {1e3 / rate:.2f} ms each')
    printing.json_line(dict(task=config.task, way=name, decisions_per_s=rate, frames_per_s=frames))
  return 0


def _decisions_per_second(config, amount, strategy, decisions):
  """Step `amount` environments side by side, so many decisions each."""
  workers = []
  try:
    for index in range(amount):
      make = functools.partial(envs.make, config, index)
      workers.append(parallel.Parallel(make, strategy))
    for promise in [worker.reset() for worker in workers]:
      promise()
    space = workers[0].act_space
    started = time.perf_counter()
    for _ in range(decisions):
      promises = [worker.step(space.sample()) for worker in workers]
      done = [promise()[2] for promise in promises]
      for promise in [worker.reset() for worker, over in zip(workers, done) if over]:
        promise()
    return amount * decisions / (time.perf_counter() - started)
  finally:
    for worker in workers:
      worker.close()
