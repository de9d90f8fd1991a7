"""A part of `python -m common.benchmark gpu`: the rows of a real run as they come.

    python -m common.bench.following --seconds S --logdir DIR [flags of dreamer.train ...]

prints a JSON line for each row of the run's metrics, without what networks say of themselves. The
run is asked to end after so many seconds, or when this process is, and saves. Nothing here imports
TensorFlow, as the run does that itself.
"""
import argparse
import json
import pathlib
import signal
import subprocess
import sys
import time

from common import config as config_lib
from common.bench import printing
from common.bench import schedule

KEPT = ('step', 'time', 'fps', 'train/return', 'eval/return', 'agent/updates')
BUILDING = 2  # rows with a speed at first; in their time update and policy are compiled
POLL = 0.5    # seconds


class Rows:
  """What a run has told so far."""

  def __init__(self, path):
    self._path, self._told, self._speeds = path, 0, 0

  def tell(self):
    """Print the rows that are new and whole."""
    text = self._path.read_text() if self._path.exists() else ''
    lines = text[:text.rfind('\n') + 1].splitlines()
    for line in lines[self._told:]:
      row = json.loads(line)
      kept = {key: row[key] for key in row if key in KEPT or key.startswith('time/')}
      if 'fps' in kept:
        self._speeds += 1
        if self._speeds <= BUILDING:
          kept['building'] = True
      printing.json_line(kept)
    self._told = len(lines)


def follow(command, rows, seconds):
  """Run a command until it ends, or has to; returns its exit code, 0 if it had to."""
  asked, ends = [], time.monotonic() + seconds
  signal.signal(signal.SIGTERM, lambda *_: asked.append(signal.SIGTERM))
  with subprocess.Popen(schedule.bound(command), stdout=sys.stderr) as process:
    sent = False
    while True:
      code = process.poll()
      rows.tell()
      if code is not None:
        return 0 if sent else code
      if not sent and (asked or time.monotonic() > ends):
        sent = True
        # Another signal than the group may have got, or a run would take it for impatience.
        process.send_signal(signal.SIGUSR1)
      time.sleep(POLL)


@config_lib.entry
def main(argv=None):
  """Run the command line; the exit code is that of the run, or 0 where it had to end."""
  parser = argparse.ArgumentParser(prog='python -m common.bench.following', allow_abbrev=False)
  parser.add_argument('--seconds', type=float, required=True)
  parser.add_argument('--logdir', required=True)
  args, flags = parser.parse_known_args(argv)
  rows = Rows(pathlib.Path(args.logdir, 'metrics.jsonl'))
  command = schedule.python('dreamer.train', '--logdir', args.logdir, *flags, '--quiet')
  sys.exit(follow(command, rows, args.seconds))


if __name__ == '__main__':
  main()
