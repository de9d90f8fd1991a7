"""Operations of one update of Dreamer, by formula from the sizes of its layers.

A multiplication with an addition is 2 operations. A layer takes one pass forward, one for the
gradient of its weights and one for that of its inputs, each of 2 operations per weight and use.
Only passes that the losses need count: no input gradient at the first layer of the encoder, the
actor and the value loss, and no weight gradients of layers that the actor only looks through.
Elementwise work, distributions and Adam do not count.
"""
from common.model import nets


def count(config, spaces, action_size, value_twice=False):
  """Return the GFLOP of each part of one update, as a dict.

  Args:
    config: Config of Dreamer.
    spaces: name -> Box of the observations that the encoder reads.
    action_size: entries A of an action.
    value_twice: the value head runs forward for each of the two losses, as in the reference code:
      942 in all at the published size with A = 6. Ours runs once for both: 911.
  """
  c = config
  hidden = c.deter_size if c.rssm_hidden == 'auto' else c.rssm_hidden
  stoch, params = c.stoch_size, 2 * c.stoch_size
  if c.latent == 'categorical':
    stoch = params = c.stoch_size * c.stoch_classes
  feat = c.deter_size + stoch
  rows = c.batch_size * c.batch_length
  # With pcont nothing is dreamed from the last rows.
  dreams = (rows - c.batch_size * (c.pcont and not c.imag_start)) * c.horizon
  encoder, decoder, embed = _observation_layers(c, spaces, feat)
  head = lambda layers, out=1: _dense(feat, *[c.num_units] * layers, out)
  heads = head(c.reward_layers) + head(c.pcont_layers) * c.pcont
  hiddens = [hidden] * c.rssm_layers
  prior = (
      _dense(stoch + action_size, *hiddens) + _dense(hidden + c.deter_size, 3 * c.deter_size)
      + _dense(c.deter_size, *hiddens, params) * c.rssm_ensemble)
  post = _dense(c.deter_size + embed, *hiddens, params)
  actor = head(c.actor_layers, action_size * (1 if c.action_dist == 'onehot' else 2))
  value = head(c.value_layers)
  through = looks_through(c)
  # The value that returns are made of is that of the value loss, or of a network that follows it.
  slow = c.slow_value > 0
  parts = {
      'encoder': passes(rows, sum(encoder, []), 3) - passes(rows, [x[0] for x in encoder], 1),
      'decoder': passes(rows, decoder, 3 * (c.obs_loss == 'reconstruction')),
      'posterior scan': passes(rows, prior + post, 3),
      'heads on the posterior': passes(rows, heads, 3),
      'actor': passes(dreams, actor, 3) - passes(dreams, actor[:1], 1),
      'prior steps': passes(dreams, prior, 1 + through),
      'heads on dreams': passes(dreams, heads, 1 + through),
      'value, for the actor': passes(
          dreams, value, c.use_value * (slow + through + (value_twice and not slow))),
      'value, for its loss': passes(dreams, value, 3) - passes(dreams, value[:1], 1)}
  return parts


def looks_through(config):
  """Whether the actor takes gradients through what it dreams; not where it is reinforced alone."""
  return config.actor_grad != 'reinforce'


def passes(rows, layers, passes):
  """GFLOP of some passes through layers, given by their multiplications for one row."""
  return 2e-9 * rows * sum(layers) * passes


def _dense(*sizes):
  """Multiplications of each of a chain of dense layers, for one row."""
  return [a * b for a, b in zip(sizes, sizes[1:])]


def _observation_layers(config, spaces, feat):
  """Return (encoders, decoder, embed): a list of layers per kind of input, all layers, a size."""
  encoders, decoder, embed = [], [], 0
  images = [space.shape for space in spaces.values() if len(space.shape) == 3]
  vectors = [space.shape[0] for space in spaces.values() if len(space.shape) == 1]
  if images:
    size, channels = images[0][0], sum(shape[-1] for shape in images)
    encoders.append(_encoder(size, channels, config.cnn_depth))
    decoder += _decoder(feat, channels, config.cnn_depth)
    embed += nets.embed_size(size, config.cnn_depth)
  if vectors:
    units = [config.mlp_units] * config.mlp_layers
    encoders.append(_dense(sum(vectors), *units))
    decoder += _dense(feat, *units, sum(vectors))
    embed += ([sum(vectors)] + units)[-1]
  return encoders, decoder, embed


def _encoder(size, channels, depth):
  layers = []
  for i, kernel in enumerate(nets.ENCODER_KERNELS):
    size, filters = (size - kernel) // 2 + 1, depth * 2 ** i
    layers.append(size ** 2 * kernel ** 2 * channels * filters)
    channels = filters
  return layers


def _decoder(feat, outputs, depth):
  size, channels = 1, 32 * depth
  layers = [feat * channels]
  for kernel, filters in zip(nets.DECODER_KERNELS, [4 * depth, 2 * depth, depth, outputs]):
    # Each input pixel meets the whole kernel.
    layers.append(size ** 2 * kernel ** 2 * channels * filters)
    size, channels = 2 * (size - 1) + kernel, filters
  return layers
