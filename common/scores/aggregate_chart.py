"""Aggregate scores as a figure: a row of panels for each unit, a line in them for each method."""
import textwrap

import numpy as np

from common.scores import aggregate
from common.scores import canvas
from common.scores import chart


def draw(rows):
  """Return a Figure of summary.Row: own groups in colours, published methods in grey, each once.

  Points are the statistic, bars its 95 % interval where it is known. Statistics that files do not
  give leave their line empty.

  Args:
    rows: list of summary.Row, not empty.
  """
  units = {}
  for row in rows:
    members = units.setdefault(row.unit, [])
    if not any(_key(row) == _key(other) for other in members):
      members.append(row)
  names = {unit: [_label(row) for row in members] for unit, members in units.items()}
  lines = [sum(1 + name.count('\n') for name in part) for part in names.values()]
  figure = canvas.figure(11, sum(0.95 + 0.22 * count for count in lines))
  axes = figure.subplots(
      len(units), len(aggregate.STATISTICS), squeeze=False,
      height_ratios=[2 + 0.5 * count for count in lines])
  styles = {name: i for i, name in enumerate(dict.fromkeys(row.group for row in rows))}
  for line, (unit, members) in zip(axes, units.items()):
    for axis, statistic in zip(line, aggregate.STATISTICS):
      _draw_panel(axis, members, statistic, styles)
    line[0].set_yticks(range(len(members)), names[unit], fontsize='small')
    line[1].set_xlabel(f'{unit[:1].upper()}{unit[1:]}, with 95 % intervals over seeds')
  for axis, statistic in zip(axes[0], aggregate.STATISTICS):
    axis.set_title(statistic[:1].upper() + statistic[1:])
  return figure


def _draw_panel(axis, rows, statistic, styles):
  """Draw one statistic of all rows, the first at the top."""
  for y, row in enumerate(rows):
    value, low, high = row.estimates[statistic]
    if not np.isfinite(value):
      continue
    i = styles[row.group]
    colour = '0.45' if row.published else chart.COLOURS[i % len(chart.COLOURS)]
    marker = 'x' if row.published else chart.MARKERS[i % len(chart.MARKERS)]
    if np.isfinite(low):
      axis.plot([low, high], [y, y], color=colour, linewidth=5, alpha=0.35, solid_capstyle='butt')
    axis.plot([value], [y], color=colour, marker=marker, markersize=6)
  axis.set_ylim(len(rows) - 0.4, -0.6)
  axis.set_yticks(range(len(rows)), [''] * len(rows))
  axis.margins(x=0.1)
  axis.xaxis.set_major_locator(canvas.ticks(5))
  axis.grid(axis='x', color='0.92')
  axis.set_axisbelow(True)
  axis.tick_params(axis='y', length=0)
  for side in ('top', 'right', 'left'):
    axis.spines[side].set_visible(False)


def _key(row):
  return row.name, row.tasks, row.frames


def _label(row):
  tasks = f'{len(row.tasks)} task{"s" * (len(row.tasks) > 1)}'
  return canvas.plain('\n'.join([*textwrap.wrap(row.name, 52), f'{tasks}, {row.frames} frames']))
