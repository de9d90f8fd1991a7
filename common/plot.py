"""Draw learning curves beside the published ones: python -m common.plot DIR [DIR ...].

Runs of one agent, task and setting are one curve: mean and spread over seeds, on common bins.
Published curves are drawn where they compare: evaluation returns of Dreamer and Plan2Explore, and
of DreamerV2 on Atari, training returns of DreamerV2 (from vectors DreamerV3) elsewhere; never where episodes have another
length, frames are counted otherwise, or evaluations are noisy. The legend says why.

Two bins compare. By default a score is that at its frame count: own bins are narrow and drawn at
their centre, published ones are moved there. Published points are means of ten evaluations or more,
so their spread is smaller; with --bin published, own runs are averaged over the very same frames.

After the figure it prints tables of aggregates over tasks and seeds, normalised: mean, median and
interquartile mean with stratified bootstrap intervals (Agarwal et al. 2021). Published aggregates
stand beside them over the same tasks at the same frames. --aggregate draws them.
"""
import argparse
import os

from common import config as config_lib
from common.config import UserError
from common.scores import aggregate_chart
from common.scores import chart
from common.scores import curves
from common.scores import figures
from common.scores import points
from common.scores import protocol
from common.scores import summary


@config_lib.entry
def main(argv=None):
  """Run the command; exit code 2 and one line for a mistake of the user."""
  parser = argparse.ArgumentParser(
      prog='python -m common.plot', description=__doc__, allow_abbrev=False,
      formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('dirs', nargs='+', metavar='[LABEL=]DIR',
      help='a run, or a folder of runs; a label draws them apart from others of the same settings')
  parser.add_argument(
      '--out', default='curves.png', metavar='FILE',
      help='picture, .png or .pdf; an older one is replaced (default: curves.png, here)')
  parser.add_argument(
      '--metric', default='eval/return',
      help='a name in metrics.jsonl, such as train/return (default: eval/return)')
  parser.add_argument(
      '--bin', type=_bin, metavar='FRAMES|published',
      help='width of the bins (default: eval_every, or more for about 50 bins), or those of the '
      'published curve, at their right edge')
  parser.add_argument(
      '--band', choices=chart.BANDS, default='std',
      help='of own and published curves: standard deviation over seeds (n-1; the default, which is '
      'what papers draw), or 95 %% t interval of the mean, wide for few seeds')
  parser.add_argument('--runs', action='store_true', help='a thin line for each run, too')
  parser.add_argument(
      '--at', type=float, metavar='FRAMES',
      help='frame count of the aggregates; runs that end before are named and left out (default: '
      'where the shortest run of a group ends)')
  parser.add_argument('--csv', metavar='FILE', help='table of all points of all runs, .csv')
  parser.add_argument(
      '--aggregate', metavar='FILE', help='picture of the aggregates, .png or .pdf')
  args = parser.parse_args(argv)
  _check(args)
  filled, empty = figures.read(args.dirs, args.metric)
  groups = curves.grouped(filled)
  if args.bin == chart.PUBLISHED and not any(
      protocol.references(task, members, args.metric, binned=True)
      for task, members in protocol.panels(groups, args.metric).items()):
    raise UserError(
        f'plot: no published curve compares with {args.metric} of these runs. Drop --bin '
        f'{chart.PUBLISHED}.')
  rows, notes = summary.rows(groups, args.metric, args.bin, args.at)
  if args.aggregate and not rows:
    raise UserError(' '.join(['plot: there is nothing to aggregate.', *notes]))
  figures.save(chart.draw(groups, args.metric, args.bin, args.band, args.runs), args.out)
  notes = [
      *(f'{path}: left out, no {args.metric} yet.' for path in empty),
      *(f'{group.task}, {group.name}: {twice}. Those runs are not independent.'
        for group in groups if (twice := curves.repeated(group.runs))),
      *(f'{group.task}, {group.name}: {unlike}.'
        for group in groups if (unlike := curves.kept_unlike(group.runs))),
      *(f'{group.task}, {group.name}: of several commits ({", ".join(made)}). '
        'LABEL=DIR draws directories apart.'
        for group in groups if len(made := curves.commits(group.runs)) > 1), *notes]
  if args.csv:
    points.save(groups, args.metric, args.csv)
  if args.aggregate:
    figures.save(aggregate_chart.draw(rows), args.aggregate)
  for line in [*chart.describe(groups, args.metric, args.bin, args.band), *summary.lines(rows),
               *[''] * bool(notes), *notes, *filter(None, (args.out, args.csv, args.aggregate))]:
    print(line)


def _bin(text):
  """Value of --bin: a number of frames, or the word for published bins."""
  try:
    return text if text == chart.PUBLISHED else float(text)
  except ValueError:
    raise argparse.ArgumentTypeError(
        f'{text!r} is neither a number of frames nor {chart.PUBLISHED!r}') from None


def _check(args):
  """Refuse options that cannot work, before any work is done."""
  for name in ('bin', 'at'):
    value = getattr(args, name)
    if isinstance(value, float) and not 1 <= value < float('inf'):
      raise UserError(f'plot: --{name} is {value:g} but must be a number of frames, at least 1.')
  files = [config_lib.expand(path) for path in (args.out, args.csv, args.aggregate) if path]
  if len({os.path.abspath(path) for path in files}) < len(files):
    raise UserError('plot: --out, --csv and --aggregate name one file twice. Pass different ones.')
  if not protocol.returns(args.metric):
    for name in ('at', 'aggregate'):
      if getattr(args, name) is not None:
        raise UserError(
            f'plot: --{name} is of aggregates, which are made of returns alone. Drop it, or pass '
            '--metric eval/return.')
  figures.check(args.out)
  if args.csv:
    points.check(args.csv)
  if args.aggregate:
    figures.check(args.aggregate)


if __name__ == '__main__':
  main()
