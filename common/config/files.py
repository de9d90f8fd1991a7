"""Configurations as files: configs.yaml, and the config.yaml of a run."""
import functools
import os
import pathlib

from ruamel import yaml

from common.config.errors import UserError
from common.config.mapping import Config


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
    with temporary.open('w') as file:
      writer = _yaml()
      writer.default_flow_style = False
      writer.dump({**config, **(extra or {})}, file)
      file.flush()
      os.fsync(file.fileno())
    os.replace(temporary, path)
  except OSError:
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
    UserError: it is no YAML, or no mapping.
  """
  try:
    values = _yaml().load(text)
  except yaml.YAMLError as error:
    reason = ' '.join(str(error).split())
    raise UserError(f'{where}: cannot be read as YAML: {reason}') from None
  if not isinstance(values, dict):
    raise UserError(f'{where}: expected a YAML mapping of keys to values.')
  return values


def difference(old, new, keys):
  """Return the lines 'KEY: OLD there, NEW here' for those of the keys that differ."""
  return [
      f'{key}: {old.get(key)!r} there, {new.get(key)!r} here'
      for key in keys if old.get(key) != new.get(key)]


def configs_path():
  """Return configs.yaml: inside the package when installed, else at the top of the checkout."""
  here = pathlib.Path(__file__).resolve().parents[1]
  for path in (here / 'configs.yaml', here.parent / 'configs.yaml'):
    if path.exists():
      return path
  raise UserError(f'config: {here.parent / "configs.yaml"} is missing. Install the package again.')


@functools.cache
def blocks():
  """Blocks by name, read once: who loads many configs need not wait. Never change them."""
  return _read_yaml(configs_path())


def _read_yaml(path):
  try:
    text = pathlib.Path(path).read_text()
  except (OSError, UnicodeDecodeError) as error:
    raise UserError(f'{path}: cannot be read as YAML: {" ".join(str(error).split())}') from None
  return parse(text, path)


def _yaml():
  # The pure parser reads YAML 1.2 (1e-4 is a number) with or without the compiled extension.
  return yaml.YAML(typ='safe', pure=True)
