"""The same run under several kernels and thread counts, to see how far arithmetic alone moves it.

Sums in another order differ in their last digit, and learning makes more of that with each update.
How much more is measured, not guessed: `repeat` makes a run once under each of KERNELS.
"""
import os
import subprocess
import sys
import time

from common import config as config_lib
from common import envs
from common.config import UserError

ONEDNN, ISA = 'TF_ENABLE_ONEDNN_OPTS', 'ONEDNN_MAX_CPU_ISA'
THREADS = 'TF_NUM_INTRAOP_THREADS'

# Name of the directory -> environment variables. Older instruction sets stand for other processors.
# XLA is not among them: it draws other random numbers.
KERNELS = {
    'onednn-2threads': {ONEDNN: '1', THREADS: '2'},
    'onednn-1thread': {ONEDNN: '1', THREADS: '1'},
    'onednn-7threads': {ONEDNN: '1', THREADS: '7'},
    'onednn-avx2': {ONEDNN: '1', THREADS: '2', ISA: 'AVX2'},
    'onednn-sse41': {ONEDNN: '1', THREADS: '2', ISA: 'SSE41'},
    'eigen-2threads': {ONEDNN: '0', THREADS: '2'},
    'eigen-1thread': {ONEDNN: '0', THREADS: '1'},
}


def repeat(folder, agent, flags):
  """Make a run once under each of KERNELS, in processes one after another.

  What has finished is not made again.

  Args:
    folder: directory that gets one of the run for each kernel, under its name.
    agent: name of the agent.
    flags: those of its training command, without --logdir.
  Raises:
    UserError: the flags are refused, or a run failed.
  """
  folder = config_lib.expand(folder)
  if agent not in config_lib.AGENTS:
    raise UserError(
        f'verify: there is no agent {agent!r}. {config_lib.nearest(agent, config_lib.AGENTS)}')
  if any(flag.partition('=')[0] == '--logdir' for flag in flags):
    raise UserError('verify: every kernel gets a directory of its own. Leave --logdir out.')
  config = config_lib.load(agent, flags)
  if not config.offline:
    raise UserError(
        'verify: kernels compares runs that learn from the same episodes, but this one collects its own. '
        'Pass --offline DIR.')
  envs.check(config)
  for name, variables in KERNELS.items():
    start = time.monotonic()
    found = subprocess.run(
        [sys.executable, '-m', f'{agent}.train', *flags, '--logdir', folder / name],
        env={**os.environ, **variables, 'CUDA_VISIBLE_DEVICES': ''}, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True)
    if found.returncode:
      last = found.stderr.strip().splitlines()[-1:] or ['no message']
      raise UserError(f'{folder / name}: the run failed ({last[0]}).')
    print(f'{folder / name}: {time.monotonic() - start:.0f} s', flush=True)
