"""Report on runs as one page: python -m common.report DIR [DIR ...] --out FILE.html.

Scores of every task beside the published ones with a verdict, curves, films, settings, versions,
speed, and what is remarkable about the runs. The page needs nothing else: no network, no scripts.
Scores are results of common.evaluate where all seeds have one, else means of the last evaluations.
A FILE.md gets the scores alone, as a table in Markdown.
"""
import argparse
import os

from common import config as config_lib
from common.config import UserError
from common.study import comparison
from common.study import films
from common.study import page
from common.study import report_aggregates
from common.study import report_markdown
from common.study import report_summary
from common.study import report_task
from common.study.page import tag
from common.study.report_parts import plural, tasks

MEGABYTE = 1_000_000
SUFFIXES = ('.html', '.md')


@config_lib.entry
def main(argv=None):
  """Run the command; exit code 2 and one line for a mistake of the user."""
  parser = argparse.ArgumentParser(
      prog='python -m common.report', description=__doc__, allow_abbrev=False,
      formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument(
      'dirs', nargs='+', metavar='[LABEL=]DIR',
      help='a run, or a folder of runs; a label keeps them apart from others of the same settings')
  parser.add_argument(
      '--out', required=True, metavar='FILE', help='page to write, .html, or table, .md')
  parser.add_argument(
      '--max-mb', type=float, default=20, metavar='MB',
      help='megabytes of films at most; 0 leaves them out (default: 20)')
  parser.add_argument(
      '--at', type=float, metavar='FRAMES',
      help='frame count of the scores; runs that end before are named and left out (default: where '
      'the shortest run of a group ends)')
  args = parser.parse_args(argv)
  if args.at is not None and not 1 <= args.at < float('inf'):
    raise UserError(f'report: --at is {args.at:g} but must be a number of frames, at least 1.')
  if not 0 <= args.max_mb < float('inf'):
    raise UserError(f'report: --max-mb is {args.max_mb:g} but must be a number of at least 0.')
  out = check(args.out)
  entries, young = comparison.load_at(args.dirs, args.at)
  if out.suffix.lower() == '.md':
    _write(out, report_markdown.document(entries, young))
  else:
    chosen, left = films.choose(entries, args.max_mb * MEGABYTE)
    _write(out, render(entries, args.dirs, chosen, left, args.at, young))
  for line in [*map(_line, entries), *young]:
    print(line)
  print(out)


def render(entries, paths, chosen, left, at=None, young=()):
  """Return the page as text.

  Args:
    entries: list of comparison.Entry.
    paths: the directories that were asked for.
    chosen: {directory of a run: list of films.Film to show}.
    left: list of films.Film that did not fit.
    at: frames of the scores, or None.
    young: sentences on runs that end before.
  """
  return page.document(
      f'Report: {plural(len(tasks(entries)), "task")}', report_summary.head(entries, paths),
      tag(
          'main', report_summary.summary(entries, young), report_aggregates.section(entries, at),
          [report_task.section(task, part, chosen) for task, part in tasks(entries).items()]),
      _left(left))


def check(path):
  """Refuse a file name that cannot become a page, before any work is done. Returns its path."""
  path = config_lib.expand(path)
  if path.suffix.lower() not in SUFFIXES:
    raise UserError(
        f'{path}: the page is HTML, and a table alone Markdown. Expected a name that ends in .html '
        'or .md.')
  if not os.path.isdir(path.absolute().parent):
    raise UserError(f'{path}: its folder does not exist. Make it first.')
  return path


def _left(left):
  """What is not on the page because of its size."""
  if not left:
    return None
  size = sum(film.size for film in left) / MEGABYTE
  return tag(
      'footer', tag(
          'p', f'{plural(len(left), "film")} of {size:.1f} MB left out; pass --max-mb for more. '
          'All are in the folder pictures of their runs.', class_='soft'))


def _line(entry):
  said = entry.verdict.word
  if entry.setting is not None and entry.differing:
    said = f'not the published setting: {plural(len(entry.differing), "key")}'
  values = entry.score.values
  score = f'{values.mean():.4g} at {entry.score.frames:,.0f} frames, ' if len(values) else ''
  return f'{entry.task} | {entry.group.name} | {score}{plural(len(values), "seed")} | {said}'


def _write(path, text):
  with config_lib.replacing(path) as temporary:
    temporary.write_text(text, encoding='utf-8', errors='backslashreplace')


if __name__ == '__main__':
  main()
