"""Batches of a burst: determinism, background threads, errors, early closing."""
import itertools
import threading

import numpy as np
import pytest

from common import config
from common.data import dataset
from common.data import replay


@pytest.fixture(name='store')
def _store(tmp_path):
  store = replay.Replay(tmp_path, 2)
  for k in range(4):
    add(store, k)
  return store


def add(store, k, rows=40):
  rng = np.random.default_rng(k)
  store.add({
      'image': rng.integers(0, 256, (rows, 4, 4, 3)).astype(np.uint8),
      'action': rng.normal(size=(rows, 2)), 'reward': rng.normal(size=rows),
      'discount': np.ones(rows)}, k, 0)


def batches(store, seed, first, count, batch, length, keys=None, transform=None):
  """The batches of one burst, by a loader that ends with it."""
  loader = dataset.Loader(store, seed, batch, length, keys, transform)
  def taken(burst):
    try:
      yield from burst
    finally:
      loader.close()
  return taken(loader.burst(first, count))


@pytest.fixture(name='threads')
def _threads():
  """The threads of loaders that are there now, but for what tests before have left."""
  before = {*threading.enumerate()}
  return lambda: [
      x for x in threading.enumerate() if x.name.startswith('dataset') and x not in before]


def assert_same(one, two):
  assert one.keys() == two.keys()
  for key in one:
    np.testing.assert_array_equal(one[key], two[key])


def test_batches_have_the_shapes_and_dtypes_of_the_episodes(store):
  data = next(batches(store, 0, 0, 1, batch=3, length=10))
  shapes = {key: (value.shape, value.dtype.name) for key, value in data.items()}
  assert shapes == {
      'image': ((3, 10, 4, 4, 3), 'uint8'), 'action': ((3, 10, 2), 'float32'),
      'reward': ((3, 10), 'float32'), 'discount': ((3, 10), 'float32')}


def test_only_the_named_keys_are_served(store):
  assert set(next(batches(store, 0, 0, 1, 3, 10, keys=['reward']))) == {'reward'}


@pytest.mark.parametrize('count', [0, 1, dataset.AHEAD, dataset.AHEAD + 1, 30])
def test_a_burst_has_exactly_its_number_of_batches(store, count, threads):
  assert len(list(batches(store, 0, 5, count, 2, 10))) == count
  assert not threads()


def test_a_batch_depends_on_the_update_and_not_on_where_the_burst_began(store):
  one = list(batches(store, 7, 0, 20, 3, 10))
  two = list(batches(store, 7, 12, 8, 3, 10))
  for left, right in zip(one[12:], two):
    assert_same(left, right)
  assert not np.array_equal(one[0]['reward'], one[1]['reward'])


def test_another_seed_gives_other_batches(store):
  one, two = (next(batches(store, seed, 0, 1, 3, 10)) for seed in (0, 1))
  assert not np.array_equal(one['reward'], two['reward'])


def test_episodes_that_end_during_a_burst_are_not_seen_in_it(store):
  expected = list(batches(store, 0, 0, 20, 3, 10))
  burst = batches(store, 0, 0, 20, 3, 10)
  add(store, 4)
  for left, right in zip(expected, burst):
    assert_same(left, right)


def test_transform_runs_on_a_background_thread(store):
  names = list(batches(
      store, 0, 0, 3, 2, 10, transform=lambda _: threading.current_thread().name))
  assert all(name.startswith('dataset') for name in names)


def test_an_error_on_the_thread_arrives_where_its_batch_would_have_come(store, threads):
  calls = itertools.count()
  def transform(data):
    if next(calls) >= 4:
      raise OSError('device lost')
    return data
  burst = batches(store, 0, 0, 20, 2, 10, transform=transform)
  with pytest.raises(OSError, match='device lost'):
    for index, _ in enumerate(burst):
      assert index < 5
  assert not threads()


@pytest.mark.parametrize('taken', [0, 1, 5])
def test_closing_early_leaves_no_thread(store, taken, threads):
  loader = dataset.Loader(store, 0, 2, 10)
  burst = loader.burst(0, 1000)
  for _ in range(taken):
    next(burst)
  assert bool(threads()) == bool(taken)
  loader.close()
  assert not threads()


def test_batches_ahead_serve_the_next_burst_unless_an_episode_came(store):
  made = []
  loader = dataset.Loader(store, 3, 2, 10, transform=lambda data: made.append(0) or data)
  for count in range(1, 4):  # from the second burst on they are made ahead
    next(loader.burst(count - 1, 1))
  for future in loader._pending:
    future.result()
  before = len(made)
  assert before == 3 + dataset.AHEAD
  found = list(loader.burst(3, 4))
  assert len(made) <= before + 4  # none was made again
  add(store, 4)
  found += loader.burst(7, 2)
  loader.close()
  other = replay.Replay(store._directory, 2)
  last = list(batches(other, 3, 7, 2, 2, 10))
  for left, right in zip(found[4:], last):
    assert_same(left, right)
  assert not np.array_equal(found[3]['reward'], found[4]['reward'])


def test_batches_in_work_are_bounded(store):
  made = itertools.count()
  loader = dataset.Loader(store, 0, 2, 10, transform=lambda _: next(made))
  next(loader.burst(0, 1000))
  loader.close()
  assert next(made) <= dataset.AHEAD + 1


def test_nothing_usable_is_reported_before_any_thread_starts(store, threads):
  with pytest.raises(config.UserError, match='batch_length 41'):
    batches(store, 0, 0, 5, 2, 41)
  assert not threads()
