"""Replay on disk and in memory: names, counts, broken files, capacity, pruning, setting aside."""
import concurrent.futures
import errno
import os
import subprocess
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest

from common import config
from common.data import episodes
from common.data import npz
from common.data import replay


def episode(rows, value=0, size=4):
  """One episode whose reward row t is t + 1000 * value, so that windows can be recognised."""
  return {
      'image': np.full((rows, size, size, 3), value, np.uint8),
      'action': np.zeros((rows, 2), np.float32),
      'reward': (np.arange(rows) + 1000 * value).astype(np.float32),
      'discount': np.ones(rows, np.float32)}


def filled(directory, lengths, **options):
  store = replay.Replay(directory, 2, **options)
  for k, rows in enumerate(lengths):
    store.add(episode(rows, value=k), k, 0)
  return store


def names(directory):
  return sorted(path.name for path in directory.iterdir())


def in_memory(store, length=2):
  """Numbers of the episodes that windows can come from."""
  rewards = store.sample(np.random.default_rng(0), 300, length)['reward']
  return sorted(set((rewards[:, 0] // 1000).astype(int)))


def test_frames_and_episodes_are_counted_from_the_names(tmp_path):
  store = filled(tmp_path, [11, 6])
  assert names(tmp_path) == ['000000-0-11.npz', '000001-0-6.npz']
  assert store.frames == (10 + 5) * 2
  assert store.episodes == 2
  again = replay.Replay(tmp_path, 2)
  assert (again.frames, again.episodes) == (30, 2)
  assert again.count_per_env() == {0: 2}


def test_episodes_are_stored_as_float32_and_uint8_only(tmp_path):
  store = replay.Replay(tmp_path, 1)
  data = episode(5)
  data['position'] = np.linspace(0, 1, 10).reshape(5, 2)  # float64
  data['reward'] = data['reward'].astype(np.float16)
  data['keys'] = np.arange(5)[:, None]  # int64
  data['touch'] = np.ones((5, 1), bool)
  store.add(data, 0, 0)
  with np.load(tmp_path / '000000-0-5.npz') as stored:
    kinds = {key: stored[key].dtype.name for key in stored.files}
    assert kinds.pop('image') == 'uint8'
    assert set(kinds.values()) == {'float32'}
    np.testing.assert_array_equal(stored['keys'][:, 0], np.arange(5))
  assert store.sample(np.random.default_rng(0), 2, 3)['position'].dtype == np.float32


@pytest.mark.parametrize('value', [np.array(['a'] * 5), np.zeros(5, complex)])
def test_values_that_are_no_numbers_are_refused(tmp_path, value):
  store = replay.Replay(tmp_path, 1)
  with pytest.raises(TypeError, match='log_name'):
    store.add({**episode(5), 'log_name': value}, 0, 0)
  assert names(tmp_path) == []


def test_integers_that_float32_cannot_hold_are_refused(tmp_path):
  with pytest.raises(ValueError, match='score'):
    replay.Replay(tmp_path, 1).add({**episode(5), 'score': np.full(5, 2 ** 24 + 1)}, 0, 0)


def test_what_was_stored_is_read_back_unchanged(tmp_path):
  data = episode(7, 3)
  data['image'] = np.random.default_rng(0).integers(0, 256, (7, 4, 4, 3)).astype(np.uint8)
  replay.Replay(tmp_path, 1).add(data, 0, 0)
  window = replay.Replay(tmp_path, 1).sample(np.random.default_rng(0), 1, 7)
  for key, value in data.items():
    np.testing.assert_array_equal(window[key][0], value)


@pytest.mark.parametrize('kept', [0, 10, 300, 0.9])
def test_truncated_file_is_reported_once_skipped_kept_and_not_counted(tmp_path, kept):
  filled(tmp_path, [11, 6, 9])
  path = tmp_path / '000001-0-6.npz'
  content = path.read_bytes()
  content = content[:int(kept * len(content)) if isinstance(kept, float) else kept]
  path.write_bytes(content)
  messages = []
  store = replay.Replay(tmp_path, 2, warn=messages.append)
  store.sample(np.random.default_rng(0), 20, 5)
  store.add(episode(5), 3, 0)
  assert len(messages) == 1 and '000001-0-6.npz' in messages[0]
  assert path.read_bytes() == content
  assert (store.frames, store.episodes) == ((10 + 8 + 4) * 2, 3)
  assert 1 not in in_memory(store)


def test_number_of_a_skipped_file_is_not_used_again(tmp_path):
  filled(tmp_path, [11, 6])
  (tmp_path / '000001-0-6.npz').write_bytes(b'')
  assert replay.Replay(tmp_path, 2, warn=lambda _: None).count_per_env() == {0: 2}


def test_damage_in_the_middle_of_a_file_is_found_at_the_start(tmp_path):
  filled(tmp_path, [50, 6])
  path = tmp_path / '000000-0-50.npz'
  content = bytearray(path.read_bytes())
  content[len(content) // 3: len(content) // 3 + 20] = b'x' * 20
  path.write_bytes(content)
  messages = []
  store = replay.Replay(tmp_path, 2, warn=messages.append)
  assert len(messages) == 1 and store.frames == 10


@pytest.mark.parametrize('change, named', [
    (lambda x: {k: v for k, v in x.items() if k != 'reward'}, 'reward'),
    (lambda x: {**x, 'reward': x['reward'][:4]}, '4 found'),
    (lambda x: {**x, 'image': x['image'][:, :2]}, 'image'),
    (lambda x: {**x, 'other': x['reward']}, 'other'),
    (lambda x: {k: v[:4] for k, v in x.items()}, '6 rows named')])
def test_file_with_wrong_keys_or_shapes_is_reported_and_skipped(tmp_path, change, named):
  filled(tmp_path, [11, 9])
  np.savez_compressed(tmp_path / '000002-0-6.npz', **change(episode(6)))
  messages = []
  store = replay.Replay(tmp_path, 2, warn=messages.append)
  assert len(messages) == 1 and '000002-0-6.npz' in messages[0] and named in messages[0]
  assert (store.frames, store.episodes) == (36, 2)


@pytest.mark.parametrize('name', ['notes.txt', '20200101T000000-abc-501.npz', '000000-0-0.npz'])
def test_foreign_names_are_reported_skipped_and_kept(tmp_path, name):
  filled(tmp_path, [11])
  (tmp_path / name).write_text('mine')
  messages = []
  assert replay.Replay(tmp_path, 2, warn=messages.append).frames == 20
  assert len(messages) == 1 and name in messages[0]
  assert (tmp_path / name).read_text() == 'mine'


def test_optional_keys_may_come_and_go(tmp_path):
  store = filled(tmp_path, [11])
  store.add({**episode(9, 1), 'reward/other': np.ones(9), 'log_x': np.ones(9)}, 1, 0)
  assert set(store.sample(np.random.default_rng(0), 4, 3)) == set(episode(1))
  keys = ('action', 'reward/other')
  assert set(store.sample(np.random.default_rng(0), 4, 3, keys)) == set(keys)


def test_episode_of_another_shape_than_those_on_disk_is_a_user_error(tmp_path):
  filled(tmp_path, [11])
  store = replay.Replay(tmp_path, 2)
  with pytest.raises(config.UserError, match='image'):
    store.add(episode(9, size=8), 1, 0)
  assert names(tmp_path) == ['000000-0-11.npz']


def test_memory_keeps_the_newest_episodes_within_the_capacity(tmp_path):
  store = filled(tmp_path, [11] * 6, capacity=45)  # 20 frames each
  assert in_memory(store) == [4, 5]
  assert store.frames == 120 and len(names(tmp_path)) == 6


def test_an_episode_larger_than_the_capacity_is_still_kept(tmp_path):
  assert in_memory(filled(tmp_path, [11, 11, 50], capacity=30)) == [2]


@pytest.mark.parametrize('capacity', [0, 40, 64])
def test_resumed_replay_draws_the_same_windows_whatever_the_order_of_arrival(tmp_path, capacity):
  store = replay.Replay(tmp_path, 2, capacity)
  rng = np.random.default_rng(1)
  keys = [(k, e) for k in range(5) for e in range(3)]
  for index in rng.permutation(len(keys)):
    k, e = keys[index]
    store.add(episode(int(rng.integers(5, 12)), value=3 * k + e), k, e)
  again = replay.Replay(tmp_path, 2, capacity)
  for seed in range(3):
    one = store.sample(np.random.default_rng(seed), 20, 4)
    two = again.sample(np.random.default_rng(seed), 20, 4)
    for key in one:
      np.testing.assert_array_equal(one[key], two[key])


def test_broken_files_leave_room_for_older_ones(tmp_path):
  filled(tmp_path, [11] * 4)
  (tmp_path / '000003-0-11.npz').write_bytes(b'')
  store = replay.Replay(tmp_path, 2, capacity=40, warn=lambda _: None)
  assert in_memory(store) == [1, 2]


def test_prune_disk_deletes_old_files_and_keeps_their_count(tmp_path):
  store = filled(tmp_path, [11] * 5, capacity=40, prune_disk=True)
  assert [x for x in names(tmp_path) if x.endswith('npz')] == ['000003-0-11.npz', '000004-0-11.npz']
  assert (store.frames, store.episodes) == (100, 5)
  messages = []
  again = replay.Replay(tmp_path, 2, capacity=40, prune_disk=True, warn=messages.append)
  assert (again.frames, again.episodes, again.count_per_env()) == (100, 5, {0: 5})
  assert in_memory(again) == [3, 4] and not messages


def test_episodes_whose_files_are_gone_count_on(tmp_path):
  counts = filled(tmp_path, [11] * 5).count_per_env()
  for k in range(3):
    (tmp_path / f'{k:06d}-0-11.npz').unlink()
  store = replay.Replay(tmp_path, 2)
  assert store.lose(100, counts) == 60 and (store.frames, store.episodes) == (100, 5)
  store.add(episode(11), 5, 0)
  assert (store.frames, store.episodes) == (120, 6)


def test_kill_while_pruning_counts_the_episode_once(tmp_path):
  filled(tmp_path, [11] * 3)
  (tmp_path / 'pruned.txt').write_text('000000-0-11.npz\n')  # noted, not deleted yet
  store = replay.Replay(tmp_path, 2, capacity=40, prune_disk=True)
  assert store.frames == 60 and '000000-0-11.npz' not in names(tmp_path)


def test_full_disk_is_one_clear_error_and_leaves_no_file(tmp_path, monkeypatch):
  store = filled(tmp_path, [11])
  def full(fd):
    raise OSError(errno.ENOSPC, 'No space left on device')
  monkeypatch.setattr(os, 'fsync', full)
  with pytest.raises(config.UserError, match='No space left on device'):
    store.add(episode(9), 1, 0)
  assert names(tmp_path) == ['000000-0-11.npz']
  assert (store.frames, store.episodes) == (20, 1)


def test_really_full_file_system_is_one_clear_error(tmp_path, monkeypatch):
  store = filled(tmp_path, [11])
  temporary = tmp_path / '.000001-0-900.npz.tmp'
  temporary.symlink_to('/dev/full')
  big = episode(900)
  big['image'] = np.random.default_rng(0).integers(0, 256, (900, 4, 4, 3)).astype(np.uint8)
  with pytest.raises(config.UserError, match='cannot be written .No space left on device'):
    store.add(big, 1, 0)
  assert names(tmp_path) == ['000000-0-11.npz']


def test_temporary_files_of_a_killed_run_are_removed_unless_readonly(tmp_path):
  filled(tmp_path, [11])
  (tmp_path / '.000001-0-6.npz.tmp').write_bytes(b'half')
  replay.Replay(tmp_path, 2, readonly=True)
  assert (tmp_path / '.000001-0-6.npz.tmp').exists()
  messages = []
  replay.Replay(tmp_path, 2, warn=messages.append)
  assert names(tmp_path) == ['000000-0-11.npz'] and not messages


def test_readonly_directory_must_exist(tmp_path):
  with pytest.raises(config.UserError, match='no such directory'):
    replay.Replay(tmp_path / 'nowhere', 2, readonly=True)


def test_set_aside_moves_newer_episodes_out_of_sight(tmp_path):
  directory = tmp_path / 'episodes'
  store = filled(directory, [11] * 4, capacity=40)
  store.add(episode(5, 9), 0, 1)
  (directory / '000002-0-11.npz').write_bytes(b'broken')
  store = replay.Replay(directory, 2, capacity=40, warn=lambda _: None)
  assert store.set_aside({0: 2}) == 3
  assert names(directory) == ['000000-0-11.npz', '000001-0-11.npz']
  assert names(tmp_path / 'episodes_aside') == [
      '000000-1-5.npz', '000002-0-11.npz', '000003-0-11.npz']
  assert (store.frames, store.count_per_env()) == (40, {0: 2})
  assert in_memory(store) == [0, 1]  # what the newer ones had displaced is back
  store.add(episode(11, 2), 2, 0)


def test_set_aside_is_refused_together_with_pruning(tmp_path):
  with pytest.raises(config.UserError, match='prune_disk'):
    filled(tmp_path, [11], prune_disk=True).set_aside({})


def test_too_short_episodes_are_skipped(tmp_path):
  assert in_memory(filled(tmp_path, [4, 11, 6, 10]), length=10) == [1, 3]


@pytest.mark.parametrize('last_row, length, usable', [(True, 11, True), (False, 11, False)])
def test_episode_of_exactly_one_window(tmp_path, last_row, length, usable):
  store = filled(tmp_path, [11], last_row=last_row)
  if usable:
    assert store.sample(np.random.default_rng(0), 3, length)['reward'].shape == (3, 11)
  else:
    with pytest.raises(config.UserError, match='needs an episode of 12 rows.*another --logdir'):
      store.sample(np.random.default_rng(0), 3, length)


def test_nothing_usable_names_the_batch_length_and_the_longest_episode(tmp_path):
  with pytest.raises(config.UserError, match='batch_length 50 .* longest of 2 has 11'):
    filled(tmp_path, [11, 4]).sample(np.random.default_rng(0), 3, 50)
  with pytest.raises(config.UserError, match='longest of 0 has 0'):
    replay.Replay(tmp_path / 'empty', 2).sample(np.random.default_rng(0), 3, 50)


def test_windows_do_not_see_episodes_that_come_later(tmp_path):
  store = filled(tmp_path, [11])
  windows = store.windows(5)
  store.add(episode(11, 7), 1, 0)
  assert set(windows.sample(np.random.default_rng(0), 50)['reward'].ravel() // 1000) == {0}


def test_writer_and_reader_need_no_tensorflow():
  code = 'import sys, common.data.replay, common.data.dataset; sys.exit("tensorflow" in sys.modules)'
  assert subprocess.run([sys.executable, '-c', code], cwd=os.getcwd()).returncode == 0


@pytest.mark.parametrize('prune', [False, True])
def test_what_is_kept_up_to_date_equals_what_is_counted_anew(tmp_path, prune):
  rng = np.random.default_rng(1)
  numbers = [0, 0, 0]
  store = replay.Replay(tmp_path, [2, 3, 4], 120, prune_disk=prune)
  for _ in range(40):
    e = int(rng.integers(3))  # environments run ahead of each other
    rows = int(rng.integers(3, 30))
    store.add(episode(rows, numbers[e]), numbers[e], e)
    numbers[e] += 1
    assert [x[:3] for x in store._memory] == store._fitting()
    if any(x.rows >= 6 for x in store._memory):
      kept = store.windows(6, ['reward'])
      assert kept is store.windows(6, ['reward'])
      assert [x[:3] for x in kept._episodes] == [x[:3] for x in store._memory if x.rows >= 6]
    assert store.frames == sum((rows - 1) * (2, 3, 4)[e] for (_, e), rows in store._rows.items())
    assert store.count_per_env() == {e: k for e, k in enumerate(numbers) if k}
  again = replay.Replay(tmp_path, [2, 3, 4], 120, prune_disk=prune)
  assert (again.frames, again.count_per_env()) == (store.frames, store.count_per_env())
  assert [x[:3] for x in again._memory] == [x[:3] for x in store._memory]


def test_windows_are_the_same_until_an_episode_comes(tmp_path):
  store = filled(tmp_path, [11, 6])
  before = store.windows(5)
  assert store.windows(5) is before
  store.add(episode(7, 2), 2, 0)
  assert store.windows(5) is not before and len(before._episodes) == 2


def stored(path, header, data=b'', name='reward.npy'):
  """A file with one array whose header says what it likes."""
  with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
    text = header.encode()
    archive.writestr(name, b'\x93NUMPY\x01\x00' + len(text).to_bytes(2, 'little') + text + data)


@pytest.mark.parametrize('header, data, message', [
    ("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }\n", b'', 'are announced'),
    ("{'descr': '|u1', 'fortran_order': False, 'shape': (3, 70000000), }\n", bytes(210_000_000), 'more than'),
    ("{'descr': '|O', 'fortran_order': False, 'shape': (3,), }\n", b'x' * 24, 'not a plain array'),
    ("{'descr': '<f4', 'fortran_order': False, 'shape': (__import__('os').abort(),), }\n", b'',
     'not a plain array'),
    ('9' * 60000, b'', 'not a plain array')])
def test_headers_are_not_believed(tmp_path, header, data, message):
  stored(tmp_path / 'x.npz', header, data)
  tracemalloc.start()
  found, problem = episodes.read(tmp_path / 'x.npz', 3)
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert not found and message in problem and peak < 50e6


@pytest.mark.parametrize('dtype', ['<f4', '>f8', '|b1', '<f2', '|u1', '<i8'])
@pytest.mark.parametrize('compress', [np.savez, np.savez_compressed])
def test_plain_arrays_are_read_as_numpy_does(tmp_path, dtype, compress):
  rng = np.random.default_rng(0)
  arrays = {
      'a': rng.integers(0, 2, (3, 2, 5)).astype(dtype),
      'fortran': np.asfortranarray(rng.integers(0, 2, (3, 4)).astype(dtype)),
      'empty': np.zeros((3, 0), dtype), 'scalar': np.array(1, dtype)}
  compress(tmp_path / 'x.npz', **arrays)
  found = npz.read(tmp_path / 'x.npz', 3)
  assert found.keys() == arrays.keys()
  for key, value in arrays.items():
    assert found[key].dtype == value.dtype and np.array_equal(found[key], value)


@pytest.mark.parametrize('error', [MemoryError, OverflowError])
def test_what_memory_cannot_hold_is_left_out(tmp_path, monkeypatch, error):
  np.savez(tmp_path / 'x.npz', **episode(5))
  monkeypatch.setattr(npz, '_array', lambda *args: (_ for _ in ()).throw(error))
  assert error.__name__ in episodes.read(tmp_path / 'x.npz', 5)[1]


def test_a_flipped_bit_is_noticed(tmp_path):
  path = tmp_path / 'x.npz'
  np.savez(path, a=np.arange(1000, dtype=np.uint8))
  content = bytearray(path.read_bytes())
  content[600] ^= 1
  path.write_bytes(content)
  assert 'CRC' in episodes.read(path, 1000)[1]


def test_many_threads_read_at_once(tmp_path):
  """Python's parser, which NumPy evaluates headers with, was seen to break off there."""
  for k in range(20):
    np.savez(tmp_path / f'{k}.npz', **episode(20))
  with concurrent.futures.ThreadPoolExecutor(16) as pool:
    results = list(pool.map(lambda i: episodes.read(tmp_path / f'{i % 20}.npz', 20), range(400)))
  assert not any(problem for _, problem in results)


def test_where_longer_episodes_are_on_disk_more_memory_is_the_remedy(tmp_path):
  store = filled(tmp_path, (12, 5, 5, 5, 5), capacity=20)
  with pytest.raises(config.UserError, match='on disk alone has 12: pass a larger --replay_capacity'):
    store.windows(8)


def test_what_was_pruned_is_no_remedy(tmp_path):
  store = filled(tmp_path, (12, 5, 5, 5, 5, 5), capacity=20, prune_disk=True)
  with pytest.raises(config.UserError, match='longest of 2 has 5. Pass another --logdir'):
    store.windows(8)
