"""The one training loop: prefill, pretrain, then evaluate, collect, learn, save.

    frames   0 ... prefill      +eval_every          +eval_every        steps
             random | pretrain  |                    |                  |
                    | evaluate  | evaluate           | evaluate         | evaluate
                    | collect, a burst of updates every train_every frames

`step` is frames: decisions of finished episodes on disk times action_repeat. With `offline`
nothing is collected, and updates count as the frames after which they would have been made.
The bursts come at the counts of the published code.
"""
import collections
from typing import NamedTuple

import numpy as np

from common import config as config_lib
from common.data import coverage, survey
from common.data.driver import Driver, random_policy
from common.data.faults import Faults, append
from common.loop import evaluation
from common.loop import logdir as logdir_lib
from common.loop import parts as parts_lib
from common.loop.learner import Learner
from common.loop.meters import Clock


class Writing(NamedTuple):
  """An episode that has ended and is being written; nothing counts it yet."""
  begun: object    # of Replay.begin
  episode: dict
  number: tuple    # (k, e), the k-th of environment e
  went_on: bool    # with the game of the episode before
  goes_on: bool    # in the next episode
  faults: dict     # counts at its end


class Run:
  """The moves of a run between its parts.

  Args:
    config: Config as devices.setup gave it.
    parts: parts.Parts.
    interrupts: interrupts.Interrupts.
    report: function of the agent, called at each evaluation, that returns further metrics.
  """

  def __init__(self, config, parts, interrupts, report=None):
    self._config, self._parts, self._interrupts = config, parts, interrupts
    self._agent, self._replay, self._view = parts.agent, parts.replay, parts.view
    self._progress, self._logger = parts.progress, parts.logger
    self._report = report or (lambda agent: {})
    self._tasks = [task for task, _ in config_lib.tasks(config)]
    self._repeats = config_lib.repeats(config)
    self._coverage = coverage.Coverage(coverage.stored(parts.logdir / 'episodes'))
    self._clock = Clock(self.frames)
    self._learner = Learner(config, parts, self._clock, interrupts)
    self._faults = self._make_faults('environment')
    self._eval_faults = self._make_faults('evaluation environment')
    self._games, self._told = {}, dict(parts.progress.values['faults'])
    self._save_every = 0 if config.deterministic else config.save_every  # goes on from whole episodes
    self._saved = self._learner.updates  # as many updates are in the newest checkpoint
    self._ended = collections.deque()  # of Writing
    self._driver = self._make_driver() if parts.envs else None
    self._state = None

  def train(self):
    """Run until config.steps, continuing where the parts stand. Raises Stop at an interrupt."""
    self.prefill()
    self.pretrain()
    while self.frames < self._config.steps:
      self.evaluate()
      self.collect()
      self.save()
    self.evaluate()
    self.save()
    self.mark_finished()

  @property
  def frames(self):
    """Frames of finished episodes on disk: the `step` of everything."""
    return parts_lib.frames(self._config, self._agent, self._replay)

  @property
  def unsaved(self):
    """Whether updates were made since the newest checkpoint."""
    return self._learner.updates > self._saved

  def prefill(self):
    """Collect uniformly random episodes until config.prefill frames exist; what still runs is dropped."""
    missing = self._config.prefill - self.frames
    if missing > 0 and not self._config.offline:
      self._view.stage('collecting random episodes')
      policy = random_policy(self._parts.envs[0].act_space, self._config.seed, self._driver.next_episode)
      def checked(*args):
        self._interrupts.check()
        self._count(wait=False)
        return policy(*args)
      with self._clock('env'):
        self._driver(checked, frames=missing)
        self._driver.abandon()
        self._count()

  def pretrain(self):
    """Make the first updates, once in the life of a run, or those that it owes."""
    values = self._progress.values
    first = not values['pretrained']
    if first:
      self._draw_on_what_is_there()
      # Bursts follow on this grid: prefill + k * train_every.
      values.update(pretrained=True, trained=self.frames, next_eval=self.frames)
      for text in survey.sentences(
          self._replay, self._config.batch_length, self._agent.data_keys, self._agent.obs_space):
        self.say(text)
      if self._driver:
        values['trained_episodes'] = sum(self._driver.next_episode)
    begins = first or values['owed'] or values['fresh']  # taken over from another run
    if first or values['owed']:
      self._learn(self._config.pretrain if first else 0)
    if begins:
      self.save()

  def _draw_on_what_is_there(self):
    """Let the decoder begin with the mean picture (image_background), if it has learned nothing."""
    config = self._config
    if config.obs_loss == 'reconstruction' and not (self._learner.updates or config.get('snapshot')):
      self._agent.world_model.decoder.draw_on(lambda key: survey.mean(self._replay, key))

  def evaluate(self):
    """Log the mean return of noise-free episodes, if they are due."""
    values, config = self._progress.values, self._config
    # A run that was killed after its last checkpoint has evaluated already.
    if self.frames < min(values['next_eval'], config.steps) or values['evaluated'] == self.frames:
      return
    if config.eval_episodes:
      self._evaluate()
    values['evaluated'] = self.frames
    while values['next_eval'] <= self.frames:
      values['next_eval'] += config.eval_every

  def _evaluate(self):
    values = self._progress.values
    self._view.stage('evaluating')
    row, episodes = evaluation.of_run(
        self._config, self._agent, self._parts.eval_envs, values['eval_episodes'], self.frames,
        self._interrupts.check, self._eval_faults)
    values['eval_episodes'] += self._config.eval_episodes
    row.update(self._report(self._agent))
    self._logger.write(self.frames, row, 'eval')
    self._parts.pictures.evaluation(self.frames, self._agent, self._replay, episodes[0])
    self._skip()

  def _skip(self):
    """Leave an evaluation out of the speed of the next row; returns the seconds that it took."""
    return self._clock.skip()

  def collect(self):
    """Collect with the policy until the next evaluation, learning on the way."""
    config = self._config
    until = min(self._progress.values['next_eval'], config.steps)
    if config.offline:
      while self.frames < until:
        self._learn(config.train_steps)
      return
    if config.deterministic:
      # Episodes that run across a checkpoint could not be continued.
      self._driver, self._state = self._make_driver(), None
    self._driver.surplus = 0
    counter = self.frames + self._driver.unfinished
    self._view.stage('collecting')

    def policy(obs, state, is_first):
      nonlocal counter
      self._interrupts.check()
      self._count(wait=False)
      self._learn_if_due(counter)
      with self._clock('policy'):
        result = self._act({**obs, 'is_first': is_first}, state, counter)
      counter += int(np.dot(self._driver.running, self._repeats))
      return result
    with self._clock('env'):
      self._state = self._driver(policy, self._state, frames=until - self.frames)
      self._count()
      self._learn_at_end()

  def _learn_at_end(self):
    """Make the updates that are due when frames are collected up to an evaluation, or to the end."""
    self._learn_if_due(self.frames)

  def _act(self, obs, state, counter):
    """Action and state of the policy that collects, after `counter` frames."""
    return self._agent.policy(obs, state, 'train', counter)

  def save(self):
    """Write a checkpoint of everything that the next process has to know."""
    self._view.stage('saving')
    self._count()
    self._progress.values.update(
        frames=self._replay.frames,
        episodes={str(e): k for e, k in self._replay.count_per_env().items()},
        rows=self._logger.rows, means=self._learner.means.values, fresh=False)
    self._parts.checkpoint.save()
    self._saved = self._learner.updates
    self._save_run()

  def mark_finished(self):
    """Tell later processes that nothing is left to do up to here."""
    self.log_faults()
    self._save_run(self.frames)

  def _save_run(self, *finished_at):
    self._parts.disk.insist(logdir_lib.save_run, self._parts.logdir, self._logger.time, *finished_at)

  def say(self, text):
    """Show a message on the terminal."""
    self._view.say(text)

  def _make_driver(self):
    counts = self._replay.count_per_env()
    first = [counts.get(e, 0) for e in range(len(self._parts.envs))]
    return Driver(
        self._parts.envs, self._repeats, self._config.seed, self._on_episode, first,
        in_turn=len(self._tasks) > 1, limit=self._limit, faults=self._faults)

  def _make_faults(self, name):
    return Faults(
        self._config.env_faults, self.say, self._log_fault, self._progress.values['faults'], name)

  def _log_fault(self, text):
    path = self._parts.logdir / 'faults.log'
    return str(path) if self._parts.disk.attempt('Tracebacks', append, path, text) else ''

  def log_faults(self):
    """Write the counts of faults that no row of an episode has told yet."""
    if self._progress.values['faults'] != self._told:
      self._logger.write(self.frames, self._progress.values['faults'], 'fault')

  def _limit(self):
    """Frames of an episode that begins now."""
    if self._config.collect_limit:
      self._count()  # it grows with the frames, which files that are written still have to join
    return self._limit_at(self.frames)

  def _limit_at(self, frames):
    config = self._config
    if not config.collect_limit:
      return config.time_limit
    every = config.collect_limit_doubles
    grown = max(0, frames - config.collect_limit_from)
    return config.collect_limit * 2 ** min(grown / every if every else 0, 64)  # 2^1024 is no float

  def _on_episode(self, episode, k, e):
    self._take_in(episode, k, e, self._driver.went_on[e], self._driver.goes_on[e])

  def _take_in(self, episode, k, e, went_on, goes_on):
    """Have an episode written while collection goes on; `_count` comes before anything counts it."""
    if not self._config.get('seed_episode_rewards', True):
      learned = float(self._progress.values['pretrained'])  # that is, after the prefill
      episode['reward_mask'] = np.full(len(episode['reward']), learned, np.float32)
    self._ended.append(Writing(
        self._replay.begin(episode, k, e), episode, (k, e), went_on, goes_on,
        dict(self._progress.values['faults'])))

  def _count(self, wait=True):
    """Take the episodes that have ended into the replay, and log them.

    wait: until all are written. Else those that still are may come later: nothing counts them yet.
    """
    while self._ended and (wait or self._ended[0].begun.written.done()):
      begun, episode, (k, e), went_on, goes_on, faults = self._ended.popleft()
      self._replay.finish(begun)
      covered = self._coverage.add(episode, (k, e))
      # A game that a fault cut off counts no further.
      game = self._games.pop(e, (0.0, 0))
      score, length = game if went_on else (0.0, 0)
      score += episode['reward'].sum()
      length += (len(episode['reward']) - 1) * self._repeats[e]
      if goes_on:  # the return is that of the whole game
        self._games[e] = score, length
        continue
      task = self._tasks[e % len(self._tasks)]
      named = {f'train/return/{task}': score} if len(self._tasks) > 1 else {}
      self._logger.write(self.frames, {
          'train/return': score, **named, 'train/length': length,
          'train/episodes': self._replay.episodes, **covered, **faults}, 'episode')
      self._told = faults

  def _learn_if_due(self, counter):
    values, config = self._progress.values, self._config
    if config.train_episodes:
      self._learn_if_ended(counter)
      return
    while counter >= values['trained'] + config.train_every:
      self._count()
      values['trained'] += config.train_every
      self._learn(config.train_steps)

  def _learn_if_ended(self, counter):
    """A burst once enough frames are collected and enough episodes have ended since the last one."""
    values, config = self._progress.values, self._config
    ended = sum(self._driver.next_episode)
    if (counter >= values['trained'] + config.train_every
        and ended >= values['trained_episodes'] + config.train_episodes):
      self._count()
      values.update(trained=counter, trained_episodes=ended)
      self._learn(config.train_steps)

  def _learn(self, updates):
    """A burst of updates, and those that are owed; a checkpoint may be due in the middle."""
    batches = self._learner.prepare(updates, self._save_every)
    while True:
      if batches:
        self._learner.make(batches, self.frames)
      self._log_training()
      self._save_if_due()
      batches = self._learner.prepare(0, self._save_every)
      if not batches:
        break
    self._view.stage('collecting')

  def _save_if_due(self):
    """A checkpoint between evaluations."""
    if self._save_every and self._learner.updates >= self._saved + self._save_every:
      self.save()

  def _log_training(self):
    logged, every = self._progress.values['logged'], self._config.log_every
    if logged is not None and self.frames < logged + every:
      return
    # Like the published trigger, later rows keep to the grid of the first.
    self._progress.values['logged'] = self.frames - (0 if logged is None else (self.frames - logged) % every)
    row = {f'agent/{name}': value for name, value in self._learner.means.take().items()}
    row['agent/updates'] = self._agent.update_count
    if unused := self._replay.unused(self._config.batch_length, tuple(self._agent.data_keys)):
      row['replay/unused'] = unused
    self._logger.write(self.frames, {**row, **self._speed()}, 'train')

  def _speed(self):
    """Frames per second since the last row, and where the time went."""
    return self._clock.take(self.frames)
