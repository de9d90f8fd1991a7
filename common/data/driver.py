"""Collection: steps environments with a policy, and forms episodes.

  row       0         1         2
  obs       reset     o1        o2
  action    zeros     a1        a2       a1 was chosen at the reset and led to o1
  reward    0         r1        r2       r1 arrived with o1
  discount  1         d1        d2       0 after a real end, 1 after a time limit

An episode of n decisions has n + 1 rows; the action that would be chosen at the last does not
exist. One decision is `action_repeat` frames.

Values that nobody can learn from end an episode before they arrive, and what fails is built anew:
see `faults`. Attempt n at episode k of environment e resets with a seed made of (seed, e, k, n).
"""
import functools

import numpy as np

from common.config import UserError
from common.data.faults import ERRORS, Faults, GaveUp
from common.envs import values
from common.envs.wrappers import OneHot


class Driver:
  """Steps environments together, across calls, and hands over each episode that ends.

  Attributes:
    frames: of the episodes that ended so far.
    surplus: frames credited beyond what was asked for; the next call begins with them.
    next_episode: list, the number of each environment's next or running episode.
    running: bool [M], which environments took the last decision.
    goes_on: list, whether the next episode goes on with the game of which the last one was a part.
    went_on: list, whether the running or last episode went on with the game of the one before.
  """

  def __init__(
      self, envs, action_repeat, seed, on_episode=None, first_episode=0, in_turn=False,
      limit=None, faults=None, whole=False, first_env=0):
    """Take over environments; nothing is reset yet.

    Args:
      envs: list of M environments in the protocol of `envs.wrappers`, or of `Parallel` ones,
        which then work at the same time.
      action_repeat: frames in a decision, or a list with those of each environment.
      seed: non-negative int. Episode k of environment e resets with a seed made of (seed, e, k).
      on_episode: function of (episode, k, e), called at each end, in the order of environments.
        The episode is a dict of arrays [rows, ...]: the observation keys as uint8 or float32,
        `action` float32 [rows, A], `reward` and `discount` float32 [rows].
      first_episode: number of the first episode, or a list with one of each environment.
      in_turn: an environment that is ahead by an episode waits for the others, so that several
        tasks get the same number of episodes.
      limit: function without arguments, asked at each reset: the frames after which the episode
        that begins is over at the latest, which is no real end.
      faults: faults.Faults that decides about environments that fail. Default: the first raises.
      whole: episodes that bad values cut short are played again, not handed over.
      first_env: number of the first environment, where others step those before.
    """
    self._envs = list(envs)
    self._repeats = _per_env(action_repeat, len(self._envs))
    self._in_turn = in_turn
    self._limit = limit or (lambda: np.inf)
    self._limits = [np.inf] * len(self._envs)
    self._seed, self._first_env = seed, first_env
    self._on_episode = on_episode
    self.next_episode = _per_env(first_episode, len(self._envs))
    self._obs = [None] * len(self._envs)
    self._rows = [[] for _ in self._envs]
    self._faults = faults
    self._whole = whole
    self._attempts = [0] * len(self._envs)  # dropped ones at the episode that runs or comes next
    self._done = np.ones(len(self._envs), bool)
    self._end = None  # GaveUp or UserError, raised once what has ended is handed over
    self.running = np.ones(len(self._envs), bool)
    self.goes_on = [False] * len(self._envs)
    self.went_on = [False] * len(self._envs)
    self.frames = self.surplus = 0

  def __call__(self, policy, state=None, frames=0, episodes=0, decisions=0):
    """Collect until so many frames are credited, episodes have ended and decisions are taken.

    Frames are credited only when their episode ends, so collection stops at the end of an
    episode. Other environments may then be in the middle of theirs, and go on in the next call.

    Args:
      policy: function of (obs, state, is_first) that returns (action [M, A], state). `obs` is a
        dict of stacked arrays [M, ...] with `reward` float32 [M], 0 at a reset; `is_first` is
        bool [M]. What it answers for an environment that waits is not used.
      state: what the policy gets at first; None at the beginning.
      frames: amount to be credited, the surplus of the last call included.
      episodes: amount to be ended, counted anew in each call.
      decisions: amount to be taken in each environment that does not wait, counted anew.
    Returns:
      The last state of the policy, to be passed to the next call.
    """
    credited, ended, taken = (self.surplus if frames else 0), 0, 0
    while credited < frames or ended < episodes or taken < decisions:
      is_first = self._reset()
      action, state = policy(_stack(self._obs), state, is_first)
      action = np.asarray(action, np.float32)
      assert action.shape[:1] == (len(self._envs),), action.shape
      self._step(action)
      taken += 1
      for index in np.flatnonzero(self._done & self.running):
        if self._rows[index]:  # it was not dropped
          credited += self._finish(index)
          ended += 1
      self._check()
    if frames:
      self.surplus = credited - frames
    return state

  @property
  def unfinished(self):
    """Frames so far of the episodes that are still running."""
    return sum(
        (len(rows) - 1) * repeat for rows, repeat in zip(self._rows, self._repeats) if rows)

  def abandon(self):
    """Drop the episodes that are running, and games that would go on: environments begin others."""
    for e, env in enumerate(self._envs):
      if self.goes_on[e]:
        self._begin(e, _started(env.reset, self._reset_seed(e)))  # into the game, which the next one leaves
      if self._rows[e]:
        self._drop(e)
        self._done[e], self.goes_on[e] = True, False

  def close(self):
    """Close all environments."""
    for env in self._envs:
      env.close()

  def _reset(self):
    """Begin new episodes where the last one is over and it is their turn: bool [M]."""
    fresh = self._done.copy()
    if self._in_turn:
      fresh &= np.array(self.next_episode) == min(self.next_episode)
    over = np.flatnonzero(fresh)
    results = [_started(self._envs[e].reset, self._reset_seed(e)) for e in over]
    for e, result in zip(over, results):
      while not self._begin(e, result):
        self._check()
        result = _started(self._envs[e].reset, self._reset_seed(e))
      self._limits[e] = self._limit()
    self._done[fresh] = False
    self.running = ~self._done
    return fresh

  def _begin(self, e, result):
    """Take the first observation of an episode; whether there is one to go on from."""
    try:
      obs = _arrays({**result(), 'reward': 0.0})
      problem = values.problem(obs, 1.0)
      if problem:
        raise ValueError(f'{problem} at the reset')
    except ERRORS as error:
      self._restart(e, error)
      return False
    self._obs[e] = obs
    self.went_on[e] = self.goes_on[e]
    # The zero action takes its size from the first row that has one, see `_finish`.
    self._rows[e] = [{**obs, 'discount': np.float32(1)}]
    return True

  def _step(self, actions):
    """Take one action in every running environment: all are started, then all collected."""
    running = np.flatnonzero(self.running)
    if not np.isfinite(actions[running]).all():
      raise SystemExit(
          'The policy chose an action that is not finite, so the run ends here; the last checkpoint '
          'is intact. Try --precision float32, or a lower --model_lr in another --logdir.')
    results = [_started(self._envs[e].step, actions[e].copy()) for e in running]  # some write into it
    for e, result in zip(running, results):
      try:
        obs, reward, done, info = result()
        obs = _arrays({**obs, 'reward': reward})
        values.check_shapes(obs, self._obs[e])
        discount = np.float32(np.reshape(info.get('discount', 1.0 - done), ()))
      except ERRORS as error:
        self._restart(e, error)
        continue
      problem = values.problem(obs, discount)
      if problem:
        self._cut(e, problem)
        continue
      self._obs[e] = obs
      self._rows[e].append({**obs, 'action': actions[e].copy(), 'discount': discount})
      frames = (len(self._rows[e]) - 1) * self._repeats[e]
      self._done[e] = done or frames >= self._limits[e]
      self.goes_on[e] = done and info.get('goes_on', False)
      if self._done[e] and self._faults:
        self._faults.sound(self._first_env + e)

  def _check(self):
    """Raise GaveUp or UserError where an environment cannot go on."""
    if self._end:
      raise self._end

  def _cut(self, e, problem):
    """End an episode before values that cannot be used; without a decision it is dropped."""
    step, faults = len(self._rows[e]), self._faults or Faults()
    kept = 0 if self._whole else step - 1
    if not kept:
      self._drop(e)
    self._done[e], self.goes_on[e] = True, False
    try:
      faults.reject(self._first_env + e, self.next_episode[e], step, problem, kept)
    except GaveUp as end:
      self._end = self._end or end

  def _restart(self, e, error):
    """Build an environment anew that failed; its episode is dropped."""
    if self._faults is None or not hasattr(self._envs[e], 'restart'):
      raise error
    step = len(self._rows[e])
    self._drop(e)
    self._done[e], self.goes_on[e] = True, False
    while error:
      try:
        self._faults.restart(self._first_env + e, self.next_episode[e], step, error)
      except (GaveUp, UserError) as end:
        self._end = self._end or end
        return
      try:
        self._envs[e].restart()
        error = None
      except ERRORS as again:
        error = again

  def _drop(self, e):
    self._rows[e] = []
    self._attempts[e] += 1

  def _finish(self, e):
    """Hand over the episode that ended and return its frames."""
    rows, self._rows[e], number = self._rows[e], [], self.next_episode[e]
    rows[0]['action'] = np.zeros_like(rows[1]['action'])
    episode = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
    self.next_episode[e] += 1
    self._attempts[e] = 0
    frames = (len(rows) - 1) * self._repeats[e]
    self.frames += frames
    if self._on_episode:
      self._on_episode(episode, number, self._first_env + int(e))
    return frames

  def _reset_seed(self, e):
    again = (self._attempts[e],) if self._attempts[e] else ()
    key = (self._seed, self._first_env + int(e), self.next_episode[e], *again)
    return int(np.random.SeedSequence(key).generate_state(1)[0])


def run_episodes(
    policy, envs, action_repeat, seed, episodes, first_episode=0, faults=None, keep=lambda x: x):
  """Episodes of a policy from reproducible starts, the same number in each environment.

  Args:
    policy: as Driver takes it.
    envs: environments.
    action_repeat: as for the Driver.
    seed: of the resets, with the number of the episode.
    episodes: how many in each environment.
    first_episode: number of the first.
    faults: as for the Driver; only whole episodes count.
    keep: function of an episode that gives what is returned of it, as pictures fill memory.
  Returns:
    List with a list of `episodes` dicts of arrays [rows, ...] for each environment.
  """
  found = [[] for _ in envs]
  driver = Driver(
      envs, action_repeat, seed, lambda episode, k, e: found[e].append(keep(episode)), first_episode,
      in_turn=True, faults=faults, whole=True)
  driver(policy, episodes=episodes * len(envs))
  return found


def random_policy(act_space, seed, first_episode=0, first_env=0):
  """Return a policy of uniformly random actions, one-hot or in the bounds.

  The action at decision t of episode k in environment e is a function of (seed, e, k, t), where k
  counts what began, episodes that were dropped, too.

  Args:
    act_space: Box with finite bounds, or OneHot.
    seed: non-negative int.
    first_episode, first_env: as for the Driver that will use the policy.
  Returns:
    Policy in the form that Driver takes; its state counts episodes and decisions.
  """
  first_episode = np.array(first_episode)  # a copy: the driver's list moves on
  def policy(obs, state, is_first):
    del obs
    amount = len(is_first)
    episode, decision = state or (np.array(_per_env(first_episode, amount)) - 1, 0)
    episode, decision = episode + is_first, np.where(is_first, 0, decision + 1)
    keys = zip(range(first_env, first_env + amount), episode.tolist(), decision.tolist())
    return np.stack([_uniform(act_space, (seed, *key)) for key in keys]), (episode, decision)
  return policy


def _uniform(space, key):
  generator = np.random.default_rng(key)
  if isinstance(space, OneHot):
    return space.vector(generator.integers(space.n))
  return generator.uniform(space.low, space.high).astype(np.float32)


def _started(function, *args):
  """Begin a call; returns the promise of its result, which raises what the beginning raised."""
  try:
    value = function(*args)
  except ERRORS as error:
    return functools.partial(_raise, error)
  return value if callable(value) else lambda: value


def _raise(error):
  raise error


def _arrays(obs):
  """Return copies in the two stored dtypes: uint8 stays, all else is float32."""
  with np.errstate(over='ignore'):  # what becomes infinite is refused
    arrays = {key: np.asarray(value) for key, value in obs.items()}
    return {
        key: np.array(value, np.uint8 if value.dtype == np.uint8 else np.float32)
        for key, value in arrays.items()}


def _stack(observations):
  # Who has waited from the start, for its turn, sees what another sees: its action is not used.
  seen = next(obs for obs in observations if obs)
  return {key: np.stack([(obs or seen)[key] for obs in observations]) for key in seen}


def _per_env(numbers, amount):
  """Return a list with a number for each environment."""
  numbers = [numbers] * amount if np.ndim(numbers) == 0 else list(numbers)
  assert len(numbers) == amount, (numbers, amount)
  return [int(number) for number in numbers]
