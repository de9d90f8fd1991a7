"""Environments by name, SUITE_NAME, split at the first underscore.

  dmc_DOMAIN_TASK: DeepMind Control suite.
  atari_GAME: the Arcade Learning Environment.
  memorymaze_SIZE: Memory Maze; dmlab_LEVEL: DeepMind Lab.
  gym_ID: Gymnasium or Gym.
  py_PACKAGE.MODULE:FUNCTION: a function of the user's, called without arguments, that returns an
    environment of Gymnasium, of Gym, or in the protocol of `wrappers`.
  toy_NAME: tiny ones with a known best return; noisytv_NAME: a corridor and a screen of noise;
    dummy_NAME: tiny ones for tests.

`wrappers` states the protocol. A new suite is a module here, a line in `check_task` and in
`_make_env`, and its name in `config.SUITES`.
"""
import contextlib
import functools
import importlib
import inspect
import re

import numpy as np

from common import config as config_lib
from common.config import SUITES, UserError
from common.envs import (
    actions, atari, dmc, dmc_extras, dmlab, drawn, dummy, gym, memorymaze, noisytv, parallel, protocol,
    toy, wrappers)

# Suites whose environments repeat actions by themselves.
REPEATING = ('atari', 'dmlab')
DISCRETE = ('atari', 'memorymaze', 'dmlab', 'toy')


def make(config, index=0, mode='train'):
  """Build the environment of config.task with all its wrappers.

  Args:
    config: its keys task, seed, action_repeat, time_limit, camera, image_size, cnn_keys, mlp_keys,
      atari_*, gym_draw and, if the agent knows it, action_dist are used.
    index: number of the environment among those that run at the same time; resets that are given
      no seed depend on it.
    mode: 'train' or 'eval', in which Atari episodes are always whole games.
  Returns:
    Environment in the protocol of `wrappers`, actions Box [A] in [-1, 1] or OneHot [n], which
    takes decisions of config.action_repeat frames.
  Raises:
    UserError: unknown task; no observation fits the keys; space not supported; no OpenGL.
  """
  assert mode in ('train', 'eval'), mode
  suite, name = _split(config.task)
  # Explorers have more stored beside their episodes than they see.
  stored = mode == 'train' and (
      config.get('coverage', False) or config.get('sibling_rewards', False))
  env = _make_env(suite, name, config, _seed(config.seed, index), mode)
  try:
    if suite not in REPEATING:
      env = wrappers.ActionRepeat(env, config.action_repeat)
    if suite != 'dmc':  # whose keys decide about rendering, so that it selects them itself
      env = wrappers.SelectKeys(
          env, config.cnn_keys, config.mlp_keys, config.image_size, config.task, stored)
    env = actions.wrap(env, config)
    return wrappers.TimeLimit(env, config.time_limit / config.action_repeat)
  except Exception:
    with contextlib.suppress(Exception):  # that is what counts
      env.close()
    raise


def raw(config):
  """Build the environment of config.task as its author wrote it, without adapter and wrappers."""
  suite, name = _split(config.task)
  if suite == 'gym':
    return gym.build(name)
  if suite == 'py':
    return _built(name)
  return _make_env(suite, name, config, config.seed, 'eval')


def make_all(config, count, first, mode):
  """Build `count` environments of each task, in processes or threads as config.parallel.

  Environment i, numbered first + i, plays task i modulo the number of tasks. If there are
  several, actions are padded to the largest space. In mode eval the further tasks are there, too.

  Args and errors as in `make`; UserError also if tasks differ in what is observed.
  """
  tasks = config_lib.eval_tasks(config) if mode == 'eval' else config_lib.tasks(config)
  makers = [
      functools.partial(make, config.replace(task=task, action_repeat=repeat), first + i, mode)
      for i, (task, repeat) in enumerate(tasks * count)]
  strategy = config.parallel
  if strategy == 'auto':
    # A picture is drawn while no other thread works: beside updates, in another process.
    apart = mode == 'train' and config.get('overlap') and not config.get('collectors')
    strategy = 'process' if apart else 'none'
  made = [parallel.Parallel(maker, strategy, config.env_timeout) for maker in makers]
  same = len(tasks) == 1 or not config.get('tasks')  # further tasks share the spaces
  return made if same else _pad(made, tasks)


def notes(environments):
  """What several environments say for people, each sentence once."""
  return list(dict.fromkeys(note for env in environments for note in env.notes))


def check(config):
  """Refuse a Config whose tasks do not exist or do not fit it, without building one of them.

  Nothing here imports TensorFlow. Raises UserError with the nearest names.
  """
  own = config_lib.tasks(config)
  for task, _ in own:
    check_task(task, config)
  check_siblings(config.task, [name for name, _ in config_lib.eval_tasks(config)[len(own):]])


def check_siblings(task, others):
  """Refuse further tasks whose rewards are not stored beside the episodes of a task.

  Raises:
    UserError: with those that are.
  """
  suite, name = _split(task)
  known = []
  if suite == 'dmc':
    known = [f'dmc_{other}' for other in dmc_extras.siblings(name) if other != name]
  elif suite == 'toy':
    known = [f'toy_{other}' for other in toy.siblings(name) if other != name]
  for number, other in enumerate(others):
    if other in others[:number]:
      raise UserError(f'config: zero_shot_tasks names {other} twice.')
    if other not in known:
      hint = f'Those of {task}: {", ".join(known)}.' if known else f'{task} has none.'
      raise UserError(
          f'config: zero_shot_tasks: {other!r} does not share physics and initial states. {hint}')


def _pad(made, tasks):
  size = max(env.act_space.shape[0] for env in made)
  for env, (task, _) in zip(made, tasks):
    if env.obs_space != made[0].obs_space:
      raise UserError(
          f'tasks: {task} and {tasks[0][0]} differ in what is observed. Let all see the same, '
          "such as images only: --cnn_keys image --mlp_keys ''.")
    if isinstance(env.act_space, wrappers.OneHot):
      raise UserError(f'tasks: the actions of {task} are discrete, which cannot be padded.')
  return [wrappers.PadActions(env, size) for env in made]


def check_task(task, config=None):
  """Refuse a task that does not exist, without building it and without TensorFlow.

  Args:
    task: SUITE_NAME.
    config: if given, its other keys are checked as far as they need no environment.
  Raises:
    UserError: with the nearest names.
  """
  suite, name = _split(task)
  check = {
      'dmc': dmc.find, 'atari': atari.find, 'memorymaze': memorymaze.find, 'dmlab': dmlab.find,
      'gym': gym.find, 'py': find_function, 'toy': toy.find, 'noisytv': noisytv.parse,
      'dummy': dummy.find}
  check[suite](name)
  if config is not None and config.get('gym_draw') and suite not in ('gym', 'py'):
    raise UserError(
        f'config: gym_draw means nothing to {task}, only to gym_ID and to py_ of its kind.')
  if config is not None and config.get('gym_draw') and not re.fullmatch(config.cnn_keys, drawn.KEY):
    raise UserError(
        f'config: gym_draw draws {drawn.KEY!r}, which cnn_keys {config.cnn_keys!r} does not fit. Pass '
        f'--cnn_keys {drawn.KEY}, or leave out gym_draw.')
  if config is not None and suite in ('dmc', 'noisytv'):
    actions.check(task, 'continuous', config)
  if config is not None and suite in DISCRETE:
    actions.check(task, 'discrete', config)


def find_function(name):
  """Return the function of the user's for PACKAGE.MODULE:FUNCTION.

  Raises:
    UserError: there is no such module or function. Failures inside the module are not caught.
  """
  path, colon, attribute = name.partition(':')
  if not (attribute and colon and re.fullmatch(r'[\w-]+(\.[\w-]+)*', path)) or path.endswith('.py'):
    module = path.removesuffix('.py').strip('./').replace('/', '.') if colon else ''
    raise UserError(
        f'task: py_{name} does not name a function of a module. Expected --task '
        f'py_{module or "PACKAGE.MODULE"}:{attribute or "FUNCTION"}.')
  dmc.before_foreign_code()
  try:
    module = importlib.import_module(path)
  except ModuleNotFoundError as error:
    if error.name and (path + '.').startswith(error.name + '.'):
      raise UserError(
          f'task: there is no module {error.name!r}, named by py_{name}. Start the command where '
          'it can be imported, or add its folder to PYTHONPATH.') from None
    raise
  except SystemExit as error:
    raise UserError(
        f'task: the module {path!r} ends the program while it is imported (SystemExit {error.code}). Put what '
        "it does as a program below `if __name__ == '__main__':`.") from None
  function = getattr(module, attribute, None)
  if not callable(function):
    names = [key for key, value in vars(module).items() if callable(value) and key[0] != '_']
    if function is not None:
      raise UserError(
          f'task: {attribute!r} of the module {path!r} is a {type(function).__name__}, no function. Name a '
          'function that makes an environment, or its class.')
    raise UserError(
        f'task: the module {path!r} has no function {attribute!r}. '
        f'{config_lib.nearest(attribute, names)}')
  return function


def _built(name):
  """What the user's function of a name returns. Raises UserError if it ends the program instead."""
  try:
    return _callable(name)()
  except SystemExit as error:
    raise UserError(f'task: py_{name} ended the program in place of returning (SystemExit {error.code}).') from None


def _callable(name):
  """The function of the user's that a name means, if it can be called without arguments."""
  function = find_function(name)
  try:
    inspect.signature(function).bind()
  except TypeError as error:
    raise UserError(
        f'task: py_{name} is called without arguments, but {error}. Name a function that passes what '
        'is needed.') from None
  except ValueError:  # not written in Python
    pass
  return function


def _split(task):
  suite, _, name = task.partition('_')
  if suite in SUITES and not name:
    raise UserError(f'task: {task!r} names a suite only. Example: --task dmc_walker_walk.')
  if suite not in SUITES:
    if task in dmc.tasks():
      hint = f'Did you mean dmc_{task}?'
    else:
      hint = f'{config_lib.nearest(suite, SUITES)} Example: --task dmc_walker_walk.'
    raise UserError(f'task: {task!r} has no known suite before its first underscore. {hint}')
  return suite, name


def _make_env(suite, name, config, seed, mode):
  size = config.image_size
  if suite == 'atari':
    game = atari.Atari(
        name, config.action_repeat, size, config.atari_gray, config.atari_resize,
        config.atari_sticky, config.atari_noops, config.atari_actions,
        config.atari_life_end and mode == 'train', config.atari_life_length,
        config.atari_life_reset, seed)
    game.notes = protocol.cut_short(config.task, atari.LONGEST, config.time_limit)
    return game
  if suite == 'memorymaze':
    return memorymaze.MemoryMaze(name, size, seed)
  if suite == 'dmlab':
    return dmlab.DeepMindLab(name, config.action_repeat, size, seed)
  if suite == 'toy':
    return toy.make(
        name, size, mode == 'train' and config.get('coverage', False),
        mode == 'train' and config.get('sibling_rewards', False))
  if suite == 'noisytv':
    return noisytv.NoisyTV(name, size, seed)
  if suite == 'dmc':
    return dmc.DeepMindControl(
        name, size, config.camera, config.cnn_keys, config.mlp_keys, seed,
        rewards=mode == 'train' and config.get('sibling_rewards', False),
        coordinates=mode == 'train' and config.get('coverage', False))
  if suite == 'gym':
    return gym.make(name, config.get('gym_draw'), config.time_limit)
  if suite == 'dummy':
    return dummy.Dummy(name, size, seed)
  return _adapt(_built(name), config.task, config.get('gym_draw'), config.time_limit)


def _adapt(env, task, draw, limit):
  """Bring what a function of the user's returned into the protocol."""
  if hasattr(env, 'obs_space') and hasattr(env, 'act_space'):
    if draw:
      raise UserError(f'{task}: has obs_space, which is all that it shows. Leave out gym_draw.')
    if not hasattr(env.obs_space, 'items'):
      raise UserError(f'{task}: obs_space is {env.obs_space}, expected a dict of name to gymnasium Box.')
    return protocol.Own(env, gym.own_actions(env.act_space, task))
  if hasattr(env, 'observation_space') and hasattr(env, 'action_space'):
    return gym.adapt(env, task, draw, limit)
  raise UserError(
      f'{task}: the function returned {type(env).__name__}, which is no environment. Expected one '
      'of Gymnasium or Gym, or one with obs_space, act_space, reset, step and close.')


def _seed(seed, index):
  return int(np.random.SeedSequence((seed, index)).generate_state(1)[0])
