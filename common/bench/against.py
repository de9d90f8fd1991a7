"""Updates of two checkouts in turns, each in a process of its own: how much faster one is."""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

from common import config as config_lib
from common.bench import printing

AGENTS = ('dreamer', 'planet', 'plan2explore')
WARMUP = 3  # updates that are not timed


class Checkout:
  """A process in which the code of a checkout makes updates when it is asked to."""

  def __init__(self, path, agent, flags):
    """Start it.

    Args:
      path: of the checkout.
      agent: dreamer, planet or plan2explore.
      flags: of the configuration.
    Raises:
      UserError: there is no such code.
    """
    self._path = config_lib.expand(path).resolve()
    if not (self._path / 'common' / 'config.py').exists() and not (
        self._path / 'common' / 'config').exists():
      raise config_lib.UserError(
          f'--against {path}: this is no checkout of the project, which has a folder common. '
          'git worktree add DIR COMMIT makes one.')
    # A pipe that nobody reads meanwhile would be full at some time.
    self._errors = tempfile.TemporaryFile('w+', encoding='utf-8', errors='replace')
    script = pathlib.Path(__file__).with_name('turns.py')
    self._process = subprocess.Popen(
        [sys.executable, str(script), agent, *flags], cwd=self._path, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join([str(self._path), *_others()])})

  def ready(self):
    """Wait for the first update; returns its seconds, with tracing."""
    return self._answer()['ready']

  def step(self):
    """Make an update; returns dict of wall (seconds) and memory (GB, the most so far)."""
    try:
      self._process.stdin.write('step\n')
      self._process.stdin.flush()
    except BrokenPipeError:
      pass  # the answer tells
    return self._answer()

  def _answer(self):
    line = self._process.stdout.readline()
    if not line:
      self._errors.seek(0)
      told = self._errors.read().strip().splitlines() or [f'exit code {self._process.wait()}']
      raise config_lib.UserError(f'{self._path}: the update failed: {told[-1]}')
    return json.loads(line)

  def close(self):
    """End the process."""
    self._process.kill()
    self._process.communicate()
    self._errors.close()


def _others():
  """Entries of PYTHONPATH but for those of this project, whose code the checkout has itself."""
  entries = filter(None, os.environ.get('PYTHONPATH', '').split(os.pathsep))
  return [entry for entry in entries if not os.path.isdir(os.path.join(entry, 'common'))]


def measure(path, agent, size, configs, flags, steps):
  """Time updates of this checkout and of another in turns; PlaNet's with the searches between them.

  Args:
    path: of the other checkout.
    agent: whose updates.
    size, configs: what the row says of the sizes.
    flags: of the configuration, known to both.
    steps: timed updates of each.
  Returns:
    Dict of agent, size, configs, steps; wall and wall_against, medians in seconds; ratio, how many
    times as fast this checkout is; first_call and memory (GB) of both.
  """
  here = pathlib.Path(__file__).parents[2]
  sides = []
  try:
    for checkout in (here, path):
      sides.append(Checkout(checkout, agent, flags))
    there = sides[1].ready()  # what is more likely to fail is awaited before
    first = [sides[0].ready(), there]
    walls, memory = ([], []), [0, 0]
    for number in range(WARMUP + steps):
      for index in (0, 1) if number % 2 else (1, 0):
        row = sides[index].step()
        memory[index] = row['memory']
        if number >= WARMUP:
          walls[index].append(row['wall'])
  finally:
    for side in sides:
      side.close()
  wall, against = (statistics.median(x) for x in walls)
  return dict(
      agent=agent, size=size, configs=configs, steps=steps, wall=wall, wall_against=against,
      ratio=against / wall, first_call=first[0], first_call_against=first[1], memory=memory[0],
      memory_against=memory[1])


def show(row):
  """Print a row of `measure`."""
  print(
      '{agent} {size}: {wall:.3f} s an update here, {wall_against:.3f} s there: {ratio:.2f} times '
      'as fast (medians of {steps}); {memory:.2f} and {memory_against:.2f} GB'.format(**row))
  printing.json_line(row)
