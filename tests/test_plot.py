"""Learning curves: runs found, grouped and binned, published curves only where they compare."""
import json
import re

import numpy as np
import pytest
from PIL import Image

from common import chart
from common import config as config_lib
from common import curves
from common import plot
from common.config import UserError


def make(path, points, name='eval/return', agent='dreamer', argv=(), **changes):
  """A directory as a run leaves it, with (frames, value) rows of one metric."""
  path.mkdir(parents=True)
  config = config_lib.load(agent, ['--configs', 'dmc', '--task', 'dmc_walker_walk', *argv])
  config_lib.save(config.replace(logdir=str(path), **changes), path / 'config.yaml')
  rows = [{'step': step, 'time': 1.0, name: value} for step, value in points]
  (path / 'metrics.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows))
  return path


def legend(figure):
  return ' '.join(
      ' '.join(text.get_text().split()) for text in figure.legends[0].get_texts())


def groups(*paths, metric='eval/return'):
  return plot.load(paths, metric)


def test_the_command_draws_one_evaluation_and_says_what_it_shows(tmp_path, capsys):
  run = make(tmp_path / 'run', [(5000, 30.0)])
  plot.main([str(run), '--out', str(tmp_path / 'a.png')])
  image = Image.open(tmp_path / 'a.png')
  assert image.size[0] > 600 and len(image.convert('L').getcolors()) > 50
  out = capsys.readouterr().out
  assert 'dmc_walker_walk | dreamer (dmc) | 30 at 5,000 frames, 1 run' in out
  assert 'Dreamer, published: 25.8' in out
  assert sorted(path.name for path in tmp_path.iterdir()) == ['a.png', 'run']


def test_pdf_by_suffix_and_other_metrics(tmp_path):
  run = make(tmp_path / 'run', [(5000, 3.0), (6000, None), (7000, 2.0)], 'agent/kl')
  plot.main([str(run), '--out', str(tmp_path / 'a.pdf'), '--metric', 'agent/kl'])
  assert (tmp_path / 'a.pdf').read_bytes().startswith(b'%PDF')


def test_seeds_are_one_curve_with_mean_and_spread_and_other_settings_another(tmp_path):
  for seed, value in enumerate((100.0, 300.0)):
    make(tmp_path / f'{seed}', [(5000, 0.0), (15000, value)], seed=seed)
  make(tmp_path / 'other', [(5000, 0.0), (15000, 50.0)], kl_scale=0.5)
  found = groups(tmp_path)
  assert [len(group.runs) for group in found] == [2, 1]
  assert 'kl_scale 1.0' in found[0].name and 'kl_scale 0.5' in found[1].name
  bins = curves.binned(found[0].runs, 10_000)
  assert bins.mean[-1] == 200 and bins.std[-1] == pytest.approx(np.std([100, 300], ddof=1))
  assert list(bins.count) == [2, 2]


def test_each_run_counts_the_same_in_a_bin(tmp_path):
  make(tmp_path / '0', [(5000, 0.0), (6000, 0.0), (7000, 0.0)], seed=0)
  make(tmp_path / '1', [(5000, 90.0)], seed=1)
  bins = curves.binned(groups(tmp_path)[0].runs, 10_000)
  assert list(bins.mean) == [45.0] and list(bins.count) == [2]


@pytest.mark.parametrize('metric, agent, argv, shown, hidden', [
    ('eval/return', 'dreamer', (), 'Dreamer, published, evaluation', 'DreamerV2'),
    ('train/return', 'dreamer', (), 'DreamerV2, published, training', 'Dreamer, published'),
    ('eval/return', 'planet', (), 'PlaNet, published score after 1M frames', 'DreamerV2'),
    ('train/return', 'planet', (), 'planet', 'published'),
    ('agent/kl', 'dreamer', (), 'dreamer', 'published'),
    ('eval/return', 'dreamer', ('--time_limit', '500'), 'episodes of 500 frames', 'published'),
    ('train/return', 'dreamer', ('--collect_limit', '150'), 'episodes of 150', 'published')])
def test_published_results_appear_where_their_protocol_is_the_same(
    tmp_path, metric, agent, argv, shown, hidden):
  run = make(tmp_path / 'run', [(5000, 1.0), (15000, 2.0)], metric, agent, argv)
  text = legend(chart.draw(groups(run, metric=metric), metric))
  assert shown in text and hidden not in text


def test_axes_have_names_units_and_nothing_is_told_by_colour_alone(tmp_path):
  for i in range(3):
    make(tmp_path / f'{i}', [(5000, 10.0 * i), (15000, 20.0 * i)], kl_scale=1.0 + i)
  figure = chart.draw(groups(tmp_path), 'eval/return')
  axis = figure.axes[0]
  assert 'frames' in axis.get_xlabel() and axis.get_title() == 'dmc_walker_walk'
  assert 'return' in figure.get_supylabel()
  own = [line for line in axis.lines if line.get_linewidth() == 1.6]
  assert len({(line.get_linestyle(), line.get_marker()) for line in own}) == 3


def test_a_panel_for_each_task(tmp_path):
  make(tmp_path / 'a', [(5000, 1.0)])
  make(tmp_path / 'b', [(5000, 1.0)], task='dmc_cup_catch')
  figure = chart.draw(groups(tmp_path), 'eval/return')
  assert {axis.get_title() for axis in figure.axes} == {'dmc_walker_walk', 'dmc_cup_catch'}


def test_the_loop_draws_its_own_run(tmp_path):
  empty = make(tmp_path / 'empty', [])
  assert plot.write_curve(empty) is False and not (empty / 'curve.png').exists()
  run = make(tmp_path / 'run', [(5000, 1.0)])
  assert plot.write_curve(run) is True
  assert Image.open(run / 'curve.png').format == 'PNG'
  assert {path.name for path in run.iterdir()} == {'config.yaml', 'metrics.jsonl', 'curve.png'}


def test_a_torn_last_line_does_not_hide_the_rest(tmp_path):
  run = make(tmp_path / 'run', [(5000, 1.0)])
  with (run / 'metrics.jsonl').open('a') as file:
    file.write('{"step": 6000, "eval/return": 2')
  assert list(groups(run)[0].runs[0].values) == [1.0]


@pytest.mark.parametrize('argv, message', [
    (['{}/none', '--out', '{}/a.png'], 'is no directory'),
    (['{}', '--out', '{}/a.png'], 'no run'),
    (['{}/run', '--out', '{}/a.svg'], r'Expected one of \.png, \.pdf'),
    (['{}/run', '--out', '{}/no/a.png'], 'folder does not exist'),
    (['{}/run', '--out', '{}/a.png', '--bin', '0'], 'above 0'),
    (['{}/run', '--out', '{}/a.png'], 'no evaluation yet'),
    (['{}/run', '--out', '{}/a.png', '--metric', 'agent/kk'], 'agent/kl')])
def test_mistakes_are_one_sentence(tmp_path, capsys, argv, message):
  (tmp_path / 'empty').mkdir()
  if argv[0] != '{}':
    make(tmp_path / 'run', [(5000, 3.0)], 'agent/kl')
  with pytest.raises(SystemExit) as stop:
    plot.main([arg.format(tmp_path) for arg in argv])
  error = capsys.readouterr().err
  assert stop.value.code == 2 and error.count('\n') == 1 and not (tmp_path / 'a.png').exists()
  assert re.search(message, error), error


def test_a_directory_of_others_is_refused(tmp_path):
  (tmp_path / 'metrics.jsonl').write_text('')
  with pytest.raises(UserError, match='config.yaml is missing'):
    curves.find([tmp_path])
