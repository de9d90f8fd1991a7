"""The sizes that updates are timed at."""

from common import config as config_lib
from common.config import UserError
from common.config import options

SMALL = {
    'batch_size': 16, 'batch_length': 30, 'deter_size': 64, 'stoch_size': 30, 'num_units': 128,
    'cnn_depth': 8, 'horizon': 15}
SIZES = {'published': {}, 'small': SMALL}


def flags(size, agent='dreamer'):
  """Flags for a size, of the options that the agent has; none if the size has no name."""
  unused = options.UNUSED.get(agent, ())
  return [
      word for key, value in SIZES.get(size, {}).items() if key not in unused
      for word in (f'--{key}', str(value))]


def name_of(args, flags, default):
  """Return the name of the size; blocks have sizes of their own, called `configured`.

  Raises UserError for blocks beside the published size, whose numbers are those of the defaults.
  """
  blocks = config_lib.names_blocks(flags)
  if blocks and args.size in ('published', 'both'):
    raise UserError(
        f'--size {args.size}: the published size is that of the defaults, which --configs changes. '
        'Leave one of them out.')
  return args.size or ('configured' if blocks else default)


def uncounted(config):
  """The setting because of which no formula here counts the operations of an update; '' if one does."""
  odd = {
      'latent_model': config.latent_model != 'rssm', 'obs_loss': config.obs_loss == 'contrastive',
      'overshooting_scale': config.overshooting_scale > 0, 'expl_replay': config.get('expl_replay')}
  return next((f'{key} {config[key]}' for key, is_odd in odd.items() if is_odd), '')


def check_counted(*configs):
  """Raise UserError for settings whose operations no formula here counts."""
  for found in filter(None, map(uncounted, configs)):
    raise UserError(
        f'benchmark: operations are not counted for {found}. train_step --vary and --against time it '
        'without counting.')

