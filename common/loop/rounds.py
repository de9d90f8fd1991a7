"""Overlapped runs whose frames are collected by a crew, from barrier to barrier.

A round is what every environment plays until the next barrier, with the weights that the crew
took at the last one. Its episodes are counted there, in the order of their numbers.
"""
import math

from common.loop.overlap import OverlappedRun


class CrewRun(OverlappedRun):
  """An OverlappedRun with a crew.Crew in place of environments and an acting copy."""

  def __init__(self, config, parts, interrupts, report=None):
    super().__init__(config, parts, interrupts, report)
    self._crew = parts.acting
    self._crew_faults = self._make_faults('collector')
    self._begin()

  def prefill(self):
    """As Run.prefill, in rounds."""
    missing = self.frames < self._config.prefill
    with self._clock('env'):
      while self.frames < self._config.prefill:
        self._view.stage('collecting random episodes')
        self._play(self._config.train_every, random=True)
        self._count()
    if missing:
      self._begin()

  def collect(self):
    """Collect in rounds until the next evaluation, while updates are made."""
    config, values = self._config, self._progress.values
    until = min(values['next_eval'], config.steps)
    if config.deterministic:
      # Episodes that run across a checkpoint could not be continued.
      self._begin()
    self._crew.take()
    self._crew.take_count()
    self._apart = True
    self._view.stage('collecting')
    counter = self.frames + self._crew.unfinished
    with self._clock('env'):
      self._count()
      while self.frames < until:
        self._learn_if_due(counter)
        counter += self._play(values['trained'] + config.train_every - counter)
        self._join()
        self._count()
      self._learn_at_end()
    with self._clock('wait'):
      self._meet()

  def _begin(self):
    counts = self._replay.count_per_env()
    self._crew.begin([counts.get(e, 0) for e in range(len(self._repeats))])

  def _play(self, frames, random=False):
    """Play about so many frames; returns how many it were."""
    decisions = max(1, math.ceil(frames / sum(self._repeats)))
    played = self._crew.play(
        decisions, self.frames, self._limit(), self._interrupts.check, self._crew_faults, random)
    frames, problem = 0, None
    for number, part in enumerate(played, 1):
      frames += self._take_in_all(part)
      problem = problem or part.problem
      if problem and not number % self._config.collectors:  # all have carried out the same order
        raise problem
    return frames

  def _take_in_all(self, played):
    counts = self._progress.values['faults']
    for name, number in played.counts.items():
      counts[name] = counts.get(name, 0) + number
    for text in played.logged:
      self._log_fault(text)
    for text in played.said:
      self.say(text)
    for ended in played.ended:
      self._take_in(*ended)
    return played.frames
