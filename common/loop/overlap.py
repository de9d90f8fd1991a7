"""Collecting while the learner trains: acting weights are those of one burst ago.

    barrier      0                    1                    2
    collecting   | with weights W0    | with weights W1    | with weights W2
    learning     | burst: W0 -> W1    | burst: W1 -> W2    |
    episodes       those that ended before the barrier are what its burst draws from

At a barrier, every train_every frames, the burst before it is awaited, the episodes that ended are
counted in the order of their numbers, the acting copy takes over the weights, and the next burst
begins on a thread. So what happens depends on counts alone, never on how fast either side is.
Checkpoints and evaluations come when no burst is running, evaluations before that of their barrier.
"""
import collections
import concurrent.futures
import sys

from common.data.faults import GaveUp
from common.loop.interrupts import Stop
from common.loop.learner import Learner
from common.loop.meters import Clock
from common.loop.run import Run

# Seconds after which Python lets another thread run. At its usual 5 ms, as long as a decision, the
# answer of an environment would wait that long for a learner that makes a batch.
SWITCH = 5e-4


class OverlappedRun(Run):
  """A Run whose bursts of updates are made on a thread."""

  def __init__(self, config, parts, interrupts, report=None):
    super().__init__(config, parts, interrupts, report)
    self._training = Clock(self.frames)  # of the learner's thread
    self._learner = Learner(config, parts, self._training, interrupts)
    self._acting = parts.acting
    parts.closing.callback(sys.setswitchinterval, sys.getswitchinterval())
    sys.setswitchinterval(SWITCH)
    self._pool = concurrent.futures.ThreadPoolExecutor(1, 'learner')
    parts.closing.callback(self._pool.shutdown)
    parts.closing.callback(self._learner.stop)  # comes first: the rest of a burst is given up
    self._burst = None
    self._apart = False  # whether the acting copy has counted on its own

  def pretrain(self):
    """As Run.pretrain, on this thread."""
    with self._clock('wait'):
      super().pretrain()

  def collect(self):
    """Collect with the acting copy until the next evaluation, while updates are made."""
    self._acting.take()
    self._acting.take_count()
    self._apart = True
    super().collect()
    with self._clock('wait'):  # which `_skip` would take for evaluation
      self._meet()

  def _learn_at_end(self):
    """Only at the end of the run: else the burst of this barrier begins with the next frames.

    Nothing would be collected meanwhile; so the evaluation is one burst behind, as acting is.
    """
    if self.frames >= self._config.steps:
      super()._learn_at_end()

  def save(self):
    """As Run.save; an interrupt ends a burst that is running, and its rest is owed.

    Raises: what else ended that burst, once there is a checkpoint.
    """
    problem = None
    try:
      self._join()
    except Stop:
      pass
    except (GaveUp, Exception) as error:
      problem = error
    self._meet()
    super().save()
    if problem:
      raise problem

  def _meet(self):
    """Bring learner and acting copy together, if they are apart."""
    self._join()
    if self._apart:
      self._apart = False
      self._acting.give_count()

  def _act(self, obs, state, counter):
    del counter  # as all that hangs on frames, noise has those of the barrier
    return self._acting.policy(obs, state, 'train', self.frames)

  def _count(self, wait=True):
    """Nothing is counted between barriers."""
    if wait:
      self._ended = collections.deque(
          sorted(self._ended, key=lambda ended: ended.begun.episode[:2]))
      super()._count()

  def _limit(self):
    return self._limit_at(self.frames)

  def _learn_if_due(self, counter):
    values, every = self._progress.values, self._config.train_every
    bursts = max(0, (counter - values['trained']) // every)
    if bursts:
      self._join()
      self._count()
      self._save_if_due()
      self._apart = True  # though saving brought the counts together
      self._acting.take()
      values['trained'] += bursts * every
      batches = self._learner.prepare(bursts * self._config.train_steps)
      self._burst = self._pool.submit(self._learner.make, batches, self.frames)

  def _join(self):
    """Wait for the burst that is running, if one is, and log it."""
    burst, self._burst = self._burst, None
    if burst:
      with self._clock('wait'):  # environments do nothing meanwhile
        burst.result()
      self._log_training()

  def _skip(self):
    return self._training.skip(super()._skip())

  def _speed(self):
    mine, learner = super()._speed(), self._training.take(self.frames)
    return {**mine, 'time/train': learner['time/train'], 'time/data': learner['time/data']}
