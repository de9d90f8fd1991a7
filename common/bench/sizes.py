"""The sizes that updates are timed at."""

SMALL = {
    'batch_size': 16, 'batch_length': 30, 'deter_size': 64, 'stoch_size': 30, 'num_units': 128,
    'cnn_depth': 8, 'horizon': 15}
SIZES = {
    'published': [],
    'small': [word for key, value in SMALL.items() for word in (f'--{key}', str(value))]}


def name_of(args, flags, default):
  """Return the name of the size; blocks have sizes of their own, called `configured`."""
  return args.size or ('configured' if '--configs' in flags else default)
