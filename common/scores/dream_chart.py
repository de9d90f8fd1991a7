"""A panel below the returns of a task: how wrong dreams were, beside what needs no model."""
import numpy as np

from common import config as config_lib
from common.scores import chart
from common.scores import curves

METRIC = 'eval/dream_error_45'
GUESSES = {'': ('-', 'dream'), '_still': ('--', 'nothing moves'), '_mean': (':', 'mean picture')}


def panel(groups, task=None):
  """How to draw the dreams of some groups.

  Args:
    groups: list of curves.Group, in the order of their colours.
    task: leave out runs that dream of another: of several tasks it is the first.
  Returns:
    Function of an axis, for `chart.draw`; None if no run has dreamt of pictures.
  """
  lines = [
      (i, guess, [
          curves.read(run.path, METRIC + guess, run.config) for run in group.runs
          if task in (None, config_lib.eval_tasks(run.config)[0][0])])
      for i, group in enumerate(groups) for guess in GUESSES]
  lines = [(i, guess, [run for run in runs if len(run.frames)]) for i, guess, runs in lines]
  lines = [line for line in lines if line[2]]
  return (lambda axis: _draw(axis, lines)) if lines else None


def _draw(axis, lines):
  width = curves.bin_width([run for *_, runs in lines for run in runs])
  named = set()
  for i, guess, runs in lines:
    bins = curves.binned(runs, width)
    line, name = GUESSES[guess]
    axis.plot(
        bins.frames, np.where(bins.mean > 0, bins.mean, np.nan), linestyle=line,
        color=chart.COLOURS[i % len(chart.COLOURS)], linewidth=1.2 if guess else 1.6,
        marker='' if guess and len(bins.frames) > 1 else '.', label='' if guess in named else name)
    named.add(guess)
  axis.set_yscale('log')
  axis.set_title(
      'Squared error of pictures, 45 decisions ahead', fontsize='small', loc='left')
  axis.tick_params(axis='y', which='both', labelsize='small')
  axis.legend(
      loc='lower right', bbox_to_anchor=(1, 0.97), borderaxespad=0, fontsize='x-small', ncols=3,
      frameon=False, handlelength=3)
