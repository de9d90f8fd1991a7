"""Stored metrics: what runs have measured, kept in the package, for later runs to be compared with.

A reference is a JSON file with `kind`, `agent`, `task`, `config` (the settings that count), where
it comes from (`runs`: command, commit and versions of each) and values. The kinds are

  exact     short runs, whose every row has to come again: see common.checks.exact
  learning  learning runs, whose curves have to be reached within what seeds explain: common.checks.bands
"""
import hashlib
import json
import pathlib
import re

from common import config as config_lib
from common.checks import bands
from common.checks import exact
from common.config import UserError
from common.config.options import FREE_TO_CHANGE
from common.scores import curves

FOLDER = pathlib.Path(__file__).resolve().parent / 'reference_runs'
KINDS = {'exact': exact, 'learning': bands}
KEYS = {'exact': ('config', 'metrics', 'early'), 'learning': ('config', 'frames', 'seeds')}

# Settings that may differ. Those of a short run all count that could change a number in it: XLA
# draws other random numbers.
FREE = {
    'exact': ('configs', 'logdir', 'offline', 'quiet', 'parallel', 'track', 'obs_space', 'act_space'),
    'learning': ('seed', 'offline', 'obs_space', 'act_space', *FREE_TO_CHANGE)}


def names():
  """Return the sorted names of the references in the package."""
  return sorted(path.stem for path in FOLDER.glob('*.json'))


def load(name):
  """Read a reference.

  Args:
    name: one of `names()`, or the path of a file that ends in .json.
  Returns:
    Dict as in the file, with `name`.
  Raises:
    UserError: there is no such reference, or the file holds something else.
  """
  path = _path(name)
  if not path.is_file():
    if str(name).endswith('.json'):
      raise UserError(f'verify: there is no file {name}.')
    hint = config_lib.nearest(name, names())
    if not hint.startswith('Nearest'):
      hint = f'Known: {", ".join(names()) or "none"}, or a FILE.json.'
    raise UserError(f'verify: no stored metrics {name!r}. {hint}')
  try:
    reference = json.loads(path.read_text())
    known = reference['config']['agent'] in config_lib.AGENTS and all(
        reference[key] or reference[key] == 0 for key in KEYS[reference['kind']])
  except (OSError, ValueError, TypeError, KeyError):
    known = False
  if not known:
    raise UserError(f'{path}: holds no stored metrics. Make some: python -m common.verify store.')
  return {'name': str(name), **reference}


def store(path, name, kind):
  """Write the reference that the runs below a directory make together.

  Args:
    path: directory of a run, or of several with the same settings.
    name: as `load` takes it. A reference of that name is replaced.
    kind: exact or learning.
  Returns:
    (pathlib.Path of the file, the reference).
  Raises:
    UserError: there is no run, runs differ in their settings or are not finished, or the file
      cannot be written.
  """
  target = _path(name)
  runs = _runs(path, kind)
  configs = [_settings(run, kind) for run in runs]
  for run, config in zip(runs, configs):
    lines = _difference(configs[0], config, kind)
    if lines:
      raise UserError(
          f'{run}: has other settings than {runs[0]} ({"; ".join(lines)}). Store runs together '
          'that differ in nothing but their seeds or, with --exact, their kernels.')
  reference = {
      'kind': kind, 'agent': configs[0]['agent'], 'task': configs[0]['task'], 'config': configs[0],
      'runs': [_provenance(run) for run in runs],
      **_episodes(runs[0], kind), **KINDS[kind].summarise(runs)}
  _write(target, reference)
  return target, reference


def compare(path, name):
  """Compare the runs below a directory with a reference.

  Args:
    path: directory of a run, or of several with the same settings.
    name: as `load` takes it.
  Returns:
    (ok, lines): whether nothing has become worse (learning) or other (exact), and text for people.
  Raises:
    UserError: no such reference or run; other settings, with the difference; a run that has not
      come to the end of what is stored.
  """
  reference = load(name)
  kind = reference['kind']
  runs = _runs(path, kind)
  for run in runs:
    lines = _difference(reference['config'], _settings(run, kind), kind)
    episodes = _episodes(run, kind).get('episodes')
    if not lines and episodes != reference.get('episodes'):
      lines = ['the episodes that it learns from are others']
    if lines:
      raise UserError(
          f'{run}: has other settings than {reference["name"]} ({"; ".join(lines)}). '
          'Compare runs of the same settings.')
  return KINDS[kind].compare(reference, runs)


def _runs(path, kind):
  """Directories of the finished runs below a directory."""
  runs = curves.find([path])
  for run in runs:
    if _read_json(run / 'run.json').get('finished_at') is None:
      raise UserError(f'{run}: is not finished. Let it come to its end: start its command again.')
  return runs


def _settings(run, kind):
  """Dict of the settings of a run that count."""
  config = config_lib.read(run / 'config.yaml')
  if config.get('agent') not in config_lib.AGENTS:
    raise UserError(f'{run}: its config.yaml names no agent. Pass the --logdir of a run.')
  settings = {key: config[key] for key in sorted(config) if key not in FREE[kind]}
  # Where the episodes of another run are may differ, but not whether a run collects.
  return {**settings, 'offline': True} if kind == 'learning' and config.get('offline') else settings


def _difference(old, new, kind):
  """Lines on the settings that differ. Those that a version did not know were as then."""
  if old['agent'] != new['agent']:
    return config_lib.difference(old, new, ['agent'])
  old, new = config_lib.filled(old), config_lib.filled(new)
  keys = sorted((set(old) & set(new)) - set(FREE[kind]))
  kinds = ['offline' if config.get('offline') else 'collecting' for config in (old, new)]
  return config_lib.difference(old, new, keys) + (
      [] if kinds[0] == kinds[1] else [f'{kinds[0]} there, {kinds[1]} here'])


def _episodes(run, kind):
  """Of exact runs, a digest of the episodes that they learn from, which must be the same ones."""
  if kind != 'exact':
    return {}
  source = config_lib.read(run / 'config.yaml').get('offline')
  if not source:
    raise UserError(
        f'{run}: collects episodes of its own, so its rows cannot be compared one by one. Make '
        'exact runs with --offline DIR.')
  files = sorted((config_lib.expand(source) / 'episodes').glob('*.npz'))
  if not files:
    raise UserError(
        f'{run}: learned from {source}, which is not there. Start the command where it is.')
  digest = hashlib.sha256()
  for file in files:
    digest.update(file.name.encode() + file.read_bytes())
  return {'episodes': digest.hexdigest()}


def _provenance(run):
  """What run.json tells of a run, and its name."""
  known = _read_json(run / 'run.json')
  return {'name': run.name, **{key: known.get(key) for key in ('command', 'commit', 'versions')}}


def _read_json(path):
  try:
    found = json.loads(path.read_text())
  except (OSError, ValueError):
    return {}
  return found if isinstance(found, dict) else {}


def _path(name):
  """File of a reference: a path if it ends in .json, else in the package."""
  if str(name).endswith('.json'):
    return config_lib.expand(name)
  if not re.fullmatch(r'[\w.-]+', str(name)):
    raise UserError(
        f'verify: {name!r} is no name of stored metrics. Pass letters, digits, "-" and "_", or the '
        'path of a file that ends in .json.')
  return FOLDER / f'{name}.json'


def _write(path, reference):
  """Write JSON with a line for each entry of the first two levels, so that changes can be read."""
  lines = []
  for key, value in reference.items():
    text = json.dumps(value)
    if key in ('metrics', 'runs'):
      pairs = value.items() if isinstance(value, dict) else [(None, part) for part in value]
      rows = [
          ('' if name is None else f'{json.dumps(name)}: ') + json.dumps(part)
          for name, part in pairs]
      text = '{}\n{}\n{}'.format(text[0], ',\n'.join(rows), text[-1])
    lines.append(f'{json.dumps(key)}: {text}')
  with config_lib.replacing(path) as temporary:
    temporary.write_text('{{\n{}\n}}\n'.format(',\n'.join(lines)))
