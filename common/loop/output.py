"""What a run says on the terminal, which may be gone: nothing that is only said ends a run."""
import contextlib
import os
import sys


class Forgiving:
  """A text stream that loses what it cannot write.

  Characters that the terminal's encoding lacks become question marks. When nobody reads any more (a
  broken pipe, a closed console, a full device), what follows goes nowhere.
  """

  def __init__(self, stream):
    self._stream = stream if stream is not None else open(os.devnull, 'w', encoding='utf-8')
    self.gone = False

  def __getattr__(self, name):
    return getattr(self._stream, name)

  def write(self, text):
    """Write what can be written; returns the length of the text."""
    self._attempt(lambda: self._stream.write(text), text)
    return len(text)

  def flush(self):
    """Write what is buffered, if somebody reads."""
    self._attempt(self._stream.flush)

  def _attempt(self, function, text=''):
    if self.gone:
      return
    try:
      function()
    except UnicodeEncodeError:
      encoding = self._stream.encoding or 'ascii'
      self._attempt(lambda: self._stream.write(text.encode(encoding, 'replace').decode(encoding)))
    except BlockingIOError:  # who shares the terminal does not wait for it; that text is lost
      pass
    except (OSError, ValueError):  # also of a stream that was closed
      self.gone = True
      with contextlib.suppress(OSError, ValueError):
        # What is buffered would fail again at the end of the process.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


@contextlib.contextmanager
def forgiving():
  """Within, standard output and standard error are Forgiving."""
  before = sys.stdout, sys.stderr
  sys.stdout, sys.stderr = (Forgiving(stream) for stream in before)
  try:
    yield
  finally:
    for stream in (sys.stdout, sys.stderr):
      stream.flush()
    sys.stdout, sys.stderr = before
