"""Commands one after another, each with a limit of time, and a file of what they told.

A part prints JSON lines, its rows. Whatever becomes of it, the parts after it run, and the file has
all that was told up to then: it is replaced after every part.
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
TAIL = 2000  # characters of errors that are kept


class Part(NamedTuple):
  """A command and its share of the time."""
  name: str
  share: float  # of all the time; the last part takes what is left
  argv: list    # SECONDS in it stands for the limit
  endless: bool = False  # it goes on until the time is over
  environ: dict = {}


SECONDS = '{seconds}'


def run(parts, minutes, path, about):
  """Run the parts, and write what they told.

  Args:
    parts: list of Part.
    minutes: for all of them.
    path: pathlib.Path of the JSON file.
    about: dict that the file begins with.
  Returns:
    The dict in the file: `about`, minutes, seconds, and parts, a list of dicts with name, command,
    limit and seconds, status (ok, failed, over its limit, skipped), problem, and rows.
  """
  started = time.monotonic()
  found = {**about, 'minutes': minutes, 'parts': []}
  for part in parts:
    left = 60 * minutes - (time.monotonic() - started) - GRACE * (part is parts[-1])
    limit = left if part is parts[-1] else min(left, 60 * minutes * part.share)
    print(f'{part.name}: at most {limit:.0f} s', flush=True)
    with _signals_raise():
      row = _run(part, limit) if limit >= LEAST else {
          'name': part.name, 'limit': limit, 'status': 'skipped', 'problem': 'no time was left'}
    print(f'{part.name}: {row["status"]} {row.get("problem", "")}'.rstrip(), flush=True)
    found['parts'].append(row)
    found['seconds'] = round(time.monotonic() - started, 1)
    _replace(path, found)
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


def _run(part, limit):
  """Run one part; returns its dict."""
  argv = [str(arg).replace(SECONDS, f'{limit:.0f}') for arg in part.argv]
  rows, started, over = [], time.monotonic(), False
  with tempfile.TemporaryFile('w+', encoding='utf-8', errors='replace') as errors, subprocess.Popen(
      argv, stdout=subprocess.PIPE, stderr=errors, encoding='utf-8', errors='replace', start_new_session=True,
      env={**os.environ, **part.environ}) as process:
    reader = threading.Thread(target=_read, args=(process.stdout, rows), daemon=True)
    reader.start()
    try:
      over = not _ends(process, limit)
      if over:
        _signal(process, signal.SIGTERM)
        _ends(process, GRACE)
    finally:
      _signal(process, signal.SIGKILL)  # and what it may have left behind
    code = process.wait()
    reader.join(GRACE)
    errors.seek(0)
    told = errors.read()[-TAIL:]
  ended_well = code == 0 or (over and part.endless)
  status = 'ok' if ended_well else 'over its limit' if over else 'failed'
  row = {
      'name': part.name, 'command': ' '.join(['python', *argv[1:]]), 'limit': round(limit),
      'seconds': round(time.monotonic() - started, 1), 'status': status, 'rows': rows}
  if not ended_well:
    lines = told.strip().splitlines()
    row['problem'] = f'over {limit:.0f} s' if over else (lines or [f'exit code {code}'])[-1]
    row['errors'] = told
  return row


def _ends(process, seconds):
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


def python(module, *args):
  """The arguments of a command of this project."""
  return [sys.executable, '-m', module, *args]
