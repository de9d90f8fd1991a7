"""Rules of the house that a reader relies on: rooms, names in documents, options that do something."""
import ast
import functools
import importlib
import pathlib
import re

import pytest

from common import config

ROOT = pathlib.Path(__file__).parents[1]
PACKAGES = ('common', *config.AGENTS)

# Imports go down this list. The doors are the commands, `python -m common.NAME`.
ROOMS = [
    'doors', 'checks', 'bench', 'study', 'loop', 'agent', 'data', 'model', 'envs', 'scores',
    'config']
DOORS = (
    'benchmark', 'check_env', 'doctor', 'evaluate', 'export', 'plot', 'report', 'sweep', 'verify')
LONGEST = 340       # lines of a file
LONGEST_DOOR = 130  # lines of a command
MOST = 14           # files directly in common/

FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob('*.py'))
NAMED = pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(ROOT)))


def module(path):
  """Return the dotted name under which a file is imported."""
  parts = path.relative_to(ROOT).with_suffix('').parts
  return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


MODULES = {module(path): path for path in FILES}


@functools.cache
def imports(path):
  """Return the set of our modules that a file imports, anywhere in it.

  A name that a package takes from a file of its own counts as the package: `from common import
  config` is common.config, and `from common.envs import dmc` is common.envs.dmc.
  """
  found = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      for alias in node.names:
        name = f'{node.module}.{alias.name}'
        found.add(name if name in MODULES else node.module)
  return {name for name in found if name in MODULES} - {'common'}


def room(name):
  """Return the room of a module of `common`."""
  second = name.split('.')[1]
  return 'doors' if second in DOORS else second


@NAMED
def test_imports_go_down_from_room_to_room(path):
  own = module(path)
  packages = {name.split('.')[0] for name in imports(path)}
  if own == 'common':  # its `load` is for users, who are above all rooms
    return
  assert packages <= {'common', own.split('.')[0]}, 'agents know common, and nothing knows them'
  if own.startswith('common.'):
    assert room(own) in ROOMS, f'{own} is in no room'
    for name in imports(path):
      assert ROOMS.index(room(name)) >= ROOMS.index(room(own)), (own, name)
      assert room(name) != 'doors', (own, name)


def test_no_file_imports_another_in_a_circle():
  # Files are taken away as long as one imports none of those that are left.
  left = {name: imports(path) - {name} for name, path in MODULES.items()}
  while free := {name for name, others in left.items() if not others & set(left)}:
    left = {name: others for name, others in left.items() if name not in free}
  assert not left, f'circles among {sorted(left)}'


@NAMED
def test_files_are_short(path):
  lines = len(path.read_text().splitlines())
  door = path.parent == ROOT / 'common' and path.stem in DOORS
  assert lines <= (LONGEST_DOOR if door else LONGEST), lines


@NAMED
def test_what_is_cited_can_be_read(path):
  text = path.read_text()
  assert not re.search(r'(?i)\bspecification|\bspec (section|quirk)', text)
  assert all((ROOT / page).is_file() for page in re.findall(r'docs/[\w-]+\.md', text))


def test_few_files_are_directly_in_common():
  assert len(list((ROOT / 'common').glob('*.py'))) <= MOST


def test_the_readme_has_the_rooms_in_their_order_with_the_sentence_over_each_door():
  section = (ROOT / 'README.md').read_text().split('## The house')[1]
  lines = re.findall(r'^\s+([a-z]+)(?:/|\.py)? {2,}(\S.*)$', section, re.M)
  told = [(name, text) for name, text in lines if name in ROOMS]
  assert [name for name, _ in told] == [name for name in ROOMS if name != 'doors']
  for name, text in told:
    init = ROOT / 'common' / name / '__init__.py'
    if init.exists():
      assert ast.get_docstring(ast.parse(init.read_text())).splitlines()[0] == text, name


def test_the_reference_map_names_only_what_exists():
  text = (ROOT / 'docs' / 'reference-map.md').read_text()
  names = set(re.findall(r'`((?:common|dreamer|planet)\.[\w.]+)`', text))
  assert len(names) > 30
  for name in names:
    parts = name.split('.')
    for split in range(len(parts), 0, -1):
      try:
        found = importlib.import_module('.'.join(parts[:split]))
        break
      except ModuleNotFoundError:
        continue
    for part in parts[split:]:
      assert hasattr(found, part), name
      found = getattr(found, part)


def test_every_key_of_the_config_is_read_somewhere():
  sources = {
      path: path.read_text() for package in ('common', *config.AGENTS)
      for path in (ROOT / package).rglob('*.py')
      if 'parity' not in str(path) and (
          path.parent.name != 'config' or path.name == 'consistency.py')}
  code = '\n'.join(sources.values())
  for key in {key for agent in config.AGENTS for key in config.load(agent, [])}:
    if key in ('configs', 'agent'):
      continue
    key = {'zero_shot_tasks': 'eval_tasks'}.get(key, key)
    reads = rf'config\.{key}\b|\bc\.{key}\b|config_lib\.{key}\(|[\'"]{key}[\'"]'
    assert re.search(reads, code), key
