"""The weights of a trained agent in one small file: enough to act and to dream, not to train on."""
import numpy as np
import tensorflow as tf

from common.config import UserError
from common.data.episodes import UNREADABLE
from common.model.optimizer import Optimizer


FRAMES = 'saved_frames'  # after which they were saved; files of earlier versions lack it


def save(path, agent, dtype=np.float16):
  """Write the weights and counters of an agent, as .npz, and the frames after which it was saved.

  Args:
    path: of the file.
    agent: agent.Agent.
    dtype: of the floats in the file. float16 keeps three digits.
  Raises:
    UserError: a weight is too large for it.
  """
  arrays = {} if agent.saved_frames is None else {FRAMES: agent.saved_frames}
  for name, variable in named(agent).items():
    value = variable.numpy()
    with np.errstate(over='ignore'):
      arrays[name] = value.astype(dtype) if value.dtype.kind == 'f' else value
    if not np.all(np.isfinite(arrays[name])):
      raise UserError(
          f'{path}: {name} has numbers that {np.dtype(dtype)} does not hold. Pass --dtype float32.')
  np.savez_compressed(path, **arrays)


def load(path, agent):
  """Give an agent the weights in a file, and `saved_frames`. Raises UserError: they are not its own."""
  variables = named(agent)
  try:
    with np.load(path, allow_pickle=False) as file:
      arrays = {name: file[name] for name in file.files}
    frames = arrays.pop(FRAMES, None)
    agent.saved_frames = None if frames is None else int(frames)
  except (*UNREADABLE, TypeError) as error:
    raise UserError(
        f'{path}: cannot be read ({error or type(error).__name__}). Fetch it again.') from None
  wrong = sorted(
      name for name in variables.keys() | arrays.keys()
      if name not in arrays or name not in variables
      or arrays[name].shape != tuple(variables[name].shape))
  if wrong:
    raise UserError(
        f'{path}: does not fit its config.yaml ({len(wrong)} weights, first {wrong[0]}). Use the '
        'version that wrote it.')
  for name, variable in variables.items():
    variable.assign(arrays[name].astype(variable.dtype.as_numpy_dtype))


def named(agent):
  """Dict of path, such as world_model/rssm/..., to variable: all but those of the optimisers."""
  own = {
      id(variable) for optimizer in agent.submodules if isinstance(optimizer, Optimizer)
      for variable in optimizer.counters}
  found = {}
  for path, variable in agent._flatten(  # pylint: disable=protected-access
      predicate=lambda x: isinstance(x, tf.Variable), with_path=True):
    name = '/'.join(map(str, path))
    # Of several ways to a variable the one that reads like the networks.
    rank = sum(part.startswith('_') or part.endswith('_') for part in map(str, path)), len(path)
    this = rank, name, variable
    if id(variable) not in own:
      found[id(variable)] = min(found.get(id(variable), this), this, key=lambda each: each[:2])
  return {name: variable for _, name, variable in found.values()}
