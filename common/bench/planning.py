"""One search of PlaNet's planner with and without XLA, against the matmul peak."""
import time

import tensorflow as tf

from common.bench import sizes
from common.bench import trial


def measure(config, calls, kinds=(False, True)):
  """Time plans of one environment, XLA off and on in turns.

  Args:
    config: Config of PlaNet.
    calls: timed searches of each.
    kinds: values of jit.
  Returns:
    List of a dict for each with jit, wall (seconds, the least), gflop, peak (GFLOP/s of the whole
    measurement) and share.
  """
  sizes.check_counted(config)
  trials = {jit: trial.Trial(config.replace(jit=jit)) for jit in kinds}
  searches = {}
  for jit, made in trials.items():
    search = tf.function(made.agent.plan, autograph=False)
    latent = made.agent.world_model.rssm.initial(1)
    searches[jit] = lambda number, search=search, latent=latent: search(
        latent, tf.constant([0, number])).numpy()
    searches[jit](0)
  walls, peaks = {jit: [] for jit in kinds}, []
  for number in range(1, calls + 1):
    peaks.append(trials[kinds[0]].peak()['peak'])
    for jit, search in searches.items():
      started = time.perf_counter()
      search(number)
      walls[jit].append(time.perf_counter() - started)
  peak, gflop = max(peaks), operations(config)
  return [
      dict(jit=jit, wall=min(x), gflop=gflop, peak=peak, share=gflop / min(x) / peak)
      for jit, x in walls.items()]


def operations(config, action_size=trial.ACTIONS):
  """GFLOP of one search, the matrix products alone: 132 at the published size with A = 6."""
  c = config
  hidden = c.deter_size if c.rssm_hidden == 'auto' else c.rssm_hidden
  feat = c.deter_size + c.stoch_size
  chain = lambda *sizes: sum(a * b for a, b in zip(sizes, sizes[1:]))
  step = (
      chain(c.stoch_size + action_size, *[hidden] * c.rssm_layers)
      + 3 * (hidden + c.deter_size) * c.deter_size
      + chain(c.deter_size, *[hidden] * c.rssm_layers, 2 * c.stoch_size) * c.rssm_ensemble)
  reward = chain(feat, *[c.num_units] * c.reward_layers, 1)
  return 2e-9 * c.planner_iterations * c.planner_amount * c.planner_horizon * (step + reward)
