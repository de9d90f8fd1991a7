"""Pictures that a run leaves without being asked: animations and strips in DIR/pictures.

Of each kind the first is kept and the last few, so that a long run stays small. They go to
TensorBoard, too. Making them draws no random numbers that a run depends on.
"""
import contextlib
import os
import pathlib
import re

import numpy as np

from common.data.disk import Disk
from common.loop import video
from common.model.world_model import CONTEXT
from common.scores import canvas
from common.scores import figures

KEPT = 3     # newest of each kind, besides the first
SHOWN = 6    # sequences of predictions and dreams
LONG = 50    # their rows, where an episode has so many
COLUMNS = 8  # at most, in a strip
GAP = 0.12   # between its pictures, of their size


class Pictures:
  """Writer of the pictures of one run, which goes on without those that cannot be written.

  Args:
    logdir: directory of the run.
    logger: logger.Logger that shows the films, too, or None.
    config: Config of the run.
    repeat: frames per decision, for the labels.
    disk: Disk that says so. Default: one that prints.
  """

  def __init__(self, logdir, logger, config, repeat, disk=None):
    self._logdir, self._folder = logdir, pathlib.Path(logdir) / 'pictures'
    self._logger, self._config, self._repeat = logger, config, repeat
    self._disk = disk or Disk()

  def evaluation(self, step, agent, replay, episode):
    """Keep all that an evaluation has to show, and the learning curve with its result.

    Args:
      step: frames, which the choice of sequences hangs on.
      agent: agent.Agent.
      replay: replay.Replay that predictions and dreams start from.
      episode: dict of arrays [rows, ...], as evaluated.
    """
    model = agent.world_model
    for key in model.encoder.image_keys:
      self.episode(step, key, episode[key])
    if model.encoder.image_keys:
      rng = np.random.default_rng([self._config.seed, step])
      self.dreams(step, agent, replay.sample(
          rng, SHOWN, self._rows(replay), model.obs_keys + ['action']))
    self._disk.attempt('curve.png', figures.write_curve, self._logdir, None, self._config)

  def dreams(self, step, agent, sample):
    """Keep what an agent expects of rows [B, T, ...], numpy arrays, and what it dreams after them."""
    for key, film in agent.open_loop(sample).items():
      self.open_loop(step, key, film)
    for key, film in agent.dream(sample).items():
      self.dream(step, key, film)

  def episode(self, step, key, frames):
    """Keep the film uint8 [T, H, W, C] of an evaluation episode."""
    self._film(step, f'eval/{key}', f'eval_{key}', frames)

  def open_loop(self, step, key, frames):
    """Keep predictions uint8 [T, 3 H, B W, C]: truth, model, error, as WorldModel.open_loop."""
    self._film(step, f'agent/openl_{key}', f'open_loop_{key}', frames)
    rows = 'truth', 'model', 'error\n(grey: none)'
    self._strip(step, f'open_loop_{key}', frames, rows, 'imagined from the same actions')

  def dream(self, step, key, frames):
    """Keep dreams uint8 [T, H, B W, C] of the agent's own actions, as WorldModel.dream."""
    self._film(step, f'agent/dream_{key}', f'dream_{key}', frames)
    height = frames.shape[1]
    # Two starts below each other tell more than one.
    count = min(2, frames.shape[2] // height)
    stacked = np.concatenate(
        [frames[:, :, i * height:(i + 1) * height] for i in range(count)], 1)
    rows = [f'start {i + 1}' for i in range(count)]
    self._strip(step, f'dream_{key}', stacked, rows, 'dreamt under its own actions')

  def _rows(self, replay):
    rows = max(LONG, self._config.batch_length)
    enough = replay.longest >= rows + (not self._config.dataset_last_row)
    return rows if enough else self._config.batch_length

  def _film(self, step, name, stem, frames):
    gif = video.encode_gif(frames)
    if self._logger:
      self._logger.gif(step, name, gif, frames.shape[1:])
    self._write(step, stem, '.gif', lambda path: path.write_bytes(gif))

  def _strip(self, step, stem, frames, rows, after):
    size = frames.shape[1] // len(rows)
    figure = strip(frames[:, :, :size], rows, after, self._repeat)
    self._write(step, stem, '.png', lambda path: figures.save(figure, path))

  def _write(self, step, stem, suffix, write):
    stem = stem.replace('/', '_')  # of a nested observation
    self._disk.attempt(
        'Pictures', self._replace, self._folder / f'{stem}-{step:09d}{suffix}', write)
    with contextlib.suppress(OSError):
      self._prune(stem, suffix)

  def _replace(self, path, write):
    """Write a picture through a temporary name: half of one is none."""
    temporary = path.with_name(f'.{path.name}')
    try:
      path.parent.mkdir(exist_ok=True)
      write(temporary)
      os.replace(temporary, path)
    finally:
      with contextlib.suppress(OSError):
        temporary.unlink()

  def _prune(self, stem, suffix):
    name = re.compile(re.escape(stem) + r'-\d{9,}' + re.escape(suffix))
    found = sorted(path for path in self._folder.iterdir() if name.fullmatch(path.name))
    for path in found[1:-KEPT]:
      path.unlink()


def strip(frames, rows, after, repeat, context=CONTEXT):
  """Figure of some frames of a film from left to right, as papers print them.

  Args:
    frames: uint8 [T, R H, W, C], R pictures below each other.
    rows: their R names.
    after: what happens after the context, in words.
    repeat: frames of the environment for each frame of the film.
    context: frames that were seen; the others are imagined.
  """
  shown = video.visible(frames)
  last = len(frames) - 1
  seen = [0, min(context, len(frames)) - 1]
  times = sorted({*seen, *np.linspace(seen[-1], last, COLUMNS - 1).astype(int).tolist()})
  height, width = frames.shape[1] // len(rows), frames.shape[2]
  across, down = GAP * width, GAP * height  # between pictures
  figure = canvas.figure(1.0 * len(times) + 0.9, 1.0 * len(rows) + 0.9)
  # One pair of axes for all pictures: one for each would take many times as long.
  axis = figure.subplots()
  for r, _ in enumerate(rows):
    for column, t in enumerate(times):
      left, top = column * (width + across), r * (height + down)
      axis.imshow(
          shown[t, r * height:(r + 1) * height], interpolation='nearest',
          extent=(left, left + width, top + height, top))
      axis.add_patch(canvas.frame(left, top, width, height))
  axis.set_xlim(-1, len(times) * (width + across) - across + 1)
  axis.set_ylim(len(rows) * (height + down) - down + 1, -1)
  axis.spines[:].set_visible(False)
  axis.tick_params(length=0, labelsize='small')
  axis.xaxis.tick_top()
  axis.set_xticks(
      [column * (width + across) + width / 2 for column in range(len(times))],
      [('seen' if t < context else 'imagined') + f'\n{t * repeat:,}' for t in times])
  for label, t in zip(axis.get_xticklabels(), times):
    label.set_fontweight('normal' if t < context else 'bold')
  axis.set_yticks(
      [r * (height + down) + height / 2 for r in range(len(rows))], rows, rotation=90,
      verticalalignment='center', multialignment='center')
  figure.supxlabel(
      f'environment frames; {min(context, len(frames))} pictures seen, then {after}',
      fontsize='small')
  return figure
