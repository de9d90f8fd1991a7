"""Runs that take a moment: the real loop around an agent that computes next to nothing."""
import gc
import json
import os
import pathlib
import signal
import sys

# As in every command, see common.config.command; here before TensorFlow's modules come.
gc.set_threshold(50_000, 20, 50)
import common  # noqa: it decides how TensorFlow is loaded, so it comes before
import numpy as np
import tensorflow as tf

from common import agent
from common import config as config_lib
from common.data import replay
from common.loop import checkpoint
from common.loop import start as run_start
from common.model import optimizer
from common.scores import figures

# Episodes of 20 frames, which are 10 decisions; prefill 40, then a burst of 3 updates every 20
# frames, evaluation and checkpoint every 40, the end at 120. As small as a Dreamer gets.
BASE = [
    '--configs', 'debug', '--task', 'dummy_continuous_vector', '--cnn_keys=', '--mlp_keys', '.*',
    '--time_limit', 20, '--prefill', 40, '--steps', 120, '--train_every', 20, '--eval_every', 40,
    '--deter_size', 4, '--stoch_size', 2, '--num_units', 4, '--mlp_layers', 1, '--mlp_units', 4,
    '--reward_layers', 0,
    '--batch_size', 2, '--batch_length', 5, '--horizon', 3]


class Toy(agent.Agent):
  """An agent with one weight vector, whose every update and action leaves a trace in it.

  The loss pulls the weights to the mean of the batch, off by a random draw. So two runs end with
  the same weights only if batches, order, random state and Adam moments were the same.
  """

  def build(self):
    """Make the weights."""
    self.weights = tf.Variable(tf.zeros([self.action_size]))
    self.optimizer = optimizer.Optimizer([self.weights], 1e-2, loss_scale=True)

  def gradients(self, data, seed, phase='train', frames=0):
    """Gradient of the distance to the batch; NaN if a reward is."""
    noise = tf.random.stateless_normal(self.weights.shape, seed)
    with tf.GradientTape() as tape:
      target = tf.reduce_mean(data['reward']) + tf.reduce_mean(data['vector']) + noise
      loss = tf.reduce_sum((self.weights - target) ** 2)
      scaled = self.optimizer.scale_loss(loss)
    return {'model': tape.gradient(scaled, [self.weights])}, {'model_loss': loss}

  def apply(self, grads):
    """Update the weights."""
    return {'model_grad_norm': self.optimizer.apply(grads['model'])}

  def act(self, latent, mode, seed):
    """The weights, squashed, or the class of the largest, whatever is felt."""
    action = tf.tanh(self.weights)
    if self.config.action_dist == 'onehot':
      action = tf.one_hot(tf.argmax(self.weights), self.action_size)
    return tf.tile(action[None], [tf.nest.flatten(latent)[0].shape[0], 1])

  def filter_and_act(self, obs, state, is_first, mode, seed):
    """As act, without filtering what is seen."""
    return self.act(state['latent'], mode, seed), state['latent']

  def optimizers(self):
    """The only one."""
    return {'model': self.optimizer}


def config(path, *flags):
  """The configuration of a short run with its directory at `path`."""
  argv = [*BASE, '--logdir', path, *flags]
  return config_lib.load('dreamer', [str(arg) for arg in argv])


def start(path, *flags):
  """Run, or continue, in this process."""
  run_start.start(config(path, *flags))


def rows(path, name=None, timeless=False):
  """Rows of the metrics, of those that have `name`; timeless: without what clocks say."""
  found = [json.loads(line) for line in (path / 'metrics.jsonl').read_text().splitlines()]
  found = [row for row in found if name is None or name in row]
  if timeless:
    clocks = ('time', 'fps', 'time/env', 'time/policy', 'time/train', 'time/data')
    found = [{k: v for k, v in row.items() if k not in clocks} for row in found]
  return found


def checkpoints(path, first):
  """Those of a run from the one with a number on; older ones are removed when newer ones come."""
  return [x for x in path.glob('checkpoint/ckpt-*.index') if checkpoint._number(x) >= first]


def write_at_once(patch):
  """Let every episode be on disk before the next step; `patch` is as monkeypatch.setattr."""
  begin = replay.Replay.begin
  def function(*args):
    begun = begin(*args)
    begun.written.result()
    return begun
  patch(replay.Replay, 'begin', function)


def episodes(path):
  """Sorted (k, e, rows) of the stored episodes; a kill may leave one that was half written."""
  names = [file.stem for file in (pathlib.Path(path) / 'episodes').glob('[0-9]*.npz')]
  return sorted(tuple(map(int, name.split('-'))) for name in names)


def saved(path):
  """What the newest checkpoint holds, by name, but for the number of checkpoints before."""
  reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(str(path / 'checkpoint')))
  names = reader.get_variable_to_shape_map()
  return {
      name: reader.get_tensor(name) for name in names
      if not name.startswith(('_CHECKPOINTABLE_OBJECT_GRAPH', 'save_counter'))}


def same(one, two):
  """Whether two dicts of arrays agree to the last bit; names the first that does not."""
  assert one.keys() == two.keys(), one.keys() ^ two.keys()
  for name in one:
    assert np.array_equal(one[name], two[name]), (name, one[name], two[name])
  return True


class Kill(BaseException):
  """Ends a run in this process where SIGKILL would: nothing is saved, nothing is closed."""


def kill_at(monkeypatch, owner, name, count, error=Kill, after=False):
  """Let the call number `count` of a function fail, before or after its work is done."""
  original, calls = getattr(owner, name), [0]
  def function(*args, **kwargs):
    calls[0] += 1
    if calls[0] == count and not after:
      raise error
    result = original(*args, **kwargs)
    if calls[0] == count:
      raise error
    return result
  monkeypatch.setattr(owner, name, function)


def signal_at(monkeypatch, owner, name, count, number=signal.SIGINT):
  """Send this process a signal during call number `count` of a function."""
  original, calls = getattr(owner, name), [0]
  def function(*args, **kwargs):
    calls[0] += 1
    if calls[0] == count:
      os.kill(os.getpid(), number)
    return original(*args, **kwargs)
  monkeypatch.setattr(owner, name, function)


def use_toy(setter=setattr, curve=False):
  """Let runs use the toy instead of the agent that their command names.

  curve: they draw curve.png, too, which takes almost as long as all else that they do.
  """
  setter(checkpoint, 'agent_class', lambda name: Toy)
  if not curve:
    setter(figures, 'write_curve', lambda logdir, path, config: False)


@config_lib.entry
def main(argv=None):
  """Entry point of the tests that need a process of their own: python loops.py DIR FLAGS."""
  argv = sys.argv[1:] if argv is None else argv
  use_toy()
  start(pathlib.Path(argv[0]), *argv[1:])


if __name__ == '__main__':
  main()
