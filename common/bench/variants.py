"""Processes that each hold one variant of the train step and work when they are asked to.

The settings of oneDNN are read when TensorFlow is imported, and XLA's memory and that of the
other kernels are not to be mixed up: hence processes. A question at a time: none works while
another is timed.
"""
import contextlib
import multiprocessing
import os
import sys
import time
import traceback

# How repeated answers are put together.
BEST = {'wall': min, 'cpu': min, 'peak': max, 'peak_cpu': max, 'product': max}


class Variant:
  """One way to run the update.

  Attributes:
    row: dict of what is known so far: size, configs, jit, onednn; after the warm-up first_call
      (seconds), peak and peak_cpu (GFLOP/s) and product, what was multiplied for them; after steps
      the least wall and cpu (seconds); after the finish memory (GB), traces and operations (GFLOP).
      `problem` says why it came to an early end.
  """

  def __init__(self, size, config, onednn, timeout, memory):
    """Start the process.

    Args:
      size: name of the size, for the row.
      config: Config whose `jit` is settled.
      onednn: whether TensorFlow uses the kernels of oneDNN.
      timeout: seconds that it may work in all.
      memory: GB that it may take.
    """
    self.row = dict(size=size, configs=config.configs, jit=config.jit, onednn=onednn)
    self._timeout, self._memory, self._used = timeout, memory, 0.0
    context = multiprocessing.get_context('spawn')
    self._pipe, pipe = context.Pipe()
    self._process = context.Process(target=_serve, args=(pipe, config, onednn), daemon=True)
    self._process.start()
    pipe.close()

  def ask(self, task):
    """Wait until `warm up`, `step` or `finish` is done, unless there was a problem before."""
    if 'problem' in self.row:
      return
    name = '{size}, XLA {jit}, oneDNN {onednn}'.format(**self.row)
    print(f'{name}: {task} ...', file=sys.stderr, flush=True)
    with contextlib.suppress(OSError):  # told when reading
      self._pipe.send(task)
    problem = self._wait() or self._receive()
    if problem:
      self.row['problem'] = problem
      print(f'{name}: {problem}', file=sys.stderr, flush=True)
      self.close()

  def close(self):
    """End the process."""
    self._process.kill()
    self._process.join()
    self._pipe.close()

  def _wait(self):
    """Wait for an answer; returns the limit that was reached, if any."""
    started = time.perf_counter()
    while not self._pipe.poll(0.05):
      if self._used + time.perf_counter() - started > self._timeout:
        return f'over {self._timeout:g} s'
      if _resident_gb(self._process.pid) > self._memory:
        return f'over {self._memory:g} GB'
    self._used += time.perf_counter() - started
    return None

  def _receive(self):
    """Put the answer into the row; returns the problem, if it tells one."""
    try:
      answer = self._pipe.recv()
    except (EOFError, OSError):
      self._process.join()
      return f'failed: its process ended with code {self._process.exitcode}'
    if isinstance(answer, str):
      print(answer, file=sys.stderr, flush=True)
      return f'failed: {answer.strip().splitlines()[-1]}'
    for key, value in answer.items():
      known = self.row.get(key)
      self.row[key] = value if known is None else BEST[key](known, value)
    return None


def take_turns(variants, tasks):
  """Ask all variants for each task in turn, then end their processes."""
  for task in tasks:
    for variant in variants:
      variant.ask(task)
  for variant in variants:
    if 'problem' not in variant.row:
      variant.close()


def available_gb():
  """Memory that the machine can still give; infinite where /proc does not tell."""
  try:
    with open('/proc/meminfo') as file:
      lines = dict(line.split(':') for line in file)
  except OSError:
    return float('inf')
  return int(lines['MemAvailable'].split()[0]) * 1024 / 1e9


def _resident_gb(pid):
  """Resident memory of a process; 0 where /proc does not tell."""
  try:
    with open(f'/proc/{pid}/statm') as file:
      return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 1e9
  except OSError:
    return 0.0


def _serve(pipe, config, onednn):
  """Answer one question after another; an error is answered by its traceback."""
  os.environ['TF_ENABLE_ONEDNN_OPTS'] = str(int(onednn))
  try:
    # Imports TensorFlow, which reads that variable only now.
    assert 'tensorflow' not in sys.modules
    from common.bench import trial as trial_lib
    assert pipe.recv() == 'warm up'
    trial = trial_lib.Trial(config)
    peak = trial.peak()
    first_call, _ = trial.step()
    pipe.send(dict(first_call=first_call, **peak))
    while pipe.recv() == 'step':
      wall, cpu = trial.step()
      pipe.send(dict(wall=wall, cpu=cpu))
    parts = trial.operations()
    twice = sum(trial.operations(value_twice=True).values())
    pipe.send(dict(
        memory=trial.memory(), traces=trial.traces(), gflop=sum(parts.values()),
        gflop_twice=twice, parts=parts, **trial.peak()))
  except Exception:  # whatever it is, the row says so
    pipe.send(traceback.format_exc())
