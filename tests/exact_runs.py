"""Short runs whose every update is compared with stored metrics: python exact_runs.py DIR [NAME].

They learn from the episodes in tests/exact, which random actions collected in `worlds.Ball` and
`worlds.Pushes`, and write a row for each update. Run as a program, this file repeats them under all
kernels below DIR and stores their references anew. That is to be done only if a change of the
arithmetic, the schedule or the data was meant.
"""
import os
import pathlib
import sys

from common import config as config_lib
from common.checks import kernels
from common.checks import stored

TESTS = pathlib.Path(__file__).resolve().parent

COMMON = [
    '--cnn_keys', 'image', '--mlp_keys', 'vector', '--action_repeat', '2', '--time_limit', '40',
    '--batch_size', '4', '--batch_length', '8', '--pretrain', '1', '--train_every', '1',
    '--train_steps', '1', '--log_every', '1', '--eval_every', '20', '--steps', '60']
BEHAVIOUR = ['--pcont', 'True', '--actor_layers', '2', '--value_layers', '2']
BALL = ['--task', 'py_worlds:Ball', '--offline', 'ball']
PUSHES = ['--task', 'py_worlds:Pushes', '--offline', 'pushes']

# Name of the reference -> agent, flags. The floor under the KL is so low that the KL crosses it.
RUNS = {
    'exact-dreamer': ('dreamer', [
        '--configs', 'debug', *BALL, *COMMON, *BEHAVIOUR, '--free_nats', '0.6']),
    'exact-dreamer-discrete': ('dreamer', [
        '--configs', 'dreamerv2', 'debug', *PUSHES, *COMMON, *BEHAVIOUR, '--free_nats', '0.15',
        '--pcont_scale', '10', '--clip_rewards', 'none', '--dataset_balance', 'False',
        '--head_lr', '6e-4',
        '--actor_grad', 'both', '--slow_value', '7', '--expl', 'epsilon_greedy',
        '--expl_amount', '0.4']),
    'exact-planet': ('planet', [
        '--configs', 'debug', *BALL, *COMMON, '--free_nats', '0.3']),
    'exact-plan2explore': ('plan2explore', [
        '--configs', 'debug', *BALL, *COMMON, *BEHAVIOUR, '--free_nats', '0.6']),
}


def flags(name):
  """Flags of a run, but for --logdir. Paths are relative to where the program runs."""
  return [
      os.path.relpath(TESTS / 'exact' / flag) if flag in ('ball', 'pushes') else flag
      for flag in RUNS[name][1]]


def start(name, path, *more):
  """Make a run in this process, on the CPU, which references are of, and without its pictures.

  more: further flags.
  """
  # Delayed: the program that repeats runs computes nothing itself.
  import tensorflow as tf
  from common.loop import start as run_start
  from common.loop import pictures
  agent, _ = RUNS[name]
  config = config_lib.load(agent, [*flags(name), '--logdir', str(path), *more])
  original = pictures.Pictures.evaluation
  pictures.Pictures.evaluation = lambda *args: None
  try:
    with tf.device('CPU:0'):
      run_start.start(config)
  finally:
    pictures.Pictures.evaluation = original


@config_lib.entry
def main(argv=None):
  """Make and store all runs, or those that are named."""
  folder, *names = sys.argv[1:] if argv is None else argv
  os.environ['PYTHONPATH'] = os.pathsep.join(
      [str(TESTS), *filter(None, [os.environ.get('PYTHONPATH')])])
  for name in names or RUNS:
    kernels.repeat(pathlib.Path(folder) / name, RUNS[name][0], flags(name))
    print(stored.store(pathlib.Path(folder) / name, name, 'exact')[0])


if __name__ == '__main__':
  main()
