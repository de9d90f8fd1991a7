"""What a run says before it begins: one unit each, sizes, and the time from measured updates."""
import types

import numpy as np
import pytest

from common import config as config_lib
from common.loop import banner
from common.model import devices
import toys


def test_the_start_names_frames_decisions_updates_sizes_device_and_directory():
  agent = toys.agent()
  config = agent.config.replace(
      steps=5_000_000, prefill=5000, train_every=1000, train_steps=100, pretrain=100,
      action_repeat=2)
  text = banner.start(config, agent, '/logs/run')
  for part in (
      '5,000,000 frames = 2,500,000 decisions (action repeat 2) = 499,600 updates', 'float32',
      'XLA off', 'CPU', 'parameters in the world model', 'in the behaviour', 'replay_capacity',
      '/logs/run'):
    assert part in text, part


def test_frames_of_an_offline_run_are_updates():
  config = config_lib.load('plan2explore', ['--configs', 'dmc', 'snapshot', '--offline', 'there'])
  assert banner.updates(config) == 20_000


def test_the_published_setting_on_a_cpu_names_the_small_block_and_the_hours(monkeypatch):
  config = config_lib.load('dreamer', ['--configs', 'dmc'])
  text = banner.estimate(config, 5000, 5.5)
  assert '5.5 s an update: about 763 h of updates are left' in text
  assert '--configs dmc cpu' in text
  monkeypatch.setattr(devices, 'describe', lambda: 'NVIDIA A100')
  assert '--configs dmc cpu' not in banner.estimate(config, 5000, 5.5)


def test_a_short_run_is_not_told_to_be_shorter():
  config = config_lib.load('dreamer', ['--configs', 'dmc', 'cpu'])
  text = banner.estimate(config, config.prefill, 0.1)
  assert 'about 0.292 h' in text and '--configs' not in text


@pytest.mark.parametrize('capacity, gigabytes', [(5_000_000, '31'), (1000, '0.0061'), (0, '31')])
def test_the_memory_of_the_replay_is_told(capacity, gigabytes):
  agent = toys.agent()
  config = agent.config.replace(steps=5_000_000, replay_capacity=capacity, action_repeat=2)
  assert f'up to {gigabytes} GB' in banner.start(config, agent, 'x')


def test_the_memory_of_an_offline_run_is_that_of_all_it_learns_from(tmp_path):
  (tmp_path / 'episodes').mkdir()
  for k in range(3):
    (tmp_path / 'episodes' / f'{k:06d}-0-501.npz').touch()  # 1,000 frames each
  agent = types.SimpleNamespace(obs_space={'image': types.SimpleNamespace(
      shape=(64, 64, 3), dtype=np.dtype(np.uint8))})
  for flags, frames in (([], 3000), (['--replay_capacity', '2000'], 2000)):
    config = config_lib.load('dreamer', [
        '--configs', 'dmc', '--offline', str(tmp_path), '--steps', '100', *flags])
    assert banner._replay_gigabytes(config, agent) == frames / 2 * 64 * 64 * 3 / 1e9
