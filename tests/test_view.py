"""The terminal: plain lines for files and pipes, a live view for people, the same facts in both."""
import io
import os
import pty
import signal
import subprocess
import sys

import pytest
import rich.console

from common import config as config_lib
from common.loop import view

TRAIN = {
    'agent/model_loss': 12.345678, 'agent/kl': 2.5, 'agent/prior_ent': 3.0, 'agent/updates': 1500,
    'fps': 10.0, 'time/env': 0.25, 'time/policy': 0.125, 'time/train': 0.5, 'time/data': 0.0}


@pytest.fixture
def config():
  return config_lib.load('dreamer', ['--configs', 'debug', '--task', 'dummy_continuous'])


@pytest.fixture
def live():
  """Live view on a terminal of 100 characters that is a string."""
  console = rich.console.Console(file=io.StringIO(), force_terminal=True, width=100)
  shown = view.Live('dreamer  dmc_x', '/logs', 1000, 'CPU', [100.0, 900.0], console)
  yield shown
  shown.close()


def picture(live):
  """What the view shows now."""
  console = rich.console.Console(file=io.StringIO(), width=100)
  console.print(live.render())
  return console.file.getvalue()


def test_a_plain_line_shows_frames_return_losses_fps_and_time_left(capsys):
  plain = view.Plain(1000)
  plain.row(200, TRAIN, 'train')
  plain.row(400, {'train/return': 81.25, 'train/length': 200}, 'episode')
  train, episode = capsys.readouterr().out.splitlines()
  assert '200 frames (20 %)' in train and 'model_loss 12.35' in train and 'fps 10' in train
  assert 'left 0:01:20' in train and 'prior_ent' not in train
  assert 'return 81.25' in episode and 'length 200' in episode and 'left 0:01:00' in episode


def test_pipes_and_quiet_terminals_get_plain_lines(config, monkeypatch):
  assert isinstance(view.make(config, 10, 'CPU'), view.Plain)
  monkeypatch.setattr(sys.stdout, 'isatty', lambda: True)
  monkeypatch.setenv('TERM', 'xterm')
  assert isinstance(view.make(config.replace(quiet=True), 10, 'CPU'), view.Plain)
  monkeypatch.setenv('TERM', 'dumb')
  assert isinstance(view.make(config, 10, 'CPU'), view.Plain)


def test_the_live_view_shows_progress_returns_losses_speed_and_machine(live):
  live.row(200, TRAIN, 'train')
  live.row(250, {'eval/return': 500.0}, 'eval')
  live.row(260, {'train/return': 81.25}, 'episode')
  live.stage('learning', 34, 150)
  text = picture(live)
  for part in (
      'dreamer  dmc_x', '260 of 1,000 frames (26 %)', 'about 0:01:14 left', 'learning 34 of 150',
      '▂█▅  last 500, best 900', 'last 81.25', 'model loss 12.35', 'kl 2.5', 'updates 1,500',
      '10 frames/s', 'environment 25%', 'training 50%', 'CPU, ', 'GB of memory', '/logs', 'Ctrl-C'):
    assert part in text, (part, text)
  assert 'prior' not in text
  assert max(len(line) for line in text.splitlines()) <= 100


def test_before_the_first_row_nothing_is_made_up(live):
  text = picture(live)
  assert 'starting' in text and 'left' not in text and 'frames/s' not in text


def test_losses_stay_while_rows_of_other_kinds_arrive(live):
  live.row(200, TRAIN, 'train')
  live.row(210, {'train/return': 1.0}, 'episode')
  assert 'model loss 12.35' in picture(live)


def test_messages_are_printed_as_they_are(live):
  live.say('a [bold]message[/bold] of ' + 'x' * 150)
  text = live._console.file.getvalue()
  assert 'a [bold]message[/bold] of ' + 'x' * 150 in text


@pytest.mark.parametrize('values, line', [
    ([], ''), ([0.0], '▁'), ([0.0, 50.0, 100.0], '▁▅█'), ([-10.0, 0.0], '▁█'),
    ([float('nan'), 1.0], ' █')])
def test_sparkline(values, line):
  assert view.sparkline(values) == line


def test_memory_is_that_of_this_process():
  assert 1e7 < view.memory() < 1e11


def test_a_run_in_a_terminal_draws_the_view_and_ctrl_c_says_how_to_go_on(tmp_path):
  """The real command under a pseudo terminal, interrupted as a person would."""
  master, slave = pty.openpty()
  script = os.path.join(os.path.dirname(__file__), 'loops.py')
  environ = {**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path), 'TERM': 'xterm',
             'COLUMNS': '110', 'LINES': '40'}
  process = subprocess.Popen(
      [sys.executable, script, str(tmp_path / 'run'), '--steps', '100000'], stdin=slave,
      stdout=slave, stderr=subprocess.STDOUT, env=environ, start_new_session=True)
  os.close(slave)
  text, sent = '', False
  try:
    while True:
      try:
        text += os.read(master, 65536).decode(errors='replace')
      except OSError:  # the terminal is closed: the process has ended
        break
      if not sent and 'Evaluation returns' in text:
        process.send_signal(signal.SIGINT)
        sent = True
    assert process.wait(60) == 130, text[-3000:]
  finally:
    process.kill()
    process.wait()
    os.close(master)
  assert 'Progress' in text and 'of 100,000 frames' in text
  assert 'SIGINT: saved at' in text and 'Start the same command again to continue.' in text


def test_brackets_in_names_are_no_markup():
  console = rich.console.Console(file=io.StringIO(), force_terminal=True, width=100)
  shown = view.Live('dreamer  [b]x[/]', '/logs/[final]/a[/b]/run', 1000, 'CPU', [], console)
  try:
    assert '/logs/[final]/a[/b]/run' in picture(shown) and '[b]x[/]' in picture(shown)
  finally:
    shown.close()
