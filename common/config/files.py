"""Configurations as files: configs.yaml, and the config.yaml of a run."""
import contextlib
import functools
import os
import pathlib
import re

from ruamel import yaml

from common.config.errors import UserError
from common.config.mapping import Config
from common.config.options import AGENTS, PATHS, SUITES

LARGEST = 100_000  # values and keys of a file, what aliases repeat included


def save(config, path, extra=None):
  """Write the configuration as YAML, through a temporary name, so that no half file is left.

  Args:
    config: Config or mapping of plain values.
    path: file to write; its directory must exist.
    extra: further entries, such as the observation and action spaces in plain values.
  """
  path = pathlib.Path(path)
  temporary = path.with_name(f'.{path.name}.{os.getpid()}')
  try:
    with temporary.open('w', encoding='utf-8') as file:
      writer = _yaml()
      writer.default_flow_style = False
      writer.dump({**config, **(extra or {})}, file)
      file.flush()
      os.fsync(file.fileno())
    os.replace(temporary, path)
  except BaseException:
    with contextlib.suppress(OSError):
      temporary.unlink(missing_ok=True)
    raise


def read(path):
  """Read what `save` wrote, the extra entries included. Raises UserError if that fails."""
  return Config(_read_yaml(path))


def parse(text, where):
  """Return the mapping that a YAML text holds as a dict.

  Args:
    text: of a file like that which `save` writes, or of some whole lines of it.
    where: what an error names.
  Raises:
    UserError: it is no YAML, no mapping of words to values, or larger than LARGEST.
  """
  try:
    values = _yaml().load(text)
  except Exception as error:  # YAMLError, and for tags, dates and depth whatever Python raises
    reason = ' '.join(str(error).split()) or type(error).__name__
    raise UserError(f'{where}: cannot be read as YAML: {reason}') from None
  if not isinstance(values, dict):
    raise UserError(f'{where}: expected a YAML mapping of keys to values.')
  _check_words(values, where)
  _check_size(values, where)
  return values


@contextlib.contextmanager
def replacing(path):
  """Yield the path of a file to write, which then takes the place of that at `path`, whole or not at all.

  Raises:
    UserError: the system refuses.
  """
  path = pathlib.Path(path)
  temporary = path.with_name(f'.{path.name}.{os.getpid()}')
  try:
    yield temporary
    os.replace(temporary, path)
  except OSError as error:
    raise UserError(f'{path}: cannot be written ({error.strerror}).') from None
  finally:
    with contextlib.suppress(OSError):  # or it would hide what is told
      temporary.unlink(missing_ok=True)


def difference(old, new, keys):
  """Return the lines 'KEY: OLD there, NEW here' for those of the keys that differ."""
  same = lambda key, value: os.path.expanduser(value) if key in PATHS and value else value
  return [
      f'{key}: {old.get(key)!r} there, {new.get(key)!r} here'
      for key in keys if same(key, old.get(key)) != same(key, new.get(key))]


def configs_path():
  """Return configs.yaml: inside the package when installed, else at the top of the checkout."""
  here = pathlib.Path(__file__).resolve().parents[1]
  for path in (here / 'configs.yaml', here.parent / 'configs.yaml'):
    if path.exists():
      return path
  raise UserError(f'config: {here.parent / "configs.yaml"} is missing. Install the package again.')


@functools.cache
def blocks():
  """{name: block}, read once: who loads many configs need not wait. Never change them.

  A block is a dict of values, and of dicts under the names of agents, suites and other blocks.

  Raises:
    UserError: configs.yaml is missing, cannot be read or holds something else.
  """
  path = configs_path()
  found = {name: _block(block, f'{path}: block {name!r}') for name, block in _read_yaml(path).items()}
  if 'defaults' not in found:
    raise UserError(f'{path}: has no block \'defaults\'. Put it back, or install the package again.')
  return found


def expand(path, key=''):
  """Return a path as pathlib.Path, with ~ replaced by the home directory.

  Raises:
    UserError: there is none, or none of that user. It names the key of the configuration, if given.
  """
  named = f'{key} {path}' if key else str(path)
  if re.match(r'[A-Za-z]\w+://', str(path)):
    raise UserError(f'{named}: is an address, where only files of this machine can be read and written.')
  try:
    return pathlib.Path(path).expanduser()
  except (RuntimeError, ValueError):
    shown = ' '.join(ascii(str(path))[1:-1].split())
    raise UserError(
        f'{"config: " if key else ""}{shown} cannot be a {f"--{key}" if key else "path"}: this system '
        'knows no home directory (is HOME set?). Pass one that begins with /.') from None


def _read_yaml(path):
  try:
    text = pathlib.Path(path).read_text(encoding='utf-8')
  except (OSError, UnicodeDecodeError) as error:
    raise UserError(f'{path}: cannot be read as YAML: {" ".join(str(error).split())}') from None
  return parse(text, path)


def _block(block, where):
  """Return a block of configs.yaml as dict, what is left empty as {}."""
  block = _mapping(block, where)
  return {
      key: _mapping(value, f'{where}: {key}')
      if key in AGENTS + SUITES or isinstance(value, dict) else value
      for key, value in block.items()}


def _mapping(value, where):
  if value is None:
    return {}
  if not isinstance(value, dict):
    raise UserError(f'{where} is {value!r}, expected a mapping of keys to values.')
  _check_words(value, where)
  return value


def _check_words(values, where):
  odd = [key for key in values if not isinstance(key, str)]
  if odd:
    raise UserError(f'{where}: the key {odd[0]!r} is no word. Put it in quotes, or correct it.')


def _check_size(values, where):
  """Refuse what is large, such as a few lines of aliases that stand for 10^9 values, or for themselves."""
  left, count = [values], 0
  while left:
    value = left.pop()
    if isinstance(value, dict):
      left += value.values()
    elif isinstance(value, (list, tuple, set)):
      left += value
    count += 1
    if count + len(left) > LARGEST:
      raise UserError(f'{where}: holds more than {LARGEST} values. Expected a configuration.')


def _yaml():
  # The pure parser reads YAML 1.2 (1e-4 is a number) with or without the compiled extension.
  return yaml.YAML(typ='safe', pure=True)
