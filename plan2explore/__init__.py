"""Plan2Explore: explores by expected disagreement, then solves tasks zero-shot or few-shot."""

import pathlib
import sys

import common

# A folder or file of the user's that is called `common` would be taken in place of ours, wherever
# the command is started, and what our own guards against crashes would be missing.
if not hasattr(common, 'load') or (
    pathlib.Path(common.__file__).resolve().parents[1] != pathlib.Path(__file__).resolve().parents[1]):
  sys.exit(
      f'{__name__}: another module called common was found before ours '
      f'({getattr(common, "__file__", None) or list(common.__path__)[0]}). Rename it, or start the '
      'command in another folder.')
