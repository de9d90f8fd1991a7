"""Learning curves as a figure: own runs, and published results whose protocol is the same."""
import textwrap
from typing import NamedTuple

import numpy as np

from common import config as config_lib
from common.config.options import ACTION_REPEATS, OTHER_REPEAT
from common.scores import aggregate
from common.scores import canvas
from common.scores import curves
from common.scores import difference
from common.scores import protocol
from common.scores import published
from common.scores.references import name_of
from common.scores.references import own_name

# Curves are told apart without colours, too: the cycles have no common length.
COLOURS = ('black', '#0072b2', '#d55e00', '#009e73', '#cc79a7')
LINES = ('-', '--', '-.', ':')
MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X')

# Dashes of published curves.
DASHES = {
    'dreamer': (0, (6, 2)), 'dreamerv2': (0, (6, 2)), 'dreamerv2_schedules': (0, (6, 2)),
    'dreamerv2_montezuma': (0, (6, 2)), 'dreamerv3': (0, (3, 1.5)),
    'plan2explore_zeroshot': (0, (1, 1.5))}

PUBLISHED = 'published'  # the width that stands for bins as published
BANDS = {'std': 'mean ± std', 'ci': 'mean and 95 % t interval'}
MANY = 6  # panels, from which on they are small


class Panel(NamedTuple):
  """One task on common bins."""
  references: list  # of published.Curve
  bins: list        # of curves.Bins, one for each group; may be empty on published bins
  runs: list        # of lists of curves.Bins, one for each run; empty lists where not asked for
  width: float      # frames; NaN for bins as published
  end: float        # frames that are shown


def draw(groups, metric, width=None, band='std', each=False, below=None):
  """Return a Figure with one panel a task.

  Args:
    groups: list of curves.Group with runs that are not empty.
    metric: what their values are; names such as eval/return/TASK choose the published task.
    width: of bins, in frames; None chooses for each task; PUBLISHED averages own runs over the same
      windows as the published curve, where a task has one.
    band: of BANDS, for own and published curves.
    each: whether each run has a thin line, too.
    below: function that draws on an axis below that of a single task, or None.
  """
  panels = protocol.named_panels(groups, metric)
  small = len(panels) > MANY
  figure, axes = _figure(len(panels), small) if not below else _pair()
  names = dict.fromkeys(group.name for members in panels.values() for group in members)
  styles = {name: i for i, name in enumerate(names)}
  legend, widths = {}, []  # text: (handle, what is counted, counts)
  for axis, (task, members) in zip(axes, panels.items()):
    panel = on_bins(task, members, metric, width, each)
    widths.append(panel.width)
    axis.set_title(canvas.plain(task), fontsize=9 if small else None)
    _draw_panel(axis, task, members, metric, panel, styles, legend, band)
    _decorate(axis, task, members, metric, panel.end, small)
    if below:
      axis = axes[1]
      below(axis)
      _tidy(axis)
    if not small:
      axis.set_xlabel(f'Environment frames, {_bins_name([panel.width])}')
  if small:
    for axis in axes[-axes[0].get_gridspec().ncols:]:
      axis.set_xlabel('Environment frames', fontsize=8)
  if below:
    axes[0].set_ylabel(_axis_name(metric))
  else:
    figure.supylabel(_axis_name(metric), fontsize='medium')
  _add_legend(figure, legend, band, f'Drawn on {_bins_name(widths)}' if small else None)
  return figure


def describe(groups, metric, width=None, band='std'):
  """Return a line for each group, its last value and the published ones at that frame count, and one
  for the difference of two.
  """
  lines = []
  for task, members in protocol.named_panels(groups, metric).items():
    panel = on_bins(task, members, metric, width)
    for group, bins in zip(members, panel.bins):
      parts = [task, own_name(group, metric)]
      if not len(bins.frames):
        lines.append(' | '.join([*parts, 'no published bin is complete yet']))
        continue
      end = bins.frames[-1]
      spread = _spread(bins.mean[-1], bins.std[-1], bins.count[-1], band)
      wider = not width and panel.width > curves.bin_width(group.runs)  # as others there are sparser
      means = f'frames (means of {panel.width:,.0f})' if wider else 'frames'
      parts.append(f'{spread} at {end:,.0f} {means}, {_plural(bins.count[-1:], "run")}')
      compared = protocol.comparable(group, metric)
      shares = compared and protocol.is_atari(task) and published.normalised(task, bins.mean[-1])
      if shares:
        parts.append('human-normalised: ' + ', '.join(
            f'{name.replace("_", " ")} {share:.3g}' for name, share in shares.items()))
      for curve in panel.references if compared else []:
        mean, std = curve.at(end)
        if np.isfinite(mean):
          spread = _spread(mean, std, _seeds_at(curve, end), band)
          parts.append(f'{name_of(curve.method)}, published: {spread}')
      lines.append(' | '.join(parts))
    lines += difference.lines(task, members, metric, panel.bins, panel.width)
  return lines


def on_bins(task, groups, metric, width=None, each=False):
  """Return the Panel of one task: own runs and published curves on the same kind of bins.

  Args:
    task: whose returns are shown.
    groups, metric, width, each: as for `draw`; the groups are those of the task.
  """
  last = max(run.frames.max() for group in groups for run in group.runs)
  references = protocol.references(task, groups, metric, binned=width == PUBLISHED)
  # A young run is shown beside a piece of the published curve, whose points are far apart.
  end = max([last, *sorted(curve.frames[:2].max() for curve in references)[:1]])
  if width == PUBLISHED and references:
    curve = references[0]
    windows = published.windows(curve.method, curve.task, curve.observation)
    bins = lambda runs: curves.windowed(runs, windows, curve.frames)
    width = np.nan
  else:
    # A task without published bins keeps its own.
    known = None if width == PUBLISHED else width
    width = known or curves.bin_width([run for group in groups for run in group.runs])
    bins = lambda runs: curves.binned(runs, width)
  own = [bins(group.runs) for group in groups]
  end = max([end, *(part.frames[-1] for part in own if len(part.frames))])
  return Panel(
      references, own, [[bins([run]) for run in group.runs if each] for group in groups],
      width, end)


def _figure(count, small):
  """An empty figure and its axes."""
  square = int(np.ceil(np.sqrt(count)))
  # Wide pages are read on screens; as few places as possible stay empty.
  columns = min(range(square, square + 3), key=lambda n: -count % n) if small else square
  rows = -(-count // columns)
  figure = canvas.figure(*((1 + 2.5 * columns, 1.5 + 1.95 * rows) if small else (
      (7.5, 4.8) if count == 1 else (1.2 + 3.6 * columns, 1.6 + 2.7 * rows))))
  axes = figure.subplots(rows, columns, squeeze=False).ravel()
  for axis in axes[count:]:
    axis.remove()
  return figure, axes[:count]


def _pair():
  """A figure with two axes below each other."""
  figure = canvas.figure(7.5, 6.6)
  return figure, figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.3))


def _draw_panel(axis, task, groups, metric, panel, styles, legend, band):
  """Draw one task, and add what it shows to the legend."""
  for curve in panel.references:
    _draw_published(axis, curve, panel, legend, band)
  comparable = [group for group in groups if protocol.comparable(group, metric)]
  if protocol.returns(metric) == 'eval' and any(
      group.agent == 'planet' for group in comparable):
    _draw_planet(axis, task, legend, {
        run.config.get('action_repeat') for group in comparable if group.agent == 'planet'
        for run in group.runs})
  if comparable and protocol.is_atari(task):
    _draw_people(axis, task, legend)
  for group, bins, runs in zip(groups, panel.bins, panel.runs):
    if not len(bins.frames):
      continue
    i = styles[group.name]
    colour = COLOURS[i % len(COLOURS)]
    for run in runs:
      axis.plot(run.frames, run.mean, color=colour, linewidth=0.5, alpha=0.6, zorder=2.5)
    handle = _draw_bins(
        axis, bins, colour, LINES[i % len(LINES)], MARKERS[i % len(MARKERS)], band)
    _count(legend, own_name(group, metric), handle, 'run', bins.count)


def _decorate(axis, task, groups, metric, end, small):
  """Limits, ticks and grid."""
  axis.set_xlim(0, 1.03 * end)
  bottom, top = axis.get_ylim()
  lines = np.concatenate([np.asarray(line.get_ydata(), np.float64) for line in axis.lines])
  if protocol.returns(metric) and np.nanmin(lines) >= 0:
    bottom = 0  # where the band goes below, returns do not
  if protocol.returns(metric) and config_lib.suite(task) == 'dmc':
    length = max(protocol.episode(group, metric) for group in groups)
    top = min(top, 1.04 * length)  # a frame gives 1 at most
  axis.set_ylim(bottom, top)
  axis.xaxis.set_major_locator(canvas.ticks(4 if small else 5))
  axis.xaxis.set_major_formatter(lambda value, _: canvas.short(value))
  axis.yaxis.set_major_locator(canvas.ticks(4 if small else 6))
  if max(-bottom, top) >= 1e4:
    axis.yaxis.set_major_formatter(lambda value, _: canvas.short(value))
  axis.tick_params(labelsize=8 if small else None)
  _tidy(axis)


def _tidy(axis):
  axis.grid(color='0.92')
  axis.set_axisbelow(True)
  for side in ('top', 'right'):
    axis.spines[side].set_visible(False)


def _draw_bins(axis, bins, colour, line, marker, band):
  """Draw mean and spread of one group. Returns the handle for the legend."""
  handle, = axis.plot(
      bins.frames, bins.mean, color=colour, linestyle=line, marker=marker, markersize=4,
      markevery=max(1, len(bins.frames) // 12), linewidth=1.6, zorder=3)
  half = _half(bins.std, bins.count, band)
  axis.fill_between(
      bins.frames, bins.mean - half, bins.mean + half, color=colour, alpha=0.15, linewidth=0,
      zorder=2)
  if len(bins.frames) == 1:  # has no area
    axis.errorbar(bins.frames, bins.mean, half, color=colour, capsize=3)
  return handle


def _draw_published(axis, curve, panel, legend, band):
  """Draw a published curve in grey, up to the end of the axis."""
  inside = curve.frames <= panel.end
  if not inside.any():
    return
  x = curve.frames[inside]
  if np.isfinite(panel.width):  # scores at frame counts, so that one may lie between
    x = np.unique(np.append(x, min(panel.end, curve.frames[-1])))
  mean, std = curve.at(x)
  half = _half(std, _seeds_at(curve, x), band)
  handle = axis.fill_between(
      x, mean - half, mean + half, facecolor='none', edgecolor='0.8', hatch='////', linewidth=0.5,
      zorder=1)
  line, = axis.plot(
      x, mean, color='0.45', linestyle=DASHES[curve.method], linewidth=1.8, zorder=2,
      marker='x', markersize=5, markevery=list(range(inside.sum())))
  text = (f'{name_of(curve.method)}, published, {protocol.RETURNS[curve.protocol]} returns, '
          f'from {curve.observation}')
  _count(legend, text, (handle, line), 'seed', _seeds_at(curve, x))


def _draw_planet(axis, task, legend, repeats):
  """Draw PlaNet's printed final score as a level, that of the same action repeat if there is one."""
  own, other = protocol.PRINTED['planet'][:2]
  known = published.scores(task, method=other[1], source=other[2])
  order = (other, own) if known and repeats == {OTHER_REPEAT} else (own, other)
  if ACTION_REPEATS.get(task) == OTHER_REPEAT:
    order = own, other
  for name, method, source in order:
    for score in published.scores(task, method=method, source=source):
      line = axis.axhline(score.value, color='0.45', linestyle=(0, (1, 2)), linewidth=1.8)
      text = f'{name}, published score after {score.frames / 1e6:g}M frames, from pixels'
      _count(legend, text, line, 'seed', [score.n_seeds])
      return


def _draw_people(axis, task, legend):
  """Draw what random actions and people reach in a game as levels."""
  known = published.atari_references(task) or {}
  for key, text, dashes in (
      ('random', 'Random actions, published score', (0, (1, 4))),
      ('human_gamer', 'Human gamer, published score', (0, (4, 4)))):
    if known.get(key) is not None:
      line = axis.axhline(known[key], color='0.45', linestyle=dashes, linewidth=1.2)
      _count(legend, text, line, 'run', [1])


def _seeds_at(curve, frames):
  """Seeds of the published points at or behind some frame counts."""
  return curve.n_seeds[np.minimum(np.searchsorted(curve.frames, frames), len(curve.frames) - 1)]


def _half(std, count, band):
  """Half the height of the band."""
  return std if band == 'std' else aggregate.half_width(std, count)


def _count(legend, text, handle, word, counts):
  """Add an entry, or the counts of one more panel to it."""
  legend.setdefault(text, (handle, word, []))[2].extend(counts)


def _add_legend(figure, legend, band, title):
  own_first = sorted(legend.items(), key=lambda entry: entry[1][1] != 'run')
  columns = 2 if figure.get_figwidth() > 13 and len(legend) > 2 else 1
  figure.legend(
      [entry[0] for _, entry in own_first], [_label(text, band, *entry[1:]) for text, entry in own_first],
      loc='outside lower center', frameon=False, fontsize='small', handlelength=4, ncols=columns,
      title=title, title_fontsize='small')
  make_room(figure, columns)


def make_room(figure, columns=1):
  """Make a figure higher for a long legend, which would leave its axes nothing."""
  lines = sum(
      text.get_text().count('\n') + 1 for legend in figure.legends for text in legend.get_texts())
  figure.set_figheight(figure.get_figheight() + 0.17 * max(0, lines / columns - 6))


def _axis_name(metric):
  kind = protocol.returns(metric)
  return f'Episode return ({protocol.RETURNS[kind]})' if kind else metric


def _bins_name(widths):
  """What bins have these widths, in words."""
  own = sorted(width for width in widths if np.isfinite(width))
  parts = ['published bins'] * (len(own) < len(widths))
  if own:
    parts.append('bins of ' + ' to '.join(dict.fromkeys([canvas.short(own[0]), canvas.short(own[-1])])))
  return ', '.join(parts)


def _label(text, band, word, counts):
  """Text of the legend, such as 'dreamer (dmc), mean ± std of 5 runs', in lines that fit."""
  level = 'score' in text or max(counts) == 1
  text += f', {"" if level else BANDS[band] + " of "}{_plural(counts, word)}'
  return canvas.plain('\n    '.join(textwrap.wrap(text, 96)))


def _plural(counts, word):
  low, high = min(counts), max(counts)
  return f'{low} {word}' if high == 1 else f'{low if low == high else f"{low} to {high}"} {word}s'


def _spread(mean, std, count, band):
  """Text of a mean and its band."""
  half = _half(std, count, band)
  if not np.isfinite(half):
    return f'{mean:.4g}'
  return f'{mean:.4g} ± {half:.3g}' if band == 'std' else (
      f'{mean:.4g} [{mean - half:.4g}, {mean + half:.4g}]')
