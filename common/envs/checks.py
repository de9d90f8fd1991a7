"""Faults that environments have in practice, each found by a short check."""
import contextlib
import re
import traceback

import numpy as np

from common.config import UserError
from common.envs import images
from common.envs import protocol
from common.envs import values
from common.envs import wrappers

KNOWN = {'Box', 'Discrete'}  # spaces that are understood


class Report:
  """Faults and notes by kind: the first of each in words, and how often it came.

  Attributes:
    faults, notes: dict of kind to [sentence, count].
  """

  def __init__(self):
    self.faults, self.notes = {}, {}

  def fault(self, kind, text):
    """Count a fault; text says where, what was found, what is expected."""
    self.faults.setdefault(kind, [text, 0])[1] += 1

  def note(self, kind, text):
    """Count something that works but may surprise."""
    self.notes.setdefault(kind, [text, 0])[1] += 1

  @contextlib.contextmanager
  def guard(self, where):
    """Turn what is raised inside into a fault, with the traceback of the user's code."""
    try:
      yield
    except UserError as error:
      self.fault(f'refused: {where}', str(error))
    except Exception as error:  # whatever the environment raises
      trace = traceback.format_exc().rstrip().replace('\n', '\n    ')
      self.fault(f'raised: {where}', f'{where} raised {type(error).__name__}.\n    {trace}')

  def lines(self):
    """The report for people."""
    for word, found in (('fault', self.faults), ('note', self.notes)):
      for text, count in found.values():
        yield f'{word}: {text}' + (f' ({count} times)' if count > 1 else '')


class Raw:
  """An environment of either protocol, Gymnasium's or that of `wrappers`, as one."""

  def __init__(self, env):
    """Raises UserError if it is neither."""
    self._env = env
    self.own = hasattr(env, 'obs_space') and hasattr(env, 'act_space')
    if not self.own and not (hasattr(env, 'observation_space') and hasattr(env, 'action_space')):
      raise UserError(
          f'the function returned {type(env).__name__}, which is no environment. Expected one of '
          'Gymnasium or Gym, or one with obs_space, act_space, reset, step and close.')
    self._below = None
    if not self.own:
      self._env, self._below = protocol.modernize(env)
    seeded = protocol.takes_through(self._env, 'seed')
    plain = lambda seed: protocol.reset_plain(self._env, seed)
    self._reset = (
        protocol.own_reset(env)[0] if self.own
        else (lambda seed: self._env.reset(seed=seed)) if seeded else plain)
    self.plain = None  # the name of the only observation, if it comes without a dict

  @property
  def obs_space(self):
    """The declared space or dict of spaces of observations."""
    return self._env.obs_space if self.own else self._env.observation_space

  @property
  def act_space(self):
    """The declared space of actions."""
    return self._env.act_space if self.own else self._env.action_space

  def reset(self, seed):
    """Returns (obs, old): whether it came alone, as from Gym before 0.26."""
    result = self._reset(seed)
    if protocol.is_pair(result):
      return result[0], bool(self._below and self._below.alone)
    return result, not self.own

  def parts(self, result):
    """Names of the values that `step` should have returned, where it did return `result`."""
    count = len(result) if isinstance(result, tuple) else 0
    five = count == 5 and isinstance(result[3], (bool, np.bool_))  # else it is something odd
    return ('obs', 'reward', 'done', 'info') if count == 4 or (self.own and not five) else (
        'obs', 'reward', 'terminated', 'truncated', 'info')

  def step(self, action):
    """Returns what the environment does."""
    return self._env.step(action)

  def close(self):
    """Close the environment, if it can be closed: training asks for no more."""
    if hasattr(self._env, 'close'):
      self._env.close()


def check_spaces(env, report, config):
  """Name what is wrong with the declared spaces.

  Sets `env.declared`, all names of observations, and `env.spaces`, {name: space} of those that agents
  see, as config.cnn_keys and mlp_keys have it.
  """
  space = env.obs_space
  kinds = values.kinds(space)
  if env.own and not hasattr(space, 'items'):
    report.fault('obs_space', f'obs_space is {space}, expected a dict of name to gymnasium Box')
    return
  if not env.own and 'Dict' not in kinds:
    env.plain = 'vector'
    if 'Box' in kinds:
      form = images.form('image', space)
      env.plain = 'image' if form.unclear or form.image else 'vector'
    space = {env.plain: space}
  declared = flatten(space)
  env.declared = declared.keys()
  # Adapters leave out what nobody understands, if there is something beside it.
  may_go = not env.own and any(values.kinds(part) & KNOWN for part in declared.values())
  env.spaces = {
      key: part for key, part in declared.items() if _seen(key, part, config, env.own, may_go, report)}
  for key, part in env.spaces.items():
    _check_obs_space(key, part, env.own, report)
  _check_act_space(env.act_space, report)


def _seen(key, space, config, own, may_go, report):
  """Whether agents see an entry: as adapters and `wrappers.SelectKeys` choose them."""
  kinds = values.kinds(space)
  if wrappers.NOT_SEEN.fullmatch(key):
    return False
  if not kinds & KNOWN and not own:
    if may_go:
      report.note(f'space {key}', f'{key}: the space {space} is not supported, and left out')
    return not may_go
  image = 'Box' in kinds and images.is_image(images.form(key, space).space)
  return bool(re.fullmatch(config.cnn_keys if image else config.mlp_keys, key))


def _check_obs_space(key, space, own, report):
  kinds = values.kinds(space)
  if 'Discrete' in kinds and not own:
    return
  if 'Box' not in kinds:
    report.fault(f'space {key}', f'{key}: the space {space} is not supported, expected Box')
    return
  shape, where = tuple(space.shape), f'{key}: declared {space.dtype} {list(space.shape)}'
  if space.dtype == object or not np.prod(shape):
    report.fault(f'space {key}', f'{where} holds no numbers')
    return
  form = images.form(key, space)
  if form.unclear:
    report.fault(f'form {key}', form.unclear)
  elif form.note:
    report.note(f'form {key}', form.note)


def _check_act_space(space, report):
  kinds = values.kinds(space)
  if 'Discrete' in kinds:
    return
  if 'Box' not in kinds:
    report.fault('act_space', f'the action space {space} is not supported, expected Box or Discrete')
  elif not values.bounded(space):
    report.fault(
        'action bounds', f'the action space {space} has no finite bounds, so actions cannot be '
        f'scaled to it. Declare low and high within {values.WIDEST:g}')
  elif not np.prod(space.shape):
    report.fault('act_space', f'the action space {space} has no entries')
  elif np.any(np.asarray(space.low) > np.asarray(space.high)):
    report.fault('action bounds', f'the action space {space} has low > high')
  elif np.any(np.asarray(space.low) == np.asarray(space.high)):
    report.note('frozen action', f'an entry of the action space {space} can have one value alone')


def check_seed(env, report, seed):
  """Note where the same seed gives different first observations."""
  with report.guard('reset with a seed'):
    first, second = (
        {key: np.array(value) for key, value in flatten(_as_dict(env, env.reset(seed)[0])).items()}
        for _ in range(2))
    for key in sorted(first.keys() & second.keys() & env.spaces.keys()):
      if not np.array_equal(first[key], second[key]):
        report.note(
            'seed', f'{key} differs between two resets with the same seed, so runs cannot be '
            'repeated')
        return


def check_second(make, report):
  """Note if the environment cannot be there twice, as training has it beside that of evaluations."""
  try:
    second = make()
    getattr(second, 'close', lambda: None)()
  except Exception as error:  # whatever the environment raises
    report.note(
        'second', f'a second one cannot be made beside the first ({error}): train with '
        '--eval_episodes 0')


def _as_dict(env, obs):
  if env.plain:
    return {env.plain: obs}
  return obs if isinstance(obs, dict) else {}


def flatten(tree, prefix=''):
  """A nested dict or Dict space as a flat dict, names joined by '/'."""
  tree = getattr(tree, 'spaces', tree)
  flat = {}
  for name, part in tree.items():
    if isinstance(part, dict) or hasattr(part, 'spaces') and isinstance(part.spaces, dict):
      flat.update(flatten(part, f'{prefix}{name}/'))
    else:
      flat[f'{prefix}{name}'] = part
  return flat
