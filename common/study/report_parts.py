"""What the sections of a report share: scores, frames, verdicts and places as content of a page."""
import math
import re

from common import config as config_lib
from common.scores import published
from common.scores import verdict
from common.study import comparison
from common.study.page import join, tag

PROTOCOLS = {'eval': 'evaluation', 'train': 'training', 'unknown': 'protocol not stated'}

# Class of the badge and its sign, as colours alone say nothing to some.
BADGES = {
    verdict.WITHIN: ('within', '✓'), verdict.ABOVE: ('above', '▲'),
    verdict.BELOW: ('below', '▼'), verdict.TOO_FEW: ('few', '…'),
    verdict.NO_FIGURE: ('none', '–'), verdict.NO_SPREAD: ('none', '?')}


def number(value):
  """A score in few characters, such as 1,204 or 18.6."""
  return f'{math.floor(value + 0.5):,}' if abs(value) >= 99.95 else f'{value:.1f}'


def mean_and_spread(mean, std, n_seeds):
  """A score such as 904 ± 26 (5); a dash where there is none."""
  if math.isnan(mean):
    return '–'
  text = number(mean) + ('' if math.isnan(std) else f' ± {number(std)}')
  return join(text, tag('small', plural(n_seeds, 'seed')) if n_seeds else None)


def own_score(score):
  """A comparison.Score as content of a cell."""
  if not len(score.values):
    return 'none yet'
  return mean_and_spread(score.values.mean(), verdict.spread(score.values), len(score.values))


def own_words(score):
  """A comparison.Score with values as part of a sentence."""
  std = verdict.spread(score.values)
  spread = '' if math.isnan(std) else f' ± {number(std)}'
  return f'{number(score.values.mean())}{spread} ({plural(len(score.values), "seed")})'


def without_learning(entry):
  """{'zero', 'random'}: returns of actions that nothing has learned, means over seeds, where known."""
  # Those of a row are means over all tasks of the run.
  single = [[row for row in run.evaluations if isinstance(row['returns'], list)] for run in entry.runs]
  single = [comparison.longest(rows, lambda row: row['returns']) for rows in single if rows]
  return {
      name: sum(row[f'{name}_return'] for row in single) / len(single)
      for name in ('zero', 'random') if single and all(f'{name}_return' in row for row in single)}


def breaking(name):
  """A long name, which may break after its underscores."""
  return join([[part, tag('wbr')] for part in re.findall(r'[^_]*_|[^_]+', name)])


def people(task, score):
  """What people make of a score in a game, as text; '' for other tasks."""
  shares = len(score.values) and config_lib.suite(task) == 'atari' and published.normalised(
      task, score.values.mean())
  if not shares:
    return ''
  return f'human-normalised {shares["gamer"]:.2f}, of the record {shares["record"]:.2f}'


def frames(count):
  """Frames in full."""
  return '–' if math.isnan(count) else f'{count:,.0f}'


def short(count):
  """Frames such as 250k or 1.5M."""
  return f'{count / 1e6:g}M' if count >= 1e6 else f'{count / 1e3:g}k'


def plural(count, word):
  """Such as '5 seeds'."""
  return f'{count:,} {word}{"" if count == 1 else "s"}'


def badge(entry):
  """The verdict on a comparison.Entry. One of another setting does not read as a reproduction."""
  if entry.setting is not None and entry.differing:
    return tag(
        'span', f'≠ not the published setting: {plural(len(entry.differing), "key")} '
        f'{"differs" if len(entry.differing) == 1 else "differ"}', class_='badge other')
  return word(entry.verdict.word)


def word(said):
  """A word of common.scores.verdict as a badge."""
  class_, sign = BADGES[said]
  return tag('span', f'{sign} {said}', class_=f'badge {class_}')


def aside(entry):
  """What stands below the badge: the place of the score of another setting; how few seeds."""
  said, parts = entry.verdict.word, []
  if entry.mismatches:
    parts.append(f'its returns do not compare: {", ".join(entry.mismatches)}')
  elif entry.setting is not None and entry.differing:
    placed = said in (verdict.WITHIN, verdict.ABOVE, verdict.BELOW)
    parts.append(f'score {said} the published interval' if placed else said)
  if len(entry.score.values) == 1:
    parts.append('one seed proves little')
  return '; '.join(parts)


def anchor(task):
  """The id of a task's section."""
  return 'task-' + re.sub(r'[^\w-]', '-', task)


def tasks(entries):
  """Entries by task, in their order: {task: list of comparison.Entry}."""
  found = {}
  for entry in entries:
    found.setdefault(entry.task, []).append(entry)
  return found
