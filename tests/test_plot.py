"""Learning curves: runs found, grouped and binned, published curves only where they compare."""
import json
import pathlib
import re

import numpy as np
import pytest
from PIL import Image

from common import config as config_lib
from common import plot
from common.config import UserError
from common.scores import aggregate_chart
from common.scores import chart
from common.scores import curves
from common.scores import figures
from common.scores import protocol
from common.scores import published
from common.scores import summary


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
  return figures.load(paths, metric)


def test_a_run_within_another_is_seen_and_its_own_folders_are_passed_over(tmp_path):
  for name in ('run', 'run/seed1', 'run/episodes/x', 'run/pictures/y', 'run/export', 'export'):
    make(tmp_path / name, [(5000, 30.0)])
    if name.endswith('export'):
      (tmp_path / name / 'weights.npz').write_text('')
  found = [run.path for group in groups(tmp_path) for run in group.runs]
  assert sorted(found) == [tmp_path / 'export', tmp_path / 'run', tmp_path / 'run' / 'seed1']


def test_a_method_has_one_name_on_all_tasks(tmp_path):
  # On one task four keys differ, of which the first three tell nothing.
  for i, settings in enumerate(({}, {'kl_scale': 2.0})):
    make(tmp_path / f'a{i}', [(5000, 1.0)], horizon=9, deter_size=30, batch_length=40, **settings)
  make(tmp_path / 'b', [(5000, 1.0)], task='dmc_walker_run', horizon=9, deter_size=30, batch_length=40)
  make(tmp_path / 'c', [(5000, 1.0)], task='dmc_walker_run')
  make(tmp_path / 'd', [(5000, 1.0)])
  names = {}
  for group in groups(tmp_path):
    names.setdefault(group.task, set()).add(group.name)
  assert names['dmc_walker_run'] < names['dmc_walker_walk']


def test_means_over_the_bins_of_sparser_peers_say_so(tmp_path, capsys):
  make(tmp_path / 'often', [(step, float(step)) for step in range(1000, 20_001, 1000)], eval_every=1000)
  make(tmp_path / 'rarely', [(10_000, 1.0), (20_000, 1.0)], eval_every=10_000, horizon=5)
  plot.main([str(tmp_path), '--out', str(tmp_path / 'a.png')])
  often, rarely, *_ = [line for line in capsys.readouterr().out.splitlines() if ' frames' in line]
  assert 'frames (means of 10,000)' in often and 'means of' not in rarely


def test_rows_of_joined_files_are_put_in_order(tmp_path):
  run = make(tmp_path / 'run', [(15_000, 3.0), (20_000, 4.0), (5000, 1.0), (10_000, 2.0)])
  np.testing.assert_array_equal(curves.read(run, 'eval/return').values, [1, 2, 3, 4])


def test_metrics_that_nobody_can_read_are_no_young_run(tmp_path, capsys):
  run = make(tmp_path / 'run', [])
  (run / 'metrics.jsonl').write_bytes(b'\xff\x00\n')
  with pytest.raises(SystemExit):
    plot.main([str(run), '--out', str(tmp_path / 'a.png')])
  assert 'has no row that can be read' in capsys.readouterr().err


def test_the_command_draws_one_evaluation_and_says_what_it_shows(tmp_path, capsys):
  run = make(tmp_path / 'run', [(5000, 30.0)])
  plot.main([str(run), '--out', str(tmp_path / 'a.png')])
  image = Image.open(tmp_path / 'a.png')
  assert image.size[0] > 600 and len(image.convert('L').getcolors()) > 50
  out = capsys.readouterr().out
  assert 'dmc_walker_walk | dreamer (dmc) | 30 at 5,000 frames, 1 run' in out
  assert 'Dreamer, published: 25.8' in out
  assert sorted(path.name for path in tmp_path.iterdir()) == ['a.png', 'run']


def test_a_seed_that_counts_twice_is_told(tmp_path, capsys):
  for name, seed in (('run', 0), ('export', 0), ('other', 1)):
    make(tmp_path / name, [(5000, 30.0)], seed=seed)
  plot.main([str(tmp_path), '--out', str(tmp_path / 'a.png')])
  assert 'dmc_walker_walk, dreamer (dmc): seed 0 occurs more than once' in capsys.readouterr().out


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


def test_what_an_older_version_did_not_have_counts_with_its_default(tmp_path):
  for name, drawn in (('old', False), ('same', False), ('other', True)):
    make(tmp_path / name, [(5000, 1.0)], seed=ord(name[0]), image_background=drawn)
  text = (tmp_path / 'old' / 'config.yaml').read_text()
  assert 'image_background: false\n' in text.lower()
  lines = [line for line in text.splitlines() if not line.startswith('image_background')]
  (tmp_path / 'old' / 'config.yaml').write_text('\n'.join([*lines, 'gone: 1']) + '\n')
  found = groups(tmp_path)
  assert sorted(sorted(run.path.name for run in group.runs) for group in found) == [
      ['old', 'same'], ['other']]
  assert sorted(group.name.split(', ')[1] for group in found) == [
      'image_background False', 'image_background True']


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


@pytest.mark.parametrize('flags, words', [
    ((), ['returns of single lives']), (('--atari_life_reset', 'False'), []),
    (('--atari_life_end', 'False'), [])])
def test_training_returns_of_single_lives_stand_beside_no_published_ones(tmp_path, flags, words):
  argv = ('--configs', 'atari', '--task', 'atari_breakout', *flags)
  run = make(tmp_path / 'run', [(5000, 1.0)], 'train/return', 'dreamer', argv)
  group, = groups(run, metric='train/return')
  assert protocol.mismatches(group, 'train/return') == words
  assert protocol.mismatches(group, 'eval/return') == []


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
  assert figures.write_curve(empty) is False and not (empty / 'curve.png').exists()
  run = make(tmp_path / 'run', [(5000, 1.0)])
  assert figures.write_curve(run) is True
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
    (['{}/run', '--out', '{}/a.png', '--bin', '0'], 'at least 1'),
    (['{}/run', '--out', '{}/a.png', '--at', '0'], 'at least 1'),
    (['{}/run', '--out', '{}/a.png', '--metric', 'agent/kl', '--aggregate', '{}/b.png'], 'returns'),
    (['{}/run', '--out', '{}/a.png', '--aggregate', '{}/b.svg'], 'Expected one of'),
    (['{}/run', '--out', '{}/a.png', '--aggregate', '{}/a.png'], 'name one file twice'),
    (['{}/run', '--metric', 'agent/kl', '--out', '{}/' + 'a' * 250 + '.png'], 'cannot be written'),
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


def evaluations(value, steps=1_005_000):
  """An evaluation each 10k frames, as in the published runs."""
  return [(step, value(step)) for step in range(5_000, steps + 1, 10_000)]


def test_on_published_bins_own_runs_are_averaged_over_the_very_same_frames(tmp_path):
  run = make(tmp_path / 'run', evaluations(lambda step: step / 1e4))
  figure = chart.draw(groups(run), 'eval/return', chart.PUBLISHED)
  own, = [line for line in figure.axes[0].lines if line.get_linewidth() == 1.6]
  known, = [line for line in figure.axes[0].lines if line.get_linewidth() == 1.8]
  curve = published.curve('dreamer', 'walker_walk', binned=True)
  inside = curve.frames <= 1_005_000
  np.testing.assert_array_equal(own.get_xdata(), curve.frames[inside])
  np.testing.assert_array_equal(known.get_xdata(), curve.frames[inside])
  np.testing.assert_array_equal(known.get_ydata(), curve.mean[inside])
  # Ten evaluations each, of which the last is at the right edge; the first bin has one.
  centers = [0.5, *(curve.frames[1:inside.sum()] - 45_000) / 1e4]
  np.testing.assert_allclose(own.get_ydata(), centers)


@pytest.mark.parametrize('last, bins', [(95_000, 1), (105_000, 2), (205_900, 3)])
def test_a_published_bin_counts_only_when_it_is_complete(tmp_path, last, bins):
  # The last evaluation may be late, as it follows the end of an episode.
  points = evaluations(lambda step: 1.0, last // 10_000 * 10_000)
  run = make(tmp_path / 'run', [*points, (last, 1.0)])
  panel = chart.on_bins('dmc_walker_walk', groups(run), 'eval/return', chart.PUBLISHED)
  assert len(panel.bins[0].frames) == bins


def test_a_late_first_evaluation_is_still_that_of_the_untrained_agent(tmp_path):
  run = make(tmp_path / 'run', [(5_028, 7.0), *[(k * 10_000 + 5_100, 1.0) for k in range(1, 12)]])
  bins, = chart.on_bins('dmc_walker_walk', groups(run), 'eval/return', chart.PUBLISHED).bins
  assert list(bins.frames) == [5_000, 105_000] and list(bins.mean) == [7, 1]


def test_a_published_bin_counts_only_from_its_beginning(tmp_path):
  points = evaluations(lambda step: step, 205_000)
  run = make(tmp_path / 'run', [point for point in points if point[0] > 50_000])
  bins, = chart.on_bins('dmc_walker_walk', groups(run), 'eval/return', chart.PUBLISHED).bins
  assert list(bins.frames) == [205_000]


def test_seeds_that_go_on_from_runs_of_their_own_are_one_curve(tmp_path):
  for name in ('disagreement', 'random'):
    for seed in (0, 1, 10):
      make(
          tmp_path / f'{name}-{seed}', [(5000, 1.0)], agent='plan2explore', seed=seed,
          source=f'/there/{name}-{seed}')
  found = groups(tmp_path)
  assert [len(group.runs) for group in found] == [3, 3]
  assert [group.name.endswith(f'source /there/{name}-*') for group, name in zip(
      found, ('disagreement', 'random'))] == [True, True]


def test_on_published_bins_explorers_have_the_windows_of_their_own_file(tmp_path):
  run = make(tmp_path / 'run', evaluations(lambda step: 1.0), agent='plan2explore')
  curve, = chart.on_bins('dmc_walker_walk', groups(run), 'eval/return', chart.PUBLISHED).references
  assert curve.method == 'plan2explore_zeroshot'


def test_published_bins_are_refused_where_nothing_published_compares(tmp_path, capsys):
  run = make(tmp_path / 'run', [(5000, 1.0)], argv=('--time_limit', '500'))
  with pytest.raises(SystemExit):
    plot.main([str(run), '--out', str(tmp_path / 'a.png'), '--bin', 'published'])
  assert 'Drop --bin published' in capsys.readouterr().err


@pytest.mark.parametrize('band, text', [('std', '± std'), ('ci', '95 % t interval')])
def test_own_and_published_bands_are_of_the_same_kind_and_named(tmp_path, band, text):
  for seed, value in enumerate((100.0, 200.0, 300.0)):
    make(tmp_path / f'{seed}', evaluations(lambda step: value), seed=seed)
  found = groups(tmp_path)
  figure = chart.draw(found, 'eval/return', chart.PUBLISHED, band)
  assert legend(figure).count(text) == 2
  known, own = (
      np.concatenate([path.vertices for path in area.get_paths()])[:, 1]
      for area in figure.axes[0].collections)
  factor = 1 if band == 'std' else 4.3027 / np.sqrt(3)
  assert own.max() == pytest.approx(200 + 100 * factor, rel=1e-4)
  curve = published.curve('dreamer', 'walker_walk', binned=True)
  inside = curve.frames <= 1_005_000
  factor = 1 if band == 'std' else 2.7764 / np.sqrt(5)
  assert known.max() == pytest.approx((curve.mean + factor * curve.std)[inside].max(), rel=1e-4)
  line, = chart.describe(found, 'eval/return', band=band)
  assert ('[' in line) == (band == 'ci') and ('±' in line) == (band == 'std')


@pytest.mark.parametrize('changes, words', [
    ({'offline': 'there'}, 'learned offline'), ({'eval_noise': 0.3}, 'evaluated with noise'),
    ({'tasks': 'dmc_walker_walk:2,dmc_cup_catch:4'}, 'frames of all tasks together')])
def test_returns_that_were_counted_or_evaluated_otherwise_have_nothing_published_beside_them(
    tmp_path, changes, words):
  run = make(tmp_path / 'run', [(5000, 1.0), (15000, 2.0)], **changes)
  text = legend(chart.draw(groups(run), 'eval/return'))
  assert words in text and 'published' not in text
  assert 'published' not in ' '.join(chart.describe(groups(run), 'eval/return'))


@pytest.mark.parametrize('changes, shown', [
    ({}, True), ({'source': 'there'}, False), ({'expl_until': 1000}, False),
    ({'expl_behavior': 'greedy'}, False),
    ({'zero_shot_tasks': 'dmc_walker_run'}, False)])  # eval/return is their mean
def test_the_zero_shot_curve_stands_beside_zero_shot_runs_alone(tmp_path, changes, shown):
  points = [(3.4e6, 1.0), (3.5e6, 2.0)]
  run = make(tmp_path / 'run', points, 'eval/return', 'plan2explore', **changes)
  found = groups(run)
  assert ('zero-shot' in legend(chart.draw(found, 'eval/return'))) == shown
  rows, _ = summary.rows(found, 'eval/return')
  assert ('zero-shot' in ' '.join(summary.lines(rows))) == shown


@pytest.mark.parametrize('changes, shown', [
    ({}, True), ({'time_limit': 1000}, False), ({'atari_sticky': 0.0}, False)])
def test_games_compare_only_when_played_like_the_published_ones(tmp_path, changes, shown):
  argv = ('--configs', 'atari', 'dreamerv2', '--task', 'atari_pong')
  run = make(tmp_path / 'run', [(1e6, -20.0), (2e6, -10.0)], argv=argv, **changes)
  found = groups(run)
  text = legend(chart.draw(found, 'eval/return')) + chart.describe(found, 'eval/return')[0]
  for words in ('DreamerV2, published', 'Human gamer', 'human-normalised'):
    assert (words in text) == shown


def test_training_returns_of_games_are_not_shown_beside_published_evaluations(tmp_path):
  argv = ('--configs', 'atari', 'dreamerv2', '--task', 'atari_pong')
  run = make(tmp_path / 'run', [(1e6, -20.0), (2e6, -10.0)], 'train/return', argv=argv)
  text = legend(chart.draw(groups(run, metric='train/return'), 'train/return'))
  assert 'DreamerV2, published' not in text and 'Human gamer' in text


def test_each_run_has_a_thin_line_on_demand(tmp_path):
  for seed in range(3):
    make(tmp_path / f'{seed}', [(5000, 1.0 + seed), (15000, 2.0)], seed=seed)
  thin = lambda figure: [line for line in figure.axes[0].lines if line.get_linewidth() == 0.5]
  assert len(thin(chart.draw(groups(tmp_path), 'eval/return', each=True))) == 3
  assert not thin(chart.draw(groups(tmp_path), 'eval/return'))


def test_without_out_the_picture_is_curves_png_here(tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  make(tmp_path / 'run', [(5000, 30.0)])
  plot.main(['run'])
  assert Image.open(tmp_path / 'curves.png').format == 'PNG'
  assert capsys.readouterr().out.endswith('curves.png\n')


def test_the_command_prints_and_draws_aggregates_and_names_what_it_leaves_out(tmp_path, capsys):
  for task in ('dmc_walker_walk', 'dmc_cup_catch'):
    for seed in range(2):
      make(tmp_path / f'{task}{seed}', evaluations(lambda step: 500.0 + seed), task=task, seed=seed)
  make(tmp_path / 'young', [], seed=2)
  plot.main([str(tmp_path), '--out', str(tmp_path / 'a.png'), '--at', '1e6',
             '--aggregate', str(tmp_path / 'b.pdf')])
  out = capsys.readouterr().out
  assert re.search(r'dreamer \(dmc\) +2 +2 +900k to 1M +0\.50\d \[0\.500, 0\.501\]', out), out
  assert re.search(r'Dreamer, from pixels, published +2 +5 +950k', out), out
  assert 'young: left out, no eval/return yet' in out
  assert (tmp_path / 'b.pdf').read_bytes().startswith(b'%PDF')


@pytest.mark.parametrize('count', [1, 6, 7, 20, 55])
def test_nothing_overlaps_or_is_cut_off_with_many_panels(tmp_path, count):
  run = groups(make(tmp_path / 'run', [(5000, 1.0), (15000, 2.0)]))[0]
  figure = chart.draw(
      [run._replace(task=f'dmc_finger_turn_hard_{i}') for i in range(count)], 'eval/return')
  figure.canvas.draw()
  assert len(figure.axes) == count
  boxes = [axis.get_tightbbox() for axis in figure.axes] + [figure.legends[0].get_tightbbox()]
  for i, box in enumerate(boxes):
    assert box.x0 >= -1 and box.y0 >= -1
    assert box.x1 <= figure.bbox.width + 1 and box.y1 <= figure.bbox.height + 1
    assert not any(
        min(box.x1, other.x1) - max(box.x0, other.x0) > 1 and
        min(box.y1, other.y1) - max(box.y0, other.y0) > 1 for other in boxes[:i])


def test_configs_are_read_alike_alone_and_with_many(tmp_path):
  paths = [make(tmp_path / f'a folder {"x" * 90} of {seed}', [(5000, 1.0)], seed=seed)
           for seed in range(3)]
  for path in paths:
    assert dict(curves.read(path, 'eval/return').config) == dict(
        config_lib.read(path / 'config.yaml'))


def test_a_directory_of_others_is_refused(tmp_path):
  (tmp_path / 'metrics.jsonl').write_text('')
  with pytest.raises(UserError, match='config.yaml is missing'):
    curves.find([tmp_path])


def test_runs_that_keep_unlike_many_episodes_are_told(tmp_path, capsys):
  for seed, kept in enumerate((5_000_000, 100_000)):
    make(tmp_path / str(seed), [(5000, 30.0)], seed=seed, replay_capacity=kept)
  plot.main([str(tmp_path), '--out', str(tmp_path / 'a.png')])
  assert 'dreamer (dmc): replay_capacity differs: 100000, 5000000.' in capsys.readouterr().out


def test_runs_behind_links_are_found_once(tmp_path):
  make(tmp_path / 'elsewhere' / 'run', [(5000, 30.0)])
  there = tmp_path / 'there'
  make(there / 'own', [(5000, 30.0)], seed=1)
  (there / 'linked').symlink_to(tmp_path / 'elsewhere')
  (there / 'again').symlink_to(tmp_path / 'elsewhere' / 'run')
  (tmp_path / 'elsewhere' / 'loop').symlink_to(there)
  assert len(curves.find([there])) == 2


def test_dollars_in_the_names_of_groups_are_drawn_as_they_are(tmp_path):
  for name, keys in (('a', r'^position$|\w+$'), ('b', 'velocity$|^position$')):
    for task in ('dmc_walker_walk', 'dmc_walker_stand'):
      make(tmp_path / f'{name}-{task}', [(5000, 30.0), (10000, 40.0)], task=task, mlp_keys=keys)
  figure = chart.draw(groups(tmp_path), 'eval/return')
  assert r'^position$|\w+$' in legend(figure).replace(r'\$', '$')
  figures.save(figure, tmp_path / 'a.png')
  rows, _ = summary.rows(groups(tmp_path), 'eval/return')
  figures.save(aggregate_chart.draw(rows), tmp_path / 'b.png')


def test_montezumas_curve_at_its_own_discount_stands_beside_such_runs(tmp_path):
  argv = ['--configs', 'atari', 'dreamerv2', '--task', 'atari_montezuma_revenge']
  for name, discount in (('a', 0.99), ('b', 0.999)):
    make(tmp_path / name, [(1e6, 0.0), (1e8, 900.0)], argv=argv, discount=discount)
  methods = lambda *names: [curve.method for curve in protocol.references(
      'atari_montezuma_revenge', groups(*(tmp_path / name for name in names)), 'eval/return')]
  assert methods('a') == ['dreamerv2_montezuma'] and methods('b') == ['dreamerv2']
  assert sorted(methods('a', 'b')) == ['dreamerv2', 'dreamerv2_montezuma']
  figures.save(chart.draw(groups(tmp_path), 'eval/return'), tmp_path / 'a.png')


def test_one_task_of_explorers_with_other_main_tasks_is_aggregated_for_each(tmp_path):
  metric = 'eval/return/dmc_walker_run'
  for task, value in (('dmc_walker_walk', 500.0), ('dmc_walker_stand', 100.0)):
    make(tmp_path / task, [(5000, value), (10000, value)], metric, agent='plan2explore', task=task,
         zero_shot_tasks='dmc_walker_run')
  rows, _ = summary.rows(groups(tmp_path, metric=metric), metric)
  means = sorted(row.estimates['mean'][0] for row in rows if not row.published)
  np.testing.assert_allclose(means, [0.1, 0.5])


def test_labels_draw_directories_apart_that_have_the_same_settings(tmp_path, capsys):
  for name, seeds, value in (('base', (0, 1, 2), 100.0), ('changed', (3, 4, 5), 160.0)):
    for seed in seeds:
      path = make(tmp_path / name / str(seed), [(5000, 0.0), (15000, value + seed)], seed=seed)
      (path / 'run.json').write_text(json.dumps({'commit': name}))
  out = ['--out', str(tmp_path / 'a.png')]
  plot.main([str(tmp_path), *out])
  assert 'dreamer (dmc): of several commits (base, changed). LABEL=DIR draws' in capsys.readouterr().out
  plot.main([f'with={tmp_path / "changed"}', str(tmp_path / 'base'), *out, '--csv', str(tmp_path / 'a.csv')])
  said = capsys.readouterr().out
  assert 'dmc_walker_walk | with: dreamer (dmc) | 164 ± 1' in said and 'several commits' not in said
  # Welch: 2.776 standard errors of sqrt(2 / 3).
  assert '(dreamer (dmc)) - (with: dreamer (dmc)): -63, 95 % interval -65.27 to -60.73 (Welch) at 15,000' in said
  lines = (tmp_path / 'a.csv').read_text().splitlines()
  assert lines[0] == 'task,group,seed,run,frames,eval/return' and len(lines) == 13
  assert lines[2].startswith('dmc_walker_walk,dreamer (dmc),0,') and lines[2].endswith(',15000,100.0')
  with pytest.raises(SystemExit) as stop:
    plot.main([str(tmp_path), *out, '--csv', str(tmp_path / 'a.txt')])
  assert stop.value.code == 2 and 'ends in .csv' in capsys.readouterr().err


@pytest.mark.filterwarnings('error')
def test_axes_keep_their_height_above_a_long_legend(tmp_path):
  for number in range(14):
    make(tmp_path / str(number), [(5000, 1.0), (15000, 2.0)], horizon=number + 2, discount=0.9 + number / 1000)
  figure = chart.draw(groups(tmp_path), 'eval/return')
  figure.canvas.draw()
  axes, = figure.axes
  assert axes.get_window_extent().height / figure.dpi > 2


def test_runs_with_different_main_tasks_are_told_apart_on_a_further_one(tmp_path, capsys):
  metric = 'eval/return/dmc_walker_run'
  for task in ('dmc_walker_walk', 'dmc_walker_stand'):
    make(tmp_path / task, [(5000, 1.0)], metric, agent='plan2explore', task=task, zero_shot_tasks='dmc_walker_run')
  figure = chart.draw(groups(tmp_path, metric=metric), metric)
  assert 'plan2explore (dmc), dmc_walker_stand, ' in legend(figure)
  assert 'plan2explore (dmc), dmc_walker_walk, ' in legend(figure)


def difference_of(folder, capsys, **ends):
  """The printed difference of runs with labels; `ends` has the frames of each run's rows by label."""
  for label, seeds in ends.items():
    for seed, frames in enumerate(seeds):
      make(folder / label / str(seed), [(step, step / 1e3 + seed) for step in frames], seed=seed)
  plot.main([*(f'{label}={folder / label}' for label in ends), '--out', str(folder / 'a.png')])
  return [line for line in capsys.readouterr().out.splitlines() if 'Welch' in line]


def test_a_difference_is_at_frames_that_all_runs_have_reached(tmp_path, capsys):
  long, short = range(5_000, 100_000, 10_000), range(5_000, 60_000, 10_000)
  line, = difference_of(tmp_path / 'one', capsys, one=[long] * 3, two=[long, long, short])
  assert ': 0, 95 %' in line and 'at 55,000 frames' in line
  later = range(1_005_000, 1_100_000, 10_000)
  assert not difference_of(tmp_path / 'apart', capsys, one=[long] * 3, two=[later] * 3)


@pytest.mark.parametrize('sources', [
    ['/there/explorer/0'] * 3, ['/there/explorer/0', '/there/explorer/0/', '/there/./explorer/0'],
    ['/there/0', '/there/1/', '/there/2'], ['~/0', str(pathlib.Path.home() / '1'), '~/2']])
def test_seeds_that_go_on_from_one_run_or_from_own_ones_are_one_curve(tmp_path, sources):
  for seed, source in enumerate(sources):
    make(tmp_path / str(seed), [(5000, 1.0)], agent='plan2explore', seed=seed, source=source)
  assert [len(group.runs) for group in groups(tmp_path)] == [3]


def test_a_path_with_an_equals_sign_is_a_path(tmp_path):
  there = make(tmp_path / 'a=b', [(5000, 1.0)])
  assert curves.read_all([there], 'eval/return')[0].label == ''
  assert curves.read_all([f'x={there}'], 'eval/return')[0].label == 'x'
  with pytest.raises(UserError, match='is no directory'):
    curves.read_all([f'{tmp_path}/none=c'], 'eval/return')


def test_names_tell_what_the_blocks_do_not_say(tmp_path, capsys):
  run = make(tmp_path / 'run', [(5000, 30.0)], argv=['--use_value', 'False', '--batch_size', '5'])
  plot.main([str(run), '--out', str(tmp_path / 'a.png')])
  assert 'dreamer (dmc), batch_size 5, use_value False | 30' in capsys.readouterr().out
  many = ['--deter_size', '30', '--num_units', '10', '--horizon', '5', '--seed', '4', '--kl_scale', '2']
  run = make(tmp_path / 'many', [(5000, 30.0)], argv=many)
  plot.main([str(run), '--out', str(tmp_path / 'a.png')])
  assert 'dreamer (dmc), deter_size 30, horizon 5, kl_scale 2.0, and 1 more | 30' in capsys.readouterr().out


def test_planet_stands_beside_the_score_of_its_action_repeat(tmp_path):
  shown = lambda *argv, name: legend(chart.draw(groups(make(
      tmp_path / name, [(5000, 1.0)], agent='planet', argv=['--task', 'dmc_cheetah_run', *argv])), 'eval/return'))
  assert 'PlaNet, published score after 1M frames' in shown(name='own')
  assert 'PlaNet at action repeat 2, published score after 5M' in shown('--configs', 'dmc', 'repeat2', name='two')
