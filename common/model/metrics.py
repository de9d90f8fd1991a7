"""Metrics of an update as one tensor, which leaves the device in one piece and only when asked."""
import collections.abc
import functools

import tensorflow as tf


class Metrics(collections.abc.Mapping):
  """Mapping of names to numbers that may still be computed.

  Attributes:
    names: tuple of str.
    vector: float32 tensor [names].
  """

  def __init__(self, names, vector):
    self.names, self.vector = names, vector
    self._index = {name: i for i, name in enumerate(names)}

  def __getitem__(self, name):
    return self._fetched[self._index[name]]

  def __iter__(self):
    return iter(self.names)

  def __len__(self):
    return len(self.names)

  @functools.cached_property
  def _fetched(self):
    return self.vector.numpy()


def pack(metrics):
  """Return (names, float32 vector) of a dict of scalar tensors."""
  return tuple(metrics), tf.stack([tf.cast(value, tf.float32) for value in metrics.values()])


def fetch(updates):
  """Return float32 numpy [updates, names] of several Metrics with the same names."""
  return tf.stack([metrics.vector for metrics in updates]).numpy()
