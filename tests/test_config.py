"""Blocks merge as documented, and every mistake is refused in one sentence, early."""
import copy
import itertools
import os
import pathlib
import pickle
import re
import shutil
import subprocess
import sys

from ruamel import yaml
import pytest

from common import config
from common import envs
from common.config import files
from common.config import options

BLOCKS = yaml.YAML(typ='safe', pure=True).load(
    pathlib.Path(__file__).resolve().parents[1] / 'configs.yaml')

WORLD = """
defaults:
  task: dmc_walker_walk
  logdir: auto
  alpha: 1
  beta: 0.5
  steps: 5.0e6
  prefill: 5000
  time_limit: 1000
  collect_limit: 0
  deterministic: False
  prune_disk: False
  jit: auto
  devices: 1
  action_repeat: 2
  batch_length: 50
  batch_size: 50
  dataset_last_row: True
  cnn_keys: image
  mlp_keys: ''
  seed: 0
  overlap: False
  collectors: 0
  ray: ''
  offline: ''
  expl: additive_gaussian
  expl_amount: 0.3
  action_dist: tanh_normal
  planet: {gamma: 3, action_repeat: auto}
one: {alpha: 2, beta: 0.1, dreamer: {alpha: 3}, planet: {alpha: 4, gamma: 5}, gym: {alpha: 6}}
two: {alpha: 7}
three: {alpha: 10, two: {alpha: 11, seed: 1}, planet: {alpha: 12}}
gymnast: {task: gym_CartPole-v1}
bad_key: {alhpa: 1}
bad_sub: {deramer: {alpha: 1}}
"""


@pytest.fixture
def world(tmp_path, monkeypatch):
  """A small configs.yaml."""
  path = tmp_path / 'configs.yaml'
  path.write_text(WORLD)
  monkeypatch.setattr(files, 'configs_path', lambda: path)
  files.blocks.cache_clear()
  for key, low in {'alpha': 0, 'beta': 0.0, 'gamma': 0}.items():
    monkeypatch.setitem(options.RANGES, key, (low, None))
  yield lambda line, agent='dreamer': config.load(agent, line.split())
  files.blocks.cache_clear()


def refusal(line, agent='dreamer'):
  """Return the sentence that refuses a command line."""
  with pytest.raises(config.UserError) as error:
    envs.check(config.load(agent, line if isinstance(line, list) else line.split()))
  assert '\n' not in str(error.value)
  return str(error.value)


def test_later_blocks_win_and_flags_come_last(world):
  assert world('').alpha == 1
  assert world('--configs one two').alpha == 7
  assert world('--configs two one').alpha == 3
  assert world('--configs one two --alpha 8').alpha == 8
  assert world('--configs=two --alpha=8 --alpha=9').alpha == 9


def test_sub_blocks_of_the_agent_and_then_of_the_suite_win_over_plain_keys(world):
  assert world('--configs one').alpha == 3
  assert world('--configs one', 'planet').alpha == 4
  assert world('--configs one', 'plan2explore').alpha == 2
  assert world('--configs one --task gym_Pendulum-v1').alpha == 6
  assert world('--configs one gymnast').alpha == 6
  assert world('--configs gymnast one --task dmc_cup_catch').alpha == 3


def test_sub_blocks_of_another_block_count_where_that_is_named_before(world):
  assert [world('--configs ' + names).alpha for names in ('three', 'two three', 'three two')] == [
      10, 11, 7]
  both = world('--configs two three', 'planet')
  assert (both.alpha, both.seed) == (12, 1), 'the sub-block of the agent is written after'


def test_sub_blocks_count_in_the_order_in_which_they_are_written(world):
  path = files.configs_path()
  path.write_text(path.read_text() + (
      'early: {two: {alpha: 20}, planet: {alpha: 21}}\n'
      'late: {planet: {alpha: 21}, two: {alpha: 20}}\n'))
  assert [world(f'--configs two {name}', 'planet').alpha for name in ('early', 'late')] == [21, 20]


def variants(agent):
  """Names of blocks that suit an agent on DeepMind Control, but for suites and sizes."""
  for name, block in BLOCKS.items():
    if name not in ('dmc', 'dmc_proprio', 'cpu', 'debug', *options.SUITES) and not (
        set(block) <= {*config.AGENTS, *options.SUITES} - {agent, 'dmc'}):
      yield name


@pytest.mark.parametrize('size', ['cpu', 'debug'])
@pytest.mark.parametrize('agent', config.AGENTS)
def test_sizes_keep_variants_apart(agent, size):
  preset = lambda *names: config.preset(agent, ['dmc', *names], 'dmc_walker_walk')
  names = list(variants(agent))
  assert len(names) > 20
  published = {name: preset(name) for name in names} | {'': preset()}
  small = {name: preset(name, size) for name in names} | {'': preset(size)}
  for one, other in itertools.combinations(published, 2):
    if published[one] != published[other]:
      assert small[one] != small[other], (one, other)


@pytest.mark.parametrize('line, key, value', [
    ('random_shooting cpu', 'planner_topk', 1), ('random_shooting debug', 'planner_iterations', 1),
    ('repeat2 cpu', 'action_repeat', 2), ('gru_ref cpu', 'kl_scale', 0.0),
    ('overshooting cpu', 'overshooting_distance', 30)])
def test_what_a_variant_is_about_stays_in_a_small_size(line, key, value):
  assert config.load('planet', ['--configs', 'dmc', *line.split()])[key] == value


def test_dreamer_collects_whole_episodes_from_vectors():
  load = lambda agent, block: config.load(agent, ['--configs', block, 'cpu']).collect_limit
  assert load('dreamer', 'dmc') == 150 and load('dreamer', 'dmc_proprio') == 0
  assert load('planet', 'dmc') == 120 == load('planet', 'dmc_proprio')


@pytest.mark.parametrize('text, words', [
    ('mine: {alpha: {alpha: 1}}', "unknown sub-block 'alpha' in block 'mine'"),
    ('mine: {two: {1: 2}}', 'the key 1 is no word'), ('mine: {two: }', "unknown key 'two'"),
    ('seed: {alpha: 3}\nmine: {seed: 4}', '')])
def test_sub_blocks_that_are_none_are_refused(world, text, words):
  path = files.configs_path()
  path.write_text(path.read_text() + text + '\n')
  if words:
    assert words in refusal('--configs two mine')
  else:
    assert world('--configs seed mine').seed == 4


def test_keys_of_another_agent_are_unknown(world):
  assert world('', 'planet').gamma == 3
  assert world('--configs one', 'planet').gamma == 5
  assert 'gamma' not in world('--configs one')
  assert "unknown key 'gamma'" in refusal('--gamma 1')


def test_auto_is_accepted_where_it_is_the_default_of_the_agent(world):
  assert world('', 'planet').action_repeat == 2
  assert world('--task dmc_cartpole_swingup', 'planet').action_repeat == 8
  assert world('--action_repeat 4', 'planet').action_repeat == 4
  assert 'action_repeat' in refusal('--action_repeat auto')


def test_keys_with_regular_expressions_hit_all_matches(world):
  loaded = world('--(alpha|seed) 4')
  assert (loaded.alpha, loaded.seed, loaded.beta) == (4, 4, 0.5)
  assert "unknown key 'x.*'" in refusal('--x.* 4')


def test_misspelt_keys_and_sub_blocks_of_a_block_are_refused(world):
  assert "unknown key 'alhpa' in block 'bad_key'. Nearest: alpha" in refusal('--configs bad_key')
  assert 'Nearest: dreamer' in refusal('--configs bad_sub')
  assert "unknown block 'defaults'" in refusal('--configs defaults')


def test_values_take_the_type_of_their_key():
  loaded = config.load('dreamer', (
      '--steps 1e6 --batch_size 1.0e1 --model_lr 1e-4 --kl_scale 2 --pcont true --jit False '
      '--camera 1 --rssm_hidden auto --mlp_keys .*').split())
  assert loaded.steps == 1000000 and isinstance(loaded.steps, int)
  assert loaded.batch_size == 10 and isinstance(loaded.batch_size, int)
  assert loaded.model_lr == 1e-4
  assert loaded.kl_scale == 2.0 and isinstance(loaded.kl_scale, float)
  assert loaded.pcont is True and loaded.jit is False
  assert loaded.camera == 1 and loaded.rssm_hidden == 'auto' and loaded.mlp_keys == '.*'


@pytest.mark.parametrize('line, words', [
    ('--configs dmx', "'dmx' Nearest: dmc"),
    ('--logdir gs://bucket/run', 'logdir gs://bucket/run: is an address'),
    ('--eval_every 1e16', 'eval_every must be a whole number from 1'),
    ('--configs cpu dmc', 'cpu is for what dmc sets Pass --configs dmc cpu.'),
    ('--configs dreamerv2 random_collect debug atari', 'Pass --configs atari random_collect dreamerv2 debug.'),
    ('--planner_horizon 3', 'planner_horizon is of planet alone'),
    ('--expl_until 3', 'expl_until is of plan2explore alone'),
    ('--batch_sizes 10', 'batch_sizes Nearest: batch_size configs.yaml'),
    ('--task dcm_walker_walk', 'dmc'),
    ('--task dmc_walker_wlak', 'dmc_walker_walk'),
    ('--precision float16', 'float32 mixed_float16'),
    ('--steps 1.5', "steps '1.5' whole Default: 5000000"),
    ('--steps -5', "'-5' least"),
    ('--batch_size ten', 'batch_size whole'),
    ('--batch_size True', 'batch_size whole'),
    ('--discount 1.1', 'discount from 0 to 1'),
    ('--kl_scale nan', 'kl_scale number'),
    ('--pcont 1', 'pcont True or False'),
    ('--horizon 1', 'horizon least 2'),
    ('--cnn_keys (', 'cnn_keys regular expression'),
    ('--batch_length 502', 'batch_length 502 time_limit 1000 501'),
    ('--collect_limit 60 --batch_length 40', 'batch_length 40 collect_limit 60 31'),
    ('--configs dmc dreamerv2_schedules', 'nothing for dreamer on tasks of dmc, it is for atari'),
    ('--seed', 'seed needs a value'),
    ('--batch_length 501 --dataset_last_row False', '502 --batch_length 500'),
    ('--prefill 97', 'prefill --prefill 98'),
    ('--action_dist onehot', 'continuous tanh_normal'),
    ('--task gym_CartPole-v1 --configs gym --expl epsilon_greedy --expl_amount 2',
     'expl_amount probability'),
    ('--expl epsilon_greedy', 'continuous additive_gaussian'),
    ('--time_limit 4000 --batch_length 600', 'batch_length 600 suite 1000 501'),
    ('--deterministic True --prune_disk True', 'deterministic prune_disk'),
    ('--devices 3', 'batch_size 50 devices'),
    ('--configs contrastive --devices 2', 'contrastive whole batch --devices'),
    (['--cnn_keys', ''], 'cnn_keys mlp_keys empty'),
    ('--seed', '--seed needs a value'),
    ('--seed 2147483647', 'seed 2e+09'),
    ('--configs --seed 1', '--configs needs name'),
    ('dmc', "unexpected 'dmc'"),
])
def test_a_mistake_is_refused_with_what_was_expected(line, words):
  sentence = refusal(line)
  for word in words.split():
    assert word in sentence


@pytest.mark.parametrize('flags, words', [
    (['--grad_heads', 'decoder,reward'], 'fits none of the heads that there are: decoder, reward'),
    (['--grad_heads', 'decoder|rewards'], "grad_heads 'decoder|rewards' fits none"),
    (['--grad_heads', 'pcont'], "grad_heads 'pcont' fits none"),
    (['--grad_heads', 'decoder', '--obs_loss', 'none'], 'heads that there are: reward'),
    (['--configs', 'multitask', '--task', 'dmc_hopper_hop'], 'dmc_hopper_hop is one task'),
    (['--configs', 'multitask', '--batch_length', '200'], 'at most 126 of dmc_cartpole_swingup'),
    (['--latent_model', 'drnn', '--rssm_layers', '3'], 'rssm_layers means nothing with latent_model drnn'),
    (['--latent_model', 'ssm', '--future_rnn', 'False'], 'future_rnn means nothing'),
    (['--slow_value_fraction', '0.5'], 'slow_value_fraction means nothing with slow_value 0'),
    (['--aligned_baseline', 'True'], 'aligned_baseline means nothing with actor_grad dynamics'),
    (['--pcont_scale', '5'], 'pcont_scale means nothing with pcont False'),
    (['--weight_decay_pattern', 'kernel'], 'weight_decay_pattern means nothing'),
    (['--act_on', 'gpu'], 'act_on means nothing with overlap False'),
    (['--latent', 'categorical', '--shared_noise', 'True'], 'shared_noise means nothing with latent cat'),
    (['--rssm_layer.', '2', '--latent_model', 'ssm'], 'rssm_layers means nothing with latent_model ssm'),
    (['--tasks', 'dmc_walker_run,dmc_walker_walk,dmc_walker_run'], 'tasks names dmc_walker_run twice'),
    (['--configs', 'atari', '--eval_noise', '1.5'], 'eval_noise 1.5 is the probability'),
    (['--configs', 'atari', '--expl_min', '1.5'], 'expl_min 1.5 is the probability'),
    (['--tasks', ','], "tasks is ',', which names none"),
    (['--tasks', 'dmc_walker_run:0,dmc_walker_walk', '--batch_length', '900'], 'batch_length 900'),
    (['--deterministic', 'True', '--save_every', '7'], 'save_every means nothing with deterministic True'),
    (['--offline', 'x', '--prune_disk', 'True'], 'prune_disk means nothing with offline'),
    (['--expl', 'completely_random', '--eval_noise', '0.1'], 'eval_noise means nothing with expl completely_random'),
    (['--random_style', 'gaussian'], 'random_style means nothing with expl additive_gaussian'),
    (['--slow_value', '9', '--slow_value_fraction', '0'], 'slow_value_fraction 0 leaves the slow value as it'),
    (['--onehot_gradient', 'score'], 'onehot_gradient means nothing with action_dist tanh_normal'),
    (['--configs', 'atari', '--action_init_std', '3'], 'action_init_std means nothing with action_dist onehot'),
    (['--use_value', 'False', '--disclam', '0.5'], 'disclam means nothing with use_value False'),
    (['--actor_mean_scale', '3', '--action_dist', 'trunc_normal'], 'actor_mean_scale means nothing'),
    (['--configs', 'dmc', 'dreamerv2', '--actor_grad_mix', '0.5'], 'actor_grad_mix means nothing with actor_grad auto'),
    (['--offline', 'x', '--train_episodes', '2'], 'train_episodes means nothing with offline'),
    (['--collect_limit', '500', '--collect_limit_from', '9'], 'collect_limit_from means nothing with collect_limit_doubles 0'),
    (['--atari_sticky', '0'], 'atari_sticky means nothing with tasks of dmc'),
    (['--configs', 'atari', '--camera', '1'], 'camera means nothing with tasks of atari'),
    (['--configs', 'atari', '--atari_life_end', 'False', '--atari_life_length', '9'],
     'atari_life_length means nothing with atari_life_end False'),
    (['--expl_schedule', 'linear', '--expl_min', '0.1'], 'expl_min means nothing with expl_schedule lin')])
def test_what_fits_nothing_and_what_nothing_reads_is_refused(flags, words):
  agent = 'planet' if 'multitask' in flags else 'dreamer'
  with pytest.raises(config.UserError, match=re.escape(words).replace('\\ ', ' ')):
    config.load(agent, flags)


def test_what_no_suite_reads_is_left_to_the_message_about_the_task():
  with pytest.raises(config.UserError, match='Did you mean dmc_walker_walk'):
    envs.check(config.load('dreamer', ['--task', 'walker_walk', '--camera', '1']))


@pytest.mark.parametrize('agent, flags', [
    ('dreamer', ['--grad_heads', '']), ('dreamer', ['--grad_heads', 'decoder|pcont']),
    ('dreamer', ['--latent_model', 'drnn', '--rssm_layers', '1']),
    ('plan2explore', ['--configs', 'oracle', '--grad_heads', 'rewards']),
    ('plan2explore', ['--adapt_heads', 'nothing'])])
def test_what_nothing_reads_may_say_what_holds_anyway(agent, flags):
  config.load(agent, flags)


@pytest.mark.parametrize('flags, key', [
    (['--expl_behavior', 'curiosity', '--disag_models', '9'], 'disag_models'),
    (['--expl_behavior', 'random', '--intr_reduce', 'jrd'], 'intr_reduce'),
    (['--rnd_input', 'feat'], 'rnd_input'), (['--curiosity_scale', '3'], 'curiosity_scale'),
    (['--expl_replay', 'True', '--expl_horizon', '3'], 'expl_horizon'),
    (['--disag_lr', '1e-3'], 'disag_lr'), (['--disag_units', '9', '--disag_width_factor', '2'], 'disag_width_factor'),
    (['--configs', 'curiosity', '--curiosity_shapes', 'True', '--disag_lr', '1e-3'], 'disag_lr'),
    (['--expl_freeze', 'True'], 'expl_freeze'), (['--configs', 'random', '--extr_scale', '1'], 'extr_scale'),
    (['--configs', 'random', '--expl_horizon', '5'], 'expl_horizon'), (['--configs', 'oracle', '--expl_until', '9000'], 'expl_until'),
    (['--intr_reduce', 'jrd', '--intr_ddof', '1'], 'intr_ddof')])
def test_what_another_explorer_reads_is_refused(flags, key):
  with pytest.raises(config.UserError, match=f'{key} means nothing with (expl_|disag_|curiosity_|intr_)'):
    config.load('plan2explore', flags)


@pytest.mark.parametrize('flags', [
    ['--expl_behavior', 'icm', '--disag_lr', '1e-3'], ['--disag_opt', 'own', '--disag_lr', '1e-3'],
    ['--configs', 'random', '--random_style', 'authors'], ['--expl', 'completely_random', '--random_style', 'gaussian'],
    ['--use_value', 'False', '--disclam', '0.5'],  # of the explorer's returns
    ['--expl_until', '1000', '--expl_freeze', 'True'], ['--source', 'there', '--expl_freeze', 'True'],
    ['--expl_behavior', 'rnd', '--rnd_input', 'feat', '--intr_log', 'True']])
def test_what_this_explorer_reads_is_taken(flags):
  config.load('plan2explore', flags)


@pytest.mark.parametrize('line, words, not_words', [
    ('--collect_limit 1000 --time_limit 2000 --batch_length 600', '--batch_length 501', 'a longer'),
    ('--task dmc_lqr_lqr_2_1 --batch_length 600', 'a longer --time_limit', 'suite'),
    ('--time_limit 600 --batch_length 400', 'a longer --time_limit', 'suite')])
def test_the_remedy_for_long_sequences_helps(line, words, not_words):
  sentence = refusal(line)
  assert words in sentence and not_words not in sentence


def test_the_block_after_dreamerv2_explores_without_noise_after_every_suite():
  for suite in ('dmc', 'atari', 'discrete'):
    loaded = config.load('plan2explore', ['--configs', suite, 'p2e_v2'])
    assert (loaded.expl_amount, loaded.expl_min, loaded.expl_decay) == (0, 0, 0)


def test_blocks_after_a_second_configs_come_after_the_first():
  loaded = config.load('dreamer', ['--configs', 'dmc_proprio', '--seed', '3', '--configs=cpu', 'debug'])
  assert loaded.configs == ['dmc_proprio', 'cpu', 'debug'] and not loaded.cnn_keys
  assert config.names_blocks(['--configs=cpu']) and not config.names_blocks(['--config', 'cpu'])
  assert config.with_blocks(['gym'], ['--seed', '1']) == ['--configs', 'gym', '--seed', '1']
  assert config.with_blocks(['gym'], ['--configs=cpu']) == ['--configs=cpu']


def test_blocks_fit_the_suite_of_the_tasks_that_a_block_names():
  repeats = lambda *names: config.repeats(config.load('planet', ['--configs', *names]))
  assert repeats('gym', 'multitask', 'cpu') == repeats('multitask', 'cpu')


def test_several_tasks_are_remembered_to_the_end():
  loaded = config.load('planet', ['--configs', 'multitask'])
  assert loaded.replay_capacity >= loaded.steps


def test_worlds_with_a_noisy_screen_fit_the_small_sizes():
  loaded = config.load('plan2explore', ['--configs', 'noisytv', 'cpu'])
  assert (loaded.action_repeat, loaded.batch_length) == (1, 15)


def test_the_example_of_heads_names_those_that_there_are():
  with pytest.raises(config.UserError) as error:
    config.load('dreamer', ['--obs_loss', 'none', '--grad_heads', 'decoder'])
  assert 'Pass reward;' in str(error.value)


def test_paths_are_the_same_however_home_is_written():
  home = os.path.expanduser('~')
  old, new = {'offline': '~/x', 'seed': 1}, {'offline': f'{home}/x', 'seed': 2}
  assert config.difference(old, new, ['offline', 'seed']) == ['seed: 1 there, 2 here']


def test_a_pattern_that_fits_only_what_nothing_reads_is_refused():
  with pytest.raises(config.UserError, match='actor_l. means nothing to planet'):
    config.load('planet', ['--actor_l.', '1e-3'])


def test_several_tasks_take_the_blocks_of_their_suite():
  loaded = config.load('dreamer', [
      '--configs', 'dmc', 'cpu', '--tasks', 'gym_Pendulum-v1,gym_MountainCarContinuous-v0'])
  alone = config.load('dreamer', ['--configs', 'dmc', 'cpu', '--task', 'gym_Pendulum-v1'])
  assert (loaded.action_repeat, loaded.batch_size) == (alone.action_repeat, alone.batch_size)


def test_an_edited_file_of_a_run_is_settled_or_refused_by_its_name():
  values = {'agent': 'planet', 'action_repeat': 'auto', 'task': 'dmc_cartpole_swingup'}
  assert config.restore(values, 'x.yaml')['action_repeat'] == 8
  values = {'agent': 'dreamer', 'tasks': 'dmc_walker_run,dmc_walker_walk', 'action_repeat': 3}
  restored = config.restore(values, 'x.yaml')
  assert config.tasks(restored) == [('dmc_walker_run', 3), ('dmc_walker_walk', 3)]
  values['tasks'] = 'dmc_walker_run:2,dmc_walker_walk'
  restored = config.restore(values, 'x.yaml')
  assert config.tasks(restored) == [('dmc_walker_run', 2), ('dmc_walker_walk', 3)]
  with pytest.raises(config.UserError, match="x.yaml: names the agent 'foo'"):
    config.restore({'agent': 'foo'}, 'x.yaml')


def test_flags_of_patterns_may_also_fit_what_nothing_reads():
  loaded = config.load('dreamer', ['--.*_layers', '2'])
  assert loaded.reward_layers == loaded.pcont_layers == 2
  config.load('planet', ['--.*_lr', '1e-4'])
  config.load('plan2explore', [
      '--configs', 'p2e_authors', '--zero_shot_tasks', 'dmc_cheetah_run', '--head_lr', '3e-4'])


@pytest.mark.parametrize('flags', [['--pcont_scale', '1'], ['--grad_heads', 'rewards']])
def test_a_run_that_was_begun_with_what_is_refused_today_goes_on(tmp_path, flags):
  argv = ['--logdir', str(tmp_path / 'run'), *flags]
  with pytest.raises(config.UserError):
    config.load('dreamer', argv)
  begun = config.load('dreamer', argv[:2])
  key = flags[0].removeprefix('--')
  (tmp_path / 'run').mkdir()
  config.save(begun.replace(**{key: type(begun[key])(flags[1])}), tmp_path / 'run' / 'config.yaml')
  assert config.load('dreamer', argv)[key] == type(begun[key])(flags[1])
  offline = ['--logdir', str(tmp_path / 'new'), '--offline', str(tmp_path / 'run')]
  assert config.load('dreamer', [*offline, *flags])[key] == type(begun[key])(flags[1])


def test_environments_of_users_count_as_those_of_gym_in_small_sizes():
  loaded = config.load('dreamer', ['--configs', 'gym', 'cpu', '--task', 'py_my_world:Dot'])
  assert (loaded.action_repeat, loaded.batch_size, loaded.batch_length) == (1, 10, 15)


@pytest.mark.parametrize('line, key, value', [
    ('dreamer discrete dreamerv2 dmlab_x', 'train_every', 20),
    ('dreamer discrete dreamerv2 dmlab_x', 'prefill', 40000),
    ('dreamer dreamerv2 dmlab_x', 'action_repeat', 4),
    ('dreamer dreamerv2 atari_pong', 'action_repeat', 4),
    ('dreamer dreamerv2 atari_pong', 'time_limit', 108000),
    ('dreamer discrete dmlab_x', 'prefill', 10000),
    ('planet dmc dreamerv2 dmc_walker_walk', 'expl_amount', 0.3),
    ('planet dmc dreamerv2 dmc_walker_walk', 'free_nats_mode', 'mean'),
    ('planet dmc multitask cpu -', 'steps', 240000),
    ('planet dmc multitask cpu -', 'prefill', 30000),
    ('planet dmc multitask -', 'train_every', 6000), ('planet dmc multitask -', 'train_steps', 600),
    ('planet dmc multitask -', 'pretrain', 600),
    ('plan2explore dmc max dmc_walker_walk', 'disag_opt', 'own'),
    ('plan2explore dmc max_authors dmc_walker_walk', 'disag_opt', 'shared'),
    ('planet dmc v1 cpu dmc_walker_walk', 'overshooting_distance', 30),
    ('planet dmc v1 cpu dmc_walker_walk', 'free_nats', 2.0),
    ('planet dmc camera_ready cpu dmc_walker_walk', 'num_units', 100),
    ('dreamer dmc dreamerv2 random_collect dmc_walker_walk', 'expl', 'completely_random')])
def test_blocks_one_after_another_mean_what_each_is_about(line, key, value):
  agent, *names, task = line.split()
  flags = [] if task == '-' else ['--task', task]
  assert config.load(agent, ['--configs', *names, *flags])[key] == value


def test_an_offline_run_collects_nothing_that_could_be_too_little():
  assert config.load('dreamer', ['--offline', 'somewhere', '--prefill', '0']).prefill == 0


def test_the_longest_possible_sequence_is_accepted():
  config.load('dreamer', '--batch_length 501'.split())
  config.load('dreamer', '--batch_length 500 --dataset_last_row False'.split())


def test_refusal_takes_under_three_seconds_and_creates_nothing(tmp_path, root, processor_seconds):
  program = (
      'import sys; from dreamer import train\n'
      'try:\n'
      '  train.main()\n'
      'finally:\n'
      '  assert "tensorflow" not in sys.modules')
  for flags in ('--task dmc_walker_wlak', '--batch_siz 3', '--batch_length 9999'):
    result, seconds = processor_seconds(
        subprocess.run, [sys.executable, '-c', program, '--logdir', 'new/logs', *flags.split()],
        cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2 and result.stdout == '', result
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert not list(tmp_path.iterdir())
    assert seconds < 3, f'{flags}: {seconds:.1f} s'


def test_default_logdir_names_task_agent_blocks_and_seed():
  loaded = config.load('dreamer', '--configs dmc debug --seed 3'.split())
  home = pathlib.Path.home()
  assert loaded.logdir == str(home / 'logs/dmc_walker_walk/dreamer-dmc-debug/3')
  assert config.load('dreamer', ['--logdir', '~/x']).logdir == str(home / 'x')
  assert (loaded.agent, loaded.configs) == ('dreamer', ['dmc', 'debug'])


def test_config_is_frozen():
  loaded = config.Config({'alpha': 1})
  with pytest.raises(AttributeError, match='frozen'):
    loaded.alpha = 2
  with pytest.raises(TypeError):
    loaded['alpha'] = 2
  with pytest.raises(AttributeError, match='Nearest: alpha'):
    loaded.alhpa  # pylint: disable=pointless-statement
  with pytest.raises(KeyError):
    loaded.replace(beta=2)
  assert loaded.replace(alpha=2).alpha == 2 and loaded.alpha == 1


def test_config_survives_pickle_and_copy():
  loaded = config.Config({'alpha': 1, 'names': ['a']})
  assert pickle.loads(pickle.dumps(loaded)) == copy.deepcopy(loaded) == loaded


def test_saved_config_reads_back_equal(tmp_path):
  loaded = config.load('dreamer', '--configs dmc_proprio'.split())
  spaces = {'act_space': {'shape': [6], 'low': -1.0, 'high': 1.0}}
  config.save(loaded, tmp_path / 'config.yaml', spaces)
  again = config.read(tmp_path / 'config.yaml')
  assert dict(again) == {**loaded, **spaces}
  assert {key: type(again[key]) for key in loaded} == {key: type(loaded[key]) for key in loaded}
  assert [path.name for path in tmp_path.iterdir()] == ['config.yaml']


@pytest.mark.parametrize('text', ['a: [', '- a', '', 'a: 1\na: 2', None])
def test_unreadable_config_is_refused_by_name(tmp_path, text):
  path = tmp_path / 'config.yaml'
  if text is not None:
    path.write_text(text)
  with pytest.raises(config.UserError, match='config.yaml'):
    config.read(path)


def test_difference_names_both_values():
  lines = config.difference({'a': 1, 'b': 2}, {'a': 1, 'b': 3, 'c': 4}, ['a', 'b', 'c'])
  assert lines == ['b: 2 there, 3 here', 'c: None there, 4 here']


def test_entry_turns_ctrl_c_into_130():
  @config.entry
  def main(argv=None):
    raise KeyboardInterrupt
  with pytest.raises(SystemExit) as error:
    main([])
  assert error.value.code == 130


def test_help_leaves_out_what_an_agent_refuses(capsys):
  with pytest.raises(SystemExit):
    config.load('planet', ['--help'])
  shown = capsys.readouterr().out
  assert '\n  batch_size:' in shown and '\n    planner_topk:' in shown
  assert not [key for key in config.options.UNUSED['planet'] if f'\n  {key}:' in shown]
  assert '\n  # Optimisation\n' in shown and '# Behaviour' not in shown  # a heading of nothing


def test_help_lists_every_key_and_block(capsys):
  with pytest.raises(SystemExit) as error:
    config.load('dreamer', ['--help'])
  assert not error.value.code
  text = capsys.readouterr().out
  for name in set(_defaults('dreamer')) | set(BLOCKS) - {'defaults'}:
    assert re.search(rf'^  {name}\b', text, re.M), name


def test_every_key_has_exactly_one_rule_and_every_rule_a_key():
  rules = [*options.CHOICES, *options.RANGES, *options.PATTERNS, *options.FREE]
  assert len(rules) == len(set(rules))
  known = {}
  for agent in config.AGENTS:
    known.update(_defaults(agent))
  for key, value in known.items():
    assert key in rules or isinstance(value, bool), f'{key} needs a rule in common/config/options.py'
  assert not set(rules) - set(known)


def test_bounds_are_both_whole_or_both_real():
  for key, (low, high) in options.RANGES.items():
    assert high is None or (type(low) is type(high) and low <= high), key


@pytest.mark.parametrize('agent', config.AGENTS)
@pytest.mark.parametrize('name', [name for name in BLOCKS if name != 'defaults'])
def test_every_block_suits_every_agent_or_says_whose_it_is(agent, name):
  owners = [key for key in BLOCKS[name] if key in config.AGENTS]
  if len(owners) == len(BLOCKS[name]) and agent not in owners:
    with pytest.raises(config.UserError, match=f'nothing for {agent}, it is for {owners[0]}'):
      config.load(agent, ['--configs', name])
    return
  if (agent, name) == ('plan2explore', 'multitask'):
    with pytest.raises(config.UserError, match='--zero_shot_tasks'):
      config.load(agent, ['--configs', name])
    return
  if (agent, name) == ('plan2explore', 'reward_only'):  # only where rewards count
    with pytest.raises(config.UserError, match="grad_heads 'decoder' fits none of .*: reward[.]"):
      config.load(agent, ['--configs', name])
    config.load(agent, ['--configs', name, 'oracle'])
    return
  more = {'snapshot': ['--offline', 'somewhere'], 'few_shot': ['--expl_until', '400']}.get(name, [])
  names = ['atari', 'dreamerv2', name] if name == 'dreamerv2_schedules' else [name]
  config.load(agent, ['--configs', *names, *more])
  config.load(agent, ['--configs', *names, 'debug', *more])


def test_configs_yaml_is_found_from_an_installed_package(tmp_path, root):
  # What setup.py does when it builds: the file is copied into the package.
  target = tmp_path / 'common'
  shutil.copytree(root / 'common' / 'config', target / 'config')
  (target / 'configs.yaml').write_text((root / 'configs.yaml').read_text())
  program = 'from common import config; config.load("dreamer", ["--help"])'
  result = subprocess.run(
      [sys.executable, '-c', program], cwd=tmp_path, capture_output=True, text=True,
      env={'PYTHONPATH': str(tmp_path)}, timeout=60)
  assert 'batch_size' in result.stdout, result.stderr


def _defaults(agent):
  block = BLOCKS['defaults']
  plain = {key: value for key, value in block.items() if not isinstance(value, dict)}
  return {**plain, **(block.get(agent) or {})}


def test_the_image_size_that_works_is_named():
  with pytest.raises(config.UserError, match='image_size is .32. on the command line but must be 64'):
    config.load('dreamer', ['--image_size', '32'])


def test_the_block_of_the_papers_first_code_has_its_objective_optimiser_and_cells():
  found = config.load('dreamer', ['--configs', 'dmc', 'dmc_tf1'])
  expected = dict(
      free_nats_mode='element', adam_eps=1e-4, pcont_scale=1.0, rssm_gru='block',
      rssm_split_heads=True)
  assert {key: found[key] for key in expected} == expected
