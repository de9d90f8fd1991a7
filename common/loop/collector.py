"""What collects apart from the learner: some of a run's environments and a copy of the agent.

It lives in a process of its own, see `crew`, on this machine or another. All that it plays is a
function of what it is told: the weights, the numbers of the episodes and how many decisions the
run has made before. So where it lives and how fast it is do not matter.
"""
import pickle
from typing import NamedTuple

import numpy as np

from common import config as config_lib
from common import envs
from common.config import UserError
from common.data.driver import Driver, random_policy
from common.data.faults import Faults
from common.loop import acting
from common.model import devices

SEEDS = 2 ** 31 - 1


class Order(NamedTuple):
  """What a collector is asked to play."""
  random: bool    # uniformly random actions, for the prefill
  decisions: int  # in each of its environments
  calls: int      # policy calls of the run before, on which the random numbers hang
  frames: int     # of the run, on which schedules hang
  limit: float    # frames of episodes that begin, see Driver


class Ended(NamedTuple):
  """An episode that a collector has played, as Driver hands it over."""
  episode: dict
  k: int
  e: int
  went_on: bool
  goes_on: bool


class Played(NamedTuple):
  """What became of an Order."""
  ended: list      # of Ended
  frames: int      # of all decisions
  unfinished: int  # frames of the episodes that are still running
  said: list       # sentences about faults
  logged: list     # their tracebacks
  counts: dict     # their numbers
  problem: object  # None, or the SystemExit for which the run has to end


class Collector:
  """Plays what it is ordered to; the methods are called by `crew`, in the order below.

  Args:
    config: Config as devices.setup gave it; `envs` of each task are shared by `collectors`.
    index: number of this collector.
  """

  def __init__(self, config, index):
    self._config, self._index, self._driver = config, index, None
    self._envs = envs.make_all(config, config.envs // config.collectors, self.first_env, 'train')

  @property
  def first_env(self):
    """Number of the first of its environments among those of the run."""
    share = self._config.envs // self._config.collectors
    return self._index * share * len(config_lib.tasks(self._config))

  @property
  def obs_space(self):
    """Dict of name -> Box of the environments."""
    return self._envs[0].obs_space

  @property
  def act_space(self):
    """Box or OneHot, the actions of the environments."""
    return self._envs[0].act_space

  @property
  def notes(self):
    """Sentences on how the environments are understood, for people."""
    return envs.notes(self._envs)

  def build(self, recipe):
    """Make the copy that acts, in float32 on the CPU.

    Args:
      recipe: pickled pair of a subclass of agent.Agent and the Config of the learner's agent.
    """
    agent_class, config = pickle.loads(recipe)
    seed = np.random.SeedSequence((config.seed, self._index, SEEDS)).generate_state(1)[0] % SEEDS
    config = config.replace(seed=int(seed), precision='float32', jit=False, devices=1, machines=False)
    self._copy = agent_class(config, self.obs_space, self.act_space)

  def take(self, weights):
    """Take over the weights: arrays in the order of acting.weights."""
    for own, other in zip(acting.weights(self._copy), weights, strict=True):
      own.assign(other)

  def begin(self, first):
    """Begin anew with the episodes of these numbers, a list with one of each environment."""
    if self._driver:
      self._driver.abandon()
    self._said, self._logged, self._ended = [], [], []
    repeats = config_lib.repeats(self._config)[self.first_env:][:len(self._envs)]
    faults = Faults(self._config.env_faults, self._said.append, self._log)
    self._counts = faults.counts
    self._limit = np.inf
    self._driver = Driver(
        self._envs, repeats, self._config.seed, self._on_episode, first,
        in_turn=len(config_lib.tasks(self._config)) > 1, limit=lambda: self._limit, faults=faults,
        first_env=self.first_env)
    self._random = random_policy(self.act_space, self._config.seed, first, self.first_env)
    self._repeats = np.array(repeats)
    self._states = {True: None, False: None}  # of the random policy, of the agent's

  def play(self, order):
    """Carry out an Order. Returns Played; raises UserError as environments do."""
    self._limit, self._frames = order.limit, 0
    act = self._random if order.random else self._agent(order)
    def policy(obs, state, is_first):
      self._frames += int(np.dot(self._driver.running, self._repeats))
      return act(obs, state, is_first)
    problem = None
    try:
      self._states[order.random] = self._driver(
          policy, self._states[order.random], decisions=order.decisions)
    except UserError:
      raise
    except SystemExit as error:
      problem = error
    played = Played(
        self._ended[:], self._frames, self._driver.unfinished, self._said[:], self._logged[:],
        dict(self._counts), problem)
    for told in (self._ended, self._said, self._logged, self._counts):
      told.clear()
    return played

  def close(self):
    """Close the environments."""
    for env in self._envs:
      env.close()

  def _agent(self, order):
    self._copy.calls.assign(order.calls)
    return lambda obs, state, is_first: self._copy.policy(
        {**obs, 'is_first': is_first}, state, 'train', order.frames)

  def _on_episode(self, episode, k, e):
    own = e - self.first_env
    self._ended.append(Ended(
        episode, k, e, self._driver.went_on[own], self._driver.goes_on[own]))

  def _log(self, text):
    self._logged.append(text)
    return f'{self._config.logdir}/faults.log'


def alone(config, index):
  """A Collector in a process of its own: GPUs are the learner's, one thread is enough.

  One thread also means the same sums on machines with the same kind of CPU.
  """
  devices.setup_collector(config)
  return Collector(config, index)
