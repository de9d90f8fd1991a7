"""Episodes of other tools, short ones, and runs whose files have changed."""
import re
import shutil

import gymnasium
import numpy as np
import pytest

from common import config as config_lib
from common import evaluate
from common.config import UserError
from common.data import episodes as files
from common.data import foreign
from common.data.replay import Replay
from common.envs import wrappers
from common.loop import logdir, parts

import loops

ACTIONS = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
IMAGE = {'image': gymnasium.spaces.Box(0, 255, (4, 5, 3), np.uint8)}


def episode(image=None, rows=6, **arrays):
  """An episode in our form, with an image if one is given."""
  rest = {
      'action': np.zeros((rows, 2), np.float32), 'reward': np.zeros(rows, np.float32),
      'discount': np.ones(rows, np.float32)}
  return {**rest, **({} if image is None else {'image': image}), **arrays}


def pixels(rows=6):
  """Images as we store them."""
  return np.random.default_rng(0).integers(0, 256, (rows, 4, 5, 3)).astype(np.uint8)


@pytest.mark.parametrize('change, words', [
    (lambda x: x, ''), (lambda x: (x / 255).astype(np.float32), 'floats from 0 to 1'),
    (lambda x: x.astype(np.float32), 'floats from 0 to 255'),
    (lambda x: x.transpose(0, 3, 1, 2), 'channels moved to the end'),
    (lambda x: (x / 255).astype(np.float32).transpose(0, 3, 1, 2), 'channels .*, floats from 0 to 1')])
def test_images_of_other_tools_become_ours_where_that_is_certain(change, words):
  data, notes, problem = foreign.understand(episode(change(pixels())), IMAGE)
  assert not problem and np.array_equal(data['image'], pixels()) and data['image'].dtype == np.uint8
  assert len(notes) == bool(words)
  assert not words or re.search(words, notes[0])


@pytest.mark.parametrize('arrays, words', [
    ({'image': np.zeros((6, 8, 8, 3), np.uint8)}, r'image is uint8 \[8, 8, 3\], the agent sees'),
    ({'image': np.full((6, 4, 5, 3), 300, np.float32)}, 'image holds 0 to 300'),
    ({'image': np.full((6, 4, 5, 3), -1, np.float32)}, 'image holds -1 to 0'),
    ({'other': pixels()}, "no key 'image'")])
def test_other_images_are_refused_by_key(arrays, words):
  assert re.search(words, foreign.understand(episode(**arrays), IMAGE)[2])


def test_numbers_of_classes_become_vectors_and_other_actions_are_refused():
  discrete = {'action': wrappers.OneHot(3)}
  for shape in ((6,), (6, 1)):
    action = np.array([2, 0, 1, 2, 1, 0], np.float32).reshape(shape)
    data, notes, problem = foreign.understand(episode(action=action), discrete)
    assert not problem and data['action'].argmax(1).tolist() == [0, 0, 1, 2, 1, 0]
    assert data['action'].sum(1).tolist() == [0, 1, 1, 1, 1, 1] and 'classes' in notes[0]
  late = np.array([0, 2, 1, 2, 1, 0], np.float32)
  for action, told in ((late, False), (late[1:], True)):  # what is done in row 0 is told there
    data = {key: value[:len(action)] for key, value in episode().items()}
    notes = foreign.understand({**data, 'action': action}, discrete)[1]
    assert (foreign.FIRST_ROW in notes) == told
  for action in (np.full((6, 1), 3.0), np.full((6, 1), 0.5)):
    assert 'no class from 0 to 2' in foreign.understand(episode(action=action), discrete)[2]
  continuous = {'action': gymnasium.spaces.Box(-1, 1, (3,), np.float32)}
  assert re.search(r'action is float32 \[2\], the agent takes float32 \[3\]',
                   foreign.understand(episode(), continuous)[2])
  action = np.full((6, 3), 7, np.float32)
  assert 'goes beyond -1 to 1' in foreign.understand(episode(action=action), continuous)[1][0]


def test_numbers_of_classes_in_a_row_are_read(tmp_path):
  for k in range(2):
    np.savez(tmp_path / files.name(k, 0, 6), **episode(action=np.array([0, 1, 2, 1, 0, 2])))
  replay = Replay(
      tmp_path, 1, readonly=True, warn=lambda text: None, spaces={'action': wrappers.OneHot(3)})
  assert [x['action'].argmax(1).tolist() for x in replay.stored] == [[0, 1, 2, 1, 0, 2]] * 2


@pytest.mark.parametrize('arrays, words', [
    ({'discount': np.full(6, -3, np.float32)}, 'discount is -3, expected 0 to 1'),
    ({'vector': np.full((6, 2), 1e30, np.float32)}, r'vector holds 1e\+30, beyond 1e\+09')])
def test_numbers_that_no_environment_may_hand_over_are_refused(arrays, words):
  assert re.search(words, foreign.understand(episode(**arrays), {'action': ACTIONS})[2])


def test_rows_in_the_usual_order_of_others_are_noticed():
  reward = np.ones(6, np.float32)
  _, notes, problem = foreign.understand(episode(pixels(), reward=reward), IMAGE)
  assert not problem and 'row 0 has an action or a reward' in notes[0]


def test_the_replay_says_once_what_it_did_with_files_and_refuses_by_name(tmp_path):
  for k in range(3):
    files.write(tmp_path / files.name(k, 0, 6), episode(pixels().astype(np.float32) / 255))
  files.write(tmp_path / files.name(3, 0, 6), episode(np.zeros((6, 9, 9, 3), np.uint8)))
  said = []
  replay = Replay(tmp_path, 1, readonly=True, warn=said.append, spaces=IMAGE)
  assert len(replay.stored) == 3 and replay.stored[0]['image'].dtype == np.uint8
  assert len(said) == 2 and '000003-0-6.npz: image is uint8 [9, 9, 3]' in said[1]


def test_short_episodes_are_told_at_the_start_and_in_rows(tmp_path, monkeypatch, capsys):
  loops.use_toy(monkeypatch.setattr)
  flags = ['--task', 'py_odd:Short', '--cnn_keys=', '--mlp_keys', '.*', '--batch_length', 10,
           '--time_limit', 60, '--prefill', 200, '--steps', 300, '--action_repeat', 1, '--seed', 3]
  loops.start(tmp_path, *flags)
  out = capsys.readouterr().out
  assert 'episodes have fewer rows than a sequence (10) and are not learned from' in out
  shares = [row['replay/unused'] for row in loops.rows(tmp_path, 'agent/updates')]
  assert shares and all(0.5 < share < 1 for share in shares)


@pytest.mark.parametrize('deterministic', [False, True])
def test_a_run_whose_oldest_episodes_are_gone_counts_on(tmp_path, monkeypatch, capsys, deterministic):
  loops.use_toy(monkeypatch.setattr)
  flags = ['--deterministic', deterministic]
  loops.start(tmp_path, *flags)
  for k in range(3):
    (tmp_path / 'episodes' / files.name(k, 0, 11)).unlink()
  capsys.readouterr()
  for steps in (200, 280):  # and again
    loops.start(tmp_path, *flags, '--steps', steps)
  out = capsys.readouterr().out
  assert out.count('holds 60 frames, but 120 were collected') == 1 and 'counts on from 120' in out
  steps = [row['step'] for row in loops.rows(tmp_path)]
  assert steps == sorted(steps) and steps[-1] == 280
  assert [row['agent/updates'] for row in loops.rows(tmp_path, 'agent/updates')] == [
      2, *range(5, 39, 3)]
  assert loops.episodes(tmp_path) == [(k, 0, 11) for k in range(3, 14)]


def test_a_row_behind_the_checkpoint_that_somebody_damaged_is_passed_over(tmp_path, monkeypatch):
  loops.use_toy(monkeypatch.setattr)
  loops.start(tmp_path)
  with (tmp_path / 'metrics.jsonl').open('a') as file:
    file.write('{"step": 130, "time": 9, "eval/return": 5\n["eval/return"]\n{"step": 130, "time": 9}\n')
  (tmp_path / 'episodes' / '.x.npz.tmp').mkdir()
  loops.start(tmp_path, '--steps', 200)
  assert loops.episodes(tmp_path)[-1][0] == 9


def test_a_copy_without_episodes_is_refused_and_can_be_evaluated(tmp_path, monkeypatch):
  loops.use_toy(monkeypatch.setattr)
  loops.start(tmp_path)
  shutil.rmtree(tmp_path / 'episodes')
  with pytest.raises(UserError, match='the files of 120 are gone.*Put episodes/ back'):
    loops.start(tmp_path, '--steps', 200)
  assert evaluate.evaluate(tmp_path, 1)[0]['step'] == 120


@pytest.mark.parametrize('line', [
    'deter_size: sixteen', 'action_repeat:', 'batch_size: [8]', 'action_dist: foo', 'tasks: 3'])
def test_damaged_values_in_the_config_of_a_run_are_named(tmp_path, monkeypatch, line):
  loops.use_toy(monkeypatch.setattr)
  loops.start(tmp_path)
  path, key = tmp_path / 'config.yaml', line.partition(':')[0]
  path.write_text(re.sub(rf'^{key}: .*$', line, path.read_text(), flags=re.MULTILINE))
  with pytest.raises(UserError, match=f'{key} is .* in {path} but must be'):
    evaluate.evaluate(tmp_path, 1)


@pytest.mark.parametrize('text', ['[]', 'null', '3', '{"finished_at": "600"}'])
def test_a_damaged_note_of_the_end_is_no_end(tmp_path, text):
  (tmp_path / 'run.json').write_text(text)
  assert not logdir.finished(tmp_path, config_lib.load('dreamer', ['--steps', '300']))


@pytest.mark.parametrize('old, new', [
    ('obs_space', 'obs_space: 3\nold'), ('dtype: float32', 'kind: none'), ('act_space', 'act_space: x\nold')])
def test_damaged_spaces_in_the_config_of_a_run_are_one_sentence(tmp_path, monkeypatch, old, new):
  loops.use_toy(monkeypatch.setattr)
  loops.start(tmp_path)
  path = tmp_path / 'config.yaml'
  path.write_text(path.read_text().replace(old, new))
  with pytest.raises(UserError, match='damaged'):
    evaluate.evaluate(tmp_path, 1)


def test_files_that_come_back_or_are_newer_count_once(tmp_path, monkeypatch):
  loops.use_toy(monkeypatch.setattr)
  flags = ['--save_every', 0, '--eval_every', 80]
  loops.start(tmp_path, *flags)
  gone = tmp_path / 'episodes' / files.name(0, 0, 11)
  gone.rename(tmp_path / 'gone.npz')
  with monkeypatch.context() as patch:  # killed when newer episodes than the checkpoint's are there
    patch.setattr(parts.Parts, 'close', lambda self: None)
    loops.kill_at(patch, loops.Toy, 'train', 4)
    with pytest.raises(loops.Kill):
      loops.start(tmp_path, *flags, '--steps', 240)
  last = loops.rows(tmp_path)[-1]['step']
  (tmp_path / 'gone.npz').rename(gone)
  loops.start(tmp_path, *flags, '--steps', 240)
  steps = [row['step'] for row in loops.rows(tmp_path)]
  assert last > 120 and steps == sorted(steps) and steps[-1] == 240
  assert loops.episodes(tmp_path) == [(k, 0, 11) for k in range(12)]
