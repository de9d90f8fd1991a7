"""What all commands do with errors, interrupts and readers that have gone."""
import functools
import gc
import os
import sys

from common.config.errors import UserError


def entry(main):
  """Decorate the main function of a command: a UserError becomes one line and exit code 2.

  Ctrl-C becomes exit code 130, and output that nobody reads any more (`... --help | head`) 141.
  Other exceptions are our mistakes and keep their traceback.
  """
  @functools.wraps(main)
  def wrapper(argv=None):
    # TensorFlow's modules and graphs are many objects that live long: after every 700 new ones
    # Python would look through them, a tenth of the time of a start, and find nothing.
    gc.set_threshold(50_000, 20, 50)
    try:
      try:
        return main(argv)
      finally:
        sys.stdout.flush()
    except BrokenPipeError:
      os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the last flush
      sys.exit(141)
    except UserError as error:
      print(error, file=sys.stderr)
      sys.exit(2)
    except KeyboardInterrupt:
      print('Interrupted.', file=sys.stderr)
      sys.exit(130)
  return wrapper
