"""The protocol that all agents follow, and what they share in acting and training.

An agent owns a world model and behaviours. The training loop knows it only as

    action, state = agent.policy(obs, state, mode)
    metrics = agent.train(data, frames)

M environments, B batch, T time, A action. A new agent defines `build`,
`gradients`, `optimizers` and `act`. One that behaves differently as training goes on
defines `phase`, too.
"""

import types

import numpy as np
import tensorflow as tf

from common.envs import images
from common.envs.images import is_image
from common.model import devices
from common.model import dists
from common.model import divergence
from common.model import dynamics
from common.model import exploration
from common.model import metrics as metrics_lib
from common.model.world_model import WorldModel

DREAM = 45  # decisions in the pictures of dreams
MAKE = 'make the environment by common.envs.make(agent.config)'


class Agent(tf.Module):
  """Base of Dreamer, PlaNet and Plan2Explore.

  Attributes:
    evaluation: mode of `policy` in which environment e plays task e of those evaluated.
  """

  evaluation = 'eval'

  def __init__(self, config, obs_space, act_space):
    """config as settled by devices.setup; spaces as of the environment."""
    super().__init__()
    self.config = config
    self.obs_space, self.act_space = obs_space, act_space
    self.action_size = act_space.shape[0]
    self.saved_frames = None  # after which its weights were saved, if `common.load` found that
    self.strategy = devices.strategy(config)
    with self.strategy.scope():
      self.world_model = self.make_world_model()
      self.build()
      # Counters that the random numbers hang on. They are saved with the
      # weights, so that a resumed run draws what it would have drawn. As int32
      # they would live on the host, where XLA on a GPU cannot reach them.
      self.updates = tf.Variable(0, trainable=False, dtype=tf.int64, name='updates')
      self.calls = tf.Variable(0, trainable=False, dtype=tf.int64, name='calls')
    # XLA compiles the gradients and the update in one piece, or the gradients of each device: it
    # reaches the weights of one device only.
    jit = (config.jit and self.strategy.num_replicas_in_sync == 1) or None
    self._train = tf.function(self._train_step, autograph=False, jit_compile=jit)
    self._share_means, self._share_gradients = (
        tf.function(function, autograph=False, jit_compile=True)
        for function in (self._means, self._gradients))
    self._act = tf.function(self._policy_step, autograph=False, jit_compile=jit)
    # Names of the metrics of an update by phase, known once it is traced. A dict as an attribute
    # would become a part of checkpoints.
    self._traced = types.SimpleNamespace(names={})
    self._open_loop = tf.function(
        lambda data: self.world_model.open_loop(
            self.world_model.preprocess(data), self._seed()), autograph=False)
    self._dream = tf.function(
        lambda data: self.world_model.dream(
            self.world_model.preprocess(data), self._seed(), self.imagine), autograph=False)

  def make_world_model(self):
    """Make the world model; for agents with networks that share its optimiser."""
    return WorldModel(self.obs_space, self.action_size, self.config)

  def build(self):
    """Make behaviours as attributes; the world model is there already."""
    raise NotImplementedError

  def phase(self, frames):
    """What the agent is after, with `frames` of training behind it: a word for `gradients`, `act`.

    The training step is compiled for each.
    """
    del frames
    return 'train'

  def noise(self, frames):
    """Amount of exploration noise after `frames` of training."""
    return exploration.amount(self.config, frames)

  def gradients(self, data, seed, phase='train', frames=0):
    """Gradients of every loss, all at the weights before the update.

    Args:
      data: preprocessed rows [B, T, ...] of one device.
      seed: int32 [2], or None for zero noise.
      phase: what `phase` said.
      frames: of training so far, for schedules; a number or a float32 scalar.
    Returns:
      (grads, metrics): dict of optimiser name to a list with a gradient for each of its variables, or
        None; an agent may add what its own `apply` takes. Dict of float32 scalars.
    """
    raise NotImplementedError

  def apply(self, grads):
    """Update all weights that have gradients; returns a dict of scalars such as their norms."""
    return {
        f'{name}_grad_norm': opt.apply(grads[name])
        for name, opt in self.optimizers().items() if name in grads}

  def act(self, latent, mode, seed):
    """Actions float32 [M, A] in latent states of M environments.

    mode: eval, `evaluation` or the phase, see `policy`.
    """
    raise NotImplementedError

  @property
  def data_keys(self):
    """Names of the stored arrays that updates read."""
    return self.world_model.obs_keys + ['action', 'reward', 'discount']

  def optimizers(self):
    """Dict of name to optimizer.Optimizer."""
    raise NotImplementedError

  def policy(self, obs, state=None, mode='train', frames=0):
    """Filter observations and choose actions.

    Args:
      obs: dict of arrays [M, ...] as environments give them; `is_first` bool
        [M] marks environments that were reset, whose part of `state` is then
        zeroed. Observations of one environment without the leading axis are
        understood, too.
      state: what the previous call returned; None at the start.
      mode: train, with exploration noise; eval, with eval_noise, all in the run's own task; or what
        `evaluation` says, the same with environment e in task e.
      frames: frames of training so far, for the schedule of the noise.
    Returns:
      (action, state): float32 numpy [M, A] or [A], and the state to pass on.
    Raises:
      ValueError: no such mode, an image holds numbers that no image has, or what is seen has another
        form.
    """
    if mode not in ('train', 'eval', self.evaluation):
      raise ValueError(f'mode is {mode!r}, expected train or eval')
    key = self.world_model.obs_keys[0]
    for k in self.world_model.obs_keys:
      if not hasattr(obs, 'keys') or k not in obs:
        raise ValueError(f'the observation is no dict with {k!r}; {MAKE}')
    single = np.ndim(obs[key]) == len(self.obs_space[key].shape)
    batch = lambda x: np.asarray(x)[None] if single else np.asarray(x)
    inputs = {}
    for k in self.world_model.obs_keys:
      value = batch(obs[k])
      if value.shape[1:] != tuple(self.obs_space[k].shape):
        raise ValueError(
            f'{k} is {list(value.shape[1:])}, the agent sees {list(self.obs_space[k].shape)}; {MAKE}')
      if is_image(self.obs_space[k]):
        value = images.pixels(k, value)
      inputs[k] = tf.convert_to_tensor(value)
    count = inputs[key].shape[0]
    is_first = batch(obs.get('is_first', np.zeros(() if single else count, bool)))
    if state is None:
      state = self.initial(count)
    noise = self.noise(frames) if mode == 'train' else self.config.eval_noise
    action, state = self._act(
        inputs, state, tf.constant(is_first), tf.constant(noise, tf.float32),
        self.phase(frames) if mode == 'train' else mode)
    action = action.numpy()
    return (action[0] if single else action), state

  def initial(self, count):
    """Policy state of `count` environments before their first observation."""
    return {
        'latent': self.world_model.rssm.initial(count),
        'action': tf.zeros([count, self.action_size])}

  def train(self, data, frames=0):
    """Make one update on a batch.

    Args:
      data: dict of rows [B, T, ...] as stored, from `distribute`.
      frames: frames of training so far, for the phase and for schedules.
    Returns:
      metrics.Metrics: a mapping of names to float32 numbers, fetched when they are asked for.
    """
    phase = self.phase(frames)
    vector = self._train(data, phase, tf.constant(frames, tf.float32))
    return metrics_lib.Metrics(self._traced.names[phase], vector)

  def open_loop(self, batch):
    """Pictures of predictions on a batch of numpy arrays; see WorldModel.open_loop."""
    return _call(self._open_loop, batch)

  def dream(self, batch):
    """Pictures of dreams that follow a batch of numpy arrays; see WorldModel.dream."""
    return _call(self._dream, batch)

  def imagine(self, latent, seed):
    """States [M, DREAM, ...] that follow states [M, ...] under the agent's own actions."""
    def step(state, _, seed):
      seeds = [None] * 2 if seed is None else dists.split_seed(seed, 2)
      return self.world_model.rssm.img_step(state, self.act(state, 'eval', seeds[0]), seeds[1])
    states = dynamics.scan(step, latent, tf.zeros([DREAM, 0]), seed)
    return tf.nest.map_structure(dynamics.swap, states)

  def distribute(self, batch):
    """Put a dict of numpy arrays [B, T, ...] on the devices, each its share."""
    if self.strategy.num_replicas_in_sync == 1:
      return {k: tf.convert_to_tensor(v) for k, v in batch.items()}
    devices = self.strategy.extended.worker_devices  # on this machine
    def share(context):
      i = context.replica_id_in_sync_group % len(devices)
      with tf.device(devices[i]):
        return {
            k: tf.convert_to_tensor(v.reshape((len(devices), -1) + v.shape[1:])[i])
            for k, v in batch.items()}
    return self.strategy.experimental_distribute_values_from_function(share)

  @property
  def update_count(self):
    """Updates made so far."""
    return int(self.updates.numpy())

  @property
  def skipped(self):
    """Most updates that an optimiser has skipped in a row, for non-finite gradients."""
    return max(int(opt.skipped.numpy()) for opt in self.optimizers().values())

  def _train_step(self, data, phase, frames):
    metrics = self.update(data, self._seed(), phase, frames)
    self._traced.names[phase], vector = metrics_lib.pack(metrics)
    with tf.control_dependencies([vector]):
      self.updates.assign_add(1)
    return vector

  def _seed(self):
    return tf.stack([self.config.seed, tf.cast(self.updates, tf.int32)])

  def update(self, data, seed, phase='train', frames=0):
    """The graph of one update: gradients on each device, then their mean applied.

    Args:
      data: rows [B, T, ...] as stored, or their per-device shares.
      seed: int32 [2], or None for zero noise.
      phase: what `phase` said.
      frames: as in `gradients`.
    Returns:
      Dict of float32 scalar tensors.
    """
    if self.strategy.num_replicas_in_sync == 1:
      data = self.world_model.preprocess(data, seed)
      grads, metrics = self.gradients(data, seed, phase, frames)
      return {**metrics, **self.apply(grads)}
    like = []
    def share(data):
      found = self._replica_gradients(data, seed, phase, frames)
      like[:] = [found]
      return tf.concat(
          [tf.reshape(x, [-1]) for x in tf.nest.flatten(found) if x is not None], 0)
    # In one piece: one wait for the other devices, and all of an update or, if one fails, nothing.
    vector = self.strategy.reduce(
        tf.distribute.ReduceOp.MEAN, self.strategy.run(share, (data,)), axis=None)
    leaves = tf.nest.flatten(like)
    # A frozen network has no gradients.
    pieces = iter(tf.split(vector, [x.shape.num_elements() for x in leaves if x is not None]))
    grads, metrics = tf.nest.pack_sequence_as(
        like, [None if x is None else tf.reshape(next(pieces), x.shape) for x in leaves])[0]
    with self.strategy.scope():
      return {**metrics, **self.apply(grads)}

  def _replica_gradients(self, data, seed, phase, frames):
    """What one device does in `update`, in the replica context of its strategy."""
    context = tf.distribute.get_replica_context()
    replica = context.replica_id_in_sync_group
    if seed is not None:
      seed = tf.random.experimental.stateless_fold_in(seed, replica)
    if not self.config.jit:
      return self.gradients(self.world_model.preprocess(data, seed), seed, phase, frames)
    # A number of Python: each device has a graph of its own, with its own copies of the weights.
    args = data, seed, phase, frames, int(tf.get_static_value(replica))
    means = [
        context.all_reduce(tf.distribute.ReduceOp.MEAN, mean) for mean in self._share_means(*args)]
    return self._share_gradients(*args, means)

  def _means(self, data, seed, phase, frames, replica):
    """Means over the share of a device that `_gradients` needs of all."""
    del replica
    with divergence.means_of_shares() as means:
      self.gradients(self.world_model.preprocess(data, seed), seed, phase, frames)
    return means

  def _gradients(self, data, seed, phase, frames, replica, means):
    del replica
    with divergence.means_known(means):
      return self.gradients(self.world_model.preprocess(data, seed), seed, phase, frames)

  def _policy_step(self, obs, state, is_first, noise, mode):
    seed = tf.stack([self.config.seed + 1, tf.cast(self.calls, tf.int32)])
    self.calls.assign_add(1)
    action, latent = self.filter_and_act(obs, state, is_first, mode, seed)
    noise_seed = dists.split_seed(seed, 3)[2]  # `filter_and_act` takes the first two
    action = exploration.add_noise(
        self.config.expl, action, noise, noise_seed, self.config.random_style)
    # The model is told the action that was carried out.
    return action, {'latent': latent, 'action': action}

  def filter_and_act(self, obs, state, is_first, mode, seed):
    """Posterior states and actions before exploration noise.

    Args:
      obs: dict of tensors [M, ...] as environments give them.
      state: dict of `latent` and `action` [M, A] of the previous call.
      is_first: bool [M]; what it marks starts from zeros.
      mode: eval, `evaluation` or the phase.
      seed: int32 [2], or None for zero noise.
    Returns:
      (action float32 [M, A], latent).
    """
    embed = self.world_model.encoder(self.world_model.preprocess(obs, seed))
    seeds = dists.split_seed(seed, 3)
    filter_seed = seeds[0]
    if mode in ('eval', self.evaluation) and self.config.eval_state_mean:
      filter_seed = None
    latent, _ = self.world_model.rssm.obs_step(
        state['latent'], state['action'], embed, filter_seed, is_first)
    return self.act(latent, mode, seeds[1]), latent


def _call(function, batch):
  """Call a graph function with a dict of numpy arrays; numpy arrays return."""
  outputs = function({key: tf.convert_to_tensor(value) for key, value in batch.items()})
  return {key: value.numpy() for key, value in outputs.items()}
