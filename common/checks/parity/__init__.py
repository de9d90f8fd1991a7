"""Golden fixtures and the checks that repeat them with the project's own modules.

A parity module has a dict CHECKS = {component: check}. It lies in this package, or is the file
`parity.py` of an agent's package for the parts that only this agent has. A check is a function

    check(fixture) -> {key: array}                  one for each key of fixture.expected
                   -> {key: array}, [quirk keys]    for the components in QUIRKS

It runs the same functions that training runs, in zero-noise mode. Values may be tensors, or
Compare where the usual limits do not fit. Format of the files: tests/golden/README.md.
"""
import dataclasses
import importlib
import importlib.util
import json
import pathlib
import pkgutil

import numpy as np

from common import config
from common.data.episodes import UNREADABLE

# Components with outputs that record a quirk of the published code which is mended here
# (docs/differences.md). Their checks alone may list such outputs in place of reproducing them.
QUIRKS = ('replay_alignment', 'replay_windows', 'p2e_lambda_return')

EXPECTED = ('out/', 'grad/', 'step1/', 'step3/')


@dataclasses.dataclass(frozen=True)
class Fixture:
  """One golden file.

  Attributes:
    path: where it was read.
    meta: dict with name, component, source, config, notes and keys.
    arrays: every array under its full key.
  """
  path: pathlib.Path
  meta: dict
  arrays: dict

  @property
  def component(self):
    """Which check it is for."""
    return self.meta['component']

  @property
  def config(self):
    """Sizes, activation names, loss constants, learning rates, ..."""
    return self.meta['config']

  @property
  def inputs(self):
    """Arrays under in/, named without it."""
    return self.under('in/')

  @property
  def weights(self):
    """Arrays under weights/, named without it."""
    return self.under('weights/')

  @property
  def expected(self):
    """Arrays that a check must compute, under their full keys (out/, grad/, step1/, step3/)."""
    return {key: value for key, value in self.arrays.items() if key.startswith(EXPECTED)}

  def under(self, prefix):
    """Return the arrays whose key begins with the prefix, named without it."""
    return {
        key[len(prefix):]: value for key, value in self.arrays.items() if key.startswith(prefix)}


@dataclasses.dataclass(frozen=True)
class Compare:
  """A computed array that is compared by max|a - b| <= tolerance, in place of the usual measure."""
  value: np.ndarray
  tolerance: float


def load(path):
  """Return the Fixture in a file. Raises UserError if it is missing or not a golden file."""
  path = pathlib.Path(path)
  try:
    with np.load(path, allow_pickle=False) as archive:
      arrays = {key: archive[key] for key in archive.files}
    meta = json.loads(str(arrays.pop('meta')))
    missing = [key for key in ('component', 'config') if key not in meta]
  except FileNotFoundError:
    raise config.UserError(f'{path}: no such file.') from None
  except UNREADABLE as error:
    raise config.UserError(f'{path}: not a golden fixture ({error}).') from error
  if missing:
    raise config.UserError(f'{path}: not a golden fixture (meta has no {missing[0]!r}).')
  return Fixture(path, meta, arrays)


def find(component):
  """Return the check of a component. Raises UserError if no parity module has one."""
  failures = []
  for name in modules():
    try:
      checks = importlib.import_module(name).CHECKS
    except (ImportError, AttributeError) as error:  # of a module that may not be needed here
      failures.append(f'{name} was left out: {error}')
      continue
    if component in checks:
      return checks[component]
  raise config.UserError(
      '. '.join([f'no check for component {component!r} in common/checks/parity or AGENT/parity.py',
                 *failures]))


def modules():
  """Return the names of all parity modules, those that need no TensorFlow first."""
  names = [f'{__name__}.{module.name}' for module in pkgutil.iter_modules(__path__)]
  names.sort(key=lambda name: (not name.endswith(('.replay', '.dmc')), name))
  return names + [f'{agent}.parity' for agent in config.AGENTS if _exists(f'{agent}.parity')]


def _exists(module):
  try:
    return importlib.util.find_spec(module) is not None
  except ImportError:  # of the package above it
    return False
