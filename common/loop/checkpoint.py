"""What survives a run: weights, moments, counters and random state."""

import contextlib
import importlib
import json
import pathlib
import re
import shutil
import tempfile

import tensorflow as tf

from common import config as config_lib
from common.config import UserError
from common.data.disk import Disk, DiskError
from common.loop import logdir as logdir_lib
from common.loop import weights
from common.model import devices

NAME = re.compile(r'ckpt-(\d+)[._].*')
INDEX = re.compile(r'ckpt-\d+\.index')
KEEP = 2  # the last good one survives when the newest proves damaged
DAMAGED = (IndexError, ValueError, RuntimeError)  # what TensorFlow raises besides its own


class Progress(tf.train.experimental.PythonState):
  """Counters of the loop, saved as JSON inside the checkpoint.

  Attributes:
    values: dict of plain values.
  """

  def __init__(self, **values):
    super().__init__()
    self.values = values

  def serialize(self):
    """The values as a JSON string."""
    return json.dumps(self.values, sort_keys=True)

  def deserialize(self, text):
    """Take over saved values; what is new since then keeps its default."""
    self.values.update(json.loads(text))


class Checkpoint:
  """Saves and restores an agent with the progress of its run.

  A checkpoint counts once its index is there, which is renamed into place
  after the data is written, so a kill at any moment leaves the last good one.
  No list of them is read, because that could be damaged, too.
  """

  def __init__(self, directory, agent, progress, disk=None):
    """Take what is saved; disk: Disk that waits where the system refuses, or None."""
    self._directory, self._disk = pathlib.Path(directory), disk or Disk()
    self._agent = agent
    self._checkpoint = tf.train.Checkpoint(
        agent=agent, progress=progress, optimizers=agent.optimizers())

  def save(self):
    """Write a checkpoint. Raises DiskError if the system refuses; those before are kept."""
    self._disk.insist(self._write)
    oldest = min(map(_number, self._paths()[:KEEP]), default=0)
    self._remove(lambda number: number < oldest)

  def _write(self):
    count = int(self._checkpoint.save_counter)
    try:
      self._checkpoint.save(str(self._directory / 'ckpt'))
    except (tf.errors.OpError, OSError) as error:
      # What is there of it takes room, and is no checkpoint. The next attempt has its number.
      self._remove(lambda number: number == count + 1)
      self._checkpoint.save_counter.assign(count)
      raise DiskError(self._directory, error, self._size()) from None

  def _size(self):
    """Bytes of the newest checkpoint; 0 if there is none."""
    paths = self._paths()
    with contextlib.suppress(OSError):
      if paths:
        return sum(path.stat().st_size for path in self._directory.glob(f'{paths[0].stem}.*'))
    return 0

  def _remove(self, chosen):
    """Remove the files of chosen numbers, as far as the system lets."""
    found = [(path, NAME.fullmatch(path.name)) for path in self._directory.glob('ckpt-*')]
    paths = [path for path, match in found if match and chosen(int(match[1]))]
    for path in sorted(paths, key=lambda path: path.suffix != '.index'):  # which make them count
      if path.is_dir():  # of a save that broke off
        shutil.rmtree(path, ignore_errors=True)
      else:
        with contextlib.suppress(OSError):
          path.unlink()

  def restore(self):
    """Load the newest checkpoint that is whole; False if there is none.

    Raises:
      UserError: there are some, but none can be loaded into this agent.
    """
    problem = None
    for path in self._paths():
      path = path.with_suffix('')
      try:
        with _as_it_is(path) as name:
          status = self._checkpoint.restore(name)
        status.assert_existing_objects_matched()
        status.assert_consumed()
        return True
      except (tf.errors.OpError, AssertionError, *DAMAGED) as error:
        problem = (str(error).splitlines() or [type(error).__name__])[0]
        print(f'{path}: cannot be loaded ({problem}).', flush=True)
    if problem:
      raise UserError(
          f'{self._directory}: no checkpoint can be loaded ({problem}). Use the '
          f'version and settings that wrote it, or another --logdir.{self._anew()}')
    return False

  def _anew(self):
    """What the same command does without damaged checkpoints, where that is of use."""
    config = self._agent.config
    if config.get('source'):
      return ''  # a copy begins in an empty directory
    again = config.deterministic and not config.offline
    then = 'collects the same episodes again' if again else 'learns anew from the episodes'
    return f' Where the files are damaged, move this folder away: the same command then {then}.'

  def _paths(self):
    """The indices of the checkpoints, the newest first."""
    return _indices(self._directory)


@contextlib.contextmanager
def _as_it_is(path):
  """A name of the checkpoint at `path` for TensorFlow, which takes names for patterns of names."""
  if not set(str(path.parent)) & set('*?[]{}\\'):
    yield str(path)
    return
  with tempfile.TemporaryDirectory() as folder:
    link = pathlib.Path(folder, 'checkpoint')
    link.symlink_to(path.parent.resolve())
    yield str(link / path.name)


def _indices(directory):
  """Paths of the indices of checkpoints, the newest first. What others put there has other names."""
  found = [path for path in directory.glob('ckpt-*.index') if INDEX.fullmatch(path.name)]
  return sorted(found, key=_number)[::-1]


def _number(path):
  return int(path.stem.rpartition('-')[2])


def restore_world_model(logdir, world_model):
  """Load encoder, latent model and decoder from the newest whole checkpoint of another run.

  Raises:
    UserError: there is none, or its networks have other sizes.
  """
  directory = config_lib.expand(logdir) / 'checkpoint'
  parts = {
      name: getattr(world_model, name) for name in ('encoder', 'rssm', 'decoder', 'classifier')
      if hasattr(world_model, name)}
  reader = tf.train.Checkpoint(
      agent=tf.train.Checkpoint(world_model=tf.train.Checkpoint(**parts)))
  paths = _indices(directory)
  if not paths:
    raise UserError(f'{directory}: has no checkpoint. Pass the directory of a longer run.')
  problems = []
  for path in paths:
    try:
      with _as_it_is(path.with_suffix('')) as name:
        status = reader.restore(name)
      status.assert_existing_objects_matched().expect_partial()
    except (tf.errors.OpError, AssertionError, *DAMAGED) as error:
      problem = (str(error).splitlines() or [type(error).__name__])[0]
      problems.append(f'{path.with_suffix("")}: cannot be loaded ({problem}).')
    else:
      print(*problems, sep='\n', end='\n' * bool(problems), flush=True)
      return
  raise UserError(
      f'{directory}: its world model does not fit, or is damaged. {problems[0]} Pass the sizes of '
      'that run, or copy it anew.')


def agent_class(name):
  """The class of the agent called `name`, from its own package.

  Found when a command runs, because nothing in `common` depends on an agent.
  """
  module = importlib.import_module(f'{name}.agent')
  return getattr(module, {
      'dreamer': 'Dreamer', 'planet': 'PlaNet', 'plan2explore': 'Plan2Explore'}[name])


def load(logdir):
  """The saved agent of a run of any kind, or one that common.export made, ready to act.

    agent = common.load(DIR)
    action, state = agent.policy(obs, state, mode='eval')

  Raises:
    UserError: there is no run, or nothing was saved yet.
  """
  logdir = config_lib.expand(logdir)
  config, obs_space, act_space = logdir_lib.load_config(logdir)
  config = devices.setup(config.replace(devices=1, machines=False))
  agent = agent_class(config.agent)(config, obs_space, act_space)
  if logdir_lib.exported(logdir):
    weights.load(logdir / logdir_lib.WEIGHTS, agent)
    return agent
  progress = Progress()
  if not Checkpoint(logdir / 'checkpoint', agent, progress).restore():
    raise UserError(
        f'{logdir}: has no checkpoint yet. Train for longer, or, if this is a copy, copy checkpoint/, too.')
  agent.saved_frames = progress.values.get('frames')
  return agent
