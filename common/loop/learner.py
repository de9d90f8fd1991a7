"""A burst of updates: batches, their means and time, what is still owed, when to give up."""

import sys
import time

import numpy as np

from common.envs import values as values_lib
from common.loop import banner
from common.loop.meters import Means


class Learner:
  """Makes the updates that the training loop finds due.

  Attributes:
    means: meters.Means of the updates since they were taken last.
    updates: made so far, as the agent's own count, which devices would have to be asked for.
  """

  def __init__(self, config, parts, clock, interrupts):
    """Take the parts of a run.

    Args:
      config: Config of the run.
      parts: parts.Parts, of whose progress `owed` and `means` are kept here.
      clock: meters.Clock.
      interrupts: interrupts.Interrupts.
    """
    self._config, self._clock, self._interrupts = config, clock, interrupts
    self._agent, self._trainer = parts.agent, parts.trainer
    self._loader, self._view = parts.loader, parts.view
    self._values, self._logdir, self._disk = parts.progress.values, parts.logdir, parts.disk
    self.means = Means(self._values['means'])
    self.updates = self._agent.update_count
    # Updates until the devices are asked for the count of skipped ones, for which they have to wait.
    self._ask = config.nan_limit - self._agent.skipped
    self._compiled = self._estimated = self._stopped = False

  def prepare(self, updates, most=0):
    """Settle what a burst of updates draws from: the episodes that are there now.

    Args:
      updates: how many, besides those that are owed.
      most: how many may be made at once, the rest being owed; 0 is no bound.
    Returns:
      What `make` takes, or None if there is nothing to do.
    """
    self._values['owed'] += updates
    owed = self._values['owed']
    return self._loader.burst(self.updates, min(owed, most or owed)) if owed else None

  def make(self, batches, frames):
    """Make the updates of a burst.

    What an interrupt leaves of them is owed: the checkpoint of that moment knows how many, and the
    next process makes them at first.

    Args:
      batches: from `prepare`.
      frames: of the run so far.
    Raises:
      Stop: an interrupt came.
      SystemExit: config.nan_limit updates in a row were not finite.
    """
    values = self._values
    due = values['owed']
    if not self._compiled:
      self._compiled = True
      self._view.say('Building the update, which takes a while the first time ...')
    with self._clock('train'):
      try:
        for data in self._timed(batches):
          started = time.perf_counter()
          self.means.add(self._trainer.train(data, frames), started)
          self.updates += 1
          values['owed'] -= 1
          self._say_time_left(frames)
          self._view.stage('learning', due - values['owed'], due)
          self._check_skipped(data)
          self._interrupts.check()
          if self._stopped:
            return
      finally:
        self.means.wait()

  def stop(self):
    """Let the burst that another thread makes end after its update: the run ends without it."""
    self._stopped = True

  def _check_skipped(self, data):
    """Give up if too many updates in a row were not finite."""
    self._ask -= 1
    if self._ask <= 0:
      self._ask = self._config.nan_limit - self._agent.skipped
      if self._ask <= 0:
        self._give_up(data)

  def _timed(self, batches):
    """The same batches; the time of waiting for them is that of the data."""
    while True:
      with self._clock('data'):
        data = next(batches, None)
      if data is None:
        return
      yield data

  def _say_time_left(self, frames):
    """Once, after the first updates of this process."""
    seconds = self.means.seconds_per_update
    if seconds is None or self._estimated:
      return
    self._estimated = True
    self._view.say(banner.estimate(self._config, frames, seconds))

  def _give_up(self, data):
    path = self._logdir / f'nonfinite-{self._agent.update_count}.npz'
    data = getattr(data, 'here', data)  # of machines.Shares
    if not isinstance(data, dict):
      data = self._agent.strategy.experimental_local_results(data)[0]
    kept = self._disk.attempt(
        'The batch', lambda: np.savez_compressed(path, **{k: v.numpy() for k, v in data.items()}))
    self._view.close()
    print(
        f'The last {self._agent.skipped} updates were skipped because losses or '
        f'gradients were not finite. {_blame(data)} '
        f'{f"The batch is in {path}; the" if kept else "The"} last checkpoint is intact.',
        file=sys.stderr)
    sys.exit(1)


def _blame(data):
  """What in a batch explains losses that are not finite, and what to do."""
  for key, value in sorted(data.items()):
    problem = values_lib.problem({key: np.asarray(value)}, 1.0)
    if problem:
      return (
          f'The data are to blame: {problem}. python -m common.check_env TASK finds where such '
          'values come from.')
  return (
      'The data hold nothing unusual: try --precision float32, or a lower --model_lr in another '
      '--logdir.')
