"""Matplotlib, imported when something is drawn: it takes half a second that help texts can spare.

Everything goes through its objects: no state of pyplot is touched, so that a training run or a
notebook that plots is left alone.
"""


def plain(text):
  """A text in which dollars are dollars: between two of them Matplotlib would see a formula.

  Names of groups of runs hold regular expressions, such as '^position$|^velocity$'.
  """
  return text.replace('$', r'\$')


def figure(width, height):
  """An empty Figure of so many inches, whose parts find their places themselves."""
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure
  made = Figure((width, height), dpi=100, layout='constrained')
  FigureCanvasAgg(made)
  return made


def ticks(most):
  """A locator of at most so many round intervals."""
  from matplotlib import ticker
  return ticker.MaxNLocator(most, steps=[1, 2, 2.5, 5, 10])


def short(number):
  """Return a number in a few characters, such as 250k or 1.5M."""
  from matplotlib import ticker
  return ticker.EngFormatter(sep='')(float(f'{number:.4g}'))


def frame(left, top, width, height):
  """A patch: the outline of a rectangle."""
  from matplotlib.patches import Rectangle
  return Rectangle((left, top), width, height, fill=False, linewidth=0.8)


def fixed_names(salt):
  """Context in which pictures as text have the same names within whenever they are drawn."""
  import matplotlib
  return matplotlib.rc_context({'svg.hashsalt': salt})
