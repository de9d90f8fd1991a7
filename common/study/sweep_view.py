"""What a sweep shows: a table of its runs where someone watches, a line an event elsewhere.

How far a run is, is read from the end of its metrics.jsonl: only what is new since the last look.
"""
import collections
import json
import math
import os
import pathlib
import sys
import threading

import rich.box
import rich.console
import rich.live
import rich.table
import rich.text

from common.loop import view

# States in the order in which they matter where not all runs fit on the screen, and their colours.
STATES = {
    'running': 'cyan', 'failed': 'bold red', 'held': 'yellow', 'stopped': 'yellow',
    'waiting': 'dim', 'done': 'green', 'skipped': 'green'}
FIRST_LOOK = 2 ** 18  # bytes of a file that are read at the first look
FRAME = 7             # lines of the table that are not runs


class Tail:
  """New rows of a file of JSON lines at each look; at the first one those at its end."""

  def __init__(self, path):
    self._path, self._at = pathlib.Path(path), None

  def rows(self):
    """Return a list of dicts. A line that is not complete yet is left for the next look."""
    try:
      size = self._path.stat().st_size
      if self._at is None or size < self._at:  # a deterministic run goes back
        self._at = max(0, size - FIRST_LOOK)
      with self._path.open('rb') as file:
        file.seek(self._at)
        lines, newline, _ = file.read().rpartition(b'\n')
    except OSError:  # no rows yet, or a file system of other machines that answers later
      return []
    self._at += len(lines + newline)
    return [row for row in map(_row, lines.split(b'\n')) if row]


class Status:
  """State and progress of one run.

  Args:
    run: sweep.Run.
  Attributes:
    state: one of STATES; note: what is to be said of it.
    frames, eval_return, fps: the last ones, None where there are none yet; frames are 0 then.
  """

  def __init__(self, run):
    self.run, self.state, self.note = run, 'waiting', ''
    self.frames, self.eval_return, self.fps = 0, None, None
    self._tail, self._lock = Tail(run.path / 'metrics.jsonl'), threading.Lock()
    self.look()

  def look(self):
    """Read what is new."""
    with self._lock:  # the thread that draws looks, too
      for row in self._tail.rows():
        self.frames = int(_number(row, 'step', self.frames))
        self.eval_return = _number(row, 'eval/return', self.eval_return)
        self.fps = _number(row, 'fps', self.fps)

  @property
  def total(self):
    """Frames at which the run ends."""
    return self.run.config.steps

  @property
  def progress(self):
    """Such as '500 of 1,000 frames (50 %)'."""
    return f'{self.frames:,} of {self.total:,} frames ({view.share(self.frames, self.total)})'

  @property
  def left(self):
    """Such as '1:02:03', None unless the run is running at a known speed."""
    return view.time_left(self.frames, self.total, self.fps) if self.state == 'running' else None


def make(runs, title, quiet):
  """The view that suits the terminal: Live, or Plain where nobody watches or `quiet` is True.

  Args:
    runs: list of sweep.Run.
    title: what the table is of.
    quiet: whether lines are wanted.
  """
  terminal = sys.stdout.isatty() and os.environ.get('TERM', 'dumb') != 'dumb'
  return Live(runs, title) if terminal and not quiet else Plain(runs, title)


class Plain:
  """A line an event: 'NAME | done | 1,000 of 1,000 frames (100 %) | return 812.5'."""

  def __init__(self, runs, title):
    self.statuses = {run.name: Status(run) for run in runs}
    self.title = title

  def tell(self, run, state, note=''):
    """Say that a run is in another state; note is a word on it."""
    status = self.statuses[run.name]
    status.look()
    status.state, status.note = state, note
    parts = [run.name, state, status.progress]
    parts += [] if status.eval_return is None else [f'return {view.short(status.eval_return)}']
    self.event(' | '.join([*parts, note] if note else parts), state)

  def event(self, line, state):
    """Show the line of an event."""
    self.say(line)

  def say(self, text):
    """Show a message."""
    print(text, flush=True)

  def close(self):
    """Say what all came to. Messages still come through."""
    self.say(totals(self.statuses.values()))


class Live(Plain):
  """The table, redrawn each second by a thread. Failures stay above it."""

  def __init__(self, runs, title, console=None):
    super().__init__(runs, title)
    self._console = console or rich.console.Console()
    self._live = rich.live.Live(
        console=self._console, get_renderable=self.render, refresh_per_second=1)
    self._live.start()

  def event(self, line, state):
    """Show the line of an event if it is bad news; the table shows the others."""
    if state == 'failed':
      self.say(line)

  def say(self, text):
    """Show a message above the table."""
    self._console.print(text, markup=False, highlight=False, soft_wrap=True)

  def close(self):
    """Leave the last table on the screen."""
    self._live.stop()

  def render(self):
    """The table as a rich renderable."""
    table = rich.table.Table(
        title=self.title, title_justify='left', caption=totals(self.statuses.values()),
        caption_justify='left', box=rich.box.SIMPLE_HEAD)
    table.add_column('task', no_wrap=True)
    for name in ('seed', 'state', 'frames', '', 'return', 'fps', 'left'):
      table.add_column(name, justify='left' if name == 'state' else 'right', no_wrap=True)
    for status in fitting(list(self.statuses.values()), self._console.height - FRAME):
      if status.state == 'running':
        status.look()
      table.add_row(*_cells(status))
    return table


def fitting(statuses, room):
  """Return the statuses that fit into so many lines, in their order: those that matter most."""
  order = list(STATES)
  chosen = sorted(statuses, key=lambda status: order.index(status.state))[:max(1, room)]
  return [status for status in statuses if status in chosen]


def totals(statuses):
  """Such as '20 runs: 1 running, 19 waiting | 2,000 of 20,000 frames (10 %) | left 1:02:03'.

  The time is what all runs that are left take at the present speed of those that run.
  """
  statuses = list(statuses)
  counts = collections.Counter(status.state for status in statuses)
  words = [f'{counts[state]} {state}' for state in STATES if counts[state]]
  total = sum(status.total for status in statuses)
  frames = sum(min(status.frames, status.total) for status in statuses)
  speed = sum(status.fps or 0 for status in statuses if status.state == 'running')
  open_ = [status for status in statuses if status.state in ('running', 'waiting')]
  missing = sum(max(0, status.total - status.frames) for status in open_)
  left = view.time_left(0, missing, speed)
  parts = [f'{len(statuses)} run{"s" * (len(statuses) != 1)}: {", ".join(words)}',
           f'{frames:,} of {total:,} frames ({view.share(frames, total)})']
  return ' | '.join(parts + ([f'left {left}'] if left else []))


def _cells(status):
  run, number = status.run, lambda value: '' if value is None else view.short(value)
  return [
      run.config.task, str(run.config.seed), rich.text.Text(status.state, STATES[status.state]),
      f'{status.frames:,}', view.share(status.frames, status.total), number(status.eval_return),
      number(status.fps if status.state == 'running' else None), status.left or '']


def _row(line):
  try:
    row = json.loads(line)
  except ValueError:  # torn by a kill, or the middle of one at the first look
    return None
  return row if isinstance(row, dict) else None


def _number(row, name, default):
  value = row.get(name)
  return value if type(value) in (int, float) and math.isfinite(value) else default
