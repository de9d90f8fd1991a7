"""Values of a configuration that are fine one by one but cannot work together."""
import math
import re

from common.config.errors import UserError
from common.config.options import SUITES
from common.config.task_keys import suite, tasks

# Blocks of configs.yaml that set a suite's task and numbers, and those that are put after them, in order.
SUITE_BLOCKS = ('dmc', 'dmc_proprio', 'discrete', 'atari', 'toy', 'noisytv', 'gym')
LATE_BLOCKS = ('dreamerv2', 'dreamerv2_schedules', 'score_function', 'cpu', 'debug')
STAND_INS = ('toy', 'noisytv', 'dummy')  # suites that are tried out in place of others
HEADS = ('decoder', 'reward', 'pcont')


def check(config):
  """Refuse a Config whose values cannot work together. Raises UserError with what to pass."""
  c = config
  needed = c.batch_length + (not c.dataset_last_row)
  for task, repeat in tasks(c):
    check_length(c, task, repeat, needed)
  if not c.offline and c.prefill < (needed - 1) * c.action_repeat:
    raise UserError(
        f'config: prefill {c.prefill} frames do not fill one sequence of batch_length '
        f'{c.batch_length}. Pass --prefill {(needed - 1) * c.action_repeat} or more.')
  if 'planner_topk' in c and c.planner_topk > c.planner_amount:
    raise UserError(
        f'config: planner_topk {c.planner_topk} is more than planner_amount {c.planner_amount}, '
        f'from which they are chosen. Pass --planner_topk {c.planner_amount} or less.')
  check_actor_grad(c, 'config')
  if c.get('action_dist') == 'tanh_normal' and not c.get('action_init_std', 1):
    raise UserError(
        'config: action_init_std is 0, which tanh_normal cannot begin with. Pass a number above 0, '
        'or --action_dist trunc_normal.')
  if 'disag_input' in c:
    check_exploration(c)
  goes_on = suite(c.task) == 'atari' and c.atari_life_end and not c.atari_life_reset
  if c.deterministic and goes_on:
    raise UserError(
        'config: a deterministic run goes back to the start of an episode, but without '
        'atari_life_reset episodes go on with a game. Pass --atari_life_reset True, or '
        '--deterministic False.')
  if c.deterministic and c.prune_disk:
    raise UserError(
        'config: a deterministic run may have to go back to episodes that prune_disk deletes. '
        'Pass --prune_disk False or --deterministic False.')
  if c.overlap and c.offline:
    raise UserError(
        'config: overlap collects while it learns, but an offline run collects nothing. '
        'Pass --overlap False.')
  if c.overlap and c.train_episodes:
    raise UserError(
        f'config: overlap meets every {c.train_every} frames, but with train_episodes '
        f'{c.train_episodes} a burst of updates waits for the end of an episode. '
        'Pass --train_episodes 0 or --overlap False.')
  check_collectors(c)
  if c.devices and c.batch_size % c.devices:
    raise UserError(
        f'config: batch_size {c.batch_size} cannot be shared by {c.devices} devices. '
        f'Pass a multiple of {c.devices}.')
  if c.get('obs_loss') == 'contrastive' and (c.machines or c.devices != 1):
    raise UserError(
        'config: obs_loss contrastive tells the rows of a whole batch apart, of which devices see a share '
        'each. Pass --devices 1 and --machines False, or another --obs_loss.')
  if not c.cnn_keys and not c.mlp_keys:
    raise UserError(
        'config: cnn_keys and mlp_keys are both empty, so nothing would be observed. '
        'Pass --cnn_keys image or --mlp_keys ".*".')
  if c.expl == 'epsilon_greedy':
    check_chances(c)


def check_chances(c, where='config'):
  """Refuse what are probabilities with epsilon_greedy, beyond 1."""
  for key in ('expl_amount', 'expl_min', 'eval_noise'):
    if c.get(key, 0) > 1:
      raise UserError(
          f'{where}: {key} {c[key]} is the probability of a random action with epsilon_greedy. '
          f'Pass --{key} 1 or less.')


def check_order(names):
  """Refuse a block that was made for those of suites before one of them, which would take it back."""
  for i, late in enumerate(names):
    taken_back = [name for name in names[i + 1:] if name in SUITE_BLOCKS]
    if late in LATE_BLOCKS and taken_back and late not in names[i + 1:]:
      place = lambda name: LATE_BLOCKS.index(name) if name in LATE_BLOCKS else -1
      ordered = sorted(dict.fromkeys(names), key=lambda name: (name not in SUITE_BLOCKS, place(name)))
      raise UserError(
          f'config: the block {late} is for what {taken_back[0]} sets, so it comes after it. Pass '
          f'--configs {" ".join(ordered)}.')


def check_effect(c):
  """Refuse values at which what they belong to does nothing."""
  if 'planner_topk' in c and c.planner_topk == c.planner_amount > 1:
    raise UserError(
        f'config: planner_topk {c.planner_topk} of as many plans chooses none of them. '
        f'Pass --planner_topk {max(1, c.planner_amount // 10)}, or a larger --planner_amount.')
  if c.get('slow_value') and not c.slow_value_fraction:
    raise UserError(
        'config: slow_value_fraction 0 leaves the slow value as it begins. '
        'Pass --slow_value_fraction 1, or --slow_value 0.')


def check_used(c, keys):
  """Refuse keys, given on the command line, that nothing reads beside the other values."""
  explorer = c.get('expl_behavior', 'plan2explore')
  kind = suite(c.task)
  other = lambda *read: kind in SUITES and kind not in (*read, *STAND_INS)  # unknown ones are told later
  # disag_lr is that of all networks for novelty.
  disagrees = [key for key in c if re.match('disag_(?!lr)|intr_(reduce|ddof)', key)]
  explores_on = explorer != 'greedy' and not (c.get('expl_until', 1) or c.get('source'))
  for reason, unread, names in (
      (f'tasks of {kind}', other('atari'), [key for key in c if key.startswith('atari_')]),
      (f'tasks of {kind}', other('dmc'), ('camera',)),
      ('atari_life_end False', not c.get('atari_life_end', 1), ('atari_life_length', 'atari_life_reset')),
      ('overlap False', not c.overlap, ('act_on',)),
      ('deterministic True', c.deterministic, ('save_every',)),
      ('offline, which collects nothing', bool(c.get('offline')),
       ('collect_limit', 'collect_limit_from', 'collect_limit_doubles', 'prune_disk', 'train_episodes')),
      ('expl completely_random, whose actions are all random or none',
       c.expl == 'completely_random' and 0 < c.get('eval_noise', 0) < 1, ('eval_noise',)),
      ('latent categorical', c.get('latent') == 'categorical',
       ('shared_noise', 'rssm_min_std', 'rssm_std_act', 'rssm_split_heads')),
      (f'expl_behavior {explorer}', explorer != 'plan2explore', disagrees),
      (f'expl_behavior {explorer}', explorer != 'rnd', ('rnd_input',)),
      (f'expl_behavior {explorer}', explorer in ('random', 'greedy'),
       ('disag_lr', 'extr_scale', 'intr_log', 'intr_norm_momentum', 'expl_horizon', 'expl_bootstrap',
        'expl_replay', 'expl_freeze')),
      ('expl_behavior greedy', explorer == 'greedy', ('expl_until',)),
      ('action_dist onehot', c.get('action_dist') == 'onehot',
       ('action_init_std', 'actor_min_std', 'actor_mean_scale')),
      ('action_dist trunc_normal', c.get('action_dist') == 'trunc_normal', ('actor_mean_scale',)),
      (f'action_dist {c.get("action_dist")}', c.get('action_dist', 'auto') not in ('onehot', 'auto'),
       ('onehot_gradient',)),
      ('disag_opt shared', explorer == 'plan2explore' and c.get('disag_opt') == 'shared', ('disag_lr',)),
      ('curiosity_shapes True', explorer == 'curiosity' and c.get('curiosity_shapes', False),
       ('disag_lr',)),
      (f'disag_units {c.get("disag_units")}', bool(c.get('disag_units')), ('disag_width_factor',)),
      ('intr_reduce jrd', c.get('intr_reduce') == 'jrd', ('intr_ddof',)),
      ('expl_schedule linear and expl_decay 0', c.get('expl_schedule') == 'linear' and not c.expl_decay,
       ('expl_min',)),
      (f'expl_behavior {explorer}', explorer != 'curiosity',
       [key for key in c if key.startswith('curiosity_')]),
      (f'expl {c.expl}', c.expl != 'completely_random' and explorer != 'random', ('random_style',)),
      ('expl_until 0', explores_on, ('expl_freeze',)),
      ('use_value False', not c.get('use_value', 1) and 'expl_behavior' not in c, ('disclam',)),
      ('expl_replay True', c.get('expl_replay', False),
       ('expl_horizon', 'expl_bootstrap', 'disag_reward_grad')),
      (f'latent_model {c.get("latent_model")}', c.get('latent_model', 'rssm') != 'rssm',
       ('rssm_layers', 'rssm_ensemble', 'future_rnn')),
      ('latent_model ssm', c.get('latent_model') == 'ssm', ('rssm_gru',)),
      ('latent_model drnn', c.get('latent_model') == 'drnn', ('rssm_act',)),
      ('latent gaussian', c.get('latent') == 'gaussian', ('stoch_classes',)),
      ('pcont False', not c.get('pcont', 1), ('pcont_layers', 'pcont_scale')),
      ('slow_value 0', not c.get('slow_value', 1), ('slow_value_fraction',)),
      ('head_opt shared', c.get('head_opt') == 'shared' and not c.get('zero_shot_tasks'),
       ('head_lr',)),
      (f'actor_grad {c.get("actor_grad")}', c.get('actor_grad') in ('dynamics', 'reinforce', 'auto'),
       ('actor_grad_mix',)),
      ('actor_grad dynamics', c.get('actor_grad') == 'dynamics', ('aligned_baseline',)),
      ('overshooting_scale 0', not c.get('overshooting_scale', 1),
       ('overshooting_distance', 'overshooting_norm', 'overshooting_stop_start')),
      ('weight_decay 0', not c.get('weight_decay', 1), ('weight_decay_pattern',)),
      ('collect_limit 0', not c.get('collect_limit', 1), ('collect_limit_from', 'collect_limit_doubles')),
      ('collect_limit_doubles 0', not c.get('collect_limit_doubles', 1), ('collect_limit_from',))):
    found = [key for key in names if key in keys]
    if unread and found:
      raise UserError(f'config: {found[0]} means nothing with {reason}. Leave it out, or change that.')


def check_actor_grad(config, name):
  """Refuse gradients of the actor that need the start of dreams; of auto the actions decide later.

  Raises UserError, which begins with name.
  """
  if config.get('actor_grad') in ('reinforce', 'both') and not config.imag_start:
    raise UserError(
        f'{name}: actor_grad {config.actor_grad} compares returns with the value of the state that was '
        'acted in, so the start must count. Pass --imag_start True, or --actor_grad dynamics.')


def check_length(c, task, repeat, needed):
  """Refuse sequences of more rows than episodes of a task have."""
  # Episodes of the suite end after 1000 frames, except those of lqr.
  longest = min(c.time_limit, c.collect_limit or c.time_limit)
  if suite(task) == 'dmc' and not task.startswith('dmc_lqr'):
    longest = min(longest, 1000)
  name = 'collect_limit' if longest == c.collect_limit else 'time_limit'
  capped = suite(task) == 'dmc' and not task.startswith('dmc_lqr') and longest == 1000
  suites = longest not in (c.collect_limit, c.time_limit)
  rows = math.ceil(longest / repeat) + 1
  if needed > rows:
    shorter, advice = rows - needed + c.batch_length, []
    if shorter > 1:
      advice.append(f'--batch_length {shorter} or less')
    if not capped:
      advice.append(f'a longer --{name}')
    raise UserError(
        f'config: batch_length {c.batch_length} needs episodes of {needed} rows but '
        f'{"the limit of the suite," if suites else name} {longest}{" frames," if suites else ""} at '
        f'action_repeat {repeat} gives at most {rows}{f" of {task}" if c.tasks else ""}. '
        f'Pass {", or ".join(advice) or "a smaller --action_repeat"}.')


def check_heads(c):
  """Refuse patterns of heads that fit none, or name what is none. Empty ones mean none."""
  heads = [head for head, there in (
      ('decoder', c.get('obs_loss') != 'none'), ('reward', True), ('pcont', c.get('pcont'))) if there]
  explores = c.get('expl_behavior', 'greedy') != 'greedy' or 'adapt_heads' not in c
  solves = not explores or c.get('expl_until') or c.get('source')
  for key, used in (('grad_heads', explores), ('adapt_heads', solves)):
    pattern = c.get(key)
    if not (used and pattern):
      continue
    # Of words alone each has to be one, of whatever agent: 'decoder|pcont' leaves out rewards.
    wrong = [
        word for word in pattern.split('|') if re.fullmatch(r'\w+', word) and word not in HEADS]
    if wrong or not any(re.fullmatch(pattern, head) for head in heads):
      raise UserError(
          f'config: {key} {pattern!r} fits none of the heads that there are: {", ".join(heads)}. '
          f'{"Join them by |, such as " if heads[1:] else "Pass "}{"|".join(heads[:2])}; \'\' is none.')


def check_collectors(c):
  """The same for collectors apart from the learner."""
  if c.ray and not c.collectors:
    raise UserError(
        f'config: ray is {c.ray!r}, but there is nothing to run there. Pass --collectors 2, or more.')
  if not c.collectors:
    return
  if not c.overlap:
    raise UserError(
        f'config: collectors {c.collectors} play while updates are made. Pass --overlap True.')
  if c.envs % c.collectors:
    more = -(-c.envs // c.collectors) * c.collectors
    raise UserError(
        f'config: envs {c.envs} cannot be shared by collectors {c.collectors}. Pass --envs {more}, '
        'or a divisor of envs as --collectors.')
  if c.act_on == 'gpu':
    raise UserError('config: collectors act on the CPU, but act_on is gpu. Pass --act_on auto.')


def check_exploration(c):
  """The same for the keys that Plan2Explore alone has."""
  refuse = lambda text: UserError(f'config: {text}')
  if c.tasks:
    raise refuse(
        'tasks plays several environments, each with rewards of its own. Pass --task for the one '
        'to explore, and --zero_shot_tasks for further tasks of the same physics.')
  if c.zero_shot_tasks and not c.sibling_rewards:
    raise refuse('zero_shot_tasks need stored rewards. Pass --sibling_rewards True.')
  if c.expl_until >= c.steps and not (c.source or c.offline):
    raise refuse(
        f'expl_until {c.expl_until} is not before steps {c.steps}, so the task\'s actor would '
        f'never collect. Pass --expl_until {c.steps // 2}, or --expl_until 0 to go on exploring.')
  paid = c.expl_behavior not in ('random', 'greedy')
  if paid and c.expl_horizon == 1 and c.expl_bootstrap and not c.expl_replay:
    raise refuse(
        'expl_horizon 1 leaves no reward before the value that ends the returns. '
        'Pass --expl_horizon 2, or --expl_bootstrap False.')
  disagrees = c.expl_behavior == 'plan2explore'
  if disagrees and c.expl_replay and c.disag_input == 'feat' and c.batch_length < 3:
    raise refuse(
        'expl_replay with disag_input feat has no reward for the first row, so batch_length '
        f'{c.batch_length} leaves none. Pass --batch_length 3 or more.')
  if c.source and c.offline:
    raise refuse('source goes on with a run, offline only reads it. Pass one of them.')
  if c.snapshot and not (c.offline and c.expl_behavior == 'greedy' and c.head_opt == 'own'):
    raise refuse(
        'snapshot takes the world model of the run that offline names, and explores no more. '
        'Pass --configs ... snapshot --offline DIR, and head_opt own.')
  if c.expl_behavior == 'curiosity' and c.obs_loss != 'reconstruction':
    raise refuse(
        f'curiosity is the error of reconstruction, but obs_loss is {c.obs_loss}. '
        'Pass --obs_loss reconstruction.')
  if c.expl_replay and c.get('actor_grad') in ('reinforce', 'both'):
    raise refuse('expl_replay climbs the values of one imagined step. Pass --actor_grad dynamics.')
  squares = c.expl_behavior == 'rnd' and c.rnd_input == 'feat'  # paid as they are
  if paid and not disagrees and not squares and c.intr_log:
    raise refuse(
        f'{c.expl_behavior} is paid what a linear head expects, which can be negative and has no '
        'logarithm. Pass --intr_log False.')
  if not disagrees:
    return
  if c.expl_replay and c.disag_input == 'prior_feat':
    raise refuse(
        'disag_input prior_feat is what a row looks like before it is seen, but expl_replay values rows '
        'that were. Pass --disag_input deter, or --expl_replay False.')
  sound = {'deter': ('embed', 'stoch'), 'prior_feat': ('stoch',)}
  if c.disag_input in sound and c.disag_offset:
    raise refuse(
        f'disag_input {c.disag_input} has seen the action already, so it predicts its own row. '
        'Pass --disag_offset 0, or --disag_input feat.')
  if c.disag_input in sound and c.disag_target not in sound[c.disag_input]:
    raise refuse(
        f'disag_target {c.disag_target} is a part of disag_input {c.disag_input}, so there is '
        f'nothing to predict. Pass --disag_target {sound[c.disag_input][0]}.')
  if c.disag_action == 'past' and not c.disag_offset:
    raise refuse(
        'disag_action past is the action of the input, which at disag_offset 0 is that of the '
        'target. Pass --disag_action next.')
  if c.disag_input == 'feat' and not c.disag_offset:
    raise refuse(
        'disag_input feat has seen its own row, so it has to predict the next. '
        'Pass --disag_offset 1.')
  if 'deter' in (c.disag_input, c.disag_target) and c.latent_model != 'rssm':
    raise refuse(
        f'latent_model {c.latent_model} has no deter. '
        'Pass --disag_input feat --disag_target embed --disag_offset 1.')
  if c.intr_log and c.intr_reduce == 'jrd':
    raise refuse('intr_reduce jrd can be negative and has no logarithm. Pass --intr_log False.')
