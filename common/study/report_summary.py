"""The top of a report: what was run, and a table with a row for each task and setting."""
import collections
import datetime

from common.loop import view
from common.scores import curves
from common.scores import references
from common.scores import verdict
from common.study.page import details, join, pairs, table, tag
from common.study.report_parts import (
    PROTOCOLS, anchor, aside, badge, breaking, frames, mean_and_spread, number, own_score, people,
    plural, short, tasks, without_learning, word)

# Printed scores with a column, by agent; others are in the sections of the tasks.
PRINTED = {
    'dreamer': (('dreamer', references.DREAMER_TABLE), ('d4pg', references.DREAMER_TABLE)),
    'planet': (
        ('planet', references.PLANET_TABLE), ('planet_R2', references.DREAMER_TABLE),
        ('d4pg', references.DREAMER_TABLE)),
    'plan2explore': tuple(
        (f'{method}_{protocol}', source) for protocol, source in (
            ('zeroshot', references.ZERO_SHOT), ('fewshot', references.FEW_SHOT))
        for method in ('plan2explore', 'curiosity', 'random', 'dreamer_oracle'))}


def head(entries, paths):
  """What was run, when, how much of it.

  Args:
    entries: list of comparison.Entry.
    paths: the directories that were asked for.
  """
  runs = list({run.path: run for entry in entries for run in entry.runs}.values())
  agents = collections.Counter(run.config['agent'] for run in runs)
  seeds = sorted({run.config['seed'] for run in runs})
  changed = [(run.path / 'metrics.jsonl').stat().st_mtime for run in runs]
  commits = sorted({curves.abbreviated(run.commit, 7) for run in runs if run.commit})
  return tag(
      'header', tag('h1', 'Learned and published scores'),
      tag('p', 'Runs below ', [
          [', ' if i else '', tag('code', path)] for i, path in enumerate(paths)], class_='soft'),
      pairs([
          ('Runs', join(str(len(runs)), tag('small', ' ', ', '.join(
              f'{count} {agent}' for agent, count in sorted(agents.items()))))),
          ('Finished', f'{sum(run.finished for run in runs)} of {len(runs)}'),
          ('Tasks', str(len(tasks(entries)))),
          ('Seeds', join(str(len(seeds)), tag(
              'small', ' number ' if len(seeds) == 1 else ' numbers ', _list(seeds)))),
          ('Frames', frames(sum(run.frames for run in runs))),
          ('Machine time', f'{view.duration(sum(run.seconds for run in runs))} h'),
          ('Metrics last written', _day(max(changed))),
          ('Page made', _day(datetime.datetime.now().timestamp())),
          ('Commit', _list(commits))]))


def summary(entries, notes=()):
  """The verdicts in numbers, the table, sentences on what is left out, and the rule in words."""
  return tag(
      'section', tag('h2', 'Scores beside the published ones'), _tally(entries),
      scores(entries), [tag('p', note, class_='soft') for note in notes],
      tag('p', 'Scores are means over seeds ± their standard deviation. Published curves are read '
          'at the frames of ours; only those with the same kind of returns, evaluation or '
          'training, and of the same observations have a column here. A ⚠ counts what is '
          'remarkable about the runs.', class_='soft'),
      details('How a verdict is found', [tag('p', text) for text in verdict.RULE]))


def scores(entries):
  """The table of scores, a row for each entry."""
  curves = [_curves(entry) for entry in entries]
  printed = [_printed(entry) for entry in entries]
  curve_names = list(dict.fromkeys(name for found in curves for name in found))
  printed_names = list(dict.fromkeys(name for found in printed for name in found))
  head = ['Task', 'Verdict', 'Score', 'Frames'] + [
      join(name, tag('small', f'{PROTOCOLS[protocol]}, same frames'))
      for name, protocol in curve_names] + [
      join(name, tag('small', f'{source}, {short(at)}')) for name, source, at in printed_names]
  rows = [
      [_name(entry), _said(entry), _own(entry), _frames(entry)]
      + [_published(curve.get(name)) for name in curve_names]
      + [_published(score.get(name)) for name in printed_names]
      for entry, curve, score in zip(entries, curves, printed)]
  return table('Scores of all tasks', head, rows, 'summary')


def _tally(entries):
  published = [entry for entry in entries if entry.published]
  counts = collections.Counter(entry.verdict.word for entry in published)
  others = len(entries) - len(published)
  if not published:
    return tag('p', 'No run was made with a published setting, so nothing here is a reproduction.')
  return join(
      tag('p', f'At the published setting: {plural(len(published), "row")}.', (
          f' {plural(others, "further row")}: other settings, or nothing published.'
          if others else None)),
      tag('ul', [
          tag('li', word(said), f' {counts[said]}') for said in (
              verdict.WITHIN, verdict.ABOVE, verdict.BELOW, verdict.TOO_FEW, verdict.NO_SPREAD,
              verdict.NO_FIGURE) if counts[said]], class_='tally'))


def _name(entry):
  count = len(entry.problems) + sum(len(run.problems) for run in entry.runs)
  return join(
      tag('a', breaking(entry.task), href=f'#{anchor(entry.task)}'),
      tag('small', entry.group.name), tag('small', f'⚠ {count}') if count else None)


def _said(entry):
  words = aside(entry)
  return tag('div', badge(entry), tag('small', words) if words else None, class_='verdict')


def _own(entry):
  known = without_learning(entry)
  blind = [
      f'{words} {number(known[name])}'
      for name, words in (('zero', 'zero action'), ('random', 'random')) if name in known]
  words = [', '.join(blind), people(entry.task, entry.score)]
  return join(own_score(entry.score), [tag('small', text) for text in words if text])


def _frames(entry):
  """Frames reached; beside them those that a score of several evaluations stands for."""
  at = entry.score.frames
  return join(
      frames(entry.frames), None if abs(at - entry.frames) < 1 else tag(
          'small', f'score at {frames(at)}'))


def _curves(entry):
  """{(name, protocol): Reference} of the published curves with the protocol of the entry."""
  if entry.mismatches:
    return {}
  protocol = entry.metric.partition('/')[0]
  beyond = max(run.config['eval_every'] for run in entry.runs)
  found = references.curves_at(entry.task, entry.observation, entry.score.frames, beyond)
  return {
      (reference.name, protocol): reference for reference in found
      if reference.protocol == protocol}


def _printed(entry):
  """{(name, source, frames): Reference} of the printed scores with a column."""
  if entry.mismatches or not entry.metric.startswith('eval/'):
    return {}
  found = {
      (reference.name, reference.source): reference
      for reference in references.printed_scores(entry.task, entry.observation)}
  wanted = [
      (references.name_of(method), source)
      for method, source in PRINTED.get(entry.group.agent, ())]
  return {
      (name, source.partition(' ')[0] + ' paper', found[name, source].frames): found[name, source]
      for name, source in wanted if (name, source) in found}


def _published(reference):
  if reference is None:
    return '–'
  return mean_and_spread(reference.mean, reference.std, reference.n_seeds)


def _list(values):
  """Such as '0, 1, 2 and 7 more'."""
  words = [str(value) for value in values]
  more = [f'and {len(words) - 6} more'] if len(words) > 6 else []
  return ', '.join(words[:6] + more)


def _day(seconds):
  return datetime.datetime.fromtimestamp(seconds).strftime('%Y-%m-%d %H:%M')
