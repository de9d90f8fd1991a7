"""What explorers get to see, and what the task's actor makes of it without having been there.

    python -m plan2explore.coverage --out DIR                    disagreement and random in the maze
    python -m plan2explore.coverage --out DIR --tasks dmc_walker_walk --configs dmc cpu \\
        --methods disagreement curiosity max retrospective random --steps 100000

Runs every method on every task for some seeds, several at a time, then writes table.md and
curves.png: cells of the coordinates that any episode so far has visited, and zero-shot returns, as
means with 95 % intervals over seeds. Frames are the same for all. A study that was interrupted goes
on; with all runs there, only table and curves are made.
"""
from common import config as config_lib
from common import envs
from common.config import UserError
from common.loop.start import start
from common.scores import canvas
from common.scores import curves
from common.scores import figures
from plan2explore.studies import grid

CELLS, RETURN = 'train/coverage_total', 'eval/return'
COLUMNS = (
    'cells visited', 'in the first half of the frames', 'zero-shot return', 'best zero-shot return',
    'return after pretraining')


@config_lib.entry
def main(argv=None):
  """Run the command; exit code 1 if a run failed, 2 for a mistake in the command."""
  parser = grid.parser(
      'plan2explore.coverage', __doc__, ('tasks', ['toy_maze_vector']), ['disagreement', 'random'],
      6000)
  parser.add_argument(
      '--configs', nargs='+', action='extend',
      help='blocks of configs.yaml, before the method\'s (default: toy)')
  args = parser.parse_args(argv)
  args.configs = args.configs or ['toy']
  grid.check(args)
  if args.single:
    start(_config(args, *args.single))
    return
  # A mistake is refused before the first run.
  configs = {
      task: _config(args, task, method, seed) for task, method, seed in grid.cells(args)}
  for config in configs.values():
    _refuse_without_numbers(config)
  complete = grid.run('plan2explore.coverage', args, ['--configs', *args.configs])
  found = {cell: measure(grid.path_of(args, *cell)) for cell in complete}
  draw(args, found)
  grid.finish(args, table(args, found), complete)


def measure(directory):
  """What a run did: dict of `cells` and `returns`, curves.Run of what was logged."""
  return dict(cells=curves.read(directory, CELLS), returns=curves.read(directory, RETURN))


def table(args, found):
  """Markdown: a row for each task and method, means and intervals over seeds."""
  return grid.table(args, COLUMNS, found, {
      pair: [grid.text(column, 1) for column in zip(*map(_row, runs))]
      for pair, runs in grid.by_method(args, found).items()})


def _row(run):
  """Numbers for COLUMNS of one run."""
  cells, returns = run['cells'], run['returns'].values
  half = cells.frames <= cells.frames[-1] / 2
  return (
      cells.values[-1], cells.values[half].max(initial=0.0), returns[-1], returns.max(), returns[0])


def _refuse_without_numbers(config):
  """Raises UserError for a task without coordinates, or a study without evaluations."""
  if not config.coverage or not config.eval_episodes:
    raise UserError('coverage: needs --coverage True and --eval_episodes of at least 1.')
  env = envs.make(config)
  told = env.reset(config.seed)
  env.close()
  if 'log_state' not in told:
    raise UserError(
        f'coverage: {config.task} tells no coordinates. Tasks of dmc, toy and noisytv do.')


def draw(args, found):
  """curves.png: a row for each task; cells and zero-shot returns over frames."""
  figure = canvas.figure(10, 3.2 * len(args.worlds))
  axes = figure.subplots(len(args.worlds), 2, squeeze=False)
  grouped = grid.by_method(args, found)
  for row, task in zip(axes, args.worlds):
    for number, method in enumerate(args.methods):
      runs = grouped.get((task, method), [])
      style = grid.style(number, method)
      for axis, key in zip(row, ('cells', 'returns')) if runs else ():
        longest = max((run[key].frames for run in runs), key=len)
        grid.draw_curve(axis, longest, [run[key].values for run in runs], style)
    for axis, name in zip(row, ('cells visited so far', 'zero-shot return')):
      axis.set(title=f'{task}: {name}', xlabel='frames')
      axis.set_ylim(bottom=0)
    row[0].legend()
  figures.save(figure, args.out / 'curves.png')


def _config(args, task, method, seed):
  world = config_lib.load('plan2explore', ['--configs', *args.configs, '--task', task])
  # Where novelty of all kinds is brought to one scale, all are paid as the world says.
  scale = ['--intr_scale', str(world.intr_scale)] if world.intr_norm_momentum < 1 else []
  config = config_lib.load('plan2explore', [
      '--configs', *args.configs, *grid.METHODS[method], '--task', task, '--seed', str(seed),
      '--steps', str(args.steps), '--quiet',
      '--logdir', str(grid.path_of(args, task, method, seed)), *scale])
  envs.check(config)
  return config
