"""Environments that fail or hand over what nobody can learn from: noticed, counted, survived."""
import functools

import gymnasium
import numpy as np
import pytest

import loops
import own
from own import odd
from common import envs
from common.config import UserError
from common.data.driver import Driver, run_episodes
from common.data.faults import MOST, Faults, GaveUp, append
from common.data import replay
from common.envs import values
from common.envs.parallel import Parallel
from common.loop import parts

Box = gymnasium.spaces.Box


def policy(obs, state, is_first):
  return np.zeros((len(is_first), 2), np.float32), state


def collect(envs, episodes, tmp_path, **kwargs):
  """Episodes [(k, e, rows)], sentences and counts of a driver."""
  said, ended = [], []
  faults = Faults('restart', said.append, functools.partial(append, tmp_path / 'faults.log'), **kwargs)
  driver = Driver(
      envs, 2, 3, lambda episode, k, e: ended.append((k, e, len(episode['reward']))),
      faults=faults)
  driver(policy, episodes=episodes)
  return ended, said, faults.counts


@pytest.mark.parametrize('kind, words', [
    ('nan_reward', 'reward is nan'), ('huge_reward', 'reward is 1e+30, beyond 1e+09'),
    ('nan_obs', 'vector holds nan'),
    ('bad_discount', 'discount is nan, expected 0 to 1')])
def test_bad_values_end_the_episode_before_they_are_stored(tmp_path, kind, words):
  ended, said, counts = collect([odd(kind), odd('')], 5, tmp_path)
  assert ended[:4] == [(0, 0, 7), (0, 1, 7), (1, 0, 4), (1, 1, 7)]
  assert counts == {'env/rejected': 1}
  assert said == [f'environment 0, step 4 of episode 1: {words}; its 3 decisions before are kept.']


@pytest.mark.parametrize('kind', ['shape', 'discounts', 'raises', 'exits'])
def test_what_fails_is_built_anew_and_the_others_go_on(tmp_path, kind):
  envs = [Parallel(functools.partial(odd, kind), 'none'), Parallel(lambda: odd(''), 'none')]
  ended, said, counts = collect(envs, 4, tmp_path)
  assert [k for k, e, _ in ended if e == 1] == [0, 1]
  assert all(rows == 7 for _, _, rows in ended) and counts == {'env/restarts': 1}
  assert len(said) == 1 and '\n' not in said[0] and 'step 4 of episode 1' in said[0]
  assert 'Traceback' in (tmp_path / 'faults.log').read_text()


def test_text_that_no_file_takes_is_written_all_the_same(tmp_path):
  append(tmp_path / 'faults.log', 'raised: \udcff')
  assert (tmp_path / 'faults.log').read_text() == 'raised: \\udcff'


@pytest.mark.parametrize('strategy', ['none', 'thread', 'process'])
def test_closing_costs_nothing_that_was_done(strategy):
  env = Parallel(own.NoClose, strategy)
  env.reset()()
  env.restart()
  env.reset()()
  env.close()


@pytest.mark.parametrize('kind, words', [
    ('dies', 'exit code 7'), ('hangs', 'no answer for 0.5 seconds')])
def test_a_dead_or_hanging_process_is_built_anew(tmp_path, kind, words):
  env = Parallel(functools.partial(odd, kind), 'process')
  env.reset()()  # the start takes longer than an answer may
  env.restart()
  env.reset()()
  if kind == 'hangs':
    env._worker._timeout = 0.5
  ended, said, counts = collect([env], 1, tmp_path)
  env.close()
  assert len(said) == 1 and words in said[0] and counts == {'env/restarts': 1}
  assert ended == [(0, 0, 7)]


def test_a_simulator_of_which_only_one_can_run_is_closed_before_it_is_built_anew(tmp_path):
  class Failing(own.Single):
    def step(self, action):
      if len(made) == 1:
        raise RuntimeError('lost connection')
      return super().step(action)
  made = []
  def make():
    made.append(Failing())
    return made[-1]
  env = Parallel(make, 'none')
  ended, said, _ = collect([env], 1, tmp_path)
  env.close()
  assert ended == [(0, 0, 26)] and len(said) == 1 and not own.Single.busy


def test_parts_of_a_game_that_a_fault_cut_off_do_not_go_on(tmp_path):
  went_on = []
  class Lives(own.Own):
    broken = True
    episodes = 0
    def reset(self, seed=None):
      self.episodes += 1
      return super().reset(seed)
    def step(self, action):
      if Lives.broken and self.episodes == 3:
        Lives.broken = False
        raise RuntimeError('lost connection')
      obs, reward, _, _ = super().step(action)
      return obs, reward, self.t >= 3, {'goes_on': self.episodes % 4 > 0}
  driver = Driver(
      [Parallel(Lives, 'none')], 1, 0, lambda *_: went_on.append(driver.went_on[0]),
      faults=Faults('restart'))
  driver(policy, episodes=5)
  assert went_on == [False, True, False, True, True]  # the third is the first of a new one


def test_a_signal_that_ended_a_process_is_named(tmp_path):
  env = Parallel(lambda: odd(''), 'process')
  env.reset()()
  env._worker._process.kill()
  ended, said, _ = collect([env], 1, tmp_path)
  env.close()
  assert 'ended by signal SIGKILL' in said[0] and ended == [(0, 0, 7)]


def test_seeds_of_replacements_are_a_function_of_seed_environment_episode_and_attempt(tmp_path):
  seeds = []
  def make():
    env = odd('raises')
    env.seeds = seeds
    env.episodes = 1 if len(seeds) == 0 else 5
    return env
  collect([Parallel(make, 'none')], 2, tmp_path)
  expected = [(3, 0, 0), (3, 0, 0, 1), (3, 0, 1)]
  assert seeds == [int(np.random.SeedSequence(x).generate_state(1)[0]) for x in expected]


@pytest.mark.parametrize('where', ['reset', 'step', 'build'])
def test_after_ten_faults_in_a_row_the_run_ends(tmp_path, where):
  made = []
  class Always(own.Own):
    def __init__(self):
      made.append(self)
      if where == 'build' and len(made) > 1:
        raise RuntimeError('no licence')
    def reset(self, seed=None):
      if where in ('reset', 'build'):
        raise RuntimeError('no licence')
      return super().reset(seed)
    def step(self, action):
      raise RuntimeError('no licence')
  with pytest.raises(GaveUp, match=r'no licence.*fault 11 in a row') as error:
    collect([Parallel(Always, 'none')], 1, tmp_path)
  assert len(made) == MOST + 1 and isinstance(error.value, SystemExit)


def test_stop_ends_at_the_first_fault_and_mistakes_of_the_user_at_once(tmp_path):
  with pytest.raises(GaveUp, match='reward is nan.*env_faults is stop'):
    Driver([odd('nan_reward')], 1, 0, faults=Faults('stop'))(policy, episodes=3)
  class Mistake(own.Own):
    def reset(self, seed=None):
      raise UserError('Pass --other.')
  with pytest.raises(UserError, match='Pass --other'):
    collect([Parallel(Mistake, 'none')], 1, tmp_path)


def test_evaluation_plays_whole_episodes_only():
  played, = run_episodes(
      policy, [odd('nan_reward')], 1, 0, 3, faults=Faults('restart'))
  assert [len(episode['reward']) for episode in played] == [7, 7, 7]
  played, = run_episodes(policy, [odd('')], 1, 0, 2, keep=lambda episode: len(episode['reward']))
  assert played == [7, 7]


def test_actions_that_are_not_finite_never_reach_an_environment():
  env = odd('')
  with pytest.raises(SystemExit, match='not finite.*another --logdir'):
    Driver([env], 1, 0)(lambda *_: (np.full((1, 2), np.nan), None), episodes=1)
  assert env.t == 0


@pytest.mark.parametrize('value, sound', [
    (1e6, True), (-1e9, True), (1.1e9, False), (-np.inf, False), (np.nan, False)])
def test_values_that_training_survives(value, sound):
  row = {'reward': np.float32(0), 'v': np.array([0, value], np.float32)}
  assert bool(values.problem(row, 1.0)) != sound
  assert not values.problem({'log_state': np.array([np.nan], np.float32)}, 1.0)


@pytest.mark.parametrize('kind, metric', [
    ('nan_reward', 'env/rejected'), ('raises', 'env/restarts')])
def test_a_run_counts_faults_and_goes_on(tmp_path, monkeypatch, capsys, kind, metric):
  loops.use_toy(monkeypatch.setattr)
  monkeypatch.setattr(own, 'Fault', functools.partial(odd, kind), raising=False)
  loops.start(tmp_path, '--configs', 'gym', 'debug', '--task', 'py_own:Fault', '--eval_episodes', 0)
  rows = loops.rows(tmp_path, metric)
  assert rows and rows[-1][metric] >= 1 and rows[-1]['step'] >= 100
  assert f'{"reward is nan" if metric == "env/rejected" else "the simulator gave up"}' in (
      capsys.readouterr().out)
  store = replay.Replay(tmp_path / 'episodes', 1, readonly=True)
  assert all(np.isfinite(x['reward']).all() for x in store.stored)
  store.close()


def test_faults_of_the_last_evaluation_are_counted_too(tmp_path, monkeypatch, capsys):
  loops.use_toy(monkeypatch.setattr)
  monkeypatch.setattr(own, 'Fault', functools.partial(odd, 'nan_reward'), raising=False)
  flags = ['--configs', 'gym', 'debug', '--task', 'py_own:Fault', '--eval_episodes', 1, '--eval_every', 1000]
  loops.start(tmp_path, *flags)
  said = [line for line in capsys.readouterr().out.splitlines() if 'reward is nan' in line]
  assert 'evaluation environment' in said[-1]
  row = loops.rows(tmp_path, 'env/rejected')[-1]
  assert row['env/rejected'] == len(said) and 'train/return' not in row
  before = (tmp_path / 'metrics.jsonl').read_bytes()
  loops.start(tmp_path, *flags)  # is told once
  assert (tmp_path / 'metrics.jsonl').read_bytes() == before


def test_options_decide_about_faults_of_a_run(tmp_path, monkeypatch):
  loops.use_toy(monkeypatch.setattr)
  monkeypatch.setattr(own, 'Fault', functools.partial(odd, 'raises'), raising=False)
  flags = ['--configs', 'gym', 'debug', '--task', 'py_own:Fault', '--eval_episodes', 0]
  with pytest.raises(GaveUp, match='env_faults is stop'):
    loops.start(tmp_path, *flags, '--env_faults', 'stop')
  config = loops.config(tmp_path, *flags, '--env_timeout', 7, '--parallel', 'thread')
  env, = envs.make_all(config, 1, 0, 'train')
  env.close()
  assert env._worker._timeout == 7


def test_a_run_that_gives_up_saves_and_exits_with_one(tmp_path, monkeypatch):
  loops.use_toy(monkeypatch.setattr)
  class Broken(own.Own):
    episodes = 0
    def reset(self, seed=None):
      Broken.episodes += 1
      if Broken.episodes > 8:
        raise RuntimeError('lost connection')
      return super().reset(seed)
  monkeypatch.setattr(own, 'Broken', Broken, raising=False)
  flags = ['--configs', 'gym', 'debug', '--task', 'py_own:Broken', '--eval_episodes', 0]
  with pytest.raises(GaveUp, match='lost connection'):
    loops.start(tmp_path, *flags, '--eval_every', 100000, '--steps', 100000)
  updates = loops.rows(tmp_path, 'agent/updates')[-1]['agent/updates']
  name, = [x for x in loops.saved(tmp_path) if 'update_count' in x or 'updates' in x][:1]
  assert loops.saved(tmp_path)[name] == updates > 1
  assert loops.rows(tmp_path, 'env/restarts')[-1]['env/restarts'] == MOST + 1


@pytest.mark.parametrize('flags', [(), ('--overlap', True, '--parallel', 'none')])
def test_a_deterministic_run_with_faults_that_is_killed_ends_bit_identical(
    tmp_path, monkeypatch, flags):
  loops.use_toy(monkeypatch.setattr)
  flags = [
      '--task', 'py_own:Flaky', '--deterministic', True, '--time_limit', 20, '--envs', 2,
      '--steps', 240, *flags]
  loops.start(tmp_path / 'whole', *flags)
  for call in (60, 25):
    with monkeypatch.context() as patch:
      patch.setattr(parts.Parts, 'close', lambda self: None)
      loops.kill_at(patch, Driver, '_step', call)
      with pytest.raises(loops.Kill):
        loops.start(tmp_path / 'killed', *flags)
  loops.start(tmp_path / 'killed', *flags)
  assert loops.same(loops.saved(tmp_path / 'whole'), loops.saved(tmp_path / 'killed'))
  assert loops.episodes(tmp_path / 'whole') == loops.episodes(tmp_path / 'killed')
  whole, killed = (loops.rows(tmp_path / name, timeless=True) for name in ('whole', 'killed'))
  assert whole == killed and max(row.get('env/restarts', 0) for row in whole) > 2


def test_what_was_collected_before_the_last_fault_is_handed_over():
  ended, said = [], []
  driver = Driver(
      [odd(''), odd('nan_reward')], 2, 3, lambda episode, k, e: ended.append((k, e, len(episode['reward']))),
      faults=Faults('stop', said.append))
  with pytest.raises(GaveUp, match='its 3 decisions before are kept. The run ends here'):
    driver(policy, episodes=100)
  assert ended == [(0, 0, 7), (0, 1, 7), (1, 1, 4)]


def test_an_environment_that_ends_the_run_does_not_take_the_episodes_of_others():
  class Longer(own.Own):
    def step(self, action):
      obs, reward, _, info = super().step(action)
      return obs, reward, self.t >= 10, info  # when the other fails in its second episode
  ended = []
  driver = Driver(
      [Parallel(functools.partial(odd, 'raises'), 'none'), Longer()], 2, 3,
      lambda episode, k, e: ended.append((k, e)), faults=Faults('stop', print))
  with pytest.raises(GaveUp) as end:
    driver(policy, episodes=100)
  assert ended == [(0, 0), (0, 1)]
  assert 'its episode is dropped' in str(end.value) and 'built anew' not in str(end.value)


def test_of_two_faults_in_a_step_the_first_is_told_and_both_are_counted():
  faults = Faults('stop', print)
  driver = Driver(
      [Parallel(functools.partial(odd, kind), 'none') for kind in ('nan_reward', 'raises')], 2, 3, faults=faults)
  with pytest.raises(GaveUp, match='environment 0, step 4 of episode 1: reward is nan'):
    driver(policy, episodes=100)
  assert faults.counts == {'env/rejected': 1, 'env/restarts': 1}
