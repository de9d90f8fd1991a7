"""The parts of an update of Dreamer, each alone: forward, and forward with its gradients.

A part is timed as one compiled call on random inputs of the shapes that it meets in an update. Its
gradients are those that the update takes: of weights and inputs, but for the first layer of the
encoder, whose inputs are pictures. The sum of the parts is not the time of the update, which runs
some of them side by side.
"""
import statistics
import time
from typing import NamedTuple

import tensorflow as tf

from common import config as config_lib
from common.bench import operations
from common.bench import printing
from common.bench import sizes
from common.bench import trial as trial_lib
from common.model import divergence
from common.model import dists

WARMUP = 3  # calls of each part that are not timed


class Part(NamedTuple):
  """What is timed."""
  name: str
  function: object   # of the inputs, to nested tensors
  inputs: list       # tensors
  variables: list    # those that the gradients are of, besides the inputs
  multiplications: float = 0.0  # of all layers forward, counted for each row, in 1e9
  passes: int = 3    # of the layers, forward and back
  back: bool = True  # whether the update takes gradients through it
  input_back: bool = True  # whether inputs have gradients, too


COLUMNS = (  # of the table: title, key of the row, format
    ('forward ms', 'forward', '.1f'), ('with gradients', 'both', '.1f'), ('GFLOP', 'gflop', '.2f'),
    ('GFLOP/s', 'gflops', '.0f'), ('of peak', 'share', '.0%'), ('GB', 'gb', '.3f'),
    ('GB/s', 'gbs', '.1f'))


def measure_parts(args, flags):
  """Time the parts of an update and print them; returns the exit code."""
  size = sizes.name_of(args, flags, 'small')
  config = config_lib.load('dreamer', sizes.flags(size) + flags)
  sizes.check_counted(config)
  line = lambda name, cells: print(f'{name:36}' + ''.join(f'{cell:>15}' for cell in cells))
  line(f'{size}, batch {config.batch_size} x {config.batch_length}', [x[0] for x in COLUMNS])
  rows = measure(config, args.steps)
  for row in rows:
    line(row['part'], ['' if row[key] is None else format(row[key], x) for _, key, x in COLUMNS])
  for row in rows:
    printing.json_line(dict(size=size, **row))
  return 0


def measure(config, calls):
  """Time the parts in turns.

  Args:
    config: Config of Dreamer.
    calls: timed ones of each part.
  Returns:
    List of dicts with part; forward and both (milliseconds, medians, of the forward pass and of it
    with the gradients), gflop and gflops (of both, counted in the layers, and a second), gb and gbs
    (read and written by both at least, and a second). The last is the whole update.
  """
  trial = trial_lib.Trial(config)
  parts = list(_parts(trial))
  ways = [(part, back) for part in parts for back in ((False, True) if part.back else (False,))]
  graphs = {(part.name, back): _graph(part, back) for part, back in ways}
  seconds = {key: [] for key in graphs}
  update = []
  for number in range(WARMUP + calls):
    for part, back in ways:
      started = time.perf_counter()
      graphs[part.name, back](*part.inputs).numpy()
      if number >= WARMUP:
        seconds[part.name, back].append(time.perf_counter() - started)
    wall, _ = trial.step()
    if number >= WARMUP:
      update.append(wall)
  peak = trial.peak()['peak']
  rows = [_row(part, seconds, peak) for part in parts]
  gflop = sum(trial.operations().values())
  whole = statistics.median(update)
  return rows + [dict(
      part='the whole update', forward=None, both=1e3 * whole, gflop=gflop, gflops=gflop / whole,
      share=gflop / whole / peak, gb=None, gbs=None)]


def _row(part, seconds, peak):
  forward, both = (
      statistics.median(seconds[part.name, back]) for back in (False, part.back))
  gflop = 2 * part.multiplications * (part.passes if part.back else 1)
  gb = part_bytes(part) / 1e9
  return dict(
      part=part.name, forward=1e3 * forward, both=1e3 * both, gflop=gflop, gflops=gflop / both,
      share=gflop / both / peak, gb=gb, gbs=gb / both)


def part_bytes(part):
  """Bytes that a part has to read and write at least: inputs, weights, outputs, and gradients."""
  size = lambda tensors: sum(
      x.shape.num_elements() * x.dtype.size for x in tf.nest.flatten(tensors))
  outputs = tf.function(part.function, autograph=False).get_concrete_function(
      *part.inputs).structured_outputs
  forward = size(part.inputs) + size(part.variables) + size(outputs)
  return forward * (2 if part.back else 1)


def _graph(part, back):
  """A compiled call that makes the outputs, and the gradients if `back`, and returns a number."""
  def run(*inputs):
    if not back:
      return _touch(part.function(*inputs))
    sources = part.variables + (list(inputs) if part.input_back else [])
    with tf.GradientTape(watch_accessed_variables=False) as tape:
      tape.watch(sources)
      outputs = [x for x in tf.nest.flatten(part.function(*inputs)) if x.dtype.is_floating]
    # The outputs stand for their own gradients: as large, and at hand.
    return _touch([x for x in tape.gradient(outputs, sources, outputs) if x is not None])
  return tf.function(run, autograph=False)


def _touch(outputs):
  """A number that needs all outputs, but reads a single entry of each."""
  return tf.add_n([
      tf.cast(tf.reshape(x, [-1])[0], tf.float32) for x in tf.nest.flatten(outputs)])


def _parts(trial):
  model = trial.agent.world_model
  if model.encoder.image_keys:
    yield from _encoder(trial)
    if trial.agent.config.obs_loss == 'reconstruction':
      yield from _decoder(trial)
  yield from _latents(trial)
  yield from _dreams(trial)
  yield _adam(trial)


def _image(trial):
  """The pictures of the batch as the networks see them, [B T, H, W, C]."""
  image = trial.agent.world_model.preprocess({'image': trial.data['image']})['image']
  return tf.reshape(image, [-1, *image.shape[2:]])


def _encoder(trial):
  model = trial.agent.world_model
  yield Part(
      'pictures as floats', lambda x: model.preprocess({'image': x})['image'],
      [trial.data['image']], [], back=False)
  x = _image(trial)
  for i, layer in enumerate(model.encoder.conv.layers):
    y = layer(x)
    yield Part(
        f'encoder {i + 1}: {_shape(x)} to {_shape(y)}', layer, [x], layer.trainable_variables,
        _uses(layer, y), passes=3 if i else 2, input_back=bool(i))
    x = y


def _decoder(trial):
  model, image = trial.agent.world_model, _image(trial)
  feat = tf.random.normal([image.shape[0], model.rssm.feat_size])
  first, *layers = model.decoder.conv.layers
  yield Part(
      'decoder 1: dense', first, [feat], first.trainable_variables,
      feat.shape[0] * first.kernel.shape.num_elements() / 1e9)
  x = tf.reshape(first(feat), [image.shape[0], 1, 1, -1])
  for i, layer in enumerate(layers):
    y = layer(x)
    yield Part(
        f'decoder {i + 2}: {_shape(x)} to {_shape(y)}', layer, [x], layer.trainable_variables,
        _uses(layer, x))
    x = y
  yield Part(
      'likelihood of the pictures', lambda mean: dists.normal(mean, 3).log_prob(image),
      [tf.cast(x, tf.float32)], [])


def _uses(layer, x):
  """Multiplications of a convolution in 1e9, whose kernel is used at each pixel of x."""
  return x.shape[0] * x.shape[1] * x.shape[2] * layer.kernel.shape.num_elements() / 1e9


def _latents(trial):
  config, model, counts = trial.agent.config, trial.agent.world_model, trial.operations()
  shape = [config.batch_size, config.batch_length]
  embed = tf.cast(tf.random.normal([*shape, model.encoder.embed_size]), model.rssm.dtype)
  action = tf.random.uniform([*shape, trial.agent.action_size], -1, 1)
  seed = tf.constant([0, 0])
  forward = lambda name, passes: counts[name] / passes / 2
  yield Part(
      'posterior scan', lambda embed: model.rssm.observe(embed, action, seed), [embed],
      list(model.rssm.trainable_variables), forward('posterior scan', 3))
  post, prior = model.rssm.observe(embed, action, seed)
  kl = lambda *stats: divergence.loss(
      model.rssm, *(tf.nest.pack_sequence_as(post, stats[i::2]) for i in range(2)),
      config.free_nats, config.free_nats_mode, config.kl_balance)
  flat = [x for pair in zip(tf.nest.flatten(post), tf.nest.flatten(prior)) for x in pair]
  yield Part('divergence', kl, flat, [])
  feat = model.rssm.get_feat(post)
  heads = [model.reward, *([model.pcont_head] if config.pcont else [])]
  target = tf.zeros(shape)
  yield Part(
      'heads on the posterior', lambda feat: [head(feat).log_prob(target) for head in heads], [feat],
      [v for head in heads for v in head.trainable_variables], forward('heads on the posterior', 3))


def _dreams(trial):
  agent, counts = trial.agent, trial.operations()
  config, model, behaviour = agent.config, agent.world_model, agent.behaviour
  rows = config.batch_size * config.batch_length
  start = tf.nest.map_structure(
      lambda x: x + tf.zeros([rows] + [1] * (x.shape.rank - 1), x.dtype), model.rssm.initial(rows))
  seed = tf.constant([0, 0])
  imagine = lambda *start: behaviour.imagine(model, pack(start), seed)
  pack = lambda flat: tf.nest.pack_sequence_as(start, flat)
  through = 1 + operations.looks_through(config)
  steps = (counts['actor'] / 3 + counts['prior steps'] / through) / 2
  # An actor that is only reinforced takes no gradients through the states that it dreams.
  dreaming = imagine if through == 2 else lambda *start: imagine(*start)[2:]
  yield Part(
      'dreaming', dreaming, tf.nest.flatten(start), list(behaviour.actor.trainable_variables), steps,
      passes=(counts['actor'] + counts['prior steps']) / 2 / steps, input_back=False)
  feat, _, entropy, log_prob = imagine(*tf.nest.flatten(start))

  def losses(feat):
    reward = model.reward(feat).mode()
    return behaviour.losses(feat, reward, model.pcont(feat), entropy, log_prob)[:2]
  forward = counts['heads on dreams'] / through / 2 + counts['value, for its loss'] / 4
  total = sum(counts[name] for name in (
      'heads on dreams', 'value, for the actor', 'value, for its loss'))
  yield Part(
      'heads and losses on dreams', losses, [feat], list(behaviour.value.trainable_variables), forward,
      passes=total / 2 / forward)


def _adam(trial):
  optimizers = trial.agent.optimizers()
  variables = [v for opt in optimizers.values() for v in opt.variables_]
  sizes_ = [v.shape.num_elements() for v in variables]

  def apply(flat):
    grads = iter([tf.reshape(x, v.shape) for x, v in zip(tf.split(flat, sizes_), variables)])
    return trial.agent.apply({
        name: [next(grads) for _ in opt.variables_] for name, opt in optimizers.items()})
  return Part('norms and Adam', apply, [tf.zeros([sum(sizes_)])], variables, back=False)


def _shape(x):
  return 'x'.join(map(str, x.shape[1:]))
