"""Which published results compare with own returns: the same kind of returns, episodes and frames.

Nothing else is drawn or printed beside them. What keeps a group of runs from being compared is said
in its name.
"""
import collections

from common import config as config_lib
from common.config import schedules
from common.scores import published

RETURNS = {'eval': 'evaluation', 'train': 'training'}
EPISODES = {'dmc': 1000, 'atari': 108_000}  # frames of whole episodes in the published runs
NOISE = 0.001  # of evaluations; epsilon of the published ones on Atari
MONTEZUMA_DISCOUNT = 0.99  # of the curve that the paper shows for that game alone
STICKY = 0.25  # probability that a game repeats the last action, in the published runs

# Printed scores by agent: name, method and source, best first.
PRINTED = {
    'planet': (
        ('PlaNet', 'planet', 'PlaNet paper Table 1'),
        ('PlaNet at action repeat 2', 'planet_R2', 'Dreamer paper appendix score table'),
        ('PlaNet in the CURL paper', 'planet', 'CURL paper Table 1')),
    'dreamer': (
        ('Dreamer, table', 'dreamer', 'Dreamer paper appendix score table'),
        ('Dreamer in the CURL paper', 'dreamer', 'CURL paper Table 1')),
    'plan2explore': (
        ('Plan2Explore zero-shot, table', 'plan2explore_zeroshot', 'Plan2Explore paper Table 1'),)}


def returns(metric):
  """Return eval or train for returns of episodes, an empty text for other metrics."""
  kind, _, rest = metric.partition('/')
  return kind if kind in RETURNS and rest.split('/')[0] == 'return' else ''


def few_shot(config):
  """Whether the task's actor of Plan2Explore collects after an exploration."""
  return bool(config.get('expl_until') or config.get('source'))


def zero_shot(group):
  """Whether runs are of Plan2Explore, and the task's actor never collects."""
  config = group.runs[0].config
  return group.agent == 'plan2explore' and not (
      few_shot(config) or config.get('expl_behavior') == 'greedy')


def episode(group, metric):
  """Return the frames of a whole episode, or None where the suite has no published ones."""
  config = group.runs[0].config
  whole = EPISODES.get(config_lib.suite(group.task))
  limits = [whole, config.get('time_limit')]
  if returns(metric) == 'train':
    limits.append(config.get('collect_limit'))
  return whole and min(limit for limit in limits if limit)


def mismatches(group, metric):
  """Return what makes the returns of a group differ from published ones, as a list of words.

  It is empty where they are sums over as many frames, evaluated as exactly, after a number of
  frames that was counted in the same way, in environments of the same kind.
  """
  config = group.runs[0].config
  length = episode(group, metric)
  evaluated = returns(metric) == 'eval'
  found = {
      f'episodes of {length} frames': length != EPISODES.get(config_lib.suite(group.task)),
      'evaluated with noise': evaluated and config.get('eval_noise', 0) > NOISE,
      'returns of single lives': (
          is_atari(group.task) and returns(metric) == 'train'
          and config.get('atari_life_end') and config.get('atari_life_reset')),
      'learned offline': bool(config.get('offline')),
      'frames of all tasks together': bool(config.get('tasks')),
      'mean of several tasks': metric == 'eval/return' and bool(config.get('zero_shot_tasks')),
      'other sticky actions': is_atari(group.task) and config.get('atari_sticky', STICKY) != STICKY}
  return [words for words, is_so in found.items() if is_so]


def comparable(group, metric):
  """Return whether published returns may stand beside those of a group."""
  return bool(returns(metric)) and not mismatches(group, metric)


def references(task, groups, metric, binned=False):
  """Return the published curves (list of published.Curve) that compare with groups of one task.

  Args:
    task: whose returns are shown.
    groups: list of curves.Group; those that do not compare have no influence.
    metric: full name, such as eval/return.
    binned: the bins as published, one curve at most, as bins of files differ: that of Plan2Explore
      where all groups are its and one is zero-shot, else the first.
  """
  groups = [group for group in groups if comparable(group, metric)]
  if not groups:
    return []
  found = [
      published.curve(method, task, observation, binned)
      for method, observation in _methods(task, groups, metric)]
  found = [
      curve for curve in found
      if curve is not None and len(curve.frames) and curve.protocol == returns(metric)]
  if binned:
    explorers = {group.agent for group in groups} == {'plan2explore'}
    return found[-1:] if explorers else found[:1]
  return found


def printed(task, group, frames):
  """Return {name: Score} of the printed evaluation scores of the agent of some runs on a task.

  Args:
    task: with or without the suite.
    group: curves.Group; those of Plan2Explore have none if the task's actor collects.
    frames: (low, high): scores after more than low and up to high frames alone.
  """
  low, high = frames
  found = {}
  compares = group.agent != 'plan2explore' or zero_shot(group)
  for name, method, source in PRINTED.get(group.agent, ()) if compares else ():
    for score in published.scores(task, method=method, source=source):
      if low < score.frames <= high:
        found.setdefault(name, score)
  return found


def is_atari(task):
  """Return whether a task is a game, whose returns are normalised by those of people."""
  return config_lib.suite(task) == 'atari'


def panels(groups, metric):
  """Return {task: groups}, by the task whose returns are shown."""
  own = metric.partition('eval/return/')[2] or metric.partition('train/return/')[2]
  found = {}
  for group in groups:
    found.setdefault(own or group.task, []).append(group)
  return found


def named_panels(groups, metric):
  """As `panels`; groups of one name on a task, whose runs have different main tasks, tell these."""
  return {task: named_apart(members) for task, members in panels(groups, metric).items()}


def named_apart(groups):
  """The groups of one task; those of one name have that of their main task, too."""
  names = collections.Counter(group.name for group in groups)
  return [
      group._replace(name=f'{group.name}, {group.task}') if names[group.name] > 1 else group
      for group in groups]


def _methods(task, groups, metric):
  """Published methods and what they see, [(method, observation)]."""
  if returns(metric) == 'eval' and is_atari(task):
    # Of the first Dreamer no scores of games were published.
    second = [
        run.config for g in groups for run in g.runs if run.config.get('latent') == 'categorical']
    return [(method, 'pixels') for method in dict.fromkeys(_second(task, second))]
  if returns(metric) == 'eval':
    explored = any(zero_shot(group) for group in groups)
    return [('dreamer', 'pixels')] + [('plan2explore_zeroshot', 'pixels')] * explored
  if any(group.agent == 'dreamer' for group in groups):
    # Dreamer has no published training returns; its successors have.
    pixels = {bool(run.config.get('cnn_keys')) for group in groups for run in group.runs}
    return ([('dreamerv2', 'pixels')] * (True in pixels) +
            [('dreamerv3', 'states')] * (False in pixels))
  return []


def _second(task, configs):
  """Published methods of DreamerV2 on a game, that of most runs first."""
  patient, others = [], []
  for config in configs:
    own = config.get('discount') == MONTEZUMA_DISCOUNT and (
        published.task_name(task) == 'montezuma_revenge')
    (patient if own else others).append(config)
  fading = others and all(schedules.parse(config.get('actor_ent')) for config in others)
  found = ['dreamerv2_schedules' if fading else 'dreamerv2'] * len(others)
  more = ['dreamerv2_montezuma'] * len(patient)
  return more + found if len(patient) > len(others) else found + more
