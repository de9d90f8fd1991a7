"""A golden file against what our modules compute: errors, tolerances, one report."""
import contextlib
import pathlib
import sys
import traceback

import numpy as np

from common.checks import parity
from common.config import UserError

# Limits of the measure max|a - b| / (max|b| + 1e-3); see tests/golden/README.md. Those of the
# weights after optimiser steps are in units of the learning rate.
OUTPUT = 2e-5
OUTPUT_TRAIN_STEP = 5e-5
GRADIENT = 1e-4
STEPS = {'step1': 0.05, 'step3': 0.15}
BOUNDARY_ACTIONS = 1e-3  # log-probability in rows 0 and 1 of actor_tanh_normal

# Which optimiser owns the weights under a name; all others are of the world model.
OPTIMISERS = {'value': 'value_lr', 'actor': 'actor_lr'}

FAILED = 1e30  # error where no number can be given; JSON has no infinity


def verify(path):
  """Return the report on one golden file as a dict of plain values. Raises nothing."""
  report = {
      'fixture': pathlib.Path(path).stem, 'ok': False, 'checked': 0, 'skipped': [],
      'worst_key': '', 'worst_error': 0.0, 'tolerance': 0.0}
  try:
    fixture = parity.load(path)
    report.update(skipped=sorted(fixture.expected))
    # A check may print, or let a library print; the line of JSON must stay alone.
    with contextlib.redirect_stdout(sys.stderr):
      check = parity.find(fixture.component)
      _plain_float32()
      values = check(fixture)
    report.update(judge(fixture, values))
  except UserError as error:
    report['error'] = str(error)
  except Exception as error:  # whatever a check raises is its result
    traceback.print_exc(file=sys.stderr)
    report['error'] = f'{type(error).__name__}: {error}'
  return report


def judge(fixture, values):
  """Compare computed with expected arrays.

  Args:
    fixture: parity.Fixture.
    values: what its check returned.
  Returns:
    Dict with ok, checked, skipped, worst_key, worst_error, tolerance, perhaps quirks.
  Raises:
    ValueError: quirks of a component that may have none, or of keys that do not exist.
  """
  values, quirks = values if isinstance(values, tuple) else (values, [])
  if quirks and fixture.component not in parity.QUIRKS:
    raise ValueError(f'{fixture.component} may not have quirks: {quirks}')
  if set(quirks) - set(fixture.expected):
    raise ValueError(f'quirks that are no outputs: {quirks}')
  results = [
      (key, *_error(fixture, key, values[key], expected))
      for key, expected in fixture.expected.items() if key in values and key not in quirks]
  skipped = sorted(set(fixture.expected) - set(values) - set(quirks))
  key, error, tolerance = max(results, key=_share, default=('', 0.0, 0.0))
  ok = bool(results) and not skipped and all(error <= limit for _, error, limit in results)
  report = {
      'ok': ok, 'checked': len(results), 'skipped': skipped, 'worst_key': key,
      'worst_error': float(error), 'tolerance': float(tolerance)}
  return {**report, 'quirks': sorted(quirks)} if quirks else report


def _error(fixture, key, value, expected):
  """Return (error, tolerance) of one output, by the measure that fits its key."""
  if isinstance(value, parity.Compare):
    return _measure(value.value, expected, scale=1.0), value.tolerance
  kind = key.partition('/')[0]
  if expected.dtype.kind in 'iub':  # counts, masks and images: exactly
    return _measure(value, expected), 0.0
  if kind in STEPS:
    owner = key.split('/')[1]
    rate = fixture.config[OPTIMISERS.get(owner, 'model_lr')]
    return _measure(value, expected, scale=rate), STEPS[kind]
  if kind == 'grad':
    return _measure(value, expected), GRADIENT
  if fixture.component == 'actor_tanh_normal' and key == 'out/log_prob':
    value = np.asarray(value)
    parts = [
        (_measure(value[:2], expected[:2]), BOUNDARY_ACTIONS),
        (_measure(value[2:], expected[2:]), OUTPUT)]
    return max(parts, key=lambda part: _share((key, *part)))
  train_step = fixture.component.endswith('train_step')
  return _measure(value, expected), OUTPUT_TRAIN_STEP if train_step else OUTPUT


def _measure(value, expected, scale=None):
  """Return max|a - b| / scale; the default scale is max|b| + 1e-3."""
  value, expected = np.asarray(value), np.asarray(expected, np.float64)
  if value.shape != expected.shape:
    return FAILED
  value = value.astype(np.float64)
  if not (np.isfinite(value).all() and np.isfinite(expected).all()):
    return FAILED
  if not expected.size:
    return 0.0
  if scale is None:
    scale = np.abs(expected).max() + 1e-3
  return float(np.abs(value - expected).max() / scale)


def _share(result):
  """Return the error as a multiple of its tolerance, by which outputs are ranked."""
  _, error, tolerance = result
  return error / tolerance if tolerance else (FAILED if error else 0.0)


def _plain_float32():
  """Undo process-wide settings that lose digits. Only if the check needed TensorFlow at all."""
  if 'tensorflow' in sys.modules:
    tf = sys.modules['tensorflow']
    tf.config.experimental.enable_tensor_float_32_execution(False)
  if 'tf_keras' in sys.modules:
    sys.modules['tf_keras'].mixed_precision.set_global_policy('float32')
