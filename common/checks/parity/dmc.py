"""Recorded facts of control-suite tasks, against our environments."""
import numpy as np

from common.envs import dmc


def dmc_facts(fixture):
  """Return the values of a `dmc_facts` fixture as our environments have them.

  Args:
    fixture: object with `config`, whose `tasks` maps DOMAIN_TASK to recorded facts and whose
      `size` is [height, width] of images.
  Returns:
    Dict of `out/cameras`, int32, and `out/action_dims`, int32, in the order of the tasks.
  Raises:
    AssertionError: bounds, observation shapes, length or image of a task differ.
    common.config.UserError: a task does not exist here.
  """
  cameras, dims = [], []
  for name, facts in fixture.config['tasks'].items():
    camera = dmc.camera_id(dmc.find(name)[0])
    env = dmc.DeepMindControl(name, cnn_keys='', mlp_keys='.*')
    try:
      _compare(env, name, facts, fixture.config['size'])
      assert camera == facts['camera'], (name, camera, facts['camera'])
      cameras.append(camera)
      dims.append(env.act_space.shape[0])
    finally:
      env.close()
  return {
      'out/cameras': np.array(cameras, np.int32),
      'out/action_dims': np.array(dims, np.int32)}


def _compare(env, name, facts, size):
  """Raise AssertionError where an environment differs from what was recorded."""
  shapes = {key: list(space.shape) for key, space in env.obs_space.items()}
  # Ours are flat, and a scalar has one entry.
  recorded = {key: [int(np.prod(shape))] for key, shape in facts['observation'].items()}
  assert shapes == recorded, (name, shapes, recorded)
  assert list(env.act_space.shape) == facts['action_shape'], (name, env.act_space)
  for ours, key in ((env.act_space.low, 'action_low'), (env.act_space.high, 'action_high')):
    theirs = np.array([np.nan if x is None else x for x in facts[key]], np.float32)
    unbounded = np.isnan(theirs) & ~np.isfinite(ours)
    assert np.all(np.isclose(ours, theirs) | unbounded), (name, key, ours, theirs)
  assert env.frame_limit == facts['step_limit'], (name, env.frame_limit, facts['step_limit'])
  image = dmc.image_space(size[0]).shape
  assert list(image) == list(facts['image_shape']), (name, image, facts['image_shape'])
  # The suite gives no reward at a reset; the driver stores 0 there.
  assert facts['first_reward'] is None, (name, facts['first_reward'])


CHECKS = {'dmc_facts': dmc_facts}
