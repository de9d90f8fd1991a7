"""A copy of the agent that acts with older weights while the agent learns."""
import contextlib

import tensorflow as tf
import tf_keras


class ActingCopy:
  """Acts as the agent would have acted when its weights were taken over last.

  On the CPU beside a GPU it computes in float32 and without XLA: there a policy call would queue
  behind the updates.
  """

  def __init__(self, make, config, agent, on_cpu):
    """Build the copy; it has no weights of the agent yet.

    Args:
      make: function of a Config that returns an agent like `agent`.
      config: Config that `agent` was made of.
      agent: agent.Agent that learns.
      on_cpu: compute on the CPU although there is a GPU.
    """
    self._device = (lambda: tf.device('CPU:0')) if on_cpu else contextlib.nullcontext
    policy = tf_keras.mixed_precision.global_policy()
    if on_cpu:
      tf_keras.mixed_precision.set_global_policy('float32')
      config = config.replace(precision='float32', jit=False)
    try:
      with self._device():
        self.copy = make(config.replace(devices=1, machines=False))
    finally:
      tf_keras.mixed_precision.set_global_policy(policy)
    self._agent = agent
    self._pairs = list(zip(weights(self.copy), weights(agent), strict=True))

  def take(self):
    """Take over the agent's weights."""
    for own, other in self._pairs:
      own.assign(other)

  def take_count(self):
    """Take over the count of policy calls, on which the random numbers of acting hang."""
    self.copy.calls.assign(self._agent.calls)

  def give_count(self):
    """Give the count back, so that a checkpoint of the agent has it."""
    self._agent.calls.assign(self.copy.calls)

  def policy(self, *args):
    """As Agent.policy."""
    with self._device():
      return self.copy.policy(*args)


def weights(agent):
  """Variables that a copy takes over: networks and scales; an agent's counters are whole numbers."""
  return [variable for variable in agent.variables if variable.dtype.is_floating]
