"""Commands as processes, some at a time, that end with the process that started them.

    for job, code, reason in run(jobs, Processes(2)):
      ...

The output of a job is appended to a file. Ctrl-C and SIGTERM are passed on as one SIGTERM, so that
runs save and end. Where the starting process is killed, the system sends them that SIGTERM (on
Linux; elsewhere they run on, and the locks of their directories keep others away).

`python -m common.study.jobs` is no command for people: it stands between the two processes for a moment.
"""
import contextlib
import ctypes
import itertools
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time
from typing import NamedTuple

from common.loop.interrupts import Interrupts

START, LATER, NEVER = 'start', 'later', 'never'
POLL = 0.2        # seconds from one look at the processes to the next
PATIENCE = 300.0  # seconds; a run that is ended may first have to compile, then to save
PR_SET_PDEATHSIG = 1
TAIL = 4096       # bytes of an output in which its last line is looked for


class Job(NamedTuple):
  """One command."""
  name: str
  argv: list         # what follows `python`
  log: pathlib.Path  # file for what it prints, appended
  devices: int = 1   # GPUs that it uses where there are some; 0 is all


class Event(NamedTuple):
  """A job began (code is None) or ended."""
  job: Job
  code: int | None   # exit code; minus the number of the signal that killed it
  reason: str = ''   # of a failure, in words, with the last line of the log


def run(jobs, pool, ready=lambda job: START):
  """Run jobs in their order, as many at a time as the pool takes.

  Args:
    jobs: list of Job. Those that were started are taken out; the caller may add some.
    pool: Processes, or what has the same methods.
    ready: function of a job for which there is room: START, LATER (it is asked again, up to
      PATIENCE seconds after all else is done) or NEVER.
  Yields:
    Event, as they happen.
  Raises:
    SystemExit: after a signal (130, 143), once all jobs have ended.
  """
  with Interrupts('Ending the runs, which save first ...') as interrupts, contextlib.closing(pool):
    busy = time.monotonic()
    while True:
      if interrupts.signal is None:
        _start(jobs, pool, ready)
      elif not pool.stopping:
        pool.stop()
      busy = time.monotonic() if pool.running else busy
      yield from pool.poll()
      over = not jobs or interrupts.signal or time.monotonic() - busy > PATIENCE
      if over and not pool.running:
        break
      time.sleep(POLL)
    if interrupts.signal:
      sys.exit(128 + interrupts.signal)


def _start(jobs, pool, ready):
  for job in list(jobs):
    if pool.full:
      return
    answer = ready(job)
    if answer != LATER:
      jobs.remove(job)
    if answer == START:
      pool.start(job)


class Processes:
  """Jobs as processes of this machine.

  Args:
    jobs: how many run at a time. Each gets its share of the cores, unless the environment sets
      TensorFlow's numbers of threads.
    gpus: names of GPUs, as CUDA_VISIBLE_DEVICES takes them, over which the jobs are spread.
  Attributes:
    running: number of jobs that have not ended.
    stopping: whether `stop` was called.
  """

  def __init__(self, jobs, gpus=()):
    self.stopping = False
    self._jobs, self._gpus = jobs, list(gpus)
    self._threads = threads(max(1, cores() // jobs))
    self._begun, self._running = [], []

  @property
  def running(self):
    return len(self._running)

  @property
  def full(self):
    """Whether no further job may be started now."""
    return self.running >= self._jobs

  def start(self, job):
    """Start a job; there must be room."""
    env = {**self._threads, **os.environ}
    used = [gpu for _, _, _, gpus in self._running for gpu in gpus]
    gpus = spread(self._gpus, used, job.devices)
    if gpus:
      env['CUDA_VISIBLE_DEVICES'] = ','.join(gpus)
    self._begun.append(Event(job, None))
    try:
      self._running.append((job, *launch(job, env), gpus))
    except OSError as error:  # others go on
      self._begun.append(Event(job, 1, f'cannot be started ({error.strerror or error})'))

  def poll(self):
    """Return the list of Event since the last call."""
    events, self._begun = self._begun, []
    for entry in list(self._running):
      job, process, begin, _ = entry
      code = process.poll()
      if code is not None:
        self._running.remove(entry)
        events.append(Event(job, code, explain(job, code, begin)))
    return events

  def stop(self):
    """Send SIGTERM to all: a training run saves and ends, at the second one it ends at once."""
    self.stopping = True
    for _, process, _, _ in self._running:
      process.terminate()

  def close(self):
    """End what still runs, and wait for it."""
    self.stop()
    for _, process, _, _ in self._running:
      process.wait()
    self._running = []


def launch(job, env, cwd=None):
  """Start the process of a job, bound to this one.

  Returns:
    (subprocess.Popen, bytes of the log before what the job prints).
  """
  bound = [sys.executable, '-m', 'common.study.jobs', str(os.getpid()), sys.executable, *job.argv]
  command = shlex.join(['python', *job.argv])
  with job.log.open('ab') as log:
    log.write(f'{time.strftime("%Y-%m-%d %H:%M:%S")} {command}\n'.encode())
    log.flush()
    begin = log.tell()
    # A session of its own: a terminal sends Ctrl-C to all processes of one.
    process = subprocess.Popen(
        bound, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=env, cwd=cwd,
        start_new_session=True)
    return process, begin


def explain(job, code, begin):
  """Return why a job failed, or '' if it did not.

  Args:
    job: Job.
    code: its exit code, or minus the number of a signal.
    begin: bytes of its log before what it printed.
  """
  if not code:
    return ''
  word = f'exit code {code}' if code > 0 else f'killed by {signal.Signals(-code).name}'
  line = last_line(job.log, begin)
  return f'{word}: {line}' if line else word


def last_line(path, begin=0):
  """Return the last line of a file that is not empty, or '', of what follows `begin` bytes."""
  if not path.exists():
    return ''
  with path.open('rb') as file:
    end = file.seek(0, os.SEEK_END)
    file.seek(max(begin, end - TAIL))
    lines = file.read().decode(errors='replace').splitlines()
  filled = [line.strip() for line in lines if line.strip()]
  return filled[-1] if filled else ''


def cores():
  """Number of cores that this process may use."""
  if hasattr(os, 'sched_getaffinity'):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def threads(count):
  """Environment variables that make TensorFlow use so many threads."""
  return {'TF_NUM_INTRAOP_THREADS': str(count), 'TF_NUM_INTEROP_THREADS': str(count)}


def spread(gpus, used, count):
  """Return the GPUs for a job: `count` (0: all) of those that the fewest jobs use.

  Args:
    gpus: list of names.
    used: list of the names in use, once for each job that uses it.
    count: how many.
  """
  return sorted(gpus, key=used.count)[:count or None]


def visible_gpus(environ):
  """Return the names of the GPUs that processes started here see, as CUDA_VISIBLE_DEVICES has them.

  Args:
    environ: environment variables; without CUDA_VISIBLE_DEVICES the driver is asked.
  """
  if 'CUDA_VISIBLE_DEVICES' in environ:
    names = [name.strip() for name in environ['CUDA_VISIBLE_DEVICES'].split(',')]
    # As CUDA does: what follows a wrong one does not count.
    return list(itertools.takewhile(lambda name: name not in ('', '-1'), names))
  try:
    done = subprocess.run(
        ['nvidia-smi', '--list-gpus'], capture_output=True, text=True, timeout=60)
  except (OSError, subprocess.SubprocessError):
    return []
  found = [line for line in done.stdout.splitlines() if line.startswith('GPU ')]
  return [str(number) for number in range(len(found))]


def bind(parent, command):
  """Become a command that gets SIGTERM when the process that started this one ends.

  Args:
    parent: number of that process; if it has ended already, so does this one.
    command: list of the program's path and its arguments.
  """
  if sys.platform == 'linux':
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
  if os.getppid() != parent:
    sys.exit(128 + signal.SIGTERM)
  os.execv(command[0], command)


if __name__ == '__main__':
  bind(int(sys.argv[1]), sys.argv[2:])
