"""Environments that work on their own: reset and step return promises.

  envs = [Parallel(functools.partial(make, config, i), 'process') for i in range(4)]
  promises = [env.reset() for env in envs]     # all start
  observations = [promise() for promise in promises]

Rendering takes most of the time of an environment and does not run in parallel in threads, but
does in processes. A process costs about a second at its start, and some 200 MB of memory.
"""
import contextlib

from common.envs import workers


class Parallel:
  """An environment in this thread ('none'), in another thread or in a process of its own."""

  def __init__(self, constructor, strategy='process', timeout=300.0):
    """Start building the environment; `obs_space` and `act_space` wait until it is ready.

    Args:
      constructor: function without arguments that returns an environment, see workers.make.
      strategy: 'none', 'thread' or 'process'.
      timeout: seconds to wait for an answer of a thread or process, its start included.
    """
    self._make = lambda: workers.make(constructor, strategy, timeout)
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

  @property
  def notes(self):
    """Sentences on how the environment is understood, for people."""
    return self._worker.call('notes')()

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
    promise = self._worker.call(method, *args)
    return promise() if blocking else promise

  def _ready(self):
    if self._spaces is None:
      promises = [self._worker.call(name) for name in ('obs_space', 'act_space')]
      self._spaces = [promise() for promise in promises]
    return self._spaces
