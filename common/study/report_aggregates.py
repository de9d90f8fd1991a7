"""The part of a report about all tasks together: mean, median, interquartile mean."""
from common.scores import aggregate
from common.scores import summary
from common.study.page import table, tag


def section(entries, at=None):
  """Aggregates of each group over its tasks, beside those published; None for single tasks.

  Args:
    entries: list of comparison.Entry.
    at: frames of the scores; None is where the shortest run of a group ends.
  """
  found, notes = [], []
  for metric in dict.fromkeys(entry.metric for entry in entries):
    groups = [
        entry.group._replace(runs=[run for run in entry.group.runs if len(run.frames)])
        for entry in entries if entry.metric == metric]
    rows, more = summary.rows([group for group in groups if group.runs], metric, at=at)
    several = {row.group for row in rows if not row.published and len(row.tasks) > 1}
    found += [row for row in rows if row.group in several]
    notes += more
  if not found:
    return None
  return tag(
      'section', tag('h2', 'All tasks together'),
      [_table(unit, [row for row in found if row.unit == unit])
       for unit in dict.fromkeys(row.unit for row in found)],
      tag('p', 'With 95 % intervals: a stratified bootstrap over the seeds of each task (Agarwal '
          'et al. 2021), and for published means an interval by their spread over seeds. '
          'Published rows are of the same tasks at the same frames. All are of what was logged while '
          'training, in the frames that are named, and not of common.evaluate, which the table above '
          'prefers.', class_='soft'),
      [tag('p', note, class_='soft') for note in dict.fromkeys(notes)])


def _table(unit, rows):
  head = [unit[:1].upper() + unit[1:], 'Tasks', 'Frames', *aggregate.STATISTICS]
  cells = [
      [row.name, str(len(row.tasks)), row.frames,
       *(summary.interval_text(*row.estimates[name]) for name in aggregate.STATISTICS)]
      for row in rows]
  return table(f'Aggregates: {unit}', head, cells)
