"""What a run leaves to look at: films, strips and dreams, few of them, at no price in numbers."""
import numpy as np
from PIL import Image
import pytest

from common import config as config_lib
from common.loop import pictures
from common.model import devices
from planet.agent import PlaNet
import loops
import toys

CONTEXT = pictures.CONTEXT


class Log:
  """A logger that keeps what it is given."""

  def __init__(self):
    self.films = []

  def gif(self, step, name, gif, shape):
    """Keep a film."""
    self.films.append((step, name, gif[:6], shape))


@pytest.fixture
def folder(tmp_path):
  return tmp_path / 'pictures'


def film(rows=20, height=16, width=48, seed=0):
  return np.random.default_rng(seed).integers(0, 256, (rows, height, width, 3), dtype=np.uint8)


def test_each_kind_goes_to_files_and_to_tensorboard(tmp_path, folder):
  log = Log()
  kept = pictures.Pictures(tmp_path, log, None, 4)
  kept.episode(500, 'image', film())
  kept.open_loop(500, 'image', film(height=48, width=32))
  kept.dream(500, 'image', film())
  assert sorted(path.name for path in folder.iterdir()) == [
      'dream_image-000000500.gif', 'dream_image-000000500.png', 'eval_image-000000500.gif',
      'open_loop_image-000000500.gif', 'open_loop_image-000000500.png']
  assert log.films == [
      (500, 'eval/image', b'GIF89a', (16, 48, 3)), (500, 'agent/openl_image', b'GIF89a', (48, 32, 3)),
      (500, 'agent/dream_image', b'GIF89a', (16, 48, 3))]
  assert Image.open(folder / 'eval_image-000000500.gif').n_frames == 20


def test_films_of_nested_observations_have_plain_names(tmp_path, folder):
  kept = pictures.Pictures(tmp_path, Log(), None, 4)
  for step in range(500, 3001, 500):
    kept.episode(step, 'camera/front', film(rows=2))
  assert sorted(path.name for path in folder.iterdir()) == [
      f'eval_camera_front-{step:09d}.gif' for step in (500, 2000, 2500, 3000)]


def test_a_long_run_keeps_the_first_and_the_last_few(tmp_path, folder):
  kept = pictures.Pictures(tmp_path, Log(), None, 4)
  (tmp_path / 'pictures').mkdir()
  (folder / 'mine.gif').write_text('')
  for step in range(500, 4001, 500):
    kept.episode(step, 'image', film(rows=2))
    kept.episode(step, 'image2', film(rows=2))
  names = sorted(path.name for path in folder.iterdir())
  steps = [500, 3000, 3500, 4000]
  assert names == sorted(
      ['mine.gif'] + [f'eval_image{n}-{step:09d}.gif' for n in ('', '2') for step in steps])


def test_a_strip_names_its_rows_and_counts_frames():
  figure = pictures.strip(film(rows=50, height=48, width=16), ('a', 'b', 'c'), 'dreamt', 4)
  axis, = figure.axes
  titles = [label.get_text() for label in axis.get_xticklabels()]
  assert len(titles) <= pictures.COLUMNS and len(axis.images) == 3 * len(titles)
  assert titles[0] == 'seen\n0' and titles[1] == 'seen\n16' and titles[-1] == 'imagined\n196'
  assert [label.get_text() for label in axis.get_yticklabels()] == ['a', 'b', 'c']
  assert 'frames' in figure.get_supxlabel() and 'dreamt' in figure.get_supxlabel()


def test_a_strip_shows_the_pictures_of_its_times():
  frames = film(rows=9, height=32, width=16)
  figure = pictures.strip(frames, ('a', 'b'), 'dreamt', 1)
  axis, = figure.axes
  times = [int(label.get_text().split('\n')[1]) for label in axis.get_xticklabels()]
  for number, image in enumerate(axis.images):
    row, column = divmod(number, len(times))
    shown = frames[times[column], 16 * row:16 * (row + 1)]
    assert np.array_equal(image.get_array(), shown)
    left, right, _, top = image.get_extent()
    assert left < axis.get_xticks()[column] < right and top < axis.get_yticks()[row]


def test_a_folder_that_cannot_be_made_is_said_once(tmp_path, folder, capsys):
  folder.write_text('a file')
  kept = pictures.Pictures(tmp_path, Log(), None, 1)
  for step in (1, 2):
    kept.episode(step, 'image', film())
    kept.open_loop(step, 'image', film(height=48, width=32))
  assert capsys.readouterr().out == (
      'Pictures cannot be written (File exists). The run goes on without.\n')
  folder.unlink()
  kept.episode(3, 'image', film())
  assert [path.name for path in folder.iterdir()] == ['eval_image-000000003.gif']


def test_dreams_begin_with_what_was_seen_and_follow_the_actor():
  agent = toys.agent()
  batch = toys.batch(3, 7)
  dream = agent.dream(batch)['image']
  assert dream.shape == (CONTEXT + 45, 64, 3 * 64, 3) and dream.dtype == np.uint8
  for i in range(3):
    seen, truth = dream[:CONTEXT, :, 64 * i:64 * (i + 1)], batch['image'][i, :CONTEXT]
    assert np.array_equal(seen, truth)
  # Later rows and actions of the batch do not count: the agent chooses its own.
  other = {key: value.copy() for key, value in batch.items()}
  other['action'][:, CONTEXT:] = 0
  other['image'][:, CONTEXT:] = 0
  assert np.array_equal(agent.dream(other)['image'], dream)


def test_the_truth_beside_predictions_is_what_was_stored():
  batch = toys.batch(3, 7)
  batch['image'].flat[:256] = np.arange(256)  # every level
  film = toys.agent().open_loop(batch)['image']
  assert np.array_equal(film[:, :64], np.concatenate(batch['image'], 2))


def test_the_dream_of_planet_is_its_plan():
  config = config_lib.load('planet', ['--configs', 'debug', '--task', 'dummy_continuous'])
  config = devices.setup(config.replace(**{k: v for k, v in toys.SMALL.items()}, planner_horizon=6))
  agent = PlaNet(config, toys.IMAGE, toys.actions(2))
  assert agent.dream(toys.batch(2, 7))['image'].shape == (CONTEXT + 6, 64, 2 * 64, 3)


def test_pictures_change_nothing_in_an_agent():
  agent = toys.agent()
  before = toys.values(agent.variables)
  agent.dream(toys.batch(2, 7))
  agent.open_loop(toys.batch(2, 7))
  assert not any(toys.changed(before, agent.variables))


def test_a_run_leaves_a_curve_and_pictures_with_every_evaluation(tmp_path, monkeypatch):
  loops.start(
      tmp_path, '--task', 'dummy_continuous', '--cnn_keys', 'image', '--mlp_keys=', '--steps', 80,
      '--cnn_depth', 1)
  assert Image.open(tmp_path / 'curve.png').format == 'PNG'
  names = {path.name for path in (tmp_path / 'pictures').iterdir()}
  assert {f'{kind}_image-{step:09d}.gif' for kind in ('eval', 'open_loop', 'dream')
          for step in (40, 80)} <= names


def test_a_run_without_images_leaves_a_curve_alone(tmp_path, monkeypatch):
  loops.use_toy(monkeypatch.setattr, curve=True)
  loops.start(tmp_path, '--steps', 80)
  assert (tmp_path / 'curve.png').exists() and not (tmp_path / 'pictures').exists()
