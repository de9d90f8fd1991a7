"""Values of single keys: words and numbers become what the key holds, or are refused."""
import math
import re

from common.config import schedules
from common.config.errors import UserError, nearest
from common.config.options import (
    AUTO, AUTO_BY_DEFAULT, CHOICES, FREE, PATTERNS, RANGES, SCHEDULED)


def matches(key, known, where, owner=''):
  """Return the known keys that a key means: itself, or all that its regular expression fits.

  owner: a sentence on whose key it is, where it is another agent's; said of one that is not known.
  """
  if key in known:
    return [key]
  if not re.fullmatch(r'[\w-]+', key):
    fault = _fault(key)
    if fault:
      raise UserError(f'config: key {key!r} {where} is no regular expression: {fault}.')
    found = [name for name in known if re.fullmatch(key, name)]
    if found:
      return found
  raise UserError(
      f'config: unknown key {key!r} {where}. {owner or nearest(key, known)} '
      'All keys with their meaning: configs.yaml or --help.')


def convert(key, value, default, where):
  """Return the value in the type of its key, or raise UserError."""
  if value == 'auto' and (key in AUTO or (default == 'auto' and key in AUTO_BY_DEFAULT)):
    return value
  if key in CHOICES:
    for choice in CHOICES[key]:
      if str(value).lower() == str(choice).lower():
        return choice
    words = ', '.join(str(choice) for choice in CHOICES[key])
    raise _wrong(key, value, where, f'one of {words}', nearest(value, CHOICES[key]))
  if key in SCHEDULED and schedules.parse(value):
    low, high = RANGES[key]
    if min(schedules.ends(value)) < low or (high and max(schedules.ends(value)) > high):
      bound = f'{low:g} or more' if high is None else f'from {low:g} to {high:g}'
      raise _wrong(key, value, where, f'{bound} all the time', f'Default: {default}.')
    return value
  if key in RANGES:
    return _number(key, value, default, where)
  if isinstance(default, bool):
    if str(value).lower() in ('true', 'false'):
      return str(value).lower() == 'true'
    raise _wrong(key, value, where, 'True or False', f'Default: {default}.')
  if not isinstance(value, str) or (key in FREE and default and not value):
    expected = 'a word' if default else "a word, '' for none"
    raise _wrong(key, value, where, expected, f'Default: {default!r}.')
  if key in PATTERNS and _fault(value):
    raise _wrong(
        key, value, where, f'a regular expression ({_fault(value)})', f'Default: {default!r}.')
  return value


def _fault(pattern):
  """What is wrong with a regular expression, or an empty string."""
  try:
    re.compile(pattern)
  except (re.error, OverflowError, RecursionError) as error:
    return ' '.join(str(error).split())  # which may quote a line break
  return ''


def _number(key, value, default, where):
  low, high = RANGES[key]
  whole = isinstance(low, int)
  expected = 'a whole number' if whole else 'a number'
  expected += f' of at least {low:g}' if high is None else f' from {low:g} to {high:g}'
  if low == high:
    expected = f'{low:g}, the one that works'
  if default == 'auto':
    expected = f'auto or {expected}'
  if key in SCHEDULED:
    expected += f', or {schedules.FORMS}'
  if whole and isinstance(default, float) and default.is_integer():
    default = int(default)
  wrong = _wrong(key, value, where, expected, f'Default: {default}.')
  if isinstance(value, bool):
    raise wrong
  try:
    number = float(value)
  except (TypeError, ValueError, OverflowError):
    raise wrong from None
  if not math.isfinite(number) or (whole and number != int(number)):
    raise wrong
  if number < low or (high is not None and number > high):
    raise wrong
  return int(number) if whole else number


def _wrong(key, value, where, expected, hint):
  return UserError(f'config: {key} is {value!r} {where} but must be {expected}. {hint}')
