"""Host time of the real loop: driver, replay, batches and files around stand-ins of known speed."""
import os
import pathlib
import sys
import tempfile
import time

import numpy as np

from common import config as config_lib
from common.bench import arguments
from common.bench import printing
from common.bench import standins
from common.data import episodes
from common.loop import overlap
from common.loop import parts
from common.loop import run
from common.loop.interrupts import Interrupts, Stop
from common.model import devices

ROWS = 101       # of the episodes that are stored already
WARM_UP = 2_000  # frames before those that count
BURSTS = {100: 1000, 1: 10}  # updates in a burst: frames between two, at the published ratio
OWN = ('logdir', 'task', 'steps', 'prefill', 'train_every', 'eval_every', 'envs')  # of this file


def measure_loop(args, flags):
  """Time the loop at several numbers of stored episodes and sizes of bursts; returns the exit code."""
  arguments.refuse(flags, OWN, 'is what the benchmark itself chooses')
  for stored in args.stored:
    for train_steps in args.train_steps:
      row = _measure(stored, train_steps, args, flags)
      print(
          '{stored:>6,} episodes, bursts of {train_steps:>3}: {frames_per_second:.0f} frames/s, '
          '{share_of_bound:.1%} of the bound, {host_ms_per_update:.2f} ms of host time an '
          'update'.format(**row))
      printing.json_line(row)
  return 0


def _measure(stored, train_steps, args, flags):
  """One row: the loop over args.frames frames after some to warm up."""
  os.environ[standins.ENV_MS] = str(args.env_ms)
  os.environ[standins.BUSY] = 'busy' if args.busy else ''
  made = standins.agent_class(args.update_ms, args.policy_ms, args.busy)
  with tempfile.TemporaryDirectory() as directory, Interrupts() as interrupts:
    path = pathlib.Path(directory)
    config = config_lib.load('dreamer', [
        *([] if config_lib.names_blocks(flags) else ['--configs', 'debug']),
        '--task', 'py_common.bench.standins:SlowEnv', '--cnn_keys', '',
        '--mlp_keys', '.*', '--action_repeat', '2', '--time_limit', '1000', '--prefill', '2000',
        '--pretrain', '3', '--batch_size', '50', '--batch_length', '50', '--eval_episodes', '0',
        '--steps', '1e9', '--replay_capacity', '0', '--log_every', '1000', '--quiet',
        '--logdir', directory, '--train_every', str(BURSTS[train_steps]),
        '--train_steps', str(train_steps), *flags])
    if config.collectors:
      raise config_lib.UserError(
          'benchmark: what collectors wait for is not seen from here. Pass --collectors 0.')
    config = devices.setup(config)
    _store(path / 'episodes', stored)
    built = parts.build(config, path, made)
    try:
      kind = overlap.OverlappedRun if config.overlap else run.Run
      loop = kind(config, built, interrupts)
      loop.prefill()
      loop.pretrain()
      built.progress.values['next_eval'] = loop.frames + WARM_UP
      loop.collect()
      return _collect(loop, built, stored, train_steps, args, config)
    except Stop:
      sys.exit(128 + interrupts.signal)
    finally:
      built.close()


def _collect(loop, built, stored, train_steps, args, config):
  """Collect args.frames frames more, and compare the time with what the stand-ins waited for."""
  acting = built.acting.copy if built.acting else built.agent
  def waits():
    last = built.replay.stored[-1]['vector'][-1]
    return {
        'update': built.agent.waiters['update'].total, 'policy': acting.waiters['policy'].total,
        'env': float(last[-1])}
  count, before = built.agent.waiters['update'].count, waits()
  frames, built.progress.values['next_eval'] = loop.frames, loop.frames + args.frames
  started = time.perf_counter()
  loop.collect()
  wall = time.perf_counter() - started
  waited = {name: total - before[name] for name, total in waits().items()}
  updates = built.agent.waiters['update'].count - count
  if not updates:
    raise config_lib.UserError(
        f'benchmark: no update was due in {args.frames} frames. Pass more --frames.')
  bound = sum(waited.values())
  if config.overlap:
    bound = max(waited['update'], bound - waited['update'])
  return dict(
      stored=stored, train_steps=train_steps, overlap=config.overlap, busy=args.busy,
      frames_per_second=(loop.frames - frames) / wall, share_of_bound=bound / wall,
      host_ms_per_update=1e3 * (wall - bound) / updates, updates=updates, wall=wall, bound=bound)


def _store(directory, count):
  """Episodes as of an earlier process: one file under many names."""
  directory.mkdir(parents=True)
  if not count:
    return
  first = directory / episodes.name(0, 0, ROWS)
  episodes.write(first, {
      'vector': np.zeros((ROWS, 8), np.float32), 'action': np.zeros((ROWS, 1), np.float32),
      'reward': np.zeros(ROWS, np.float32), 'discount': np.ones(ROWS, np.float32)})
  for k in range(1, count):
    os.link(first, directory / episodes.name(k, 0, ROWS))
