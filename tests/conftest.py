"""Shared by all tests: quiet TensorFlow, the golden fixtures, the checkout on the path.

This file is loaded before any test imports TensorFlow, so environment variables belong here.
"""
import gc
import os
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
# What a GPU allocates at once would starve the processes that some tests start.
os.environ.setdefault('TF_FORCE_GPU_ALLOW_GROWTH', 'true')
# TensorFlow then leaves out the Keras that nothing here uses, half a second a process.
os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')
# Tests work without the package installed, and so do the processes that they start.
os.environ['PYTHONPATH'] = os.pathsep.join(
    [str(ROOT), *filter(None, [os.environ.get('PYTHONPATH')])])
sys.path.insert(0, str(ROOT))
# As in every command, see common.config.command.
gc.set_threshold(50_000, 20, 50)
import common  # noqa: it decides how TensorFlow is loaded, so it comes before


# Files that take longest: a worker that began one of them last would be late.
LONG = (
    'determinism', 'broken_builds', 'plan2explore', 'run', 'exploration_runs', 'benchmark',
    'compile', 'planet', 'exact', 'resume', 'sweep', 'parity_disturbed', 'cli', 'evaluate')


def pytest_collection_modifyitems(items):
  """Long files first; the order within a file stays."""
  rank = {f'test_{name}': number for number, name in enumerate(LONG)}
  items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


@pytest.fixture(scope='session')
def root():
  """Top of the checkout."""
  return ROOT


@pytest.fixture(scope='session')
def golden():
  """Directory of the recorded fixtures."""
  return ROOT / 'tests' / 'golden'


@pytest.fixture
def processor_seconds():
  """Function that calls another: what that returns, and the time of processes that it waited for.

  Of the processors, which other work on the machine does not stretch.
  """
  def measure(function, *args, **kwargs):
    before = os.times()
    result = function(*args, **kwargs)
    after = os.times()
    return result, sum(after[2:4]) - sum(before[2:4])
  return measure


@pytest.fixture
def eager():
  """What is compiled runs operation by operation: for few updates that is faster than a graph."""
  import tensorflow as tf  # here, for many tests do without
  tf.config.run_functions_eagerly(True)
  yield
  tf.config.run_functions_eagerly(False)


@pytest.fixture(scope='module', autouse=True)
def forget_graphs():
  """Let the graphs of a file's agents go when it is done, or a process grows by 60 MB for each.

  TensorFlow keeps those with custom gradients in a registry for ever
  (tensorflow/tensorflow#124972), and the caches of bijectors refer to tensors in them.
  """
  yield
  if 'tensorflow_probability' not in sys.modules:
    return
  from tensorflow.python.framework import ops
  from tensorflow_probability import bijectors
  registry = ops.gradient_registry._registry
  names = [name for name in registry if name.startswith('CustomGradient-')]
  bijectors.Bijector._cache.storage.clear()
  if not names:
    return  # no agent was trained in a graph, and collecting takes half a second
  for name in names:
    del registry[name]
  gc.collect()
