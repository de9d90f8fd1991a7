"""Games of the Arcade Learning Environment: atari_GAME, such as atari_space_invaders.

The emulator is driven frame by frame through ale-py, whose wheel brings the games.
"""
import functools
import re

import gymnasium
import numpy as np
from PIL import Image

from common.config import UserError, nearest
from common.envs import images

NO_OP = 0
LONGEST = 108_000  # frames of a game, as published


class Atari:
  """One game in the protocol of `wrappers`; a step is `repeat` frames, or fewer at the end.

  The image is the maximum of the last two frames, as many objects are drawn in every second one
  only; at repeat 1, and where an episode ends before the last two of a step, it is the last frame.
  The actions are Discrete.

  With life_end an episode ends, with discount 0, when a life is lost. Unless life_reset the next
  `reset` goes on with the game, which `info['goes_on']` announces; all others begin a new one.
  """

  def __init__(
      self, name, repeat=4, size=64, gray=False, resize='area', sticky=0.25, noops=30,
      actions='minimal', life_end=False, life_length=0, life_reset=True, seed=0):
    """Load the game.

    Args:
      name: of the game in snake case.
      repeat: frames for each action.
      size: height and width of the image, pixels.
      gray: one channel rather than three.
      resize: area or bilinear, how the picture of 210 x 160 pixels shrinks.
      sticky: probability, at each frame, that the action of the frame before is taken instead.
      noops: a new game begins with 1 to so many frames without action; 0 is none.
      actions: minimal (those that do something in this game) or full (all 18).
      life_end: episodes end when a life is lost ...
      life_length: ... but not before so many steps.
      life_reset: a new game begins then, too.
      seed: of resets that are given none.
    Raises:
      UserError: no such game, or no ale-py.
    """
    ale_py = _library()
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    self._ale = ale_py.ALEInterface()
    self._ale.setInt('frame_skip', 1)
    # The emulator would draw these from a seed that it takes with a whole new game only.
    self._ale.setFloat('repeat_action_probability', 0.0)
    self._ale.loadROM(find(name))
    # Without it a new game takes over what the last one left in the console, in seaquest for one.
    self._unplayed = self._ale.cloneState(include_rng=True)
    self._sticky, self._repeat, self._size, self._noops = sticky, repeat, size, noops
    self._resize = {'area': images.resize, 'bilinear': resize_bilinear}[resize]
    self._life_end, self._life_length, self._life_reset = life_end, life_length, life_reset
    self._random = np.random.default_rng(seed)
    self._actions = (
        self._ale.getLegalActionSet() if actions == 'full' else self._ale.getMinimalActionSet())
    self.obs_space = {
        'image': gymnasium.spaces.Box(0, 255, (size, size, 1 if gray else 3), np.uint8)}
    self.act_space = gymnasium.spaces.Discrete(len(self._actions))
    shape = tuple(self._ale.getScreenDims()) + (() if gray else (3,))
    self._screens = [np.zeros(shape, np.uint8) for _ in range(2)]
    self._grab_into = self._ale.getScreenGrayscale if gray else self._ale.getScreenRGB
    self._goes_on = False

  def reset(self, seed=None):
    """Go on with a game of which a life was lost, or begin one, a function of the seed if given."""
    if seed is not None:
      self._random = np.random.default_rng(seed)
    if not self._goes_on:
      self._begin()
    self._goes_on, self._steps = False, 0
    return self._observe()

  def step(self, action):
    """Take an action, an int, and return (obs, reward, done, info)."""
    self._steps += 1
    chosen = self._actions[int(action)]
    repeats = self._random.random(self._repeat) < self._sticky
    total = 0.0
    for frame in range(self._repeat):
      if not repeats[frame]:
        self._last_action = chosen
      total += self._ale.act(self._last_action)
      over, lost = self._ale.game_over(), self._life_lost()
      if over or lost or frame >= self._repeat - 2:
        # The screen beside it must be that of the frame before.
        self._grab(alone=frame < max(1, self._repeat - 1))
      if over or lost:
        break
    self._goes_on = lost and not (over or self._life_reset)
    done = over or lost
    return self._observe(), total, done, {
        'discount': np.float32(not done), 'goes_on': self._goes_on}

  def bare_step(self, action):
    """The emulator's part of a step alone, for comparison: no picture, no lives, no rewards."""
    for _ in range(self._repeat):
      self._ale.act(self._actions[int(action)])
    if self._ale.game_over():
      self._ale.reset_game()

  def close(self):
    """Nothing to free."""

  def _life_lost(self):
    """Whether the episode ends by the loss of a life, now that a frame has passed."""
    lives, before = self._ale.lives(), self._lives
    self._lives = lives
    return self._life_end and 0 < lives < before and self._steps >= self._life_length

  def _begin(self):
    self._ale.restoreState(self._unplayed)
    self._ale.reset_game()
    self._last_action = NO_OP
    if self._noops:
      for _ in range(self._random.integers(1, self._noops + 1)):
        self._ale.act(NO_OP)
        if self._ale.game_over():
          self._ale.reset_game()
    self._lives = self._ale.lives()
    self._grab(alone=True)

  def _grab(self, alone):
    """Take in the present frame, beside the one before or alone."""
    self._screens.reverse()
    self._grab_into(self._screens[0])
    if alone:
      self._screens[1][:] = self._screens[0]

  def _observe(self):
    screen = np.maximum(*self._screens)
    return {'image': self._resize(screen.reshape(*screen.shape[:2], -1), self._size)}


def resize_bilinear(image, size):
  """Shrink uint8 [H, W, C] to [size, size, C] by the filter of the published Dreamer's library."""
  picture = Image.fromarray(image if image.shape[2] > 1 else image[..., 0])
  small = picture.resize((size, size), Image.Resampling.BILINEAR)
  return np.asarray(small).reshape(size, size, -1)


def find(name):
  """Return the path of a game's ROM.

  Raises:
    UserError: there is no such game, or no ale-py.
  """
  library = _library()
  games = library.roms.get_all_rom_ids()
  if name not in games:
    game = game_of(name)
    known = [f'atari_{game}' for game in games]
    hint = f'Did you mean atari_{game}?' if game in games else nearest(f'atari_{name}', known)
    raise UserError(f'task: there is no Atari game {name!r}. {hint}')
  return library.roms.get_rom_path(name)


def games():
  """Names of the games that there are, none without ale-py."""
  try:
    return _library().roms.get_all_rom_ids()
  except UserError:
    return []


def game_of(identifier):
  """The name of the game in an id of Gym's, such as pong of ALE/Pong-v5 and PongNoFrameskip-v4."""
  name = re.sub(r'(NoFrameskip|Deterministic|-ram)*-v\d+$', '', identifier.rpartition('/')[2])
  return re.sub(r'(?<=[a-z0-9])(?=[A-Z])', '_', name).lower()


@functools.lru_cache()
def _library():
  try:
    import ale_py
    import ale_py.roms  # pylint: disable=unused-import
  except ImportError as error:
    raise UserError(
        f"task: Atari games need the package ale-py ({error}). Type: pip install -e '.[atari]'"
    ) from None
  return ale_py
