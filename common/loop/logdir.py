"""The directory of a run: who may use it, what it was made with, whether it is done.

Nothing here imports TensorFlow, so that a mistake is refused at once.
"""

import contextlib
import fcntl
import functools
import json
import os
import pathlib
import platform
import shlex
import subprocess
import sys
from importlib import metadata

import gymnasium
import numpy as np

from common import config as config_lib
from common.config import FREE_TO_CHANGE, UserError
from common.data.disk import DiskError
from common.envs import actions
from common.envs import wrappers

WEIGHTS = 'weights.npz'  # of an agent that common.export made
PACKAGES = (  # whose versions a run names
    'tensorflow', 'tf-keras', 'tensorflow-probability', 'dm_control', 'mujoco', 'ale-py', 'gym',
    'gymnasium', 'numpy')

# What a run executes; results and pages of the checkout may change.
CODE = ('common', 'dreamer', 'planet', 'plan2explore', 'configs.yaml', 'setup.py')


@contextlib.contextmanager
def claim(config):
  """Hold the run's directory for this process, after checking that it fits.

  Yields:
    pathlib.Path of the directory, which exists then.
  Raises:
    UserError: another process uses it; it was written by another agent or an
      incompatible config; or it cannot be made.
  """
  path = pathlib.Path(config.logdir).absolute()  # environments may change the working directory
  check(path, config)
  _commit()  # kept for run.json, for the checkout may change before that is written
  # Path's own `exists` raises where one may not look.
  new = [folder for folder in (path, *path.parents) if not os.path.exists(folder)]
  try:
    path.mkdir(parents=True, exist_ok=True)
    lock = (path / '.lock').open('w')
  except OSError as error:
    raise UserError(
        f'{path}: cannot be used as --logdir ({error.strerror}).') from None
  with lock:
    try:
      # The system frees the lock with the process, however that ends.
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise UserError(
          f'{path}: another process is training here. Wait for it, or pass '
          'another --logdir.') from None
    except OSError as error:
      raise UserError(
          f'{path}: the file system cannot lock files ({error.strerror}), which keeps '
          'two processes apart. Pass a --logdir on another one.') from None
    check(path, config)
    try:
      yield path
    except BaseException:
      # What fails before anything was done leaves nothing behind.
      if new and [file.name for file in path.iterdir()] == ['.lock']:
        (path / '.lock').unlink()
        for folder in new:
          with contextlib.suppress(OSError):  # another run has come into it
            folder.rmdir()
      raise


def exported(path):
  """Whether a directory holds a trained agent to use, which no run can go on with."""
  path = pathlib.Path(path)
  return os.path.exists(path / WEIGHTS) and not os.path.exists(path / 'checkpoint')


def check(path, config):
  """Refuse a directory of another agent or of an incompatible config."""
  if exported(path):
    raise UserError(
        f'{path}: holds the weights of a trained agent, without what training goes on from. Pass '
        'another --logdir.')
  if not os.path.exists(path / 'config.yaml'):
    return
  written = config_lib.read(path / 'config.yaml')
  if 'task' not in written:
    raise UserError(
        f'{path}: its config.yaml is cut short (no task is named). Restore it, or pass another --logdir.')
  old = config_lib.filled({'agent': config.agent, **written})
  keys = [key for key in config if key not in FREE_TO_CHANGE]
  if old.get('agent') != config.agent:
    keys = ['agent']  # the rest follows from that
  lines = config_lib.difference(old, config, keys)
  if lines:
    raise UserError(
        f'{path}: was made with other settings ({"; ".join(lines)}). Pass the '
        'same ones to continue, or another --logdir.')


def finished(path, config):
  """Whether a run has reached config.steps and its last evaluation."""
  with contextlib.suppress(TypeError):
    return finished_at(path) >= config.steps
  return False


def finished_at(path):
  """Frames at which a run had reached its steps and its last evaluation, or None."""
  with contextlib.suppress(OSError, ValueError, AttributeError):  # or another's file
    return json.loads((path / 'run.json').read_text()).get('finished_at')
  return None


def save_config(path, config, obs_space, act_space):
  """Write config.yaml with the spaces of the environment. Raises DiskError if that fails."""
  with _writing(path / 'config.yaml'):
    config_lib.save(config, path / 'config.yaml', boxes(obs_space, act_space))


def boxes(obs_space, act_space):
  """The spaces in plain values, which `spaces` understands."""
  box = lambda space: {
      'shape': list(space.shape), 'dtype': str(space.dtype)}
  return {
      'obs_space': {key: box(space) for key, space in sorted(obs_space.items())},
      'act_space': {**box(act_space), 'discrete': isinstance(act_space, wrappers.OneHot)}}


def save_run(path, seconds, finished_at=None):
  """Write run.json: command, commit, versions and seconds of running so far.

  finished_at: frames, once a run has nothing left to do.
  Raises DiskError if the system refuses.
  """
  # The module by its name rather than its path, which is nobody's business.
  module = pathlib.Path(sys.argv[0])
  command = ['python', '-m', f'{module.parent.name}.{module.stem}'] + sys.argv[1:]
  text = json.dumps({
      'command': shlex.join(command), 'commit': _commit(), 'versions': _versions(),
      'seconds': round(seconds), 'finished_at': finished_at}, indent=2)
  temporary = path / '.run.json'
  with _writing(path / 'run.json'):
    temporary.write_text(text + '\n')
    temporary.replace(path / 'run.json')


def last_step(path):
  """Frames of the last row of metrics, for a copy of a run without its episodes; 0 without rows."""
  with contextlib.suppress(OSError, ValueError, KeyError, IndexError, TypeError):
    whole = (path / 'metrics.jsonl').read_bytes().rpartition(b'\n')[0]  # a copy may end within a row
    return int(json.loads(whole.splitlines()[-1])['step'])
  return 0


@functools.cache
def _versions():
  """Those of Python and of PACKAGES, by name."""
  versions = {'python': platform.python_version()}
  for name in PACKAGES:
    with contextlib.suppress(metadata.PackageNotFoundError):
      versions[name] = metadata.version(name)
  return versions


@functools.cache  # of the code that runs, whatever is committed meanwhile
def _commit():
  """Commit of the checkout that this file is in, -dirty if its CODE has changed since.

  None if the file is installed.
  """
  top = pathlib.Path(__file__).resolve().parents[2]
  with contextlib.suppress(OSError, subprocess.SubprocessError):
    if (top / '.git').exists():
      git = lambda *args: subprocess.run(
          ['git', '--no-optional-locks', *args], cwd=top, capture_output=True, text=True,
          check=True, timeout=10).stdout.strip()
      changed = git('status', '--porcelain', '--', *CODE)
      return git('rev-parse', 'HEAD') + ('-dirty' if changed else '')
  return None


def load_config(path):
  """Read what `save_config` wrote.

  Returns:
    (config, obs_space, act_space).
  Raises:
    UserError: there is no run in the directory, or its config.yaml is damaged.
  """
  path = config_lib.expand(path)
  if not os.path.exists(path / 'config.yaml'):
    raise UserError(
        f'{path}: holds no run (config.yaml is missing or out of reach). Pass the --logdir of a run.')
  values = dict(config_lib.read(path / 'config.yaml'))
  if not {'agent', 'obs_space', 'act_space'} <= set(values):
    raise UserError(
        f'{path}: its config.yaml is not one of ours (agent or spaces are missing). '
        'Pass the --logdir of a run.')
  values = config_lib.restore(values, path / 'config.yaml')
  try:
    obs, act = spaces(values.pop('obs_space'), values.pop('act_space'))
  except (AttributeError, KeyError, TypeError, ValueError, IndexError, OverflowError):
    raise UserError(
        f'{path / "config.yaml"}: obs_space or act_space is damaged. Restore the file, or pass '
        'another --logdir.') from None
  return actions.settle(config_lib.Config(values), act), obs, act


def spaces(obs_boxes, act):
  """(obs_space, act_space) of the entries of `boxes`."""
  obs = {}
  for key, box in obs_boxes.items():
    image = box['dtype'] == 'uint8'
    obs[key] = gymnasium.spaces.Box(
        0 if image else -np.inf, 255 if image else np.inf, tuple(box['shape']),
        np.dtype(box['dtype']).type)
  size = act['shape'][0]
  if act['discrete']:
    return obs, wrappers.OneHot(size)
  return obs, gymnasium.spaces.Box(-1, 1, (size,), np.float32)


@contextlib.contextmanager
def _writing(path):
  """Turns a disk that refuses into a DiskError."""
  try:
    yield
  except OSError as error:
    raise DiskError(path, error) from None
