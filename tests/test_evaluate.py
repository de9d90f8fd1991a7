"""A saved agent is loaded, acts, is measured beside the simplest policies, and is filmed."""
import json
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
from PIL import Image, ImageSequence
import pytest
import tensorflow as tf

import common
from common import config as config_lib
from common import evaluate
from common.config import UserError
from common.loop import evaluation
from common.loop import start as run_start
import loops


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """Directory of a Dreamer that saw images and vectors for a moment."""
  path = tmp_path_factory.mktemp('trained')
  loops.start(path, '--task', 'dummy_continuous', '--cnn_keys', 'image', '--steps', 60)
  return path


@pytest.fixture(scope='module')
def agent(trained):
  """The agent of that run."""
  return common.load(trained)


def observation(size):
  """Observations of `size` environments."""
  rng = np.random.default_rng(0)
  return {
      'image': rng.integers(0, 256, (size, 64, 64, 3), dtype=np.uint8),
      'vector': rng.normal(size=(size, 2)).astype(np.float32)}


def test_a_loaded_agent_has_the_weights_that_were_saved(trained, agent):
  saved = loops.saved(trained)
  arrays = list(saved.values())
  for variable in agent.variables:
    assert any(np.array_equal(variable.numpy(), array) for array in arrays), variable.name
  assert agent.updates.numpy() == saved['agent/updates/.ATTRIBUTES/VARIABLE_VALUE'] == 5


def test_a_loaded_agent_acts_on_single_observations_and_on_batches(agent):
  batch = observation(3)
  actions, state = agent.policy(batch, None, mode='eval')
  assert actions.shape == (3, 2) and actions.dtype == np.float32 and abs(actions).max() <= 1
  first = {key: value[0] for key, value in batch.items()}
  action, state = agent.policy(first, None, mode='eval')
  assert action.shape == (2,)
  action, state = agent.policy(first, state, mode='eval')
  assert action.shape == (2,)


def test_the_state_carries_what_was_seen_until_an_episode_begins(agent):
  batch = observation(2)
  first, state = agent.policy(batch, None, mode='eval')
  deter = state['latent']['deter'].numpy()
  _, later = agent.policy(batch, state, mode='eval')
  assert not np.array_equal(later['latent']['deter'].numpy(), deter)
  _, again = agent.policy({**batch, 'is_first': np.array([True, False])}, later, mode='eval')
  assert np.array_equal(again['latent']['deter'].numpy()[0], deter[0])
  assert not np.array_equal(again['latent']['deter'].numpy()[1], deter[1])


@pytest.mark.parametrize('folder', ['file', 'run', 'other'])
def test_films_that_could_not_be_kept_are_refused_before_playing(trained, tmp_path, capsys, folder):
  (tmp_path / 'file').write_text('')
  (tmp_path / 'other').mkdir()
  for name in ('config.yaml', 'metrics.jsonl'):
    (tmp_path / 'other' / name).write_text('')
  before = (trained / 'evaluate.jsonl').exists() and (trained / 'evaluate.jsonl').read_text()
  with pytest.raises(SystemExit) as ended:
    evaluate.main([
        '--logdir', str(trained), '--episodes', '1',
        '--pictures', str(trained if folder == 'run' else tmp_path / folder)])
  assert ended.value.code == 2
  assert {'file': 'cannot be made'}.get(folder, 'keeps its own') in capsys.readouterr().err
  assert before == (
      (trained / 'evaluate.jsonl').exists() and (trained / 'evaluate.jsonl').read_text())


@pytest.mark.parametrize('path', ['--video', '--pictures'])
def test_a_film_that_fails_late_takes_no_numbers_with_it(
    trained, tmp_path, capsys, monkeypatch, path):
  def fail(*_):
    raise UserError('film: the disk is full')
  copy = shutil.copytree(trained, tmp_path / 'copy')
  monkeypatch.setattr(evaluate.video, 'write', fail)
  monkeypatch.setattr(evaluate.evaluation, 'film', fail)
  with pytest.raises(SystemExit) as ended:
    evaluate.main(['--logdir', str(copy), '--episodes', '1', path, str(tmp_path / 'film.gif')])
  said = capsys.readouterr()
  assert ended.value.code == 2 and 'the disk is full' in said.err
  assert 'dummy_continuous at 60 frames: return' in said.out
  row = json.loads(said.out.splitlines()[-1])
  assert row == json.loads((copy / 'evaluate.jsonl').read_text().splitlines()[-1])


def test_numbers_that_cannot_be_kept_are_told_all_the_same(trained, tmp_path, capsys):
  copy = shutil.copytree(
      trained, tmp_path / 'copy', ignore=shutil.ignore_patterns('evaluate.jsonl'))
  (copy / 'evaluate.jsonl').mkdir()  # as good as no permission
  evaluate.main(['--logdir', str(copy), '--episodes', '1'])
  said = capsys.readouterr()
  assert 'dummy_continuous at 60 frames' in said.out and 'so this is not kept' in said.err


def test_loading_changes_nothing_in_the_directory(trained, agent):
  before = {x: x.stat().st_mtime_ns for x in trained.rglob('*')}
  common.load(trained)
  assert {x: x.stat().st_mtime_ns for x in trained.rglob('*')} == before


def test_a_run_without_a_checkpoint_is_refused_and_left_alone(trained, tmp_path):
  (tmp_path / 'config.yaml').write_bytes((trained / 'config.yaml').read_bytes())
  with pytest.raises(config_lib.UserError, match='no checkpoint yet'):
    common.load(tmp_path)
  assert [x.name for x in tmp_path.iterdir()] == ['config.yaml']


@pytest.mark.parametrize('before, kept', [
    (b'', []), (b'{"a": 1}\n', ['{"a": 1}']), (b'{"a": 1}', ['{"a": 1}']), (b'{"a": 1}\n{"to', ['{"a": 1}', '{"to'])])
def test_a_row_begins_a_line_of_its_own(tmp_path, before, kept):
  path = tmp_path / 'evaluate.jsonl'
  path.write_bytes(before)
  evaluate._keep(path, {'b': 2})
  assert path.read_text().splitlines() == [*kept, '{"b": 2}'] and path.read_bytes().endswith(b'}\n')


def test_the_command_appends_a_row_with_zero_and_random_returns(trained, capsys):
  argv = ['--logdir', str(trained), '--episodes', '2', '--video']
  evaluate.main([*argv, str(trained / 'film.gif')])
  sentence, *_, printed = capsys.readouterr().out.splitlines()[-3:]
  evaluate.main([*argv, str(trained / 'film.mp4')])
  rows = [json.loads(line) for line in (trained / 'evaluate.jsonl').read_text().splitlines()]
  assert len(rows) == 2 and rows[0] == json.loads(printed)
  row = rows[0]
  assert row['task'] == 'dummy_continuous' and row['agent'] == 'dreamer' and row['noise'] == 0
  assert (row['step'], row['episodes'], len(row['returns'])) == (60, 2, 2)
  assert row['return'] == pytest.approx(np.mean(row['returns']))
  assert row['return_std'] == pytest.approx(np.std(row['returns']))
  # reward = 1 - mean |action - 0.5| at each of 20 frames, whose actions go from -2 to 2.
  assert row['zero_return'] == pytest.approx(20 * 0.5)
  assert row['random_return'] == pytest.approx(20 * (1 - (2.5 ** 2 + 1.5 ** 2) / 8), abs=6)
  assert f'return {row["return"]:.1f}' in sentence and f'{row["zero_return"]:.1f}' in sentence
  gif = Image.open(trained / 'film.gif')
  # Neighbours that look alike are one picture, shown longer.
  shown = [frame.info['duration'] for frame in ImageSequence.Iterator(gif)]
  assert (sum(shown), gif.size) == (11 * 50, (64, 64)) and len(shown) > 1
  assert b'ftyp' in (trained / 'film.mp4').read_bytes()[:16]


def test_the_frames_are_those_of_the_weights_and_not_of_what_was_collected_later(trained, tmp_path):
  path = tmp_path / 'killed'
  shutil.copytree(trained, path)
  for file in sorted((path / 'episodes').glob('*.npz')):  # of the next episodes
    number, rest = file.name.split('-', 1)
    shutil.copy(file, file.with_name(f'{int(number) + 1000:0{len(number)}}-{rest}'))
  loaded = common.load(path)
  assert loaded.saved_frames == 60
  assert evaluation.evaluate(path, loaded, 1)[0]['step'] == 60


def test_evaluation_does_not_depend_on_what_the_process_did_before(trained):
  one, *_ = evaluate.evaluate(trained, 2)
  common.load(trained).policy(observation(5), None, mode='train')
  assert evaluate.evaluate(trained, 2)[0] == one


def test_episodes_start_differently_and_unlike_those_of_the_training(trained):
  _, played, _ = evaluate.evaluate(trained, 3)
  marks = [episode['vector'][0, 1] for episode in played]
  stored = [np.load(x)['vector'][0, 1] for x in (trained / 'episodes').iterdir()]
  assert len({float(mark) for mark in marks + stored}) == len(marks) + len(stored)


def test_bad_videos_are_refused_before_any_work(trained, tmp_path, monkeypatch):
  monkeypatch.setattr(evaluate, 'evaluate', lambda *_: pytest.fail('worked'))
  for name in ('film.avi', 'film', 'no/folder.gif'):
    with pytest.raises(SystemExit) as stop:
      evaluate.main(['--logdir', str(trained), '--video', str(tmp_path / name)])
    assert stop.value.code == 2


def test_an_agent_without_images_cannot_be_filmed(tmp_path, monkeypatch, capsys):
  loops.use_toy(monkeypatch.setattr)
  loops.start(tmp_path, '--steps', 60, '--task', 'dummy_discrete_vector', '--action_dist', 'auto')
  argv = ['--logdir', str(tmp_path), '--episodes', '1']
  with pytest.raises(SystemExit):
    evaluate.main([*argv, '--video', str(tmp_path / 'a.gif')])
  assert 'sees no images' in capsys.readouterr().err
  assert not (tmp_path / 'evaluate.jsonl').exists()
  evaluate.main(argv)
  row = json.loads((tmp_path / 'evaluate.jsonl').read_text())
  assert row['zero_return'] == 7  # class 0 is right at frames 0, 3, ... 18


@pytest.mark.integration
def test_blind_policies_meet_the_same_starts_as_the_agent_of_dm_control(tmp_path, monkeypatch):
  loops.use_toy(monkeypatch.setattr)
  flags = ['--configs', 'dmc', 'debug', '--task', 'dmc_cartpole_balance', '--time_limit', 20,
           '--batch_length', 5, '--prefill', 20, '--steps', 20, '--train_steps', 1]
  monkeypatch.setattr(loops.Toy, 'gradients', lambda self, data, *_: (
      {'model': [tf.zeros_like(self.weights)]}, {'model_loss': 0.0 * data['reward'][0, 0]}))
  run_start.start(config_lib.load('dreamer', [*map(str, flags), '--logdir', str(tmp_path)]))
  # Without noise and with weights of zero, the toy takes the zero action.
  row, played, _ = evaluate.evaluate(tmp_path, 2)
  assert row['return'] == pytest.approx(row['zero_return'], rel=1e-6)
  assert played[0]['image'].shape == (11, 64, 64, 3)


def test_the_five_lines_of_the_readme_load_an_agent_and_act(trained):
  readme = (pathlib.Path(__file__).parents[1] / 'README.md').read_text()
  lines, = re.findall(r'```python\n(import common\n.*?)```', readme, re.DOTALL)
  assert lines.count('\n') == 5
  code = f'''
import numpy as np
class env:
  def reset():
    return {{'image': np.zeros([64, 64, 3], np.uint8), 'vector': np.zeros(2, np.float32)}}
{lines.replace("'DIR'", repr(str(trained)))}
print(action.shape)'''
  done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd='/')
  assert done.stdout == '(2,)\n', done.stderr
