"""What a benchmark's command line may say, refused in a sentence where it means nothing."""
import argparse
import functools
import math
import re

from common.config import UserError


def at_least(low, kind, text):
  """The number of a text. Raises argparse.ArgumentTypeError below `low`, and for what is no number."""
  try:
    number = kind(text)
  except ValueError:
    raise argparse.ArgumentTypeError(f'{text!r} is no {"whole " if kind is int else ""}number') from None
  if not low <= number < math.inf:
    raise argparse.ArgumentTypeError(f'must be at least {low}')
  return number


def refuse(flags, names, why):
  """Raise UserError for flags of a run that a benchmark chooses itself, or would pass over."""
  given = [flag[2:].partition('=')[0] for flag in flags if flag.startswith('--')]
  for name in names:
    if any(key == name or not key.isidentifier() and _fits(key, name) for key in given):
      raise UserError(f'--{name} {why}. Leave it out.')


def _fits(pattern, name):
  """Whether a regular expression fits; what is none is refused where the flags are read."""
  try:
    return bool(re.fullmatch(pattern, name))
  except re.error:
    return False


positive, counted, milliseconds = (
    functools.partial(at_least, *of) for of in ((1, int), (0, int), (0, float)))
