"""What is only said ends no run: pipes nobody reads, full devices, closed streams, old terminals."""
import contextlib
import io
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from common.loop import interrupts
from common.loop import output
import loops

LOOPS = os.path.join(os.path.dirname(__file__), 'loops.py')


class Terminal(io.TextIOWrapper):
  """A terminal of an encoding, over bytes that can be looked at."""

  def __init__(self, encoding):
    super().__init__(io.BytesIO(), encoding=encoding, write_through=True)


def test_characters_that_a_terminal_lacks_become_question_marks():
  terminal = Terminal('latin-1')
  stream = output.Forgiving(terminal)
  assert stream.write('return 3 \u2588 \xe9\n') == 13
  assert terminal.buffer.getvalue().decode('latin-1') == 'return 3 ? \xe9\n' and not stream.gone
  assert stream.encoding == 'latin-1'


def test_what_an_old_terminal_has_it_shows():
  terminal = Terminal('koi8-r')
  output.Forgiving(terminal).write('\u0414\u0430 \xe9 \u2588\n')
  assert terminal.buffer.getvalue().decode('koi8-r') == '\u0414\u0430 ? \u2588\n'


@pytest.mark.parametrize('error', [BrokenPipeError, OSError(28, 'No space left'), ValueError('closed')])
def test_what_nobody_reads_goes_nowhere(error):
  class Broken(io.StringIO):
    calls = 0
    def write(self, text):
      self.calls += 1
      raise error
  broken = Broken()
  stream = output.Forgiving(broken)
  for _ in range(3):
    print('something', file=stream, flush=True)
  assert stream.gone and broken.calls == 1


def test_a_terminal_that_is_busy_loses_that_text_alone():
  class Busy(io.StringIO):
    calls = 0
    def write(self, text):
      self.calls += 1
      if self.calls == 1:
        raise BlockingIOError(11, 'Resource temporarily unavailable')
      return super().write(text)
  stream = output.Forgiving(Busy())
  stream.write('lost')
  stream.write('told')
  assert stream.getvalue() == 'told' and not stream.gone


def test_a_second_kind_of_signal_does_not_cut_a_save_short(monkeypatch):
  """Batch systems warn by SIGUSR1 and end by SIGTERM; Ctrl-C still ends at once."""
  monkeypatch.setattr(interrupts, 'AT_ONCE', 0.0)
  with interrupts.Interrupts() as found:
    os.kill(os.getpid(), signal.SIGUSR1)
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(interrupts.Stop, match='SIGUSR1'):
      found.check()
    with pytest.raises(KeyboardInterrupt):
      os.kill(os.getpid(), signal.SIGINT)


def test_there_may_be_no_streams_at_all(monkeypatch):
  monkeypatch.setattr(sys, 'stdout', None)
  with output.forgiving():
    print('something', flush=True)
  assert sys.stdout is None


def run(path, shell):
  """A run in a process of its own behind a piece of shell, with {} for its command."""
  command = f'{sys.executable} {LOOPS} {path}'
  return subprocess.run(
      ['bash', '-c', shell.format(command)], stderr=subprocess.PIPE, text=True, timeout=200)


@pytest.mark.integration
@pytest.mark.parametrize('shell', [
    '{} > /dev/full', '{} >&- 2>&-', '{} | head -1 > /dev/null; exit ${{PIPESTATUS[0]}}',
    'LC_ALL=C PYTHONIOENCODING=ascii {} > /dev/null'])
def test_a_run_ends_well_whoever_reads(tmp_path, shell):
  done = run(tmp_path / 'r\xf6n', shell)
  assert done.returncode == 0, done.stderr
  assert 'Traceback' not in done.stderr
  assert '"step": 120' in (tmp_path / 'r\xf6n' / 'metrics.jsonl').read_text()


@pytest.mark.integration
def test_ctrl_c_on_a_pipe_saves(tmp_path):
  """The whole foreground group gets the signal, and what reads the pipe ends first."""
  command = f'{sys.executable} {LOOPS} {tmp_path} --steps 1000000 | cat > /dev/null; exit ${{PIPESTATUS[0]}}'
  with subprocess.Popen(
      ['bash', '-c', f'trap "" INT; (trap - INT; {command})'], start_new_session=True,
      stderr=subprocess.PIPE, text=True) as process:
    try:
      deadline = time.monotonic() + 100
      while not loops.checkpoints(tmp_path, 2):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
      reader = subprocess.run(
          ['pgrep', '-s', str(process.pid), '-x', 'cat'], capture_output=True, text=True)
      os.kill(int(reader.stdout), signal.SIGKILL)
      writer = subprocess.run(
          ['pgrep', '-s', str(process.pid), '-f', 'loops.py'], capture_output=True, text=True)
      for pid in writer.stdout.split():
        if b'python' in pathlib.Path(f'/proc/{pid}/cmdline').read_bytes().split(b'\0')[0]:
          os.kill(int(pid), signal.SIGINT)
      assert process.wait(60) == 130, process.stderr.read()
    finally:
      with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
  assert (tmp_path / 'run.json').exists()
