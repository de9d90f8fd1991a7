"""Rules of the house that a reader relies on: layers, names in documents, options that do something."""

import ast
import importlib
import pathlib
import re

import pytest

from common import config

ROOT = pathlib.Path(__file__).parents[1]

# Imports in common point down this list; commands stand above all.
LAYERS = [
    ['verify', 'evaluate', 'benchmark', 'doctor', 'check_env', 'report', 'sweep'],
    ['report_summary', 'report_task', 'report_aggregates'],
    ['report_parts', 'films'],
    ['page', 'comparison'],
    ['parity', 'benchmark_cases', 'sweep_view', 'task_groups', 'stored'],
    ['bands', 'exact', 'kernels'],
    ['run'],
    ['learner'],
    ['pictures', 'banner', 'view'],
    ['plot'],
    ['aggregate_chart', 'summary'],
    ['chart', 'results'],
    ['protocol'],
    ['references'],
    ['curves', 'published', 'aggregate'],
    ['checkpoint'],
    ['agent'],
    ['actor_critic', 'exploration'],
    ['world_model'],
    ['rssm', 'latents', 'overshooting', 'divergence', 'observations'],
    ['dynamics', 'cells'],
    ['stochastic', 'nets'],
    ['dists', 'images', 'optimizer', 'devices'],
    ['logdir', 'ray_jobs'],
    ['jobs'],
    ['dataset', 'interrupts', 'meters', 'sources', 'coverage'],
    ['replay'],
    ['episodes'],
    ['driver'],
    ['envs'],
    ['logger'],
    ['video'],
    ['consistency'],
    ['config'],
    ['schedules'],
    ['options', 'verdict'],
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}


def module_imports(path):
  """Modules that a file imports when it is itself imported."""
  names = set()
  for node in ast.parse(path.read_text()).body:
    if isinstance(node, ast.Import):
      names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      names.add(node.module)
      names |= {f'{node.module}.{alias.name}' for alias in node.names}
  return names


def files_of_common():
  return sorted(
      path for path in (ROOT / 'common').rglob('*.py') if path.name != '__init__.py' or
      path.parent.name != 'common')


@pytest.mark.parametrize('path', files_of_common(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_in_common_point_down(path):
  own = path.relative_to(ROOT / 'common').parts[0].removesuffix('.py')
  assert own in RANK, f'{own} has no place in the layers'
  for name in module_imports(path):
    parts = name.split('.')
    if parts[0] == 'common' and len(parts) > 1 and parts[1] in RANK and parts[1] != own:
      assert RANK[parts[1]] > RANK[own], (own, name)
    assert parts[0] not in config.AGENTS, (own, name)


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
      if path.name not in ('config.py', 'options.py') and 'parity' not in str(path)}
  code = '\n'.join(sources.values())
  for key in {key for agent in config.AGENTS for key in config.load(agent, [])}:
    if key in ('configs', 'agent'):
      continue
    key = {'zero_shot_tasks': 'eval_tasks'}.get(key, key)
    reads = rf'config\.{key}\b|\bc\.{key}\b|config_lib\.{key}\(|[\'"]{key}[\'"]'
    assert re.search(reads, code), key


def test_every_option_that_the_readme_names_exists():
  text = (ROOT / 'README.md').read_text()
  known = {key for agent in config.AGENTS for key in config.load(agent, [])}
  for key in re.findall(r'`(\w+): [\w.-]+`', text):
    assert key in known, key
