"""Animations from frames: GIF with Pillow, MP4 with the ffmpeg of imageio-ffmpeg."""

import importlib.util
import io
import os
import pathlib

import numpy as np
from PIL import Image

from common.config import UserError

SUFFIXES = ('.gif', '.mp4')


def check(path):
  """Refuse a file name whose suffix names no format, before any work is done."""
  path = pathlib.Path(path)
  if path.suffix.lower() not in SUFFIXES:
    raise UserError(
        f'{path}: the suffix chooses the format. Expected one of '
        f'{", ".join(SUFFIXES)}.')
  if path.suffix.lower() == '.mp4' and not importlib.util.find_spec('imageio_ffmpeg'):
    raise UserError(
        f'{path}: MP4 needs a package. Type: pip install imageio-ffmpeg, or choose .gif.')
  if not os.path.isdir(path.absolute().parent):
    raise UserError(f'{path}: its folder does not exist. Make it first.')


def write(path, frames, fps=20):
  """Write uint8 frames [T, H, W, C] to a .gif or .mp4 file; see `visible`.

  Raises:
    UserError: the system refuses, or ffmpeg does not work.
  """
  check(path)
  try:
    if pathlib.Path(path).suffix.lower() == '.gif':
      pathlib.Path(path).write_bytes(encode_gif(frames, fps))
    else:
      _write_mp4(path, frames, fps)
  except (OSError, RuntimeError) as error:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    reason = getattr(error, 'strerror', None) or lines[-1]
    raise UserError(
        f'{path}: the film cannot be written ({reason}). Choose another folder, or .gif, which needs '
        'no ffmpeg.') from None


def encode_gif(frames, fps=20):
  """The bytes of an endless animated GIF of uint8 frames [T, H, W, C]."""
  assert frames.dtype == np.uint8 and frames.ndim == 4 and len(frames), frames.shape
  frames = visible(frames)
  # One palette, of frames from all over the film: a palette each would take ten times as long.
  some = frames[np.linspace(0, len(frames) - 1, min(8, len(frames))).astype(int)]
  palette = Image.fromarray(np.concatenate(some)).quantize(256)
  images = [
      Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
      for frame in frames]
  buffer = io.BytesIO()
  images[0].save(
      buffer, 'GIF', save_all=True, append_images=images[1:],
      duration=1000 // fps, loop=0)
  return buffer.getvalue()


def visible(frames):
  """Frames [T, H, W, 3] of [T, H, W, C]: the last three channels, or the last one as grey."""
  channels = 3 if frames.shape[-1] >= 3 else 1
  return np.broadcast_to(frames[..., -channels:], frames.shape[:3] + (3,))


def _write_mp4(path, frames, fps):
  # Delayed: only MP4 needs the package, which starts a process.
  import imageio_ffmpeg
  height, width = frames.shape[1:3]
  writer = imageio_ffmpeg.write_frames(
      str(path), (width, height), fps=fps, macro_block_size=2)
  writer.send(None)
  for frame in visible(frames):
    writer.send(np.ascontiguousarray(frame))
  writer.close()
