"""Learning curves as a figure: own runs, and published results whose protocol is the same.

Everything goes through the objects of matplotlib: no state of pyplot is touched, so that a training
process can draw.
"""
import textwrap

from matplotlib import ticker
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
import numpy as np

from common import config as config_lib
from common import curves
from common import published

# Curves are told apart without colours, too: the cycles have no common length.
COLOURS = ('black', '#0072b2', '#d55e00', '#009e73', '#cc79a7')
LINES = ('-', '--', '-.', ':')
MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X')

# Published methods: what the legend says, and the dashes.
NAMES = {
    'dreamer': ('Dreamer', (0, (6, 2))),
    'dreamerv2': ('DreamerV2', (0, (6, 2))),
    'dreamerv3': ('DreamerV3', (0, (3, 1.5))),
    'plan2explore_zeroshot': ('Plan2Explore zero-shot', (0, (1, 1.5)))}
RETURNS = {'eval': 'evaluation', 'train': 'training'}

# Printed scores of PlaNet, which has no published curve, best source first.
PLANET = (('PlaNet', 'planet', 'PlaNet paper Table 1'),
          ('PlaNet at action repeat 2', 'planet_R2', 'Dreamer paper appendix score table'))

EPISODE = 1000  # frames of the published episodes on DeepMind Control


def draw(groups, metric, width=None):
  """Return a Figure with one panel a task.

  Args:
    groups: list of curves.Group with runs that are not empty.
    metric: what their values are; names such as eval/return/TASK choose the published task.
    width: of bins, in frames; None chooses for each task.
  """
  panels = _panels(groups, metric)
  columns = int(np.ceil(np.sqrt(len(panels))))
  rows = -(-len(panels) // columns)
  size = (7.5, 4.8) if len(panels) == 1 else (1.2 + 3.6 * columns, 1.6 + 2.7 * rows)
  figure = Figure(size, dpi=100, layout='constrained')
  FigureCanvasAgg(figure)
  axes = figure.subplots(rows, columns, squeeze=False).ravel()
  styles = {name: i for i, name in enumerate(dict.fromkeys(group.name for group in groups))}
  legend = {}  # text: (handle, what is counted, counts)
  for axis, (task, members) in zip(axes, panels.items()):
    axis.set_title(task)
    _draw_panel(axis, task, members, metric, width, styles, legend)
  for axis in axes[len(panels):]:
    axis.remove()
  figure.supylabel(_axis_name(metric), fontsize='medium')
  own_first = sorted(legend.items(), key=lambda entry: entry[1][1] != 'run')
  figure.legend(
      [entry[0] for _, entry in own_first], [_label(text, *entry[1:]) for text, entry in own_first],
      loc='outside lower center', frameon=False, fontsize='small', handlelength=4)
  return figure


def describe(groups, metric, width=None):
  """Return a line for each group: its last value and the published ones at that frame count."""
  lines = []
  for task, members in _panels(groups, metric).items():
    bin_width = width or _bin_width(members)
    for group in members:
      bins = curves.binned(group.runs, bin_width)
      end = bins.frames[-1]
      parts = [
          task, _own_name(group, metric),
          f'{bins.mean[-1]:.4g}{_spread(bins.std[-1])} at {end:,.0f} frames, '
          f'{_plural(bins.count[-1:], "run")}']
      shares = _protocol(metric) and _is_atari(task) and published.normalised(
          task, bins.mean[-1])
      if shares:
        parts.append('human-normalised: ' + ', '.join(
            f'{name.replace("_", " ")} {share:.3g}' for name, share in shares.items()))
      for curve in _published(task, [group], metric):
        mean, std = curve.at(end)
        if np.isfinite(mean):
          parts.append(f'{NAMES[curve.method][0]}, published: {mean:.4g}{_spread(std)}')
      lines.append(' | '.join(parts))
  return lines


def _panels(groups, metric):
  """Groups by the task whose returns are shown."""
  own = metric.partition('eval/return/')[2]
  panels = {}
  for group in groups:
    panels.setdefault(own or group.task, []).append(group)
  return panels


def _draw_panel(axis, task, groups, metric, width, styles, legend):
  """Draw one task, and add what it shows to the legend."""
  end = max(run.frames.max() for group in groups for run in group.runs)
  references = _published(task, groups, metric)
  # A young run is shown beside a piece of the published curve, whose points are far apart.
  end = max([end, *sorted(curve.frames[:2].max() for curve in references)[:1]])
  for curve in references:
    _draw_published(axis, curve, end, legend)
  if _protocol(metric) == 'eval' and any(
      group.agent == 'planet' and _comparable(group, metric) for group in groups):
    _draw_planet(axis, task, legend)
  if _protocol(metric) and _is_atari(task):
    _draw_people(axis, task, legend)
  width = width or _bin_width(groups)
  for group in groups:
    bins = curves.binned(group.runs, width)
    i = styles[group.name]
    handle = _draw_bins(
        axis, bins, COLOURS[i % len(COLOURS)], LINES[i % len(LINES)], MARKERS[i % len(MARKERS)])
    _count(legend, _own_name(group, metric), handle, 'run', bins.count)
  axis.set_xlabel(f'Environment frames, bins of {_short(width)}')
  axis.set_xlim(0, 1.03 * end)
  if _protocol(metric) and axis.dataLim.y0 >= 0:
    axis.set_ylim(bottom=0)
  axis.xaxis.set_major_locator(ticker.MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
  axis.xaxis.set_major_formatter(lambda value, _: _short(value))
  axis.grid(color='0.92')
  axis.set_axisbelow(True)
  for side in ('top', 'right'):
    axis.spines[side].set_visible(False)


def _bin_width(groups):
  return curves.bin_width([run for group in groups for run in group.runs])


def _draw_bins(axis, bins, colour, line, marker):
  """Draw mean and spread of one group. Returns the handle for the legend."""
  handle, = axis.plot(
      bins.frames, bins.mean, color=colour, linestyle=line, marker=marker, markersize=4,
      markevery=max(1, len(bins.frames) // 12), linewidth=1.6, zorder=3)
  axis.fill_between(
      bins.frames, bins.mean - bins.std, bins.mean + bins.std, color=colour, alpha=0.15,
      linewidth=0, zorder=2)
  if len(bins.frames) == 1:  # has no area
    axis.errorbar(bins.frames, bins.mean, bins.std, color=colour, capsize=3)
  return handle


def _draw_published(axis, curve, end, legend):
  """Draw a published curve in grey, up to the end of the axis."""
  inside = curve.frames < end
  if not inside.any():
    return
  x = np.append(curve.frames[inside], min(end, curve.frames[-1]))
  mean, std = curve.at(x)
  name, dashes = NAMES[curve.method]
  band = axis.fill_between(
      x, mean - std, mean + std, facecolor='none', edgecolor='0.8', hatch='////', linewidth=0.5,
      zorder=1)
  line, = axis.plot(
      x, mean, color='0.45', linestyle=dashes, linewidth=1.8, zorder=2,
      marker='x', markersize=5, markevery=list(range(inside.sum())))
  text = f'{name}, published, {RETURNS[curve.protocol]} returns, from {curve.observation}'
  _count(legend, text, (band, line), 'seed', curve.n_seeds[:len(x)])


def _draw_planet(axis, task, legend):
  """Draw PlaNet's printed final score as a level."""
  for name, method, source in PLANET:
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


def _is_atari(task):
  return config_lib.suite(task) == 'atari'


def _count(legend, text, handle, word, counts):
  """Add an entry, or the counts of one more panel to it."""
  legend.setdefault(text, (handle, word, []))[2].extend(counts)


def _published(task, groups, metric):
  """Curves whose protocol is that of the metric and whose episodes are as long as ours."""
  groups = [group for group in groups if _comparable(group, metric)]
  agents = {group.agent for group in groups}
  if not groups:
    return []
  if _protocol(metric) == 'eval' and _is_atari(task):
    # Of the first Dreamer no scores of games were published.
    second = any(run.config.get('latent') == 'categorical' for g in groups for run in g.runs)
    names = [('dreamerv2', 'pixels')] * second
  elif _protocol(metric) == 'eval':
    names = [('dreamer', 'pixels')]
    if 'plan2explore' in agents:
      names.append(('plan2explore_zeroshot', 'pixels'))
  elif _protocol(metric) == 'train' and 'dreamer' in agents:
    # Dreamer has no published training returns; its successors have.
    pixels = {bool(run.config.get('cnn_keys')) for group in groups for run in group.runs}
    names = [('dreamerv2', 'pixels')] * (True in pixels)
    names += [('dreamerv3', 'states')] * (False in pixels)
  else:
    names = []
  found = [published.curve(method, task, observation) for method, observation in names]
  return [curve for curve in found if curve is not None and len(curve.frames)]


def _comparable(group, metric):
  """Whether returns are sums over the same number of frames as the published ones."""
  return _protocol(metric) and (
      config_lib.suite(group.task) != 'dmc' or _episode(group, metric) == EPISODE)


def _episode(group, metric):
  """Frames of a whole episode on DeepMind Control."""
  config = group.runs[0].config
  limits = [EPISODE, config.get('time_limit')]
  if _protocol(metric) == 'train':
    limits.append(config.get('collect_limit'))
  return min(limit for limit in limits if limit)


def _protocol(metric):
  """eval or train for returns of episodes, empty for other metrics."""
  kind, _, rest = metric.partition('/')
  return kind if kind in RETURNS and rest.split('/')[0] == 'return' else ''


def _own_name(group, metric):
  """Name of a group, with what makes its returns differ from the published ones."""
  short = _protocol(metric) and not _comparable(group, metric)
  return group.name + (f', episodes of {_episode(group, metric)} frames' if short else '')


def _axis_name(metric):
  protocol = _protocol(metric)
  return f'Episode return ({RETURNS[protocol]})' if protocol else metric


def _label(text, word, counts):
  """Text of the legend, such as 'dreamer (dmc), mean ± std of 5 runs', in lines that fit."""
  level = 'score' in text or max(counts) == 1
  text += f', {"" if level else "mean ± std of "}{_plural(counts, word)}'
  return '\n    '.join(textwrap.wrap(text, 84))


def _plural(counts, word):
  low, high = min(counts), max(counts)
  return f'{low} {word}' if high == 1 else f'{low if low == high else f"{low} to {high}"} {word}s'


def _short(frames):
  """Return such as 250k or 1.5M."""
  return ticker.EngFormatter(sep='')(frames)


def _spread(std):
  return f' ± {std:.3g}' if np.isfinite(std) else ''
