"""The section of a task in a report: curve, scores, runs, settings and films."""
import io
import math
import textwrap

from common.loop import view
from common.scores import canvas
from common.scores import chart
from common.scores import curves
from common.scores import figures
from common.scores import references
from common.study import films
from common.study.page import data_uri, details, join, pairs, table, tag
from common.study.report_parts import (
    PROTOCOLS, anchor, aside, badge, breaking, frames, mean_and_spread, number, own_score,
    own_words, people, plural, word)

SIZE = (5.4, 4.3)  # inches: letters are large enough on a phone
LEGEND = 62        # characters in a line of the legend, which fit then


def section(task, entries, chosen):
  """Everything about one task.

  Args:
    task: its name.
    entries: list of comparison.Entry of it.
    chosen: {directory of a run: list of films.Film to show}.
  """
  return tag(
      'section', tag('h2', breaking(task)), [
          _curve(task, metric, groups) for metric, groups in _metrics(entries).items()],
      [_entry(entry, chosen) for entry in entries],
      _published(task, entries), class_='task', id_=anchor(task))


def _metrics(entries):
  """{metric: list of curves.Group with rows}: evaluation returns, and what else is judged."""
  found = {}
  for entry in entries:
    for metric in dict.fromkeys((entry.metric.replace('train/', 'eval/'), entry.metric)):
      runs = [
          run if metric == entry.metric else curves.read(run.path, metric, run.config)
          for run in entry.group.runs]
      runs = [run for run in runs if len(run.frames)]
      if runs:
        found.setdefault(metric, []).append(entry.group._replace(runs=runs))
  return found


def _curve(task, metric, groups):
  evaluated = metric.startswith('eval/')
  figure = figures.curve(groups, metric, task) if evaluated else chart.draw(groups, metric)
  width, height = SIZE
  # A further panel, that of dreams, is lower than the returns.
  figure.set_size_inches(width, height * (1 + 0.35 * (len(figure.axes) - 1)))
  for text in [text for legend in figure.legends for text in legend.get_texts()]:
    text.set_text('\n    '.join(textwrap.wrap(' '.join(text.get_text().split()), LEGEND)))
  chart.make_room(figure)
  buffer = io.BytesIO()
  # The same page for the same runs: neither dates nor random names.
  with canvas.fixed_names(task):
    figure.savefig(
        buffer, format='svg', bbox_inches='tight', pad_inches=0.05, metadata={'Date': None})
  words = PROTOCOLS[metric.partition('/')[0]]
  names = ', '.join(group.name for group in groups)
  return tag('figure', tag(
      'img', src=data_uri('image/svg+xml', buffer.getvalue()), loading='lazy',
      alt=f'Curves of {task}: {words} returns over environment frames of {names}, beside the '
      'published ones where they compare. The numbers are in the tables below.'), class_='curve')


def _entry(entry, chosen):
  words = aside(entry)
  return tag(
      'article', tag('h3', entry.group.name),
      tag('p', badge(entry), tag('small', f' {words}') if words else None),
      tag('p', _sentence(entry)), _problems(entry), _runs(entry),
      _compared(entry), _settings(entry), _origin(entry), _films(entry, chosen))


def _sentence(entry):
  """The score, and the interval that it was held against."""
  score = entry.score
  if not len(score.values):
    return 'There is no evaluation yet.'
  game = people(entry.task, score)
  parts = [
      'Score ', tag('strong', own_words(score)), f' at {frames(score.frames)} frames: {score.how}',
      f'; {game}' if game else '', '.']
  if entry.comparisons and not math.isnan(entry.verdict.low):
    reference, own, said = entry.comparisons[0]
    at = '' if own.frames == score.frames else f' ours is {number(own.values.mean())},'
    interval = f'{number(said.low)} to {number(said.high)}'
    theirs = f' at {frames(reference.frames)} frames' if reference.kind == 'printed' else ''
    parts.append(
        f' At {frames(own.frames)} frames{at} the published score of {reference.name}{theirs} is '
        f'{number(reference.mean)}' + (
            f', and {interval} counts as within.' if entry.published else
            f' (its interval {interval}), reached with other settings.'))
  return parts


def _problems(entry):
  same = {}
  for run in entry.runs:
    for text in run.problems:
      same.setdefault(text, []).append(run)
  lines = entry.problems + [f'seed {_seeds(runs)}: {text}' for text, runs in same.items()]
  return tag('ul', [tag('li', line) for line in lines], class_='problems') if lines else None


def _runs(entry):
  """A row for each run: score, length, updates, time."""
  split = list(dict.fromkeys(name for run in entry.runs for name in run.split))
  head = ['Seed', 'Score', 'Frames', 'Evaluated', 'Updates', 'Skipped', 'Time', 'Frames/s'] + [
      view.SPLIT.get(name, name).capitalize() for name in split]
  scores = dict(zip(entry.score.places, entry.score.values))
  rows = [
      [str(run.config['seed']), number(scores[i]) if i in scores else '–', join(
          frames(run.frames), None if run.finished else tag('small', 'unfinished')),
       _evaluated(run), f'{run.updates:,}', f'{run.skipped:,}', view.duration(run.seconds),
       '–' if math.isnan(run.fps) else f'{run.fps:.3g}']
      + [f'{run.split[name]:.0%}' if name in run.split else '–' for name in split]
      for i, run in enumerate(entry.runs)]
  return table(f'Runs of {entry.group.name} on {entry.task}', head, rows, 'runs')


def _evaluated(run):
  """The last row of evaluate.jsonl as content."""
  if not run.evaluations:
    return '–'
  row = run.evaluations[-1]
  several = isinstance(row.get('returns'), dict)
  blind = ', '.join(
      f'{words} {number(row[key])}' for key, words in (
          ('zero_return', 'zero action'), ('random_return', 'random')) if key in row)
  spread = f' ± {number(row["return_std"])}' if 'return_std' in row else ''
  count = f'{plural(row["episodes"], "episode")}{" of each" * several}, ' if 'episodes' in row else ''
  return join(
      number(row['return']), spread, tag('small', 'mean of several tasks') if several else None,
      tag('small', count, frames(row['step']), ' frames'),
      tag('small', blind) if blind else None)


def _compared(entry):
  """Published results of the method itself, each with its verdict."""
  if not entry.comparisons:
    return None
  head = [
      'Published', 'Score', 'Frames', 'Ours', 'at frames',
      'Verdict' if entry.published else 'Place, of another setting']
  rows = [
      [join(reference.name, tag('small', reference.source)),
       mean_and_spread(reference.mean, reference.std, reference.n_seeds),
       frames(reference.frames), own_score(own), frames(own.frames),
       word(said.word) if entry.published else said.word]
      for reference, own, said in entry.comparisons]
  return table(f'{entry.task} beside what was published of the method', head, rows)


def _settings(entry):
  """The keys that differ from the published setting, or from the defaults; then all keys."""
  config = entry.runs[0].config
  if entry.setting is not None:
    differing = entry.differing
    than, column = f'the published setting ({entry.setting.flags})', 'Published'
  else:
    differing = references.differences(config)
    than, column = 'the defaults', 'Default'
  rows = [[key, _value(theirs), _value(ours)] for key, (theirs, ours) in differing.items()]
  shown = table('Keys that differ', ['Key', column, 'Here'], rows, 'settings') if rows else None
  every = '\n'.join(f'{key}: {_value(config[key])}' for key in sorted(config))
  return join(
      details(f'{plural(len(rows), "key")} other than in {than}', shown) if rows else
      tag('p', f'All keys as in {than}.', class_='soft'),
      details(
          f'All settings of seed {config["seed"]}', tag('code', every, class_='block columns')))


def _value(value):
  return repr(value) if value == '' else str(value)


def _origin(entry):
  """Commands, commits, versions."""
  versions = {}
  for run in entry.runs:
    versions.setdefault(tuple(sorted(run.versions.items())), []).append(run)
  lines = [
      (f'Versions, seed {_seeds(runs)}', ', '.join(f'{name} {number}' for name, number in items))
      for items, runs in versions.items() if items]
  commits = {}
  for run in entry.runs:
    commits.setdefault(run.commit, []).append(run)
  lines += [
      (f'Commit, seed {_seeds(runs)}', tag('code', commit))
      for commit, runs in commits.items() if commit]
  commands = [
      (f'Seed {run.config["seed"]}, in {run.path}', tag('code', run.command, class_='block'))
      for run in entry.runs if run.command]
  return details('Commands, commit and versions', tag('div', [
      tag('p', tag('small', term), tag('br'), content) for term, content in commands]),
      pairs(lines))


def _seeds(runs):
  return ', '.join(str(run.config['seed']) for run in runs)


def _films(entry, chosen):
  """The films of each run, those of the first open."""
  shown = [
      details(
          f'Films of seed {run.config["seed"]}',
          tag('div', [_film(film) for film in chosen[run.path]], class_='films'),
          open_=True if run is entry.runs[0] else None)
      for run in entry.runs if films.belong(entry) and chosen.get(run.path)]
  return shown or None


def _film(film):
  data = film.path.read_bytes()
  width, height = films.size(data)
  title = f'{films.KINDS[film.kind]} after {film.frames:,} frames'
  return tag('figure', tag(
      'img', src=data_uri('image/gif', data), width=width, height=height, loading='lazy',
      alt=f'{title}, animated ({film.key})'), tag('figcaption', title))


def _published(task, entries):
  """All that was published of the task for what the agents saw: other methods, too."""
  parts = []
  for seen in dict.fromkeys(entry.observation for entry in entries):
    ends = sorted({
        entry.score.frames for entry in entries
        if entry.observation == seen and not entry.mismatches})
    rows = [
        _row(reference) for end in ends for reference in references.curves_at(task, seen, end)]
    rows += [_row(reference) for reference in references.printed_scores(task, seen)]
    if ends and rows:
      parts.append(table(
          f'Published scores of {task} from {seen}',
          [f'Method, from {seen}', 'Score', 'Frames', 'Returns', 'Source'], rows))
  if not parts:
    return None
  return details(
      'All published scores of this task', tag(
          'p', 'Curves are read at the frames of the runs above, printed scores stand as printed. '
          'Training returns carry exploration noise; where the protocol is not stated, take care.',
          class_='soft'), parts)


def _row(reference):
  return [
      reference.name, mean_and_spread(reference.mean, reference.std, reference.n_seeds),
      frames(reference.frames), PROTOCOLS[reference.protocol],
      f'{reference.source}, {"read from the curve" if reference.kind == "curve" else "printed"}']
