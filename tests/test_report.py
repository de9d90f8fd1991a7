"""The report: one page that needs nothing else, says what differs, and fits on a phone."""
import html
import html.parser
import json
import re
import shutil
import subprocess
import sys

import numpy as np
from PIL import Image
import pytest

from common import config as config_lib
from common import report
from common.loop import video
from common.study import comparison
from common.study import films
from common.study import page

BROWSER = next(filter(None, map(shutil.which, (
    'chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome'))), None)
FLAGS = (
    '--headless', '--no-sandbox', '--disable-gpu', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
    '--host-resolver-rules=MAP * ~NOTFOUND', '--virtual-time-budget=5000')
OWN_HOSTS = r'https?://[\w.-]*\.(google|googleapis|gstatic|googleusercontent)\.com[/:]'
VERSIONS = {'python': '3.11.7', 'tensorflow': '2.21.0'}


def make(path, points, argv=(), agent='dreamer', **run):
  """A finished run with (frames, eval/return) rows at the published setting."""
  argv = [str(arg) for arg in argv]
  task = [] if '--task' in argv else ['--task', 'dmc_walker_walk']
  configs = [] if '--configs' in argv else ['--configs', 'dmc']
  config = config_lib.load(agent, [
      *configs, *task, '--steps', str(points[-1][0]) if points else '1000', *argv])
  path.mkdir(parents=True)
  config_lib.save(config.replace(logdir=str(path)), path / 'config.yaml', {'obs_space': {}})
  rows = [row(step, {'eval/return': value}) for step, value in points]
  rows += [row(step, {
      'agent/updates': step // 10, 'agent/skipped': 0, 'fps': 20.0, 'time/env': 0.25,
      'time/train': 0.75}) for step, _ in points]
  write(path, *rows)
  (path / 'run.json').write_text(json.dumps({
      'command': 'python -m dreamer.train', 'commit': 'c' * 40, 'versions': VERSIONS,
      'seconds': 3600, 'finished_at': config.steps, **run}))
  return path


def row(step, metrics):
  return {'step': step, 'time': 1.0, **metrics}


def write(path, *rows):
  with (path / 'metrics.jsonl').open('a') as file:
    file.write(''.join(json.dumps(row) + '\n' for row in rows))


def evaluate(path, step, returns, zero=112.0):
  mean = np.mean(returns if isinstance(returns, list) else list(returns.values()))
  with (path / 'evaluate.jsonl').open('a') as file:
    file.write(json.dumps({
        'step': step, 'episodes': 2, 'return': float(mean), 'return_std': 1.5, 'returns': returns,
        'zero_return': zero, 'random_return': 141.0}) + '\n')


def picture(path, kind, frames, rows=20):
  """A film of noise, which does not compress."""
  (path / 'pictures').mkdir(exist_ok=True)
  pixels = np.random.default_rng(rows).integers(0, 256, (rows, 64, 64, 3), np.uint8)
  file = path / 'pictures' / f'{kind}_image-{frames:09d}.gif'
  file.write_bytes(video.encode_gif(pixels))
  return file


def published(frames=500_000):
  """Evaluations that are the published Dreamer's on walker_walk: 903.5 ± 26.1 at 500,000."""
  return [(5_000, 26.0), (250_000, 712.0), (frames, 903.0)]


def entry(*paths):
  found, = comparison.load(paths)
  return found


def write_page(tmp_path, *argv):
  report.main([*map(str, argv), '--out', str(tmp_path / 'report.html')])
  return (tmp_path / 'report.html').read_text()


def words(text):
  """What a reader sees of HTML, in one line."""
  text = re.sub(r'<style>.*?</style>|<wbr>|data:[^"]*', '', text, flags=re.DOTALL)
  return ' '.join(html.unescape(re.sub(r'<[^>]*>', ' ', text)).split())


def test_the_command_writes_one_page_with_score_published_columns_and_verdict(tmp_path, capsys):
  for seed, shift in enumerate((-10, 0, 10)):
    path = make(tmp_path / 'runs' / f'{seed}', [
        (step, value + shift) for step, value in published()], ['--seed', seed])
    evaluate(path, 500_000, [900.0 + shift, 910.0 + shift])
    evaluate(path, 500_000, [1.0], zero=2.0)  # for a film: the longer one counts, with what is in it
  text = words(write_page(tmp_path, tmp_path / 'runs'))
  for part in (
      'Seeds 3 numbers 0, 1, 2', 'At the published setting: 1 row.', '✓ within 1', '905 ± 10.0 3 seeds',  # ours
      '904 ± 26.1 5 seeds', '962 5 seeds',  # the curve at our frames, the printed score
      'zero action 112, random 141', '2 episodes of common.evaluate', 'tensorflow 2.21.0',
      'c' * 40, 'python -m dreamer.train', '3:00:00 h', 'Environment', '25%', '50,000',
      "Welch's test at 5 %", 'All keys as in the published setting (dmc).'):
    assert part in text, part
  out = capsys.readouterr().out
  assert 'dmc_walker_walk | dreamer (dmc) | 905 at 500,000 frames, 3 seeds | within' in out
  assert sorted(path.name for path in tmp_path.iterdir()) == ['report.html', 'runs']


def test_another_setting_is_labelled_and_does_not_read_as_a_reproduction(tmp_path):
  make(tmp_path / 'run', published(), ['--action_repeat', 4, '--kl_scale', 0.5])
  text = words(write_page(tmp_path, tmp_path / 'run'))
  assert '≠ not the published setting: 2 keys differ' in text
  assert 'score within the published interval; one seed proves little' in text
  assert 'nothing here is a reproduction' in text and '✓' not in text
  assert 'action_repeat 2 4' in text and 'kl_scale 1.0 0.5' in text


@pytest.mark.parametrize('points, argv, word', [
    (published(), (), 'within'),
    ([(5000, 26.0), (500_000, 700.0)], (), 'below'),
    ([(5000, 26.0), (500_000, 999.0)], (), 'above'),
    ([(5000, 26.0), (50_000, 126.0)], (), 'too few frames'),
    (published(), ('--task', 'dmc_humanoid_walk'), 'no published figure'),
    (published(), ('--configs', 'dmc_proprio'), 'no published figure'),
    ([], (), 'no published figure')])
def test_each_verdict_comes_from_runs(tmp_path, points, argv, word):
  assert entry(make(tmp_path / 'run', points, argv)).verdict.word == word


def test_scores_are_the_evaluations_of_the_last_tenth_at_their_mean_frame(tmp_path):
  points = [(step, float(step)) for step in range(100_000, 1_000_001, 10_000)]
  found = entry(make(tmp_path / 'run', points))
  assert found.frames == 1_000_000 and found.score.frames == 955_000
  assert list(found.score.values) == [955_000.0]
  assert 'last 10 evaluations' in found.score.how


def test_all_seeds_are_compared_at_the_frames_that_all_have_reached(tmp_path):
  make(tmp_path / '0', published(), ['--seed', 0])
  make(tmp_path / '1', published()[:2], ['--seed', 1])
  found = entry(tmp_path)
  assert found.frames == 250_000 and list(found.score.values) == [712.0, 712.0]
  assert any('between 250,000 and 500,000' in problem for problem in found.problems)


def test_evaluations_count_only_where_all_seeds_have_one_at_the_end(tmp_path):
  paths = [make(tmp_path / f'{seed}', published(), ['--seed', seed]) for seed in range(2)]
  evaluate(paths[0], 500_000, [990.0])
  evaluate(paths[1], 250_000, [990.0])
  assert list(entry(*paths).score.values) == [903.0, 903.0]
  evaluate(paths[1], 500_000, [980.0])
  assert list(entry(*paths).score.values) == [990.0, 980.0]


def test_a_later_evaluation_of_fewer_episodes_does_not_replace_the_score(tmp_path):
  run = make(tmp_path / 'run', published())
  evaluate(run, 500_000, [900.0] * 10)
  evaluate(run, 500_000, [500.0])  # for a film
  assert list(entry(run).score.values) == [900.0]
  assert entry(run).score.how == '10 episodes of common.evaluate'
  evaluate(run, 500_000, [800.0] * 10)
  assert list(entry(run).score.values) == [800.0]


def test_one_episode_counts_less_than_ten_logged_evaluations(tmp_path):
  run = make(tmp_path / 'run', [(step, 700.0) for step in range(100_000, 1_000_001, 10_000)])
  evaluate(run, 1_000_000, [500.0])
  assert list(entry(run).score.values) == [700.0]


def test_a_seed_without_evaluation_is_named_and_changes_no_frames(tmp_path):
  make(tmp_path / '0', published(), ['--seed', 0])
  make(tmp_path / '1', [], ['--seed', 1, '--steps', 500_000], finished_at=None)
  found = entry(tmp_path)
  assert found.frames == 500_000 and len(found.score.values) == 1
  assert 'without evaluation, so that it does not count: seed 1' in found.problems
  assert not any('ended between' in problem for problem in found.problems)


def test_few_shot_runs_are_judged_by_the_frames_since_their_actor_collects(tmp_path):
  def few_shot(name, end):
    for seed in range(2):
      points = [
          (step, seed + 0.9 * (step - 1_000_000) / 150) for step in range(1_000_000, end + 1, 5_000)]
      make(tmp_path / name / str(seed), points, [
          '--configs', 'dmc', 'few_shot', '--steps', 1_150_000, '--seed', seed], 'plan2explore')
    return entry(tmp_path / name)
  short, whole = few_shot('short', 1_090_000), few_shot('whole', 1_150_000)
  assert short.verdict.word == 'too few frames'
  assert whole.score.frames == pytest.approx(1_145_000) and whole.verdict.word != 'too few frames'
  assert 'at 1,150,000 frames is' in words(write_page(tmp_path, tmp_path / 'whole'))


@pytest.mark.parametrize('file, text', [
    ('evaluate.jsonl', '{"step": 500000, "return": 1.0, "returns": [1.0, null]}'),
    ('evaluate.jsonl', '{"step": 500000, "return": NaN, "returns": [NaN]}'),
    ('evaluate.jsonl', '{"step": null, "return": 1.0, "returns": [1.0]}'),
    ('evaluate.jsonl', '{"step": 500000, "return": 1.0, "returns": [1.0], "random_return": null}'),
    ('evaluate.jsonl', '{"step": 500000, "return": 1.0, "returns": [1.0], "return_std": "x"}'),
    ('metrics.jsonl', '{"agent/updates": 3, "time": 1.0}'),
    ('metrics.jsonl', '{"step": 500000, "agent/updates": 3, "time/env": "long"}'),
    ('metrics.jsonl', '{"step": 1' + 400 * '0' + '}'),
    ('metrics.jsonl', 100_000 * '['),
    ('metrics.jsonl', '{"step": 500000, "agent/updates": null, "time": 1.0}'),
    ('metrics.jsonl', '{"step": null, "time": 1.0}')])
def test_rows_that_hold_no_numbers_are_left_out_with_a_word(tmp_path, file, text):
  run = make(tmp_path / 'run', published())
  with (run / file).open('a') as lines:
    lines.write(text + '\n')
  found = entry(run)
  assert len(found.score.values) == 1 and np.isfinite(found.score.values[0])
  assert f'{file}: 1 torn line left out' in found.runs[0].problems


@pytest.mark.parametrize('key, value', [
    ('finished_at', '500000'), ('seconds', 'long'), ('seconds', float('nan')),
    ('versions', {'python': []}), ('commit', 7), ('versions', []), ('command', 1)])
def test_a_run_json_of_other_types_is_a_problem(tmp_path, key, value):
  run = make(tmp_path / 'run', published(), **{key: value})
  assert any('run.json cannot be read' in problem for problem in entry(run).runs[0].problems)
  write_page(tmp_path, run)


def test_a_run_that_ends_within_a_tenth_of_a_printed_score_is_not_too_short(tmp_path):
  def word(end):
    points = [(step, 500.0) for step in range(10_000, end + 1, 10_000)]
    path = make(
        tmp_path / f'{end}', points, ['--configs', 'dmc', '--task', 'dmc_cartpole_swingup'], 'planet')
    found = entry(path)
    return found.comparisons[0].reference, found.verdict.word
  reference, long = word(940_000)
  assert reference.kind == 'printed' and reference.enough == 900_000
  assert long != 'too few frames' == word(890_000)[1]


def test_a_few_episodes_of_an_evaluation_do_not_replace_many(tmp_path):
  def how(episodes):
    points = [(step, 900.0) for step in range(460_000, 500_001, 10_000)]
    run = make(tmp_path / episodes, points, ['--eval_episodes', episodes])
    evaluate(run, 500_000, [1.0] * 10)
    return entry(run).score.how
  assert how('2') == '10 episodes of common.evaluate'
  assert how('3') == 'mean of the last 5 evaluations'


def test_a_copy_of_an_exploration_without_evaluation_has_no_score(tmp_path):
  run = make(tmp_path / 'run', [], [
      '--configs', 'dmc', 'few_shot', '--steps', 1_150_000, '--source', '/there'], 'plan2explore')
  assert entry(run).problems[-1] == 'no evaluation yet'


def test_damaged_films_are_left_out(tmp_path):
  run = make(tmp_path / 'run', published())
  good = picture(run, 'eval', 1000)
  (run / 'pictures' / 'eval_image-000002000.gif').write_bytes(b'GIF8')
  (run / 'pictures' / 'eval_image-000003000.gif').write_bytes(good.read_bytes()[:9000])
  (run / 'evaluate.jsonl').mkdir()
  assert [film.path for film in films.newest(run)] == [good]
  write_page(tmp_path, run)


def test_after_its_last_point_a_curve_is_compared_where_it_ends(tmp_path):
  points = [(step, 900.0 if step <= 4e6 else 0.0) for step in range(500_000, 5_000_001, 500_000)]
  curve, printed = entry(make(tmp_path / 'run', points)).comparisons
  assert curve.reference.kind == 'curve' and curve.score.frames == 4_000_000
  assert printed.reference.frames == 5_000_000 and printed.score.values == [0.0]


def test_training_returns_stand_beside_training_returns(tmp_path):
  path = make(tmp_path / 'run', published(), ['--configs', 'dmc', 'dreamerv2'])
  write(path, *(row(step, {'train/return': 930.0}) for step in (480_000, 500_000)))
  found = entry(path)
  assert found.metric == 'train/return' and list(found.score.values) == [930.0]
  assert {each.reference.protocol for each in found.comparisons} == {'train'}
  text = words(write_page(tmp_path, path))
  assert 'DreamerV2 training, same frames' in text
  assert 'Dreamer evaluation, same frames' not in text


def test_training_returns_of_episodes_cut_short_are_not_scores(tmp_path):
  path = make(tmp_path / 'run', published(), ['--configs', 'dmc', 'dreamerv2', 'cpu'])
  write(path, row(500_000, {'train/return': 40.0}))
  evaluate(path, 500_000, [930.0] * 10)
  found = entry(path)
  assert found.metric == 'eval/return' and list(found.score.values) == [930.0]
  assert not found.comparisons and not found.mismatches
  assert 'its returns do not compare' not in words(write_page(tmp_path, path))


def test_training_returns_of_offline_runs_are_not_scores(tmp_path):
  found = entry(make(tmp_path / 'run', published(), ['--configs', 'dmc', 'dreamerv2', '--offline', 'x']))
  assert found.metric == 'eval/return' and len(found.score.values) == 1
  assert found.mismatches == ['offline'] and not found.comparisons


def test_tasks_learned_from_the_same_exploration_have_rows_of_their_own(tmp_path):
  path = make(tmp_path / 'run', [], [
      '--zero_shot_tasks', 'dmc_walker_run', '--steps', 1_000_000], 'plan2explore')
  write(path, row(1_000_000, {
      'eval/return': 500.0, 'eval/return/dmc_walker_walk': 720.0,
      'eval/return/dmc_walker_run': 280.0}))
  evaluate(path, 1_000_000, {'dmc_walker_walk': [721.0], 'dmc_walker_run': [281.0]})
  run, walk = comparison.load([path])
  assert (run.task, *run.score.values) == ('dmc_walker_run', 281.0)
  assert (walk.task, *walk.score.values) == ('dmc_walker_walk', 721.0)
  assert walk.published and walk.comparisons[0].reference.name == 'Plan2Explore, zero-shot'


def test_games_are_normalised_by_what_people_reach(tmp_path):
  path = make(tmp_path / 'run', [], [
      '--configs', 'atari', 'dreamerv2', '--task', 'atari_pong', '--steps', 100_000_000])
  write(path, row(100_000_000, {'eval/return': 14.6}))
  assert entry(path).published
  assert 'human-normalised 1.00' in words(write_page(tmp_path, path))


def test_several_tasks_have_aggregates_beside_published_means_and_one_has_none(tmp_path):
  for seed in range(2):
    for task, score in (('walker_walk', 900 + 20 * seed), ('cup_catch', 700)):
      make(tmp_path / f'{task}{seed}', [(500_000, score)], [
          '--task', f'dmc_{task}', '--seed', seed])
  text = words(write_page(tmp_path, tmp_path))
  assert 'All tasks together' in text and 'return / 1000' in text.lower()
  assert '0.805 [0.800, 0.810]' in text  # mean over the tasks of 0.91 and 0.7
  one = make(tmp_path / 'alone', [(500_000, 900)])
  assert 'All tasks together' not in words(write_page(tmp_path, one))


def test_what_is_remarkable_about_runs_is_said(tmp_path):
  paths = [make(tmp_path / f'{i}', published(), ['--seed', seed]) for i, seed in enumerate((0, 0))]
  make(tmp_path / '2', published(), ['--seed', 7], commit='d' * 40 + '-dirty', finished_at=None,
       versions={**VERSIONS, 'tensorflow': '2.20.0'})
  write(paths[0], row(500_000, {
      'agent/updates': 50_000, 'agent/skipped': 3, 'agent/kl': None, 'agent/model_loss': 1.0}))
  with (paths[1] / 'metrics.jsonl').open('a') as file:
    file.write('{"step": 5')
  (paths[1] / 'run.json').write_text('{')
  text = words(write_page(tmp_path, tmp_path))
  for part in (
      'seed 0 occurs more than once', 'commits differ: cccccccccc, dddddddddd-dirty, unknown',
      'its code was commit dddddddddd with changes that were not committed',
      'versions of tensorflow differ: 2.20.0, 2.21.0, unknown',
      '3 of 50,000 updates skipped', '1 logged training metrics were not finite',
      '3 rows of training metrics have no loss: none was finite',
      'metrics.jsonl: 1 torn line left out', 'run.json cannot be read',
      'seed 7: unfinished: 500,000 of 500,000 frames', '⚠'):
    assert part in text, part


def test_clean_runs_raise_no_flag(tmp_path):
  for seed in range(2):
    path = make(tmp_path / f'{seed}', published(), ['--seed', seed])
    # Without pretraining the first row is of no update.
    write(path, row(5_000, {'agent/updates': 0}), row(500_000, {'agent/updates': 9, 'agent/model_loss': 1.0}))
    rows = (path / 'metrics.jsonl').read_text().splitlines()
    kept = [line for line in rows if 'agent/updates' not in line or 'model_loss' in line or '": 0}' in line]
    (path / 'metrics.jsonl').write_text('\n'.join(kept) + '\n')
  assert '⚠ 1' not in words(write_page(tmp_path, tmp_path)) and not entry(tmp_path).problems


def test_returns_of_shorter_episodes_are_compared_with_nothing(tmp_path):
  text = words(write_page(tmp_path, make(tmp_path / 'run', published(), ['--time_limit', 500])))
  assert 'its returns do not compare: time_limit' in text
  assert 'Dreamer evaluation, same frames' not in text


def test_the_newest_films_are_shown_and_what_does_not_fit_is_left_out(tmp_path):
  paths = [make(tmp_path / f'{seed}', published(), ['--seed', seed]) for seed in range(2)]
  for path in paths:
    for kind in ('dream', 'eval'):
      picture(path, kind, 250_000)
      newest = picture(path, kind, 500_000)
  size = -(-newest.stat().st_size // 3) * 4
  entries = comparison.load([tmp_path])
  chosen, left = films.choose(entries, 3 * size)
  assert [(film.kind, film.frames) for film in chosen[paths[0]]] == [
      ('eval', 500_000), ('dream', 500_000)]
  assert [film.kind for film in chosen[paths[1]]] == ['eval'] and len(left) == 1
  shown = write_page(tmp_path, tmp_path, '--max-mb', 3 * size / 1e6)
  assert shown.count('data:image/gif') == 3 and '1 film of' in words(shown)
  assert 'data:image/gif' not in write_page(tmp_path, tmp_path, '--max-mb', 0)


class Elements(html.parser.HTMLParser):
  """Names of all elements, and values of attributes that lead elsewhere."""

  def __init__(self, text):
    super().__init__()
    self.names, self.addresses, self.images = set(), [], []
    self.feed(text)

  def handle_starttag(self, tag, attrs):
    attrs = dict(attrs)
    self.names.add(tag)
    assert not any(name.startswith('on') for name in attrs), (tag, attrs)
    self.addresses += [attrs[key] for key in ('src', 'href', 'srcset', 'action') if key in attrs]
    if tag == 'img':
      self.images.append(attrs)


def test_values_of_runs_are_text_whatever_they_hold(tmp_path):
  evil = '"><script>alert(1)</script><img src=http://elsewhere.invalid/x onerror=alert(1)>'
  path = make(tmp_path / 'run', published(), ['--kl_scale', 0.5], command=evil, commit=evil,
              versions={evil: evil})
  config = config_lib.read(path / 'config.yaml')
  config_lib.save(config.replace(cnn_keys=evil), path / 'config.yaml')
  found = Elements(write_page(tmp_path, path))
  assert 'script' not in found.names
  assert all(address.startswith(('data:image/', '#')) for address in found.addresses)
  assert evil in words(write_page(tmp_path, path)).replace('&quot;', '"')


def test_the_page_loads_nothing_and_describes_its_images(tmp_path):
  path = make(tmp_path / 'run', published())
  picture(path, 'eval', 500_000)
  text = write_page(tmp_path, path)
  found = Elements(text)
  assert not found.names & {'script', 'link', 'iframe', 'object', 'form'}
  assert all(address.startswith(('data:image/', '#')) for address in found.addresses)
  assert 'url(' not in text and '@import' not in text
  assert page.POLICY.startswith("default-src 'none'") and html.escape(page.POLICY) in text
  assert 'name="viewport"' in text and len(found.images) == 2
  assert all(len(image['alt']) > 20 for image in found.images)


def test_the_same_runs_give_the_same_page(tmp_path):
  path = make(tmp_path / 'run', published())
  pages = [re.sub(r'Page made.*?</dd>', '', write_page(tmp_path, path)) for _ in range(2)]
  assert pages[0] == pages[1]


@pytest.mark.parametrize('argv, message', [
    (['{}/none', '--out', '{}/a.html'], 'is no directory'),
    (['{}/empty', '--out', '{}/a.html'], 'holds no run'),
    (['{}/empty', '--out', '{}/a.pdf'], r'ends in \.html'),
    (['{}/empty', '--out', '{}/no/a.html'], 'folder does not exist'),
    (['{}/empty', '--out', '{}/a.html', '--max-mb', '-1'], 'at least 0')])
def test_mistakes_are_one_sentence(tmp_path, capsys, argv, message):
  (tmp_path / 'empty').mkdir()
  with pytest.raises(SystemExit) as stop:
    report.main([arg.format(tmp_path) for arg in argv])
  error = capsys.readouterr().err
  assert stop.value.code == 2 and error.count('\n') == 1 and re.search(message, error), error
  assert [path.name for path in tmp_path.iterdir()] == ['empty']


def test_the_command_does_without_tensorflow(tmp_path, root):
  path = make(tmp_path / 'run', published())
  code = (
      'import sys; from common import report; report.main(sys.argv[1:]); '
      'assert not {"tensorflow", "tf_keras", "dm_control"} & set(sys.modules)')
  subprocess.run(
      [sys.executable, '-c', code, path, '--out', tmp_path / 'a.html'], check=True, cwd=root)


def browse(tmp_path, address, *flags):
  """Standard output of the browser on a page, and the requests over a network that it made."""
  log = tmp_path / 'net.json'
  result = subprocess.run(
      [BROWSER, *FLAGS, f'--user-data-dir={tmp_path / "browser"}', f'--log-net-log={log}', *flags,
       address], capture_output=True, text=True, timeout=120, check=True)
  found = set(re.findall(r'"url":"(https?://[^"]*)"', log.read_text()))
  return result.stdout, {url for url in found if not re.match(OWN_HOSTS, url)}


@pytest.fixture(scope='module')
def rich_page(tmp_path_factory):
  """A page with long names, several settings and films."""
  folder = tmp_path_factory.mktemp('rich')
  for seed in range(2):
    for task in ('dmc_walker_walk', 'dmc_cartpole_swingup_sparse'):
      path = make(folder / 'runs' / task / f'{seed}', published(), ['--seed', seed, '--task', task])
      picture(path, 'eval', 500_000)
  make(folder / 'runs' / 'other', published(), [
      '--kl_scale', 0.5, '--configs', 'dmc', 'cpu', '--task', 'dmc_walker_walk'])
  write_page(folder, folder / 'runs')
  return folder / 'report.html'


browser = pytest.mark.skipif(not BROWSER, reason='no Chromium or Chrome is installed')


@browser
@pytest.mark.parametrize('width', [320, 360, 1280])
def test_a_browser_shows_all_images_and_scrolls_only_downwards(tmp_path, rich_page, width):
  # A window has a least width, a frame has none; a policy forbids scripts in the page itself.
  (tmp_path / 'frame.html').write_text(f'''
      <iframe style="border: 0; width: {width}px; height: 800px"
        srcdoc="{html.escape(rich_page.read_text())}"></iframe>
      <script>
        const frame = document.querySelector('iframe');
        frame.onload = async () => {{
          const page = frame.contentDocument, found = {{}};
          const wide = () => page.scrollingElement.scrollWidth;
          found.inner = frame.contentWindow.innerWidth;
          found.closed = wide();
          for (const part of page.querySelectorAll('details')) part.open = true;
          found.open = wide();
          const images = [...page.images];
          await Promise.all(images.map(image => (image.loading = 'eager', image.decode())));
          found.images = images.length;
          found.shown = images.filter(image => image.naturalWidth > 0).length;
          found.decoded = wide();
          found.height = page.scrollingElement.scrollHeight;
          document.title = JSON.stringify(found);
        }};
      </script>''')
  dom, _ = browse(tmp_path, f'file://{tmp_path}/frame.html', '--dump-dom')
  found = json.loads(html.unescape(re.search(r'<title>(.*?)</title>', dom).group(1)))
  assert found['inner'] == width and found['height'] > 2000
  assert max(found['closed'], found['open'], found['decoded']) <= width, found
  assert found['shown'] == found['images'] >= 6


@browser
def test_a_browser_makes_no_request_for_the_page_even_if_it_asks_for_one(tmp_path, rich_page):
  foreign = '<img src="http://elsewhere.invalid/x.png">'
  text = rich_page.read_text().replace('<header>', f'<header>{foreign}', 1)
  assert foreign in text
  (tmp_path / 'asks.html').write_text(text)
  (tmp_path / 'free.html').write_text(foreign)
  assert browse(tmp_path, f'file://{rich_page}', '--dump-dom')[1] == set()
  assert browse(tmp_path, f'file://{tmp_path}/asks.html', '--dump-dom')[1] == set()
  _, requests = browse(tmp_path, f'file://{tmp_path}/free.html', '--dump-dom')
  assert requests == {'http://elsewhere.invalid/x.png'}  # so a request would have been seen


@browser
def test_a_browser_paints_the_page(tmp_path, rich_page):
  browse(tmp_path, f'file://{rich_page}', '--window-size=360,800',
         f'--screenshot={tmp_path / "page.png"}')
  image = Image.open(tmp_path / 'page.png').convert('RGB')
  assert image.size == (360, 800) and len(image.getcolors(1 << 20)) > 50


def test_a_config_without_a_seed_is_one_sentence(tmp_path, capsys):
  file = make(tmp_path / 'run', [(5000, 1.0)]) / 'config.yaml'
  file.write_text(''.join(
      line for line in file.read_text().splitlines(True) if not line.startswith('seed')))
  with pytest.raises(SystemExit) as error:
    report.main([str(tmp_path), '--out', str(tmp_path / 'a.html')])
  assert error.value.code == 2 and 'run: its config.yaml lacks seed.' in capsys.readouterr().err


def test_the_scores_alone_are_a_table_in_markdown(tmp_path, capsys):
  for seed, returns in ((1, [900.0, 1000.0]), (0, [800.0, 840.0])):
    evaluate(make(tmp_path / 'runs' / f'{seed}', [(5000, 1.0)], ['--seed', seed]), 5000, returns)
  make(tmp_path / 'runs' / 'other', [(4000, 20.0), (5000, 30.0)], ['--task', 'dmc_cup_catch'])
  make(tmp_path / 'runs' / 'new', [], ['--task', 'dmc_hopper_hop'], seconds=0)
  report.main([str(tmp_path / 'runs'), '--out', str(tmp_path / 'a.md')])
  table, text = (tmp_path / 'a.md').read_text().split('\n\n')
  head, _, other, new, both = table.splitlines()
  assert head.startswith('| task | setting | return | each seed | zero action |')
  assert new == '| dmc_hopper_hop | `dreamer (dmc)` | none yet | – | – | – | 0 | – |'
  assert other == '| dmc_cup_catch | `dreamer (dmc)` | **30.0** | 30.0 | – | – | 5,000 | 60 |'
  assert both == (
      '| dmc_walker_walk | `dreamer (dmc)` | **885 ± 91.9** | 820, 950 | 112 | 141 | 5,000 | 60 |')
  assert 'Each seed: 2 episodes of common.evaluate: dmc_walker_walk, `dreamer (dmc)`.' in text
  assert 'Each seed: mean of the last 1 evaluations: dmc_cup_catch, `dreamer (dmc)`.' in text
  assert 'dmc_walker_walk | dreamer (dmc) | 885' in capsys.readouterr().out


def test_an_evaluation_of_several_tasks_says_so(tmp_path):
  for name, returns in (('one', [1.0]), ('two', {'dmc_walker_walk': [1.0], 'dmc_walker_run': [3.0]})):
    evaluate(make(tmp_path / name, [(5000, 1.0)]), 5000, returns)
    report.main([str(tmp_path / name), '--out', str(tmp_path / 'a.html')])
    assert ('mean of several tasks' in (tmp_path / 'a.html').read_text()) == (name == 'two')


def test_settings_with_bars_keep_the_columns_of_a_markdown_table(tmp_path):
  for name, heads in (('a', 'decoder|reward'), ('b', 'decoder')):
    make(tmp_path / 'runs' / name, [(5000, 1.0)], ['--adapt_heads', heads], 'plan2explore')
  report.main([str(tmp_path / 'runs'), '--out', str(tmp_path / 'a.md')])
  rows = (tmp_path / 'a.md').read_text().split('\n\n')[0].splitlines()
  assert len(rows) == 4 and 'adapt_heads decoder\\|reward`' in ''.join(rows)
  assert {len(re.findall(r'(?<!\\)\|', row)) for row in rows} == {9}


def test_what_an_older_version_did_not_have_is_no_difference_between_seeds(tmp_path):
  for seed in (0, 1):
    make(tmp_path / f'{seed}', [(5000, 1.0)], ['--seed', seed])
  file = tmp_path / '0' / 'config.yaml'
  lines = [line for line in file.read_text().splitlines()
           if not line.startswith(('env_timeout', 'jit', 'image_background', 'replay_capacity'))]
  file.write_text('\n'.join(lines) + '\n')
  entry, = comparison.load([tmp_path])
  assert len(entry.runs) == 2 and entry.problems == []


@pytest.mark.parametrize('first', [0, 1])
def test_one_run_that_keeps_fewer_episodes_makes_all_of_another_setting(tmp_path, first):
  for seed in (0, 1):
    kept = [] if seed == first else ['--replay_capacity', 1e5]
    make(tmp_path / f'{seed}', published(), ['--seed', seed, *kept])
  found = entry(tmp_path)
  assert not found.published and found.differing == {'replay_capacity': (5_000_000, 100_000)}


def test_an_evaluation_just_beyond_the_end_of_a_curve_is_held_against_its_end(tmp_path):
  points = [(frames, 20.0) for frames in range(1_000_000, 200_000_001, 1_000_000)]
  argv = ['--configs', 'atari', 'dreamerv2', '--task', 'atari_pong', '--steps', '2e8']
  path = make(tmp_path / 'run', points, argv)
  evaluate(path, 200_003_412, [20.0] * 10)
  found = entry(path)
  comparison_, = found.comparisons
  assert found.score.frames == 200_003_412 and np.isfinite(comparison_.reference.mean)
  assert found.verdict.word != 'no published figure'
  assert 'DreamerV2' in write_page(tmp_path, path).partition('Scores of all tasks')[2].partition('</table>')[0]


def test_what_all_tasks_together_are_made_of_is_said(tmp_path):
  for task in ('dmc_walker_walk', 'dmc_walker_stand'):
    make(tmp_path / 'runs' / task, published(), ['--task', task])
  assert 'and not of common.evaluate' in write_page(tmp_path, tmp_path / 'runs')


def test_scores_are_taken_at_the_frames_that_are_asked_for(tmp_path, capsys):
  for seed, end in ((0, 500_000), (1, 500_000), (2, 250_000)):
    make(tmp_path / str(seed), [point for point in published() if point[0] <= end], seed=seed)
  write_page(tmp_path, tmp_path)
  assert 'at 250,000 frames, 3 seeds' in capsys.readouterr().out
  text = words(write_page(tmp_path, tmp_path, '--at', 5e5))
  out = capsys.readouterr().out
  assert '903 at 500,000 frames, 2 seeds' in out and f'{tmp_path / "2"}: left out, it ends at 250,000' in out
  assert 'left out, it ends at 250,000 frames' in text
  with pytest.raises(SystemExit) as stop:
    write_page(tmp_path, tmp_path, '--at', 1e6)
  assert stop.value.code == 2 and 'no run goes to 1,000,000 frames' in capsys.readouterr().err


def test_a_label_keeps_a_directory_apart(tmp_path, capsys):
  for name in ('a', 'b'):
    make(tmp_path / name, published())
  write_page(tmp_path, f'old={tmp_path / "a"}', tmp_path / 'b')
  out = capsys.readouterr().out
  assert 'dmc_walker_walk | old: dreamer (dmc) | 903' in out and 'dmc_walker_walk | dreamer (dmc) | 903' in out
