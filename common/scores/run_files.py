"""Files of runs as they lie on disk: found, and read with what a kill or a copy has left of them."""
import functools
import json
import os
import pathlib
import re

from common import config as config_lib
from common.config import UserError
from common.config.options import FREE_TO_CHANGE

# Keys that may differ between runs that are averaged.
FREE = ('seed', 'obs_space', 'act_space', *FREE_TO_CHANGE)

# Lines of config.yaml in which the runs of a study differ.
OWN_LINES = re.compile(r'^(?:seed|task|logdir):.*\n?(?:[ \t].*\n?)*', re.MULTILINE)

# Folders of a run that hold no further runs.
OWN_FOLDERS = ('episodes', 'episodes_aside', 'checkpoint', 'pictures', 'wandb', 'mlruns')

# Keys of numbers that curves and reports reckon with.
NUMBERS = ('seed', 'steps', 'time_limit', 'eval_episodes', 'expl_until')

LATEST = 2.0 ** 53   # frames up to which float64 counts


def below(path):
  """The directories of runs in a folder: it itself, and those within others but for their exports."""
  seen, found = set(), []  # of folders, which may link to each other
  for folder, folders, files in os.walk(path, followlinks=True):
    folders.sort()
    real = os.path.realpath(folder)
    if real in seen:
      folders.clear()
      continue
    seen.add(real)
    if {'metrics.jsonl', 'config.yaml'} <= set(files) and os.path.exists(f'{folder}/metrics.jsonl'):
      path, export = pathlib.Path(folder), 'weights.npz' in files and 'checkpoint' not in folders
      folders[:] = [name for name in folders if name not in OWN_FOLDERS]  # thousands of episodes
      if not (export and any(run in path.parents for run in found)):
        found.append(path)
        yield path


def config(path):
  """Config of a run. What many runs share is parsed once, as YAML takes longer than metrics."""
  try:
    text = path.read_text(encoding='utf-8')
    values = [_parse(part) for part in (OWN_LINES.sub('', text), ''.join(OWN_LINES.findall(text)))]
  except (OSError, ValueError, UserError):
    return config_lib.read(path)  # whole, for its message
  return config_lib.Config({**values[0], **values[1]})


@functools.lru_cache(64)
def later_keys(agent, task):
  """Defaults of the keys that shape a run, {} for agents of others."""
  if agent not in config_lib.AGENTS:
    return {}
  values = config_lib.preset(agent, [], task)
  return {key: value for key, value in values.items() if key not in FREE}


def check_types(path, config):
  """Refuse a Config whose values, which tell runs apart and set the bins, are not what `load` gives."""
  blocks = config.configs
  sound = {
      'agent': isinstance(config.agent, str), 'task': isinstance(config.task, str),
      'configs': isinstance(blocks, list) and all(isinstance(name, str) for name in blocks),
      'eval_every': is_number(config.eval_every, 1, LATEST),
      **{key: is_number(config[key], 0, LATEST) for key in NUMBERS if key in config}}
  for key, fine in sound.items():
    if not fine:
      raise UserError(
          f'{path}: its config.yaml is not one of ours: {key} is {config[key]!r}. Copy the file from '
          'where the metrics come from.')


@functools.lru_cache(64)
def _parse(text):
  return config_lib.parse(text, 'config.yaml')


def rows(path, key):
  """Rows of the lines that contain the bytes: parsing all takes seconds for a long run."""
  try:
    with path.open('rb') as file:
      for line in file:
        row = _row(line) if key in line else None
        if isinstance(row, dict):
          yield row
  except FileNotFoundError:
    return
  except OSError as error:
    raise UserError(f'{path}: cannot be read ({error.strerror}).') from None


def _row(line):
  """What a line of JSON holds, or None."""
  try:
    return json.loads(line)
  except (ValueError, RecursionError):  # torn by a kill, or still being written
    return None


def is_number(value, low, high):
  """Whether something is a number from low to high, as JSON has them."""
  return type(value) in (int, float) and low <= value <= high  # NaN is not, and no integer too long
