"""Environments that work on their own: reset and step return promises.

  envs = [Parallel(functools.partial(make, config, i), 'process') for i in range(4)]
  promises = [env.reset() for env in envs]     # all start
  observations = [promise() for promise in promises]

Rendering takes most of the time of an environment and does not run in parallel in threads, but
does in processes. A process costs about a second at its start, and some 200 MB of memory.
"""
import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import traceback
import types

import cloudpickle

from common.config import UserError


class Parallel:
  """An environment in this thread ('none'), in another thread or in a process of its own."""

  def __init__(self, constructor, strategy='process', timeout=300.0):
    """Start building the environment; `obs_space` and `act_space` wait until it is ready.

    Args:
      constructor: function without arguments that returns an environment. For a process it is
        sent by cloudpickle, so that partial functions and lambdas will do.
      strategy: 'none', 'thread' or 'process'.
      timeout: seconds to wait for an answer of a thread or process, its start included.
    """
    assert strategy in ('none', 'thread', 'process'), strategy
    worker = {'none': _Local, 'thread': _Thread, 'process': _Process}[strategy]
    self._make = lambda: worker(constructor, timeout)
    self._worker = self._make()
    self._spaces = None

  @property
  def obs_space(self):
    """Dict of name -> Box, not a promise."""
    return self._ready()[0]

  @property
  def act_space(self):
    """Box or OneHot, not a promise."""
    return self._ready()[1]

  def reset(self, seed=None, blocking=False):
    """Begin an episode; returns a promise of the observation, or with `blocking` itself.

    Raises (the promise does, when called):
      UserError: that of the environment.
      RuntimeError: any other failure there, with its traceback, or the end of its process.
      TimeoutError: no answer in time.
    """
    return self._call('reset', (seed,), blocking)

  def step(self, action, blocking=False):
    """Take one action; returns a promise of (obs, reward, done, info), or with `blocking` itself.

    Raises: as `reset`.
    """
    return self._call('step', (action,), blocking)

  def restart(self):
    """End the environment, whatever state it is in, and begin to build it anew.

    Promises that it still owes are void. Raises what building raises, in this thread only.
    """
    with contextlib.suppress(Exception, SystemExit):  # it failed before
      self._worker.close()
    self._worker = self._make()

  def close(self):
    """End the environment, by force if it does not end by itself within seconds."""
    self._worker.close()

  def _call(self, method, args, blocking):
    promise = self._worker.call(method, args)
    return promise() if blocking else promise

  def _ready(self):
    if self._spaces is None:
      self._spaces = self._worker.call('spaces', ())()
    return self._spaces


class _Local:
  """Works at once in this thread."""

  def __init__(self, constructor, timeout):
    del timeout
    self._env = constructor()

  def call(self, method, args):
    result = _perform(self._env, method, args)
    return lambda: result

  def close(self):
    self._env.close()


class _Remote:
  """The parent's end of a pipe to a thread or process that runs `_serve`."""

  def __init__(self, timeout):
    self._timeout = timeout
    self._sent = self._received = 0
    self._answers = {}  # of promises that were not called yet
    self._closed = False

  def call(self, method, args):
    assert not self._closed, 'the environment is closed'
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # told when reading
      self._pipe.send((method, args))
    number, self._sent = self._sent, self._sent + 1
    return _Promise(lambda: self._receive(number))

  def _receive(self, number):
    while number not in self._answers:
      try:
        if not self._pipe.poll(self._timeout):
          raise TimeoutError(f'an environment gave no answer for {self._timeout:g} seconds')
        self._answers[self._received] = self._pipe.recv()
      except (EOFError, ConnectionResetError):
        raise RuntimeError(f'an environment is gone: {self._state()}') from None
      self._received += 1
    return self._answers.pop(number)


class _Thread(_Remote):

  def __init__(self, constructor, timeout):
    super().__init__(timeout)
    self._pipe, other = multiprocessing.Pipe()
    self._thread = threading.Thread(target=_serve, args=(other, constructor), daemon=True)
    self._thread.start()

  def _state(self):
    return 'its thread ended'

  def close(self):
    if not self._closed:
      self._closed = True
      self._pipe.close()
      self._thread.join(2)


class _Process(_Remote):

  def __init__(self, constructor, timeout):
    super().__init__(timeout)
    context = multiprocessing.get_context('spawn')  # a fork would copy TensorFlow's threads
    self._pipe, other = context.Pipe()
    self._process = context.Process(
        target=_process_main, args=(other, cloudpickle.dumps(constructor)), daemon=True)
    with _without_main():
      self._process.start()
    other.close()

  def _state(self):
    self._process.join(2)
    code = self._process.exitcode
    if code is not None and code < 0:
      return f'its process was ended by signal {signal.Signals(-code).name}'
    return f'its process ended with exit code {code}'

  def close(self):
    if not self._closed:
      self._closed = True
      self._pipe.close()  # an idle environment ends by that
      for end in (lambda: None, self._process.kill):
        end()
        self._process.join(2)
        if not self._process.is_alive():
          break


class _Promise:
  """Waits for an answer when called first; returns its value, or raises, at every call."""

  def __init__(self, wait):
    self._wait = wait
    self._answer = None

  def __call__(self):
    if self._answer is None:
      self._answer = self._wait()
    kind, value = self._answer
    if kind == 'mistake':
      raise UserError(value)
    if kind == 'failure':
      raise RuntimeError(f'an environment failed:\n{value}')
    return value


def _process_main(pipe, constructor):
  """Body of the process. Signals are the parent's to handle; without it there is no work.

  Ctrl-C and many job systems signal the whole group of processes.
  """
  for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
    signal.signal(number, signal.SIG_IGN)
  parent = multiprocessing.parent_process()
  def watch():
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)  # the main thread may be anywhere
  threading.Thread(target=watch, daemon=True).start()
  _serve(pipe, lambda: cloudpickle.loads(constructor)())


def _serve(pipe, constructor):
  """Build the environment and answer requests until the pipe is closed.

  A failure while building is the answer to every request.
  """
  env = failure = None
  try:
    env = constructor()
  except (Exception, SystemExit) as error:  # the parent raises it
    failure = _describe(error)
  try:
    while True:
      method, args = pipe.recv()
      pipe.send(failure or _attempt(env, method, args))
  except (EOFError, OSError):
    pass  # the parent closed it
  finally:
    pipe.close()
    if env is not None:
      env.close()


def _attempt(env, method, args):
  try:
    return 'result', _perform(env, method, args)
  except (Exception, SystemExit) as error:  # the parent raises it
    return _describe(error)


def _perform(env, method, args):
  if method == 'spaces':
    return env.obs_space, env.act_space
  return getattr(env, method)(*args)


def _describe(error):
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
