"""Configuration: configs.yaml and the command line become one frozen, checked mapping.

Nothing here imports TensorFlow, so that a mistake is refused within a second or two and before
anything is created. The meaning and unit of every key stand in configs.yaml.
"""
import collections.abc
import difflib
import functools
import math
import os
import pathlib
import re
import sys

from ruamel import yaml

from common.options import (
    ACTION_REPEATS, AGENTS, CHOICES, FREE, OTHER_REPEAT, PATTERNS, RANGES, SUITES, UNUSED)


class UserError(Exception):
  """A mistake of the user, in one sentence: what happened, what was expected, what to type."""


class Config(collections.abc.Mapping):
  """Frozen mapping whose keys are attributes, too.

  Raises:
    AttributeError, KeyError: for an unknown name. Assignment raises AttributeError.
  """

  def __init__(self, values):
    object.__setattr__(self, '_values', dict(values))

  def __getitem__(self, key):
    return self._values[key]

  def __iter__(self):
    return iter(self._values)

  def __len__(self):
    return len(self._values)

  def __getattr__(self, name):
    if name.startswith('_'):  # also keeps copy and pickle from asking in circles
      raise AttributeError(name)
    try:
      return self._values[name]
    except KeyError:
      raise AttributeError(f'config has no key {name!r}. {nearest(name, self)}') from None

  def __setattr__(self, name, value):
    raise AttributeError(f'config is frozen: use config.replace({name}=...)')

  def __reduce__(self):
    return Config, (self._values,)

  def __repr__(self):
    return f'Config({self._values})'

  def replace(self, **values):
    """Return a copy with other values. The keys must exist already, or KeyError is raised."""
    unknown = sorted(set(values) - set(self._values))
    if unknown:
      raise KeyError(f'config has no key {unknown[0]!r}. {nearest(unknown[0], self)}')
    return Config({**self._values, **values})


def load(agent, argv=None):
  """Merge configs.yaml and the command line into the configuration of one agent.

  For each block (`defaults` first, then the names after --configs in order): its plain keys,
  its sub-block of the agent, its sub-block of the suite of the task. Flags come last. A key with
  characters of a regular expression stands for all keys that it matches.

  Args:
    agent: name of the agent, of AGENTS.
    argv: list of arguments without the program's name; None is sys.argv[1:].
  Returns:
    Config with every key of configs.yaml that the agent knows, and `agent`, `configs` (list).
  Raises:
    UserError: unknown block, key, suite or task; value of a wrong type or range; values that
      cannot work together.
    SystemExit: after --help.
  """
  assert agent in AGENTS, agent
  argv = sys.argv[1:] if argv is None else [str(arg) for arg in argv]
  blocks = _read_blocks(_configs_path())
  if '--help' in argv or '-h' in argv:
    print(usage(agent))
    sys.exit(0)
  flags = _parse_flags(argv)
  names = flags.pop('configs', [])
  for name in names:
    if name not in blocks or name == 'defaults':
      others = [block for block in blocks if block != 'defaults']
      raise UserError(f'config: unknown block {name!r}. {nearest(name, others)}')
    _check_owner(agent, name, blocks[name])
  for key in flags:
    if key in UNUSED.get(agent, ()):
      raise UserError(
          f'config: {key} means nothing to {agent}, which has no actor, value function or pcont.')
  values = _merge(agent, blocks, names, flags)
  values = {**values, 'agent': agent, 'configs': names}
  _settle_tasks(values)
  if values['logdir'] == 'auto':
    values['logdir'] = _default_logdir(values)
  values['logdir'] = os.path.expanduser(values['logdir'])
  config = Config(values)
  # Delayed because they import this file.
  from common import consistency
  from common import envs
  for task, _ in tasks(config):
    envs.check_task(task, config)
  envs.check_siblings(config.task, [name for name, _ in eval_tasks(config)[len(tasks(config)):]])
  consistency.check(config)
  return config


def defaults(agent):
  """Return a dict of all keys of an agent with their defaults, for what an older version wrote."""
  block = _read_blocks(_configs_path())['defaults']
  return {**_plain(block), **(block.get(agent) or {})}


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


def nearest(name, options):
  """Return the sentence that names the options closest to a mistyped name."""
  options = [str(option) for option in options]
  found = difflib.get_close_matches(str(name), options, 3, 0.5)
  if found:
    return f'Nearest: {", ".join(found)}.'
  more = ', ...' if len(options) > 12 else ''
  return f'Known: {", ".join(options[:12])}{more}.'


def entry(main):
  """Decorate the main function of a command: a UserError becomes one line and exit code 2.

  Ctrl-C becomes exit code 130. Other exceptions are our mistakes and keep their traceback.
  """
  @functools.wraps(main)
  def wrapper(argv=None):
    try:
      return main(argv)
    except UserError as error:
      print(error, file=sys.stderr)
      sys.exit(2)
    except KeyboardInterrupt:
      print('Interrupted.', file=sys.stderr)
      sys.exit(130)
  return wrapper


def save(config, path, extra=None):
  """Write the configuration as YAML, through a temporary name, so that no half file is left.

  Args:
    config: Config or mapping of plain values.
    path: file to write; its directory must exist.
    extra: further entries, such as the observation and action spaces in plain values.
  """
  path = pathlib.Path(path)
  temporary = path.with_name(f'.{path.name}.{os.getpid()}')
  with temporary.open('w') as file:
    writer = _yaml()
    writer.default_flow_style = False
    writer.dump({**config, **(extra or {})}, file)
    file.flush()
    os.fsync(file.fileno())
  os.replace(temporary, path)


def read(path):
  """Read what `save` wrote, the extra entries included. Raises UserError if that fails."""
  return Config(_read_yaml(path))


def difference(old, new, keys):
  """Return the lines 'KEY: OLD there, NEW here' for those of the keys that differ."""
  return [
      f'{key}: {old.get(key)!r} there, {new.get(key)!r} here'
      for key in keys if old.get(key) != new.get(key)]


def usage(agent):
  """Return the help text: usage, blocks and all keys with their comments from configs.yaml."""
  lines = _configs_path().read_text().splitlines()
  starts = [i for i, line in enumerate(lines) if re.match(r'\w+:', line)]
  blocks, keys = [], []
  for start, end in zip(starts, starts[1:] + [len(lines)]):
    name = lines[start].partition(':')[0]
    if name == 'defaults':
      keys = _lines_for(agent, lines[start + 1:end])
    else:
      comments = []
      while lines[start - 1].startswith('#'):
        start -= 1
        comments.insert(0, lines[start].strip('# '))
      blocks.append(f'  {name:<22}{" ".join(comments)}')
  while keys and (not keys[-1] or keys[-1].startswith('#')):
    keys.pop()  # the comment of the next block
  return '\n'.join([
      f'Usage: python -m {agent}.train --configs NAME [NAME ...] --task SUITE_TASK '
      '--logdir DIR --seed N --KEY VALUE ...', '',
      'Blocks for --configs, merged in order (debug and cpu last):', *blocks, '',
      'Keys with their defaults:', *keys])


def _settle_tasks(values):
  """Put numbers for action_repeat auto, and give a run of several tasks a name.

  `tasks` becomes TASK:REPEAT,... and action_repeat the least of them, by which episodes are
  longest.
  """
  repeat = values['action_repeat']
  of = lambda task: ACTION_REPEATS.get(task, OTHER_REPEAT) if repeat == 'auto' else repeat
  names = [name.strip() for name in values.get('tasks', '').split(',') if name.strip()]
  if names:
    suites = {suite(name) for name in names}
    if len(suites) > 1:
      raise UserError(f'config: tasks are of several suites ({", ".join(sorted(suites))}).')
    values['tasks'] = ','.join(f'{name}:{of(name)}' for name in names)
    values['task'] = f'{suites.pop()}_multitask'
  values['action_repeat'] = min(of(name) for name in names or [values['task']])


def _check_owner(agent, name, block):
  """Refuse a block that has sub-blocks of other agents only."""
  if all(key in AGENTS and key != agent for key in block):
    raise UserError(
        f'config: block {name!r} has nothing for {agent}, it is for {", ".join(block)}.')


def _merge(agent, blocks, names, flags):
  """Merge the blocks and flags in the order that `load` states."""
  chain = [(name, dict(blocks[name] or {})) for name in ['defaults'] + names]
  for name, block in chain:
    for key, value in block.items():
      if isinstance(value, dict) and key not in AGENTS + SUITES:
        raise UserError(
            f'config: unknown sub-block {key!r} in block {name!r}. {nearest(key, AGENTS + SUITES)}')
  defaults = {**_plain(chain[0][1]), **(chain[0][1].get(agent) or {})}
  own = [block.get('task') for _, block in chain]
  subs = [(block.get(agent) or {}).get('task') for _, block in chain]
  task = [x for pair in zip(own, subs) for x in pair if x][-1]
  part = suite(flags.get('task') or task)
  types = {**defaults, **(chain[0][1].get(part) or {})}
  values = {}
  for name, block in chain:
    layers = [(name, _plain(block)), (f'{name}.{agent}', block.get(agent) or {}),
              (f'{name}.{part}', block.get(part) or {})]
    for origin, layer in layers:
      for key, value in layer.items():
        for match in _matches(key, defaults, f'in block {origin!r}'):
          values[match] = _convert(match, value, types[match], f'in block {origin!r}')
  for key, value in flags.items():
    for match in _matches(key, defaults, 'on the command line'):
      if value is None and not isinstance(types[match], bool):
        raise UserError(f'config: --{key} needs a value: --{key} VALUE. See --help.')
      values[match] = value is None or _convert(
          match, value, types[match], 'on the command line')
  return values


def _plain(block):
  return {key: value for key, value in block.items() if not isinstance(value, dict)}


def _matches(key, known, where):
  """Return the known keys that a key means: itself, or all that its regular expression fits."""
  if key in known:
    return [key]
  if not re.fullmatch(r'[\w-]+', key):
    try:
      found = [name for name in known if re.fullmatch(key, name)]
    except re.error as error:
      raise UserError(f'config: key {key!r} {where} is no regular expression: {error}.') from None
    if found:
      return found
  raise UserError(
      f'config: unknown key {key!r} {where}. {nearest(key, known)} '
      'All keys with their meaning: configs.yaml or --help.')


def _convert(key, value, default, where):
  """Return the value in the type of its key, or raise UserError."""
  if isinstance(default, str) and value == default == 'auto':
    return value
  if key in CHOICES:
    for choice in CHOICES[key]:
      if str(value).lower() == str(choice).lower():
        return choice
    words = ', '.join(str(choice) for choice in CHOICES[key])
    raise _wrong(key, value, where, f'one of {words}', nearest(value, CHOICES[key]))
  if key in RANGES:
    return _number(key, value, default, where)
  if isinstance(default, bool):
    if str(value).lower() in ('true', 'false'):
      return str(value).lower() == 'true'
    raise _wrong(key, value, where, 'True or False', f'Default: {default}.')
  if not isinstance(value, str) or (key in FREE and default and not value):
    raise _wrong(key, value, where, 'a word', f'Default: {default}.')
  if key in PATTERNS:
    try:
      re.compile(value)
    except re.error as error:
      raise _wrong(key, value, where, f'a regular expression ({error})',
                   f'Default: {default!r}.') from None
  return value


def _number(key, value, default, where):
  low, high = RANGES[key]
  whole = isinstance(low, int)
  expected = 'a whole number' if whole else 'a number'
  expected += f' of at least {low:g}' if high is None else f' from {low:g} to {high:g}'
  if low == high:
    expected = f'{low:g}, the one that works'
  if default == 'auto':
    expected = f'auto or {expected}'
  default = int(default) if whole and default != 'auto' else default
  wrong = _wrong(key, value, where, expected, f'Default: {default}.')
  if isinstance(value, bool):
    raise wrong
  try:
    number = float(value)
  except (TypeError, ValueError):
    raise wrong from None
  if not math.isfinite(number) or (whole and number != int(number)):
    raise wrong
  if number < low or (high is not None and number > high):
    raise wrong
  return int(number) if whole else number


def _wrong(key, value, where, expected, hint):
  return UserError(f'config: {key} is {value!r} {where} but must be {expected}. {hint}')


def _default_logdir(values):
  task = values['task'].replace('/', '-')
  name = '-'.join([values['agent'], *values['configs']])
  return f'~/logs/{task}/{name}/{values["seed"]}'


def _parse_flags(argv):
  """Return {key: text or None without value}, `configs` as a list. The last of equals wins."""
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
      flags['configs'] = names
    elif equals:
      flags[key] = value
    elif args and not args[0].startswith('--'):
      flags[key] = args.pop(0)
    else:
      flags[key] = None
  return flags


def _lines_for(agent, lines):
  """Return the lines of `defaults` without the sub-blocks of other agents."""
  result, keep = [], True
  for line in lines:
    match = re.match(r'  (\w+):(\s*#.*)?$', line)
    if match:
      keep = match.group(1) not in AGENTS or match.group(1) == agent
      while not keep and result and result[-1].lstrip().startswith('#'):
        result.pop()  # what is said of it
    elif re.match(r'  \S', line):
      keep = True
    if keep:
      result.append(line)
  return result


def _configs_path():
  """Return configs.yaml: inside the package when installed, else at the top of the checkout."""
  here = pathlib.Path(__file__).resolve().parent
  for path in (here / 'configs.yaml', here.parent / 'configs.yaml'):
    if path.exists():
      return path
  raise UserError(f'config: {here.parent / "configs.yaml"} is missing. Install the package again.')


def _yaml():
  # The pure parser reads YAML 1.2 (1e-4 is a number) with or without the compiled extension.
  return yaml.YAML(typ='safe', pure=True)


@functools.cache
def _read_blocks(path):
  """Blocks by name, read once: who loads many configs need not wait. Never change them."""
  return _read_yaml(path)


def _read_yaml(path):
  try:
    values = _yaml().load(pathlib.Path(path))
  except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
    reason = ' '.join(str(error).split())
    raise UserError(f'{path}: cannot be read as YAML: {reason}') from None
  if not isinstance(values, dict):
    raise UserError(f'{path}: expected a YAML mapping of keys to values.')
  return values
