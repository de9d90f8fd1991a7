"""The noisy television: who is drawn to noise, and who to what can be learned?

    python -m plan2explore.noisy_tv --out DIR                            the default grid
    python -m plan2explore.noisy_tv --out DIR --screens off cycle channels static \\
        --methods disagreement curiosity rnd random --form image --seeds 5 --steps 50000

Runs every method before every screen for some seeds, several at a time, then writes what they did:
table.md and curves.png, means with 95 % intervals over seeds. A grid that was interrupted goes on;
with all runs there, only table and curves are made. common/envs/noisytv.py describes the world.

Bad news is told, too: high-dimensional static noise (static64) draws every method for long.
"""
import numpy as np

from common import config as config_lib
from common import envs
from common.config import UserError
from common.data import episodes
from common.envs import noisytv
from common.loop.start import start
from common.scores import canvas
from common.scores import curves
from common.scores import figures
from plan2explore.studies import grid

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
  parser = grid.parser(
      'plan2explore.noisy_tv', __doc__, ('screens', ['cycle', 'channels']),
      ['disagreement', 'curiosity', 'rnd'], 20000)
  parser.add_argument('--form', choices=['vector', 'image'], default='vector')
  args = parser.parse_args(argv)
  grid.check(args)
  args.worlds = [screen + _suffix(args.form) for screen in args.worlds]
  for world in args.worlds:
    noisytv.parse(world)
  if args.steps < 2 * BLOCK:
    raise UserError(
        f'noisy_tv: --steps {args.steps} is hardly more than the random actions at the start. '
        f'Pass at least {2 * BLOCK}.')
  if args.single:
    train(args, *args.single)
    return
  complete = grid.run('plan2explore.noisy_tv', args, ['--form', args.form])
  found = {cell: measure(grid.path_of(args, *cell)) for cell in complete}
  draw(args, found)
  grid.finish(args, table(args, found), complete)


def train(args, world, method, seed):
  """One run; its evaluations tell what the method pays in each zone."""
  config = config_lib.load('plan2explore', [
      '--configs', 'noisytv', *grid.METHODS[method], '--task', f'noisytv_{world}',
      '--seed', str(seed), '--steps', str(args.steps), '--quiet',
      '--logdir', str(grid.path_of(args, world, method, seed)),
      '--intr_scale', '0.1'])  # the same for all, whatever their blocks say
  rows = probes(config)
  start(config, lambda agent: pays(agent, rows))


def probes(config):
  """Rows [3, 2 PROBE + 1, ...] of walks into the room, about the start, into the corridor."""
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
  """Metrics: mean novelty, before it is scaled, over the second half of the walks into each zone."""
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
  """Markdown: a row for each screen and method, means and intervals over seeds."""
  return grid.table(args, COLUMNS, found, {
      pair: [grid.text([_part(run[key], part) for run in runs]) for key, part in COLUMNS.values()]
      for pair, runs in grid.by_method(args, found).items()})


def _part(values, part):
  """The mean over a share of the run, from its start or, if negative, from its end."""
  length = max(1, round(abs(part) * len(values)))
  return values[:length].mean() if part > 0 else values[-length:].mean()


def draw(args, found):
  """curves.png: a row for each screen; time at the screen, corridor cells, what the zones pay."""
  figure = canvas.figure(13, 3.2 * len(args.worlds))
  axes = figure.subplots(len(args.worlds), 3, squeeze=False)
  grouped = grid.by_method(args, found)
  for row, world in zip(axes, args.worlds):
    for number, method in enumerate(args.methods):
      runs = grouped.get((world, method))
      if not runs:
        continue
      style = grid.style(number, method)
      for axis, key in zip(row, ('tv', 'cells')):
        grid.draw_curve(axis, runs[0]['frames'], [run[key] for run in runs], style)
      probed = [run['probes'] for run in runs if len(run['probes']['tv'])]
      if probed:
        length = min(len(run['tv']) for run in probed)
        paid = np.array([
            [run[zone][:length, 1] for zone in ('tv', 'corridor')] for run in probed])
        # A head may expect less than nothing, which has no share.
        ratios = np.where(paid > 0, paid, np.nan)
        ratios = ratios[:, 0] / ratios[:, 1]
        known = np.isfinite(ratios).any(0)
        row[2].plot(
            probed[0]['tv'][:length, 0][known], np.nanmedian(ratios[:, known], 0), **style)
    names = (
        'share of time at the screen', f'corridor cells of {CELLS} per 1000 frames',
        'paid at the screen / in the corridor')
    for axis, name in zip(row, names):
      axis.set(title=world, ylabel=name, xlabel='frames')
    row[2].set_yscale('log')
    row[0].set_ylim(0, 1)
    row[0].legend()
  figures.save(figure, args.out / 'curves.png')


def _suffix(form):
  return '_vector' if form == 'vector' else ''
