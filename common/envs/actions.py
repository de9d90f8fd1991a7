"""Spaces of actions: the form that agents know, and what a space decides of the configuration."""
import gymnasium

from common import config as config_lib
from common.config import UserError, consistency
from common.envs import values
from common.envs import wrappers

# Suite -> its block.
BLOCKS = {
    **{name: name for name in ('dmc', 'atari', 'gym', 'toy', 'noisytv')}, 'py': 'gym', 'dmlab': 'discrete',
    'memorymaze': 'discrete'}


def wrap(env, config):
  """An environment whose actions are Box [A] in [-1, 1] or OneHot [n].

  Raises:
    UserError: the space is not supported, or config.action_dist does not fit it.
  """
  space = env.act_space
  if isinstance(space, gymnasium.spaces.Discrete):
    env = wrappers.OneHotAction(env)
  elif isinstance(space, gymnasium.spaces.Box) and len(space.shape) == 1:
    if not isinstance(space, wrappers.OneHot):
      if not space.shape[0] or (space.low > space.high).any():
        raise UserError(
            f'{config.task}: the action space {space} holds no action. Declare one entry at least, low below '
            'high.')
      if not values.bounded(space):
        raise UserError(
            f'{config.task}: the action space {space} has no finite bounds, so actions cannot be scaled '
            f'to it. Declare low and high within {values.WIDEST:g}.')
      env = wrappers.NormalizeActions(env)
  else:
    raise UserError(
        f'{config.task}: the action space {space} is not supported. '
        'Expected Discrete, or Box with one dimension.')
  discrete = isinstance(env.act_space, wrappers.OneHot)
  kind = 'discrete' if discrete else 'continuous'
  check(f'{config.task}', kind, config, env.act_space.shape[0])
  return env


def check(task, kind, config, size=None):
  """Refuse a distribution of actions that cannot produce those of the environment."""
  amount = '' if size is None else f' [{size}]'
  if kind == 'discrete' and config.get('agent') == 'planet':
    raise UserError(
        f'{task}: actions are discrete{amount}, but planet plans continuous ones only. Dreamer takes them: '
        'python -m dreamer.train.')
  chosen = 'auto' if config.get('agent') == 'planet' else config.get('action_dist', 'auto')
  fitting = {'discrete': ('onehot',), 'continuous': (
      'tanh_normal', 'trunc_normal', 'tanh_normal_v2')}[kind]
  if kind == 'continuous' and config.get('expl') == 'epsilon_greedy':
    raise UserError(
        f'{task}: actions are continuous but expl is epsilon_greedy, which picks one of '
        f'several. Pass {_block(task, config)}--expl additive_gaussian.')
  if chosen not in ('auto', *fitting):
    raise UserError(
        f'{task}: actions are {kind}{amount} but action_dist is {chosen}. '
        f'Pass {_block(task, config)}--action_dist {fitting[0]}.')


def _block(task, config):
  """What to pass before all else: the block of the task's suite, where there is one that was not named."""
  block = BLOCKS.get(config_lib.suite(task), '')
  named = any(name.startswith(block) for name in config.get('configs', [block]))
  return '' if named else f'--configs {block}, its block, or '


def settle(config, act_space):
  """The config with action_dist and actor_grad as the space of actions decides, if auto.

  The default noise would leave the one-hot actions, so it becomes epsilon_greedy
  with the former.

  Raises:
    UserError: noise was chosen that the actions cannot take.
  """
  discrete = isinstance(act_space, wrappers.OneHot)
  if config.get('action_dist') == 'auto':
    # DreamerV2's initial std means nothing to the first Dreamer's actor.
    continuous = 'tanh_normal' if config.action_init_std else 'trunc_normal'
    config = config.replace(action_dist='onehot' if discrete else continuous)
    if discrete and config.expl == 'additive_gaussian':
      config = config.replace(expl='epsilon_greedy')
  if config.get('actor_grad') == 'auto':
    config = config.replace(actor_grad='reinforce' if discrete else 'dynamics')
  if discrete and config.expl != 'epsilon_greedy':
    raise UserError(
        f'{config.task}: actions are discrete [{act_space.n}] but expl is {config.expl}. '
        'Pass --expl epsilon_greedy.')
  return config


def check_settled(config):
  """Refuse a run whose settled config cannot work. Raises UserError with what to pass."""
  if config.get('expl_replay') and config.actor_grad != 'dynamics':
    raise UserError(
        f'{config.task}: expl_replay climbs the values of one imagined step, but actor_grad is '
        f'{config.actor_grad}. Pass --actor_grad dynamics.')
  consistency.check_actor_grad(config, config.task)
  if config.expl == 'epsilon_greedy':
    consistency.check_chances(config, config.task)
