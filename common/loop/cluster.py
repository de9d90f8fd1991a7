"""A Ray cluster: joining it, and workers on its nodes with the methods of `envs.workers`."""
import contextlib
import importlib.util
import os
import socket

import cloudpickle
import numpy as np

from common.config import UserError
from common.envs import workers

STORE = 100 * 2 ** 20  # bytes of shared memory of a local cluster for what it is not told to keep
PATIENCE = 5  # seconds for an address to answer


def check_installed(command):
  """Refuse without the package ray, on behalf of a command. Raises UserError."""
  if importlib.util.find_spec('ray') is None:
    raise UserError(f"{command}: --ray needs the package ray. Type: pip install -e '.[ray]'")


def connect(address, command, store=STORE):
  """Join a cluster.

  Args:
    address: `local` starts one on this machine alone, which ends with this process; `auto` is the
      one that runs on this machine; else what ray.init takes, such as HOST:PORT.
    command: what messages begin with.
    store: bytes of shared memory of a local one.
  Returns:
    The module ray.
  Raises:
    UserError: no cluster answers.
  """
  # Read at the import. Nothing is reported to its makers.
  os.environ['RAY_USAGE_STATS_ENABLED'] = '0'
  own = {}
  if address == 'local':
    own = dict(include_dashboard=False, object_store_memory=store)
    # What Ray does elsewhere than on Linux: listen on this machine alone.
    os.environ['RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER'] = '0'
  else:  # who does not answer at once, won't
    os.environ.setdefault('RAY_NUM_REDIS_GET_RETRIES', '2')
  try:
    host, _, port = address.removeprefix('ray://').rpartition(':')
    if port.isdecimal():  # Ray itself would try for many minutes
      socket.create_connection((host.strip('[]'), int(port)), timeout=PATIENCE).close()
    import ray  # here, as it takes a second
    ray.init(address=address, log_to_driver=False, logging_level='ERROR', **own)
  except Exception as error:  # of many kinds
    reason = ' '.join(str(error).split()) or type(error).__name__
    raise UserError(
        f'{command}: no Ray cluster at --ray {address} ({reason.rstrip(".")}). Start one by: ray '
        'start --head, or pass --ray local. One that asks for tokens needs RAY_AUTH_MODE=token.'
    ) from None
  return ray


@contextlib.contextmanager
def workers_of(address, command, count):
  """Join a cluster for a while.

  Args:
    address, command: as for `connect`.
    count: of the workers that are to come, of one CPU each.
  Yields:
    (make, share): `make(constructor)` starts a worker, see workers.make; `share(value)` puts
    what all of them are told where they find it.
  Raises:
    UserError: no cluster answers, or it has fewer CPUs.
  """
  check_installed(command)
  ray = connect(address, command, 5 * STORE)
  try:
    found = ray.cluster_resources().get('CPU', 0)
    if found < count:
      raise UserError(
          f'{command}: the cluster at --ray {address} has {found:g} CPUs, but each of {count} '
          f'collectors needs one. Pass --collectors {max(1, int(found))} or less, or add nodes.')
    yield (lambda constructor: _Worker(ray, constructor)), ray.put
  finally:
    ray.shutdown()


class _Worker:
  """An object in an actor of Ray. When it dies Ray has no more of it than its constructor."""

  def __init__(self, ray, constructor):
    self._ray = ray
    self._actor = ray.remote(num_cpus=1)(_Host).remote(cloudpickle.dumps(constructor))

  def call(self, method, *args):
    answer = self._actor.answer.remote(method, *args)
    return workers.Promise(
        lambda: self._get(answer), 'a collector',
        lambda seconds: bool(self._ray.wait([answer], timeout=seconds)[0]))

  def close(self):
    self._ray.kill(self._actor)

  def _get(self, answer):
    try:
      return _copied(self._ray.get(answer))
    except self._ray.exceptions.RayError as error:  # the actor, its node, or what lay there
      lines = [line.strip() for line in str(error).splitlines() if line.strip()]
      raise workers.Gone(f'a collector is gone: {lines[0].rstrip(".:")}') from None


class _Host:
  """The actor: answers as a process of `workers` does."""

  def __init__(self, constructor):
    with contextlib.suppress(ValueError):  # signals are the learner's to handle
      workers.ignore_signals()
    self._failure = self._object = None
    try:
      self._object = cloudpickle.loads(constructor)()
    except (Exception, SystemExit) as error:  # the learner raises it
      self._failure = workers.describe(error)

  def answer(self, method, *args):
    """What workers.attempt says."""
    return self._failure or workers.attempt(self._object, method, args)


def _copied(value):
  """The same, with arrays of their own: those of Ray keep its shared memory from being used again."""
  if isinstance(value, np.ndarray):
    return np.array(value)
  if isinstance(value, dict):
    return {key: _copied(x) for key, x in value.items()}
  if isinstance(value, (list, tuple)):
    parts = [_copied(x) for x in value]
    return type(value)(*parts) if hasattr(value, '_fields') else type(value)(parts)
  return value
