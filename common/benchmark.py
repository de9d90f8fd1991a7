"""Benchmarks of what a run spends its time on; docs/benchmarks.md tells how to read them.

    python -m common.benchmark train_step            XLA and oneDNN on and off, against the peak
    python -m common.benchmark train_step --configs dmc cpu --vary jit True False
    python -m common.benchmark data                  is a batch ready before an update needs it?
    python -m common.benchmark env --task dmc_walker_walk
    python -m common.benchmark plan                  one search of PlaNet, XLA off and on
    python -m common.benchmark explore               what Plan2Explore's ensemble costs an update
    python -m common.benchmark view                  what the live view and the pictures cost
    python -m common.benchmark emulator              Atari frames, against the bare emulator

Each prints a table for people and JSON lines. `--configs NAME ... --KEY VALUE ...` are those of
`python -m dreamer.train`, except --steps. Exit code 1 if a variant failed, 2 for a mistake in the
command.
"""
import argparse
import functools
import importlib
import itertools
import json
import os
import statistics
import sys
import tempfile
import time

import numpy as np

from common import config as config_lib
from common import dataset
from common import envs
from common import replay
from common.benchmark_cases import variants
from common.envs import parallel

SMALL = {
    'batch_size': 16, 'batch_length': 30, 'deter_size': 64, 'stoch_size': 30, 'num_units': 128,
    'cnn_depth': 8, 'horizon': 15}
SIZES = {
    'published': [],
    'small': [word for key, value in SMALL.items() for word in (f'--{key}', str(value))]}
WARMUP = 5    # updates before those that --vary times
EPISODES = 4  # in the replay that batches are drawn from
COLUMNS = (   # of the table: title, key of the row, format
    ('XLA', 'jit', ''), ('oneDNN', 'onednn', ''), ('wall s', 'wall', '.3f'),
    ('CPU s', 'cpu', '.3f'), ('first call s', 'first_call', '.1f'), ('of peak', 'share', '.1%'),
    ('twice', 'share_twice', '.1%'), ('by CPU s', 'share_cpu', '.1%'), ('own peak', 'peak', '.1f'),
    ('memory GB', 'memory', '.2f'), ('traces', 'traces', ''))


@config_lib.entry
def main(argv=None):
  """Run the command line; exits with the code above."""
  parser = argparse.ArgumentParser(
      prog='python -m common.benchmark', description=__doc__, allow_abbrev=False,
      formatter_class=argparse.RawDescriptionHelpFormatter)
  commands = parser.add_subparsers(dest='command', required=True)
  add = functools.partial(commands.add_parser, allow_abbrev=False)

  step = add('train_step', help='seconds of an update and their share of the matmul peak')
  step.add_argument('--size', choices=[*SIZES, 'both'], help='default: both; with --configs theirs')
  step.add_argument('--steps', type=_positive, help='timed updates; default 2, with --vary 30')
  step.add_argument('--onednn', choices=['both', 'True', 'False'], default='both')
  step.add_argument('--timeout', type=float, default=600, help='seconds that a variant may work')
  step.add_argument('--memory', type=float, default=14, help='GB that a variant may take')
  step.add_argument(
      '--vary', nargs=3, metavar=('KEY', 'VALUE', 'VALUE'),
      help='compare two agents in one process instead')
  step.set_defaults(run=train_step)

  data = add('data', help='batches a second, and how long updates wait for them')
  data.add_argument('--size', choices=SIZES, help='default: published; with --configs theirs')
  data.add_argument('--steps', type=_positive, default=10, help='updates in the burst')
  data.set_defaults(run=wait_for_data)

  env = add('env', help='decisions a second: without images, with them, in processes')
  env.add_argument('--steps', type=_positive, default=200, help='decisions of each environment')
  env.set_defaults(run=step_environments)

  plan = add('plan', help='seconds of a search of the planner and its share of the matmul peak')
  plan.add_argument('--steps', type=_positive, default=3, help='timed searches')
  plan.set_defaults(run=functools.partial(
      measure, 'planet', 'planning', [],
      'XLA {jit}: {wall:.2f} s a search, {share:.1%} of {peak:.0f} GFLOP/s ({gflop:.0f} GFLOP '
      'counted)'))

  explore = add('explore', help='share of the ensemble of Plan2Explore in time and operations')
  explore.add_argument('--steps', type=_positive, default=3, help='timed updates of each')
  explore.set_defaults(run=functools.partial(
      measure, 'plan2explore', 'exploring', [],
      '{update:.2f} s an update, {without:.2f} s with nearly no ensemble: {time_share:.1%} of the '
      'time for {operations_share:.1%} of {gflop:.0f} GFLOP, ratio {ratio:.2f}; {share:.1%} of '
      '{peak:.0f} GFLOP/s, {memory:.1f} GB'))

  view = add('view', help='share of the live view and of the pictures in the time of a run')
  view.add_argument('--steps', type=_positive, default=10, help='pairs of bursts of updates')
  view.set_defaults(run=functools.partial(
      measure, 'dreamer', 'viewing', ['dmc', 'cpu'],
      'view {view:+.2%} of the time of updates ({update:.3f} s each); pictures {pictures:.2f} s '
      'every {between:.0f} s, {pictures_share:.2%}; together {total:.2%}'))

  games = add('emulator', help='frames a second of Atari and their share of the bare emulator')
  games.add_argument('--steps', type=_positive, default=1000, help='decisions of each turn')
  games.set_defaults(run=functools.partial(
      measure, 'dreamer', 'emulator', ['atari'],
      '{task}: {wrapper:.0f} frames/s through the wrapper, {bare:.0f} of the bare emulator, '
      '{share:.0%}'))

  args, flags = parser.parse_known_args(argv)
  sys.exit(args.run(args, flags))


def train_step(args, flags):
  """Time updates of the real agent on a random batch; returns the exit code."""
  size = _size(args, flags, 'both')
  sizes = list(SIZES) if size == 'both' else [size]
  load = lambda size, *more: config_lib.load('dreamer', [*SIZES.get(size, []), *flags, *more])
  if args.vary:
    key, *values = args.vary
    pairs = [(size, [load(size, f'--{key}', value) for value in values]) for size in sizes]
    for size, configs in pairs:
      _vary(size, key, configs, args.steps or 30)
    return 0
  configs = {size: load(size) for size in sizes}
  rows = []
  for size, config in configs.items():
    rows += _run_variants(size, config, args)
  measured = [row for row in rows if 'peak' in row]
  peaks = {key: max((row[key] for row in measured), default=None) for key in ('peak', 'peak_cpu')}
  for size, config in configs.items():
    _print_variants(config, [row for row in rows if row['size'] == size], **peaks)
  if measured:
    print(
        f'Best matmul peak of this run: {peaks["peak"]:.1f} GFLOP/s, {peaks["peak_cpu"]:.1f} per '
        'CPU second (2048 x 2048, float32).')
  return int(any('failed' in row.get('problem', '') for row in rows))


def wait_for_data(args, flags):
  """Time batches alone, then updates that draw them; returns the exit code."""
  size = _size(args, flags, 'published')
  config = config_lib.load('dreamer', SIZES.get(size, []) + flags)
  trial = _trial()(config)
  with tempfile.TemporaryDirectory() as directory:
    store = _random_replay(directory, trial, config)
    burst = lambda first, count: dataset.batches(
        store, config.seed, first, count, config.batch_size, config.batch_length,
        transform=trial.agent.distribute)
    trial.step()
    count = max(args.steps, 20)
    started = time.perf_counter()
    for _ in burst(0, count):
      pass
    alone = time.perf_counter() - started
    waits, steps = [], []
    batches = burst(count, args.steps)
    for _ in range(args.steps):
      started = time.perf_counter()
      batch = next(batches)
      waits.append(time.perf_counter() - started)
      steps.append(trial.step(batch)[0])
  row = dict(
      size=size, configs=config.configs, steps=args.steps, batches_per_s=count / alone,
      updates_per_s=len(steps) / sum(steps), wait_first=waits[0], wait_rest=sum(waits[1:]),
      wait_share=sum(waits) / (sum(waits) + sum(steps)))
  print(
      '{size}: {batches_per_s:.1f} batches/s alone, {updates_per_s:.2f} updates/s; a burst of '
      '{steps} waited {wait_share:.1%} of its time: {wait_first:.3f} s for the first batch, '
      '{wait_rest:.3f} s for all others'.format(**row))
  _print_json(row)
  return 0


def step_environments(args, flags):
  """Time random decisions of the task's environment in three ways; returns the exit code."""
  config = config_lib.load('dreamer', flags)
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
    _print_json(dict(task=config.task, way=name, decisions_per_s=rate, frames_per_s=frames))
  return 0


def measure(agent, case, blocks, text, args, flags):
  """Run a file of benchmark_cases and print its rows; returns the exit code.

  blocks: of the configuration, unless the flags name some. text: for people, formatted with a row.
  """
  if blocks and '--configs' not in flags:
    flags = ['--configs', *blocks, *flags]
  config = config_lib.load(agent, flags)
  module = importlib.import_module(f'common.benchmark_cases.{case}')
  for row in module.measure(config, args.steps):
    print(text.format(**row))
    _print_json(row)
  return 0


def _random_replay(directory, trial, config):
  """Episodes as long as the time limit allows."""
  store = replay.Replay(directory, config.action_repeat)
  rng = np.random.default_rng(0)
  rows = max(config.time_limit // config.action_repeat + 1, config.batch_length + 1)
  for k in range(EPISODES):
    store.add(trial.episode(rng, rows), k, 0)
  return store


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


def _vary(size, key, configs, steps):
  """Time two agents in turns, so that both meet the same noise of the machine."""
  trials = [_trial()(config) for config in configs]
  seconds = [[], []]
  for number in range(WARMUP + steps):
    for index in (0, 1) if number % 2 else (1, 0):
      wall, _ = trials[index].step()
      if number >= WARMUP:
        seconds[index].append(wall)
  medians = [statistics.median(x) for x in seconds]
  ratio = max(medians) / min(medians)
  times = '   '.join(f'{key}={c[key]} {1e3 * m:.0f} ms' for c, m in zip(configs, medians))
  print(f'{size}: {times}   ratio {ratio:.2f} (median of {steps} after {WARMUP}, interleaved)')
  _print_json(dict(
      size=size, key=key, values=[c[key] for c in configs], medians=medians, ratio=ratio))


def _run_variants(size, config, args):
  """Run XLA and oneDNN on and off, each in its own process; returns a list of row dicts.

  As many as fit into memory are made ready first, then timed in turns: these machines are noisy.
  """
  jits = [False, True] if config.jit == 'auto' else [config.jit]
  onednns = [True, False] if args.onednn == 'both' else [args.onednn == 'True']
  tasks = ['step'] * (args.steps or 2) + ['finish']
  live, rows = [], []
  for jit, onednn in itertools.product(jits, onednns):
    if live and variants.available_gb() < args.memory:
      variants.take_turns(live, tasks)
      live = []
    variant = variants.Variant(
        size, config.replace(jit=jit), onednn, args.timeout, args.memory)
    rows.append(variant.row)
    live.append(variant)
    variant.ask('warm up')
  variants.take_turns(live, tasks)
  return rows


def _print_variants(config, rows, peak, peak_cpu):
  """Print the table and the JSON lines of one size; the peaks are the best of the whole run."""
  name = ' '.join([rows[0]['size'], *config.configs])
  print(f'\n{name}: batch {config.batch_size} x {config.batch_length}, horizon {config.horizon}')
  line = lambda cells: print('  '.join(f'{cell:>12}' for cell in cells))
  line(title for title, _, _ in COLUMNS)
  for row in rows:
    if 'problem' in row:
      line([str(row['jit']), str(row['onednn']), row['problem']])
      continue
    row.update(
        best_peak=peak, share=row['gflop'] / row['wall'] / peak,
        share_twice=row['gflop_twice'] / row['wall'] / peak,
        best_peak_cpu=peak_cpu, share_cpu=row['gflop'] / row['cpu'] / peak_cpu)
    line(format(row[key], spec) if spec else str(row[key]) for _, key, spec in COLUMNS)
  done = [row for row in rows if 'problem' not in row]
  if done:
    once, twice = done[0]['gflop'], done[0]['gflop_twice']
    print(
        f'of peak: {once:.1f} GFLOP with the value head evaluated once, as is done; twice, as in '
        f'straightforward code: {twice:.1f}.')
  for row in rows:
    _print_json(row)


def _print_json(row):
  rounded = lambda x: float(f'{x:.5g}') if isinstance(x, float) else x
  parts = lambda x: {k: rounded(v) for k, v in x.items()} if isinstance(x, dict) else rounded(x)
  print(json.dumps({key: parts(value) for key, value in row.items()}), flush=True)


def _trial():
  """Return the class Trial. TensorFlow reads its settings when it is imported, hence not before."""
  from common.benchmark_cases import trial
  return trial.Trial


def _size(args, flags, default):
  """Return the name of the size; blocks have sizes of their own, called `configured`."""
  return args.size or ('configured' if '--configs' in flags else default)


def _positive(text):
  number = int(text)
  if number < 1:
    raise argparse.ArgumentTypeError('must be at least 1')
  return number


if __name__ == '__main__':
  main()
