"""Benchmarks of what a run spends its time on; docs/benchmarks.md tells how to read them.

    python -m common.benchmark train_step            XLA and oneDNN on and off, against the peak
    python -m common.benchmark train_step --configs dmc cpu --vary jit True False
    python -m common.benchmark data                  is a batch ready before an update needs it?
    python -m common.benchmark env --task dmc_walker_walk

Each prints a table for people and a JSON line per row. `--configs NAME ... --KEY VALUE ...` are
those of `python -m dreamer.train`. Exit code 1 if a variant failed, 2 for a mistake in the command.
"""
import argparse
import functools
import importlib
import itertools
import json
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
import traceback

import gymnasium
import numpy as np

from common import config as config_lib
from common import dataset
from common import envs
from common import replay
from common.envs import parallel

SMALL = {
    'batch_size': 16, 'batch_length': 30, 'deter_size': 64, 'stoch_size': 30, 'num_units': 128,
    'cnn_depth': 8, 'horizon': 15}
SIZES = {
    'published': [],  # the defaults, or what --configs makes of them
    'small': [word for key, value in SMALL.items() for word in (f'--{key}', str(value))]}
ACTIONS = 6    # entries of an action, as of dmc_walker_walk
VECTOR = 24    # entries of a vector observation, as of the same task without images
MATRIX = 2048  # rows of the matrices whose product gives the peak
WARMUP = 5     # updates before those that --vary times


@config_lib.entry
def main(argv=None):
  """Run the command line; exits with the code above."""
  parser = argparse.ArgumentParser(
      prog='python -m common.benchmark', description=__doc__, allow_abbrev=False,
      formatter_class=argparse.RawDescriptionHelpFormatter)
  commands = parser.add_subparsers(dest='command', required=True)
  add = functools.partial(commands.add_parser, allow_abbrev=False)

  step = add('train_step', help='seconds of an update as a share of the matmul peak')
  step.add_argument('--size', choices=[*SIZES, 'both'], help='default: both; with --configs, its')
  step.add_argument('--steps', type=_count, help='timed updates; default 2, with --vary 30')
  step.add_argument('--onednn', choices=['both', 'True', 'False'], default='both')
  step.add_argument('--timeout', type=float, default=600, help='seconds for a variant')
  step.add_argument('--memory', type=float, default=14, help='GB for a variant')
  step.add_argument(
      '--vary', nargs=3, metavar=('KEY', 'VALUE', 'VALUE'), help='two agents in one process')
  step.set_defaults(run=train_step)

  data = add('data', help='batches a second, and how long updates wait for them')
  data.add_argument('--size', choices=SIZES, default='published')
  data.add_argument('--steps', type=_count, default=10, help='updates in the burst')
  data.set_defaults(run=wait_for_data)

  env = add('env', help='decisions a second: plain, with images, in processes')
  env.add_argument('--steps', type=_count, default=200, help='timed decisions of each environment')
  env.set_defaults(run=step_environments)

  args, flags = parser.parse_known_args(argv)
  sys.exit(args.run(args, flags))


def train_step(args, flags):
  """Time updates of the real agent on random batches; returns the exit code."""
  sizes = list(SIZES) if args.size == 'both' else [args.size]
  if args.size is None:
    sizes = ['published'] if '--configs' in flags else list(SIZES)
  configs = {size: config_lib.load('dreamer', SIZES[size] + flags) for size in sizes}
  if args.vary:
    key, *values = args.vary
    for size in sizes:
      pair = [
          config_lib.load('dreamer', [*SIZES[size], *flags, f'--{key}', value])
          for value in values]
      _vary(size, key, pair, args.steps or 30)
    return 0
  variants = [x for size, config in configs.items() for x in _variants(size, config, args)]
  peak = max((x.row['peak'] for x in variants if 'peak' in x.row), default=None)
  for size, config in configs.items():
    _report(size, config, [x for x in variants if x.row['size'] == size], peak)
  if peak:
    print(f'Best matmul peak of this run: {peak:.1f} GFLOP/s ({MATRIX} x {MATRIX}, float32).')
  return int(any(variant.row.get('failed') for variant in variants))


def operations(config, action_size, value_twice=False):
  """Count the operations of one update, forward and backward, in GFLOP.

  A multiplication with an addition is 2 operations. A layer takes one pass forward, one for the
  gradient of its weights and one for that of its inputs; only passes that the losses need count:
  no input gradient at the first layer of encoder, actor and value loss, and no weight gradients
  of what the actor only looks through. Elementwise work, distributions and Adam do not count.

  Args:
    config: Config of Dreamer.
    action_size: entries A of an action.
    value_twice: count the value head as evaluated once for either loss, as
      straightforward code does it (942 in all at the published size). Ours is evaluated once (911).
  Returns:
    Dict of part to GFLOP.
  """
  # Delayed like every import of TensorFlow here.
  from common import nets
  c = config
  hidden = c.deter_size if c.rssm_hidden == 'auto' else c.rssm_hidden
  feat = c.deter_size + c.stoch_size
  rows = c.batch_size * c.batch_length
  dreams = (rows - c.batch_size * c.pcont) * c.horizon  # with pcont not from the last rows
  head = lambda layers, out=1: _dense(feat, *[c.num_units] * layers, out)
  reward, value, pcont = (head(n) for n in (c.reward_layers, c.value_layers, c.pcont_layers))
  encoder, decoder, embed = _observation_layers(c, feat, nets)
  prior = (
      _dense(c.stoch_size + action_size, hidden) + _dense(hidden + c.deter_size, 3 * c.deter_size)
      + _dense(c.deter_size, hidden, 2 * c.stoch_size))
  post = _dense(c.deter_size + embed, hidden, 2 * c.stoch_size)
  actor = head(c.actor_layers, action_size * (2 if c.action_dist == 'tanh_normal' else 1))

  forward = lambda n, layers, passes=1: 2e-9 * n * sum(layers) * passes
  learned = lambda n, layers: forward(n, layers, 3)
  inputs_fixed = lambda n, layers: learned(n, layers) - forward(n, layers[:1])
  first_layers = sum(layers[0] for layers in encoder)
  return {
      'encoder': learned(rows, sum(encoder, [])) - forward(rows, [first_layers]),
      'decoder': learned(rows, decoder),
      'posterior scan': learned(rows, prior + post),
      'heads on the posterior': learned(rows, reward + pcont * c.pcont),
      'actor': inputs_fixed(dreams, actor),
      'prior steps': forward(dreams, prior, 2),
      'heads on dreams': forward(dreams, reward + pcont * c.pcont, 2),
      'value for the actor': forward(dreams, value, c.use_value * (1 + value_twice)),
      'value for its loss': inputs_fixed(dreams, value)}


def _dense(*sizes):
  """Multiplications of each of a chain of dense layers, for one row."""
  return [a * b for a, b in zip(sizes, sizes[1:])]


def _observation_layers(config, feat, nets):
  """Return (encoders, a list per kind of input; all layers of the decoders; embedding size)."""
  c, encoders, decoder, embed = config, [], [], 0
  spaces = _selected(config)
  if 'image' in spaces:
    size, channels, layers = c.image_size, 3, []
    for i, kernel in enumerate(nets.ENCODER_KERNELS):
      size, filters = (size - kernel) // 2 + 1, c.cnn_depth * 2 ** i
      layers.append(size ** 2 * kernel ** 2 * channels * filters)
      channels = filters
    encoders.append(layers)
    embed += size ** 2 * channels
    size, channels = 1, 32 * c.cnn_depth
    decoder.append(feat * channels)
    for filters, kernel in zip(
        [c.cnn_depth * n for n in (4, 2, 1)] + [3], nets.DECODER_KERNELS):
      decoder.append(size ** 2 * kernel ** 2 * channels * filters)
      size, channels = 2 * (size - 1) + kernel, filters
  if 'vector' in spaces:
    units = [c.mlp_units] * c.mlp_layers
    encoders.append(_dense(VECTOR, *units))
    decoder += _dense(feat, *units, VECTOR)
    embed += c.mlp_units
  return encoders, decoder, embed
