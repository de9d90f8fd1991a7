"""Distributions of the world model and the actor, built from TFP's.

Sampling everywhere takes `seed`, an int32 [2] stateless seed, or None for the
zero-noise centre of the distribution: the mean of a Gaussian, tanh of the mean
of a tanh-normal, the largest logit of a categorical. Seeds make compiled steps
repeatable; the centre makes them comparable with recorded numbers.
"""

import math
import zlib

import tensorflow as tf
import tensorflow_probability as tfp

tfd = tfp.distributions
tfb = tfp.bijectors

HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


def split_seed(seed, n):
  """Split int32 [2] `seed` into int32 [n, 2]; None into a list of n Nones."""
  if seed is None:
    return [None] * n
  return tf.random.split(seed, n)


def fold_seed(seed, name):
  """A seed int32 [2] for one purpose, from one that others use; None stays."""
  if seed is None:
    return None
  return tf.random.experimental.stateless_fold_in(seed, zlib.crc32(name.encode()) % 2 ** 31)


def normal(mean, event_ndims=0):
  """Unit-variance Normal around float [..., *event] `mean`."""
  return UnitNormal(mean, event_ndims)


class UnitNormal:
  """Unit-variance Normal whose log-probability visits each entry of an event as seldom as it can.

  Events may be pictures. Through TFP's own density (`tfp` is that distribution) the gradient would
  take twice the time.
  """

  def __init__(self, mean, event_ndims=0):
    """mean: float [..., *event]."""
    self._mean, self._event_ndims = mean, event_ndims

  @property
  def tfp(self):
    """The same as a distribution of TFP."""
    return tfd.Independent(
        tfd.Normal(self._mean, tf.ones((), self._mean.dtype)), self._event_ndims)

  def mean(self):
    """Float [..., *event]."""
    return self._mean

  mode = mean

  def log_prob(self, value):
    """Log-density [...] of float [..., *event]. Raises ValueError if that is not the shape."""
    self._mean.shape.assert_is_compatible_with(value.shape)
    axes = list(range(self._mean.shape.rank - self._event_ndims, self._mean.shape.rank))
    size = math.prod(self._mean.shape[axis] for axis in axes)
    return -_half_squares(value, self._mean, axes) - size * HALF_LOG_TAU

  def __getitem__(self, index):
    return UnitNormal(self._mean[index], self._event_ndims)


def _half_squares(value, mean, axes):
  """Half the sum of squared differences over some axes, the last ones."""
  @tf.custom_gradient
  def half_squares(value, mean):
    difference = value - mean
    def grad(upstream):
      for _ in axes:
        upstream = upstream[..., None]
      return upstream * difference, -upstream * difference
    return 0.5 * tf.reduce_sum(tf.square(difference), axes), grad
  return half_squares(value, mean)


def binary(logits, event_ndims=0):
  """Bernoulli around float [..., *event] `logits`; log_prob takes soft labels."""
  return tfd.Independent(tfd.Bernoulli(logits=logits, dtype=tf.int32), event_ndims)


def gaussian(mean, std):
  """Diagonal Gaussian of mean and std [..., S], event rank 1."""
  return tfd.MultivariateNormalDiag(mean, std)


def sample_gaussian(mean, std, seed, shared=False):
  """Reparameterised sample [..., S] of Normal(mean, std).

  With `shared` one noise vector [S] serves the whole batch, as in the published
  code. seed None returns the mean.
  """
  if seed is None:
    return mean
  shape = tf.shape(mean)[-1:] if shared else tf.shape(mean)
  noise = tf.random.stateless_normal(shape, seed, dtype=mean.dtype)
  return mean + std * noise


class TanhBijector(tfb.Bijector):
  """y = tanh(x), with an inverse that is finite at the bounds."""

  def __init__(self):
    parameters = dict(locals())
    super().__init__(
        forward_min_event_ndims=0, name='tanh_clipped', parameters=parameters)

  def _forward(self, x):
    return tf.tanh(x)

  def _inverse(self, y):
    dtype = y.dtype
    y = tf.cast(y, tf.float32)
    y = tf.where(
        tf.abs(y) <= 1., tf.clip_by_value(y, -0.99999997, 0.99999997), y)
    return tf.cast(tf.atanh(y), dtype)

  def _forward_log_det_jacobian(self, x):
    log2 = tf.math.log(tf.constant(2., x.dtype))
    return 2. * (log2 - x - tf.nn.softplus(-2. * x))


class TanhNormal:
  """Continuous actor: tanh of a Normal, event rank 1 (Dreamer paper, section 3).

    mean = mean_scale tanh(m / mean_scale)
    std  = softplus(s + log(exp(init_std) - 1)) + min_std

  The mean, mode and entropy have no closed form and are estimated from samples.
  """

  SAMPLES = 100

  def __init__(self, mean, std):
    """`mean` and `std` float [..., A] are those of the Normal under the tanh."""
    self.normal_mean = mean
    self.normal_std = std
    self._dist = tfd.Independent(tfd.TransformedDistribution(
        tfd.Normal(mean, std), TanhBijector()), 1)

  @classmethod
  def from_params(cls, params, init_std, min_std, mean_scale):
    """Build from the network's output float [..., 2A]: raw mean, raw std."""
    mean, std = tf.split(params, 2, -1)
    raw_init_std = tf.math.log(tf.math.exp(init_std) - 1.)
    mean = mean_scale * tf.tanh(mean / mean_scale)
    std = tf.nn.softplus(std + raw_init_std) + min_std
    return cls(mean, std)

  @classmethod
  def from_params_v2(cls, params, init_std, min_std, mean_scale):
    """As DreamerV2: std = softplus(s + init_std) + min_std."""
    mean, std = tf.split(params, 2, -1)
    return cls(mean_scale * tf.tanh(mean / mean_scale), tf.nn.softplus(std + init_std) + min_std)

  def sample(self, seed):
    """One reparameterised action [..., A] in [-1, 1]."""
    return tf.tanh(sample_gaussian(self.normal_mean, self.normal_std, seed))

  def sample_with_entropy(self, seed):
    """(action [..., A], minus its log-density [...]), both reparameterised."""
    raw = sample_gaussian(self.normal_mean, self.normal_std, seed)
    return tf.tanh(raw), -self._log_prob_of_raw(raw)

  def log_prob(self, action):
    """Log-density [...] of float [..., A] actions."""
    return self._dist.log_prob(action)

  def mode(self, seed):
    """The most likely of SAMPLES samples, for each batch element [..., A]."""
    if seed is None:
      return self.sample(None)
    actions, log_probs = self._sample_many(seed)
    best = tf.one_hot(
        tf.argmax(log_probs, 0), self.SAMPLES, axis=0, dtype=actions.dtype)
    return tf.reduce_sum(actions * best[..., None], 0)

  def mean(self, seed):
    """Average of SAMPLES samples [..., A]."""
    return tf.reduce_mean(self._sample_many(seed)[0], 0)

  def entropy(self, seed):
    """Minus the average log-density of SAMPLES samples [...]."""
    return -tf.reduce_mean(self._sample_many(seed)[1], 0)

  def _sample_many(self, seed):
    shape = tf.concat([[self.SAMPLES], tf.shape(self.normal_mean)], 0)
    noise = tf.random.stateless_normal(shape, seed, dtype=self.normal_mean.dtype)
    raw = self.normal_mean + self.normal_std * noise
    return tf.tanh(raw), self._log_prob_of_raw(raw)

  def _log_prob_of_raw(self, raw):
    # The density of a sample follows from what was squashed, without the
    # inverse, which would lose precision where the tanh saturates.
    normal = tfd.Normal(self.normal_mean, self.normal_std)
    jacobian = TanhBijector().forward_log_det_jacobian(raw, event_ndims=0)
    return tf.reduce_sum(normal.log_prob(raw) - jacobian, -1)


class TruncNormal:
  """Continuous actor of DreamerV2: a Normal cut off at the bounds.

    mean = tanh(m);  std = 2 sigmoid((s + init_std) / 2) + min_std;  cut to [-1, 1]
  """

  INSIDE = 1 - 1e-6  # samples stay this far within the bounds, where the density is finite

  def __init__(self, mean, std):
    """`mean` and `std` float [..., A] are those of the Normal before it is cut."""
    self.normal_mean, self.normal_std = mean, std
    self._dist = tfd.TruncatedNormal(mean, std, -1.0, 1.0)

  @classmethod
  def from_params(cls, params, init_std, min_std):
    """Build from the network's output float [..., 2A]: raw mean, raw std."""
    mean, std = tf.split(params, 2, -1)
    return cls(tf.tanh(mean), 2 * tf.sigmoid((std + init_std) / 2) + min_std)

  def sample(self, seed):
    """One reparameterised action [..., A] within the bounds."""
    if seed is None:
      return self.mode()
    # TFP's own sampler has no kernel under XLA; its quantile has, and is reparameterised, too.
    uniform = tf.random.stateless_uniform(
        tf.shape(self.normal_mean), seed, 1 - self.INSIDE, self.INSIDE)
    action = self._dist.quantile(uniform)
    # Far from the bounds on the other side the quantile overflows; the mode is as likely as any.
    action = tf.where(tf.math.is_finite(action), action, self.mode())
    clipped = tf.clip_by_value(action, -self.INSIDE, self.INSIDE)
    return action + tf.stop_gradient(clipped - action)

  def sample_with_entropy(self, seed):
    """(sample [..., A], exact entropy [...])."""
    return self.sample(seed), self.entropy()

  def mode(self, seed=None):
    """The most likely action [..., A]."""
    del seed
    return tf.clip_by_value(self.normal_mean, -self.INSIDE, self.INSIDE)

  def mean(self):
    """Expected action [..., A]."""
    return self._dist.mean()

  def log_prob(self, action):
    """Log-density [...] of float [..., A] actions."""
    return tf.reduce_sum(self._dist.log_prob(action), -1)

  def entropy(self, seed=None):
    """Entropy [...], exact."""
    del seed
    return tf.reduce_sum(self._dist.entropy(), -1)


class OneHot:
  """Categorical over one-hot vectors with straight-through gradients.

  The value of a sample is exactly one-hot, its gradient by default that of
  the probabilities (DreamerV2 paper, algorithm 1). Composed rather than subclassed because
  subclassing TFP's class floods the terminal with warnings.
  """

  def __init__(self, logits, gradient='straight_through'):
    """logits: float [..., A]. gradient: of samples, straight_through or score."""
    self._gradient = gradient
    self._dist = tfd.OneHotCategorical(logits=logits, dtype=logits.dtype)

  @property
  def logits(self):
    """Unnormalised log-probabilities [..., A]."""
    return self._dist.logits

  @property
  def probs(self):
    """Probabilities [..., A]."""
    return self._dist.probs_parameter()

  def sample(self, seed):
    """One sample [..., A], whose gradient is that of a surrogate.

      straight_through:  onehot + probs - sg(probs)
      score:             onehot exp(log p - sg(log p)), p the probability of the sample

    sg is no gradient. The second is the score function, of what the sample's own entry is worth.
    """
    if seed is None:
      onehot = self._dist.mode()
    else:
      onehot = self._dist.sample(seed=seed)
    onehot = tf.stop_gradient(tf.cast(onehot, self.probs.dtype))
    if self._gradient == 'score':
      log_prob = self.log_prob(onehot)[..., None]
      return onehot * tf.exp(log_prob - tf.stop_gradient(log_prob))
    return onehot + (self.probs - tf.stop_gradient(self.probs))

  def sample_with_entropy(self, seed):
    """(sample [..., A], exact entropy [...])."""
    return self.sample(seed), self.entropy()

  def mode(self, seed=None):
    """One-hot of the largest logit [..., A]."""
    del seed
    return tf.cast(self._dist.mode(), self.probs.dtype)

  def log_prob(self, action):
    """Log-probability [...] of one-hot [..., A] actions."""
    index = tf.argmax(action, -1)
    return tfd.Categorical(logits=self.logits).log_prob(index)

  def entropy(self, seed=None):
    """Entropy [...], exact."""
    del seed
    return self._dist.entropy()
