"""What the terminal shows of a run: a live view where someone watches, plain lines elsewhere.

Both are told the same things. Neither knows the agent, and nothing that they do changes a run.
"""
import math
import os
import sys
import time

import rich.console
import rich.live
import rich.panel
import rich.progress_bar
import rich.table
import rich.text

# What a plain line shows of a row, in this order; everything else is in the files.
SHOWN = (
    'train/return', 'train/length', 'eval/return', 'eval/return_std', 'eval/episodes',
    'agent/model_loss', 'agent/image_loss', 'agent/reward_loss', 'agent/kl', 'agent/actor_loss',
    'agent/value_loss', 'fps')
SPLIT = {
    'time/env': 'environment', 'time/policy': 'policy', 'time/data': 'waiting for data',
    'time/train': 'training'}
BARS = '▁▂▃▄▅▆▇█'
RETURNS = 40  # as many are drawn


def make(config, total, device, returns=()):
  """The view that suits the terminal.

  Args:
    config: Config of the run.
    total: frames at which it ends.
    device: what computes, in words.
    returns: evaluation returns of earlier processes on this directory.
  Returns:
    Live if the output is a terminal that can move its cursor and `quiet` is not set, or Plain.
  """
  terminal = sys.stdout.isatty() and os.environ.get('TERM', 'dumb') != 'dumb'
  if config.quiet or not terminal:
    return Plain(total)
  return Live(f'{config.agent}  {config.task}', config.logdir, total, device, returns)


class Plain:
  """A line an event: '12,000 frames (24 %) | eval | return 312.5 | left 1:02:03'."""

  def __init__(self, total):
    self._total, self._fps = total, None

  def row(self, step, metrics, kind):
    """Show a row of metrics.

    Args:
      step: frames.
      metrics: dict of full name to number.
      kind: the word for the event: episode, eval, train.
    """
    self._fps = metrics.get('fps', self._fps)
    parts = [f'{int(step):>11,} frames ({share(step, self._total)})', f'{kind:<7}']
    parts += [f'{name.split("/")[-1]} {short(metrics[name])}' for name in SHOWN if name in metrics]
    left = time_left(step, self._total, self._fps)
    print(' | '.join(parts + ([f'left {left}'] if left else [])), flush=True)

  def say(self, text):
    """Show a message."""
    print(text, flush=True)

  def stage(self, name, done=0, of=0):
    """Tell what the run does now, such as 'learning', and how much of it is done."""

  def close(self):
    """End the view; messages still come through."""


class Live:
  """Progress, returns, losses and speed in one place, redrawn twice a second by a thread."""

  def __init__(self, title, logdir, total, device, returns=(), console=None):
    self._title, self._logdir, self._total, self._device = title, logdir, total, device
    self._step, self._stage, self._fps = 0, ('starting', 0, 0), None
    self._returns = {'eval': list(returns)[-RETURNS:], 'train': []}
    self._losses, self._shares, self._start = {}, {}, time.monotonic()
    self._console = console or rich.console.Console()
    self._live = rich.live.Live(
        console=self._console, get_renderable=self.render, refresh_per_second=2)
    self._live.start()

  def row(self, step, metrics, kind):
    """Show a row of metrics; see Plain."""
    # The thread that draws reads all this: it is replaced, never changed.
    self._step = int(step)
    self._fps = metrics.get('fps', self._fps)
    for name, returns in self._returns.items():
      if f'{name}/return' in metrics:
        self._returns[name] = [*returns, metrics[f'{name}/return']][-RETURNS:]
    losses = {
        name.removeprefix('agent/'): value for name, value in metrics.items()
        if name.endswith('_loss') or name in ('agent/kl', 'agent/action_ent', 'agent/updates')}
    self._losses = losses or self._losses
    self._shares = {
        word: metrics[name] for name, word in SPLIT.items() if name in metrics} or self._shares

  def say(self, text):
    """Show a message above the view."""
    self._console.print(text, markup=False, highlight=False, soft_wrap=True)

  def stage(self, name, done=0, of=0):
    """Tell what the run does now; see Plain."""
    self._stage = name, done, of

  def close(self):
    """Leave the last picture on the screen."""
    self._live.stop()

  def render(self):
    """The view as a rich renderable."""
    table = rich.table.Table.grid(padding=(0, 2))
    table.add_column(style='bold', no_wrap=True)
    table.add_column()
    for name, content in self._lines():
      table.add_row(name, content)
    return rich.panel.Panel(
        table, title=rich.text.Text(self._title), title_align='left', subtitle=rich.text.Text(
            f'{self._logdir}  (Ctrl-C saves and ends)'), subtitle_align='left', width=min(100, self._console.width))

  def _lines(self):
    step, total = self._step, self._total
    progress = rich.table.Table.grid(padding=(0, 1))
    progress.add_row(
        rich.progress_bar.ProgressBar(total=total, completed=step, width=24),
        f'{step:,} of {total:,.0f} frames ({share(step, total)})')
    yield 'Progress', progress
    left = time_left(step, total, self._fps)
    yield 'Time', f'{duration(time.monotonic() - self._start)} so far' + (
        f', about {left} left' if left else '')
    name, done, of = self._stage
    yield 'Now', name + (f' {done:,} of {of:,}' if of else '')
    for name, word in (('eval', 'Evaluation'), ('train', 'Training')):
      returns = self._returns[name]
      if returns:
        yield f'{word} returns', (
            f'{sparkline(returns)}  last {short(returns[-1])}, best {short(max(returns))}')
    if self._losses:
      yield 'Learning', ', '.join(
          f'{name.replace("_", " ")} {short(value)}' for name, value in self._losses.items())
    if self._fps is not None:
      split = ', '.join(f'{word} {value:.0%}' for word, value in self._shares.items())
      yield 'Speed', f'{self._fps:.3g} frames/s: {split}'
    yield 'Machine', f'{self._device}, {memory() / 1e9:.2g} GB of memory'


def sparkline(values):
  """One character a number, from 0 (or the lowest below it) to the highest."""
  finite = [value for value in values if math.isfinite(value)]
  low, high = min([0.0, *finite]), max([0.0, *finite])
  scale = (len(BARS) - 1) / (high - low) if high > low else 0
  return ''.join(
      BARS[round((value - low) * scale)] if math.isfinite(value) else ' ' for value in values)


def memory():
  """Bytes of memory that this process holds; 0 where the system does not say."""
  try:
    with open('/proc/self/statm') as file:
      return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')
  except OSError:
    return 0


def share(step, total):
  """Such as '24 %'."""
  return f'{min(100 * step / total, 100):.3g} %'


def time_left(step, total, fps):
  """Such as '1:02:03' at the speed of the last row; None before there is one."""
  if not fps or not math.isfinite(fps):
    return None
  return duration(max(0, total - step) / fps)


def short(value):
  """A number in few characters; losses of images change in their sixth digit."""
  if isinstance(value, int):
    return f'{value:,}'
  return f'{value:.1f}' if 1000 <= abs(value) < 1e6 else f'{value:.4g}'


def duration(seconds):
  """Hours, minutes and seconds."""
  minutes, seconds = divmod(int(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f'{hours}:{minutes:02}:{seconds:02}'
