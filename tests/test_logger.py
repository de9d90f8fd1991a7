"""Metrics reach metrics.jsonl, TensorBoard and the terminal, and survive kills and full disks."""
import glob
import io
import json
import resource

import numpy as np
from PIL import Image
import pytest

from common.config import UserError
from common.loop import logger
from common.loop import video


class NoBoard:
  """Stands in for TensorBoard where it is not the subject."""

  def __init__(self, logdir):
    pass

  def scalars(self, step, metrics):
    pass

  def close(self):
    pass


@pytest.fixture
def make(tmp_path, monkeypatch):
  monkeypatch.setattr(logger, 'TensorBoard', NoBoard)
  return lambda: logger.Logger(tmp_path)


def lines(path):
  return (path / 'metrics.jsonl').read_text().splitlines()


def test_a_row_is_a_json_object_with_step_and_time(make, tmp_path):
  log = make()
  log.write(500, {'train/return': np.float32(1.5), 'train/length': 1000}, 'episode')
  row = json.loads(lines(tmp_path)[0])
  assert row.pop('time') >= 0
  assert row == {'step': 500, 'train/return': 1.5, 'train/length': 1000}
  assert isinstance(row['train/length'], int)


def test_numbers_that_are_not_finite_are_written_as_null(make, tmp_path):
  make().write(1, {'a': np.nan, 'b': float('inf'), 'c': np.float32(2)}, 'train')
  row = json.loads(lines(tmp_path)[0], parse_constant=lambda name: pytest.fail(name))
  assert (row['a'], row['b'], row['c']) == (None, None, 2.0)


def test_a_torn_last_line_is_cut_and_complete_rows_are_kept(make, tmp_path):
  log = make()
  log.write(1, {'a': 1}, 'train')
  log.write(2, {'a': 2}, 'train')
  log.close()
  with (tmp_path / 'metrics.jsonl').open('a') as file:
    file.write('{"step": 3, "ti')
  log = make()
  assert log.rows == 2
  log.write(3, {'a': 3}, 'train')
  assert [json.loads(line)['a'] for line in lines(tmp_path)] == [1, 2, 3]


def test_time_accumulates_over_resumes(make, tmp_path):
  (tmp_path / 'metrics.jsonl').write_text('{"step": 1, "time": 100.0}\n')
  log = make()
  log.write(2, {}, 'train')
  assert 100 <= json.loads(lines(tmp_path)[-1])['time'] < 110


def test_rewind_drops_later_rows_and_their_time(make, tmp_path):
  log = make()
  for step in (1, 2, 3):
    log.write(step, {}, 'train')
  log.rewind(1)
  log.write(7, {}, 'train')
  assert [json.loads(line)['step'] for line in lines(tmp_path)] == [1, 7]
  assert log.rows == 2


def test_a_foreign_metrics_file_is_refused_and_kept(make, tmp_path):
  (tmp_path / 'metrics.jsonl').write_text('step,return\n1,2\n')
  with pytest.raises(UserError, match='metrics.jsonl'):
    make()
  assert lines(tmp_path) == ['step,return', '1,2']


def test_a_full_disk_is_one_sentence_and_loses_no_row(make, tmp_path):
  log = make()
  log.write(1, {'a': 1}, 'train')
  size = (tmp_path / 'metrics.jsonl').stat().st_size
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))  # the next row fits in part
  try:
    with pytest.raises(UserError, match='make room'):
      log.write(2, {'a': 2}, 'train')
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
  assert len(lines(tmp_path)) == log.rows == 1
  log.write(2, {'a': 2}, 'train')
  assert [json.loads(line)['a'] for line in lines(tmp_path)] == [1, 2]


def test_gif_shows_the_frames_at_twenty_a_second():
  frames = np.zeros([3, 8, 16, 3], np.uint8)
  frames[:, :, :, 0] = np.array([0, 128, 255])[:, None, None]
  image = Image.open(io.BytesIO(video.encode_gif(frames)))
  assert (image.n_frames, image.size, image.info['duration']) == (3, (16, 8), 50)
  for index, red in enumerate((0, 128, 255)):
    image.seek(index)
    assert image.convert('RGB').getpixel((3, 3)) == (red, 0, 0)


def test_gif_of_grey_frames():
  frames = np.arange(4, dtype=np.uint8)[:, None, None, None] * np.ones([4, 8, 8, 1], np.uint8)
  assert Image.open(io.BytesIO(video.encode_gif(frames * 60))).n_frames == 4


def test_tensorboard_holds_scalars_and_videos(tmp_path):
  import tensorflow as tf
  log = logger.Logger(tmp_path)
  log.write(500, {'train/return': 2.5, 'agent/kl': float('nan')}, 'episode')
  log.gif(600, 'eval/video', video.encode_gif(np.zeros([2, 8, 16, 3], np.uint8)), (8, 16, 3))
  files = glob.glob(str(tmp_path / 'events.out.tfevents*'))
  found = {}
  for record in tf.data.TFRecordDataset(files):  # without close: every call is flushed
    event = tf.compat.v1.Event.FromString(record.numpy())
    for value in event.summary.value:
      found[value.tag] = event.step, value
  assert found['train/return'][0] == 500
  assert found['train/return'][1].simple_value == 2.5
  step, film = found['eval/video']
  assert (step, film.image.width, film.image.height) == (600, 16, 8)
  assert film.image.encoded_image_string.startswith(b'GIF89a')


@pytest.mark.parametrize('line', ['[' * 100_000, '{"time": ' + '9' * 400 + '}', '{"time": NaN}'])
def test_a_last_line_that_is_no_row_is_one_sentence(tmp_path, line):
  (tmp_path / 'metrics.jsonl').write_text(f'{line}\n')
  with pytest.raises(UserError, match='line 1 is no row of metrics'):
    logger.Logger(tmp_path)
