"""The one training loop: prefill, pretrain, then evaluate, collect, learn, save.

    frames   0 ... prefill      +eval_every          +eval_every        steps
             random | pretrain  |                    |                  |
                    | evaluate  | evaluate           | evaluate         | evaluate
                    | collect, a burst of updates every train_every frames

`step` is frames: decisions of finished episodes on disk times action_repeat. With `offline`
nothing is collected, and updates count as the frames after which they would have been made.
Spec section 9; the bursts come at the counts of the published code.
"""

import pathlib
import sys

import numpy as np

from common import banner
from common import checkpoint
from common import config as config_lib
from common import curves
from common import devices
from common import envs
from common import logdir as logdir_lib
from common import sources
from common import view
from common.coverage import Coverage
from common.driver import Driver
from common.driver import random_policy
from common.driver import run_episodes
from common.interrupts import Interrupts
from common.interrupts import Stop
from common.learner import Learner
from common.logger import Logger
from common.meters import Clock
from common.pictures import Pictures
from common.replay import Replay

EVAL_ENV = 1000  # index of the evaluation environment, and offset of its seeds


def train(config, logdir, report=None):
  """Run an agent until config.steps, continuing what the directory holds.

  Args:
    config: common.config.Config, as loaded.
    logdir: pathlib.Path of the directory, claimed by this process.
    report: function of the agent, called at each evaluation, that returns further metrics.
  Raises:
    UserError: a mistake of the user.
    SystemExit: after an interrupt (130, 143) or non-finite losses (1).
  """
  config = devices.setup(config)
  with Interrupts() as interrupts:
    run = Run(config, logdir, interrupts, report)
    try:
      run.prefill()
      run.pretrain()
      while run.frames < config.steps:
        run.evaluate()
        run.collect()
        run.save()
      run.evaluate()
      run.save()
      run.mark_finished()
      run.say(f'Finished at {run.frames:,} frames: {logdir}')
    except Stop as stop:
      done = f'saved at {run.frames:,} frames'
      if config.deterministic:
        # In the middle of an episode nothing could be continued to the bit.
        done = 'stopped; the last checkpoint is the place to continue from'
      else:
        run.save()
      run.say(f'{stop}: {done}. Start the same command again to continue.')
      sys.exit(128 + interrupts.signal)
    finally:
      run.close()


class Run:
  """The parts of a run and the moves between them."""

  def __init__(self, config, logdir, interrupts, report=None):
    self._logdir, self._interrupts, self._config = logdir, interrupts, config
    self._report = report or (lambda agent: {})
    self._tasks = [task for task, _ in config_lib.tasks(config)]
    self._repeats = config_lib.repeats(config)
    self._envs, self._eval_envs, self._view, self._games = [], [], None, {}
    try:
      if not config.offline:
        self._envs = envs.make_all(config, config.envs, 0, 'train')
      self._eval_envs = envs.make_all(config, 1, EVAL_ENV, 'eval')
      self._build()
    except BaseException:
      self._close()
      raise

  def _build(self):
    config, logdir = self._config, self._logdir
    env = (self._envs or self._eval_envs)[0]
    relabel = None
    if config.offline:
      relabel = sources.check_spaces(
          config, logdir_lib.load_config(config.offline), env.obs_space, env.act_space)
    elif config.get('source'):
      sources.continue_from(config, logdir)
    self._act_space = env.act_space
    agent_class = checkpoint.agent_class(config.agent)
    self._agent = agent_class(
        logdir_lib.settle(config, env.act_space), env.obs_space, env.act_space)
    episodes = pathlib.Path(config.offline).expanduser() if config.offline else logdir
    self._replay = Replay(
        episodes / 'episodes', self._repeats, config.replay_capacity,
        prune_disk=config.prune_disk, last_row=config.dataset_last_row,
        balance=config.dataset_balance, readonly=bool(config.offline), relabel=relabel)
    earlier = curves.read(logdir, 'eval/return', config).values
    self._view = view.make(config, config.steps, devices.describe(), earlier)
    self._logger = Logger(logdir, self._view.row)
    self._pictures = Pictures(logdir, self._logger, config, self._repeats[0])
    self._progress = checkpoint.Progress(
        pretrained=False, trained=None, logged=None, next_eval=None, owed=0,
        eval_episodes=0, episodes={}, rows=0, means={}, source='')
    self._checkpoint = checkpoint.Checkpoint(
        logdir / 'checkpoint', self._agent, self._progress)
    self._restore()
    self._coverage = Coverage(self._replay.stored)
    logdir_lib.save_config(logdir, config, env.obs_space, env.act_space)
    logdir_lib.save_run(logdir, self._logger.time)
    self._clock = Clock(self.frames)
    self._learner = Learner(
        config, logdir, self._agent, self._replay, self._progress.values, self._clock, self._view,
        self._interrupts)
    self._driver = self._make_driver() if self._envs else None
    self._state = None
    self.say(banner.start(config, self._agent, logdir))

  @property
  def frames(self):
    """Frames of finished episodes on disk: the `step` of everything."""
    config = self._config
    if config.offline:
      return sources.frames(config, self._agent.update_count)
    return self._replay.frames

  def prefill(self):
    """Collect uniformly random episodes until config.prefill frames exist."""
    missing = self._config.prefill - self.frames
    if missing > 0 and not self._config.offline:
      self._view.stage('collecting random episodes')
      policy = random_policy(
          self._act_space, self._config.seed, self._driver.next_episode)
      def checked(*args):
        self._interrupts.check()
        return policy(*args)
      with self._clock('env'):
        self._driver(checked, frames=missing)

  def pretrain(self):
    """Make the first updates, once in the life of a run, or those that it owes."""
    values = self._progress.values
    first = not values['pretrained']
    if first:
      # Bursts follow on this grid: prefill + k * train_every.
      values.update(pretrained=True, trained=self.frames, next_eval=self.frames)
    if first or values['owed']:
      self._learn(self._config.pretrain if first else 0)
      self.save()

  def evaluate(self):
    """Log the mean return of noise-free episodes, if they are due."""
    values, config = self._progress.values, self._config
    if self.frames < min(values['next_eval'], config.steps):
      return
    if config.eval_episodes:
      self._evaluate()
    while values['next_eval'] <= self.frames:
      values['next_eval'] += config.eval_every

  def _evaluate(self):
    values, config = self._progress.values, self._config
    self._view.stage('evaluating')
    def policy(obs, state, is_first):
      self._interrupts.check()
      return self._agent.policy({**obs, 'is_first': is_first}, state, 'eval')
    # Evaluation starts from other states than training.
    tasks = [task for task, _ in config_lib.eval_tasks(config)]
    played = run_episodes(
        policy, self._eval_envs, [repeat for _, repeat in config_lib.eval_tasks(config)],
        config.seed + EVAL_ENV, config.eval_episodes, values['eval_episodes'])
    values['eval_episodes'] += config.eval_episodes
    returns = [[episode['reward'].sum() for episode in episodes] for episodes in played]
    row = {
        'eval/return': np.mean(returns), 'eval/return_std': np.std(returns),
        'eval/episodes': np.size(returns), 'eval/noise': config.eval_noise}
    if len(tasks) > 1:
      row.update({f'eval/return/{task}': np.mean(x) for task, x in zip(tasks, returns)})
    row.update(self._report(self._agent))
    self._logger.write(self.frames, row, 'eval')
    self._pictures.evaluation(self.frames, self._agent, self._replay, played[0][0])
    self._clock.skip()

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
    counter = self.frames
    self._view.stage('collecting')

    def policy(obs, state, is_first):
      nonlocal counter
      self._interrupts.check()
      self._learn_if_due(counter)
      with self._clock('policy'):
        result = self._agent.policy(
            {**obs, 'is_first': is_first}, state, 'train', counter)
      counter += int(np.dot(self._driver.running, self._repeats))
      return result
    with self._clock('env'):
      self._state = self._driver(
          policy, self._state, frames=until - self.frames)
      self._learn_if_due(self.frames)

  def save(self):
    """Write a checkpoint of everything that the next process has to know."""
    self._view.stage('saving')
    self._progress.values.update(
        episodes={str(e): k for e, k in self._replay.count_per_env().items()},
        rows=self._logger.rows, means=self._learner.means.values)
    self._checkpoint.save()
    logdir_lib.save_run(self._logdir, self._logger.time)

  def mark_finished(self):
    """Tell later processes that nothing is left to do up to here."""
    logdir_lib.save_run(self._logdir, self._logger.time, self.frames)

  def say(self, text):
    """Show a message on the terminal."""
    self._view.say(text)

  def close(self):
    """End the environments and the view, and close the files."""
    self._close()
    self._logger.close()

  def _close(self):
    if self._view:
      self._view.close()
    for env in self._envs + self._eval_envs:
      env.close()

  def _restore(self):
    resumed = self._checkpoint.restore()
    values = self._progress.values
    if self._config.deterministic and not self._config.offline:
      # What came after the checkpoint is collected again.
      self._replay.set_aside({int(e): k for e, k in values['episodes'].items()})
    if self._config.get('source') and values['source'] != self._config.source:
      # Of what the other run had to do, nothing is left to do.
      values.update(
          source=self._config.source, rows=0, owed=0, logged=None, trained=self._replay.frames,
          next_eval=self._replay.frames, means={})
    if self._config.get('snapshot') and not resumed:
      checkpoint.restore_world_model(self._config.offline, self._agent.world_model)
    if self._config.deterministic:
      self._logger.rewind(values['rows'])
    elif resumed and values['pretrained'] and not self._config.offline:
      # Updates that were missed are not caught up.
      every = self._config.train_every
      missed = max(0, self.frames - values['trained']) // every
      values['trained'] += missed * every
    if resumed or self.frames:
      self.say(f'Continuing at {self.frames:,} frames, {self._agent.update_count:,} updates.')

  def _make_driver(self):
    counts = self._replay.count_per_env()
    first = [counts.get(e, 0) for e in range(len(self._envs))]
    return Driver(
        self._envs, self._repeats, self._config.seed, self._on_episode, first,
        in_turn=len(self._tasks) > 1, limit=self._limit)

  def _limit(self):
    """Frames of an episode that begins now."""
    config = self._config
    if not config.collect_limit:
      return config.time_limit
    every = config.collect_limit_doubles
    grown = max(0, self.frames - config.collect_limit_from)
    return config.collect_limit * 2 ** (grown / every if every else 0)

  def _on_episode(self, episode, k, e):
    if not self._config.get('seed_episode_rewards', True):
      learned = float(self._progress.values['pretrained'])  # that is, after the prefill
      episode['reward_mask'] = np.full(len(episode['reward']), learned, np.float32)
    self._replay.add(episode, k, e)
    covered = self._coverage.add(episode)
    score, length = self._games.pop(e, (0.0, 0))
    score += episode['reward'].sum()
    length += (len(episode['reward']) - 1) * self._repeats[e]
    if self._driver.goes_on[e]:  # the return is that of the whole game
      self._games[e] = score, length
      return
    task = self._tasks[e % len(self._tasks)]
    named = {f'train/return/{task}': score} if len(self._tasks) > 1 else {}
    self._logger.write(self.frames, {
        'train/return': score, **named, 'train/length': length,
        'train/episodes': self._replay.episodes, **covered}, 'episode')

  def _learn_if_due(self, counter):
    values, config = self._progress.values, self._config
    while counter >= values['trained'] + config.train_every:
      values['trained'] += config.train_every
      self._learn(config.train_steps)

  def _learn(self, updates):
    self._learner.burst(updates, self.frames)
    self._view.stage('collecting')
    self._log_training()

  def _log_training(self):
    values = self._progress.values
    logged = values['logged']
    if logged is not None and self.frames < logged + self._config.log_every:
      return
    # Like the published trigger, later rows keep to the grid of the first.
    values['logged'] = self.frames if logged is None else (
        logged + self._config.log_every * (
            (self.frames - logged) // self._config.log_every))
    row = {f'agent/{name}': value for name, value in self._learner.means.take().items()}
    row['agent/updates'] = self._agent.update_count
    self._logger.write(self.frames, {**row, **self._clock.take(self.frames)}, 'train')
