"""Parity of the whole agent: acting over several steps, and complete updates."""
import gymnasium
import numpy as np
import tensorflow as tf

from common import config as config_lib
from common.checks.parity import model
from common.model import devices
from dreamer.agent import Dreamer

# Settings of a fixture that are no keys of ours though they are called so: `steps` counts calls,
# and decaying weights is what the reference code fails to do whatever its option says (Q12).
NOT_OURS = ('steps', 'envs', 'weight_decay')

# Our metrics of one update under their recorded names.
METRICS = {
    'model_loss': 'model_loss', 'actor_loss': 'actor_loss', 'value_loss': 'value_loss',
    'model_norm': 'model_grad_norm', 'actor_norm': 'actor_grad_norm',
    'value_norm': 'value_grad_norm', 'div': 'div'}


def dreamer_policy(fixture):
  """Filter images step by step, with resets in between; each action is fed back."""
  image, reset = fixture.inputs['image'], fixture.inputs['reset']
  agent, _ = _agent(fixture, image.shape)
  state = agent.initial(image.shape[1])
  act = tf.function(
      lambda obs, state, is_first: agent.filter_and_act(obs, state, is_first, 'train', None),
      autograph=False)
  rows = []
  for step in range(len(image)):
    action, latent = act(
        {'image': tf.constant(image[step])}, state, tf.constant(reset[step] != 0))
    state = {'latent': latent, 'action': action}
    rows.append({'out/action': action, **model.prefixed('out/latent', latent)})
  return {key: np.stack([row[key] for row in rows]) for key in rows[0]}


def dreamer_train_step(fixture):
  """Everything computed in one update, then the weights after one and three of them."""
  agent, variables = _agent(fixture, fixture.inputs['image'].shape)
  data = model.tensors(fixture.inputs)
  outputs = {**_forward(agent, data), **_gradients(agent, data, variables)}
  update = tf.function(lambda data: agent.update(data, None), autograph=False)
  history = []
  for count in (1, 2, 3):
    metrics = update(data)
    row = {ours: metrics[name] for ours, name in METRICS.items()}
    row.update({f'like_{key}': -metrics[f'{key}_loss'] for key in _likes(agent)})
    history.append(row)
    if count != 2:
      weights = {name: variable.numpy() for name, variable in variables.items()}
      outputs.update(model.prefixed(f'step{count}', weights))
  for key in history[0]:
    outputs[f'out/steps/{key}'] = np.array([row[key] for row in history])
  for key in METRICS:
    outputs[f'out/{key}'] = history[0][key]
  for key in _likes(agent):
    outputs[f'out/likes/{key}'] = history[0][f'like_{key}']
  return outputs


CHECKS = {'dreamer_policy': dreamer_policy, 'dreamer_train_step': dreamer_train_step}


def _agent(fixture, image_shape):
  """Return an agent with the fixture's settings and weights, and its variables by name."""
  settings = _settings(fixture.config)
  spaces = {'image': gymnasium.spaces.Box(0, 255, image_shape[-3:], np.uint8)}
  actions = gymnasium.spaces.Box(-1, 1, (fixture.config['action'],), np.float32)
  agent = Dreamer(devices.setup(settings), spaces, actions)
  betas = {f'beta_{i}': fixture.config.get('adam', {}).get(f'beta{i}') for i in (1, 2)}
  for optimizer in agent.optimizers().values():
    for key, value in betas.items():
      if value is not None:
        setattr(optimizer.adam, key, value)
  wm, behaviour = agent.world_model, agent.behaviour
  networks = dict(
      encoder=wm.encoder.conv, rssm=wm.rssm, decoder=wm.decoder.conv, reward=wm.reward,
      value=behaviour.value, actor=behaviour.actor)
  if settings.pcont:
    networks['pcont'] = wm.pcont_head
  variables = model.named(**networks)
  model.assign(variables, fixture.weights)
  return agent, variables


def _settings(recorded):
  """Return our defaults with the values of a fixture, on one device and without compilation."""
  settings = config_lib.load('dreamer', ['--task', 'dummy_continuous'])
  values = {
      key: value for key, value in recorded.items() if key in settings and key not in NOT_OURS}
  if 'epsilon' in recorded.get('adam', {}):
    values['adam_eps'] = recorded['adam']['epsilon']
  return settings.replace(precision='float32', jit=False, devices=1, **values)


def _likes(agent):
  return ('image', 'reward') + (('pcont',) if agent.config.pcont else ())


def _forward(agent, data):
  """Intermediate results of the losses, which an update computes but does not return."""
  wm = agent.world_model
  _, parts = wm.loss(wm.preprocess(data), None)
  _, dream, _ = agent.behaviour.gradients(
      wm, wm.starts(parts['post']), lambda dream: wm.reward(dream.feat).mode(), None)
  dream['discount'] = dream.pop('weight')
  return {
      **model.prefixed('out', {key: parts[key] for key in ('embed', 'feat', 'div_raw')}),
      **model.prefixed('out/post', parts['post']), **model.prefixed('out/prior', parts['prior']),
      **model.prefixed('out/imag', dream)}


def _gradients(agent, data, variables):
  """Gradients of the unscaled losses before clipping, by logical name."""
  grads, _ = agent.gradients(agent.world_model.preprocess(data), None)
  by_variable = {}
  for name, optimizer in agent.optimizers().items():
    by_variable.update(
        {variable.ref(): grad for variable, grad in zip(optimizer.variables_, grads[name])})
  return {f'grad/{name}': by_variable[variable.ref()] for name, variable in variables.items()}
