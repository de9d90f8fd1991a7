"""Metrics of a run: metrics.jsonl, TensorBoard, a tracker and the terminal.

A row of metrics.jsonl is a JSON object with `step` (frames), `time` (seconds of running, summed
over resumes) and the metrics under their full names, such as `train/return`.
"""
import contextlib
import itertools
import json
import math
import os
import pathlib
import time

import numpy as np

from common.config import UserError
from common.data import disk as disk_lib
from common.data.disk import DiskError

BOARD = 'TensorBoard files'


class Logger:
  """Writes the metrics of one run, and continues those of an earlier process on the same logdir.

  A torn last line, left by a kill in the middle of a write, is cut. Only the process that holds
  the logdir's lock may make one.

  Args:
    logdir: existing directory.
    show: function (step, metrics, kind) that shows a row on the terminal, or None.
    disk: disk.Disk that waits where the system refuses. Default: that is an error at once.
  Attributes:
    rows: number of rows in metrics.jsonl.
    tracker: trackers.Tracker that is told, too, or None.
  Raises:
    UserError: metrics.jsonl holds something else, or cannot be written.
  """

  def __init__(self, logdir, show=None, disk=None):
    self._logdir = pathlib.Path(logdir)
    self._path = self._logdir / 'metrics.jsonl'
    self._show, self._disk = show, disk or disk_lib.Disk()
    self._board = self.tracker = None
    self._start = time.monotonic()
    try:
      self.rows, self._before = self._restore()
      # Unbuffered, so that a row is either written now or reported now.
      self._file = self._path.open('a+b', buffering=0)
    except OSError as error:
      raise DiskError(self._path, error) from None

  @property
  def time(self):
    """Seconds of running, those of earlier processes on this logdir included."""
    return self._before + time.monotonic() - self._start

  def write(self, step, metrics, kind):
    """Write one row to all places.

    Args:
      step: frames.
      metrics: dict of full name to number (Python, numpy or eager tensor scalar). What is not
        finite becomes null in metrics.jsonl.
      kind: the word that names the event on the terminal: episode, eval, train, ...
    Raises:
      DiskError: metrics.jsonl cannot be written. No row that was written before is lost.
    """
    metrics = {name: _plain(value) for name, value in metrics.items()}
    row = {'step': int(step), 'time': round(self.time, 3)}
    row.update({name: _finite(value) for name, value in metrics.items()})
    self._disk.insist(self._append, json.dumps(row, allow_nan=False).encode() + b'\n')
    self._disk.attempt(BOARD, self._tensorboard().scalars, step, metrics)
    if self.tracker:
      self.tracker.scalars(int(step), metrics)
    if self._show:
      self._show(step, metrics, kind)

  def gif(self, step, name, gif, shape):
    """Write an animated GIF (bytes) of frames of shape [H, W, C] to TensorBoard and the tracker."""
    self._disk.attempt(BOARD, self._tensorboard().gif, step, name, gif, shape)
    if self.tracker:
      self.tracker.gif(int(step), name, gif)

  def rewind(self, rows):
    """Keep only the first rows of metrics.jsonl: a deterministic run repeats the later ones."""
    with self._path.open('rb') as file:
      kept = b''.join(line for _, line in zip(range(rows), file))
    os.truncate(self._path, len(kept))
    self.rows, self._before = self._restore()
    self._start = time.monotonic()

  def steps(self, rows, name):
    """Steps of the rows that have a metric, of those behind the first `rows` of metrics.jsonl."""
    with self._path.open('rb') as file:
      found = []
      for line in itertools.islice(file, rows, None):
        with contextlib.suppress(ValueError, KeyError, TypeError):  # somebody has edited it
          row = json.loads(line)
          found += [row['step']] if name in row else []
      return found

  def tells(self, name):
    """Whether any row has a metric."""
    with self._path.open('rb') as file:
      return any(json.dumps(name).encode() in line for line in file)

  def close(self):
    """Close the files. The logger cannot be used afterwards."""
    self._file.close()
    if self._board:
      self._board.close()

  def _restore(self):
    """Cut a torn last line. Returns the number of rows and the time of the last one."""
    data = self._path.read_bytes() if self._path.exists() else b''
    *lines, torn = data.split(b'\n')
    if torn:
      os.truncate(self._path, len(data) - len(torn))
    if not lines:
      return 0, 0.0
    try:
      seconds = float(json.loads(lines[-1])['time'])
      if not math.isfinite(seconds):
        raise ValueError(seconds)
      return len(lines), seconds
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
      raise UserError(
          f'{self._path}: line {len(lines)} is no row of metrics. Move the file away, or pass '
          'another --logdir.') from None

  def _append(self, line):
    try:
      disk_lib.append(self._file, line)
    except OSError as error:
      raise DiskError(self._path, error, len(line)) from None
    self.rows += 1

  def _tensorboard(self):
    if not self._board:
      self._board = TensorBoard(self._logdir)
    return self._board


class TensorBoard:
  """Event files for TensorBoard in a logdir. Each call is flushed, so that a kill loses nothing.

  There is one, and a further one after each that could not be written to its end.
  """

  def __init__(self, logdir):
    # Delayed: TensorFlow takes seconds to import, and who reads metrics does not need it.
    import tensorflow as tf
    self._tf = tf
    self._logdir = pathlib.Path(logdir)
    self._writer = None

  def scalars(self, step, metrics):
    """Write numbers under their names. Raises DiskError when the disk is full."""
    summary = self._tf.compat.v1.Summary()
    for name, value in metrics.items():
      summary.value.add(tag=name, simple_value=value)
    self._write(step, summary)

  def gif(self, step, name, gif, shape):
    """Write bytes of frames of shape [H, W, C]. Raises DiskError when the disk is full."""
    summary = self._tf.compat.v1.Summary()
    image = summary.value.add(tag=name).image
    image.height, image.width, image.colorspace = shape
    image.encoded_image_string = gif
    self._write(step, summary)

  def close(self):
    """Close the event file."""
    writer, self._writer = self._writer, None
    with contextlib.suppress(OSError, self._tf.errors.OpError):
      if writer:
        writer.close()

  def _write(self, step, summary):
    try:
      if not self._writer:
        self._writer = self._tf.summary.create_file_writer(str(self._logdir))
      with self._writer.as_default():
        # tf.summary.scalar would need the tensorboard package, which only viewing needs.
        self._tf.summary.experimental.write_raw_pb(summary.SerializeToString(), step)
      self._writer.flush()
    except (OSError, self._tf.errors.OpError) as error:
      # TensorFlow would go on after a torn event, which readers do not get past.
      self.close()
      self._remove_empty()
      raise DiskError(self._logdir, error) from None

  def _remove_empty(self):
    """Remove what attempts on a full disk leave, or there would be one more at every row."""
    with contextlib.suppress(OSError):
      for path in self._logdir.glob('events.out.tfevents.*'):
        if not path.stat().st_size:
          path.unlink()


def _plain(value):
  """Return a number as Python's int or float."""
  value = np.asarray(value)
  assert value.ndim == 0, value.shape
  return int(value) if value.dtype.kind in 'iub' else float(value)


def _finite(value):
  return value if math.isfinite(value) else None
