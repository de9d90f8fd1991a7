"""Ending a run at a safe moment."""

import contextlib
import os
import signal
import threading
import time

AT_ONCE = 1.0  # seconds
# Ctrl-C; the usual end; the console is closed; batch systems before their limit.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


class Stop(Exception):
  """The user or the system asked the run to end."""


class Interrupts:
  """Turns SIGNALS into a Stop at a safe moment; Ctrl-C twice ends at once.

  Outside of the main thread, where Python lets nobody handle signals, they stay what they are.

  Args:
    message: what to tell when the first one comes.
  """

  def __init__(self, message='Stopping after this step ...'):
    self.signal = None
    self._message = f'{message}\n'.encode()
    self._old, self._since = {}, None

  def __enter__(self):
    if threading.current_thread() is not threading.main_thread():
      return self
    for number in SIGNALS:
      # nohup has closed consoles ignored.
      if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
        self._old[number] = signal.signal(number, self._handle)
    return self

  def __exit__(self, *_):
    for number, handler in self._old.items():
      signal.signal(number, handler)

  def check(self):
    """Raise Stop if a signal has come."""
    if self.signal is not None:
      raise Stop(signal.Signals(self.signal).name)

  def _handle(self, number, _):
    if self.signal is not None:
      # A parent that dies with several threads can send more than one, a closed console two kinds.
      # Batch systems warn by one kind and end by another.
      if number != signal.SIGINT and (
          number != self.signal or time.monotonic() < self._since + AT_ONCE):
        return
      raise KeyboardInterrupt
    self.signal, self._since = number, time.monotonic()
    # Not by print, which may be at work at this very moment.
    with contextlib.suppress(OSError):  # nobody may read it
      os.write(1, self._message)
