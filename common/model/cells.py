"""Recurrent cells: Keras' own, the block cell of PlaNet, the layer-normed one of DreamerV2."""

import tensorflow as tf
import tf_keras

from common.model import nets


def make(kind, inputs, units):
  """A built cell, called as cell(x [B, inputs], [h [B, units]]) -> (h, [h]).

  Args:
    kind: keras (reset after the matrix product; Dreamer), block (before; PlaNet) or norm
      (layer-normed; DreamerV2).
    inputs, units: sizes.
  """
  cells = {'keras': tf_keras.layers.GRUCell, 'block': BlockGRUCell, 'norm': NormGRUCell}
  cell = cells[kind](units)
  cell.build([None, inputs])
  return cell


class BlockGRUCell(tf_keras.layers.Layer):
  """GRU whose reset gate acts before the matrix product (PlaNet's published code).

    r, u = sigmoid(concat(x, h) w_ru + b_ru);  c = tanh(concat(x, r h) w_c + b_c)
    h' = u h + (1 - u) c

  Kernels begin Glorot-uniform over the concatenation, b_ru at one, b_c at zero.
  """

  def __init__(self, units):
    super().__init__()
    self.units = units

  def build(self, input_shape):
    """Make w_ru [I + U, 2U], b_ru, w_c [I + U, U] and b_c."""
    rows = input_shape[-1] + self.units
    self.w_ru = self.add_weight('w_ru', [rows, 2 * self.units], initializer='glorot_uniform')
    self.b_ru = self.add_weight('b_ru', [2 * self.units], initializer='ones')
    self.w_c = self.add_weight('w_c', [rows, self.units], initializer='glorot_uniform')
    self.b_c = self.add_weight('b_c', [self.units], initializer='zeros')
    super().build(input_shape)

  def call(self, x, states):
    """x [B, I] and [h [B, U]] to (h', [h'])."""
    h = states[0]
    gates = tf.matmul(tf.concat([x, h], -1), self.w_ru) + self.b_ru
    reset, update = tf.split(tf.sigmoid(gates), 2, -1)
    candidate = tf.tanh(tf.matmul(tf.concat([x, reset * h], -1), self.w_c) + self.b_c)
    h = update * h + (1 - update) * candidate
    return h, [h]


class NormGRUCell(tf_keras.layers.Layer):
  """GRU with one layer norm over all gates (DreamerV2's published code).

    r, c, u = split(norm(dense(concat(x, h))));  g = sigmoid(u + update_bias)
    h' = g act(sigmoid(r) c) + (1 - g) h
  """

  def __init__(self, units, norm='layer', act='tanh', update_bias=-1.0):
    super().__init__()
    self.units = units
    self._norm, self._act = norm, nets.activation(act)
    self._update_bias = update_bias

  def build(self, input_shape):
    """Make the dense layer from I + U to 3U columns, and its norm."""
    self.gates = nets.dense(input_shape[-1] + self.units, 3 * self.units, norm=self._norm)
    super().build(input_shape)

  def call(self, x, states):
    """x [B, I] and [h [B, U]] to (h', [h'])."""
    h = states[0]
    reset, candidate, update = tf.split(self.gates(tf.concat([x, h], -1)), 3, -1)
    candidate = self._act(tf.sigmoid(reset) * candidate)
    update = tf.sigmoid(update + self._update_bias)
    h = update * candidate + (1 - update) * h
    return h, [h]
