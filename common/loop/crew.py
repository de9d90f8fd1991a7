"""The collectors of a run, asked together: on this machine, or on the nodes of a Ray cluster."""
import concurrent.futures
import contextlib
import functools

import cloudpickle

from common import config as config_lib
from common.config import UserError
from common.envs import workers
from common.loop import acting
from common.loop import collector
from common.loop.collector import Order

CHUNK = 25  # decisions that an interrupt may have to wait for
AHEAD = 3   # orders that a collector has at most
POLL = 0.2  # seconds between looks for an interrupt
NAME = 'a collector'


class Crew:
  """Has the methods of acting.ActingCopy, and `play` in place of its policy.

  A collector that dies is begun anew: with the weights taken last, at the first episodes of its
  environments that nobody has, and with what was left to play.

  Args:
    config: Config as devices.setup gave it.
    make: function of a function that makes a collector, which returns a worker as `workers.make`
      does.
    share: function of a value that all workers are told, which returns what to tell them.
    stopped: function that says whether the run was asked to end before it began.
  """

  def __init__(self, config, make, share=lambda value: value, stopped=lambda: False):
    self._make = [
        functools.partial(make, functools.partial(collector.alone, config, i))
        for i in range(config.collectors)]
    self._workers = [make() for make in self._make]
    self._share, self._stopped = share, stopped
    self._each = config.envs // config.collectors * len(config_lib.tasks(config))
    self._agent = self._recipe = self._weights = None
    self._next = []  # number of each environment's next episode that nobody has
    self._unfinished = [0] * len(self._workers)
    self._told = [[] for _ in self._workers]  # promises of what nobody waits for
    self._calls = 0

  @property
  def obs_space(self):
    """Dict of name -> Box of the environments. Raises what building them raised."""
    return self._first('obs_space')

  @property
  def act_space(self):
    """Box or OneHot, the actions of the environments."""
    return self._first('act_space')

  @property
  def notes(self):
    """Sentences on how the environments are understood, for people."""
    return self._first('notes')

  def _first(self, name):
    """What the first collector says, once it is there."""
    promise = self._workers[0].call(name)
    try:
      while not promise.ready(POLL):
        if self._stopped():
          raise UserError('The run was asked to end before its collectors were there.')
      return promise()
    except workers.Gone as error:
      raise UserError(f'collectors: {error}, before the run began.') from None

  def build(self, agent_class, config):
    """Let all collectors begin to make an agent of their own, see collector.Collector.build."""
    self._recipe = (cloudpickle.dumps((agent_class, config)),)  # classes of programs, by value
    self._tell_all('build', *self._recipe)

  def follow(self, agent):
    """From now on `take` means this agent."""
    self._agent = agent

  def take(self):
    """Let all collectors take over the agent's weights."""
    weights = [variable.numpy() for variable in acting.weights(self._agent)]
    self._weights = self._share(weights)
    for i in range(len(self._workers)):
      if not self._reads(i, self._stopped):
        return  # the run is asked to end
      self._tell(i, 'take', self._weights)

  def take_count(self):
    """Take over the count of policy calls, on which the random numbers of acting hang."""
    self._calls = int(self._agent.calls.numpy())

  def give_count(self):
    """Give the count back, so that a checkpoint of the agent has it."""
    self._agent.calls.assign(self._calls)

  @property
  def unfinished(self):
    """Frames so far of the episodes that are still running."""
    return sum(self._unfinished)

  def begin(self, first):
    """Begin anew with the episodes of these numbers, a list with one of each environment."""
    self._next = list(first)
    self._unfinished = [0] * len(self._workers)
    for i in range(len(self._workers)):
      self._tell(i, 'begin', self._of(i))

  def play(self, decisions, frames, limit, check, faults, random=False):
    """Let all collectors play at the same time.

    Args:
      decisions: in each environment.
      frames: of the run, on which schedules hang.
      limit: frames of episodes that begin.
      check: function that raises when the run has to end.
      faults: faults.Faults that decides about collectors that die.
      random: play uniformly random actions.
    Yields:
      collector.Played, in an order that hangs on counts alone.
    Raises:
      GaveUp: too many collectors died; and what the collectors raise.
    """
    orders = [
        Order(random, min(CHUNK, decisions - done), self._calls + done, frames, limit)
        for done in range(0, decisions, CHUNK)]
    # A pipe that is full of orders and another full of answers would wait for each other for ever.
    promises = [self._ask(i, orders[:AHEAD]) for i in range(len(self._workers))]
    for number in range(len(orders)):
      for i in range(len(self._workers)):
        played = self._played(i, number, orders, promises, check, faults)
        promises[i] += self._ask(i, orders[number + AHEAD:number + AHEAD + 1])
        yield played
    self._calls += 0 if random else decisions

  def close(self):
    """End all collectors at the same time."""
    with concurrent.futures.ThreadPoolExecutor(len(self._workers)) as pool:
      for worker in self._workers:
        pool.submit(worker.close)

  def _of(self, i):
    return self._next[i * self._each:(i + 1) * self._each]

  def _tell_all(self, method, *args):
    for i in range(len(self._workers)):
      self._tell(i, method, *args)

  def _tell(self, i, method, *args):
    self._told[i].append(self._workers[i].call(method, *args))

  def _reads(self, i, ends):
    """Wait until a collector has done what it was told, and so reads what comes; False if it `ends`.

    Weights are more than a pipe holds: who sends them to one that still builds waits for it blindly.
    """
    for promise in self._told[i]:
      while not promise.ready(POLL):
        if ends():
          return False
      with contextlib.suppress(Exception):  # it raises again where it is looked at
        promise()
    return True

  def _ask(self, i, orders):
    return [self._workers[i].call('play', order) for order in orders]

  def _played(self, i, number, orders, promises, check, faults):
    """The answer of collector i to an order, begun anew as often as it takes."""
    while True:
      try:
        for promise in (*self._told[i], promises[i][number]):
          while not promise.ready(POLL):
            check()
          check()
          played = promise()
        self._told[i] = []
        break
      except workers.Gone as error:
        faults.lost(i, error)
        self._restart(i, check)
        promises[i][number:] = self._ask(i, orders[number:len(promises[i])])
    if played.ended:
      faults.sound(i)
    for ended in played.ended:
      self._next[ended.e] = ended.k + 1
    self._unfinished[i] = played.unfinished
    return played

  def _restart(self, i, check):
    with contextlib.suppress(Exception):
      self._workers[i].close()
    self._workers[i], self._told[i] = self._make[i](), []
    self._tell(i, 'build', *self._recipe)
    if self._weights is not None:
      self._reads(i, check)
      self._tell(i, 'take', self._weights)
    self._tell(i, 'begin', self._of(i))


def local(config, stopped=lambda: False):
  """A Crew of processes on this machine."""
  make = functools.partial(workers.make, timeout=None, name=NAME)
  return Crew(config, make, stopped=stopped)
