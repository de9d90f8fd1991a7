"""Shared by all tests: quiet TensorFlow, the golden fixtures, the checkout on the path.

This file is loaded before any test imports TensorFlow, so environment variables belong here.
"""
import os
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
# What a GPU allocates at once would starve the processes that some tests start.
os.environ.setdefault('TF_FORCE_GPU_ALLOW_GROWTH', 'true')
# Tests work without the package installed, and so do the processes that they start.
os.environ['PYTHONPATH'] = os.pathsep.join(
    [str(ROOT), *filter(None, [os.environ.get('PYTHONPATH')])])
sys.path.insert(0, str(ROOT))
import common  # noqa: it decides how TensorFlow is loaded, so it comes before


@pytest.fixture(scope='session')
def root():
  """Top of the checkout."""
  return ROOT


@pytest.fixture(scope='session')
def golden():
  """Directory of the recorded fixtures."""
  return ROOT / 'tests' / 'golden'
