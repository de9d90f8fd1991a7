"""An ensemble of one-step predictors, and rewards for what its members disagree about.

K members, B batch, T time, R rows, N any leading dimensions, I input, A action, D target.
Plan2Explore paper, section 3. All members are one network with a further axis, so that they
learn and predict in one matrix product a layer. Always float32: spreads of 1e-4 have a variance
that float16 does not know. (GPUs from Ampere on round what float32 products read to TF32.)
"""

import math

import tensorflow as tf
import tensorflow_probability as tfp

from common.model import nets

MIN_STD = 0.01


class Ensemble(tf.Module):
  """K multilayer perceptrons that differ by their initial weights.

    x0 = [input, a];  x1 = [act(W1 x0), a];  ...;  mean = W x
    std = softplus(V x + log(e - 1)) + 0.01                       (only with learned_std)

  Without action_skip the action is part of the first layer's input alone.
  """

  def __init__(
      self, inputs, action_size, targets, members=5, layers=2, units=1024, act='relu',
      action_skip=True, learned_std=False):
    """action_size: 0 for members that are told no action."""
    super().__init__()
    self._act, self._skip = nets.activation(act), action_skip
    self.hidden = []
    extra = action_size
    for _ in range(layers):
      self.hidden.append(Linear(members, inputs + extra, units))
      inputs, extra = units, action_size if action_skip else 0
    self.mean = Linear(members, inputs + extra, targets)
    self.std = Linear(members, inputs + extra, targets) if learned_std else None

  def __call__(self, inputs, action=None):
    """What every member expects.

    Args:
      inputs: float [N..., I], the same for all members.
      action: float [N..., A], or None if members are told none.
    Returns:
      (mean, std): float32 [K, N..., D]; std is None unless it is learned.
    """
    lead = tf.shape(inputs)[:-1]
    rows = lambda x: None if x is None else tf.reshape(x, [-1, x.shape[-1]])
    unfold = lambda x: None if x is None else tf.reshape(
        x, tf.concat([tf.shape(x)[:1], lead, tf.shape(x)[-1:]], 0))
    mean, std = self.predict(rows(inputs), rows(action))
    return unfold(mean), unfold(std)

  def predict(self, inputs, action=None):
    """The same for rows [R, I] that all members share, or [K, R, I] with rows for each."""
    x = tf.cast(inputs, tf.float32)
    extra = () if action is None else (tf.cast(action, tf.float32),)
    for layer in self.hidden:
      x = self._act(layer(x, *extra))
      extra = extra if self._skip else ()
    mean = self.mean(x, *extra)
    if self.std is None:
      return mean, None
    return mean, tf.nn.softplus(self.std(x, *extra) + math.log(math.e - 1)) + MIN_STD


class Linear(tf.Module):
  """K linear layers side by side, Glorot uniform kernels [K, I, O] and zero biases [K, 1, O]."""

  def __init__(self, members, inputs, units):
    super().__init__()
    limit = math.sqrt(6 / (inputs + units))
    draw = tf.random.uniform([members, inputs, units], -limit, limit)
    self.kernel = tf.Variable(draw, name='kernel')
    self.bias = tf.Variable(tf.zeros([members, 1, units]), name='bias')

  def __call__(self, x, extra=None):
    """float32 [R, I] or [K, R, I] to [K, R, O]; the columns of `extra` come after those of x."""
    columns = x.shape[-1]
    y = tf.matmul(_spread(x), self.kernel[:, :columns]) + self.bias
    if extra is None:
      return y
    return y + tf.matmul(_spread(extra), self.kernel[:, columns:])


def loss(ensemble, inputs, action, target, kind='mse_mean', rows=None, mask=None):
  """Sum over the members of their mean loss on a batch.

    mse_mean:     mean over D of (mean - target)^2
    nll_unit:     -log Normal(target; mean, 1), summed over D
    nll_learned:  -log Normal(target; mean, std), summed over D

  Args:
    ensemble: Ensemble.
    inputs, action, target: float [B, T, ...] without gradient; action may be None.
    kind: as above.
    rows: int32 [K, B], the sequences on which each member learns; None is all of them.
    mask: bool [B, T], False where a pair does not count; None is nowhere.
  Returns:
    (loss float32, losses float32 [K]).
  """
  target = tf.cast(target, tf.float32)
  weight = tf.ones(tf.shape(target)[:2]) if mask is None else tf.cast(mask, tf.float32)
  pick = lambda x: _pick(x, rows)
  mean, std = ensemble.predict(pick(inputs), pick(action))
  target, weight = pick(target), pick(weight[..., None])[..., 0]           # [K or 1, R, ...]
  if kind == 'mse_mean':
    errors = tf.reduce_mean((mean - target) ** 2, -1)
  else:
    std = std if kind == 'nll_learned' else tf.ones((), mean.dtype)
    errors = -tfp.distributions.Independent(
        tfp.distributions.Normal(mean, std), 1).log_prob(target)
  # [K, R]; all pairs may be masked in an odd batch.
  total = tf.reduce_sum(tf.ones_like(errors) * weight, -1)
  losses = tf.reduce_sum(errors * weight, -1) / tf.maximum(total, 1.0)
  return tf.reduce_sum(losses), losses


def pairs(source, offset, inputs, target, action, is_first=None):
  """Which input is to predict which target.

    offset 0:        (input[t], a[t])     -> target[t]
    offset 1, next:  (input[t], a[t + 1]) -> target[t + 1]
    offset 1, past:  (input[t], a[t])     -> target[t + 1]
  a[t] led to row t.

  Args:
    source: next | past | none: the action that members are told.
    offset: rows between input and target.
    inputs: float [B, T, I].
    target: float [B, T, D].
    action: float [B, T, A].
    is_first: bool [B, T], rows that begin an episode, which nothing before them can predict.
  Returns:
    (inputs, action or None, target, mask bool or None), all [B, T - offset, ...].
  """
  end = inputs.shape[1] - offset
  told = {'next': action[:, offset:], 'past': action[:, :end], 'none': None}[source]
  mask = None if is_first is None else ~is_first[:, offset:]
  return inputs[:, :end], told, target[:, offset:], mask


def bootstrap(members, batch, seed):
  """Sequences int32 [K, B] drawn with replacement, for each member its own."""
  return tf.random.stateless_uniform([members, batch], seed, 0, batch, tf.int32)


def disagreement(mean, reduce='var', ddof=0):
  """Spread of the members' predictions, averaged over D (paper, section 3.1).

  Args:
    mean: float32 [K, N..., D].
    reduce: var | std.
    ddof: 0 divides by K, 1 by K - 1.
  Returns:
    float32 [N...]; exactly 0 where all members agree, and for K = 1.
  """
  members = mean.shape[0]
  if members == 1:
    return tf.zeros(tf.shape(mean)[1:-1])
  # Beside the first member, as the mean of equal numbers is not always that number.
  var = tf.math.reduce_variance(mean - mean[:1], 0) * (members / (members - ddof))
  if reduce == 'std':
    # The slope of the root is infinite at 0.
    safe = tf.where(var > 0, var, 1.0)
    var = tf.where(var > 0, tf.sqrt(safe), 0.0)
  return tf.reduce_mean(var, -1)


def jensen_renyi(mean, std):
  """Jensen-Renyi divergence of order 2 of the members' Gaussians (paper, section 3.2).

    -log mean over i, j of exp(Q_ij) - mean over i of 1/2 sum_d log s_id - D/2 log 2
    Q_ij = -1/2 sum_d ((m_id - m_jd)^2 / (s_id + s_jd) + log(s_id + s_jd)),  s = std^2

  Args:
    mean, std: float32 [K, N..., D].
  Returns:
    float32 [N...]; exactly 0 for equal members, log K for those of equal variance far apart.
  """
  members, var = mean.shape[0], std ** 2
  # The second and third term go into the sum over d, beside the first member: what is equal
  # cancels there, and not as sums of hundreds.
  relative = tf.math.log(var) - tf.math.log(var[:1])
  own = tf.math.log(var[0]) + tf.reduce_mean(relative, 0)                   # [N..., D]
  scores = []
  for i in range(members):
    for j in range(i, members):
      half = (var[i] + var[j]) / 2
      score = -0.5 * tf.reduce_sum(
          (mean[i] - mean[j]) ** 2 / (2 * half) + tf.math.log(half) - own, -1)
      scores += [score] if i == j else [score, score]
  scores = tf.stack(scores)
  most = tf.stop_gradient(tf.reduce_max(scores, 0))
  return -most - tf.math.log(tf.reduce_mean(tf.exp(scores - most), 0))


def _spread(x):
  """[R, I] with an axis for the members in front, which a product broadcasts."""
  return x if x.shape.rank == 3 else x[None]


def _pick(x, rows):
  """[B, T, I] as [K, R, I] for rows [K, B], or as [1, R, I] for None; None stays."""
  if x is None:
    return None
  if rows is None:
    return tf.reshape(x, [1, -1, x.shape[-1]])
  return tf.reshape(tf.gather(x, rows), [tf.shape(rows)[0], -1, x.shape[-1]])
