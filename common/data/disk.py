"""Disks that refuse: what a run waits for, and what it does without.

    insist    episodes, metrics, checkpoints   tried again until it works or the time is over
    attempt   pictures, TensorBoard and such   left out
"""
import contextlib
import errno
import os
import threading
import time

from common.config import UserError

EVERY = 30.0  # seconds between two attempts
LOOK = 0.2    # seconds until an interrupt is noticed
FULL = [os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)]


class DiskError(UserError):
  """A file that the system refuses to write.

  Attributes:
    path: of the file.
    reason: in words.
    need: what would have helped, in words.
  """

  def __init__(self, path, error, size=0):
    """Take an exception of the system or of TensorFlow; size: bytes to be written, if known."""
    self.path, self.reason = path, reason(error)
    full = self.reason in FULL
    self.need = 'to write there'
    if full:
      self.need = f'{_megabytes(size)} of room there' if size else 'room there'
    remedy = 'make room' if full else 'mend that'
    super().__init__(
        f'{path}: cannot be written ({self.reason}). Everything saved before is kept: {remedy}, '
        'then start the same command again to continue.')


class Disk:
  """Has files written, and decides what follows where the system refuses.

  Made by the loop and shared by all that write, also from threads.
  """

  def __init__(self, seconds=0, say=print, stopped=lambda: False):
    """Take what to do about refusals.

    Args:
      seconds: for which something is tried again.
      say: function of a sentence, for the terminal.
      stopped: function that says whether the run was asked to end, which ends all waiting.
    """
    self._seconds, self._say, self._stopped = seconds, say, stopped
    self._over = threading.Event()  # nothing is waited for any more
    self._lock = threading.Lock()
    self._waiting = 0    # threads
    self._told = set()   # what was said to be left out

  def insist(self, write, *args):
    """Return write(*args), if need be after waiting for the disk.

    One sentence tells that the run waits, whoever else has to wait meanwhile, and one that it goes
    on. After an interrupt there is a last attempt.

    Args:
      write: function that leaves nothing half done when it raises DiskError, for it is called again.
    Raises:
      DiskError: the time is over, or the run is to end.
    """
    try:
      return write(*args)
    except DiskError as error:
      if not self._seconds or self._ended():
        raise
      refused = error
    with self._waits(refused):
      return self._again(write, args)

  def attempt(self, what, write, *args):
    """Call write(*args); whether it worked. A first failure is said, others of its kind are not.

    Args:
      what: kind of file in words that begin a sentence.
    """
    try:
      write(*args)
    except (OSError, UserError, RuntimeError) as error:  # with which Matplotlib misses a program
      if what not in self._told:
        self._told.add(what)
        self._say(f'{what} cannot be written ({reason(error)}). The run goes on without.')
      return False
    return True

  def end(self):
    """Wait for nothing any more: who waits tries once more."""
    self._over.set()

  def _again(self, write, args):
    until = time.monotonic() + self._seconds
    while True:
      left = until - time.monotonic()
      last = self._rest(min(EVERY, left)) or left <= EVERY
      try:
        return write(*args)
      except DiskError:
        if last:
          self.end()
          raise

  def _rest(self, seconds):
    """Let some time pass; whether an end came."""
    until = time.monotonic() + seconds
    while not self._ended():
      left = until - time.monotonic()
      if left <= 0:
        return False
      self._over.wait(min(LOOK, left))
    return True

  def _ended(self):
    return self._over.is_set() or self._stopped()

  @contextlib.contextmanager
  def _waits(self, refused):
    """Tell that the run waits, and within how it goes on; of several threads one tells."""
    with self._lock:
      self._waiting += 1
      if self._waiting == 1:
        self._say(
            f'{refused.path}: cannot be written ({refused.reason}). The run needs {refused.need}: '
            f'it waits, and tries again every {_span(EVERY)} for {_span(self._seconds)}.')
    try:
      yield
      written = True
    except BaseException:
      written = False
      raise
    finally:
      with self._lock:
        self._waiting -= 1
        if written and not self._waiting:
          self._say(f'{refused.path}: is written. The run goes on.')


def append(file, lines):
  """Append whole lines, all or none; a torn one at the end, of an earlier attempt, is cut.

  Args:
    file: opened by mode 'a+b' without a buffer.
    lines: bytes that end with a newline.
  Raises:
    OSError: the system refuses.
  """
  number = file.fileno()
  size = os.fstat(number).st_size
  if size and os.pread(number, 1, size - 1) != b'\n':
    size = os.pread(number, size, 0).rfind(b'\n') + 1
    os.ftruncate(number, size)
  try:
    while lines:  # a disk that fills up takes a part at first
      lines = lines[file.write(lines):]
  except OSError:
    with contextlib.suppress(OSError):
      os.ftruncate(number, size)
    raise


def reason(error):
  """Why something could not be written, in the words of the system where they can be found."""
  text = ' '.join(str(getattr(error, 'strerror', None) or error).split())
  known = [words for words in map(os.strerror, errno.errorcode) if words in text]
  return max(known, key=len, default=text.rstrip('.'))  # TensorFlow wraps them in four lines


def _megabytes(size):
  return f'up to {max(0.1, size / 1e6):,.1f} MB'


def _span(seconds):
  return f'{seconds / 60:.3g} min' if seconds >= 120 else f'{seconds:.3g} s'
