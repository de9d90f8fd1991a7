"""Opening a run, from top to bottom: check, claim the directory, let the machine decide, build, go.

Nothing here imports TensorFlow before everything that can be checked without it is.
"""
import contextlib
import signal
import sys

from common import envs
from common.config import UserError
from common.data import sources
from common.data.disk import DiskError
from common.data.faults import GaveUp
from common.loop import cluster
from common.loop import logdir
from common.loop import machines
from common.loop import trackers
from common.loop.interrupts import Interrupts, Stop
from common.loop.output import forgiving


def start(config, report=None):
  """Train in the run's directory until config.steps, unless the run is finished.

  Args:
    config: common.config.Config, as loaded.
    report: function of the agent, called at each evaluation, that returns further metrics.
  Raises:
    UserError: a mistake of the user; nothing is left behind if it is found before the run begins.
    SystemExit: after an interrupt (130, 143), non-finite losses or faults of environments (1).
  """
  if machines.check(config):
    with forgiving():
      machines.follow(config)
    return
  envs.check(config)
  trackers.check(config)
  sources.check(config)
  with forgiving(), logdir.claim(config) as path, contextlib.ExitStack() as stack:
    if logdir.finished(path, config):
      # Of a longer run it would be another share, and the directory refused.
      until = f' and --expl_until {config.expl_until}' if config.get('expl_until') else ''
      print(
          f'{path}: finished. Pass --steps above {logdir.finished_at(path)}{until} to train on, or '
          'another --logdir.')
      return
    workers = None
    if config.ray:
      workers = stack.enter_context(
          cluster.workers_of(config.ray, 'config', config.collectors))
    first = stack.enter_context(machines.First(config)) if config.machines else None
    # Delayed: TensorFlow takes seconds to import, mistakes are refused before.
    from common.loop import overlap
    from common.loop import parts
    from common.loop import rounds
    from common.loop import run
    from common.model import devices
    if first:
      first.agree()
    config = devices.setup(config)
    with Interrupts() as interrupts:
      try:
        built = parts.build(
            config, path, workers=workers, stopped=lambda: interrupts.signal is not None,
            first=first)
      except UserError as error:
        if interrupts.signal is None:
          raise
        print(f'{signal.Signals(interrupts.signal).name}: {error}', file=sys.stderr)
        sys.exit(128 + interrupts.signal)
      try:
        kind = run.Run
        if config.overlap:
          kind = rounds.CrewRun if config.collectors else overlap.OverlappedRun
        _go(kind(config, built, interrupts, report), config, path, interrupts)
      finally:
        built.close()


def _go(run, config, path, interrupts):
  """Train to the end, and say what becomes of an interrupt while the disk takes nothing."""
  try:
    _train(run, config, path, interrupts)
  except DiskError as error:
    if interrupts.signal is None:
      raise
    run.say(f'{signal.Signals(interrupts.signal).name}: {error}')
    sys.exit(128 + interrupts.signal)


def _train(run, config, path, interrupts):
  """Train to the end, or save what an interrupt leaves."""
  try:
    run.train()
    run.say(f'Finished at {run.frames:,} frames: {path}')
  except Stop as stop:
    done = f'saved at {run.frames:,} frames'
    if config.deterministic:
      # In the middle of an episode nothing could be continued to the bit.
      done = 'stopped; the last checkpoint is the place to continue from'
    else:
      run.save()
    run.say(f'{stop}: {done}. Start the same command again to continue.')
    sys.exit(128 + interrupts.signal)
  except GaveUp as end:
    try:
      if not config.deterministic:  # else as above
        run.save()
    finally:
      run.log_faults()
    if interrupts.signal is None:
      raise
    run.say(str(end))  # a signal to the whole group also ends what environments have started
    sys.exit(128 + interrupts.signal)
  except Exception as error:
    # Whatever failed, the updates since the last checkpoint are no part of it. A mistake before the
    # first of them leaves nothing to save.
    early = isinstance(error, UserError) and not run.unsaved
    if not (config.deterministic or early or isinstance(error, DiskError)):
      with contextlib.suppress(Exception, GaveUp):
        run.save()
    raise
