"""What all commands do with errors, interrupts and readers that have gone."""
import functools
import gc
import importlib.util
import os
import sys

from common.config.errors import UserError


def _open_streams():
  """Give closed standard streams to /dev/null, or the next files that open would take their numbers.

  Characters that standard output lacks become question marks.
  """
  for number, name, mode in ((0, 'stdin', 'r'), (1, 'stdout', 'w'), (2, 'stderr', 'w')):
    try:
      os.fstat(number)
    except OSError:
      # It takes the lowest number, this one.
      os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if getattr(sys, name) is None:
      setattr(sys, name, open(number, mode, encoding='utf-8', closefd=False))
    elif name == 'stdout' and hasattr(sys.stdout, 'reconfigure'):
      sys.stdout.reconfigure(errors='replace')  # what a terminal lacks ends no command


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
    _open_streams()
    backend = os.environ.get('MPLBACKEND', '')
    module = backend.partition('module://')[2].partition('.')[0]
    if backend and not (module and importlib.util.find_spec(module)):
      # That of a notebook, which `!python -m ...` inherits without its modules, or of an old Matplotlib.
      os.environ['MPLBACKEND'] = 'agg'
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
