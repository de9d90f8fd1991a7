"""What a saved agent is worth: episodes without exploration noise, and those of simpler policies."""
import numpy as np

from common import config as config_lib
from common import envs
from common.config import UserError
from common.data import driver
from common.data.disk import Disk
from common.data import episodes as episode_files
from common.data import sources
from common.data.faults import Faults
from common.loop import logdir as logdir_lib

FILMED = 3   # sequences of predictions and dreams
EVAL_ENV = 1000  # index of the environment that evaluates in a run, and offset of its seeds
SEED = 2000      # offset of the seeds of a command, so that no episode of the training returns


def of_run(config, agent, environments, begun, frames, check, faults):
  """An evaluation of a run that goes on.

  Args:
    config: Config of the run.
    agent: agent.Agent.
    environments: list of one for each task.
    begun: episodes that earlier evaluations played in each.
    frames: of the run.
    check: function called at each decision, which may raise.
    faults: faults.Faults.
  Returns:
    (row, episodes): metrics, and the agent's episodes in the first task.
  """
  from common.loop import dreams
  def policy(obs, state, is_first):
    check()
    return agent.policy({**obs, 'is_first': is_first}, state, agent.evaluation)
  tasks = config_lib.eval_tasks(config)
  # Evaluation starts from other states than training.
  played = driver.run_episodes(
      policy, environments, [repeat for _, repeat in tasks], config.seed + EVAL_ENV,
      config.eval_episodes, begun, faults)
  returns = _returns(played)
  row = {
      'eval/return': np.mean(returns), 'eval/return_std': np.std(returns),
      'eval/episodes': np.size(returns), 'eval/noise': config.eval_noise}
  if len(tasks) > 1:
    row.update({f'eval/return/{task}': np.mean(x) for (task, _), x in zip(tasks, returns)})
  row.update(dreams.errors(agent, played[0], (config.seed, frames % 2 ** 31)))
  return row, played[0]


def evaluate(logdir, agent, episodes):
  """Returns of a saved agent, of the zero action and of random actions, and errors of its dreams.

  Args:
    logdir: pathlib.Path of a run.
    agent: agent.Agent that was saved there.
    episodes: how many of each, for each task.
  Returns:
    (row, episodes): a dict of plain values with `step` (frames when it was saved), `return`,
    `return_std`, `returns`, `zero_return`, `random_return`, `noise` and errors of dreams (see
    dreams.errors), and the agent's episodes in the first task. Of several tasks these are means over all;
    `returns` is then a dict by task, and `zero_return/TASK` and `random_return/TASK` are there, too.
  """
  config, obs_space, act_space = logdir_lib.load_config(logdir)
  tasks = config_lib.eval_tasks(config)
  # Delayed: TensorFlow takes seconds to import.
  from common.loop import dreams

  def play(policy, config, look=False, keep=lambda x: x):
    played = envs.make_all(config, 1, 0, 'eval')
    try:
      if look:
        sources.check_world(
            logdir, played[0].obs_space, played[0].act_space, (obs_space, act_space))
      return driver.run_episodes(
          policy, played, [repeat for _, repeat in tasks], config.seed + SEED, episodes,
          faults=Faults(config.env_faults, print), keep=keep)
    finally:
      for env in played:
        env.close()
  zero = np.zeros((len(tasks),) + act_space.shape, np.float32)
  if hasattr(act_space, 'n'):
    zero[:, 0] = 1  # the first of discrete actions, usually to do nothing
  found = play(
      lambda obs, state, is_first: agent.policy(
          {**obs, 'is_first': is_first}, state, agent.evaluation), config, look=True)
  blind = _without_images(config)
  rewards = lambda episode: {'reward': episode['reward']}  # ten long games of pictures fill memory
  baselines = {
      'zero_return': play(lambda *_: (zero, None), blind, keep=rewards),
      'random_return': play(driver.random_policy(act_space, config.seed), blind, keep=rewards)}
  returns = _returns(found)
  row = {
      'task': config.task, 'agent': config.agent,
      'step': _frames(config, agent, logdir),
      'episodes': episodes, 'return': float(np.mean(returns)),
      'return_std': float(np.std(returns)),
      'returns': returns[0] if len(tasks) == 1 else {
          task: x for (task, _), x in zip(tasks, returns)},
      'noise': config.eval_noise}
  for name, played in baselines.items():
    row[name] = float(np.mean(_returns(played)))
    if len(tasks) > 1:
      row.update({f'{name}/{task}': float(np.mean(x)) for (task, _), x in zip(tasks, _returns(played))})
  for name, value in dreams.errors(agent, found[0], (config.seed + SEED, 0)).items():
    row[name.partition('/')[2]] = value
  return row, found[0]


def _frames(config, agent, logdir):
  """Frames after which an agent was saved; of exports of earlier versions those of the run."""
  if config.offline:
    return sources.frames(config, agent.update_count)
  return agent.saved_frames or max(
      episode_files.count_frames(logdir / 'episodes', config_lib.repeats(config)),
      logdir_lib.last_step(logdir))


def check_folder(folder):
  """Make a folder for films. Raises UserError if it cannot be, or if a run keeps its own there."""
  run = all((folder / name).exists() for name in ('config.yaml', 'metrics.jsonl'))
  if run and not logdir_lib.exported(folder):
    raise UserError(f'{folder}: a run keeps its own pictures there. Pass another --pictures.')
  try:
    (folder / 'pictures').mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise UserError(f'{folder}/pictures: cannot be made ({error.strerror}).') from None


def film(folder, agent, episodes, step):
  """Write the films that a run keeps, of an agent's episodes, to folder/pictures.

  Args:
    folder: pathlib.Path, made if it is not there.
    agent: agent.Agent that sees images.
    episodes: list of dicts of arrays [rows, ...], as the driver made them.
    step: frames of training, for the names.
  Raises:
    UserError: the system refuses.
  """
  from common.loop import dreams
  from common.loop import pictures
  model, written = agent.world_model, folder / 'pictures'
  def refuse(text):
    raise UserError(text.replace(' The run goes on without.', ''))
  kept = pictures.Pictures(
      folder, None, agent.config, config_lib.repeats(agent.config)[0], Disk(say=refuse))
  for key in model.encoder.image_keys:
    kept.episode(step, key, episodes[0][key])
  rows = min(pictures.LONG, max(len(episode['reward']) for episode in episodes))
  kept.dreams(step, agent, dreams.windows(episodes, rows, model.obs_keys + ['action'], FILMED))
  print(f'Films: {written}')


def _returns(played):
  return [[float(episode['reward'].sum()) for episode in episodes] for episodes in played]


def _without_images(config):
  """Who does not look needs no rendering, where that can be chosen."""
  if config_lib.suite(config.task) != 'dmc' or config.get('tasks'):  # whose vectors differ
    return config
  return config.replace(cnn_keys='', mlp_keys='.*')
