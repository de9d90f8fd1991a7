"""The scores of a report as a table in Markdown, for a page of text."""
from common.scores import verdict
from common.study import report_parts as parts

HEAD = (
    'task', 'setting', 'return', 'each seed', 'zero action', 'random actions', 'frames',
    'minutes a run')
SPREAD = 'Returns are means over seeds ± their standard deviation (n - 1).'


def document(entries, notes=()):
  """Return the table as text, a row for each entry, and below it what its scores are means of.

  Seeds are in the order of their numbers. Minutes are of the whole run with its evaluations, the mean
  over the seeds of which they are known.

  Args:
    entries: list of comparison.Entry.
    notes: sentences on what is left out.
  """
  lines = [HEAD, ['---'] * len(HEAD), *map(_row, entries)]
  rows = (' | '.join(cell.replace('|', '\\|') for cell in cells) for cells in lines)
  return ''.join(f'| {row} |\n' for row in rows) + f'\n{SPREAD}\n{_measured(entries)}' + ''.join(
      f'{note}\n' for note in notes)


def _row(entry):
  blind = parts.without_learning(entry)
  return [
      entry.task, _code(entry.group.name), *_returns(entry.score, entry.runs),
      *(parts.number(blind[key]) if key in blind else '–' for key in ('zero', 'random')),
      parts.frames(entry.frames), _minutes(entry.runs)]


def _minutes(runs):
  known = [run.seconds / 60 for run in runs if run.seconds]
  return f'{sum(known) / len(known):.0f}' if known else '–'


def _returns(score, runs):
  """Cells of the mean with its spread, and of the seeds."""
  if not len(score.values):
    return 'none yet', '–'
  seeds = [runs[place].config['seed'] for place in score.places]
  ordered = [value for _, value in sorted(zip(seeds, score.values), key=lambda pair: pair[0])]
  spread = f' ± {parts.number(verdict.spread(score.values))}' if len(ordered) > 1 else ''
  return (
      f'**{parts.number(score.values.mean())}{spread}**', ', '.join(map(parts.number, ordered)))


def _measured(entries):
  """Lines that say what a seed's score is; with the rows that they are of if those differ."""
  found = {}
  for entry in entries:
    if len(entry.score.values):
      found.setdefault(entry.score.how, []).append(f'{entry.task}, {_code(entry.group.name)}')
  return ''.join(
      f'Each seed: {how}{": " + "; ".join(rows) if len(found) > 1 else ""}.\n'
      for how, rows in found.items())


def _code(name):
  return f'`{name}`'
