"""Several machines that share each batch: the first one runs, the others compute their share.

TF_CONFIG names them, as for tf.distribute.MultiWorkerMirroredStrategy. The first machine alone
collects, evaluates and has the directory. The others need the same version, and are told the rest:

    first    config   | spaces | weights | frames and a share of the batch, each update | closes
    others   ok, join | build  | take    | gradients; all apply the mean of all         | end

They are told at the port after the first machine's. Like those of TensorFlow, these connections are
neither encrypted nor protected. Nothing here imports TensorFlow before the machines have met.
"""
import contextlib
import json
import os
import select
import signal
import socket
import struct
import time
from typing import NamedTuple

from common.config import UserError
from common.data.faults import GaveUp
from common.loop import logdir
from common.loop import wire
from common.loop.interrupts import SIGNALS

PATIENCE = 600  # seconds for the first machine to answer
HELLO = 5       # seconds in which who connects has to say which machine it is
SLOWEST = 120   # seconds in which a machine has to take what it is sent
FITS = b'\1'    # what a machine says once it can join


class Lost(GaveUp):
  """Another machine is gone: exit code 1, with one sentence."""


class Shares(NamedTuple):
  """A batch, shared."""
  here: object      # as of Agent.distribute
  elsewhere: list   # of dicts of arrays


def cluster():
  """(addresses, index of this machine) of TF_CONFIG. Raises UserError."""
  with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
    found = json.loads(os.environ.get('TF_CONFIG', ''))
    addresses, index = list(found['cluster']['worker']), int(found['task']['index'])
    for address in addresses:
      _port(address)
    if len(addresses) > 1 and not 0 <= index < len(addresses):
      raise UserError(
          f'config: TF_CONFIG names {len(addresses)} machines, but its index is {index}. Pass one from 0 '
          f'to {len(addresses) - 1}, another on each.')
    if len(found['cluster']) == 1 and found['task']['type'] == 'worker' and (
        0 <= index < len(addresses) > 1):
      return addresses, index
  raise UserError(
      'config: machines is True, but TF_CONFIG is not set, no JSON, or does not name two or more of '
      'them. Set it like '
      '\'{"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, "task": {"type": "worker", '
      '"index": 0}}\', with another index on each, or pass --machines False.')


def check(config):
  """Index of this machine, 0 if there is only one. Raises UserError."""
  if not config.machines:
    return 0
  addresses, index = cluster()
  if config.batch_size % len(addresses):
    raise UserError(
        f'config: batch_size {config.batch_size} cannot be shared by {len(addresses)} machines. '
        f'Pass a multiple of {len(addresses)}.')
  return index


class First:
  """The first machine's connections to the others, in whose place it trains."""

  def __init__(self, config):
    """Wait for the others, and tell them the config. Raises UserError: the port is in use."""
    self._addresses, _ = cluster()
    self._agent, self._told, self._sockets = None, False, {}
    host, port = _port(self._addresses[0])
    try:
      both = socket.has_dualstack_ipv6()
      with socket.create_server(
          ('', port), family=socket.AF_INET6 if both else socket.AF_INET, dualstack_ipv6=both,
          backlog=len(self._addresses)) as server:
        self._meet(server)
    except OSError as error:
      raise UserError(
          f'config: machines: cannot listen at {host}:{port} ({error.strerror}).') from None
    self.tell({'config': dict(config)})

  def __enter__(self):
    return self

  def __exit__(self, *_):
    for other in self._sockets.values():
      other.close()

  def tell(self, message, arrays=()):
    """Send a dict of plain values and a list of arrays to all."""
    for index in self._sockets:
      self._send(index, message, arrays)

  def agree(self):
    """Wait until all others can join, which TensorFlow would do for ever, and let them.

    Raises:
      UserError: one of them cannot.
      Lost: one of them is gone.
    """
    for index, other in self._sockets.items():
      other.settimeout(PATIENCE)
      said = b''
      with contextlib.suppress(OSError):
        said = other.recv(len(FITS))
      if said != FITS:
        raise UserError(
            f'config: machines: {self._addresses[index]} does not join. It says there why; then start '
            'the command again on all machines.')
      other.settimeout(SLOWEST)
    self.tell({})  # now all may join

  def follow(self, agent):
    """Take the agent that `train` is for. The others are told its state before its first update."""
    self._agent, self._told = agent, False

  def distribute(self, batch):
    """As Agent.distribute, for the agents of all machines."""
    count = len(self._addresses)
    shares = [
        {k: v.reshape((count, -1) + v.shape[1:])[i] for k, v in batch.items()}
        for i in range(count)]
    return Shares(self._agent.distribute(shares[0]), shares[1:])

  def train(self, data, frames):
    """As Agent.train. Raises Lost before anything of the update is applied."""
    if not self._told:
      # Not earlier: after the prefill the decoder begins with a mean picture.
      self.tell({}, [variable.numpy() for variable in _state(self._agent)])
      self._told = True
    for index in self._sockets:
      share = data.elsewhere[index - 1]
      self._send(index, {'frames': float(frames), 'keys': list(share)}, share.values())
    with noticing_loss():
      return self._agent.train(data.here, frames)

  def _meet(self, server):
    server.settimeout(1)
    told = None
    while missing := self._missing():
      if missing != told:
        told = missing
        print('Waiting for', ', '.join(self._addresses[i] for i in sorted(missing)), flush=True)
      with contextlib.suppress(TimeoutError):
        other = server.accept()[0]
        index = _greeting(other)
        if index in self._missing():
          other.settimeout(SLOWEST)
          self._sockets[index] = other
        else:  # somebody else, or two that say they are the same
          other.close()

  def _missing(self):
    """Indices of the machines that are not there, or have gone again."""
    for index, other in list(self._sockets.items()):
      if _has_ended(other):
        del self._sockets[index]
        other.close()
        print(f'{self._addresses[index]} has gone again', flush=True)
    return set(range(1, len(self._addresses))) - set(self._sockets)

  def _send(self, index, message, arrays):
    other = self._sockets[index]
    problem = 'it ended, or was asked to' if _has_ended(other) else None
    try:
      if not problem:
        wire.write(other, message, arrays)
    except OSError as error:
      problem = error.strerror or str(error)
    if problem:
      raise Lost(_sentence(f'Machine {index} ({self._addresses[index]})', problem))


def follow(config):
  """Compute shares of the batches of the first machine, until it ends.

  Args:
    config: Config, of which the first machine's takes the place.
  Raises:
    UserError: the first machine does not answer, or does not fit.
  """
  addresses, index = cluster()
  with _connect(addresses[0], index) as first, first.makefile('rb') as file:
    try:
      told = wire.read(file)[0]['config']
    except EOFError:
      raise UserError(
          f'config: machines: the first one ended before all were there, or another one has the index '
          f'{index}, too.') from None
    with contextlib.suppress(EOFError, ConnectionError):
      _follow(config, first, file, told)
  print('The first machine has ended.', flush=True)


def _leave_when_asked(first):
  """Let a signal tell the first machine; the same one again ends at once."""
  def leave(number, _):
    signal.signal(number, signal.SIG_DFL)
    with contextlib.suppress(OSError):
      first.shutdown(socket.SHUT_WR)
  for number in SIGNALS:
    signal.signal(number, leave)


def _follow(config, first, file, told):
  from common.loop import checkpoint
  from common.model import devices
  if set(told) != set(config) or told['agent'] != config.agent:
    raise UserError('config: machines: the first one has another agent or version.')
  first.sendall(FITS)
  wire.read(file)  # or who fits would wait for who does not
  config = devices.setup(config.replace(**told))
  _leave_when_asked(first)  # not before: TensorFlow takes SIGTERM for itself when machines join
  told = wire.read(file)[0]
  if config.precision != told['config']['precision']:
    raise UserError(
        f'config: precision is {config.precision} here, but {told["config"]["precision"]} on the '
        'first machine. Pass --precision float32 or mixed_float16 to all.')
  agent = checkpoint.agent_class(config.agent)(
      config.replace(**told['config']), *logdir.spaces(told['obs_space'], told['act_space']))
  for variable, value in zip(_state(agent), wire.read(file)[1], strict=True):
    variable.assign(value)
  while True:
    told, arrays = wire.read(file)
    agent.train(agent.distribute(dict(zip(told['keys'], arrays))), told['frames'])


def _state(agent):
  """All variables on which updates hang, in the same order everywhere."""
  return [*agent.variables, *(
      variable for opt in agent.optimizers().values() for variable in opt.adam.weights)]


@contextlib.contextmanager
def noticing_loss():
  """Raises Lost where TensorFlow finds within that another machine is gone."""
  import tensorflow as tf
  try:
    yield
  except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError) as error:
    reason = error.message.rpartition('aborted by: ')[2].split('\n')[0]
    raise Lost(_sentence('A machine', reason.split(' The tasks')[0].rstrip(':'))) from None


def _has_ended(other):
  """Whether a machine has said that it ends, the only thing that they say."""
  return bool(select.select([other], [], [], 0)[0])


def _sentence(machine, problem):
  return (
      f'{machine} is gone ({problem.rstrip(".")}), and no update is made without it. Start the command '
      'again on all machines to continue.')


def _port(address):
  """(host, port) at which the first machine of that address tells the others."""
  host, _, port = address.rpartition(':')
  return host.strip('[]'), int(port) + 1


def _connect(address, index):
  host, port = _port(address)
  until = time.monotonic() + PATIENCE
  print(f'Waiting for {address}', flush=True)
  while True:
    try:
      first = wire.reach(host, port)
    except OSError as error:
      if time.monotonic() > until:
        raise UserError(
            f'config: machines: the first one does not answer at {host}:{port} '
            f'({error.strerror or error}). Start the command there.') from None
      time.sleep(0.5)
      continue
    first.sendall(struct.pack('>I', index))
    return first


def _greeting(other):
  """The index that a machine says it has; None if it says nothing of the kind."""
  other.settimeout(HELLO)
  with contextlib.suppress(struct.error, OSError):
    return struct.unpack('>I', other.recv(4))[0]
  return None
