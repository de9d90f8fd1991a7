"""Reading many episode files at once, and what their episodes have in common."""
import collections
import concurrent.futures
import os
import zipfile

from common.data import episodes as files
from common.data import foreign


def scan(directory, warn):
  """What a directory of episodes holds by the names of its files; nothing is read.

  Args:
    directory: pathlib.Path.
    warn: function of a sentence, for files that are no episodes or the same as another.
  Returns:
    ({(k, e): rows}, [(k, e, rows) of truncated ones]).
  """
  for path in files.strangers(directory):
    warn(f'{path}: not an episode by its name. Skipped; move it to silence this.')
  found = {(k, e): rows for k, e, rows in files.pruned(directory)}
  truncated = []
  for path, (k, e, rows) in files.named(directory):
    if (k, e) in found:
      warn(f'{path}: another file is the same episode. Skipped; move it to silence this.')
    elif os.path.isfile(path) and zipfile.is_zipfile(path):  # the index at the end is missing from a truncated file
      found[k, e] = rows
    else:
      truncated.append((k, e, rows))
  return found, truncated


class Reader:
  """Reads episodes on threads, and says once what was done with foreign ones.

  Args:
    directory: pathlib.Path of the files.
    spaces: dict of name to Box that the agent sees; empty where nobody looks.
    warn: function of a sentence.
  """

  def __init__(self, directory, spaces, warn):
    self._directory, self._spaces, self._warn = directory, spaces, warn
    self._said = set()

  def __call__(self, names):
    """List of (arrays, what is wrong) of the episodes called (k, e, rows)."""
    paths = [self._directory / files.name(*name) for name in names]
    with concurrent.futures.ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
      found = list(pool.map(files.read, paths, [rows for _, _, rows in names]))
    if self._spaces:
      found = [self._understood(path, *result) for path, result in zip(paths, found)]
    return found

  def _understood(self, path, data, problem):
    if problem:
      return data, problem
    data, notes, problem = foreign.understand(data, self._spaces)
    for note in notes:
      if note not in self._said:
        self._said.add(note)
        self._warn(f'{path}: {note}. Others of its kind are treated alike.')
    return data, problem


def agreeing(episodes):
  """Split episodes by whether they have the most common keys and shapes; of equals, the newest.

  Args:
    episodes: list of objects with `data`, a dict of arrays; not empty.
  Returns:
    (forms, kept, others): {key: shape without rows}, episodes, and pairs of (episode, why not).
  """
  forms = [tuple(sorted(files.forms(x.data).items())) for x in episodes]
  most = collections.Counter(reversed(forms)).most_common(1)[0][0]
  kept = [x for x, form in zip(episodes, forms) if form == most]
  others = [
      (x, f'{files.describe(dict(form))}, most have {files.describe(dict(most))}')
      for x, form in zip(episodes, forms) if form != most]
  return dict(most), kept, others
