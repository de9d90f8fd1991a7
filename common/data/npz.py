"""Arrays of npz files, without trust: what a header promises is compared before memory is taken.

NumPy has headers evaluated by Python's parser, which was seen to break off where several threads
used it at once ("SystemError: AST constructor recursion depth mismatch" in Python 3.11). Those of
plain arrays are short enough to be matched.
"""
import math
import os
import re
import stat
import zipfile

import numpy as np

MAGIC = b'\x93NUMPY'
HEADER = re.compile(
    rb"\{'descr': '([|<>=]?[?biuf]\d*)', 'fortran_order': (True|False), 'shape': \(([\d, ]*)\), \}\s*")
LARGEST = 2 ** 26  # bytes of a row
HEADER_LARGEST = 2 ** 14  # bytes; those of plain arrays have about a hundred
# Constant pictures pack a thousand to one, and so do a few megabytes that would fill all memory.
# What is packed like this may take as much memory as forty thousand rows of pictures.
PACKED, PACKED_LARGEST = 500, 2 ** 29
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # NumPy's; others take memory as they like


def read(path, rows, keys=None):
  """Return {name: array} of an npz file of plain arrays, supposed to have so many rows.

  keys: names of those to read; None is all.

  Raises:
    ValueError: an array is not of numbers, its size is not what its header says, its rows are not
      so many, or it is too large for the file; see LARGEST and PACKED.
    OSError, zipfile.BadZipFile, and what else zipfile raises for damaged files.
  """
  status = os.stat(path)
  if not stat.S_ISREG(status.st_mode):
    raise ValueError('it is no file')  # a pipe would be waited for
  left = max(PACKED_LARGEST, PACKED * status.st_size)
  with zipfile.ZipFile(path) as archive:
    wanted = {
        key: info for info in archive.infolist()
        for key in [info.filename.removesuffix('.npy')] if keys is None or key in keys}
    headers = {key: _checked(archive, info, key, rows) for key, info in wanted.items()}
    for key, (dtype, _, shape, _) in headers.items():
      left -= _memory(math.prod(shape), dtype)
      if left < 0:
        size = math.prod(shape) * dtype.itemsize
        raise ValueError(f'{key} has {size} bytes, too many for so small a file')
    return {key: _array(archive, info, key, *headers[key]) for key, info in wanted.items()}


def _memory(size, dtype):
  """Bytes of an array together with its copy in float32, which all but uint8 become."""
  return size * (dtype.itemsize + 4 * (dtype != np.uint8))


def _checked(archive, info, key, rows):
  """Return the header of an array whose size and rows are those announced, see _header."""
  if info.compress_type not in METHODS:
    raise ValueError(f'{key} is packed in another way than NumPy does')
  with archive.open(info) as file:
    dtype, fortran, shape, start = _header(file, key)
  size = math.prod(shape) * dtype.itemsize
  if size != info.file_size - start:
    raise ValueError(f'{key} holds {info.file_size - start} bytes where {size} are announced')
  if size > LARGEST * rows:
    raise ValueError(f'{key} has {size // rows} bytes a row, more than {LARGEST}')
  if shape and shape[0] != rows:
    raise ValueError(f'{rows} rows named, {shape[0]} found in {key!r}')
  return dtype, fortran, shape, start


def _array(archive, info, key, dtype, fortran, shape, start):
  """Read the numbers behind a header."""
  with archive.open(info) as file:
    file.read(start)
    array = np.empty(math.prod(shape), dtype)
    empty = memoryview(array.view(np.uint8))
    while len(empty):
      count = file.readinto(empty)
      if not count:
        raise EOFError(f'{key} ends early')
      empty = empty[count:]
    file.read(1)  # at the end the checksum is compared
  return array.reshape(shape, order='F' if fortran else 'C')


def _header(file, key):
  """Return (dtype, fortran, shape, bytes before the data)."""
  begin = file.read(8)
  if begin[:6] != MAGIC:
    raise ValueError(f'{key} is not an array')
  width = 2 if begin[6] == 1 else 4
  length = int.from_bytes(file.read(width), 'little')
  found = HEADER.fullmatch(file.read(min(length, HEADER_LARGEST)))
  if not found:
    raise ValueError(f'{key} is not a plain array of numbers')
  descr, fortran, shape = (part.decode() for part in found.groups())
  shape = tuple(int(number) for number in shape.split(',') if number.strip())
  return np.dtype(descr), fortran == 'True', shape, 8 + width + length
