"""The parts of `python -m common.benchmark gpu`, each in a process of its own.

    python -m common.bench.gpu_parts NAME --seconds S [--agent AGENT] [--configs NAME ...] [--KEY VALUE ...]

prints a JSON line for each thing that was measured, as soon as it is.
"""
import argparse
import gc
import itertools
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import time

import numpy as np
import tensorflow as tf

from common import config as config_lib
from common import envs
from common.bench import exploring
from common.bench import planning
from common.bench import printing
from common.bench import schedule
from common.bench import trial
from common.envs import dmc
from common.loop.acting import ActingCopy
from common.model import devices

# Name -> precision of the layers, TF32, type of a product that shows the peak. A CPU has no TF32,
# and takes minutes for what it does in float16.
ARITHMETIC = {
    'mixed_float16': ('mixed_float16', True, tf.float16),
    'tf32': ('float32', True, tf.float32), 'float32': ('float32', False, tf.float32)}
XLA = (True, False)
TIMED = 30       # updates at most, of each kind
PICTURES = 50    # that are timed
CALLS = 100      # of a policy at most
MATRIX = 8192    # rows of the matrices on a GPU


def machine(args):
  """What the machine has, and how long a picture takes."""
  gpus = tf.config.list_physical_devices('GPU')
  details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
  printing.json_line({
      'tensorflow': tf.__version__, 'cores': os.cpu_count(), 'gpus': [
          x.get('device_name', '') for x in details],
      'capability': ['.'.join(map(str, x.get('compute_capability', ()))) for x in details],
      'cuda': tf.sysconfig.get_build_info().get('cuda_version', ''),
      'driver': _driver()})
  config = config_lib.load('dreamer', [*args.flags, '--task', 'dmc_cartpole_balance'])
  env = envs.make(config)
  env.reset(0)
  started = time.perf_counter()
  for _ in range(PICTURES):
    env.step(np.zeros(1, np.float32))
  seconds = time.perf_counter() - started
  env.close()
  name = dmc.gl_renderer()
  printing.json_line({
      'gl_renderer': name, 'software': dmc.draws_in_software(name),
      'decision_ms': 1e3 * seconds / PICTURES})


def _driver():
  """Version of NVIDIA's driver, or an empty string."""
  try:
    done = subprocess.run(
        ['nvidia-smi', '--query-gpu=driver_version,name,memory.total', '--format=csv,noheader'],
        capture_output=True, text=True, timeout=20)
  except (OSError, subprocess.TimeoutExpired):
    return ''
  return done.stdout.strip()


def updates(args):
  """Milliseconds of an update in each arithmetic, with XLA and without."""
  ends = time.monotonic() + 0.8 * args.seconds  # the start took some, too
  config = config_lib.load(args.agent, args.flags)
  peaks = {}
  kinds = ARITHMETIC if devices.has_gpu() else {'float32': ARITHMETIC['float32']}
  for (name, kind), jit in itertools.product(kinds.items(), XLA):
    row = dict(
        agent=args.agent, configs=config.configs, arithmetic=name, jit=jit,
        device=devices.describe())
    try:
      row.update(_time_updates(config, name, kind, jit, peaks, ends))
    except Exception as error:  # the others may work
      row['problem'] = f'{type(error).__name__}: {(str(error).splitlines() or [""])[0]}'
    printing.json_line(row)
    gc.collect()


def _time_updates(config, name, kind, jit, peaks, ends):
  precision, tf32, dtype = kind
  tf.config.experimental.enable_tensor_float_32_execution(tf32)
  if name not in peaks:
    peaks[name] = trial.peak(dtype, MATRIX if devices.has_gpu() else trial.MATRIX)['peak']
  _forget_memory()
  made = trial.Trial(config.replace(precision=precision, jit=jit))
  first, _ = made.step()
  times = []
  while len(times) < TIMED and (not times or time.monotonic() < ends):
    times.append(made.step()[0])
  row = dict(
      first_call=first, ms=1e3 * statistics.median(times), updates=len(times),
      memory_gb=_memory(made), peak_gflops=peaks[name], traces=made.traces())
  gflop = _operations(made)
  if gflop:
    row.update(gflop=gflop, share=gflop / statistics.median(times) / peaks[name])
  return row


def _operations(made):
  """GFLOP of an update, or None where no formula counts them: for DreamerV2's further layers."""
  config = made.agent.config
  if config.latent == 'categorical':
    return None
  parts = exploring.count(made) if config.agent == 'plan2explore' else made.operations()
  return sum(parts.values())


def _forget_memory():
  for gpu in tf.config.list_physical_devices('GPU'):
    tf.config.experimental.reset_memory_stats(gpu.name.split('physical_device:')[-1])


def _memory(made):
  """Largest memory of the device since it was forgotten in GB; without a GPU that of the process."""
  if devices.has_gpu():
    return tf.config.experimental.get_memory_info('GPU:0')['peak'] / 1e9
  return made.memory()


def policies(args):
  """Milliseconds of a policy call for one environment, on the device and on the CPU beside it."""
  ends = time.monotonic() + 0.8 * args.seconds  # the start took some, too
  for agent in ('dreamer', 'plan2explore'):
    config = config_lib.load(agent, args.flags)
    made = trial.Trial(config)
    calls = {devices.describe(): made.agent.policy}
    if devices.has_gpu():
      acting = ActingCopy(made.another, made.agent.config, made.agent, on_cpu=True)
      acting.take()
      calls['CPU'] = acting.policy
    for device, policy in calls.items():
      printing.json_line(dict(
          agent=agent, configs=config.configs, device=device,
          ms=_time_policy(policy, made.observations(), ends)))


def _time_policy(policy, obs, ends):
  _, state = policy(obs, None)
  _, state = policy(obs, state)
  times = []
  while len(times) < CALLS and (not times or time.monotonic() < ends):
    started = time.perf_counter()
    _, state = policy(obs, state)
    times.append(time.perf_counter() - started)
  return 1e3 * statistics.median(times)


def searches(args):
  """PlaNet's search with XLA and without."""
  config = config_lib.load('planet', args.flags)
  # With the precision of a run here.
  config = config.replace(precision=devices.setup(config).precision)
  for row in planning.measure(config, 3):
    printing.json_line(dict(agent='planet', configs=config.configs, **row))


def run(args):
  """The rows of a real run with its speed and its evaluations, until this process has to end."""
  ends = []
  signal.signal(signal.SIGTERM, lambda *_: ends.append(1))  # the run gets it as well, and saves
  path = pathlib.Path(args.flags[args.flags.index('--logdir') + 1])
  told = 0
  with subprocess.Popen(
      schedule.python('dreamer.train', *args.flags, '--quiet'), stdout=sys.stderr) as process:
    while True:
      code = process.poll()
      told = _tell(path / 'metrics.jsonl', told)
      if code is not None:
        sys.exit(0 if ends else code)
      time.sleep(0.5)


def _tell(path, told):
  """Print rows that are new; returns how many there were."""
  lines = path.read_text().splitlines() if path.exists() else []
  for line in lines[told:]:
    row = json.loads(line)
    kept = {key: row[key] for key in row if key in (
        'step', 'time', 'fps', 'train/return', 'eval/return', 'agent/updates') or (
            key.startswith('time/'))}
    printing.json_line(kept)
  return max(told, len(lines))


PARTS = {
    'machine': machine, 'updates': updates, 'policies': policies, 'searches': searches, 'run': run}


@config_lib.entry
def main(argv=None):
  """Run one part."""
  parser = argparse.ArgumentParser(prog='python -m common.bench.gpu_parts', allow_abbrev=False)
  parser.add_argument('part', choices=PARTS)
  parser.add_argument('--agent', choices=config_lib.AGENTS, default='dreamer')
  parser.add_argument('--seconds', type=float, required=True)
  args, args.flags = parser.parse_known_args(argv)
  PARTS[args.part](args)


if __name__ == '__main__':
  main()
