"""Pictures of environments that show none by themselves, but can draw what happens."""
import os

import gymnasium
import numpy as np

from common.config import UserError

MODE = 'rgb_array'  # the render_mode of pictures as arrays
KEY = 'image'       # of the observation


class Drawn:
  """Adds the picture that an environment draws to what a GymEnv observes: `image`, uint8 [H, W, 3].

  It is drawn after every frame, those that an action is repeated for as well.
  """

  def __init__(self, env, task):
    """Take over a GymEnv, begin an episode and draw it once.

    Args:
      env: GymEnv of an environment that was made with render_mode rgb_array.
      task: name for messages.
    Raises:
      UserError: it does not draw, not in the form of pictures, or has an observation of that name.
    """
    if KEY in env.obs_space:
      raise UserError(f'{task}: shows an observation {KEY!r} by itself. Leave out gym_draw.')
    # pygame, with which most environments draw, looks for a screen that nobody needs.
    os.environ.setdefault('SDL_VIDEODRIVER', 'dummy')
    self._env = env
    env.reset(seed=0)  # nothing is drawn before
    try:
      picture = env.render()
    except Exception as error:  # whatever draws, of whatever library
      raise UserError(
          f'{task}: cannot be drawn: {" ".join((str(error) or repr(error)).split()).rstrip(".")}. Install what is '
          'missing, or leave out gym_draw.') from error
    if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8 or picture.ndim != 3:
      raise UserError(
          f'{task}: render returned {_form(picture)}, expected an array uint8 [height, width, 3]. '
          'Let a function make it with render_mode "rgb_array", or leave out gym_draw.')
    space = gymnasium.spaces.Box(0, 255, picture.shape, np.uint8)
    self.obs_space, self.act_space = {**env.obs_space, KEY: space}, env.act_space
    self.notes = env.notes

  def reset(self, seed=None):
    """Begin an episode and return its first observation."""
    return self._see(self._env.reset(seed))

  def step(self, action):
    """Take an action and return (obs, reward, done, info)."""
    obs, *rest = self._env.step(action)
    return self._see(obs), *rest

  def close(self):
    """Close the environment."""
    self._env.close()

  def _see(self, obs):
    return {**obs, KEY: self._env.render()}


def _form(picture):
  """Such as 'NoneType' or 'float32 [64, 64]'."""
  if isinstance(picture, np.ndarray):
    return f'{picture.dtype} {list(picture.shape)}'
  return type(picture).__name__
