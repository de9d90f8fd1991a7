"""Where the time goes until the first update of a run: imports, environment, agent, tracing."""
import contextlib
import importlib
import time

from common import config as config_lib
from common import envs
from common.bench import printing


def measure_start(args, flags):
  """Take the steps of a start one after another in this fresh process; returns the exit code."""
  config = config_lib.load(args.agent, config_lib.with_blocks(['dmc', 'cpu'], flags))
  envs.check(config)
  seconds = {}

  @contextlib.contextmanager
  def timed(name):
    started = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - started

  with timed('imports'):
    trial_lib = importlib.import_module('common.bench.trial')
    importlib.import_module(f'{args.agent}.agent')
    tf = importlib.import_module('tensorflow')
  with timed('environment'):  # and its first picture
    env, = envs.make_all(config, 1, 0, 'train')[:1]
    try:
      env.reset()
    finally:
      env.close()
  with timed('building'):
    trial = trial_lib.Trial(config)
  with timed('tracing'):
    frames = tf.constant(0, tf.float32)
    trial.agent._train.get_concrete_function(  # pylint: disable=protected-access
        trial.data, trial.agent.phase(0), frames)
  with timed('first_update'):
    trial.step()
  with timed('second_update'):
    trial.step()
  row = dict(
      agent=args.agent, configs=' '.join(config.configs), **seconds,
      until_learning=sum(seconds.values()) - seconds['second_update'])
  for name, value in seconds.items():
    print(f'{name.replace("_", " "):14} {value:6.2f} s')
  print(f'{"until learning":14} {row["until_learning"]:6.2f} s (without the prefill)')
  printing.json_line(row)
  return 0
