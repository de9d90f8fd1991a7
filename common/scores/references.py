"""What runs are compared with: the published setting nearest to theirs, and its scores."""
import math
from typing import NamedTuple

import numpy as np

from common import config as config_lib
from common.config import UserError
from common.config.options import UNUSED
from common.scores import protocol
from common.scores import published
from common.scores.curves import KEPT
from common.scores.run_files import FREE
from common.scores.verdict import Reference

PLANET_TABLE = 'PlaNet paper Table 1'
DREAMER_TABLE = 'Dreamer paper appendix score table'
ZERO_SHOT, FEW_SHOT = 'Plan2Explore paper Table 1', 'Plan2Explore paper Table 2'

# Keys in which a run may differ from a published one. Unlike at a restart, what is kept in memory
# counts. Further tasks do not change what is learned of one.
IGNORED = {*FREE, 'agent', 'task', 'zero_shot_tasks'} - set(KEPT)

# Keys that decide what a return is the sum of, whatever was learned. Of training also the last.
RETURNS = ('time_limit', 'offline', 'tasks', 'eval_noise', 'atari_sticky', 'collect_limit')

NAMES = {
    'dreamer': 'Dreamer', 'dreamerv2': 'DreamerV2', 'dreamerv3': 'DreamerV3', 'planet': 'PlaNet',
    'dreamerv2_nosched': 'DreamerV2 without schedules',
    'dreamerv2_schedules': 'DreamerV2 with schedules',
    'dreamerv2_montezuma': 'DreamerV2, discount 0.99', 'planet_R2': 'PlaNet, action repeat 2',
    'd4pg': 'D4PG', 'a3c': 'A3C', 'slac': 'SLAC', 'slac_v1': 'SLAC v1', 'curl': 'CURL',
    'drqv2': 'DrQ-v2', 'sac_pixels': 'SAC from pixels', 'sac_state': 'SAC from states',
    'sac_ae': 'SAC+AE', 'ppo_fixhp': 'PPO', 'mpo': 'MPO', 'dmpo': 'DMPO', 'ddpg': 'DDPG',
    'plan2explore': 'Plan2Explore', 'curiosity': 'Curiosity', 'random': 'Random exploration',
    'max': 'MAX', 'retrospective': 'Retrospective', 'dreamer_oracle': 'Dreamer with rewards'}
PROTOCOLS = {'_zeroshot': ', zero-shot', '_fewshot': ', few-shot'}

SHOWN = 3  # values that a name tells

LEARNED = 0.25  # share of the way from a curve's first to its best score after which it tells much

PRINTED_FROM = 0.9  # share of the frames of a printed score, few-shot of those after exploring

STATES = {'state': 'states'}  # as the tables of single numbers name them


class Setting(NamedTuple):
  """A setting whose results were published, as blocks of configs.yaml."""
  blocks: tuple
  curve: str = ''          # method of published.curve; '' where no curve was published
  printed: tuple = ()      # (method, source) of published.scores, or ()
  protocol: str = 'eval'   # of the published returns: eval | train
  task: str = ''           # without the suite, where only one was run with these blocks and keys
  keys: tuple = ()         # (key, value) beside the blocks

  @property
  def flags(self):
    """What follows --configs, such as 'atari dreamerv2 --discount 0.99'."""
    return ' '.join([*self.blocks, *(f'--{key} {value}' for key, value in self.keys)])


def _explorers():
  """Plan2Explore and what it was compared with, in both protocols."""
  methods = {
      (): 'plan2explore', ('p2e_authors',): 'plan2explore', ('curiosity',): 'curiosity',
      ('random',): 'random', ('max',): 'max', ('max_authors',): 'max',
      ('retrospective',): 'retrospective', ('oracle',): 'dreamer_oracle'}
  for blocks, method in methods.items():
    curve = 'plan2explore_zeroshot' if method == 'plan2explore' else ''
    yield Setting(('dmc', *blocks), curve, (f'{method}_zeroshot', ZERO_SHOT))
    yield Setting(('dmc', 'few_shot', *blocks), '', (f'{method}_fewshot', FEW_SHOT))


# By agent, suite and what is seen. Of equally near ones the first counts that has a score.
SETTINGS = {
    ('dreamer', 'dmc', 'pixels'): (
        Setting(('dmc',), 'dreamer', ('dreamer', DREAMER_TABLE)),
        Setting(('dmc', 'dmc_tf1'), 'dreamer', ('dreamer', DREAMER_TABLE)),
        Setting(('dmc', 'dreamerv2'), 'dreamerv2', (), 'train'),
        Setting(('dmc', 'dreamerv2'), 'dreamerv2', (), 'train', 'humanoid_walk', (
            ('actor_ent', 1e-5), ('kl_scale', 2.0)))),
    ('dreamer', 'atari', 'pixels'): (
        Setting(('atari',)), Setting(('atari', 'dreamerv2'), 'dreamerv2'),
        Setting(('atari', 'dreamerv2', 'dreamerv2_schedules'), 'dreamerv2_schedules'),
        Setting(
            ('atari', 'dreamerv2'), 'dreamerv2_montezuma', task='montezuma_revenge',
            keys=(('discount', 0.99),))),
    ('planet', 'dmc', 'pixels'): (
        Setting(('dmc',), '', ('planet', PLANET_TABLE)),
        Setting(('dmc', 'camera_ready'), '', ('planet', PLANET_TABLE)),
        Setting(('dmc', 'repeat2'), '', ('planet_R2', DREAMER_TABLE))),
    ('plan2explore', 'dmc', 'pixels'): tuple(_explorers())}


def observation(config):
  """What an agent sees: pixels, or states alone."""
  return 'pixels' if config.get('cnn_keys') else 'states'


def nearest(config, task):
  """Find the published setting that differs in the fewest keys, of those in the same protocol.

  Args:
    config: Config of a run, as config.yaml holds it.
    task: with suite; one of those of the run.
  Returns:
    (Setting, {key: (published value, value of the run)}), or (None, {}) where nothing was published
    for this agent and suite.
  """
  settings = SETTINGS.get((config['agent'], config_lib.suite(task), observation(config)), ())
  own = [setting for setting in settings if setting.task == published.task_name(task)]
  settings = [
      setting for setting in settings
      if not setting.task and not any(setting.curve == each.curve for each in own)] + own
  found = [
      (setting, differences(config, setting.blocks, setting.keys)) for setting in settings
      if ('few_shot' in setting.blocks) == protocol.few_shot(config)]
  return min(
      found, default=(None, {}),
      key=lambda pair: (len(pair[1]), not (curve(pair[0], task) or printed(pair[0], task))))


def differences(config, blocks=(), keys=()):
  """Return {key: (value of the blocks, value of the run)} of keys that shape weights or data.

  A key that a config of an older version lacks has what held before. No blocks are the defaults.
  `keys` are (key, value) that stand for those of the blocks.
  """
  agent = config['agent']
  theirs = {**config_lib.preset(agent, list(blocks), config['task']), **dict(keys)}
  ours = {**config_lib.preset(agent, [], config['task']), **config_lib.before(config), **config}
  unused = ('expl_until',) if ours.get('source') else ()  # the task's actor collects at once
  counted = set(theirs) - IGNORED - {*UNUSED.get(agent, ()), *unused}
  return {key: (theirs[key], ours[key]) for key in sorted(counted) if theirs[key] != ours[key]}


def own_name(group, metric, beside=None):
  """The name of a group, with what its blocks do not say and what sets its returns apart.

  beside: list of words that stand for the former; None is `flags`.
  """
  words = protocol.mismatches(group, metric) if protocol.returns(metric) else []
  return ', '.join([group.name, *(flags(group) if beside is None else beside), *words])


def flags(group):
  """Values beside those that the blocks of a group give today, unless its name or its returns tell them."""
  configs = [run.config for run in group.runs]
  if group.name.endswith(' more'):  # it says itself that it does not tell all
    return []
  try:
    changed = differences(configs[0], tuple(configs[0]['configs']))
  except (KeyError, UserError):  # blocks of another version
    return []
  words = [
      f'{key} {str(value)[:24] or repr("")}' for key, (_, value) in changed.items()
      if key not in (*RETURNS, 'source') and f', {key} ' not in group.name
      and len({str(config.get(key)) for config in configs}) == 1]  # else it is told beside
  more = [f'and {len(words) - SHOWN} more'] if len(words) > SHOWN else []
  return words[:SHOWN] + more


def mismatches(config, setting, differing):
  """Return the keys because of which returns cannot stand beside published ones, sorted.

  Args:
    config, setting, differing: as `nearest` takes and returns them.
  """
  suite = config_lib.suite(config['task'])
  if setting is None:
    differing = differences(config, (suite,) if suite in ('dmc', 'atari') else ())
  training = setting is not None and setting.protocol == 'train'
  return sorted(set(differing) & set(RETURNS if training else RETURNS[:-1]))


def curve(setting, task):
  """The published.Curve of a setting on a task, or None."""
  found = setting.curve and published.curve(setting.curve, task)
  return found if found and len(found.frames) else None


def printed(setting, task):
  """The printed score of a setting on a task as Reference, or None."""
  if setting.printed:
    method, source = setting.printed
    explored = config_lib.preset('plan2explore', list(setting.blocks), task)['expl_until'] if (
        'few_shot' in setting.blocks) else 0
    for score in published.scores(task, method=method, source=source):
      return _of_score(score, explored)
  return None


def at(curve, frames):
  """The score of a published.Curve after some frames as Reference; its mean may be NaN."""
  mean, std = curve.at(frames)
  # Of the two points that are interpolated between, or of the one that it is.
  before = max(0, np.searchsorted(curve.frames, frames, 'right') - 1)
  behind = min(np.searchsorted(curve.frames, frames), len(curve.frames) - 1)
  return Reference(
      name_of(curve.method), 'curve', curve.protocol, curve.source, frames, float(mean), float(std),
      int(min(curve.n_seeds[before], curve.n_seeds[behind])), _enough(curve))


def curves_at(task, seen, frames, beyond=0):
  """All published curves of a task at some frames, as list of Reference without empty ones.

  beyond: frames by which a curve may have ended before; its last point counts then.
  """
  found = [published.curve(method, task, seen) for method in published.methods()]
  ends = lambda each: max(frames - beyond, min(frames, each.frames[-1]))
  references = [at(each, ends(each)) for each in found if each is not None and len(each.frames)]
  return [reference for reference in references if not math.isnan(reference.mean)]


def printed_scores(task, seen):
  """All printed scores of a task for what the agent sees, as list of Reference."""
  return [
      _of_score(score) for score in published.scores(task)
      if STATES.get(score.observation, score.observation) == seen]


def name_of(method):
  """A method's name to be read."""
  for ending, words in PROTOCOLS.items():
    if method.endswith(ending):
      return name_of(method.removesuffix(ending)) + words
  return NAMES.get(method, method)


def _of_score(score, begin=0):
  """A printed score as Reference; `begin`: frames after which what it is of began to collect."""
  frames = math.nan if score.frames is None else float(score.frames)
  return Reference(
      name_of(score.method), 'printed', 'eval', score.source, frames, score.value,
      math.nan if score.std is None else score.std, score.n_seeds or 0,
      begin + PRINTED_FROM * (frames - begin))


def _enough(curve):
  """Frames after which a curve has made LEARNED of its way from its first to its best score."""
  level = curve.mean[0] + LEARNED * (curve.mean.max() - curve.mean[0])
  i = int(np.argmax(curve.mean >= level))
  if i == 0:
    return float(curve.frames[0])
  return float(np.interp(level, curve.mean[i - 1:i + 1], curve.frames[i - 1:i + 1]))
