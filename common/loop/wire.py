"""Messages between machines: plain values as JSON, and arrays, over a socket.

    4 bytes, the length of the head | head: message, and dtype and shape of each array | the arrays
"""
import errno
import json
import os
import socket
import struct

import numpy as np

# Seconds of silence after which the system asks whether the other is there, between such questions,
# and how many may be left without an answer. Who loses its power says nothing.
ALIVE = {'TCP_KEEPIDLE': 30, 'TCP_KEEPINTVL': 10, 'TCP_KEEPCNT': 3}


def reach(host, port):
  """A connection whose other end is watched.

  Raises:
    OSError: nobody listens there, also if the connection came to be both ends of itself, as one
      within a machine may.
  """
  sock = socket.create_connection((host, port), timeout=10)
  if sock.getsockname() == sock.getpeername():
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))  # free at once
    sock.close()
    raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
  sock.settimeout(None)
  sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
  for name, value in ALIVE.items():
    if hasattr(socket, name):  # macOS lacks one
      sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
  return sock


def write(sock, message, arrays):
  """Send a dict of plain values and a list of arrays."""
  arrays = [np.asarray(array, order='C') for array in arrays]
  head = json.dumps({
      'message': message, 'arrays': [[x.dtype.str, x.shape] for x in arrays]}).encode()
  sock.sendall(struct.pack('>I', len(head)) + head)
  for array in arrays:
    sock.sendall(array.reshape(-1).view(np.uint8))


def read(file):
  """(message, arrays) as written, from a socket's file. Raises EOFError at the end."""
  head = json.loads(_exactly(file, struct.unpack('>I', _exactly(file, 4))[0]))
  arrays = []
  for kind, shape in head['arrays']:
    kind = np.dtype(kind)
    data = _exactly(file, kind.itemsize * int(np.prod(shape)))
    arrays.append(np.frombuffer(data, kind).reshape(shape))
  return head['message'], arrays


def _exactly(file, size):
  try:
    data = file.read(size)
  except OSError as error:  # the other one, or the net, is gone
    raise EOFError from error
  if len(data) < size:
    raise EOFError
  return data
