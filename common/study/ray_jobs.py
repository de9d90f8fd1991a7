"""Jobs as tasks of a Ray cluster: the same processes as of `jobs`, on other machines.

The project must be installed on every node, or lie on the same path there, and the logs on a file
system that all nodes share. Ray queues what finds no room. A job whose worker is lost, as with its
node, is started in another, where it continues; one that fails by itself is not tried again.
"""
import os
import pathlib
import time

from common.config import UserError
from common.loop import cluster
from common.loop.interrupts import Interrupts
from common.study import jobs
from common.study.jobs import Event


class Cluster:
  """Jobs on the nodes of a Ray cluster, with the methods of jobs.Processes.

  Args:
    address: `local` starts a cluster on this machine alone and ends it afterwards; `auto` is the
      one that runs on this machine; else what ray.init takes, such as HOST:PORT.
    cpus: of each job.
    gpus: of each job, 0.5 for two on one; None is `devices` where the cluster has GPUs, else 0.
    devices: GPUs that a job uses where there are some.
  Raises:
    UserError: no cluster answers, or none of its nodes has as much.
  """
  full = False  # Ray knows better

  def __init__(self, address, cpus=1, gpus=None, devices=1):
    self.stopping = False
    self._ray, self._tasks = cluster.connect(address, 'sweep'), {}
    ray = self._ray
    try:
      nodes = [node['Resources'] for node in ray.nodes() if node['Alive']]
      gpus = default_gpus(nodes, devices) if gpus is None else gpus
      check_fits(nodes, cpus, gpus)
    except UserError:
      ray.shutdown()
      raise
    self._remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=3)(work)
    self._threads = jobs.threads(cpus)
    self._path = {key: os.environ[key] for key in ('PYTHONPATH',) if key in os.environ}

  @property
  def running(self):
    """Number of jobs that have not ended, those that Ray queues included."""
    return len(self._tasks)

  def start(self, job):
    """Hand a job to Ray."""
    before = _size(job.log)
    self._tasks[self._remote.remote(job, self._threads, self._path, os.getcwd())] = [job, before]

  def poll(self):
    """Return the list of Event since the last call."""
    events = []
    for task in self._tasks.values():
      job, before = task
      if before is not None and _size(job.log) > before:
        task[1] = None
        events.append(Event(job, None))
    if self._tasks:
      ended, _ = self._ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=0)
      events += [self._result(task) for task in ended]
    return events

  def stop(self):
    """Take back what is queued and send SIGTERM to what runs."""
    self.stopping = True
    for task in self._tasks:
      self._ray.cancel(task)

  def close(self):
    """End what still runs, wait for it, and leave the cluster."""
    self.stop()
    while self._tasks:
      self.poll()
      time.sleep(jobs.POLL)
    self._ray.shutdown()

  def _result(self, task):
    job, _ = self._tasks.pop(task)
    try:
      return Event(job, *self._ray.get(task))
    except self._ray.exceptions.RayError as error:
      lines = [line.strip() for line in str(error).splitlines() if line.strip()]
      return Event(job, 1, lines[-1] if lines else type(error).__name__)


def work(job, threads, path, cwd):
  """Run a job in a worker of Ray, until it ends or its task is cancelled.

  Args:
    job: jobs.Job.
    threads: environment variables to add where this node has none.
    path: those to put in place of its own.
    cwd: folder to start it in, where this node has it.
  Returns:
    (exit code, reason), as in jobs.Event.
  """
  if not job.log.parent.is_dir():
    return 1, f'{job.log.parent} is not on this node; --logdir must be shared by all'
  process, begin = jobs.launch(
      job, {**threads, **os.environ, **path}, cwd if pathlib.Path(cwd).is_dir() else None)
  told = False
  # Ray cancels by a SIGINT, which a worker ignores whose cluster was started in the background.
  with Interrupts() as interrupts:
    while process.poll() is None:
      if interrupts.signal and not told:
        process.terminate()
        told = True
      time.sleep(jobs.POLL)
  return process.returncode, jobs.explain(job, process.returncode, begin)


def default_gpus(nodes, devices):
  """GPUs of a job: `devices` (0: all of a node) if one of the nodes (dicts of resources) has any."""
  most = max((node.get('GPU', 0) for node in nodes), default=0)
  return (devices or most) if most else 0


def check_fits(nodes, cpus, gpus):
  """Refuse jobs for which Ray would wait forever. Raises UserError."""
  if not any(node.get('CPU', 0) >= cpus and node.get('GPU', 0) >= gpus for node in nodes):
    largest = max(nodes, key=lambda node: (node.get('GPU', 0), node.get('CPU', 0)), default={})
    raise UserError(
        f'sweep: no node of the cluster has {cpus:g} CPUs and {gpus:g} GPUs for a run, the largest '
        f'{largest.get("CPU", 0):g} and {largest.get("GPU", 0):g}. Pass less as --cpus-per-run or '
        '--gpus-per-run.')


def _size(path):
  return path.stat().st_size if path.exists() else 0
