"""Arrays of npz files, without trust: what a header promises is compared before memory is taken.

NumPy has headers evaluated by Python's parser, which was seen to break off where several threads
used it at once ("SystemError: AST constructor recursion depth mismatch" in Python 3.11). Those of
plain arrays are short enough to be matched.
"""
import math
import re
import zipfile

import numpy as np

MAGIC = b'\x93NUMPY'
HEADER = re.compile(
    rb"\{'descr': '([|<>=]?[?biuf]\d*)', 'fortran_order': (True|False), 'shape': \(([\d, ]*)\), \}\s*")
LARGEST = 2 ** 26  # bytes of a row, and of a header


def read(path, rows):
  """Return {name: array} of an npz file of plain arrays, supposed to have so many rows.

  Raises:
    ValueError: an array is not of numbers, its size is not what its header says, or beyond LARGEST.
    OSError, zipfile.BadZipFile, and what else zipfile raises for damaged files.
  """
  with zipfile.ZipFile(path) as archive:
    return {
        info.filename.removesuffix('.npy'): _array(archive, info, rows)
        for info in archive.infolist()}


def _array(archive, info, rows):
  key = info.filename.removesuffix('.npy')
  with archive.open(info) as file:
    dtype, fortran, shape, start = _header(file, key)
    size = math.prod(shape) * dtype.itemsize
    if size != info.file_size - start:
      raise ValueError(f'{key} holds {info.file_size - start} bytes where {size} are announced')
    if size > LARGEST * rows:
      raise ValueError(f'{key} has {size // rows} bytes a row, more than {LARGEST}')
    array = np.empty(math.prod(shape), dtype)
    left = memoryview(array.view(np.uint8))
    while len(left):
      count = file.readinto(left)
      if not count:
        raise EOFError(f'{key} ends early')
      left = left[count:]
    file.read(1)  # at the end the checksum is compared
  return array.reshape(shape, order='F' if fortran else 'C')


def _header(file, key):
  """Return (dtype, fortran, shape, bytes before the data)."""
  begin = file.read(8)
  if begin[:6] != MAGIC:
    raise ValueError(f'{key} is not an array')
  width = 2 if begin[6] == 1 else 4
  length = int.from_bytes(file.read(width), 'little')
  found = HEADER.fullmatch(file.read(min(length, LARGEST)))
  if not found:
    raise ValueError(f'{key} is not a plain array of numbers')
  descr, fortran, shape = (part.decode() for part in found.groups())
  shape = tuple(int(number) for number in shape.split(',') if number.strip())
  return np.dtype(descr), fortran == 'True', shape, 8 + width + length
