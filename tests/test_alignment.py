"""Which windows can be drawn, how often, and which rows belong together in them."""
import collections

import numpy as np
import pytest

from common.data import replay
from common.data.windows import window_start


def frequencies(rows, length, draws=20000, **options):
  rng = np.random.default_rng(0)
  counts = collections.Counter(
      window_start(rng, rows, length, **options) for _ in range(draws))
  return np.array([counts[start] / draws for start in range(rows)])


def test_starts_are_uniform_up_to_the_last_window():
  expected = [1 / 8] * 8 + [0] * 4  # rows 12, length 5: starts 0 .. 7
  np.testing.assert_allclose(frequencies(12, 5), expected, atol=0.01)


def test_without_the_last_row_the_last_window_is_never_drawn():
  expected = [1 / 7] * 7 + [0] * 5
  np.testing.assert_allclose(frequencies(12, 5, last_row=False), expected, atol=0.01)


@pytest.mark.parametrize('last_row', [True, False])
def test_balance_draws_the_last_window_with_frequency_length_over_rows(last_row):
  expected = [1 / 12] * 7 + [5 / 12] + [0] * 4
  found = frequencies(12, 5, last_row=last_row, balance=True)
  np.testing.assert_allclose(found, expected, atol=0.01)


@pytest.mark.parametrize('balance', [True, False])
def test_an_episode_as_long_as_a_window_has_one_start(balance):
  assert frequencies(6, 6, draws=50, balance=balance)[0] == 1


def test_episodes_are_drawn_uniformly_whatever_their_length(tmp_path):
  store = replay.Replay(tmp_path, 1)
  for k, rows in enumerate([6, 60, 10, 200]):
    store.add({
        'action': np.zeros((rows, 1)), 'reward': np.full(rows, k), 'discount': np.ones(rows)}, k, 0)
  drawn = store.sample(np.random.default_rng(0), 8000, 5)['reward'][:, 0]
  np.testing.assert_allclose(np.bincount(drawn.astype(int)) / 8000, [0.25] * 4, atol=0.02)


def test_rows_of_a_window_are_consecutive_and_belong_together(tmp_path):
  rows = 30
  store = replay.Replay(tmp_path, 1)
  store.add({
      'image': np.arange(rows).astype(np.uint8).reshape(rows, 1, 1, 1),
      'action': np.stack([np.arange(rows), -np.arange(rows)], 1), 'reward': np.arange(rows) / 2,
      'discount': np.append(np.ones(rows - 1), 0)}, 0, 0)
  data = store.sample(np.random.default_rng(0), 200, 7)
  first = data['reward'][:, :1] * 2
  expected = first + np.arange(7)
  np.testing.assert_array_equal(data['image'][..., 0, 0, 0], expected)
  np.testing.assert_array_equal(data['action'], np.stack([expected, -expected], -1))
  np.testing.assert_array_equal(data['discount'], (expected < rows - 1).astype(np.float32))
  assert (data['discount'] == 0).any()  # the terminal row is drawn
