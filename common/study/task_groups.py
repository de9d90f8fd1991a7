"""Names for the sets of tasks that papers report, taken from the published tables in common/scores.

  dmc20: DeepMind Control in the Dreamer paper.
  plan2explore20: the same in the Plan2Explore paper.
  planet6: the PlaNet paper. With --agent planet each task keeps its own action repeat.
  dmc_early: what Dreamer learns first, for a cheap check: the seven tasks on which the published one
    is at 70 % of its best by 250,000 frames.
  atari26, atari55: games of the Atari 100k benchmark, and of the DreamerV2 paper.
"""
import functools

from common import config as config_lib
from common.config import UserError
from common.scores import published

EARLY_FRAMES = 250_000
EARLY_SHARE = 0.7


@functools.cache
def groups():
  """Return {name of a group: tuple of tasks as --task takes them}."""
  planet = published.scores(method='planet', source='PlaNet paper Table 1')
  names = {
      'dmc20': published.tasks('dreamer_dmc', 'dreamer'),
      'plan2explore20': published.tasks('plan2explore_zeroshot', 'plan2explore_zeroshot'),
      'planet6': [score.task for score in planet],
      'dmc_early': early(),
      'atari26': published.tasks('atari100k', 'dreamerv3'),
      'atari55': published.tasks('dreamerv2_atari', 'dreamerv2')}
  return {
      group: tuple(f'{"atari" if group.startswith("atari") else "dmc"}_{task}' for task in tasks)
      for group, tasks in names.items()}


def early():
  """Tasks on which the published Dreamer is at 70 % of its best after 250,000 frames.

  The mean over its five seeds, that is. Seven tasks pass, the next (cheetah_run) is at 65 % and
  takes 1.6M frames for the rest: pendulum_swingup, cartpole_balance_sparse, cartpole_balance,
  cartpole_swingup_sparse, cup_catch, walker_stand and walker_walk. Not all weigh the same. An
  untrained agent already has about 135 on cartpole_balance and 240 on walker_stand, so there only
  high scores say something; pendulum_swingup and cartpole_swingup_sparse are said to learn slower
  with the published defaults than in the published curves. walker_walk and cup_catch say most.
  """
  chosen = []
  for task in published.tasks('dreamer_dmc', 'dreamer'):
    curve = published.curve('dreamer', task)
    if curve.at(EARLY_FRAMES)[0] >= EARLY_SHARE * curve.mean.max():
      chosen.append(task)
  return chosen


def expand(words):
  """Return the tasks that names of groups and of tasks stand for, each once, in order.

  Raises:
    UserError: there is no word, or one is neither a group nor begins with the name of a suite. Whether the suite has
      the task is checked with the config.
  """
  tasks, words = [], [word for word in ','.join(words).split(',') if word]
  if not words:
    raise UserError('sweep: --tasks names none. Pass tasks or groups of them, or leave it out.')
  for word in words:
    if word not in groups() and config_lib.suite(word) not in config_lib.SUITES:
      raise UserError(
          f'sweep: {word!r} in --tasks is neither a group of tasks nor SUITE_TASK. '
          f'{config_lib.nearest(word, [*groups(), *config_lib.SUITES])}')
    tasks += groups().get(word, [word])
  return list(dict.fromkeys(tasks))
