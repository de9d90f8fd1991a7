"""Evaluate a saved agent: python -m common.evaluate --logdir DIR --episodes 10.

Prints the returns of episodes without exploration noise, beside those of the
zero action and of uniformly random actions from the same starts, and appends
them to DIR/evaluate.jsonl. Results that count are means of 10 episodes.
"""

import argparse
import json

import numpy as np

from common import config as config_lib
from common import envs
from common.config import UserError
from common.data import driver
from common.data import episodes as episode_files
from common.data import sources
from common.data.faults import Faults
from common.loop import logdir as logdir_lib
from common.loop import video

SEED = 2000  # offset of the seeds, so that no episode of the training returns


@config_lib.entry
def main(argv=None):
  """Run the command; exit code 2 and one line for a mistake of the user."""
  parser = argparse.ArgumentParser(
      prog='python -m common.evaluate', description=__doc__.split('\n\n')[1])
  parser.add_argument('--logdir', required=True, help='directory of the run')
  parser.add_argument(
      '--episodes', type=int, default=10, help='how many (default: 10)')
  parser.add_argument(
      '--video', help='write the first episode to this .gif or .mp4 file')
  args = parser.parse_args(argv)
  if args.episodes < 1:
    raise UserError(f'evaluate: --episodes is {args.episodes} but must be at least 1.')
  logdir = config_lib.expand(args.logdir)
  _, obs_space, _ = logdir_lib.load_config(logdir)
  images = [key for key, space in obs_space.items() if len(space.shape) == 3]
  if args.video:
    video.check(args.video)
    if not images:
      raise UserError(f'{logdir}: the agent sees no images, so --video has none.')
  row, episodes = evaluate(logdir, args.episodes)
  with (logdir / 'evaluate.jsonl').open('a') as file:
    file.write(json.dumps(row) + '\n')
  print(
      f'{row["task"]} at {row["step"]:,} frames: return {row["return"]:.1f} '
      f'+- {row["return_std"]:.1f} over {args.episodes} episodes '
      f'(zero action {row["zero_return"]:.1f}, random actions '
      f'{row["random_return"]:.1f})')
  print(json.dumps(row))
  if args.video:
    video.write(args.video, episodes[0][images[0]])


def evaluate(logdir, episodes):
  """Returns of a saved agent, of the zero action and of random actions.

  Args:
    logdir: pathlib.Path of a run.
    episodes: how many of each, for each task.
  Returns:
    (row, episodes): a dict of plain values with `step` (frames on disk),
    `return`, `return_std`, `returns` (by task if there are several),
    `zero_return`, `random_return` and `noise`, and the agent's episodes in
    the first task.
  Raises:
    UserError: there is no run or no checkpoint.
  """
  config, obs_space, act_space = logdir_lib.load_config(logdir)
  tasks = config_lib.eval_tasks(config)
  # Delayed: TensorFlow takes seconds to import, mistakes are refused before.
  from common.loop import checkpoint
  agent = checkpoint.load(logdir)

  def play(policy, config, look=False):
    played = envs.make_all(config, 1, 0, 'eval')
    try:
      if look:
        sources.check_world(
            logdir, played[0].obs_space, played[0].act_space, (obs_space, act_space))
      return driver.run_episodes(
          policy, played, [repeat for _, repeat in tasks], config.seed + SEED, episodes,
          faults=Faults(config.env_faults, print))
    finally:
      for env in played:
        env.close()
  zero = np.zeros((len(tasks),) + act_space.shape, np.float32)
  if hasattr(act_space, 'n'):
    zero[:, 0] = 1  # the first of discrete actions, usually to do nothing
  found = play(
      lambda obs, state, is_first: agent.policy(
          {**obs, 'is_first': is_first}, state, 'eval'), config, look=True)
  blind = _without_images(config)
  baselines = {
      'zero_return': play(lambda *_: (zero, None), blind),
      'random_return': play(driver.random_policy(act_space, config.seed), blind)}
  returns = _returns(found)
  row = {
      'task': config.task, 'agent': config.agent,
      'step': (
          sources.frames(config, agent.update_count) if config.offline else
          max(episode_files.count_frames(logdir / 'episodes', config_lib.repeats(config)),
              logdir_lib.last_step(logdir))),
      'episodes': episodes, 'return': float(np.mean(returns)),
      'return_std': float(np.std(returns)),
      'returns': returns[0] if len(tasks) == 1 else {
          task: x for (task, _), x in zip(tasks, returns)},
      'noise': config.eval_noise}
  for name, played in baselines.items():
    row[name] = float(np.mean(_returns(played)))
  return row, found[0]


def _returns(played):
  return [[float(episode['reward'].sum()) for episode in episodes] for episodes in played]


def _without_images(config):
  """Who does not look needs no rendering, where that can be chosen."""
  if config_lib.suite(config.task) != 'dmc':
    return config
  return config.replace(cnn_keys='', mlp_keys='.*')


if __name__ == '__main__':
  main()
