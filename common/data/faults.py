"""What is done about environments that fail or hand over values that nobody can learn from.

  values   the episode ends before them and keeps its rows, if there is a decision among them
  fault    it raised, its process died, it gave no answer: built anew, its episode is dropped
"""
import collections
import time
import traceback

from common.config import UserError

MOST = 10  # in a row, of one environment, without an episode that came to its end
LOOK = ': python -m common.check_env TASK looks for the reason.'
ERRORS = (Exception, SystemExit)  # what simulators raise; some leave the program by themselves


class GaveUp(SystemExit):
  """An environment cannot go on: exit code 1, with one sentence."""


class Faults:
  """Says, notes and counts faults, and decides when to give up.

  Attributes:
    counts: dict of metric to number, of the whole run: `env/rejected` episodes that bad values
      ended, `env/restarts` environments that were built anew, `collector/restarts` collectors.
  """

  def __init__(self, mode='stop', say=lambda text: None, log=None, counts=None, name='environment'):
    """Take what faults concern.

    Args:
      mode: 'restart', or 'stop' at the first fault.
      say: function of a sentence, for the terminal.
      log: function of a text with a traceback that returns where it can be read, or None.
      counts: dict to count in, or None for one that begins empty.
      name: what the environments are called.
    """
    self.counts = {} if counts is None else counts
    self._mode, self._say, self._log, self._name = mode, say, log, name
    self._row = collections.Counter()  # environment -> faults in a row

  def reject(self, e, k, step, problem, kept):
    """Values of environment e in episode k, after `step` decisions, were refused.

    Args:
      problem: what values.problem said.
      kept: decisions of the episode that are kept.
    Raises:
      GaveUp: it is one too many.
    """
    fate = f'its {kept} decisions before are kept' if kept else 'the episode is dropped'
    self._note(e, 'env/rejected', f'{self._where(e, k, step)}: {problem}; {fate}')

  def restart(self, e, k, step, error):
    """Environment e failed in episode k, after `step` decisions, and has to be built anew.

    Raises:
      UserError: that is what it raised: a mistake that building anew does not mend.
      GaveUp: it is one too many.
    """
    if isinstance(error, UserError):
      raise error
    where = f'{self._where(e, k, step)}: {_last_line(error)}'
    logged = self._write(where, error)
    self._note(
        e, 'env/restarts', f'{where}; built anew, its episode is dropped{logged}',
        f'{where}; its episode is dropped{logged}')

  def lost(self, number, error):
    """A collector is gone, and what its environments had begun with it.

    Raises:
      GaveUp: it is one too many.
    """
    where = f'{self._name} {number}: {error}'
    self._note(
        number, 'collector/restarts', f'{where}; begun anew, with its running episodes',
        f'{where}; its running episodes are dropped')

  def sound(self, e):
    """Environment e has ended an episode as it should."""
    self._row[e] = 0

  def _where(self, e, k, step):
    return f'{self._name} {e}, step {step} of episode {k}'

  def _note(self, e, metric, text, end=None):
    """Count a fault and say it; `end` is what to say where the run ends by it."""
    end = end or text
    self.counts[metric] = self.counts.get(metric, 0) + 1
    self._row[e] += 1
    if self._mode == 'stop':
      raise GaveUp(f'{end}. The run ends here: env_faults is stop.')
    if self._row[e] > MOST:
      raise GaveUp(
          f'{end}. That was fault {self._row[e]} in a row of this {self._name}'
          f'{"." if self._name == "collector" else LOOK}')
    self._say(f'{text}.')

  def _write(self, where, error):
    """Append the traceback to the log; returns where to look."""
    if self._log is None:
      return ''
    lines = ''.join(traceback.format_exception(error))
    place = self._log(f'{time.strftime("%Y-%m-%d %H:%M:%S")} {where}\n{lines}\n')
    return f'; see {place}' if place else ''


def append(path, text):
  """Append a text to a file, and return its name."""
  with path.open('a', encoding='utf-8', errors='backslashreplace') as file:
    file.write(text)
  return str(path)


def _last_line(error):
  """The end of what is raised, in one line: of a child's traceback that is its error."""
  text = str(error).strip().splitlines()
  name = type(error).__name__
  if len(text) > 1:
    return f'raised {text[-1].strip()}'
  said = text[0] if text else ''
  plain = isinstance(error, TimeoutError) or said.startswith('an environment is gone')
  return said if plain else f'raised {name}: {said}' if said else f'raised {name}'
