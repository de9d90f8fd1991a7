"""Make a trained agent small enough to share: python -m common.export --logdir DIR --out FOLDER.

FOLDER gets the weights (float16, a fiftieth of a run), config, metrics and evaluations of the run.
common.load, common.evaluate, common.plot and common.report take it like the directory of a run; no
run can go on in it.
"""
import argparse
import os
import shlex
import shutil

from common import config as config_lib
from common.config import UserError
from common.loop import logdir as logdir_lib

COPIED = ('config.yaml', 'run.json', 'metrics.jsonl', 'evaluate.jsonl')


@config_lib.entry
def main(argv=None):
  """Run the command; exit code 2 and one line for a mistake of the user."""
  parser = argparse.ArgumentParser(
      prog='python -m common.export', description=__doc__.split('\n\n')[1])
  parser.add_argument('--logdir', required=True, help='directory of the run')
  parser.add_argument('--out', required=True, help='folder to make')
  parser.add_argument(
      '--dtype', choices=('float16', 'float32'), default='float16',
      help='of the weights in the file (default: float16, three digits)')
  args = parser.parse_args(argv)
  logdir, out = config_lib.expand(args.logdir), config_lib.expand(args.out)
  logdir_lib.load_config(logdir)
  if os.path.lexists(out):  # Path's own raises for names that are too long
    raise UserError(f'{out}: is there already. Pass another --out, or move it away.')
  # Delayed: TensorFlow takes seconds to import, mistakes are refused before.
  from common.loop import checkpoint
  from common.loop import weights
  agent = checkpoint.load(logdir)
  # Whole or not at all.
  temporary = out.with_name(f'.{out.name}.{os.getpid()}')
  try:
    temporary.mkdir(parents=True)
    weights.save(temporary / logdir_lib.WEIGHTS, agent, args.dtype)
    for name in COPIED:
      if (logdir / name).exists():
        shutil.copyfile(logdir / name, temporary / name)
    temporary.rename(out)
  except OSError as error:
    if str(error.filename).startswith(f'{logdir}{os.sep}'):
      raise UserError(f'{error.filename}: cannot be read ({error.strerror}).') from None
    raise UserError(f'{out}: cannot be written ({error.strerror}).') from None
  finally:
    shutil.rmtree(temporary, ignore_errors=True)
  size = (out / logdir_lib.WEIGHTS).stat().st_size
  print(
      f'{out}: {size / 1e6:.2f} MB of weights. '
      f'python -m common.evaluate --logdir {shlex.quote(str(out))}')


if __name__ == '__main__':
  main()
