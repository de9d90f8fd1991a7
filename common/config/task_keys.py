"""What a configuration says of tasks: their suite, how many, frames per decision."""
import re

from common.config.errors import UserError
from common.config.options import ACTION_REPEATS, OTHER_REPEAT

SETTLED = re.compile(r'.+:[1-9]\d*')  # a task and its frames per decision


def suite(task):
  """Return the suite of a task: the part before the first underscore."""
  return task.partition('_')[0]


def tasks(config):
  """Return [(task, frames per decision)]: that of the run, or the several of `tasks`."""
  if not config.get('tasks'):
    return [(config['task'], config['action_repeat'])]
  pairs = [word.rpartition(':') for word in config['tasks'].split(',')]
  return [(task, int(repeat)) for task, _, repeat in pairs]


def eval_tasks(config):
  """Return `tasks`, and after them those that are learned from the same exploration."""
  further = [name.strip() for name in config.get('zero_shot_tasks', '').split(',')]
  return tasks(config) + [(name, config['action_repeat']) for name in further if name]


def repeats(config):
  """Return the frames per decision of each environment: e plays task e modulo their number."""
  return [repeat for _ in range(config['envs']) for _, repeat in tasks(config)]


def settled(values):
  """Whether `settle` has nothing to do."""
  return values.get('action_repeat') != 'auto' and values.get('expl_until') != 'auto' and all(
      SETTLED.fullmatch(word) for word in values.get('tasks', '').split(',') if values.get('tasks'))


def settle(values):
  """Put numbers for what is auto, and give a run of several tasks a name.

  `tasks` becomes TASK:REPEAT,..., which names in it may say already, and action_repeat the least of
  them, by which episodes are longest.
  """
  if values.get('expl_until') == 'auto':
    values['expl_until'] = values['steps'] * 20 // 23
  repeat = values['action_repeat']
  of = lambda task: ACTION_REPEATS.get(task, OTHER_REPEAT) if repeat == 'auto' else repeat
  words = [word.strip() for word in values.get('tasks', '').split(',') if word.strip()]
  given = dict(word.rsplit(':', 1) for word in words if SETTLED.fullmatch(word))  # in a file of a run
  names = [word.rsplit(':', 1)[0] if SETTLED.fullmatch(word) else word for word in words]
  if values.get('tasks') and not names:
    raise UserError(
        f'config: tasks is {values["tasks"]!r}, which names none. Pass --tasks TASK,TASK, or leave it '
        'out.')
  if names:
    twice = [name for name in names if names.count(name) > 1]
    if twice:
      raise UserError(f'config: tasks names {twice[0]} twice. Leave one out.')
    suites = {suite(name) for name in names}
    if len(suites) > 1:
      raise UserError(f'config: tasks are of several suites ({", ".join(map(repr, sorted(suites)))}).')
    repeats_of = {name: int(given.get(name, of(name))) for name in names}
    values['tasks'] = ','.join(f'{name}:{count}' for name, count in repeats_of.items())
    values['task'] = f'{suites.pop()}_multitask'
  values['action_repeat'] = min(repeats_of.values()) if names else of(values['task'])
