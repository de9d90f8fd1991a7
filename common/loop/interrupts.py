"""Ending a run at a safe moment."""

import os
import signal
import time

AT_ONCE = 1.0  # seconds


class Stop(Exception):
  """The user or the system asked the run to end."""


class Interrupts:
  """Turns Ctrl-C and SIGTERM into a Stop at a safe moment; twice ends at once.

  Args:
    message: what to tell when the first one comes.
  """

  def __init__(self, message='Stopping after this step ...'):
    self.signal = None
    self._message = f'{message}\n'.encode()
    self._old, self._since = {}, None

  def __enter__(self):
    for number in (signal.SIGINT, signal.SIGTERM):
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
      # A parent that dies with several threads can send more than one.
      if number == signal.SIGTERM and time.monotonic() < self._since + AT_ONCE:
        return
      raise KeyboardInterrupt
    self.signal, self._since = number, time.monotonic()
    # Not by print, which may be at work at this very moment.
    os.write(1, self._message)
