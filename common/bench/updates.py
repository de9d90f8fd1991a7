"""Seconds of an update: against the matmul peak, another checkout, or another value of an option."""
import itertools
import statistics

from common import config as config_lib
from common.bench import against
from common.bench import printing
from common.bench import sizes
from common.bench import variants

TIMEOUT = 600  # seconds that a variant may work
MEMORY = 14    # GB that one may take
WARMUP = 5     # updates before those that --vary times
COLUMNS = (   # of the table: title, key of the row, format
    ('XLA', 'jit', ''), ('oneDNN', 'onednn', ''), ('wall s', 'wall', '.3f'),
    ('CPU s', 'cpu', '.3f'), ('first call s', 'first_call', '.1f'), ('of peak', 'share', '.1%'),
    ('twice', 'share_twice', '.1%'), ('by CPU s', 'share_cpu', '.1%'), ('own peak', 'peak', '.1f'),
    ('memory GB', 'memory', '.2f'), ('traces', 'traces', ''))


def train_step(args, flags):
  """Time updates of the real agent on a random batch; returns the exit code."""
  size = sizes.name_of(args, flags, 'both')
  names = list(sizes.SIZES) if size == 'both' else [size]
  if args.agent and not args.against:
    raise config_lib.UserError('--agent: only --against times other agents than Dreamer.')
  agent = args.agent or 'dreamer'
  compares = '--vary' if args.vary else '--against' if args.against else ''
  if compares and (args.onednn, args.timeout, args.memory) != (None, None, None):
    raise config_lib.UserError(
        f'--onednn, --timeout and --memory are of variants, which {compares} has none of. Leave '
        'them out.')
  of_size = lambda size, *more: [*sizes.flags(size, agent), *flags, *more]
  load = lambda *words: config_lib.load(agent, of_size(*words))
  if args.vary:
    key, *values = args.vary
    pairs = [(size, [load(size, f'--{key}', value) for value in values]) for size in names]
    if key not in pairs[0][1][0] or key == 'deterministic':
      raise config_lib.UserError(
          '--vary: deterministic is of a whole process, in which both agents are.'
          if key == 'deterministic' else f'--vary {key}: one option, by its whole name.')
    for size, configs in pairs:
      _vary(size, key, configs, args.steps or 30)
    return 0
  configs = {size: load(size) for size in names}
  if not args.against:
    sizes.check_counted(*configs.values())
  if args.against:
    for size, config in configs.items():
      against.show(against.measure(
          args.against, agent, size, config.configs, of_size(size), args.steps or 10))
    return 0
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
        f'CPU second ({measured[0]["product"]}).')
  return int(any('failed' in row.get('problem', '') for row in rows))


def _vary(size, key, configs, steps):
  """Time two agents in turns, so that both meet the same noise of the machine."""
  # Delayed: TensorFlow reads its settings when it is imported.
  from common.bench import trial
  trials = [trial.Trial(config) for config in configs]
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
  printing.json_line(dict(
      size=size, key=key, values=[c[key] for c in configs], medians=medians, ratio=ratio))


def _run_variants(size, config, args):
  """Run XLA and oneDNN on and off, each in its own process; returns a list of row dicts.

  As many as fit into memory are made ready first, then timed in turns: these machines are noisy.
  """
  jits = [False, True] if config.jit == 'auto' else [config.jit]
  onednns = [True, False] if args.onednn in (None, 'both') else [args.onednn == 'True']
  timeout = TIMEOUT if args.timeout is None else args.timeout
  memory = MEMORY if args.memory is None else args.memory
  tasks = ['step'] * (args.steps or 2) + ['finish']
  live, rows = [], []
  for jit, onednn in itertools.product(jits, onednns):
    if live and variants.available_gb() < memory:
      variants.take_turns(live, tasks)
      live = []
    variant = variants.Variant(
        size, config.replace(jit=jit), onednn, timeout, memory)
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
    printing.json_line(row)
