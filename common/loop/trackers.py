"""Trackers of experiments that people already use, fed with the rows and films of TensorBoard.

    --track wandb     Weights & Biases; WANDB_MODE, WANDB_PROJECT, ... as always
    --track mlflow    MLflow; MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME, ... as always

What they do happens in a thread. One that fails is told once and left out: the run's own files
have everything. A run never ends because of a tracker, and hardly waits for one.
"""
import importlib.util
import io
import json
import math
import os
import pathlib
import queue
import shlex
import sys
import tempfile
import textwrap
import threading
import time
import uuid

from common.config import UserError

PROJECT = 'latent-agents'
FILE = 'tracker.json'  # in the run's directory: the name of the run with each tracker
WAITING = 1000         # calls at most; more are lost, as a tracker that is so slow has failed
PATIENCE = 30          # seconds for the first answer, and for what is under way at the end


def check(config):
  """Refuse a tracker that is not installed. Raises UserError."""
  if config.track == 'none':
    return
  found = importlib.util.find_spec(config.track)
  if not found or not found.origin:  # a folder of that name is no package
    raise UserError(
        f"--track {config.track}: the package is not installed. Run pip install -e "
        f"'.[{config.track}]', or leave --track out.")


def make(config, logdir, say):
  """The tracker that a config names, already at work, or None.

  Args:
    config: Config of the run.
    logdir: pathlib.Path of the run's directory.
    say: function that shows a message, called from several threads.
  """
  if config.track == 'none':
    return None
  kind = {'wandb': Wandb, 'mlflow': Mlflow}[config.track]
  return Tracker(config.track, lambda: kind(config, pathlib.Path(logdir), say), say)


class Tracker:
  """Hands everything to a tracker in a thread, until it fails.

  Args:
    name: of the tracker, for messages.
    connect: function that returns it. It is waited for, but not for ever.
    say: function that shows a message.
  """

  def __init__(self, name, connect, say):
    self._name, self._connect, self._say = name, connect, say
    self._waiting = queue.Queue(WAITING)
    self._failed = False
    self._begun = threading.Event()
    self._thread = threading.Thread(target=self._work, name=f'tracker {name}', daemon=True)
    self._thread.start()
    if not self._begun.wait(PATIENCE):
      self._say(f'{name} does not answer yet. The run begins.')

  def scalars(self, step, metrics):
    """Pass on a row: a dict of full name to number at so many frames. What is not finite stays."""
    finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
    self._pass_on(lambda tracker: tracker.scalars(step, finite))

  def gif(self, step, name, gif):
    """Pass on a film: bytes of an animated GIF."""
    self._pass_on(lambda tracker: tracker.gif(step, name, gif))

  def close(self):
    """Let what is under way arrive, for PATIENCE seconds at most.

    The tracker is told how the run ended: by the exception that is being handled, if any.
    """
    ending = sys.exc_info()[1]
    self._pass_on(lambda tracker: tracker.close(ending))
    self._pass_on(None)
    if not self._failed:
      self._thread.join(PATIENCE)
    if self._thread.is_alive():
      self._fail(f'it has not taken everything after {PATIENCE} s')

  def _pass_on(self, call):
    if self._failed:
      return
    try:
      self._waiting.put_nowait(call)
    except queue.Full:
      self._fail(f'it is {WAITING:,} rows behind')

  def _work(self):
    try:
      tracker = self._connect()
      self._begun.set()
      while not self._failed:
        call = self._waiting.get()
        if call is None:
          return
        call(tracker)
    except BaseException as error:  # of whatever kind: it is none of the run's business
      text = str(error) or type(error).__name__
      short = textwrap.shorten(text, 300, placeholder=' [...]')
      self._fail(text[:300] if short == '[...]' else short)  # that is one long word
    finally:
      self._begun.set()

  def _fail(self, reason):
    if not self._failed:
      self._failed = True
      self._say(
          f'Tracking by {self._name} fails ({reason.rstrip(".")}). The run goes on without; its own '
          'files have everything.')


class Wandb:
  """A run of Weights & Biases, with frames as the axis. Its files are in DIR/wandb."""

  def __init__(self, config, logdir, say):
    import wandb
    self._wandb = wandb
    mode = wandb.setup().settings.mode
    # It would ask on the terminal, where the view of the run is.
    if mode not in ('offline', 'disabled') and not wandb.login(prompt=False):
      raise ConnectionError('not logged in: type wandb login, or set WANDB_MODE=offline')
    identity = os.environ.get('WANDB_RUN_ID') or _known(logdir, 'wandb') or uuid.uuid4().hex[:12]
    ours = {
        'project': PROJECT, 'dir': str(logdir), 'name': _name(config, logdir),
        'run_group': f'{config.agent} {config.task}', 'tags': [config.agent, *config.configs]}
    # What its own variables say comes first.
    ours = {
        key.removeprefix('run_'): value for key, value in ours.items()
        if f'WANDB_{key.upper()}' not in os.environ}
    self._run = wandb.init(
        **ours, id=identity, resume='allow', config=_plain(config),
        settings=wandb.Settings(console='off', silent=True, init_timeout=60))
    _remember(logdir, 'wandb', identity)
    self._run.define_metric('frames')
    self._run.define_metric('*', step_metric='frames')
    later = f'offline; later: wandb sync {shlex.quote(str(logdir))}/wandb/offline-*'
    say('wandb: ' + (
        'disabled' if mode == 'disabled' else later if self._run.offline else self._run.url))

  def scalars(self, step, metrics):
    """Log a row."""
    self._run.log({'frames': step, **metrics})

  def gif(self, step, name, gif):
    """Log a film."""
    self._run.log({'frames': step, name: self._wandb.Video(io.BytesIO(gif), format='gif')})

  def close(self, ending):
    """Mark the run as ended here, by an exception or None; it may go on later."""
    self._run.finish(exit_code=0 if ending is None else 1)


class Mlflow:
  """A run of MLflow, whose steps are frames. Films are artifacts in pictures/."""

  def __init__(self, config, logdir, say):
    import mlflow
    from mlflow import entities
    self._entities, self._client = entities, mlflow.MlflowClient()
    self._id = _known(logdir, 'mlflow')
    if self._id and not self._is_there():
      say(f'mlflow: {mlflow.get_tracking_uri()} has no run {self._id}, so another one begins')
      self._id = None
    if not self._id:
      experiment = os.environ.get('MLFLOW_EXPERIMENT_ID')
      if not experiment:
        name = os.environ.get('MLFLOW_EXPERIMENT_NAME', PROJECT)
        experiment = _experiment(self._client, name)
      self._id = self._client.create_run(experiment, run_name=_name(config, logdir)).info.run_id
      params = [
          entities.Param(key, str(value)[:500]) for key, value in sorted(_plain(config).items())]
      for i in range(0, len(params), 100):  # as many are taken at once
        self._client.log_batch(self._id, params=params[i:i + 100])
      _remember(logdir, 'mlflow', self._id)
    self._client.update_run(self._id, 'RUNNING')
    say(f'mlflow: run {self._id} with {mlflow.get_tracking_uri()}')

  def _is_there(self):
    """Whether this server has the run; others are told by the directory, or were before."""
    from mlflow.exceptions import MlflowException
    try:
      return self._client.get_run(self._id).info.lifecycle_stage == 'active'
    except MlflowException as error:
      if error.error_code != 'RESOURCE_DOES_NOT_EXIST':
        raise
      return False

  def scalars(self, step, metrics):
    """Log a row."""
    now = int(1000 * time.time())
    self._client.log_batch(self._id, metrics=[
        self._entities.Metric(name, value, now, step) for name, value in metrics.items()])

  def gif(self, step, name, gif):
    """Keep a film."""
    with tempfile.TemporaryDirectory() as folder:
      path = pathlib.Path(folder, f'{name.replace("/", "_")}-{step:09d}.gif')
      path.write_bytes(gif)
      self._client.log_artifact(self._id, str(path), 'pictures')

  def close(self, ending):
    """Mark the run as ended, by an exception or None; it may go on later."""
    stopped = isinstance(ending, SystemExit)  # by a signal, mostly
    self._client.set_terminated(
        self._id, 'FINISHED' if ending is None else 'KILLED' if stopped else 'FAILED')


def _experiment(client, name):
  """Id of the experiment of a name, made if it is not there."""
  found = client.get_experiment_by_name(name)
  if not found:
    try:
      return client.create_experiment(name)
    except Exception:
      # Runs that start together make it together: all but one are too late.
      found = client.get_experiment_by_name(name)
      if not found:
        raise
  return found.experiment_id


def _name(config, logdir):
  """What people see of a run: the name of its directory, unless that is a seed alone or nothing."""
  name = logdir.absolute().name
  return f'{config.agent}-{config.task}-{name}' if not name.strip('0123456789') else name


def _known(logdir, tracker):
  """The name of the run in this directory with a tracker, or None."""
  try:
    return json.loads((logdir / FILE).read_text())[tracker]
  except (OSError, ValueError, KeyError, TypeError):
    return None


def _remember(logdir, tracker, identity):
  known = {}
  for other in ('wandb', 'mlflow'):
    if _known(logdir, other):
      known[other] = _known(logdir, other)
  temporary = logdir / f'.{FILE}'
  temporary.write_text(json.dumps({**known, tracker: identity}) + '\n')
  temporary.replace(logdir / FILE)


def _plain(config):
  """A config as plain values."""
  return {key: list(value) if isinstance(value, tuple) else value for key, value in config.items()}
