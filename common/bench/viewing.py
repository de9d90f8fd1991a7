"""What the live view and the pictures cost a run: its updates in turns with and without them."""
import os
import pathlib
import statistics
import tempfile
import time

import rich.console

from common import config as config_lib
from common import envs
from common.bench import trial
from common.data import driver
from common.data import replay
from common.loop import logger
from common.loop import pictures
from common.loop import view

WARMUP = 5  # updates before those that count


def measure(config, bursts, updates=20):
  """Time bursts of updates and the pictures of one evaluation.

  Args:
    config: Config of any agent.
    bursts: how many with the view, and as many without, in turns.
    updates: in a burst.
  Returns:
    List of one dict of update (seconds, median without the view), view (its share of the time,
    from the median over pairs of neighbours), pictures (seconds an evaluation), between (seconds
    of updates between evaluations), pictures_share and total (shares).
  """
  made = trial.Trial(config)
  with tempfile.TemporaryDirectory() as folder:
    drawn = _pictures(pathlib.Path(folder), made, config)
  ratios, plain = [], []
  for _ in range(WARMUP):
    made.step()
  for number in range(bursts):
    seconds = {}
    for watched in (True, False) if number % 2 else (False, True):
      seconds[watched] = _burst(made, config, updates, watched)
    ratios.append(seconds[True] / seconds[False])
    plain.append(seconds[False] / updates)
  update = statistics.median(plain)
  # Environments and policy take time as well, so the true share is smaller.
  between = config.eval_every / config.train_every * config.train_steps * update
  watching, drawing = statistics.median(ratios) - 1, drawn / between
  return [dict(
      configs=config.configs, update=update, view=watching, pictures=drawn, between=between,
      pictures_share=drawing, total=watching + drawing)]


def _burst(made, config, updates, watched):
  """Seconds of some updates, with the view redrawing itself on a terminal that nobody sees."""
  shown = view.Plain(config.steps)
  if watched:
    console = rich.console.Console(file=open(os.devnull, 'w'), force_terminal=True, width=100)
    shown = view.Live('benchmark', '/logs', config.steps, 'CPU', [1.0] * view.RETURNS, console)
  started = time.perf_counter()
  for number in range(updates):
    made.step()
    shown.stage('learning', number, updates)
  seconds = time.perf_counter() - started
  shown.close()
  return seconds


def _pictures(folder, made, config):
  """Seconds of the pictures of an evaluation, after a first one that also builds the graphs."""
  repeat = config_lib.repeats(config)[0]
  store = replay.Replay(folder / 'episodes', [repeat])
  # Real pictures: those of random pixels take several times as long to compress. The task has as
  # many actions as the trial.
  played = envs.make_all(config.replace(task='dmc_walker_walk', tasks=''), 1, 0, 'eval')
  episodes, = driver.run_episodes(
      driver.random_policy(played[0].act_space, config.seed), played, repeat, config.seed, 2)
  played[0].close()
  for k, episode in enumerate(episodes):
    store.add(episode, k, 0)
  config_lib.save(config, folder / 'config.yaml')
  log = logger.Logger(folder)
  kept = pictures.Pictures(folder, log, config, repeat)
  for step in (1, 2, 3):
    log.write(step * config.eval_every, {'eval/return': 1.0}, 'eval')
    started = time.perf_counter()
    kept.evaluation(step, made.agent, store, episodes[0])
    seconds = time.perf_counter() - started
  log.close()
  return seconds
