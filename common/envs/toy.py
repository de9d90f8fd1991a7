"""Tiny discrete tasks with known optima, solvable in minutes: toy_NAME.

  lock: a combination of four numbers has to be entered. Each of three actions enters one; the right
    one moves on, a wrong one begins again. The last right one pays 1 and begins again. An episode
    has 40 decisions, so 10 is the best return; uniform actions get about 0.3.
  maze: four rooms of 7 x 7 cells, 60 decisions from a corner. Four actions move by a cell, or nowhere
    against a wall. Every decision that ends in the opposite corner pays 1: 33 is the best return,
    uniform actions get nothing. maze_down and maze_right pay in the corners between, with best
    returns of 35, and maze_near by the wall of the first room, with 52, of which uniform actions
    get 0.6. They share all but the reward.
  NAME_vector: the same with one-hot vectors in place of images.
"""
import gymnasium
import numpy as np

from common.config import UserError, nearest

CODE = (2, 0, 1, 2)
LOCK_DECISIONS = 40
MAZE = (
    *['.......#.......'] * 6,
    '...............',
    '######.#.######',
    '...............',
    *['.......#.......'] * 6)
MAZE_DECISIONS = 60
MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))  # rows and columns: up, down, left, right
GOALS = {'maze': (14, 14), 'maze_down': (14, 0), 'maze_right': (0, 14), 'maze_near': (3, 6)}
BEST_RETURNS = {
    'lock': LOCK_DECISIONS / len(CODE), 'maze': 33, 'maze_down': 35, 'maze_right': 35,
    'maze_near': 52}
TASKS = tuple(name + kind for kind in ('', '_vector') for name in BEST_RETURNS)


def make(name, size=64, coordinates=False, rewards=False):
  """The task, in the protocol of `wrappers`.

  Args:
    name: one of TASKS.
    size: height and width of images, pixels.
    coordinates: observe where it is, as log_state, in 0 to 1.
    rewards: observe the rewards of its siblings and its own, as reward/toy_NAME.
  Raises:
    UserError: no such name.
  """
  find(name)
  kind = name.removesuffix('_vector')
  vectors = kind != name
  if kind == 'lock':
    return Lock(vectors, size, coordinates)
  return Maze(kind, vectors, size, coordinates, rewards)


def find(name):
  """Raise UserError unless the task exists."""
  if name not in TASKS:
    raise UserError(
        f'task: the suite toy has no task {name!r}. '
        f'{nearest(f"toy_{name}", [f"toy_{known}" for known in TASKS])}')


def siblings(name):
  """Names of the tasks that share all but the reward with a task, itself included, or ()."""
  kind = name.removesuffix('_vector')
  return tuple(goal + name[len(kind):] for goal in GOALS) if kind in GOALS else ()


class Toy:
  """Base of the tasks. Nothing in them is random."""

  decisions = None

  def __init__(self, vector_size, actions, size, coordinates, rewards=()):
    """vector_size: length of the vector, or None for images of `size` pixels."""
    self._size, self._time = size, 0
    self.obs_space = {'image': gymnasium.spaces.Box(0, 255, (size, size, 3), np.uint8)}
    if vector_size:
      self.obs_space = {'vector': gymnasium.spaces.Box(0.0, 1.0, (vector_size,), np.float32)}
    stored = {'log_state': 2} if coordinates else {}
    stored.update({key: 1 for key in rewards})
    self.obs_space.update({
        key: gymnasium.spaces.Box(0.0, 1.0, (length,), np.float32)
        for key, length in stored.items()})
    self.act_space = gymnasium.spaces.Discrete(actions)

  def reset(self, seed=None):
    """Begin an episode; all are alike."""
    del seed
    self._time = 0
    self.begin()
    return self._observe()

  def step(self, action):
    """Take an action and return (obs, reward, done, info). The end is one of time."""
    reward = self.move(int(action))
    self._time += 1
    done = self._time >= self.decisions
    return self._observe(), reward, done, {'discount': np.float32(1)}

  def close(self):
    """Nothing to free."""

  def begin(self):
    """Go to the start."""
    raise NotImplementedError

  def move(self, action):
    """Change the state; returns the reward."""
    raise NotImplementedError

  def vector(self):
    """What is seen, float32 [D]."""
    raise NotImplementedError

  def image(self):
    """What is seen, uint8 [size, size, 3]."""
    raise NotImplementedError

  def state(self):
    """Where it is, two numbers in 0 to 1."""
    raise NotImplementedError

  def paid(self, key):
    """The reward that the state was reached with, by reward/toy_NAME."""
    raise NotImplementedError

  def _observe(self):
    obs = {}
    for key in self.obs_space:
      if key in ('image', 'vector'):
        obs[key] = getattr(self, key)()
      elif key == 'log_state':
        obs[key] = np.array(self.state(), np.float32)
      else:
        obs[key] = np.float32(self.paid(key))
    return obs


class Lock(Toy):
  """The lock: the image has a bright square for each number entered, and a colour for each place."""

  decisions = LOCK_DECISIONS

  def __init__(self, vectors, size, coordinates):
    super().__init__(len(CODE) if vectors else None, 3, size, coordinates)

  def begin(self):
    """No number is entered."""
    self._place = 0

  def move(self, action):
    """Enter a number."""
    self._place = self._place + 1 if action == CODE[self._place] else 0
    opened = self._place == len(CODE)
    self._place %= len(CODE)
    return float(opened)

  def vector(self):
    """One-hot of how many numbers are entered."""
    return np.eye(len(CODE), dtype=np.float32)[self._place]

  def image(self):
    """Squares, and the coloured bar below them."""
    image = np.full(self.obs_space['image'].shape, 40, np.uint8)
    width = self._size // len(CODE)
    for place in range(len(CODE)):
      square = image[width:3 * width, place * width + 2:(place + 1) * width - 2]
      square[:] = (60, 60, 60)
      if place < self._place:
        square[:] = (230, 230, 90)
    image[3 * width + 4:-4] = ((200, 40, 40), (40, 200, 40), (40, 40, 200), (200, 40, 200))[
        self._place]
    return image

  def state(self):
    """How far it is open."""
    return self._place / len(CODE), 0.0


class Maze(Toy):
  """The maze: the image is its plan, with a bright cell."""

  decisions = MAZE_DECISIONS

  def __init__(self, goal, vectors, size, coordinates, rewards):
    self._goal, kind = GOALS[goal], '_vector' if vectors else ''
    self._goals = {f'reward/toy_{name}{kind}': cell for name, cell in GOALS.items()}
    super().__init__(
        2 * len(MAZE) if vectors else None, len(MOVES), size, coordinates,
        self._goals if rewards else ())
    self._plan = np.array([[40 if cell == '.' else 120 for cell in row] for row in MAZE], np.uint8)

  def begin(self):
    """In the first corner."""
    self._cell = (0, 0)

  def move(self, action):
    """Go to the next cell, if it is none of the wall's."""
    row, column = (x + d for x, d in zip(self._cell, MOVES[action]))
    inside = 0 <= row < len(MAZE) and 0 <= column < len(MAZE)
    if inside and MAZE[row][column] == '.':
      self._cell = (row, column)
    return float(self._cell == self._goal)

  def vector(self):
    """One-hot rows and columns, one after the other."""
    return np.eye(len(MAZE), dtype=np.float32)[list(self._cell)].ravel()

  def image(self):
    """The plan, scaled up; what the cells leave of the picture stays dark."""
    plan = np.repeat(self._plan[..., None], 3, -1)
    plan[self._cell] = (250, 220, 60)
    scale = self._size // len(MAZE)
    image = np.zeros(self.obs_space['image'].shape, np.uint8)
    image[:scale * len(MAZE), :scale * len(MAZE)] = plan.repeat(scale, 0).repeat(scale, 1)
    return image

  def state(self):
    """The middle of the cell, as shares of the maze."""
    return tuple((x + 0.5) / len(MAZE) for x in self._cell)

  def paid(self, key):
    """Whether it is the cell that a task pays for."""
    return float(self._cell == self._goals[key])
