"""Objects that work on their own, in a thread or a process: a call returns a promise at once.

    worker = workers.make(functools.partial(build, config), 'process')
    promise = worker.call('step', action)    # the method of the object, or an attribute
    result = promise()
"""
import atexit
import contextlib
import math
import multiprocessing
import multiprocessing.connection
import os
import pickle
import select
import signal
import sys
import threading
import traceback
import types
import weakref

import cloudpickle

from common.config import UserError

IGNORED = (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)  # by what a worker starts, too
LATEST = 2.0  # seconds for ending without force
LONGEST = 2 ** 31 - 1  # milliseconds that one wait can take


_open = weakref.WeakSet()  # processes that nobody has closed yet


@atexit.register
def _close_all():
  """At the end of the program: Python would wait for these processes, which heed no signal."""
  for process in list(_open):
    with contextlib.suppress(Exception):  # the others are to be closed, too
      process.close()


class Gone(RuntimeError):
  """The process or thread of a worker has ended."""


def make(constructor, strategy='process', timeout=300.0, name='an environment'):
  """Start building an object; the first answer waits until it is there.

  Args:
    constructor: function without arguments that returns it. For a process it is sent by
      cloudpickle, so that partial functions and lambdas will do.
    strategy: 'none' (in this thread), 'thread' or 'process'.
    timeout: seconds to wait for an answer of a thread or process, its start included; None is for
      ever.
    name: what messages call it.
  Returns:
    An object with `call` and `close`.
  """
  assert strategy in ('none', 'thread', 'process'), strategy
  if strategy == 'none':
    return _Local(constructor)
  if strategy == 'thread':
    return _Thread(constructor, timeout, name)
  return _Process(constructor, timeout, name)


class _Local:
  """Works at once in this thread."""

  def __init__(self, constructor):
    self._object = constructor()

  def call(self, method, *args):
    value = _perform(self._object, method, args)
    return Promise(lambda: ('result', value))

  def close(self):
    _close(self._object)


class _Remote:
  """The parent's end of a pipe to a thread or process that runs `_serve`."""

  def __init__(self, timeout, name):
    self._timeout, self._name = timeout, name
    self._sent = self._received = 0
    self._answers = {}  # of promises that were not called yet
    self._closed, self._poller = False, None

  def call(self, method, *args):
    assert not self._closed, f'{self._name} is closed'
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # told when reading
      _send(self._pipe, (method, args))
    number, self._sent = self._sent, self._sent + 1
    return Promise(lambda: self._receive(number), self._name, lambda x: self._ready(number, x))

  def _ready(self, number, seconds):
    """Whether the answer is there, or the end of the worker, within some seconds."""
    return number in self._answers or self._wait(seconds)

  def _wait(self, seconds):
    """Whether something comes through the pipe, or its end, within some seconds; None is for ever.

    The pipe's own `poll` builds a selector each time, which takes longer than the answer.
    """
    if self._poller is None:
      self._poller = select.poll()
      self._poller.register(self._pipe.fileno(), select.POLLIN)
    return bool(self._poller.poll(
        None if seconds is None else min(math.ceil(seconds * 1000), LONGEST)))

  def _receive(self, number):
    while number not in self._answers:
      if not self._wait(self._timeout):
        raise TimeoutError(f'{self._name} gave no answer for {self._timeout:g} seconds')
      try:
        self._answers[self._received] = _received(self._pipe)
      except (EOFError, OSError):  # also in the middle of an answer
        raise Gone(f'{self._name} is gone: {self._state()}') from None
      self._received += 1
    return self._answers.pop(number)


class _Thread(_Remote):

  def __init__(self, constructor, timeout, name):
    super().__init__(timeout, name)
    self._pipe, other = multiprocessing.Pipe()
    self._thread = threading.Thread(target=_serve, args=(other, constructor), daemon=True)
    self._thread.start()

  def _state(self):
    return 'its thread ended'

  def close(self):
    if not self._closed:
      self._closed = True
      self._pipe.close()
      self._thread.join(LATEST)


class _Process(_Remote):

  def __init__(self, constructor, timeout, name):
    super().__init__(timeout, name)
    context = multiprocessing.get_context('spawn')  # a fork would copy TensorFlow's threads
    self._pipe, other = context.Pipe()
    self._process = context.Process(
        target=_process_main, args=(other, cloudpickle.dumps(constructor)),
        daemon=False)  # it may have processes of its own
    with _without_main():
      self._process.start()
    other.close()
    _open.add(self)

  def _state(self):
    self._process.join(LATEST)
    code = self._process.exitcode
    if code is not None and code < 0:
      return f'its process was ended by signal {signal.Signals(-code).name}'
    return f'its process ended with exit code {code}'

  def close(self):
    if not self._closed:
      self._closed = True
      self._pipe.close()  # an idle worker ends by that
      for end in (lambda: None, self._process.kill):
        end()
        self._process.join(LATEST)
        if not self._process.is_alive():
          break


class Promise:
  """Waits for an answer when called first; returns its value, or raises, at every call.

  Args:
    wait: function that returns (kind, value) as `attempt` does.
    name: what messages call the worker.
    ready: function of seconds that waits for at most so long, and returns whether `wait` would not.
  """

  def __init__(self, wait, name='', ready=lambda seconds: True):
    self._wait, self._name, self._is_ready = wait, name, ready
    self._answer = None

  def ready(self, seconds=0.0):
    """Whether a call would return at once, after waiting for at most some seconds."""
    return self._answer is not None or self._is_ready(seconds)

  def __call__(self):
    if self._answer is None:
      self._answer = self._wait()
    kind, value = self._answer
    if kind == 'mistake':
      raise UserError(value)
    if kind == 'failure':
      raise RuntimeError(f'{self._name} failed:\n{value}')
    return value


def _process_main(pipe, constructor):
  """Body of the process. Signals are the parent's to handle; without it there is no work.

  Ctrl-C and many job systems signal the whole group of processes.
  """
  ignore_signals()
  parent = multiprocessing.parent_process()
  def watch():
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)  # the main thread may be anywhere
  threading.Thread(target=watch, daemon=True).start()
  _serve(pipe, lambda: cloudpickle.loads(constructor)())


def ignore_signals():
  """Leave signals to the parent. What an environment starts is still ended by SIGTERM."""
  for number in IGNORED:
    signal.signal(number, signal.SIG_IGN)
  # A handler, for that does not go over to other programs; nor to what forks.
  signal.signal(signal.SIGTERM, lambda *_: None)
  os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))


def _send(pipe, message):
  """Send what pickle can: the pipe's own `send` makes a pickler for more than that, each time."""
  pipe.send_bytes(pickle.dumps(message))


def _received(pipe):
  return pickle.loads(pipe.recv_bytes())


def _serve(pipe, constructor):
  """Build the object and answer requests until the pipe is closed.

  A failure while building is the answer to every request.
  """
  built = failure = None
  try:
    built = constructor()
  except (Exception, SystemExit) as error:  # the parent raises it
    failure = describe(error)
  try:
    while True:
      method, args = _received(pipe)
      _send(pipe, failure or attempt(built, method, args))
  except (EOFError, OSError):
    pass  # the parent closed it
  finally:
    pipe.close()
    if built is not None:
      _close(built)


def _close(made):
  """Close an object; what that raises is nobody's any more, as all that was asked of it is there."""
  with contextlib.suppress(Exception, SystemExit):  # with which some simulators give up
    made.close()


def attempt(worker, method, args):
  """Call a method: ('result', value), ('mistake', text) or ('failure', traceback)."""
  try:
    return 'result', _perform(worker, method, args)
  except (Exception, SystemExit) as error:  # the parent raises it
    return describe(error)


def _perform(worker, method, args):
  value = getattr(worker, method)
  return value(*args) if callable(value) else value


def describe(error):
  """What `attempt` returns for an exception."""
  if isinstance(error, UserError):
    return 'mistake', str(error)
  return 'failure', ''.join(traceback.format_exception(error))


@contextlib.contextmanager
def _without_main():
  """Hide the program from a process that starts.

  It would import the module of the command again, and with it TensorFlow: 7 seconds and half a
  gigabyte for each environment. Functions of that module travel by value.
  """
  main = sys.modules['__main__']
  sys.modules['__main__'] = types.ModuleType('__main__')
  try:
    yield
  finally:
    sys.modules['__main__'] = main
