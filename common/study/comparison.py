"""Scores that runs reached, beside the published ones: one Entry a task and setting."""
import itertools
from typing import NamedTuple

import numpy as np

from common import config as config_lib
from common.config import UserError
from common.scores import curves
from common.scores import protocol
from common.scores import references
from common.scores import verdict
from common.study import results

EVALUATIONS = 10  # that a score is the mean of, as in the published tables
SHARE = 0.1       # of the frames of a run, from which they may come


class Score(NamedTuple):
  """What the seeds of a group reached."""
  frames: float       # mean over the points that it was taken from
  values: np.ndarray  # float64 [n], one a seed
  places: list        # of these n runs in the group
  how: str            # in words


class Comparison(NamedTuple):
  """A score beside a published one of the same method, and what is said of it."""
  reference: verdict.Reference
  score: Score        # of the runs, at the frames of the reference where they went as far
  verdict: verdict.Verdict


class Entry(NamedTuple):
  """The runs of one agent and setting on one task."""
  task: str
  group: curves.Group   # runs with `metric`, which may be empty
  metric: str           # by which it is judged, of the published protocol where that compares
  runs: list            # of results.Facts, in the order of the group's
  setting: references.Setting  # nearest published one, or None
  differing: dict       # {key: (its value, value of the runs)}
  frames: int           # that all runs with any result have reached
  score: Score          # the final one; no values where there is none yet
  mismatches: list      # keys because of which its returns do not compare with any published
  comparisons: list     # of Comparison, the one that counts first; empty then
  problems: list        # of text

  @property
  def verdict(self):
    """The Verdict that counts."""
    if self.comparisons:
      return self.comparisons[0].verdict
    return verdict.judge(self.score.values, self.score.frames, None)

  @property
  def published(self):
    """Whether the runs were made with the published setting."""
    return self.setting is not None and not self.differing

  @property
  def observation(self):
    """pixels or states."""
    return references.observation(self.runs[0].config)


def load(paths):
  """Read all runs below some directories: list of Entry, by task and setting; see `load_at`."""
  return load_at(paths)[0]


def load_at(paths, at=None):
  """Read all runs below some directories.

  Args:
    paths: as curves.read_all takes them.
    at: frames at which scores are taken; runs that end before are left out. None is where the
      shortest run of a group ends.
  Returns:
    (entries, left): list of Entry, by task and setting, and sentences on runs that are left out.
  Raises:
    UserError: a path is no directory or holds no run, a config cannot be read, or no run goes to
      `at`.
  """
  runs = curves.read_all(paths, 'eval/return')
  entries, left = [], []
  for group in curves.grouped(runs):
    facts = [results.facts(run.path, run.config) for run in group.runs]
    kept = [i for i, run in enumerate(facts) if run.frames >= (at or 0)]
    left += [
        f'{run.path}: left out, it ends at {run.frames:,} frames.'
        for i, run in enumerate(facts) if i not in kept]
    if not kept:
      continue
    group, facts = group._replace(runs=[group.runs[i] for i in kept]), [facts[i] for i in kept]
    tasks = [task for task, _ in config_lib.eval_tasks(group.runs[0].config)]
    # Of several tasks eval/return is the mean, which nothing is compared with.
    entries += [
        _entry(group, facts, task, f'/{task}' if len(tasks) > 1 else '', at) for task in tasks]
  if not entries:
    raise UserError(f'report: no run goes to {at:,.0f} frames. Pass a smaller --at.')
  entries.sort(key=lambda entry: (entry.task, entry.group.agent, entry.group.name))
  found = []
  for _, same in itertools.groupby(entries, key=lambda entry: entry.task):
    same = list(same)
    groups = protocol.named_apart([entry.group for entry in same])
    found += [entry._replace(group=group) for entry, group in zip(same, groups)]
  return found, left


def _entry(group, facts, task, part, at):
  config = group.runs[0].config
  setting, differing = references.nearest(config, task)
  if setting:  # one run of another setting is enough
    for run in group.runs[1:]:
      differing = {**references.differences(run.config, setting.blocks, setting.keys), **differing}
  mismatches = references.mismatches(config, setting, differing)
  # Training returns that compare with none, as of episodes cut short, are no scores either.
  kind = setting.protocol if setting and not mismatches else 'eval'
  if kind == 'eval':
    mismatches = [key for key in mismatches if key != 'collect_limit']
  metric = f'{kind}/return{part}'
  group = group._replace(runs=[
      curves.read(run.path, metric, run.config) for run in group.runs])
  end = at or _end(group.runs, facts)
  final = score(group.runs, facts, task, metric, end)
  problems = results.differences(facts, final.places, at)
  if not len(final.values):
    problems.append('no evaluation yet')
  compared = [] if mismatches or setting and setting.protocol != kind else list(
      _comparisons(setting, group.runs, facts, task, metric, end))
  return Entry(
      task, group, metric, facts, setting, differing, int(end), final, mismatches, compared,
      problems)


def _comparisons(setting, runs, facts, task, metric, end):
  """Each published result of the method, at the frames of the runs, or where it ends before."""
  curve = references.curve(setting, task) if setting else None
  if curve:
    own = score(runs, facts, task, metric, min(end, curve.frames[-1]))
    # An evaluation may lie a little beyond the curve's end.
    reference = references.at(curve, min(own.frames, curve.frames[-1]))
    yield Comparison(reference, own, verdict.judge(own.values, own.frames, reference))
  reference = references.printed(setting, task) if setting else None
  if reference:
    reached = min(end, reference.frames)
    own = score(runs, facts, task, metric, reached)
    # A score is the mean over some frames before, of which a run that has come so far is not short.
    reached = min(reached, _end(runs, facts))
    yield Comparison(reference, own, verdict.judge(own.values, reached, reference))


def score(runs, facts, task, metric, frames):
  """What the seeds had reached after some frames.

  Where all runs have a result of common.evaluate there (within one eval_every), that counts, unless
  it is of fewer episodes than the rows of the metric would give. Else the mean of the last ten rows of
  the metric does, as far as they lie in the last tenth of the frames: the published figures are
  means of about ten episodes, too. Of Plan2Explore's few-shot runs that is a tenth of the frames
  since the task's actor collects.

  Args:
    runs: list of curves.Run with the metric.
    facts: list of results.Facts, in the same order.
    task: that the metric is of.
    metric: eval/return or train/return, perhaps with a task.
    frames: of the environment.
  Returns:
    Score, without values where no run has got so far.
  """
  windows = {i: _window(run, frames) for i, run in enumerate(runs)}
  windows = {i: window for i, window in windows.items() if len(window.frames)}
  if metric.startswith('eval/'):
    found = [_evaluated(run, task, frames) for run in facts]
    episodes = min((len(returns) for _, returns in filter(None, found)), default=0)
    rows = max((
        len(window.frames) * window.config.get('eval_episodes', 1) for window in windows.values()), default=0)
    if found and all(found) and episodes >= rows:
      return Score(
          float(np.mean([row['step'] for row, _ in found])),
          np.array([np.mean(returns) for _, returns in found]), list(range(len(found))),
          f'{episodes} episode{"s" * (episodes > 1)} of common.evaluate')
  if not windows:
    return Score(float(frames), np.zeros(0), [], '')
  counts = sorted({len(window.frames) for window in windows.values()})
  rows = 'evaluations' if metric.startswith('eval/') else 'training episodes'
  return Score(
      float(np.mean([window.frames.mean() for window in windows.values()])),
      np.array([window.values.mean() for window in windows.values()]), list(windows),
      f'mean of the last {" or ".join(map(str, counts))} {rows}')


def _window(run, frames):
  """The last rows up to some frames: ten at most, from the last tenth, one at least."""
  until = run.frames <= frames
  inside = until & (run.frames > frames - SHARE * (frames - _begin(run, frames)))
  chosen = np.flatnonzero(inside)[-EVALUATIONS:]
  if not len(chosen):
    chosen = np.flatnonzero(until)[-1:]
  return run._replace(frames=run.frames[chosen], values=run.values[chosen])


def _begin(run, frames):
  """Frames after which what acts at the end began to collect; of a copy its first evaluation's."""
  if run.config.get('source'):
    return run.frames[0] if len(run.frames) else 0
  explored = run.config.get('expl_until') or 0
  return explored if protocol.few_shot(run.config) and explored < frames else 0


def longest(evaluations, returns):
  """The newest of those with EVALUATIONS episodes, or else with the most.

  Args:
    evaluations: not empty, the newest at the end.
    returns: function of one of them that gives its list of returns.
  """
  return max(reversed(evaluations), key=lambda each: min(len(returns(each)), EVALUATIONS))


def _evaluated(run, task, frames):
  """(row, returns) of an evaluation of a run near some frames, or None."""
  near = [row for row in run.evaluations if abs(row['step'] - frames) <= run.config['eval_every']]
  returns = [row['returns'] for row in near]
  returns = [found.get(task) if isinstance(found, dict) else found for found in returns]
  pairs = [pair for pair in zip(near, returns) if pair[1]]
  return longest(pairs, lambda pair: pair[1]) if pairs else None


def _end(runs, facts):
  """Frames that all runs with any result have reached."""
  ends = [
      max([*run.frames[-1:], *(row['step'] for row in fact.evaluations)], default=0)
      for run, fact in zip(runs, facts)]
  return min((end for end in ends if end), default=0)
