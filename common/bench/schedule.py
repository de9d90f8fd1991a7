"""Commands one after another, each with a limit of time, and a file of what they told.

A part prints JSON lines, its rows. Whatever becomes of it, the parts after it run, and the file has
all that was told up to then: it is replaced while a part runs, too.
"""
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import NamedTuple

GRACE = 15   # seconds from the request to end, with which runs save, to the end by force
LEAST = 2    # seconds that are worth beginning a part
TAIL = 20_000  # characters of errors that are kept
EVERY = 5.0  # seconds between two files while a part runs


class Part(NamedTuple):
  """A command and its share of the time."""
  name: str
  share: float  # of all the time; the last part takes what is left
  argv: list    # SECONDS in it stands for the limit, FLAGS for `otherwise` of parts that failed
  endless: bool = False  # it goes on until the time is over
  awaited: object = bool  # function of a row: whether an endless part was there to tell it
  needed: bool = False   # nothing after it makes sense if it fails
  otherwise: list = []   # flags of later parts if it fails; being slow is no failure
  least: float = 0       # seconds that it may take, whatever its share
  environ: dict = {}


SECONDS = '{seconds}'
FLAGS = '{flags}'


def run(parts, minutes, path, about):
  """Run the parts, and write what they told.

  Args:
    parts: list of Part.
    minutes: for all of them.
    path: pathlib.Path of the JSON file.
    about: dict that the file begins with.
  Returns:
    The dict in the file: `about`, minutes, seconds, and parts, a list of dicts with name, command,
    limit and seconds, status (ok, failed, over its limit, skipped; running in a file that is
    written meanwhile), problem, errors (the end of stderr), and rows.
  """
  started = time.monotonic()
  found = {**about, 'minutes': minutes, 'parts': []}
  def write(*running):
    seconds = round(time.monotonic() - started, 1)
    _replace(path, {**found, 'seconds': seconds, 'parts': [*found['parts'], *running]})
  flags, missing = [], None
  for part in parts:
    left = 60 * minutes - (time.monotonic() - started) - GRACE * (part is parts[-1])
    limit = left if part is parts[-1] else min(left, max(part.least, 60 * minutes * part.share))
    print(f'{part.name}: at most {limit:.0f} s', flush=True)
    if missing or limit < LEAST:
      row = {
          'name': part.name, 'limit': round(limit), 'status': 'skipped', 'rows': [],
          'problem': f'{missing} failed' if missing else 'no time was left'}
    else:
      with _signals_raise():
        row = _run(part, limit, flags, write)
    print(f'{part.name}: {row["status"]} {row.get("problem", "")}'.rstrip(), flush=True)
    if row['status'] == 'failed':
      missing = part.name if part.needed else missing
      flags += part.otherwise
    found['parts'].append(row)
    found['seconds'] = round(time.monotonic() - started, 1)
    write()
  return found


@contextlib.contextmanager
def _signals_raise():
  """Within, SIGTERM and SIGHUP raise SystemExit, so that what is running is ended, too."""
  def end(number, _):
    sys.exit(128 + number)
  old = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
  for number, handler in old.items():
    if handler != signal.SIG_IGN:  # as nohup has it
      signal.signal(number, end)
  try:
    yield
  finally:
    for number, handler in old.items():
      signal.signal(number, handler)


def _run(part, limit, flags, write):
  """Run one part; returns its dict. `write` takes it as it is now and then meanwhile."""
  argv = [
      str(x).replace(SECONDS, f'{limit:.0f}') for arg in part.argv
      for x in (flags if arg == FLAGS else [arg])]
  rows, started, over = [], time.monotonic(), False
  def row(**more):
    return {
        'name': part.name, 'command': ' '.join(['python', *argv[1:]]), 'limit': round(limit),
        'seconds': round(time.monotonic() - started, 1), **more, 'rows': list(rows)}
  with tempfile.TemporaryFile('w+', encoding='utf-8', errors='replace') as errors, subprocess.Popen(
      bound(argv), stdout=subprocess.PIPE, stderr=errors, encoding='utf-8', errors='replace',
      start_new_session=True, env={**os.environ, **part.environ}) as process:
    reader = threading.Thread(target=_read, args=(process.stdout, rows), daemon=True)
    reader.start()
    try:
      def meanwhile():
        with contextlib.suppress(OSError):  # the next one may be written
          write(row(status='running'))
      over = not _ends(process, limit, meanwhile)
      if over:
        _signal(process, signal.SIGTERM)
        _ends(process, GRACE)
    except BaseException:
      write(row(status='running'))
      raise
    finally:
      _signal(process, signal.SIGKILL)  # and what it may have left behind
    code = process.wait()
    reader.join(GRACE)
    errors.seek(0)
    told = errors.read()[-TAIL:]
  return row(**_judge(part, limit, code, over, told, rows))


def _judge(part, limit, code, over, told, rows):
  """Status, problem and errors of a part that has ended."""
  lines = told.strip().splitlines()
  more = {'errors': told} if lines else {}
  if part.endless and not any(map(part.awaited, rows)) and (over or code == 0):
    what = 'too little' if rows else 'nothing'
    return dict(status='failed', problem=f'told {what} in {limit:.0f} s', **more)
  if code == 0 or (over and part.endless):
    return dict(status='ok', **more)
  if over:
    return dict(status='over its limit', problem=f'over {limit:.0f} s', **more)
  return dict(status='failed', problem=(lines or [f'exit code {code}'])[-1], **more)


def _ends(process, seconds, meanwhile=lambda: None):
  """Whether a process ends in time; now and then something else is done while it runs."""
  ends = time.monotonic() + seconds
  while (left := ends - time.monotonic()) > EVERY:
    if _ends_soon(process, EVERY):
      return True
    meanwhile()
  return _ends_soon(process, max(0, left))


def _ends_soon(process, seconds):
  try:
    process.wait(seconds)
  except subprocess.TimeoutExpired:
    return False
  return True


def _signal(process, number):
  """Signal a process and all that it started."""
  try:
    os.killpg(process.pid, number)
  except ProcessLookupError:
    pass


def _read(file, rows):
  """Collect JSON lines, and show what is for people."""
  for line in file:
    try:
      row = json.loads(line)
    except ValueError:
      row = None
    if isinstance(row, dict):
      rows.append(row)
    print(f'  {line.rstrip()}', flush=True)


def _replace(path, found):
  """Write a file at once: a reader finds the old one or the new one."""
  path = pathlib.Path(path)
  new = path.with_name(path.name + '.new')
  new.write_text(json.dumps(found, indent=1) + '\n')
  new.replace(path)


def bound(argv):
  """The command that gets SIGTERM when this process ends, however it does."""
  return python('common.study.jobs', os.getpid(), *argv)


def python(module, *args):
  """The arguments of a command of this project."""
  return [sys.executable, '-m', module, *map(str, args)]
