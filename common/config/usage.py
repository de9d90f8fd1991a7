"""The text of --help, made of configs.yaml and its comments."""
import re

from common.config import files
from common.config.options import AGENTS, UNUSED


def describe(agent):
  """Return the help text: usage, blocks and all keys with their comments from configs.yaml."""
  lines = files.configs_path().read_text(encoding='utf-8').splitlines()
  starts = [i for i, line in enumerate(lines) if re.match(r'\w+:', line)]
  blocks, keys = [], []
  for start, end in zip(starts, starts[1:] + [len(lines)]):
    name = lines[start].partition(':')[0]
    if name == 'defaults':
      keys = _lines_for(agent, lines[start + 1:end])
    else:
      comments = []
      while start and lines[start - 1].startswith('#'):
        start -= 1
        comments.insert(0, lines[start].strip('# '))
      blocks.append(f'  {name:<22}{" ".join(comments)}')
  while keys and (not keys[-1] or keys[-1].startswith('#')):
    keys.pop()  # the comment of the next block
  return '\n'.join([
      f'Usage: python -m {agent}.train --configs NAME [NAME ...] --task SUITE_TASK '
      '--logdir DIR --seed N --KEY VALUE ...', '',
      'Blocks for --configs, merged in order (debug and cpu last):', *blocks, '',
      f'Keys with their defaults (what stands below {agent}: comes after them):', *keys])


def _lines_for(agent, lines):
  """Return the lines of `defaults` without the sub-blocks of other agents and keys unknown to it."""
  result, keep = [], True
  for line in lines:
    match = re.match(r'  (\w+):(\s*#.*)?$', line)
    if match:
      keep = match.group(1) not in AGENTS or match.group(1) == agent
      while not keep and result and result[-1].lstrip().startswith('#'):
        result.pop()  # what is said of it
    elif re.match(r'  \S', line):
      keep = line.partition(':')[0].strip() not in UNUSED.get(agent, ())
    if line.startswith('  # ') and result and result[-1].startswith('  # '):
      result.pop()  # a heading under which no key is left
    if keep:
      result.append(line)
  return result
