"""Gymnasium and Gym environments of any version: gym_ID, or what a function of the user's returns.

Observations: a plain space gets the name `image` (uint8 of rank 3) or `vector` (all else); the
entries of a Dict keep theirs, joined by '/' if nested. Discrete observations become one-hot.
Actions: Discrete, or Box with finite bounds, flattened.
"""
import contextlib
import importlib
import io
import multiprocessing
import re

import gymnasium
import numpy as np

from common.config import UserError, nearest
from common.envs import atari
from common.envs import dmc
from common.envs import drawn
from common.envs import images
from common.envs import protocol
from common.envs import values
from common.envs.images import is_image


class GymEnv:
  """Adapter to the protocol of `wrappers`, in whatever shapes and dtypes the environment has.

  The discount is 0 when the episode terminated and 1 when it was only truncated.
  """

  def __init__(self, env, task, limit=np.inf):
    """Take over an environment of Gymnasium or Gym.

    Args:
      env: environment.
      task: name for messages.
      limit: frames after which episodes are ended, for the notes.
    Raises:
      UserError: its observation or action space is not supported.
    """
    self._env = protocol.Caller(env)
    self.notes = self._env.notes + _skipping(env, task) + protocol.cut_short(
        task, protocol.longest(env), limit)
    spaces = _convert(env.observation_space, task, self.notes)
    self._plain = ''
    if not isinstance(spaces, dict):
      self._plain = 'vector'
      if isinstance(spaces, gymnasium.spaces.Box):
        form = images.form('image', spaces)
        self._plain = 'image' if form.unclear or is_image(form.space) else 'vector'
      spaces = {self._plain: spaces}
    self._spaces = _flatten(spaces)
    self.obs_space = {key: _vector_space(space) for key, space in self._spaces.items()}
    self._action = _convert(env.action_space, task, self.notes)
    self.act_space = _action_space(self._action, task)

  def reset(self, seed=None):
    """Begin an episode, which is a function of the seed if one is given."""
    return self._observe(self._env.reset(seed))

  def step(self, action):
    """Take an action as of `act_space` and return (obs, reward, done, info)."""
    if not isinstance(self._action, gymnasium.spaces.Discrete):
      action = np.reshape(action, self._action.shape)
    obs, reward, terminated, truncated = self._env.step(action)
    done = bool(terminated or truncated)
    reward = values.number('reward', reward)
    return self._observe(obs), reward, done, {'discount': np.float32(not terminated)}

  def render(self):
    """Return what the environment draws of its present state."""
    return self._env.render()

  def close(self):
    """Close the environment."""
    self._env.close()

  def _observe(self, obs):
    flat = _flatten({self._plain: obs} if self._plain else obs)
    return {key: _one_hot(key, flat[key], space) for key, space in self._spaces.items()}


def _skipping(env, task):
  """A note where the environment repeats actions by itself."""
  frames = getattr(getattr(env, 'spec', None), 'kwargs', {}).get('frameskip', 1)
  if frames in (1, None):
    return []
  return [
      f'{task} repeats each action by itself ({frames} frames), which count as one here. Pass '
      '--action_repeat 1, and for games of the Arcade Learning Environment better --task atari_GAME']


def make(identifier, draw=False, limit=np.inf):
  """Build an environment by its id, from Gymnasium if it has it, else from Gym.

  Args:
    identifier: id, perhaps with a package before it.
    draw: what it draws is an observation, `image`.
    limit: as of GymEnv.
  Raises:
    UserError: unknown id, missing dependency, unsupported space, or it cannot be drawn.
  """
  task = f'gym_{identifier}'
  return adapt(build(identifier, **({'render_mode': drawn.MODE} if draw else {})), task, draw, limit)


def adapt(env, task, draw=False, limit=np.inf):
  """Bring an environment of Gymnasium or Gym into the protocol of `wrappers`.

  Args:
    env: environment.
    task: name for messages.
    draw: what it draws is an observation, `image`.
    limit: as of GymEnv.
  Raises:
    UserError: unsupported space, or it cannot be drawn. The environment is closed then.
  """
  try:
    adapter = GymEnv(env, task, limit)
    return drawn.Drawn(adapter, task) if draw else adapter
  except UserError:
    with contextlib.suppress(Exception):  # not all can be closed
      env.close()
    raise


def build(identifier, **kwargs):
  """The same environment without the adapter, made with these keywords.

  Raises:
    UserError: unknown id, missing dependency, or no such keyword.
  """
  library = find(identifier)
  dmc.before_foreign_code()
  try:
    # Gym's checker fails on NumPy 2, and Gymnasium's only warns.
    return library.make(identifier, disable_env_checker=True, **kwargs)
  except (library.error.Error, ImportError) as error:
    raise UserError(
        f'gym_{identifier}: cannot be built: {" ".join(str(error).split())}. '
        'Install what is missing, or choose another task.') from error
  except TypeError as error:
    if not any(f"argument '{name}'" in str(error) for name in kwargs):
      raise
    raise UserError(
        f'gym_{identifier}: takes no {", ".join(kwargs)}, so nothing is drawn. Leave out gym_draw, or '
        'let a function of yours make it.') from error


def find(identifier):
  """Return the library, gymnasium or gym, that has the id.

  Raises:
    UserError: neither has it.
  """
  package, colon, name = identifier.rpartition(':')
  if colon and not re.fullmatch(r'[\w-]+(\.[\w-]+)*', package):
    raise UserError(
        f'task: gym_{identifier} does not name a package before its colon. Expected --task '
        f'gym_PACKAGE:{name}, or gym_{name} where Gymnasium or Gym has it.')
  if package:
    _import_package(package, identifier)
  known = {}
  for library in (gymnasium, _import_library('gym')):
    try:
      library.spec(name)
      return library
    except library.error.Error:
      known.update(library.envs.registry)
  prefix = f'gym_{package}:' if package else 'gym_'
  hint = f'{nearest(prefix + name, [prefix + other for other in known])} '
  game = atari.game_of(name)
  if name.startswith('ALE/') or game in atari.games():
    hint += f'Games of the Arcade Learning Environment: --task atari_{game}. '
  elif multiprocessing.parent_process() is not None:
    hint += (
        'Environments in processes of their own do not know what a program has registered: pass '
        '--parallel none for that. ')
  raise UserError(
      f'task: neither Gymnasium nor Gym has an environment {name!r}. {hint}'
      'One that a package registers is named with it: gym_PACKAGE:ID.')


def _import_package(package, identifier):
  """Import a package that registers environments."""
  dmc.before_foreign_code()
  try:
    importlib.import_module(package)
  except ModuleNotFoundError as error:
    if error.name and (package + '.').startswith(error.name + '.'):
      raise UserError(
          f'task: there is no package {error.name!r}, named by gym_{identifier}. Install it, or '
          'name one that is: gym_PACKAGE:ID.') from None
    raise


def _import_library(name):
  """Import a library; Gym prints a notice about NumPy 2 that helps nobody here."""
  with contextlib.redirect_stderr(io.StringIO()):
    return importlib.import_module(name)


def own_actions(space, task):
  """Return a space of actions of either library as one of Gymnasium. Raises UserError."""
  kinds = values.kinds(space)
  if not kinds & {'Box', 'Discrete'}:
    return space  # refused with what is expected, or OneHot, which is ours
  return space if isinstance(space, gymnasium.Space) else _convert(space, task, [])


def _convert(space, task, notes):
  """Return a space of either library as one of Gymnasium; notes take the entries that are left out."""
  spaces = gymnasium.spaces
  kinds = values.kinds(space)
  if 'Box' in kinds:
    return spaces.Box(space.low, space.high, space.shape, space.dtype)
  if 'Discrete' in kinds:
    return spaces.Discrete(int(space.n), start=int(space.start))
  if 'Dict' in kinds:
    return _convert_entries(space.spaces, task, notes)
  raise UserError(
      f'{task}: the space {space} is not supported. Wrap the environment so that it has '
      'Box, Discrete or Dict observations and Box or Discrete actions.')


def _convert_entries(entries, task, notes):
  """Convert those entries of a Dict that can be; raises UserError if none can."""
  converted, refused = {}, None
  for key, part in entries.items():
    try:
      converted[str(key)] = _convert(part, task, notes)
    except UserError as error:
      refused = error
      notes.append(f'{task}: the observation {key} is {part}, which is not supported and left out')
  if refused and not converted:
    raise refused
  return converted


def _flatten(tree, prefix=''):
  """Return a nested dict as a flat one, names joined by '/'."""
  flat = {}
  for name, part in tree.items():
    if isinstance(part, dict):
      flat.update(_flatten(part, f'{prefix}{name}/'))
    else:
      flat[f'{prefix}{name}'] = part
  return flat


def _vector_space(space):
  """Return a Box as it is and Discrete as the Box of its one-hot vectors."""
  if isinstance(space, gymnasium.spaces.Discrete):
    return gymnasium.spaces.Box(0.0, 1.0, (int(space.n),), np.float32)
  return space


def _one_hot(key, value, space):
  """Return the value of a Discrete space as a one-hot vector, of a Box as it is.

  Raises:
    ValueError: no value of the Discrete space.
  """
  if not isinstance(space, gymnasium.spaces.Discrete):
    return np.asarray(value)
  vector, index = np.zeros(int(space.n), np.float32), int(values.number(key, value)) - int(space.start)
  if not 0 <= index < len(vector):
    raise ValueError(f'{key} is {value}, declared is {space}')
  vector[index] = 1
  return vector


def _action_space(space, task):
  """Return the space of the adapter's actions: Discrete, or a Box [A] of the same dtype."""
  if isinstance(space, gymnasium.spaces.Discrete):
    return space
  if isinstance(space, gymnasium.spaces.Box) and values.bounded(space) and np.prod(space.shape):
    return gymnasium.spaces.Box(space.low.reshape(-1), space.high.reshape(-1), dtype=space.dtype)
  raise UserError(
      f'{task}: the action space {space} is not supported. Wrap the environment so that it is '
      f'Discrete, or Box with entries and finite bounds, within {values.WIDEST:g}.')
