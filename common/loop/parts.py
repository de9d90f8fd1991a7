"""The parts of a run, built in the order in which they need each other, and what they remember.

    environments -> spaces -> agent -> replay -> logger, view, pictures -> checkpoint, restored
"""
import contextlib
import pathlib
from typing import NamedTuple

from common import config as config_lib
from common import envs
from common.agent import Agent
from common.config import UserError
from common.data import sources
from common.data.dataset import Loader
from common.data.disk import Disk, DiskError
from common.data.replay import Replay
from common.envs import actions
from common.envs.workers import Gone
from common.loop import banner
from common.loop import checkpoint as checkpoint_lib
from common.loop import crew
from common.loop import evaluation
from common.loop import logdir as logdir_lib
from common.loop import machines
from common.loop import trackers
from common.loop import view as view_lib
from common.loop.acting import ActingCopy
from common.loop.logger import Logger
from common.loop.pictures import Pictures
from common.model import devices
from common.scores import curves


class Parts(NamedTuple):
  """What a run works with."""
  logdir: pathlib.Path
  envs: list        # that collect; none offline and with collectors
  eval_envs: list   # one a task; none where nothing is evaluated
  agent: Agent
  acting: object    # with overlap: acting.ActingCopy, or with collectors crew.Crew
  replay: Replay
  loader: Loader    # of batches from it
  trainer: object   # makes updates: the agent, or with machines machines.First
  logger: Logger
  view: object      # view.Plain or view.Live
  pictures: Pictures
  progress: checkpoint_lib.Progress
  checkpoint: checkpoint_lib.Checkpoint
  disk: Disk        # by which all of them write
  closing: contextlib.ExitStack

  def close(self):
    """Close the files, the view and the environments."""
    self.closing.close()


def build(config, logdir, agent_class=None, workers=None, stopped=lambda: False, first=None):
  """Build the parts, restored to where the directory's last process left them.

  Args:
    config: Config as devices.setup gave it.
    logdir: pathlib.Path of the directory, claimed by this process.
    agent_class: None for that of config.agent.
    workers: (make, share) as of cluster.workers_of, for collectors on other machines.
    stopped: function that says whether the run was asked to end, which ends waiting for the disk.
    first: machines.First, if machines share the batches.
  Returns:
    Parts, to be closed at the end.
  Raises:
    UserError: a mistake of the user.
  """
  with contextlib.ExitStack() as stack:
    def made(count, first, mode):
      environments = envs.make_all(config, count, first, mode)
      for env in environments:
        stack.callback(env.close)
      return environments
    team = _crew(config, workers, stopped, stack) if config.collectors else None
    collecting = [] if config.offline or config.collectors else made(config.envs, 0, 'train')
    # Some environments cannot be there twice.
    needed = config.eval_episodes or config.offline
    evaluating = []
    if needed:
      others = [team] if team else collecting
      evaluating = _second(lambda: made(1, evaluation.EVAL_ENV, 'eval'), config, others)
    env = team or (collecting or evaluating)[0]
    obs_space, act_space = _spaces(env, config)
    if (logdir / 'config.yaml').exists():
      sources.check_world(logdir, obs_space, act_space, logdir_lib.load_config(logdir)[1:])
    relabel = None
    if config.offline:
      relabel = sources.check_spaces(
          config, logdir_lib.load_config(config.offline), obs_space, act_space)
    elif config.get('source'):
      sources.continue_from(config, logdir)
    agent_class = agent_class or checkpoint_lib.agent_class(config.agent)
    settled = actions.settle(config, act_space)
    actions.check_settled(settled)
    make = lambda config: agent_class(config, obs_space, act_space)
    if team:
      team.build(agent_class, settled)
    if first:
      first.tell({'config': dict(settled), **logdir_lib.boxes(obs_space, act_space)})
    with machines.noticing_loss() if first else contextlib.nullcontext():
      agent = make(settled)
    if not (logdir / 'config.yaml').exists():  # what has begun may go on
      _check_decay(config, agent)
    acting = team
    if team:
      team.follow(agent)
    elif config.overlap:
      acting = ActingCopy(make, settled, agent, _acts_on_cpu(config))
    # Nothing is written before there is a view.
    disk = Disk(config.disk_wait, lambda text: view.say(text), stopped)
    replay = _replay(config, logdir, relabel, obs_space, act_space, disk)
    stack.callback(replay.close)
    stack.callback(disk.end)  # or closing would wait for threads that wait
    loader = Loader(
        replay, config.seed, config.batch_size, config.batch_length, agent.data_keys,
        (first or agent).distribute)
    stack.callback(loader.close)
    view = view_lib.make(
        config, config.steps, devices.describe(), curves.read(logdir, 'eval/return', config).values)
    stack.callback(view.close)
    logger = Logger(logdir, view.row, disk)
    stack.callback(logger.close)
    progress = checkpoint_lib.Progress(
        frames=0, lost=0, evaluated=None, pretrained=False, trained=None, trained_episodes=0,
        logged=None, next_eval=None, owed=0,
        eval_episodes=0, episodes={}, rows=0, means={}, source='', fresh=False, faults={})
    parts = Parts(
        logdir, collecting, evaluating, agent, acting, replay, loader, first or agent, logger, view,
        Pictures(logdir, logger, config, config_lib.repeats(config)[0], disk), progress,
        checkpoint_lib.Checkpoint(logdir / 'checkpoint', agent, progress, disk), disk, stack)
    _restore(config, parts)
    if first:
      first.follow(agent)
    logdir_lib.save_config(logdir, config, obs_space, act_space)
    logdir_lib.save_run(logdir, logger.time)
    view.say(banner.start(config, agent, logdir))
    logger.tracker = trackers.make(config, logdir, view.say)
    if logger.tracker:
      stack.callback(logger.tracker.close)
    for note in team.notes if team else envs.notes(collecting or evaluating):
      view.say(f'{note}.')
    return parts._replace(closing=stack.pop_all())  # from here on the caller closes them


def _second(make, config, first):
  """Environments for evaluation beside those that collect, which some simulators cannot be."""
  try:
    made = make()
    for env in made:
      _ = env.obs_space  # of one in another process the first answer
    return made
  except UserError:
    raise
  except Exception as error:
    if config.offline:
      raise
    for env in first:
      _spaces(env, config)  # whose failure would be the reason
    lines = str(error).strip().splitlines() or [type(error).__name__]
    raise UserError(
        f'{config.task}: a second environment, for evaluation, cannot be made beside the first '
        f'({lines[-1]}). Pass --eval_episodes 0, and evaluate by python -m '
        'common.evaluate when the run has ended.') from None


def _spaces(env, config):
  """(obs_space, act_space) of an environment, which one in another process is waited for."""
  try:
    return env.obs_space, env.act_space
  except (TimeoutError, Gone) as error:
    raise UserError(
        f'{config.task}: cannot be built: {error}. Pass a longer --env_timeout, or look for the reason '
        f'with python -m common.check_env {config.task}.') from None


def _check_decay(config, agent):
  """Raises UserError where weight_decay reaches no variable, whose names only the agent knows."""
  if config.weight_decay and not any(opt.decaying for opt in agent.optimizers().values()):
    raise UserError(
        f'weight_decay_pattern {config.weight_decay_pattern!r} is found in no name of a variable, such '
        'as rssm/kernel, so that nothing would decay. Pass another pattern, or --weight_decay 0.')


def _crew(config, workers, stopped, stack):
  team = crew.Crew(config, *workers, stopped) if workers else crew.local(config, stopped)
  stack.callback(team.close)
  return team


def _acts_on_cpu(config):
  """Whether acting leaves the GPU to the updates; a search for plans is too much for a CPU."""
  if config.act_on == 'auto':
    return config.agent != 'planet' and devices.has_gpu()
  return config.act_on == 'cpu' and devices.has_gpu()


def frames(config, agent, replay):
  """Frames of finished episodes on disk: the `step` of everything."""
  return sources.frames(config, agent.update_count) if config.offline else replay.frames


def _replay(config, logdir, relabel, obs_space, act_space, disk):
  """The episodes of the run, or of another one that it learns from."""
  home = config_lib.expand(config.offline) if config.offline else logdir
  return Replay(
      home / 'episodes', config_lib.repeats(config), config.replay_capacity,
      prune_disk=config.prune_disk, last_row=config.dataset_last_row,
      balance=config.dataset_balance, readonly=bool(config.offline), relabel=relabel,
      spaces={**obs_space, 'action': act_space}, disk=disk)


def _tell_lost(config, parts, count, lost):
  """Say that episodes are missing. Raises UserError if none is left to learn from."""
  try:
    parts.replay.windows(config.batch_length, parts.agent.data_keys)
  except UserError as error:
    raise UserError(
        f'{parts.logdir}: the checkpoint knows {count:,} frames, but the files of {lost:,} are gone, '
        f'and none is left to learn from ({error}) Put episodes/ back, or begin anew in another '
        '--logdir.') from None
  parts.view.say(
      f'{parts.logdir / "episodes"}: holds {count - lost:,} frames, but {count:,} were collected. '
      f'The run learns from what is there and counts on from {count:,}.')


def _restore(config, parts):
  """Load the newest checkpoint, and make episodes and metrics fit it."""
  resumed = parts.checkpoint.restore()
  values, replay = parts.progress.values, parts.replay
  if not (resumed or replay.frames or config.offline) and parts.logger.tells('train/return'):
    raise UserError(
        f'{parts.logdir}: metrics.jsonl tells of episodes, but episodes and checkpoint are not there to '
        'go on from. Copy them, too, or pass another --logdir.')
  # Checkpoints of earlier versions have it as it was typed.
  taken_over = config.get('source') and (
      not values['source'] or config_lib.expand(values['source']) != config_lib.expand(config.source))
  if config.deterministic and not config.offline:
    # What came after the checkpoint is collected again. Rows go first: those of episodes that are not
    # there, and a checkpoint neither, would be taken for a copy that was left incomplete.
    with _refused(parts.logdir):
      parts.logger.rewind(0 if taken_over else values['rows'])
      replay.set_aside({int(e): k for e, k in values['episodes'].items()})
  if taken_over:
    # Of what the other run had to do, nothing is left to do.
    values.update(
        source=config.source, frames=0, episodes={}, rows=0, owed=0, logged=None, trained=replay.frames,
        trained_episodes=sum(replay.count_per_env().values()), next_eval=replay.frames, evaluated=None,
        means={}, faults={}, fresh=True)
  if config.get('snapshot') and not resumed:
    checkpoint_lib.restore_world_model(config.offline, parts.agent.world_model)
  lost = 0
  if not config.offline:
    lost = replay.lose(values['frames'], {int(e): k for e, k in values['episodes'].items()})
  count = frames(config, parts.agent, replay)
  if lost > values['lost']:
    _tell_lost(config, parts, count, lost)
  values['lost'] = lost
  begun = resumed and values['pretrained']
  if config.offline and (begun or config.deterministic):  # it goes back to the checkpoint, too
    with _refused(parts.logdir):
      parts.logger.rewind(values['rows'])
  elif begun and not config.deterministic:
    _pass_over(config, parts.logger, values, count)
  if resumed or count:
    parts.view.say(f'Continuing at {count:,} frames, {parts.agent.update_count:,} updates.')


@contextlib.contextmanager
def _refused(path):
  """Raises DiskError for what the system refuses within."""
  try:
    yield
  except OSError as error:
    raise DiskError(path, error) from None


def _pass_over(config, logger, values, count):
  """What a kill left behind the checkpoint is neither caught up nor made twice.

  values: of the progress, which are changed. count: frames that there are now.
  """
  if not config.train_episodes:
    # A burst is due after every train_every frames. An interrupt may have come between.
    due = lambda frames: max(0, frames - values['trained']) // config.train_every
    values['owed'] += due(values['frames']) * config.train_steps
    values['trained'] += due(count) * config.train_every
  last = -1 if values['evaluated'] is None else values['evaluated']
  made = [step for step in logger.steps(values['rows'], 'eval/return') if step > last]
  if made:
    values['evaluated'] = made[-1]
    values['eval_episodes'] += len(made) * config.eval_episodes
    while values['next_eval'] <= made[-1]:
      values['next_eval'] += config.eval_every
