"""Curiosity: error of the world model itself (Plan2Explore paper, section 4)."""
import math

import tensorflow as tf

from plan2explore.novelty.labelled import Labelled


class Curiosity(Labelled):
  """Error of the world model itself: how badly it saw a row coming."""

  def __init__(self, world_model, action_size, config):
    del action_size
    super().__init__(world_model, config)
    self._constant = 0.0
    if config.curiosity_offset == 'removed':
      self._constant = 0.5 * world_model.observed_size * math.log(2 * math.pi)

  def label(self, rows):
    """curiosity_scale (-log p(o | f) - constant + max(0, KL - curiosity_free_nats)), [B, T]."""
    surprise = -rows['obs_log_prob'] - self._constant
    surprise += tf.maximum(0.0, rows['kl'] - self._config.curiosity_free_nats)
    return self._config.curiosity_scale * surprise, 0.0, {}
