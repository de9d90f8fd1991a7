"""The parts of `python -m common.benchmark gpu`, each in a process of its own.

    python -m common.bench.gpu_parts NAME --seconds S [--agent AGENT] [--configs NAME ...] [--KEY VALUE ...]

prints a JSON line for each thing that was measured, as soon as it is.
"""
import argparse
import contextlib
import gc
import itertools
import os
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
from common.bench import sizes
from common.bench import trial
from common.envs import dmc
from common.loop.acting import ActingCopy
from common.model import devices
from common.model import dynamics

# Name -> precision of the layers, TF32, type of a product that shows the peak. A CPU has no TF32,
# and takes minutes for what it does in float16.
ARITHMETIC = {
    'mixed_float16': ('mixed_float16', True, tf.float16),
    'tf32': ('float32', True, tf.float32), 'float32': ('float32', False, tf.float32)}
TIMED = 30       # updates at most, of each kind
PICTURES = 50    # that are timed
CALLS = 100      # of a policy at most
FAILED = 'nvidia-smi fails'


def machine(args):
  """What the machine has. Exits if it has a GPU that TensorFlow does not see."""
  del args
  gpus = tf.config.list_physical_devices('GPU')
  details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
  printing.json_line({
      'tensorflow': tf.__version__, 'cores': os.cpu_count(), 'gpus': [
          x.get('device_name', '') for x in details],
      'capability': ['.'.join(map(str, x.get('compute_capability', ()))) for x in details],
      'cuda': tf.sysconfig.get_build_info().get('cuda_version', ''),
      'driver': (driver := _driver())})
  hidden = os.environ.get('CUDA_VISIBLE_DEVICES') in ('', '-1')
  if driver and not gpus and not hidden:
    why = driver if driver.startswith(FAILED) else 'above it says which library cannot be opened'
    sys.exit(
        f'TensorFlow does not see the GPU: {why}. Where the CPU is meant, set '
        'CUDA_VISIBLE_DEVICES=-1.')


def xla(args):
  """Whether XLA compiles here what updates are made of; fails if it does not."""
  del args
  x = tf.random.normal([256, 256])
  def step(state, row, seed):
    return tf.math.log1p(tf.nn.softplus(state @ x)) + row * tf.random.stateless_normal(x.shape, seed)
  def slope():
    with tf.GradientTape() as tape:
      tape.watch(x)
      loss = tf.reduce_mean(dynamics.scan(step, x, tf.zeros([4, 1, 1]), tf.constant([0, 1])))
    return tf.reduce_mean(tape.gradient(loss, x) ** 2)
  started = time.perf_counter()
  compiled = float(tf.function(slope, autograph=False, jit_compile=True)())
  printing.json_line({
      'compile_seconds': time.perf_counter() - started, 'result': compiled,
      'without': float(tf.function(slope, autograph=False)())})


def pictures(args):
  """What draws, and how long a decision with its picture takes."""
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
  """Version of NVIDIA's driver, why it is not known, or an empty string where there is none."""
  try:
    done = subprocess.run(
        ['nvidia-smi', '--query-gpu=driver_version,name,memory.total', '--format=csv,noheader'],
        capture_output=True, text=True, timeout=20)
  except (OSError, subprocess.TimeoutExpired):
    return ''
  if done.returncode:  # it says why in either
    return f'{FAILED} ({" ".join((done.stdout + done.stderr).split())})'
  return done.stdout.strip()


def updates(args):
  """Milliseconds of an update in each arithmetic, with XLA and without."""
  ends = time.monotonic() + 0.8 * args.seconds  # the start took some, too
  config = config_lib.load(args.agent, args.flags)
  for name, jit in kinds(config):
    if jit not in _jits(args.flags):
      continue
    row = dict(
        agent=args.agent, configs=config.configs, arithmetic=name, jit=jit,
        device=devices.describe())
    with _problem_in(row):
      if time.monotonic() > ends:
        raise TimeoutError('no time was left')
      _time_updates(config, name, jit, ends, row)
    printing.json_line(row)
    gc.collect()


def kinds(config):
  """Pairs of a name in ARITHMETIC and jit; first what runs of the config use, quick ones before."""
  if not devices.has_gpu():
    names = ['float32']
  elif devices.setup(config).precision == 'float32':
    names = ['tf32', 'mixed_float16', 'float32']
  else:
    names = ['mixed_float16', 'tf32', 'float32']
  return [
      (name, jit) for some in (names[:1], names[1:])
      for jit, name in itertools.product((False, True), some)]


def _jits(flags):
  """Whether XLA compiles: both ways, unless a flag says which."""
  parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
  parser.add_argument('--jit')
  given = parser.parse_known_args(flags)[0].jit
  return {'true': (True,), 'false': (False,)}.get(str(given).lower(), (False, True))


@contextlib.contextmanager
def _problem_in(row):
  """Put what is raised within into a row: other rows may work."""
  try:
    yield
  except Exception as error:
    row['problem'] = f'{type(error).__name__}: {(str(error).splitlines() or [""])[0]}'


def _time_updates(config, name, jit, ends, row):
  """Put into a row what is known of updates, as soon as it is."""
  precision, tf32, dtype = ARITHMETIC[name]
  tf.config.experimental.enable_tensor_float_32_execution(tf32)
  _forget_memory()
  made = trial.Trial(config.replace(precision=precision, jit=jit))
  row['first_call'], _ = made.step()
  times = []
  while len(times) < TIMED and (not times or time.monotonic() < ends):
    times.append(made.step()[0])
  seconds = statistics.median(times)
  row.update(ms=1e3 * seconds, updates=len(times))
  if time.monotonic() + seconds * len(times) < ends:
    row['burst_ms'] = 1e3 * made.burst(len(times)) / len(times)
  row.update(memory_gb=_memory(made), traces=made.traces(), peak_gflops=trial.peak(dtype)['peak'])
  gflop = _operations(made)
  if gflop:
    row.update(gflop=gflop, share=gflop / seconds / row['peak_gflops'])


def _operations(made):
  """GFLOP of an update, or None where no formula counts them."""
  config = made.agent.config
  ensemble = config.agent == 'plan2explore' and config.expl_behavior == 'plan2explore'
  if sizes.uncounted(config) or (config.agent == 'plan2explore' and not ensemble):
    return None
  parts = exploring.count(made) if ensemble else made.operations()
  return sum(parts.values())


def agreement(args):
  """How far an update without noise, in each arithmetic, is from float32 without XLA."""
  config = config_lib.load('dreamer', args.flags)
  expected = None
  for name, jit in dict.fromkeys([('float32', False), *kinds(config)]):
    row = dict(agent='dreamer', configs=config.configs, arithmetic=name, jit=jit)
    with _problem_in(row):
      found = _without_noise(config, name, jit)
      expected = expected or found
      # Under float16 the first norms may be infinite, until the loss scale has settled.
      row['infinite'] = [key for key in expected if not np.isfinite(found[key])]
      apart = {
          key: abs(found[key] - value) / max(abs(value), 1e-3)
          for key, value in expected.items() if key not in row['infinite']}
      row.update(apart=max(apart.values()), most=max(apart, key=apart.get))
    printing.json_line(row)
    gc.collect()


def _without_noise(config, name, jit):
  """Losses and gradient norms of the first update on the same weights and rows: name to float."""
  precision, tf32, _ = ARITHMETIC[name]
  tf.config.experimental.enable_tensor_float_32_execution(tf32)
  made = trial.Trial(config.replace(precision=precision, jit=False))
  update = tf.function(lambda: made.agent.update(made.data, None), autograph=False, jit_compile=jit)
  return {key: float(value) for key, value in update().items()}


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
  for jit in _jits(args.flags):
    row = dict(agent='planet', configs=config.configs, jit=jit)
    with _problem_in(row):
      row.update(planning.measure(config, 3, (jit,))[0])
    printing.json_line(row)


PARTS = {
    'machine': machine, 'xla': xla, 'pictures': pictures, 'agreement': agreement, 'updates': updates,
    'policies': policies, 'searches': searches}


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
