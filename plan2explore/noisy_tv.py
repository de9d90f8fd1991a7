"""The noisy television: who is drawn to noise, and who to what can be learned?

    python -m plan2explore.noisy_tv --out DIR                            the default grid
    python -m plan2explore.noisy_tv --out DIR --screens off cycle channels static
        --methods disagreement curiosity rnd random --form image --seeds 5 --steps 50000

Runs every method before every screen for some seeds, several at a time, then writes what they did:
table.md and curves.png, means with 95 % intervals over seeds. A grid that was interrupted goes on;
with all runs there, only table and curves are made. Specification of Plan2Explore, section 12.

Bad news is told, too: high-dimensional static noise (static64) draws every method for long.
"""
import argparse
import itertools
import os
import pathlib
import sys

import numpy as np

from common import config as config_lib
from common import curves
from common import episodes
from common import jobs
from common import logdir
from common.config import UserError
from common.envs import noisytv

METHODS = {
    'disagreement': [], 'curiosity': ['curiosity'], 'rnd': ['rnd'], 'random': ['random']}
CELLS = 50           # of the corridor
BLOCK = 1000         # frames of each point of the curves
ZONES = ('tv', 'start', 'corridor')
PROBE = 20           # decisions into each zone, then as many there
COLUMNS = {          # of the table: what, and the mean of which part of the run
    'corridor cells per 1000 frames': ('cells', 1.0),
    'time in the corridor': ('corridor', 1.0),
    'time at the screen, first quarter': ('tv', 0.25),
    'last quarter': ('tv', -0.25)}


@config_lib.entry
def main(argv=None):
  """Run the command; exit code 1 if a run failed, 2 for a mistake in the command."""
  parser = argparse.ArgumentParser(
      prog='python -m plan2explore.noisy_tv', description=__doc__,
      formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
  parser.add_argument('--out', required=True, type=pathlib.Path, help='directory of the grid')
  parser.add_argument('--screens', nargs='+', default=['cycle', 'channels'], metavar='KIND[SIZE]')
  parser.add_argument(
      '--methods', nargs='+', default=['disagreement', 'curiosity', 'rnd'], choices=METHODS)
  parser.add_argument('--form', choices=['vector', 'image'], default='vector')
  parser.add_argument('--seeds', type=int, default=5)
  parser.add_argument('--steps', type=int, default=20000, help='frames of each run')
  parser.add_argument(
      '--jobs', type=int, default=os.cpu_count() or 1, help='runs at a time, each on one core')
  parser.add_argument('--single', nargs=3, metavar=('SCREEN', 'METHOD', 'SEED'),
                      help='make one run of the grid in this process')
  args = parser.parse_args(argv)
  for screen in args.screens:
    noisytv.parse(screen + _suffix(args.form))
  if min(args.seeds, args.jobs) < 1 or args.steps < BLOCK:
    raise UserError(f'noisy_tv: --seeds and --jobs must be at least 1, --steps {BLOCK}.')
  if args.single:
    screen, method, seed = args.single
    train(args, screen, method, int(seed))
    return
  args.out.mkdir(parents=True, exist_ok=True)
  grid = list(itertools.product(args.screens, args.methods, range(args.seeds)))
  failed = run_all(args, grid)
  done = [cell for cell in grid if cell not in failed]
  found = {cell: measure(path_of(args, *cell)) for cell in done}
  (args.out / 'table.md').write_text(table(args, found))
  print(table(args, found))
  draw(args, found)
  for cell in failed:
    print(f'failed: {path_of(args, *cell)}.log', file=sys.stderr)
  sys.exit(int(bool(failed)))


def path_of(args, screen, method, seed):
  """Directory of one run of the grid."""
  return args.out / f'{screen}{_suffix(args.form)}-{method}-{seed}'


def run_all(args, grid):
  """Make the runs, args.jobs at a time in processes of their own; returns those that failed."""
  base = [
      '-m', 'plan2explore.noisy_tv', '--out', str(args.out), '--form', args.form, '--steps',
      str(args.steps), '--single']
  cells = {' '.join(map(str, cell)): cell for cell in grid}
  waiting = [
      jobs.Job(name, [*base, *map(str, cell)], pathlib.Path(f'{path_of(args, *cell)}.log'))
      for name, cell in cells.items()]
  failed, ended = [], 0
  for job, code, reason in jobs.run(waiting, jobs.Processes(args.jobs)):
    if code is not None:
      ended += 1
      failed += [cells[job.name]] if code else []
      print(f'{ended}/{len(grid)} {job.name}: {reason or "done"}', flush=True)
  return failed


def train(args, screen, method, seed):
  """One run; its evaluations tell what the method pays in each zone."""
  logdir_path = path_of(args, screen, method, seed)
  config = config_lib.load('plan2explore', [
      '--configs', 'noisytv', *METHODS[method], '--task', f'noisytv_{screen}{_suffix(args.form)}',
      '--seed', str(seed), '--steps', str(args.steps), '--logdir', str(logdir_path), '--quiet',
      '--intr_scale', '0.1'])  # the same for all, whatever their blocks say
  rows = probes(config)
  logdir.start(config, lambda agent: pays(agent, rows))


def probes(config):
  """Rows [3, 2 PROBE + 1, ...] of walks into the room, about the start, into the corridor."""
  from common import envs  # here, for it brings all suites
  made = []
  for push in (-1.0, 0.0, 1.0):
    env = envs.make(config, mode='eval')
    obs, rows = env.reset(0), []
    action = np.zeros(2, np.float32)
    for step in range(2 * PROBE + 1):
      rows.append({**obs, 'action': action})
      action = np.float32([push if step < PROBE else 0.3 * (-1) ** step, 0.0])
      obs, *_ = env.step(action)
    made.append({key: np.stack([row[key] for row in rows]) for key in rows[0]})
    env.close()
  return {key: np.stack([rows[key] for rows in made]) for key in made[0]}


def pays(agent, rows):
  """Metrics: mean novelty, as paid, over the second half of the walks into each zone."""
  if not agent.novelty:
    return {}
  paid = agent.novelty_of(rows)
  return {f'probe/{zone}': float(paid[i, PROBE:].mean()) for i, zone in enumerate(ZONES)}


def measure(directory):
  """What a run did, per 1000 frames: dict of arrays with frames, tv, corridor, cells."""
  walks = []
  for path, (_, _, rows) in episodes.named(directory / 'episodes'):
    data, problem = episodes.read(path, rows)
    if problem:
      raise UserError(f'{path}: {problem}. Delete the run to make it again.')
    walks.append(data['log_state'][1:, 0])
  x = np.concatenate(walks)
  along = (x - noisytv.CORRIDOR) / (1 - noisytv.CORRIDOR)
  cells = np.clip((along * CELLS).astype(int), 0, CELLS - 1)
  ends = np.arange(BLOCK, len(x) + 1, BLOCK)
  blocks = [slice(end - BLOCK, end) for end in ends]
  seen = [len(set(cells[block][x[block] > noisytv.CORRIDOR])) for block in blocks]
  return dict(
      frames=ends, cells=np.array(seen, float),
      tv=np.array([(x[block] < noisytv.ROOM).mean() for block in blocks]),
      corridor=np.array([(x[block] > noisytv.CORRIDOR).mean() for block in blocks]),
      probes={zone: _probed(directory, zone) for zone in ZONES})


def _probed(directory, zone):
  found = curves.read(directory, f'probe/{zone}')
  return np.stack([found.frames, found.values], 1)


def table(args, found):
  """Markdown: a row for each screen and method, means and 95 % intervals over seeds."""
  lines = [
      f'{args.steps} frames, {args.seeds} seeds, {args.form}; mean and 95 % interval over seeds.',
      '', '| screen | method | ' + ' | '.join(COLUMNS) + ' |', '|---' * (2 + len(COLUMNS)) + '|']
  for screen, method in itertools.product(args.screens, args.methods):
    runs = [run for cell, run in found.items() if cell[:2] == (screen, method)]
    if runs:
      values = [
          interval([_part(run[key], part) for run in runs]) for key, part in COLUMNS.values()]
      cells = [f'{mean:.2f} +- {half:.2f}' for mean, half in values]
      lines.append(f'| {screen} | {method} | ' + ' | '.join(cells) + ' |')
  return '\n'.join(lines) + '\n'


def _part(values, part):
  """The mean over a share of the run, from its start or, if negative, from its end."""
  length = max(1, round(abs(part) * len(values)))
  return values[:length].mean() if part > 0 else values[-length:].mean()


def interval(values):
  """(mean, half of the 95 % interval) of numbers, by Student's t; the half is 0 for one."""
  from scipy import stats  # comes with dm_control
  values = np.asarray(values, float)
  if len(values) < 2:
    return float(values.mean()), 0.0
  half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
  return float(values.mean()), float(half)


def draw(args, found):
  """curves.png: a row for each screen; time at the screen, corridor cells, what the zones pay."""
  from matplotlib.figure import Figure
  figure = Figure((13, 3.2 * len(args.screens)), layout='constrained')
  axes = figure.subplots(len(args.screens), 3, squeeze=False)
  for row, screen in zip(axes, args.screens):
    for number, method in enumerate(args.methods):
      runs = [run for cell, run in found.items() if cell[:2] == (screen, method)]
      if not runs:
        continue
      style = dict(color=f'C{number}', linestyle=('-', '--', ':', '-.')[number], label=method)
      for axis, key in zip(row, ('tv', 'cells')):
        length = min(len(run[key]) for run in runs)
        stats = np.array([interval([run[key][i] for run in runs]) for i in range(length)])
        frames, (mean, half) = runs[0]['frames'][:length], stats.T
        axis.plot(frames, mean, **style)
        axis.fill_between(frames, mean - half, mean + half, color=style['color'], alpha=0.15)
      probed = [run['probes'] for run in runs if len(run['probes']['tv'])]
      if probed:
        length = min(len(run['tv']) for run in probed)
        ratio = np.mean([
            run['tv'][:length, 1] / np.maximum(run['corridor'][:length, 1], 1e-12)
            for run in probed], 0)
        row[2].plot(probed[0]['tv'][:length, 0], ratio, **style)
    names = (
        'share of time at the screen', f'corridor cells of {CELLS}, per 1000 frames',
        'paid at the screen / in the corridor')
    for axis, name in zip(row, names):
      axis.set(title=f'{screen}: {name}', xlabel='frames')
    row[2].set_yscale('symlog', linthresh=0.1)
    row[0].set_ylim(0, 1)
    row[0].legend()
  figure.savefig(args.out / 'curves.png', dpi=80)


def _suffix(form):
  return '_vector' if form == 'vector' else ''


if __name__ == '__main__':
  main()
