"""DeepMind Lab: dmlab_LEVEL, such as dmlab_rooms_collect_good_objects_train.

The package deepmind_lab is on no package index; users build it.
"""
import gymnasium
import numpy as np

from common.config import UserError

# Turn and look (pixels), strafe, move, fire, jump, crouch: the nine published actions.
ACTIONS = (
    (0, 0, 0, 1, 0, 0, 0),     # forward
    (0, 0, 0, -1, 0, 0, 0),    # backward
    (0, 0, -1, 0, 0, 0, 0),    # strafe left
    (0, 0, 1, 0, 0, 0, 0),     # strafe right
    (-20, 0, 0, 0, 0, 0, 0),   # look left
    (20, 0, 0, 0, 0, 0, 0),    # look right
    (-20, 0, 0, 1, 0, 0, 0),   # look left and forward
    (20, 0, 0, 1, 0, 0, 0),    # look right and forward
    (0, 0, 0, 0, 1, 0, 0))     # fire
PIXELS = 'RGB_INTERLEAVED'


class DeepMindLab:
  """One level in the protocol of `wrappers`; a step is `repeat` frames.

  Episodes end by time, with discount 1. There is no picture after the end, so that the last one
  is shown again.
  """

  def __init__(self, name, repeat=4, size=64, seed=0):
    """Start the level.

    Args:
      name: of the level; one of DMLab-30 unless it has a folder.
      repeat: frames for each action.
      size: height and width of the image, pixels.
      seed: of resets that are given none.
    Raises:
      UserError: no deepmind_lab.
    """
    level = name if '/' in name else f'contributed/dmlab30/{name}'
    self._env = _library().Lab(
        level, [PIXELS], config={'width': str(size), 'height': str(size)})
    self._repeat, self._random = repeat, np.random.RandomState(seed)
    self.obs_space = {'image': gymnasium.spaces.Box(0, 255, (size, size, 3), np.uint8)}
    self.act_space = gymnasium.spaces.Discrete(len(ACTIONS))
    self._image = None

  def reset(self, seed=None):
    """Begin an episode, which is a function of the seed if one is given."""
    self._env.reset(seed=self._random.randint(2 ** 31) if seed is None else seed % 2 ** 31)
    return self._observe()

  def step(self, action):
    """Take an action, an int, and return (obs, reward, done, info)."""
    reward = self._env.step(np.array(ACTIONS[int(action)], np.intc), num_steps=self._repeat)
    done = not self._env.is_running()
    obs = {'image': self._image} if done else self._observe()
    return obs, float(reward), done, {'discount': np.float32(1)}

  def close(self):
    """Stop the level."""
    self._env.close()

  def _observe(self):
    self._image = np.array(self._env.observations()[PIXELS], np.uint8)
    return {'image': self._image}


def find(name):
  """Raise UserError unless deepmind_lab is there; it alone knows its levels."""
  del name
  _library()


def _library():
  try:
    import deepmind_lab
  except ImportError as error:
    raise UserError(
        f'task: DeepMind Lab is not installed ({error}), and no package index has it. Build its '
        'Python package as https://github.com/google-deepmind/lab says and install the wheel here.'
    ) from None
  return deepmind_lab
