"""What a user is told of a mistake."""
import difflib


class UserError(Exception):
  """A mistake of the user, in one sentence: what happened, what was expected, what to type."""


def nearest(name, options):
  """Return the sentence that names the options closest to a mistyped name."""
  options = [str(option) for option in options]
  found = difflib.get_close_matches(str(name), options, 3, 0.5)
  if found:
    return f'Nearest: {", ".join(found)}.'
  more = ', ...' if len(options) > 12 else ''
  return f'Known: {", ".join(options[:12])}{more}.'
