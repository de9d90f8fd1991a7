"""Blocks of configs.yaml and flags of the command line become one configuration."""
import contextlib
import os
import sys

from common.config import consistency
from common.config import files
from common.config import task_keys
from common.config import usage
from common.config import values as values_lib
from common.config.errors import UserError, nearest
from common.config.mapping import Config, UnknownKey
from common.config.options import AGENTS, NEEDED, PATHS, SUITES, UNUSED


def load(agent, argv=None, new=True):
  """Merge configs.yaml and the command line into the configuration of one agent.

  For each block (`defaults` first, then the names after --configs in order): its plain keys, then
  its sub-blocks of the agent, of the suite of the task (for py_ those of gym, too) and of the blocks
  that are named before it, in the order in which they are written. Flags come last. A key with
  characters of a regular expression stands for all keys that it matches.

  Args:
    agent: name of the agent, of AGENTS.
    argv: list of arguments without the program's name; None is sys.argv[1:].
    new: refuse flags that nothing reads and patterns that fit nothing, but for those of a run in the
      same directory, or of one to begin from.
  Returns:
    Config with every key of configs.yaml that the agent knows, and `agent`, `configs` (list).
  Raises:
    UserError: unknown block or key; value of a wrong type or range; values that cannot work
      together. Whether the task exists is for `common.envs.check` to say.
    SystemExit: after --help.
  """
  assert agent in AGENTS, agent
  argv = sys.argv[1:] if argv is None else [str(arg) for arg in argv]
  blocks = files.blocks()
  if '--help' in argv or '-h' in argv:
    print(usage.describe(agent))
    sys.exit(0)
  flags = _parse_flags(argv)
  names = flags.pop('configs', [])
  for name in names:
    if name not in blocks or name == 'defaults':
      others = [block for block in blocks if block != 'defaults']
      raise UserError(f'config: unknown block {name!r}. {nearest(name, others)}')
  meant = {
      key: values_lib.matches(
          key, _keys(agent, blocks['defaults']), 'on the command line', _owner(key, blocks['defaults']))
      for key in flags}
  for key, found in meant.items():
    if set(found) <= set(UNUSED.get(agent, ())):
      raise UserError(
          f'config: {key} means nothing to {agent}, which has no actor, value function or pcont.')
  values = _merge(agent, blocks, names, flags)
  if flags.get('task') and values.get('tasks') and 'tasks' not in flags:
    raise UserError(
        f'config: {flags["task"]} is one task, but a block names several in tasks: {values["tasks"]}. '
        'Leave out --task (of a sweep --tasks), or the block.')
  config = _settled({**values, 'agent': agent, 'configs': names})
  if new:  # what goes on, or begins from another run, has to be as that was, whatever it says
    begun = list(_begun(config))
    if not begun:
      consistency.check_order(names)
      consistency.check_effect(config)
    known = lambda key: [defaults(agent).get(key), *(old.get(key) for old in begun)]
    single = [found[0] for found in meant.values() if len(found) == 1]
    consistency.check_used(config, [key for key in single if values.get(key) not in known(key)])
    heads = ('grad_heads', 'adapt_heads')
    if all(any(config.get(key) != old.get(key) for key in heads) for old in begun):
      consistency.check_heads(config)
  return config


def _begun(config):
  """What the runs wrote down that a config goes on with, or begins from."""
  for path in filter(None, (config.get(key) for key in PATHS)):
    path = os.path.join(files.expand(path), 'config.yaml')
    if os.path.exists(path):
      with contextlib.suppress(UserError):  # told by who opens it
        yield files.read(path)


def defaults(agent):
  """Return a dict of all keys of an agent with their defaults, for what an older version wrote.

  Raises:
    UserError: the agent, which a file may name, is none.
  """
  if agent not in AGENTS:
    raise UserError(f'config: unknown agent {agent!r}. {nearest(agent, AGENTS)}')
  return _keys(agent, files.blocks()['defaults'])


def restore(values, path):
  """Return `filled` of what a run wrote down, checked.

  Args:
    values: mapping of keys to values, with `agent`; other entries stay as they are.
    path: of the file, for messages.
  Raises:
    UserError: a value is not what its key holds.
  """
  if values['agent'] not in AGENTS:
    raise UserError(f'{path}: names the agent {values["agent"]!r}, expected one of {", ".join(AGENTS)}.')
  known = defaults(values['agent'])
  suite = task_keys.suite(str(values.get('task')))
  types = {**known, **(files.blocks()['defaults'].get(suite, {}) if suite in SUITES else {})}
  found = {
      key: values_lib.convert(key, value, types[key], f'in {path}') if key in known else value
      for key, value in filled(values).items()}
  if not task_keys.settled(found):  # somebody has edited it
    task_keys.settle(found)
  return found


def filled(values):
  """Return a dict of what a run wrote down, with what held before for keys that are newer."""
  return {**defaults(values['agent']), **before(values), **values}


def before(values):
  """{key: what a run with such values did before there was the key}, where that is not its default."""
  went_on = task_keys.suite(str(values.get('task'))) == 'atari' and values.get('atari_life_end', True)
  return {'atari_life_reset': False} if went_on else {}


def preset(agent, names, task):
  """Return a dict of what blocks give to an agent on a task: `load` without flags and checks."""
  values = _merge(agent, files.blocks(), names, {'task': task})
  task_keys.settle(values)
  return values


def _settled(values):
  """Return the Config of merged values: numbers for what is auto, paths written out, all checked."""
  for key in NEEDED:
    if key not in values:
      raise _incomplete(f'no {key}')
  task_keys.settle(values)
  if values['logdir'] == 'auto':
    values['logdir'] = _default_logdir(values)
  for key in PATHS:
    files.expand(values.get(key) or '.', key)
    if values.get(key):
      values[key] = os.path.expanduser(values[key])
  config = Config(values)
  try:
    consistency.check(config)
  except UnknownKey as error:
    raise _incomplete(error) from None
  return config


def _merge(agent, blocks, names, flags):
  """Merge the blocks and flags in the order that `load` states."""
  chain = [(name, blocks[name]) for name in ['defaults'] + names]
  known = [*AGENTS, *SUITES, *(name for name in blocks if name != 'defaults')]
  for name, block in chain:
    for key, value in block.items():
      if isinstance(value, dict) and key not in known:
        raise UserError(
            f'config: unknown sub-block {key!r} in block {name!r}. {nearest(key, known)}')
  defaults = _keys(agent, chain[0][1])
  last = lambda key: ([''] + [
      part[key] for _, block in chain for part in (block, block.get(agent, {})) if part.get(key)])[-1]
  task = flags.get('tasks') or flags.get('task') or last('tasks') or last('task')
  part = task_keys.suite(str(task).strip())  # of several the first, for all have the same
  part = part if part in SUITES else None  # a key or an agent may have the name of a wrong one
  types = {**defaults, **chain[0][1].get(part, {})}
  values = {}
  for place in range(len(chain)):
    for origin, layer in _layers(chain[:place + 1], agent, part):
      for key, value in layer.items():
        for match in values_lib.matches(key, defaults, f'in block {origin!r}'):
          values[match] = values_lib.convert(match, value, types[match], f'in block {origin!r}')
  for key, value in flags.items():
    for match in values_lib.matches(key, defaults, 'on the command line'):
      if value is None and not isinstance(types[match], bool):
        raise UserError(f'config: --{match} needs a value: --{match} VALUE. See --help.')
      values[match] = value is None or values_lib.convert(
          match, value, types[match], 'on the command line')
  return values


def _layers(chain, agent, part):
  """[(origin, dict)] of the last block of a chain: what it has for an agent and a suite.

  Raises UserError if that is nothing.
  """
  name, block = chain[-1]
  meant = {other for other, _ in chain[:-1]} - {*AGENTS, *SUITES} | {agent, part}
  if part == 'py':
    meant.add('gym')  # such environments bring their own step, too
  layers = [(name, _plain(block)), *(
      (f'{name}.{other}', layer) for other, layer in block.items()
      if other in meant and isinstance(layer, dict))]  # a key may have the name of a block
  if block and not any(layer for _, layer in layers):
    who = agent if set(block) <= set(AGENTS) else f'{agent} on tasks of {part or "no suite"}'
    raise UserError(
        f'config: block {name!r} has nothing for {who}, it is for {", ".join(block)}.')
  return layers


def _incomplete(reason):
  return UserError(
      f'{files.configs_path()}: the block \'defaults\' is incomplete ({reason}). Put the key back, '
      'or install the package again.')


def _keys(agent, defaults):
  """{key: default} of all keys of an agent."""
  return {**_plain(defaults), **defaults.get(agent, {})}


def _owner(key, defaults):
  """A sentence on the agents that alone have a key; '' for keys of all, and of none."""
  owners = [agent for agent in AGENTS if key in defaults.get(agent, {})]
  return f'It is of {" and ".join(owners)} alone.' if owners else ''


def _plain(block):
  return {key: value for key, value in block.items() if not isinstance(value, dict)}


def _parse_flags(argv):
  """Return {key: text or None without value}, `configs` as a list.

  The last of equal keys wins, and blocks add up.
  """
  flags, args = {}, list(argv)
  while args:
    arg = args.pop(0)
    if not arg.startswith('--') or len(arg) < 3:
      raise UserError(f'config: unexpected argument {arg!r}. Options read --KEY VALUE; see --help.')
    key, equals, value = arg[2:].partition('=')
    if key == 'configs':
      names = [value] if equals else []
      while args and not args[0].startswith('--'):
        names.append(args.pop(0))
      if not names:
        raise UserError('config: --configs needs the name of a block, such as --configs dmc.')
      flags['configs'] = flags.get('configs', []) + names
    elif equals:
      flags[key] = value
    elif args and not args[0].startswith('--'):
      flags[key] = args.pop(0)
    else:
      flags[key] = None
  return flags


def names_blocks(argv):
  """Whether arguments of a command line name blocks."""
  return any(arg.partition('=')[0] == '--configs' for arg in argv)


def with_blocks(names, argv):
  """Arguments of a command line, with these blocks unless they name some."""
  return list(argv) if names_blocks(argv) else ['--configs', *names, *argv]


def _default_logdir(values):
  task = values['task'].replace('/', '-')
  name = '-'.join([values['agent'], *values['configs']])
  return f'~/logs/{task}/{name}/{values["seed"]}'
