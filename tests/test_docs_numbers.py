"""Numbers on the pages are those of the configs, the published tables and the stored runs."""
import json
import math
import re
import shlex

import numpy as np
import pytest

from common import config as config_lib
from common.checks import parity
from common.loop import banner
from common.scores import curves
from common.scores import published
from common.study import comparison
from common.study import report_markdown
from pages import GROUPS, ROOT, TEXT, sweep, table, tables


def test_frames_decisions_and_updates_are_those_of_the_configs():
  rows = table('docs/steps.md', 'decisions')
  assert len(rows) >= 10
  for row in rows:
    module, *argv = shlex.split(row['run'].strip('`'))[2:]
    config = config_lib.load(module.partition('.')[0], argv)
    tasks = config_lib.tasks(config)
    decisions = sum(config.steps / len(tasks) / repeat for _, repeat in tasks)
    expected = config.steps, decisions, banner.updates(config)
    assert [int(row[x].replace(',', '')) for x in ('frames', 'decisions', 'updates')] == [
        round(x) for x in expected], row


def test_the_example_by_hand_is_that_of_the_published_setting():
  config = config_lib.load('dreamer', ['--configs', 'dmc', '--task', 'dmc_walker_walk'])
  bursts = (config.steps - config.prefill) // config.train_every
  text = ' '.join(TEXT['docs/steps.md'].split())
  count = banner.updates(config)
  assert f'{config.pretrain} + {bursts:,} * {config.train_steps} = {count:,}' in text
  batch = config.batch_size * config.batch_length
  assert f'{config.batch_size} x {config.batch_length} = {batch:,} rows' in text
  assert f'{config.horizon} decisions are imagined, {config.horizon * batch:,} an update' in text
  assert round(count * batch / (config.steps / config.action_repeat), -2) == 500


def test_the_unit_of_an_option_is_that_of_its_comment():
  comments = dict(re.findall(
      r'^ +(\w+): [^#\n]*# (.*)$', (ROOT / 'configs.yaml').read_text().split('\ndmc:')[0], re.M))
  for row in table('docs/steps.md', 'options'):
    for name in re.findall(r'`(\w+)`', row['options']):
      assert row['unit'] in comments[name], (name, comments[name])


def test_the_hours_of_a_figure_are_runs_times_hours():
  count = 0
  for runs, hours, product in re.findall(
      r'(\d+) runs x ([\d.]+) h = ([\d,.]+\d) h', TEXT['docs/reproduce.md']):
    assert int(runs) * float(hours) == pytest.approx(float(product.replace(',', ''))), (runs, hours)
    count += 1
  assert count > 20


def test_the_runs_of_a_figure_are_those_of_its_command():
  count = 0
  for header, *rows in tables(TEXT['docs/reproduce.md']):
    for row in rows if header[1:3] == ['command', 'hours'] else []:
      line = re.search(r'`python -m (common\.sweep .*?)`', row[1])
      runs = re.search(r'(\d+) runs', row[2])
      if line and runs:
        _, _, tasks, seeds, _ = sweep(shlex.split(line[1])[1:])
        assert int(runs[1]) == seeds * sum(GROUPS.get(x, (x, 1))[1] for x in tasks), row
        count += 1
  assert count > 20


def test_the_hours_of_a_run_are_those_printed_in_the_papers():
  rate = {'dreamer': 3, 'planet': 11, 'plan2explore': 3}  # hours for 1M frames
  count = 0
  for header, *rows in tables(TEXT['docs/reproduce.md']):
    for row in rows if header[1:3] == ['command', 'hours'] else []:
      line = re.search(r'`python -m (common\.sweep .*?)`', row[1])
      hours = re.search(r'runs x ([\d.]+) h', row[2])
      if line and hours and 'atari' not in line[1]:
        agent, names, tasks, _, rest = sweep(shlex.split(line[1])[1:])
        task = GROUPS.get(tasks[0], tasks)[0]
        config = config_lib.load(agent, ['--configs', *names, '--task', task, *rest])
        assert float(hours[1]) == pytest.approx(rate[agent] * config.steps / 1e6), row
        count += 1
  assert count > 20


def score(task, method, source):
  """A printed number as the table writes it; a dash where there is none."""
  found = published.scores(task, method=method, source=source)
  return f'{found[0].value:.0f}' if found else '–'


def test_the_scores_to_expect_are_the_published_ones():
  rows = table('docs/reproduce.md', 'run here')
  assert {row['task'] for row in rows} == {
      x.task for x in published.scores(method='plan2explore_zeroshot') if x.task != 'MEAN'}
  for row in rows:
    task, dreamer = row['task'], published.curve('dreamer', row['task']).at(1e6)
    second = published.curve('dreamerv2', task, binned=True)
    assert row == {**row,
        'PlaNet 1M': score(task, 'planet', 'PlaNet paper Table 1'),
        'PlaNet R2 5M': score(task, 'planet_R2', 'Dreamer paper appendix score table'),
        'Dreamer 1M': '{:.0f} ± {:.0f}'.format(*dreamer),
        'Dreamer 5M': score(task, 'dreamer', 'Dreamer paper appendix score table'),
        'zero-shot 3.5M': score(task, 'plan2explore_zeroshot', 'Plan2Explore paper Table 1'),
        'few-shot 1.15M': score(task, 'plan2explore_fewshot', 'Plan2Explore paper Table 2'),
        'DreamerV2 2M': f'{second.mean[-1]:.0f} ± {second.std[-1]:.0f}'}


def test_the_early_scores_are_the_published_ones():
  rows = table('docs/reproduce.md', 'at 250,000 frames')
  assert len(rows) == GROUPS['dmc_early'][1]
  for row in rows:
    for frames in (250_000, 500_000):
      wanted = '{:.0f} ± {:.0f}'.format(*published.curve('dreamer', row['task']).at(frames))
      assert row[f'at {frames:,} frames'] == wanted, row


def test_single_published_scores_are_right():
  curve = lambda task: published.curve('dreamer', task)
  untrained = [f'{curve(x).mean[0]:.0f} on {x}' for x in ('cartpole_balance', 'walker_stand')]
  assert ' and '.join(untrained) in ' '.join(TEXT['docs/reproduce.md'].split())
  early = '{:.0f} ± {:.0f}'.format(*curve('cup_catch').at(50_000))
  assert f'cup_catch is at {early} after 50,000 frames' in TEXT['docs/troubleshooting.md']
  stands = [f'{curve("walker_stand").at(x)[0]:.0f} at {x:,}' for x in (5_000, 50_000)]
  for words in (f'has {stands[0]} frames', f'and {stands[1]}.'):
    assert words in ' '.join(TEXT['docs/results.md'].split())
  late = published.curve('dreamer', 'cartpole_balance', binned=True).mean
  assert late[-1] < 0.8 * late.max() and 'cartpole_balance collapse late' in TEXT[
      'docs/troubleshooting.md']


def test_the_mean_scores_are_the_published_ones():
  text = TEXT['docs/reproduce.md']
  means = {
      (x.method, x.source.split()[0]): x.value for x in published.scores() if x.task == 'MEAN'}
  for method in ('plan2explore', 'random', 'curiosity', 'dreamer_oracle'):
    assert f'{means[f"{method}_zeroshot", "Plan2Explore"]}' in text, method
    assert f'{means[f"{method}_fewshot", "Plan2Explore"]}' in text, method
  assert f'at 5M frames {means["dreamer", "Dreamer"]:.0f}' in text
  assert f'at 5M frames {means["planet_R2", "Dreamer"]:.0f}' in text
  assert f'{published.curve("dreamer", "MEAN_OF_20").at(1e6)[0]:.0f} at 1M' in text
  table_1 = published.scores(method='planet', source='PlaNet paper Table 1')
  assert f'mean of the six {np.mean([x.value for x in table_1]):.0f}' in text
  last = published.curve('dreamerv2', 'MEAN_OF_20', binned=True).mean[-1]
  assert f'mean of 20 at 2M frames {last:.0f}' in text
  atari = {x.task: x.value for x in published.scores(
      method='dreamerv2', source='DreamerV2 paper Table 1')}
  for name, value in atari.items():
    words = name.removeprefix('ATARI55_').lower().replace('_', ' ')
    assert f'{words} {value:g}' in text, name
  ablations = ('layer_norm', 'reward_gradients', 'discrete_latents', 'kl_balancing',
               'policy_reinforce', 'image_gradients')
  values = [published.scores('ATARI55_CLIPPED_RECORD_MEAN', method=f'no_{x}')[0].value
            for x in ablations]
  assert ', '.join(f'{x:g}' for x in values) in text


def test_every_stored_run_is_listed_with_its_last_frame():
  listed = {
      row['run in `results/`'].strip('`'): int(row['to frame'].replace(',', ''))
      for row in table('docs/reproduce.md', 'to frame')}
  runs = curves.find([ROOT / 'results'])
  assert listed == {
      str(run.relative_to(ROOT / 'results')): _steps(run)[-1] for run in runs}


def test_the_table_of_seeds_is_what_the_report_writes():
  text = TEXT['docs/results.md']
  folders, = re.findall(r'`python -m common\.report (.+) --out scores\.md`', text)
  entries = comparison.load([ROOT / name for name in folders.split()])
  assert report_markdown.document(entries) in text


def test_what_was_run_at_a_published_setting_is_said_task_by_task():
  said = {row['task']: row['run here'] for row in table('docs/reproduce.md', 'run here')}
  found = {}
  for path in curves.find([ROOT / 'results']):
    config = config_lib.read(path / 'config.yaml')
    name = published.task_name(config.task)
    if name in said and is_published(config):
      found.setdefault(name, []).append(f'{config.agent} {_steps(path)[-1]:,}')
  for task, words in said.items():
    assert words == ('; '.join(sorted(found.get(task, []))) or 'none'), task


def is_published(config):
  """Whether a stored config is that of the blocks dmc, but for what may differ between runs."""
  wanted = config_lib.load(config.agent, ['--configs', 'dmc', '--task', config.task])
  return all(
      config[key] == wanted[key] for key in set(config) & set(wanted) - set(curves.FREE))


def _steps(path):
  return sorted(
      json.loads(line)['step'] for line in (path / 'metrics.jsonl').read_text().splitlines())


def test_simulators_are_those_of_the_stored_runs_and_of_the_setup():
  rows = {row['']: row for row in table('docs/results.md', 'stored runs')}
  setup = (ROOT / 'setup.py').read_text()
  for row in rows.values():
    assert f"'{row['what `setup.py` allows'].strip('`')}'" in setup, row
  runs = [json.loads((path / 'run.json').read_text()) for path in curves.find([ROOT / 'results'])]
  for name, package in (('MuJoCo', 'mujoco'), ('dm_control', 'dm_control')):
    assert {run['versions'][package] for run in runs} == {rows[name]['stored runs']}
  assert not any('atari' in run['command'] for run in runs)


def test_there_are_as_many_fixtures_as_the_readme_says():
  text = ' '.join(TEXT['README.md'].split())
  paths = sorted((ROOT / 'tests' / 'golden').glob('*.npz'))
  counts = [len(parity.load(path).expected) for path in paths if 'train_step' in path.stem]
  assert f'All {len(paths)} files' in text and len(counts) == 5
  assert f'{min(counts)} to {max(counts)} arrays in each of the five train-step fixtures' in text


def test_the_run_that_learned_looked_as_the_page_says():
  text = TEXT['docs/metrics.md']
  path = ROOT / re.search(r'^`(results/[\w-]+)`, block', text, re.MULTILINE)[1]
  rows = [json.loads(line) for line in (path / 'metrics.jsonl').read_text().splitlines()]
  rows = [row for row in rows if 'agent/model_loss' in row]
  for line in table('docs/metrics.md', '5,028'):
    name = line.pop('metric').strip('`')
    for frames, value in line.items():
      row = next(row for row in rows if row['step'] == int(frames.replace(',', '')))
      assert f'{row[name]:,.2f}' == value, (name, frames)
  assert [f'{rows[i]["step"]:,}' for i in (0, len(rows) // 2, -1)] == list(line)


def test_the_constants_of_the_losses_are_right():
  config, text = config_lib.load('dreamer', ['--configs', 'dmc']), TEXT['docs/metrics.md']
  half = 0.5 * math.log(2 * math.pi)
  pixels = 3 * config.image_size ** 2
  assert f'{pixels * half:,.2f}' in text and f'{half:.6f}' in text
  noise = pixels * 2.0 ** -10 / 12 / 2  # half the variance of one bin of 32
  assert f'{pixels * half + noise:,.2f}: the noise adds {noise:.2f}' in text
  gamma = config.discount
  ends = -gamma * math.log(gamma) - (1 - gamma) * math.log(1 - gamma)
  assert f'{config.pcont_scale * ends:.2f} (target {gamma}' in text
  spread = math.log(2) + config.rssm_min_std
  entropy = lambda std: 0.5 * math.log(2 * math.pi * math.e) + math.log(std)
  assert f'{config.stoch_size * entropy(spread):.1f} in a fresh model' in text
  assert f'(30 dimensions, std {spread:.3f})' in text
  assert f'{config.stoch_size * entropy(config.rssm_min_std):.1f} is the least' in text
  for repeat in (2, 4):
    assert f'{repeat / (1 - gamma):.0f}' in text
  draws = np.random.default_rng(0).normal(0, config.action_init_std, 400_000)
  log_slope = 2 * (math.log(2) - draws - np.logaddexp(0, -2 * draws))
  assert entropy(config.action_init_std) + log_slope.mean() == pytest.approx(-3.69, abs=0.03)
  assert (np.abs(np.tanh(draws)) > 0.99).mean() == pytest.approx(0.60, abs=0.01)
  assert '-3.69 in a fresh actor' in text and '0.60 in a fresh actor' in text
