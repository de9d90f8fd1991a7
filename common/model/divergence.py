"""How far the prior is from the posterior, as the world model's objective counts it.

B batch, T time. Dreamer paper, section 4; DreamerV2 paper, algorithm 2 (balance).
"""

import contextlib
import threading

import tensorflow as tf


def loss(model, post, prior, free, mode='mean', balance=0.5, forward=False):
  """The divergence between two states, beyond what is free.

    balance 0.5   F(KL(post || prior))
    other         (1 - balance) F(KL(post || sg(prior))) + balance F(KL(sg(post) || prior))

  with F of `free_nats` and sg for no gradient: a balance above 0.5 moves the prior to the
  posterior more than the reverse. forward exchanges post and prior in KL, not the weights.

  Args:
    model: gives kl(post, prior).
    post, prior: states [B, T, ...].
    free, mode: see free_nats.
    balance: share of the prior, 0 to 1.
    forward: KL(prior || post).
  Returns:
    (loss, kl): float32 scalar and the KL [B, T] in nats.
  """
  left, right = (prior, post) if forward else (post, prior)
  if balance == 0.5:
    kl = model.kl(left, right)
    return free_nats(kl, free, mode), kl
  stop = lambda state: tf.nest.map_structure(tf.stop_gradient, state)
  kl = model.kl(left, stop(right))
  share = balance if forward else 1 - balance
  return (
      share * free_nats(kl, free, mode)
      + (1 - share) * free_nats(model.kl(stop(left), right), free, mode)), kl


def free_nats(kl, free, mode):
  """Divergence float32 scalar beyond what is free, of a KL [B, T] in nats.

    mean:    max(mean KL, free)                 (Dreamer, DreamerV2)
    element: mean max(0, KL - free)             (PlaNet)
    floor:   mean max(KL, free)                 (DreamerV2 with free_avg off, or balance 0.5)
  """
  if mode == 'element':
    return tf.reduce_mean(tf.nn.relu(kl - free))
  if mode == 'floor':
    return tf.reduce_mean(tf.maximum(kl, free))
  # The floor is under the mean of the whole batch, so replicas agree on it.
  mean = tf.reduce_mean(kl)
  held = replica_mean(mean) < free
  return tf.where(held, free, mean)


_means = threading.local()


@contextlib.contextmanager
def means_of_shares():
  """Within, each device goes by the mean of its own share; yields the list of these means.

  What XLA compiles cannot wait for another device. So the graph is built twice: the first time for
  these means alone, which are then averaged, the second time with `means_known`.
  """
  _means.found = []
  try:
    yield _means.found
  finally:
    del _means.found


@contextlib.contextmanager
def means_known(means):
  """Within, these are the means over all devices, in the order in which they are asked for."""
  _means.known = list(means)
  try:
    yield
    assert not _means.known
  finally:
    del _means.known


def replica_mean(x):
  """Mean of `x` over the devices that share a batch, through which no gradient may be asked for."""
  if hasattr(_means, 'found'):
    _means.found.append(x)
    return x
  if hasattr(_means, 'known'):
    return _means.known.pop(0)
  context = tf.distribute.get_replica_context()
  if context is None or context.num_replicas_in_sync == 1:
    return x
  return context.all_reduce(tf.distribute.ReduceOp.MEAN, x)
