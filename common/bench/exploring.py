"""What the ensemble of Plan2Explore costs: updates in turns with the whole one and with nearly none."""
import statistics

from common.bench import operations
from common.bench import sizes
from common.bench import trial
from common.config import UserError

# One linear member: nothing else of the update changes, and what it pays is always 0.
NEARLY_NONE = dict(disag_models=1, disag_layers=0)


def measure(config, updates):
  """Time updates of two agents that differ by their ensemble, in one process.

  Args:
    config: Config of Plan2Explore whose explorer is paid by disagreement.
    updates: timed ones of each, after one that is not.
  Returns:
    List of one dict of update and without (seconds, medians), gflop (of an update), time_share and
    operations_share (of the ensemble), ratio (of these shares), peak (GFLOP/s of the run), share
    (of the peak) and memory (GB).
  Raises:
    UserError: the explorer has no ensemble that disagrees.
  """
  if config.expl_behavior != 'plan2explore':
    raise UserError(
        'benchmark: explore times the ensemble of expl_behavior plan2explore, but it is '
        f'{config.expl_behavior}. Leave out the block or flag that says so.')
  sizes.check_counted(config)
  configs = {True: config, False: config.replace(**NEARLY_NONE)}
  trials = {whole: trial.Trial(c) for whole, c in configs.items()}
  seconds, peaks = {True: [], False: []}, []
  for number in range(updates + 1):
    peaks.append(trials[True].peak()['peak'])
    for whole in (True, False) if number % 2 else (False, True):
      wall, _ = trials[whole].step()
      if number:
        seconds[whole].append(wall)
  counts = {whole: sum(count(made).values()) for whole, made in trials.items()}
  update, without = (statistics.median(seconds[whole]) for whole in (True, False))
  time_share, operations_share = 1 - without / update, 1 - counts[False] / counts[True]
  return [dict(
      configs=config.configs, update=update, without=without, gflop=counts[True],
      time_share=time_share, operations_share=operations_share,
      ratio=time_share / operations_share, peak=max(peaks),
      share=counts[True] / update / max(peaks), memory=trials[True].memory())]


def count(made):
  """Dict of part to GFLOP of an update of a Trial of Plan2Explore: Dreamer's and the explorer's.

  The explorer dreams a second time, in which no head but its value function is asked. Members read
  pairs of rows three times, but for the gradient of inputs, and dreams once, or twice where the
  actor climbs what they pay. Standard deviations are asked where something is made of them.
  """
  c = made.agent.config
  parts = made.operations()
  # As the explorer is made: without a value at the end it dreams a step more.
  horizon = c.expl_horizon + (not c.expl_bootstrap)
  explorer = made.operations(horizon=horizon, use_value=c.expl_bootstrap)
  parts.update({
      f'explorer: {name}': explorer[name] for name in (
          'actor', 'prior steps', 'value, for the actor', 'value, for its loss')})
  ensemble = made.agent.novelty.ensemble
  def layers(with_std):
    used = [*ensemble.hidden, ensemble.mean, *([ensemble.std] if with_std else [])]
    return [layer.kernel.shape.num_elements() for layer in used]
  learned = layers(c.disag_loss == 'nll_learned')
  first = learned[:1] if ensemble.hidden else learned
  pairs = c.batch_size * (c.batch_length - c.disag_offset)
  parts['ensemble on replay'] = (
      operations.passes(pairs, learned, 3) - operations.passes(pairs, first, 1))
  # One member never disagrees, and is not asked.
  asked = (c.disag_models > 1) * (1 + c.disag_reward_grad)
  parts['ensemble on dreams'] = operations.passes(
      c.batch_size * c.batch_length * horizon, layers(c.intr_reduce == 'jrd'), asked)
  return parts
