"""Tasks of the DeepMind Control suite: dmc_DOMAIN_TASK.

Nothing touches OpenGL unless images are asked for: dm_control is imported without a renderer and
gets one when the first environment with images is built. MUJOCO_GL is respected if the user set
it; else EGL is tried, then OSMesa.
"""
import contextlib
import ctypes
import functools
import importlib
import os
import sys
import threading
import warnings
import weakref

import gymnasium
import numpy as np

from common.config import UserError, nearest
from common.envs import dmc_extras, wrappers

NO_OPENGL = (
    'dmc: images need OpenGL, but neither EGL nor OSMesa works here. Install it (Debian: apt-get '
    'install libegl1 libgl1 libosmesa6 libopengl0; leave out libosmesa6 where there is none), or learn '
    'from vectors: --configs dmc_proprio.')
UNBOUNDED = 1e9  # bounds of actions from which on there are none
SOFTWARE = ('llvmpipe', 'softpipe', 'swrast', 'software')  # in the names of Mesa's own renderers

_LOCK = threading.Lock()  # environments in threads are built at the same time


class DeepMindControl:
  """One task of the suite, one frame a step, in the protocol of `wrappers`.

  The image is rendered by `observe` only, so that repeated frames cost nothing. The discount is
  that of the suite: 1 at its time limit, 0 at a real end (of which only lqr has any).
  """

  def __init__(
      self, name, size=64, camera='auto', cnn_keys='image', mlp_keys='', seed=0, rewards=False,
      coordinates=False):
    """Build the task; nothing is simulated yet.

    Args:
      name: DOMAIN_TASK, with `cup` short for ball_in_cup.
      size: height and width of the image, pixels.
      camera: index of the camera, or 'auto'.
      cnn_keys: regular expression; the observation has an image if it fits 'image'.
      mlp_keys: regular expression for the names of vectors.
      seed: of resets that are given none.
      rewards: observe the rewards of all tasks that share the physics, too, as reward/dmc_TASK.
      coordinates: observe where the simulation is, as log_state; see dmc_extras.coordinates.
    Raises:
      UserError: unknown task, no such camera, no key fits, or images without OpenGL.
    """
    domain, task = find(name)
    # The number given here only fixes the model of lqr, whose springs are drawn once; episodes
    # are seeded by `reset`.
    self._env = _load(domain, task)
    # dm_control prints tracebacks when the interpreter ends before the physics is freed.
    self._free = weakref.finalize(self, self._env.physics.free)
    self._env.task.random.seed(seed)
    self._size = size
    self._camera = camera_id(domain, camera)
    if not -1 <= self._camera < self._env.physics.model.ncam:
      raise UserError(
          f'dmc_{name}: there is no camera {camera}. '
          f'Pass --camera auto or an index up to {self._env.physics.model.ncam - 1}.')
    self.obs_space = wrappers.select_keys(self._spaces(), cnn_keys, mlp_keys, f'dmc_{name}')
    spec = self._env.action_spec()
    # Of lqr they are 1e10, as far as which nobody gets: its rewards fall with the square.
    bound = lambda values: np.where(np.abs(values) < UNBOUNDED, values, np.sign(values))
    self.act_space = gymnasium.spaces.Box(
        bound(spec.minimum).astype(np.float32), bound(spec.maximum).astype(np.float32), dtype=np.float32)
    # The one task whose reset wants a renderer in any case, to send it the new terrain.
    if 'image' in self.obs_space or name == 'quadruped_escape':
      enable_rendering()
    self._vectors = None
    self._domain = domain if coordinates else None
    self._siblings, self._paid = {}, {}
    for other in dmc_extras.siblings(name) if rewards else ():
      env = _load(*find(other))
      self._siblings[f'reward/dmc_{other}'] = env.task
      env.physics.free()

  @property
  def frame_limit(self):
    """Frames after which the suite itself ends an episode (may be infinite)."""
    return self._env._step_limit  # dm_control has no public name for it

  def reset(self, seed=None):
    """Begin an episode, which is a function of the seed if one is given."""
    if seed is not None:
      self._env.task.random.seed(seed)
    self._vectors = self._env.reset().observation
    self._paid = {key: 0.0 for key in self._siblings}
    return self.observe()

  def step(self, action):
    """Simulate one frame and return (obs, reward, done, info)."""
    reward, done, info = self.advance(action)
    return self.observe(), reward, done, info

  def advance(self, action):
    """Simulate one frame with action float [A] and return (reward, done, info)."""
    assert np.isfinite(action).all(), action
    frame = self._env.step(action)
    self._vectors = frame.observation
    for key, task in self._siblings.items():
      self._paid[key] += task.get_reward(self._env.physics)
    return float(frame.reward or 0.0), frame.last(), {'discount': np.float32(frame.discount)}

  def observe(self):
    """Return the observation of the present state, rendered now: dict of uint8 and float32.

    The rewards of siblings are those since it was called last.
    """
    obs = {key: np.float32(value) for key, value in self._paid.items()}
    self._paid = {key: 0.0 for key in self._siblings}
    if self._domain:
      obs['log_state'] = dmc_extras.coordinates(self._domain, self._env.physics)
    for key, space in self.obs_space.items():
      if key == 'image':
        obs[key] = self._env.physics.render(self._size, self._size, self._camera)
      else:
        obs[key] = np.asarray(self._vectors[key], np.float32).reshape(space.shape)
    return obs

  def close(self):
    """Free the physics and its renderer. A second time does nothing."""
    self._free()

  def _spaces(self):
    spaces = {'image': image_space(self._size)}
    for key, spec in self._env.observation_spec().items():
      length = int(np.prod(spec.shape))
      spaces[key] = gymnasium.spaces.Box(-np.inf, np.inf, (length,), np.float32)
    return spaces


def find(name):
  """Return (domain, task) of the suite for DOMAIN_TASK.

  Raises:
    UserError: there is no such task.
  """
  if name not in tasks():
    known = [f'dmc_{known}' for known in tasks()]
    raise UserError(f'task: the suite dmc has no task {name!r}. {nearest(f"dmc_{name}", known)}')
  return tasks()[name]


@functools.lru_cache()
def tasks():
  """Return all tasks of the suite: dict of name -> (domain, task)."""
  result = {f'{domain}_{task}': (domain, task) for domain, task in _suite().ALL_TASKS}
  result['cup_catch'] = result['ball_in_cup_catch']
  result.update({f'{domain}_{task}': (domain, task) for domain, task in dmc_extras.OWN})
  return result


def _load(domain, task):
  if (domain, task) in dmc_extras.OWN:
    return dmc_extras.load_own(task)
  return _suite().load(domain, task, task_kwargs={'random': 0})


def camera_id(domain, camera='auto'):
  """Return the camera that training films with: 2 for quadruped, else 0, or the index given."""
  if camera == 'auto':
    return 2 if domain == 'quadruped' else 0
  return int(camera)


def image_space(size):
  """Return the space of the rendered image, uint8 [size, size, 3]."""
  return gymnasium.spaces.Box(0, 255, (size, size, 3), np.uint8)


def _misses_screen(backend):
  """Whether GLFW cannot begin; dm_control finds out when it draws, and then the process aborts."""
  from dm_control._render import constants
  if backend not in constants.GLFW:
    return False
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    try:
      import glfw
    except ImportError:  # told where dm_control loads it
      return False
    return not glfw.init()


def enable_rendering():
  """Give dm_control a renderer: that of MUJOCO_GL, else EGL, else OSMesa.

  Raises:
    UserError: none works, with the packages to install.
  """
  _suite()
  # Private, but the only place where dm_control keeps its renderer; it looks there at each use.
  from dm_control import _render
  with _LOCK:
    if _render.BACKEND != 'off':
      return
    backend = os.environ.get('MUJOCO_GL') or _choose_backend()
    os.environ['MUJOCO_GL'] = backend
    if _misses_screen(backend):
      raise UserError(
          f'dmc: MUJOCO_GL={backend} draws on a screen, and there is none. Unset MUJOCO_GL to let the program '
          'choose.')
    try:
      importlib.reload(_render)
    except Exception as error:  # each backend fails in its own way: ImportError, AttributeError ...
      device = 'MUJOCO_EGL_DEVICE_ID'
      remedy = (
          f'Unset {device}, or name a device that there is.'
          if device in str(error) or not os.environ.get(device, '0').isdigit() else
          'Unset MUJOCO_GL to let the program choose; Debian packages: libegl1 libgl1 libosmesa6 libopengl0.')
      raise UserError(
          f'dmc: the renderer MUJOCO_GL={backend} does not load ({error}). {remedy}') from error
    if _render.BACKEND == 'off':
      raise UserError(
          f'dmc: images were asked for but MUJOCO_GL={backend} forbids rendering. '
          'Unset MUJOCO_GL, or learn from vectors: --configs dmc_proprio.')
    keep_apart()


def before_foreign_code():
  """What has to be settled before code is imported that is not ours, which may render.

  What it imports would choose a renderer by itself, such as one that needs a screen.
  """
  if 'MUJOCO_GL' not in os.environ:
    with contextlib.suppress(UserError):  # it may not need one
      os.environ['MUJOCO_GL'] = _choose_backend()
  keep_apart()


def keep_apart():
  """Let TensorFlow be imported after a renderer.

  Mesa, which renders without a GPU, shows its LLVM to the whole process. TensorFlow brings another
  one, and would crash when imported later unless it prefers its own.
  """
  sys.setdlopenflags(sys.getdlopenflags() | getattr(os, 'RTLD_DEEPBIND', 0))


def gl_renderer():
  """Return the name of what draws: a graphics card, or a program, see draws_in_software.

  Raises:
    UserError: as enable_rendering.
  """
  enable_rendering()
  from dm_control import _render
  from OpenGL import GL  # which reads what enable_rendering has set
  context = _render.Renderer(64, 64)
  try:
    with context.make_current() as current:
      return current.call(GL.glGetString, GL.GL_RENDERER).decode()
  finally:
    context.free()


def draws_in_software(renderer):
  """Whether that is the name of a renderer which leaves a graphics card idle."""
  return any(name in renderer.lower() for name in SOFTWARE)


@functools.lru_cache()
def _suite():
  """Import dm_control without a renderer, which saves half a second and needs no OpenGL."""
  with _LOCK:
    chosen = os.environ.get('MUJOCO_GL')
    os.environ['MUJOCO_GL'] = 'off'
    try:
      from dm_control import suite
    finally:
      os.environ.pop('MUJOCO_GL')
      if chosen is not None:
        os.environ['MUJOCO_GL'] = chosen
  return suite


def _choose_backend():
  for name, works in (('egl', _egl_works), ('osmesa', _osmesa_works)):
    if works():
      return name
  raise UserError(NO_OPENGL)


def _egl_works():
  """Return whether some EGL device can be initialised, as dm_control will do it.

  The display stays initialised: others in this process may use it, and twice does no harm.
  """
  device_type, max_devices = 0x313F, 16  # EGL_PLATFORM_DEVICE_EXT
  try:
    egl = ctypes.CDLL('libEGL.so.1')
    _load_first('libOpenGL.so.0', 'libGL.so.1')
    egl.eglGetProcAddress.restype = ctypes.c_void_p
    query, display_of = (egl.eglGetProcAddress(name) for name in (
        b'eglQueryDevicesEXT', b'eglGetPlatformDisplayEXT'))
  except OSError:
    return False
  if not query or not display_of:
    return False
  pointer, number = ctypes.c_void_p, ctypes.c_int
  query = ctypes.CFUNCTYPE(number, number, ctypes.POINTER(pointer), ctypes.POINTER(number))(query)
  display_of = ctypes.CFUNCTYPE(pointer, number, pointer, pointer)(display_of)
  egl.eglInitialize.argtypes = [pointer, pointer, pointer]
  devices, amount = (pointer * max_devices)(), number()
  if not query(max_devices, devices, ctypes.byref(amount)):
    return False
  displays = [display_of(device_type, device, None) for device in devices[:amount.value]]
  return any(display and egl.eglInitialize(display, None, None) for display in displays)


def _osmesa_works():
  """Return whether OSMesa can make a context."""
  try:
    library = _load_first('libOSMesa.so.8', 'libOSMesa.so.6', 'libOSMesa.so')
    library.OSMesaCreateContext.restype = ctypes.c_void_p
    context = library.OSMesaCreateContext(0x1908, None)  # GL_RGBA
    library.OSMesaDestroyContext(ctypes.c_void_p(context))
  except (OSError, AttributeError):
    return False
  return bool(context)


def _load_first(*names):
  for name in names[:-1]:
    try:
      return ctypes.CDLL(name)
    except OSError:
      pass
  return ctypes.CDLL(names[-1])
