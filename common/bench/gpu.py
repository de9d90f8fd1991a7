"""All that is worth knowing of a GPU machine in one command; the parts are in gpu_parts."""
import datetime
import math
import pathlib
import platform

from common import config as config_lib
from common import envs
from common.bench import arguments
from common.bench import schedule
from common.config import UserError

PUBLISHED = ['dmc']               # blocks of the published command
TASK = 'dmc_cartpole_balance_sparse'
GOLDEN = pathlib.Path(__file__).resolve().parents[2] / 'tests' / 'golden'


def measure_gpu(args, flags):
  """Run the parts and write args.out; returns the exit code, 1 if a part failed."""
  out = config_lib.expand(args.out)
  folder = config_lib.expand(args.runs or f'{out}.runs')
  for path in (out, folder):
    if path.exists():
      raise UserError(f'{path} exists. Pass another --out or --runs.')
  arguments.refuse(flags, ('logdir', 'task'), 'is chosen for each part')
  if not (0 < args.minutes < math.inf):
    raise UserError(f'--minutes is {args.minutes:g}, must be above 0.')
  for agent in config_lib.AGENTS:
    envs.check(config_lib.load(agent, config_lib.with_blocks(PUBLISHED, flags)))
  chosen = _chosen(parts(flags, folder), args.parts)
  try:
    out.parent.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise UserError(f'{out.parent}: cannot be made ({error.strerror}). Pass another --out.') from None
  found = schedule.run(chosen, args.minutes, out, {
      'started': datetime.datetime.now().isoformat(timespec='seconds'),
      'machine': platform.node(), 'python': platform.python_version(), 'flags': flags})
  print(f'Written: {out}')
  return int(any(part['status'] == 'failed' for part in found['parts']))


def _chosen(parts, names):
  """The parts of these names, all by default, which share the time of those that are left out.

  Raises UserError for a name that there is not.
  """
  known = [part.name for part in parts]
  for name in names or []:
    if name not in known:
      raise UserError(f'--parts: there is no {name!r}. There are: {", ".join(known)}.')
  chosen = [part for part in parts if not names or part.name in names]
  # What comes last takes what the others leave.
  left = (1 - sum(part.share for part in parts)) * (chosen[-1] is parts[-1])
  whole = left + sum(part.share for part in chosen)
  return [part._replace(share=part.share / whole) for part in chosen]


def _speed(row):
  """Whether a row of a run has the speed of one that no longer builds anything."""
  return 'fps' in row and not row.get('building')


def parts(flags, folder):
  """List of schedule.Part.

  Args:
    flags: of the configuration, for all parts.
    folder: pathlib.Path for the directories of runs.
  """
  def measure(name, *args, blocks=PUBLISHED):
    return schedule.python(
        'common.bench.gpu_parts', name, '--seconds', schedule.SECONDS, *args,
        *config_lib.with_blocks(blocks, flags), schedule.FLAGS)
  def train(name, *more):
    return schedule.python(
        'common.bench.following', '--seconds', schedule.SECONDS, '--logdir', str(folder / name),
        '--task', TASK, *more, *config_lib.with_blocks(PUBLISHED, flags), schedule.FLAGS)
  # Few frames come before those that are timed, and nothing is evaluated between them.
  short = ['--prefill', '1000', '--pretrain', '1', '--eval_episodes', '0', '--log_every', '1']
  part, fixtures = schedule.Part, sorted(GOLDEN.glob('*.npz'))
  found = [
      # TensorFlow tells here alone which library of CUDA it misses.
      # On a card for which TensorFlow has no binary code, the driver compiles it now.
      part('machine', 0.05, measure('machine'), needed=True, least=60, environ={
          'TF_CPP_MIN_LOG_LEVEL': '0', 'TF_CPP_VMODULE': 'dso_loader=1'}),
      part('xla', 0.05, measure('xla'), otherwise=['--jit', 'False'], least=60),
      part('pictures', 0.04, measure('pictures')),
      part('fixtures', 0.1, schedule.python(
          'common.verify', 'parity', *map(str, fixtures)),
          environ={'NVIDIA_TF32_OVERRIDE': '0'}),
      part('agreement', 0.04, measure('agreement'), least=45),
      part('updates of dreamer', 0.13, measure('updates', '--agent', 'dreamer')),
      part('policies', 0.06, measure('policies')),
      part('loop', 0.12, train('serial', '--overlap', 'False', *short), endless=True, awaited=_speed),
      part(
          'loop with overlap', 0.12, train('overlap', '--overlap', 'True', *short), endless=True,
          awaited=_speed),
      part('updates of dreamerv2', 0.07, measure(
          'updates', '--agent', 'dreamer', blocks=['atari', 'dreamerv2'])),
      part('searches of planet', 0.05, measure('searches')),
      part('updates of plan2explore', 0.06, measure('updates', '--agent', 'plan2explore')),
      part('published command', 0, train('published'), endless=True, awaited=_speed)]
  # An installed package has no fixtures. Blocks that are passed are of one size for all parts.
  missing = {'fixtures': not fixtures, 'updates of dreamerv2': config_lib.names_blocks(flags)}
  return [one for one in found if not missing.get(one.name)]
