"""The optimiser: clipping, decay, skipped updates, loss scale."""
import numpy as np
import pytest
import tensorflow as tf

from common.model.optimizer import Optimizer

import toys


def moments(opt):
  return [
      opt.adam.get_slot(var, slot).numpy() for var in opt.variables_ for slot in ('m', 'v')]


def test_gradients_are_clipped_by_their_global_norm_which_is_returned_unclipped():
  variables = [tf.Variable([0.0]), tf.Variable([0.0])]
  opt = Optimizer(variables, 1e-3, clip=100.0)
  norm = opt.apply([tf.constant([600.0]), tf.constant([800.0])])
  np.testing.assert_allclose(norm, 1000, rtol=1e-6)
  first = [float(opt.adam.get_slot(var, 'm')[0]) / 0.1 for var in variables]
  np.testing.assert_allclose(first, [60, 80], rtol=1e-5)


def test_small_gradients_are_left_alone_and_an_update_is_that_of_adam():
  var = tf.Variable([1.0, 2.0])
  opt = Optimizer([var], 0.1, eps=1e-3)
  m, v, expected = 0.0, 0.0, np.array([1.0, 2.0])
  for t, grad in enumerate([np.array([0.5, -2.0]), np.array([-0.1, 1.0])], 1):
    opt.apply([tf.constant(grad, tf.float32)])
    m, v = 0.9 * m + 0.1 * grad, 0.999 * v + 0.001 * grad ** 2
    rate = 0.1 * np.sqrt(1 - 0.999 ** t) / (1 - 0.9 ** t)
    expected = expected - rate * m / (np.sqrt(v) + 1e-3)
    np.testing.assert_allclose(var, expected, rtol=1e-5)


@pytest.mark.parametrize('pattern, share', [('.*', [0.9, 0.9]), ('kernel', [0.9, 1.0])])
def test_weight_decay_shrinks_the_variables_that_match(pattern, share):
  variables = [tf.Variable([2.0], name='kernel'), tf.Variable([2.0], name='bias')]
  opt = Optimizer(variables, 1e-3, decay=0.1, decay_pattern=pattern)
  opt.apply([tf.zeros(1), tf.zeros(1)])
  np.testing.assert_allclose(np.ravel(variables), 2 * np.array(share), rtol=1e-6)


def test_weight_decay_finds_parts_of_the_model_by_name():
  agent = toys.agent(weight_decay=0.01, weight_decay_pattern='^rssm/')
  wm = agent.world_model
  before = toys.values(wm.optimizer.variables_)
  wm.optimizer.apply([tf.zeros_like(var) for var in wm.optimizer.variables_])
  rssm = {var.ref() for var in wm.rssm.trainable_variables}
  for old, new in zip(before, wm.optimizer.variables_):
    np.testing.assert_allclose(new, old * (0.99 if new.ref() in rssm else 1.0), rtol=1e-6)


def test_weight_decay_of_the_configuration_reaches_the_weights():
  agent = toys.agent(weight_decay=0.01)
  opt = agent.behaviour.value_optimizer
  before = toys.values(opt.variables_)
  opt.apply([tf.zeros_like(var) for var in opt.variables_])
  for old, new in zip(before, opt.variables_):
    np.testing.assert_allclose(new, 0.99 * old, rtol=1e-6)


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_an_update_with_a_bad_gradient_is_skipped_and_counted_while_others_go_on(bad):
  agent = toys.agent(weight_decay=0.01)
  opts = agent.optimizers()
  ones = lambda opt: [tf.ones_like(var) for var in opt.variables_]
  agent.apply({name: ones(opt) for name, opt in opts.items()})
  grads = {name: ones(opt) for name, opt in opts.items()}
  grads['model'][3] = grads['model'][3] * bad
  before = {name: (toys.values(opt.variables_), moments(opt)) for name, opt in opts.items()}
  for count in (1, 2):
    norms = agent.apply(grads)
    assert not np.isfinite(norms['model_grad_norm']) and np.isfinite(norms['actor_grad_norm'])
    assert int(opts['model'].skipped) == count == agent.skipped
  assert int(opts['model'].adam.iterations) == 1
  for old, new in zip(before['model'][1], moments(opts['model'])):
    np.testing.assert_array_equal(old, new)
  assert not any(toys.changed(before['model'][0], opts['model'].variables_))
  for name in ('actor', 'value'):
    assert all(toys.changed(before[name][0], opts[name].variables_))
    assert int(opts[name].adam.iterations) == 3 and int(opts[name].skipped) == 0
  grads['model'] = ones(opts['model'])
  agent.apply(grads)
  assert agent.skipped == 0


def scale(opt):
  return float(opt.scale_loss(tf.constant(1.0)))


def test_loss_scale_halves_on_a_bad_gradient_and_skips():
  var = tf.Variable([1.0])
  opt = Optimizer([var], 1e-3, loss_scale=True)
  assert float(opt._scale) == 2 ** 15
  opt.apply([tf.constant([np.inf])])
  assert scale(opt) == 2 ** 14 and float(var[0]) == 1
  opt.apply([tf.constant([np.nan])])
  assert scale(opt) == 2 ** 13 and int(opt.skipped) == 2


def test_loss_scale_doubles_after_two_thousand_finite_updates_in_a_row():
  var = tf.Variable([1.0])
  opt = Optimizer([var], 1e-3, loss_scale=True)
  apply = tf.function(opt.apply, autograph=False)
  good, bad = [tf.constant([1.0])], [tf.constant([np.inf])]
  for _ in range(1500):
    apply(good)
  apply(bad)                                # starts the count again
  for _ in range(1999):
    apply(good)
  assert scale(opt) == 2 ** 14
  apply(good)
  assert float(opt._scale) == 2 ** 15
  for _ in range(10):
    apply(good)
  assert float(opt._scale) == 2 ** 15


def test_loss_scale_never_falls_below_one():
  opt = Optimizer([tf.Variable([1.0])], 1e-3, loss_scale=True)
  for _ in range(20):
    opt.apply([tf.constant([np.inf])])
  assert scale(opt) == 1


def test_loss_scale_never_becomes_infinite():
  opt = Optimizer([tf.Variable([1.0])], 1e-3, loss_scale=True)
  opt._scale.assign(2.0 ** 30)
  opt._finite.assign(opt.GROW_AFTER - 1)
  opt.apply([tf.constant([1.0])])
  assert scale(opt) == 2 ** 30 and int(opt._finite) == 0


def test_no_variable_is_int32_which_xla_on_a_gpu_cannot_reach():
  agent = toys.agent()
  found = list(agent.variables)
  for opt in agent.optimizers().values():
    found += opt.adam.variables()
  assert {var.dtype for var in found} == {tf.float32, tf.int64}


def test_scaled_gradients_are_unscaled_before_norm_and_update():
  plain, scaled = tf.Variable([1.0]), tf.Variable([1.0])
  norms = []
  for var, opt in ((plain, Optimizer([plain], 0.1)),
                   (scaled, Optimizer([scaled], 0.1, loss_scale=True))):
    for _ in range(3):
      with tf.GradientTape() as tape:
        loss = opt.scale_loss(tf.reduce_sum(var ** 2))
      norms.append(float(opt.apply(tape.gradient(loss, [var]))))
  np.testing.assert_allclose(norms[:3], norms[3:], rtol=1e-6)
  np.testing.assert_allclose(plain, scaled, rtol=1e-6)


def test_float32_has_no_loss_scale():
  opt = Optimizer([tf.Variable([1.0])], 1e-3)
  assert float(opt.scale_loss(tf.constant(3.0))) == 3
  # A run in float32 that is continued in float16 begins with the usual scale.
  assert float(opt._scale) == 2 ** 15
  assert scale(toys.agent().world_model.optimizer) == 1
