"""Runs of Plan2Explore and runs that begin from others: copies, offline, stored rewards, coverage."""
import contextlib
import json
import os
import shutil
import signal
import types

import numpy as np
import pytest

from common import config as config_lib
from common import envs
from common import evaluate
from common.config import UserError
from common.data import coverage
from common.data import episodes as files
from common.data import sources
from common.data.driver import Driver
from common.envs import dmc_extras
from common.envs import noisytv
from common.loop import checkpoint
from common.loop import logdir
from common.loop import parts
from dreamer import train as dreamer
import loops
from plan2explore import train as plan2explore
from plan2explore.agent import Plan2Explore
from plan2explore.studies import coverage as coverage_study
from plan2explore.studies import grid
from plan2explore.studies import noisy_tv

TASK = ['--task', 'toy_maze_vector', '--batch_length', '10']
SIBLING = 'toy_maze_down_vector'


def rows(path, name):
  found = [json.loads(line) for line in (path / 'metrics.jsonl').read_text().splitlines()]
  return [row for row in found if name in row]


def contents(path):
  return {
      file.relative_to(path): file.read_bytes() for file in sorted(path.rglob('*'))
      if file.is_file()}


@pytest.fixture(scope='module')
def explored(tmp_path_factory):
  """A short exploration with a further task."""
  path = tmp_path_factory.mktemp('explored') / 'run'
  plan2explore.main([
      '--configs', 'toy', 'debug', *TASK, '--zero_shot_tasks', SIBLING, '--steps', '420',
      '--eval_every', '180', '--logdir', str(path), '--quiet'])
  return path


def test_an_exploration_stores_all_rewards_and_reports_every_task(explored):
  episode = np.load(sorted((explored / 'episodes').glob('*.npz'))[-1])
  assert {'reward/toy_maze_vector', f'reward/{SIBLING}', 'log_state'} <= set(episode.files)
  np.testing.assert_array_equal(episode['reward'], episode['reward/toy_maze_vector'])
  row = rows(explored, 'eval/return')[-1]
  assert {'eval/return/toy_maze_vector', f'eval/return/{SIBLING}'} <= set(row)
  train = rows(explored, 'agent/model_loss')[-1]
  wanted = ('expl_reward_mean', 'expl_reward_replay', 'ensemble_loss', 'ensemble_error',
            'disagreement_to_error', f'actor_loss/{SIBLING}')
  assert all(f'agent/{name}' in train for name in wanted)
  episodes = rows(explored, 'train/coverage')
  assert episodes[-1]['train/coverage_total'] >= episodes[0]['train/coverage_total'] > 1


def test_several_tasks_are_evaluated_by_their_names(explored, capsys):
  evaluate.main(['--logdir', str(explored), '--episodes', '1'])
  *_, whole, first, second, printed = capsys.readouterr().out.splitlines()
  row = json.loads(printed)
  assert whole.startswith('2 tasks, mean of all, at ') and f'return {row["return"]:.1f}' in whole
  assert row['returns'].keys() == {'toy_maze_vector', SIBLING}
  for line, (task, returns) in zip((first, second), row['returns'].items()):
    assert line.startswith(f'  {task}: return {returns[0]:.1f} +- 0.0 over 1 episodes (zero action ')
  assert 'over 1 episodes of each (zero' in whole
  for name in ('zero_return', 'random_return'):
    assert row[name] == pytest.approx(np.mean([row[f'{name}/{task}'] for task in row['returns']]))


def test_few_shot_goes_on_from_a_source_and_leaves_it_as_it_is(explored, tmp_path, monkeypatch):
  before = contents(explored)
  read = checkpoint.Progress.deserialize
  def with_faults(self, text):
    read(self, text)
    self.values['faults'] = {'env/restarts': 3}
  monkeypatch.setattr(checkpoint.Progress, 'deserialize', with_faults)
  monkeypatch.chdir(explored)  # in whose directory the command is started
  plan2explore.main([
      '--configs', 'toy', 'few_shot', 'debug', *TASK, '--zero_shot_tasks', SIBLING, '--source',
      '.', '--steps', '600', '--logdir', str(tmp_path / 'run'), '--quiet'])
  assert contents(explored) == before
  found = rows(tmp_path / 'run', 'eval/return')
  assert found[0]['step'] == 420 and found[-1]['step'] == 600
  updates = rows(tmp_path / 'run', 'agent/updates')
  assert updates[0]['agent/updates'] > rows(explored, 'agent/updates')[-1]['agent/updates']
  assert not any(row.get('env/restarts') for row in rows(tmp_path / 'run', 'train/return'))


def test_a_copy_that_is_killed_before_its_first_burst_keeps_its_grid(explored, tmp_path, monkeypatch):
  argv = [
      '--configs', 'toy', 'few_shot', 'debug', *TASK, '--zero_shot_tasks', SIBLING, '--source', str(explored),
      '--steps', '600', '--eval_every', '90', '--train_every', '100', '--logdir', str(tmp_path), '--quiet']
  with monkeypatch.context() as patch:
    patch.setattr(parts.Parts, 'close', lambda self: None)
    loops.write_at_once(patch.setattr)
    loops.kill_at(patch, Driver, '_step', 125)  # in the second episode after the evaluation
    with pytest.raises(loops.Kill):
      plan2explore.main(argv)
  assert [row['step'] for row in rows(tmp_path, 'train/return')] == [480]
  # The same source in other words.
  monkeypatch.setenv('HOME', str(explored.parent))
  place = argv.index('--source')
  del argv[place:place + 2]
  argv += [f'--source=~/{explored.name}']
  plan2explore.main(argv)
  assert [row['step'] for row in rows(tmp_path, 'eval/return')] == [420, 540, 600]


@pytest.mark.parametrize('agent, flags', [
    ('dreamer', []), ('plan2explore', []),
    ('plan2explore', ['--configs', 'toy', 'snapshot', 'debug'])])
def test_offline_runs_learn_from_other_episodes_and_count_updates(
    explored, tmp_path, agent, flags):
  before = contents(explored)
  main = {'dreamer': dreamer.main, 'plan2explore': plan2explore.main}[agent]
  path = tmp_path / 'run'
  for steps in ('400', '600'):  # and once more to continue
    main([
        *(flags or ['--configs', 'toy', 'debug']), *TASK, '--offline', str(explored), '--steps', steps,
        '--logdir', str(path), '--quiet'])
  assert contents(explored) == before
  assert not (path / 'episodes').exists() and not rows(path, 'train/return')
  assert rows(path, 'eval/return')[-1]['step'] == 666
  # 3 updates stand for 100 frames; the first 2 are those of pretrain.
  assert rows(path, 'agent/updates')[-1]['agent/updates'] == 20
  assert evaluate.evaluate(path, 1)[0]['step'] == 666


def test_offline_runs_of_a_sibling_learn_from_its_stored_rewards(explored, tmp_path):
  dreamer.main([
      '--configs', 'toy', 'debug', '--task', SIBLING, '--batch_length', '10', '--offline',
      str(explored), '--steps', '200', '--logdir', str(tmp_path / 'run'), '--quiet'])
  assert rows(tmp_path / 'run', 'agent/reward_loss')


def test_a_snapshot_keeps_the_world_model(explored, tmp_path):
  import common
  from common.loop import checkpoint
  from common.model import devices
  path = tmp_path / 'run'
  plan2explore.main([
      '--configs', 'toy', 'snapshot', 'debug', *TASK, '--offline', str(explored), '--steps', '200',
      '--logdir', str(path), '--quiet'])
  one, two = common.load(explored).world_model, common.load(path).world_model
  for name in ('encoder', 'rssm', 'decoder'):
    for a, b in zip(getattr(one, name).variables, getattr(two, name).variables):
      np.testing.assert_array_equal(a, b)
  differs = [not np.array_equal(a, b) for a, b in zip(one.reward.variables, two.reward.variables)]
  assert any(differs)
  config, obs, act = logdir.load_config(path)
  other = checkpoint.agent_class('plan2explore')(
      devices.setup(config.replace(deter_size=7)), obs, act)
  with pytest.raises(UserError, match='does not fit'):
    checkpoint.restore_world_model(explored, other.world_model)
  # A copy whose newest checkpoint is damaged has an older one.
  shutil.copytree(explored / 'checkpoint', tmp_path / 'copy' / 'checkpoint')
  newest = max((tmp_path / 'copy' / 'checkpoint').glob('*.index'), key=checkpoint._number)
  (newest.parent / 'ckpt-1000.index').write_bytes(newest.read_bytes()[:20])
  checkpoint.restore_world_model(tmp_path / 'copy', other_world := common.load(path).world_model)
  for a, b in zip(one.rssm.variables, other_world.rssm.variables):
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize('flags, message', [
    (['--offline', '{tmp}/nothing'], 'config.yaml is missing'),
    (['--source', '{tmp}/nothing'], 'config.yaml is missing'),
    (['--offline', '{empty}'], 'has no episodes'),
    (['--offline', '{run}', '--action_repeat', '2'], 'action_repeat: 1 there, 2 here'),
    (['--offline', '{run}', '--task', 'toy_lock_vector'], 'vector is vector [30] there'),
    (['--offline', '{run}', '--camera', '1'], "camera: 'auto' there, 1 here"),
    (['--offline', '{run}', '--atari_resize', 'bilinear'], "atari_resize: 'area' there"),
    (['--offline', '{run}', '--configs', 'toy', 'snapshot', 'debug', '--future_rnn', 'False'],
     'future_rnn: True there, False here'),
    (['--source', '{run}', '--deter_size', '9'], 'deter_size: 16 there, 9 here'),
    (['--source', '{run}', '--offline', '{run}'], 'Pass one of them')])
def test_runs_that_do_not_fit_are_refused_with_the_difference(
    explored, tmp_path, capsys, flags, message):
  empty = tmp_path / 'empty'
  empty.mkdir()
  shutil.copy(explored / 'config.yaml', empty)
  flags = [flag.format(tmp=tmp_path, empty=empty, run=explored) for flag in flags]
  before = contents(explored)
  with pytest.raises(SystemExit) as exit_info:
    plan2explore.main([
        '--configs', 'toy', 'debug', *TASK, '--zero_shot_tasks',
        '' if '--task' in flags else SIBLING, *flags, '--logdir', str(tmp_path / 'run')])
  assert exit_info.value.code == 2 and message in capsys.readouterr().err
  assert contents(explored) == before and not (tmp_path / 'run').exists()


def test_a_finished_run_says_how_its_directory_is_trained_on(tmp_path, capsys):
  argv = ['--configs', 'dmc', 'few_shot', '--logdir', str(tmp_path)]
  config_lib.save(config_lib.load('plan2explore', argv), tmp_path / 'config.yaml')
  (tmp_path / 'run.json').write_text('{"finished_at": 1150000}')
  plan2explore.main(argv)
  said = 'Pass --steps above 1150000 and --expl_until 1000000 to train on'
  assert said in capsys.readouterr().out
  longer = config_lib.load('plan2explore', [*argv, '--steps', '2e6', '--expl_until', '1000000'])
  logdir.check(tmp_path, longer)


def test_a_killed_copy_is_made_again(explored, tmp_path):
  config = config_lib.load('plan2explore', [
      '--configs', 'toy', 'debug', *TASK, '--source', str(explored), '--logdir', str(tmp_path)])
  (tmp_path / '.checkpoint').mkdir()
  (tmp_path / 'episodes').mkdir()
  (tmp_path / 'episodes' / '000000-0-9.npz').write_bytes(b'half')
  sources.continue_from(config, tmp_path)
  same = lambda name: contents(tmp_path / name) == contents(explored / name)
  assert same('episodes') and same('checkpoint')
  sources.continue_from(config, tmp_path)
  assert same('episodes')
  shutil.rmtree(tmp_path / 'checkpoint')
  with pytest.raises(UserError, match='not a copy that was interrupted'):
    sources.continue_from(config, tmp_path)


def test_a_run_hands_over_at_its_switch_however_it_is_resumed(tmp_path, monkeypatch):
  """Stopped before, at and after the switch at 300 frames, it goes on in the right phase."""
  asked, stops = [], [240, 300, 420, 10 ** 9]
  phase = Plan2Explore.phase
  def recorded(agent, frames):
    asked.append((frames, phase(agent, frames)))
    if frames >= stops[0]:
      stops.pop(0)
      os.kill(os.getpid(), signal.SIGTERM)
    return asked[-1][1]
  monkeypatch.setattr(Plan2Explore, 'phase', recorded)
  for begin in (200, 240, 300, 420):
    earlier = len(asked)
    with contextlib.suppress(SystemExit):
      plan2explore.main([
          '--configs', 'toy', 'few_shot', 'debug', *TASK, '--expl_until', '300', '--steps', '480',
          '--expl_behavior', 'random', '--eval_episodes', '0', '--logdir', str(tmp_path), '--quiet'])
    assert begin <= min(frames for frames, _ in asked[earlier:]) < begin + 60
  assert len(stops) == 1
  assert {word for count, word in asked if count < 300} == {'explore'}
  assert {word for count, word in asked if count >= 300} == {'task'}


def test_a_source_that_has_used_up_all_frames_is_refused_with_a_number(explored, tmp_path):
  with pytest.raises(UserError, match='has explored for 420 frames.*--steps 150420'):
    sources.check(config_lib.load('plan2explore', [
        '--configs', 'toy', 'few_shot', 'debug', *TASK, '--zero_shot_tasks', SIBLING, '--source',
        str(explored), '--steps', '400', '--logdir', str(tmp_path / 'new')]))


def test_a_source_that_still_trains_is_refused(explored, tmp_path):
  flags = [
      '--configs', 'toy', 'few_shot', 'debug', *TASK, '--zero_shot_tasks', SIBLING, '--source',
      str(explored), '--steps', '800', '--logdir', str(tmp_path / 'new')]
  sources.check(config_lib.load('plan2explore', flags))
  with logdir.claim(logdir.load_config(explored)[0]), pytest.raises(
      UserError, match='another process is training there'):
    sources.check(config_lib.load('plan2explore', flags))


def test_a_directory_inside_the_source_is_refused(explored):
  with pytest.raises(UserError, match='is not to be changed'):
    sources.check(config_lib.load('dreamer', [
        '--configs', 'toy', 'debug', *TASK, '--offline', str(explored), '--logdir',
        str(explored / 'new')]))


def test_a_complete_copy_needs_its_source_no_more(tmp_path):
  (tmp_path / 'run' / 'checkpoint').mkdir(parents=True)
  sources.check(config_lib.load('plan2explore', [
      '--configs', 'toy', 'few_shot', 'debug', *TASK, '--source', str(tmp_path / 'gone'),
      '--logdir', str(tmp_path / 'run')]))


@pytest.mark.parametrize('family', dmc_extras.FAMILIES)
def test_stored_rewards_are_those_of_the_sibling_itself(family):
  """The same seed and actions give the same rewards in the sibling's own environment."""
  first, *others = family
  config = config_lib.load('plan2explore', [
      '--configs', 'dmc_proprio', '--task', f'dmc_{first}'])
  made = [envs.make(config.replace(task=f'dmc_{name}')) for name in family]
  stored = {name: [] for name in others}
  actions = [made[0].act_space.sample() for _ in range(20)]
  for number, env in enumerate(made):
    assert not any(key.startswith('reward/') for key in env.obs_space)
    obs = env.reset(3)
    assert all(obs[f'reward/dmc_{name}'] == 0 for name in family)
    for step, action in enumerate(actions):
      obs, reward, _, _ = env.step(action)
      assert obs[f'reward/dmc_{family[number]}'] == np.float32(reward)
      if number == 0:
        for name in others:
          stored[name].append(obs[f'reward/dmc_{name}'])
      else:
        assert stored[family[number]][step] == np.float32(reward)
    env.close()


def test_sparse_rewards_of_a_sibling_are_found_where_they_are():
  config = config_lib.load('plan2explore', [
      '--configs', 'dmc_proprio', '--task', 'dmc_cartpole_swingup'])
  env = envs.make(config)
  env.reset(0)
  physics = simulator(env)
  with physics.reset_context():
    physics.named.data.qpos['hinge_1'] = 0.0  # upright
  obs, reward, _, _ = env.step(np.zeros(1, np.float32))
  assert obs['reward/dmc_cartpole_swingup_sparse'] == config.action_repeat
  assert obs['reward/dmc_cartpole_swingup'] == np.float32(reward) > 1
  env.close()


def simulator(env):
  while hasattr(env, 'env'):
    env = env.env
  return env._env.physics


@pytest.mark.parametrize('joint, speed, expected', [
    ('rootx', -5.0, (0.0, 0.5, 0.0, 0.0)), ('rooty', 3.0, (0.0, 0.0, 0.6, 0.0)),
    ('rooty', -3.0, (0.0, 0.0, 0.0, 0.6))])
def test_the_cheetah_is_paid_for_the_direction_that_a_task_names(joint, speed, expected):
  from dm_control.suite import cheetah
  env = dmc_extras.load_own('run_backward')
  env.reset()
  physics = env.physics
  with physics.reset_context():
    physics.named.data.qvel[joint] = speed
  tasks = [cheetah.run().task] + [dmc_extras.load_own(name).task for name in dmc_extras.CHEETAH]
  found = [float(task.get_reward(physics)) for task in tasks]
  if joint == 'rootx':
    np.testing.assert_allclose(found, expected, atol=0.02)
  else:  # the turn moves the body a little, too
    np.testing.assert_allclose(found[2:], expected[2:], atol=1e-6)


@pytest.mark.parametrize('task', ['run_backward', 'flip_forward', 'flip_backward'])
def test_the_papers_tasks_of_the_cheetah_exist(task):
  config = config_lib.load('plan2explore', [
      '--configs', 'dmc_proprio', '--task', f'dmc_cheetah_{task}'])
  env = envs.make(config)
  env.reset(0)
  rewards = [env.step(env.act_space.sample())[1] for _ in range(20)]
  assert max(rewards) > 0 and max(rewards) <= 2 and min(rewards) >= 0
  env.close()


def test_evaluation_sees_neither_coordinates_nor_further_rewards():
  config = config_lib.load('plan2explore', ['--configs', 'dmc_proprio', '--task', 'dmc_walker_walk'])
  for mode, stored in (('train', True), ('eval', False)):
    env = envs.make(config, mode=mode)
    assert ('log_state' in env.reset(0)) == stored and 'log_state' not in env.obs_space
    env.close()


def test_coverage_counts_cells_of_the_last_episodes():
  count = coverage.Coverage()
  assert count.add({'reward': np.zeros(3)}, (0, 0)) == {}
  first = count.add({'log_state': np.array([[0.0, 0.0], [0.01, 0.01], [1.0, 1.0]])}, (1, 0))
  assert first['train/coverage'] == 2
  np.testing.assert_allclose(
      first['train/coverage_entropy'], -(2 / 3 * np.log(2 / 3) + np.log(1 / 3) / 3))
  for k in range(coverage.EPISODES):
    last = count.add({'log_state': np.full((3, 2), 0.5)}, (k + 2, 0))
  assert (last['train/coverage'], last['train/coverage_total']) == (1, 3)
  again = coverage.Coverage([({'log_state': np.full((3, 2), 0.5)}, (0, 0))])
  assert again.add({'log_state': np.zeros((1, 2))}, (1, 0))['train/coverage_total'] == 2


def test_coverage_is_the_same_whichever_environment_ends_first(monkeypatch):
  monkeypatch.setattr(coverage, 'EPISODES', 3)
  episodes = {(k, e): {'log_state': np.full((1, 1), (2 * k + e) / 10)} for k in range(4) for e in range(2)}
  orders = sorted(episodes), sorted(episodes, key=lambda number: number[::-1])  # as in a directory; one is faster
  found = []
  for order in orders:
    count = coverage.Coverage([(episodes[number], number) for number in order])
    found.append(count.add({'log_state': np.full((1, 1), 0.95)}, (4, 0)))
  assert found[0] == found[1] and found[0]['train/coverage'] == 3


def test_coverage_has_the_same_digits_in_whatever_order_cells_are_met():
  rng = np.random.default_rng(0)
  episodes = [{'log_state': rng.random((50 + k, 2)) ** 2} for k in range(9)]
  found = set()
  for _ in range(20):
    count = coverage.Coverage([(episodes[k], (0, k)) for k in rng.permutation(9)])
    found.add(count.add({'log_state': np.zeros((1, 2))}, (1, 0))['train/coverage_entropy'])
  assert len(found) == 1


def test_coverage_goes_on_from_all_episodes_on_disk_whatever_memory_holds(tmp_path):
  for k, place in enumerate((0.0, 0.3, 0.9)):
    files.write(tmp_path / files.name(k, 0, 2), {'log_state': np.full((2, 1), place)})
  (tmp_path / files.name(3, 0, 2)).write_text('torn')
  again = coverage.Coverage(coverage.stored(tmp_path))
  assert again.add({'log_state': np.full((1, 1), 0.6)}, (4, 0))['train/coverage_total'] == 4
  assert list(coverage.stored(tmp_path / 'none')) == []
  files.write(tmp_path / files.name(0, 0, 2), {'reward': np.zeros(2)})  # of another tool
  assert len(list(coverage.stored(tmp_path))) == 2


@pytest.mark.parametrize('kind', noisytv.KINDS)
def test_the_screen_shows_noise_of_its_kind_in_its_room_only(kind):
  env = noisytv.NoisyTV(f'{kind}_vector')
  shown = []
  obs = env.reset(1)
  assert abs(float(obs['log_state'][0]) - 0.4) <= 0.02 and not obs['vector'][3:].any()
  for step in range(noisytv.DECISIONS):
    obs, reward, done, info = env.step(np.float32([-1, -1]))
    assert reward == 0 and info['discount'] == 1
    if obs['log_state'][0] < noisytv.ROOM:
      assert obs['vector'][3] == 1
      shown.append(tuple(obs['vector'][4:]))
  assert done and step == noisytv.DECISIONS - 1
  different = {'off': 1, 'remote': 1, 'static': len(shown)}.get(kind, noisytv.PICTURES)
  assert len(set(shown)) == different
  if kind == 'cycle':
    assert shown[:10] == shown[16:26]


def test_positions_move_as_specified():
  assert noisytv.move(0.4, 1.0) == pytest.approx(0.45)
  assert noisytv.move(0.7, -0.5) == pytest.approx(0.7 - 0.025 - 0.01 * np.sin(14))
  assert noisytv.move(0.99, 1.0) <= 1.0 and noisytv.move(0.01, -1.0) == 0.0


def test_pixels_show_the_position_and_at_most_seven_percent_noise():
  env = noisytv.NoisyTV('static')
  env.reset(0)
  frames = [env.step(np.float32([-1, 0]))[0]['image'] for _ in range(12)]
  changed = (frames[-1] != frames[-2]).any(-1)
  assert frames[-1].shape == (64, 64, 3) and 0 < changed.mean() <= 0.07
  assert not np.array_equal(frames[0], frames[3])


def test_unknown_screens_are_refused():
  with pytest.raises(UserError, match='noisytv_channels'):
    envs.check(config_lib.load('plan2explore', [
        '--configs', 'noisytv', '--task', 'noisytv_chanels']))


@pytest.mark.parametrize('block', ['toy', 'noisytv'])
@pytest.mark.parametrize('method', grid.METHODS)
def test_every_method_of_the_studies_goes_with_the_small_worlds(block, method):
  config = config_lib.load('plan2explore', ['--configs', block, *grid.METHODS[method]])
  assert config.expl_behavior in ('plan2explore', *grid.METHODS)


def test_the_score_function_and_slow_values_go_together_in_toy_tasks():
  config = config_lib.load('plan2explore', ['--configs', 'toy', 'score_function'])
  assert config.actor_grad == 'reinforce' and config.imag_start and config.slow_value


@pytest.mark.parametrize('single', [('cycle_vector', 'rdn', '0'), ('cycle_vector', 'rnd', 'one')])
def test_a_single_run_of_a_study_needs_a_method_and_a_seed(tmp_path, capsys, single):
  with pytest.raises(SystemExit) as stop:
    noisy_tv.main(['--out', str(tmp_path), '--single', *single])
  assert stop.value.code == 2 and 'a number of a seed' in capsys.readouterr().err


def test_a_study_is_longer_than_its_random_actions():
  assert config_lib.load('plan2explore', ['--configs', 'noisytv']).prefill < 2 * noisy_tv.BLOCK


def test_a_study_of_random_actions_alone_is_refused(tmp_path, capsys):
  with pytest.raises(SystemExit) as exit_info:
    noisy_tv.main(['--out', str(tmp_path / 'new'), '--steps', '1000'])
  assert exit_info.value.code == 2 and 'Pass at least 2000' in capsys.readouterr().err


@pytest.mark.timeout(600)
def test_the_study_runs_measures_and_draws(tmp_path, capsys):
  argv = ['--out', str(tmp_path), '--screens', 'channels', '--methods', 'disagreement', '--seeds', '1',
          '--steps', '2500', '--jobs', '1']
  with pytest.raises(SystemExit) as exit_info:
    noisy_tv.main(argv)
  assert exit_info.value.code == 0
  assert '| channels_vector | disagreement |' in (tmp_path / 'table.md').read_text()
  assert (tmp_path / 'curves.png').stat().st_size > 1000
  run = noisy_tv.measure(tmp_path / 'channels_vector-disagreement-0')
  assert len(run['frames']) == 2 and len(run['probes']['corridor']) >= 2
  assert all(0 <= x <= 1 for x in run['tv'] + run['corridor'])


def test_the_study_of_coverage_compares_methods_on_the_same_frames(tmp_path, capsys):
  argv = [
      '--out', str(tmp_path), '--configs', 'toy', 'debug', '--methods', 'random', 'rnd',
      '--seeds', '1', '--steps', '300', '--jobs', '2']
  with pytest.raises(SystemExit) as exit_info:
    coverage_study.main(argv)
  assert exit_info.value.code == 0
  lines = (tmp_path / 'table.md').read_text().splitlines()
  assert [line.split(' | ')[1] for line in lines[4:]] == ['random', 'rnd']
  assert all(float(line.split(' | ')[2]) >= 1 for line in lines[4:])
  assert (tmp_path / 'curves.png').stat().st_size > 1000


@pytest.mark.parametrize('blocks, scales', [(['toy'], {0.1}), (['dmc', 'cpu'], {1.0, 1e4})])
def test_where_novelty_is_brought_to_one_scale_all_methods_are_paid_alike(tmp_path, blocks, scales):
  args = types.SimpleNamespace(configs=blocks, steps=60000, out=tmp_path)
  task = f'{blocks[0]}_{"maze" if blocks[0] == "toy" else "cup_catch"}'
  found = {coverage_study._config(args, task, name, 0).intr_scale for name in grid.METHODS}
  assert found == scales


def test_a_study_refuses_runs_of_more_frames(tmp_path, capsys):
  path = tmp_path / 'toy_maze_vector-random-0'
  path.mkdir()
  (path / 'config.yaml').write_text('steps: 50000\n')
  (path / 'metrics.jsonl').write_text('{"step": 50020}\n')
  argv = ['--out', str(tmp_path), '--methods', 'random', '--seeds', '1', '--steps', '20000']
  with pytest.raises(SystemExit) as exit_info:
    coverage_study.main(argv)
  said = capsys.readouterr().err
  assert exit_info.value.code == 2 and 'has 50020 frames' in said and '--steps 50000' in said


@pytest.mark.parametrize('argv, message', [
    (['--tasks', 'toy_maize'], 'toy_maze'), (['--configs', 'tyo'], 'toy'),
    (['--seeds', '0'], '--seeds')])
def test_mistakes_in_a_study_are_refused_before_its_first_run(tmp_path, capsys, argv, message):
  with pytest.raises(SystemExit) as exit_info:
    coverage_study.main(['--out', str(tmp_path / 'new'), *argv])
  assert exit_info.value.code == 2 and message in capsys.readouterr().err
  assert not (tmp_path / 'new').exists()


def test_intervals_are_students():
  assert grid.text([3.0]) == '3.00'
  mean, half = grid.interval([1.0, 2.0, 3.0])
  assert mean == 2 and half == pytest.approx(4.302653 / np.sqrt(3), rel=1e-5)


@pytest.mark.parametrize('study', [noisy_tv, coverage_study])
def test_a_study_whose_folder_is_a_file_is_one_sentence(tmp_path, capsys, study):
  (tmp_path / 'file').touch()
  with pytest.raises(SystemExit) as stop:
    study.main(['--out', str(tmp_path / 'file')])
  assert stop.value.code == 2 and 'file cannot be used as --out (File exists)' in capsys.readouterr().err
