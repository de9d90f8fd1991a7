"""Schedules: numbers that change with the frames of a run."""

import numpy as np
import pytest
import tensorflow as tf

from common import config as config_lib
from common.config import schedules
from common.config import UserError
from common.model.actor_critic import ActorCritic
import toys


@pytest.mark.parametrize('text, frames, expected', [
    ('linear(3e-3,3e-4,1e7)', 0, 3e-3), ('linear(3e-3,3e-4,1e7)', 5e6, 1.65e-3),
    ('linear(3e-3,3e-4,1e7)', 2e7, 3e-4), ('exp(1,0.2,100)', 0, 1.0), ('exp(1,0.2,100)', 100, 0.6),
    ('exp(1,0.2,100)', 200, 0.4), ('warmup(100,0.5)', 0, 0.0), ('warmup(100,0.5)', 50, 0.25),
    ('warmup(100,0.5)', 900, 0.5), ('horizon(10,20,100)', 50, 1 - 1 / 15), (0.25, 7, 0.25)])
def test_a_schedule_has_the_value_that_its_formula_gives(text, frames, expected):
  assert schedules.at(text, frames) == pytest.approx(expected)
  np.testing.assert_allclose(schedules.at(text, tf.constant(frames, tf.float32)), expected, 1e-6)


def test_the_published_schedules_of_dreamerv2_are_a_block():
  config = config_lib.load(
      'dreamer', ['--configs', 'atari', 'dreamerv2', 'dreamerv2_schedules'])
  assert config.actor_grad == 'both'
  # 2.5M decisions of 4 frames each.
  assert schedules.at(config.actor_ent, 1e7) == pytest.approx(3e-4)
  assert schedules.at(config.actor_grad_mix, 5e6) == pytest.approx(0.05)
  assert schedules.at(config.actor_grad_mix, 1e8) == 0.0


@pytest.mark.parametrize('text', [
    'linear(1,2)', 'linear(1,2,0)', 'cosine(1,2,3)', 'linear(1,a,3)', 'linear(1,-1,10)', 'fast'])
def test_a_text_that_is_no_schedule_is_refused_with_the_forms(text):
  with pytest.raises(UserError, match='actor_ent'):
    config_lib.load('dreamer', ['--actor_ent', text])


def test_a_schedule_outside_of_the_bounds_of_its_key_is_refused():
  with pytest.raises(UserError, match='from 0 to 1 all the time'):
    config_lib.load('dreamer', ['--actor_grad_mix', 'linear(0,2,100)'])
  with pytest.raises(UserError, match='must be a number'):
    config_lib.load('dreamer', ['--actor_lr', 'linear(0,1,100)'])


def test_the_actor_loss_follows_the_entropy_schedule():
  behaviour = ActorCritic(3, 2, toys.settings(
      horizon=4, action_dist='onehot', actor_ent='linear(1,0,100)'))
  feat, entropy = tf.zeros([4, 5, 3]), tf.ones([4, 5])
  def loss(frames):
    return behaviour.losses(
        feat, tf.zeros([4, 5]), tf.ones([4, 5]), entropy, tf.zeros([4, 5]), frames)[0].numpy()
  assert loss(0) - loss(100) == pytest.approx(-1.0)
  assert loss(25) - loss(100) == pytest.approx(-0.75)


def test_the_compiled_update_takes_frames_without_being_traced_again():
  agent = toys.agent(actor_ent='linear(1,0,1000)')
  data = agent.distribute(toys.batch())
  losses = [agent.train(data, frames)['actor_loss'] for frames in (0, 500, 1000)]
  assert np.isfinite(losses).all()
  assert agent._train.experimental_get_tracing_count() == 1
