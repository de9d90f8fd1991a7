"""Metrics of a run: metrics.jsonl, TensorBoard and one readable line on the terminal per event.

A row of metrics.jsonl is a JSON object with `step` (frames), `time` (seconds of running, summed
over resumes) and the metrics under their full names, such as `train/return`.
"""
import errno
import json
import math
import os
import pathlib
import time

import numpy as np

from common import video
from common.config import UserError

# What the terminal shows of a row, in this order; everything else is in the files.
SHOWN = (
    'train/return', 'train/length', 'eval/return', 'eval/return_std', 'eval/episodes',
    'agent/model_loss', 'agent/image_loss', 'agent/reward_loss', 'agent/kl', 'agent/actor_loss',
    'agent/value_loss', 'fps')


class Logger:
  """Writes the metrics of one run, and continues those of an earlier process on the same logdir.

  A torn last line, left by a kill in the middle of a write, is cut. Only the process that holds
  the logdir's lock may make one.

  Args:
    logdir: existing directory.
    total_frames: frames at which the run ends, for the share and the time left.
    quiet: print nothing.
  Attributes:
    rows: number of rows in metrics.jsonl.
  Raises:
    UserError: metrics.jsonl holds something else, or cannot be written.
  """

  def __init__(self, logdir, total_frames, quiet=False):
    self._logdir = pathlib.Path(logdir)
    self._path = self._logdir / 'metrics.jsonl'
    self._total = total_frames
    self._quiet = quiet
    self._fps = None
    self._board = None
    self._start = time.monotonic()
    self.rows, self._before = self._restore()
    try:
      # Unbuffered, so that a row is either written now or reported now.
      self._file = self._path.open('ab', buffering=0)
    except OSError as error:
      raise _unwritable(self._path, error) from None

  @property
  def time(self):
    """Seconds of running, those of earlier processes on this logdir included."""
    return self._before + time.monotonic() - self._start

  def write(self, step, metrics, kind):
    """Write one row to all three places.

    Args:
      step: frames.
      metrics: dict of full name to number (Python, numpy or eager tensor scalar). What is not
        finite becomes null in metrics.jsonl.
      kind: the word that names the event on the terminal: episode, eval, train, ...
    Raises:
      UserError: the disk is full. No row that was written before is lost.
    """
    metrics = {name: _plain(value) for name, value in metrics.items()}
    row = {'step': int(step), 'time': round(self.time, 3)}
    row.update({name: _finite(value) for name, value in metrics.items()})
    self._append(json.dumps(row, allow_nan=False).encode() + b'\n')
    self._tensorboard().scalars(step, metrics)
    self._fps = metrics.get('fps', self._fps)
    if not self._quiet:
      print(self._line(step, metrics, kind), flush=True)

  def video(self, step, name, frames):
    """Write an animation to TensorBoard: uint8 [T, H, W, C], C is 1 or 3, at 20 frames/s."""
    self._tensorboard().video(step, name, frames)

  def rewind(self, rows):
    """Keep only the first rows of metrics.jsonl: a deterministic run repeats the later ones."""
    with self._path.open('rb') as file:
      kept = b''.join(line for _, line in zip(range(rows), file))
    os.truncate(self._path, len(kept))
    self.rows, self._before = self._restore()
    self._start = time.monotonic()

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
      return len(lines), float(json.loads(lines[-1])['time'])
    except (ValueError, TypeError, KeyError):
      raise UserError(
          f'{self._path}: line {len(lines)} is no row of metrics. Move the file away, or pass '
          'another --logdir.') from None

  def _append(self, line):
    size = os.fstat(self._file.fileno()).st_size
    try:
      written = self._file.write(line)
      if written < len(line):  # the disk filled up in the middle; the next write says why
        self._file.write(line[written:])
    except OSError as error:
      os.truncate(self._path, size)
      raise _unwritable(self._path, error) from None
    self.rows += 1

  def _tensorboard(self):
    if not self._board:
      self._board = TensorBoard(self._logdir)
    return self._board

  def _line(self, step, metrics, kind):
    """Return such as '12,000 frames (24 %) | eval | return 312.5 | left 1:02:03'."""
    share = min(100 * step / self._total, 100)
    parts = [f'{int(step):>11,} frames ({share:.3g} %)', f'{kind:<7}']
    parts += [f'{name.split("/")[-1]} {_short(metrics[name])}' for name in SHOWN if name in metrics]
    if self._fps and math.isfinite(self._fps):
      parts.append(f'left {_duration(max(0, self._total - step) / self._fps)}')
    return ' | '.join(parts)


class TensorBoard:
  """Event file for TensorBoard in a logdir. Each call is flushed, so that a kill loses nothing."""

  def __init__(self, logdir):
    # Delayed: TensorFlow takes seconds to import, and who reads metrics does not need it.
    import tensorflow as tf
    self._tf = tf
    self._logdir = logdir
    self._writer = tf.summary.create_file_writer(str(logdir))

  def scalars(self, step, metrics):
    """Write numbers under their names. Raises UserError when the disk is full."""
    summary = self._tf.compat.v1.Summary()
    for name, value in metrics.items():
      summary.value.add(tag=name, simple_value=value)
    self._write(step, summary)

  def video(self, step, name, frames):
    """Write uint8 [T, H, W, C] as an animated GIF. Raises UserError when the disk is full."""
    summary = self._tf.compat.v1.Summary()
    image = summary.value.add(tag=name).image
    image.height, image.width, image.colorspace = frames.shape[1:]
    image.encoded_image_string = video.encode_gif(frames)
    self._write(step, summary)

  def close(self):
    """Close the event file."""
    self._writer.close()

  def _write(self, step, summary):
    try:
      with self._writer.as_default():
        # tf.summary.scalar would need the tensorboard package, which only viewing needs.
        self._tf.summary.experimental.write_raw_pb(summary.SerializeToString(), step)
      self._writer.flush()
    except (OSError, self._tf.errors.OpError) as error:
      raise _unwritable(self._logdir, error) from None


def _plain(value):
  """Return a number as Python's int or float."""
  value = np.asarray(value)
  assert value.ndim == 0, value.shape
  return int(value) if value.dtype.kind in 'iub' else float(value)


def _finite(value):
  return value if math.isfinite(value) else None


def _short(value):
  return f'{value:,}' if isinstance(value, int) else f'{value:.4g}'


def _duration(seconds):
  minutes, seconds = divmod(int(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f'{hours}:{minutes:02}:{seconds:02}'


def _unwritable(path, error):
  full = os.strerror(errno.ENOSPC)
  reason = ' '.join(str(getattr(error, 'strerror', None) or error).split())
  reason = full if full in reason else reason  # TensorFlow wraps it in four lines
  return UserError(
      f'{path}: cannot be written ({reason}). Everything saved before is kept: make room, then '
      'start the same command again to continue.')
