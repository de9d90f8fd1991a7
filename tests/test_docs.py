"""What the pages say holds: commands are accepted; what is named exists."""
import importlib
import importlib.util
import re
import shlex
import sys

import pytest

from common import config as config_lib
from common.envs import dmlab
from common.scores import curves
from common.study import task_groups
from pages import COMMANDS, GROUPS, PACKAGES, PAGES, ROOT, TEXT, blocks, keys, sweep, tables


@pytest.fixture
def worlds(tmp_path, monkeypatch):
  """What commands of the pages need to be there: the guide's module, and DeepMind Lab."""
  examples = re.findall(r'```python\n(.*?)```', TEXT['docs/environment.md'], re.DOTALL)
  (tmp_path / 'my_world.py').write_text('\n\n'.join(examples))
  monkeypatch.syspath_prepend(tmp_path)
  monkeypatch.setattr(dmlab, '_library', lambda: None)
  yield
  sys.modules.pop('my_world', None)


def test_the_pages_have_commands_for_every_agent():
  assert len(COMMANDS) > 80
  for agent in config_lib.AGENTS:
    assert any(f'python -m {agent}.train' in line for _, line in COMMANDS)


@pytest.mark.parametrize('page, line', [x for x in COMMANDS if '.train' in x[1]])
def test_a_training_command_is_accepted(worlds, page, line):
  module, *argv = shlex.split(line)[2:]
  config_lib.load(module.partition('.')[0], argv)


@pytest.mark.parametrize('page, line', [x for x in COMMANDS if 'common.sweep' in x[1]])
def test_every_run_of_a_sweep_is_accepted(page, line):
  agent, names, tasks, seeds, rest = sweep(shlex.split(line)[3:])
  assert seeds > 0
  for task in tasks:
    config_lib.load(
        agent, ['--configs', *names, '--task', GROUPS.get(task, (task, 1))[0], *rest])


def test_the_groups_of_tasks_are_those_of_the_sweep():
  found = task_groups.groups()
  assert {name: len(tasks) for name, tasks in found.items()} == {
      name: count for name, (_, count) in GROUPS.items()}
  assert all(task in found[name] for name, (task, _) in GROUPS.items())


def test_the_flags_of_ablations_are_accepted():
  flags = re.findall(r'^    (--.*?) +#', TEXT['docs/reproduce.md'], re.MULTILINE)
  assert len(flags) == 6
  for line in flags:
    config_lib.load('dreamer', ['--configs', 'atari', 'dreamerv2', *shlex.split(line)])


@pytest.mark.parametrize('page, line', [x for x in COMMANDS if '.train' not in x[1]])
def test_the_flags_of_a_command_are_in_its_help(capsys, page, line):
  module, *argv = shlex.split(line)[2:]
  part = argv[:1] if module in ('common.verify', 'common.benchmark') else []
  with pytest.raises(SystemExit) as stop:
    importlib.import_module(module).main([*part, '--help'])
  text = capsys.readouterr().out
  assert stop.value.code == 0
  known = keys() if module in ('common.benchmark', 'common.sweep') else set()
  for flag in re.findall(r'--(\w+)', ' '.join(argv)):
    assert f'--{flag}' in text or flag in known, flag


@pytest.mark.parametrize('page', TEXT)
def test_links_lead_to_files_and_headings(page):
  for target in re.findall(r'\]\(([^)\s]+)\)', TEXT[page]):
    if target.startswith('http'):
      continue
    name, _, anchor = target.partition('#')
    path = (ROOT / page).parent / name if name else ROOT / page
    assert path.exists(), target
    if anchor:
      slug = lambda title: re.sub(r'[^\w -]', '', title.lower()).replace(' ', '-')
      assert anchor in [slug(x) for x in re.findall(r'^#+ (.*)$', path.read_text(), re.M)], target


@pytest.mark.parametrize('page', TEXT)
def test_files_that_are_named_exist(page):
  folders = 'common|docs|results|tests|dreamer|planet|plan2explore'
  for name in re.findall(rf'(?<![\w/])((?:{folders})/[\w./-]+)', TEXT[page]):
    if page == 'docs/reference-map.md' and not (ROOT / name).exists():
      assert name in ('common/nets.py', 'common/replay.py'), name  # of danijar/dreamerv2
      continue
    assert (ROOT / name.rstrip('.')).exists() or name.startswith('results/AGENT'), name


@pytest.mark.parametrize('page', TEXT)
def test_functions_that_are_named_exist(page):
  for name in set(re.findall(rf'`((?:{"|".join(PACKAGES)})\.[\w.]+)[`(]', TEXT[page])):
    parts = name.split('.')
    module = next(
        '.'.join(parts[:n]) for n in range(len(parts), 0, -1)
        if importlib.util.find_spec(parts[0]) and _importable('.'.join(parts[:n])))
    found = importlib.import_module(module)
    for part in parts[module.count('.') + 1:]:
      assert hasattr(found, part), name
      found = getattr(found, part)


def _importable(name):
  try:
    return importlib.util.find_spec(name) is not None
  except ModuleNotFoundError:
    return False


@pytest.mark.parametrize('page', TEXT)
def test_options_that_are_given_a_value_exist(page):
  known = keys()
  for key in re.findall(r'`(\w+): [\w.-]+`', TEXT[page]):
    assert key in known, key


def test_what_differs_names_options_and_blocks_that_exist():
  known = keys() | blocks()
  for header, *rows in tables(TEXT['docs/differences.md']):
    assert header in (
        ['item', 'paper', 'published code', 'published results', 'here'], ['published code', 'here', 'why; option'])
    for row in rows:
      assert len(row) == len(header), row
      for name in re.findall(r'`(\w+)(?::[^`]*)?`', row[-1]):
        assert name in known or name == 'rooty', name


def test_the_index_lists_every_page_once():
  named = re.findall(r'^\| \[([\w-]+\.md)\]', TEXT['docs/README.md'], re.MULTILINE)
  assert sorted(named) == sorted(path.name for path in PAGES[1:] if path.name != 'README.md')


def test_metrics_that_are_explained_are_written_somewhere():
  code = '\n'.join(
      path.read_text() for package in PACKAGES for path in (ROOT / package).rglob('*.py'))
  seen = {name for path in curves.find([ROOT / 'results']) for name in curves.metrics(path)}
  names = set(re.findall(r'`((?:agent|train|eval|time)/\w+)`', TEXT['docs/metrics.md']))
  assert len(names) > 30
  for name in names - seen:
    last = re.escape(name.partition('/')[2].removesuffix('_loss'))
    assert re.search(rf"\b{last}(_loss)?=|'(\w+/)?{last}(_loss)?'", code), name


def test_the_metrics_that_are_explained_are_listed():
  listed = TEXT['docs/metrics.md'].split('## World model')[0]
  for name in re.findall(r'`(agent/(?:expl|ensemble)_\w+)`', TEXT['docs/metrics.md']):
    assert name in listed or re.sub(r'reward_\w+$', 'reward_*', name) in listed, name


def test_the_readme_is_short():
  assert len(TEXT['README.md'].splitlines()) <= 150


def test_imports_are_where_the_changelog_says():
  text = (ROOT / 'CHANGELOG.md').read_text()
  moved, renamed = [rows for header, *rows in tables(text) if header[-1] in ('now in', 'is')]
  for names, room in moved:
    for name in re.findall(r'`(\w+)`', names):
      path = ROOT / room.strip('`').replace('.', '/') / name
      assert path.is_dir() or path.with_suffix('.py').exists(), (room, name)
      assert not _importable(f'common.{name}'), name
  for old, new in renamed:
    for name in re.findall(r'`([\w.]+)`', new):
      assert _importable(name) or _function(name), name
    for name in re.findall(r'`([\w.]+)`', old):
      assert not callable(_function(name)), name
      assert name == 'common.config.usage' or not _importable(name), name  # a module by now


def _function(name):
  """What a name in a module stands for, None where there is no such module or name."""
  module, _, attribute = name.rpartition('.')
  return getattr(importlib.import_module(module), attribute, None) if _importable(module) else None


def test_pages_that_the_code_names_exist():
  for path in [ROOT / 'configs.yaml', *(ROOT / 'common').rglob('*.py')]:
    for name in re.findall(r'docs/[\w-]+\.md', path.read_text()):
      assert (ROOT / name).exists(), (path, name)
