"""How long updates wait for their batches."""
import tempfile
import time

import numpy as np

from common import config as config_lib
from common.bench import printing
from common.bench import sizes
from common.bench import trial as trial_lib
from common.data import dataset
from common.data import replay

EPISODES = 4  # in the replay that batches are drawn from


def wait_for_data(args, flags):
  """Time batches alone, then updates that draw them; returns the exit code."""
  size = sizes.name_of(args, flags, 'published')
  config = config_lib.load('dreamer', sizes.flags(size) + flags)
  trial = trial_lib.Trial(config)
  with tempfile.TemporaryDirectory() as directory:
    store = _random_replay(directory, trial, config)
    loader = dataset.Loader(
        store, config.seed, config.batch_size, config.batch_length,
        transform=trial.agent.distribute)
    trial.step()
    count = max(args.steps, 20)
    started = time.perf_counter()
    for _ in loader.burst(0, count):
      pass
    alone = time.perf_counter() - started
    waits, steps = [], []
    batches = loader.burst(count, args.steps)
    for _ in range(args.steps):
      started = time.perf_counter()
      batch = next(batches)
      waits.append(time.perf_counter() - started)
      steps.append(trial.step(batch)[0])
    loader.close()
  row = dict(
      size=size, configs=config.configs, steps=args.steps, batches_per_s=count / alone,
      updates_per_s=len(steps) / sum(steps), wait_first=waits[0], wait_rest=sum(waits[1:]),
      wait_share=sum(waits) / (sum(waits) + sum(steps)))
  print(
      '{size}: {batches_per_s:.1f} batches/s alone, {updates_per_s:.2f} updates/s; a burst of '
      '{steps} waited {wait_share:.1%} of its time: {wait_first:.3f} s for the first batch, '
      '{wait_rest:.3f} s for all others'.format(**row))
  printing.json_line(row)
  return 0


def _random_replay(directory, trial, config):
  """Episodes as long as the time limit allows."""
  store = replay.Replay(
      directory, config.action_repeat, last_row=config.dataset_last_row,
      balance=config.dataset_balance)
  rng = np.random.default_rng(0)
  rows = max(config.time_limit // config.action_repeat + 1, config.batch_length + 1)
  for k in range(EPISODES):
    store.add(trial.episode(rng, rows), k, 0)
  return store
