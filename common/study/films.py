"""The newest films of runs, as many as fit into a page."""
import io
import os
import pathlib
import re
from typing import NamedTuple

from PIL import Image

from common import config as config_lib

# Kinds in DIR/pictures, the most telling first.
KINDS = {
    'eval': 'Evaluation episode',
    'open_loop': 'Truth, prediction from five pictures, error',
    'dream': 'Dreams under its own actions'}

NAME = re.compile(rf'({"|".join(KINDS)})_(.+)-(\d{{9,}})\.gif')


class Film(NamedTuple):
  """An animation of a run."""
  path: pathlib.Path
  kind: str    # of KINDS
  key: str     # the observation
  frames: int  # of the run, when it was made
  size: int    # bytes in the page


def newest(logdir):
  """Return the newest Film of each kind and observation that can be shown, by kind."""
  found = {}
  folder = pathlib.Path(logdir) / 'pictures'
  there = os.path.isdir(folder) and os.access(folder, os.R_OK | os.X_OK)
  for path in sorted(folder.iterdir()) if there else ():
    match = NAME.fullmatch(path.name)
    if match and _can_be_shown(path):
      kind, key, frames = match.groups()
      size = -(-path.stat().st_size // 3) * 4  # in base64
      film = Film(path, kind, key, int(frames), size)
      found[kind, key] = max(found.get((kind, key), film), film, key=lambda each: each.frames)
  return sorted(found.values(), key=lambda film: (list(KINDS).index(film.kind), film.key))


def _can_be_shown(path):
  """Whether a film is one: copying it may have been interrupted."""
  try:
    with Image.open(path):
      return path.read_bytes().endswith(b';')  # as a whole GIF does
  except (OSError, ValueError, Image.DecompressionBombError):  # PIL's others are among them
    return False


def belong(entry):
  """Whether films of an entry's runs show its task: they are those of the first."""
  return config_lib.eval_tasks(entry.runs[0].config)[0][0] == entry.task


def choose(entries, limit):
  """Choose what fits: of every group one run's films of one kind before the next kind, then run.

  Args:
    entries: list of comparison.Entry.
    limit: bytes in the page.
  Returns:
    (chosen, left): {directory: list of Film that fit}, and the Films that did not.
  """
  turns = [
      (place, list(KINDS).index(film.kind), i, film, run.path)
      for i, entry in enumerate(entries) if belong(entry)
      for place, run in enumerate(entry.runs) for film in newest(run.path)]
  chosen, left = {}, []
  for *_, film, path in sorted(turns, key=lambda turn: turn[:3]):
    if film.size <= limit:
      limit -= film.size
      chosen.setdefault(path, []).append(film)
    else:
      left.append(film)
  return chosen, left


def size(data):
  """Width and height at which a small animation (bytes) can be looked at, in pixels."""
  width, height = Image.open(io.BytesIO(data)).size
  scale = 3 if width <= 128 else 2
  return scale * width, scale * height
