"""The pages of the documentation as tests read them: commands, tables, words."""
import pathlib
import re

from ruamel import yaml

from common import config as config_lib

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
TEXT = {str(path.relative_to(ROOT)): path.read_text() for path in PAGES}
PACKAGES = ('common', 'dreamer', 'planet', 'plan2explore')

# A task for each group that the sweep knows, and how many the group has.
GROUPS = {
    'dmc20': ('dmc_walker_walk', 20), 'plan2explore20': ('dmc_walker_walk', 20),
    'planet6': ('dmc_cheetah_run', 6), 'dmc_early': ('dmc_walker_walk', 7),
    'atari26': ('atari_pong', 26), 'atari55': ('atari_pong', 55)}


def commands(text):
  """Commands `python -m ...` of a page, without those that leave something out."""
  found = re.findall(r'^ {4,}(python -m .*?)(?:  +#.*| # .*)?$', text, re.MULTILINE)
  found += re.findall(r'`(python -m [^`]*)`', text)
  return [line for line in found if '...' not in line and '{' not in line and 'SUITE_' not in line]


COMMANDS = [(page, line) for page, text in TEXT.items() for line in commands(text)]


def tables(text):
  """Tables of a page as lists of rows of cells, the header first."""
  found = re.findall(r'(?:^\|.*\n)+', text, re.MULTILINE)
  outside_of_code = r'\|(?=(?:[^`]*`[^`]*`)*[^`]*$)'
  cells = lambda line: [cell.strip() for cell in re.split(outside_of_code, line)[1:-1]]
  return [[cells(line) for line in table.splitlines() if set(line) - set('|-: ')]
          for table in found]


def table(page, column):
  """Rows as dicts of the table of a page that has a column."""
  for header, *rows in tables(TEXT[page]):
    if column in header:
      return [dict(zip(header, row, strict=True)) for row in rows]
  raise AssertionError(f'{page} has no table with {column}')


def sweep(words):
  """(agent, blocks, tasks, seeds, further flags) of the arguments of common.sweep."""
  found, rest = {}, []
  while words:
    key = words.pop(0)
    values = []
    while words and not words[0].startswith('--'):
      values.append(words.pop(0))
    if key[2:] in ('agent', 'configs', 'tasks', 'seeds', 'logdir', 'jobs', 'ray'):
      found[key[2:]] = values
    else:
      rest += [key, *values]
  return found['agent'][0], found['configs'], found['tasks'], int(found['seeds'][0]), rest


def keys():
  """All options of all agents."""
  return {key for agent in config_lib.AGENTS for key in config_lib.load(agent, [])}


def blocks():
  """Names of the blocks of configs.yaml."""
  return set(yaml.YAML(typ='safe').load((ROOT / 'configs.yaml').read_text()))
