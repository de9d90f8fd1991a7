"""Whatever a user types or a disk holds: a result, or one sentence that says what is wrong."""
import contextlib
import io
import json
import pathlib
import struct
import time
import tracemalloc
import zlib

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from common import config as config_lib
from common import evaluate
from common import report
from common import sweep
from common.config import UserError
from common.config import files
from common.config import options
from common.config import schedules
from common.data import episodes
from common.scores import curves
from common.scores import figures


with contextlib.suppress(ImportError):  # of versions that take none
  from hypothesis.internal.conjecture import providers
  # Or examples would have constants of the modules that other tests have imported by then.
  providers.is_local_module_file = lambda path: False


def examples(count):
  """The same examples in every run of the tests, and no files of those that failed."""
  return settings(
      max_examples=count, deadline=None, derandomize=True, database=None,
      suppress_health_check=list(HealthCheck))


AGENTS = st.sampled_from(config_lib.AGENTS)
KEYS = sorted({key for agent in config_lib.AGENTS for key in config_lib.defaults(agent)})
BLOCKS = sorted(files.blocks())
WORDS = sorted({str(word) for words in options.CHOICES.values() for word in words})
ODD = [
    '', ' ', '-', '--', '-1', '0', '1', '1.5', 'nan', '-inf', '1e308', '1e400', '9' * 400, '9' * 5000,
    '1_0', '0x10', '\u0661', 'auto', 'None', 'true', 'False', '[]', '~', '~nobody/x', '~\0', '\0', '(',
    '.*', 'a{99999999999}', '(?P<a\nb>x)', '(' * 5000, '[[a', '\\N{x}', '(?L)a', 'seed', 'steps', 'jit_x',
    'planet_x', 'dreamer', 'dmc_', '_', 'atari_pong', 'dmc_walker_walk,gym_x\ny_z', ',', ':', 'a:b',
    'linear(1,2,3)', 'horizon(-1,1,9)', 'warmup(1e-320,1)', '\ud800', '\udcff', '\u202e', 'a\nb']
TEXT = st.text(max_size=12)
VALUES = st.one_of(
    st.sampled_from(ODD), TEXT, st.integers().map(str), st.floats().map(str), st.sampled_from(WORDS),
    st.sampled_from(BLOCKS))
FLAGS = st.one_of(st.sampled_from(KEYS), st.sampled_from(ODD), TEXT, st.sampled_from(
    ['agent', 'configs', '(seed|\n)', '.*_lr', '(?i)SEED', '.*']))
ARGUMENTS = st.one_of(
    st.tuples(st.sampled_from(KEYS).map('--{}'.format), VALUES),
    st.tuples(FLAGS.map('--{}'.format), VALUES),
    st.builds('--{}={}'.format, FLAGS, VALUES).map(lambda arg: (arg,)),
    st.builds(lambda names: ('--configs', *names), st.lists(st.sampled_from(BLOCKS) | VALUES, max_size=3)),
    VALUES.map(lambda arg: (arg,)), st.just(('--help',)))


def load(agent, argv):
  """The Config of a command line or of configs.yaml, or None where it was refused in one line."""
  try:
    with contextlib.redirect_stdout(io.StringIO()):
      return config_lib.load(agent, argv)
  except UserError as error:
    assert str(error) and '\n' not in str(error)
  except SystemExit as error:
    assert not error.code and {'--help', '-h'} & set(argv)
  return None


@examples(150)
@given(AGENTS, st.lists(ARGUMENTS, max_size=4))
def test_any_command_line_is_a_configuration_or_one_sentence(agent, arguments):
  load(agent, [word for words in arguments for word in words])


@examples(150)
@given(AGENTS, st.sampled_from(KEYS), VALUES)
def test_any_value_of_any_key_is_taken_or_refused_by_name(agent, key, value):
  found = load(agent, [f'--{key}={value}'])
  assert found is None or isinstance(found, config_lib.Config)


@pytest.mark.parametrize('agent', ['dreamr', '', None, ['dreamer'], {}])
def test_the_agent_of_a_file_may_be_none(agent):
  with pytest.raises(UserError, match='unknown agent'):
    config_lib.defaults(agent)


NUMBERS = st.floats().map(str) | st.floats(0.01, 1e7).map(str) | st.sampled_from(ODD)
SCHEDULES = st.one_of(VALUES, st.builds(
    lambda kind, numbers: f'{kind}({",".join(numbers)})',
    st.sampled_from([*schedules.KINDS, 'cosine']), st.lists(NUMBERS, min_size=1, max_size=4)))


@examples(150)
@given(SCHEDULES, st.sampled_from(options.SCHEDULED))
def test_any_schedule_stays_within_the_bounds_of_its_key_or_is_refused(text, key):
  found = load('dreamer', [f'--{key}={text}'])
  if found is None:
    return
  low, high = options.RANGES[key]
  for frames in (0, 1, 1000, 5e6, 1e9, 1e16):
    for kind in (float, np.float32):
      value = schedules.at(found[key], kind(frames))
      assert low - 1e-6 <= value and (high is None or value <= high + 1e-6)


WORLD = """
defaults:
  task: dmc_walker_walk
  logdir: auto
  steps: 5.0e6
  prefill: 5000
  time_limit: 1000
  collect_limit: 0
  deterministic: False
  prune_disk: False
  overlap: False
  collectors: 0
  devices: 1
  ray: ''
  offline: ''
  expl: additive_gaussian
  expl_amount: 0.3
  jit: auto
  action_repeat: 2
  batch_length: 50
  batch_size: 50
  dataset_last_row: True
  cnn_keys: image
  mlp_keys: ''
  actor_ent: 0.0
  seed: 0
  planet: {steps: 3, action_repeat: auto}
  dmc: {batch_size: 3}
one: {seed: 2, dreamer: {steps: 3}, planet: {steps: 5}, gym: {seed: 6}}
"""
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), TEXT, st.sampled_from(ODD),
    st.just(10 ** 400))
NAMES = st.one_of(TEXT, st.sampled_from(
    ['defaults', 'one', 'task', 'steps', 'seed', 'logdir', '.*', *options.AGENTS, *options.SUITES]))
TREES = st.recursive(
    SCALARS, lambda part: st.lists(part, max_size=3) | st.dictionaries(NAMES, part, max_size=4),
    max_leaves=12)
SNIPPETS = st.one_of(TEXT, TREES.map(json.dumps), st.sampled_from([
    '2001-99-99', '!!timestamp x', '!!int x', '!!bool x', '!!float x', '!!binary "*"', '!!set {a, b}',
    '!!python/object:os.system x', '&a [*a]', '{? [a] : b}', '{1: 2, a: 3}', '[' * 600, '<<: 1',
    '{<<: [1]}', '*none', '%YAML 9.9\n---', '\t', '"\\ud800"', '\0', '!<x> y', '---\n---', '.nan',
    '&a [1,1,1,1,1,1,1,1], b: &b [*a,*a,*a,*a,*a,*a,*a,*a], c: &c [*b,*b,*b,*b,*b,*b,*b,*b], '
    'd: &d [*c,*c,*c,*c,*c,*c,*c,*c], e: &e [*d,*d,*d,*d,*d,*d,*d,*d], f: [*e,*e,*e,*e,*e,*e,*e,*e]']))


@st.composite
def damaged(draw, text):
  """A text in which the value of a line, a line or any piece has been replaced."""
  lines = text.splitlines()
  kind = draw(st.integers(0, 3))
  place = draw(st.integers(0, len(lines) - 1))
  if kind == 0:
    return draw(SNIPPETS)
  if kind == 1:
    lines[place] = lines[place].partition(':')[0] + ': ' + draw(SNIPPETS)
  elif kind == 2:
    lines[place:place + draw(st.integers(0, 2))] = draw(st.lists(SNIPPETS, max_size=1))
  else:
    start = draw(st.integers(0, len(text)))
    return text[:start] + draw(SNIPPETS) + text[start + draw(st.integers(0, 9)):]
  return '\n'.join(lines)


@pytest.fixture
def configs_yaml(tmp_path, monkeypatch):
  """Function that writes the text of configs.yaml."""
  path = tmp_path / 'configs.yaml'
  monkeypatch.setattr(files, 'configs_path', lambda: path)
  def write(text):
    path.write_bytes(text.encode(errors='surrogatepass'))
    files.blocks.cache_clear()
  yield write
  files.blocks.cache_clear()


def test_what_is_damaged_below_was_sound(configs_yaml):
  configs_yaml(WORLD)
  for agent in options.AGENTS:
    assert config_lib.load(agent, ['--configs', 'one']).seed == 2


@examples(150)
@given(damaged(WORLD) | TREES.map(lambda tree: json.dumps({'defaults': tree})), AGENTS)
def test_any_configs_yaml_is_a_configuration_or_one_sentence(configs_yaml, text, agent):
  configs_yaml(text)
  for argv in ([], ['--configs', 'one'], ['--task', 'dmc_x', '--steps', '9'], ['--help']):
    with contextlib.suppress(UserError):  # which may name a block with a line break
      with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        config_lib.load(agent, argv)


RUN = """
agent: dreamer
configs:
- dmc
task: dmc_walker_walk
eval_every: 10000.0
logdir: /x
seed: 3
kl_scale: 1.0
obs_space: {image: {shape: [64, 64, 3]}}
"""
ROW = {'step': 1000, 'time': 1.0, 'eval/return': 5.0}
FIELDS = st.one_of(
    st.integers(), st.floats(), st.floats(0, 1e7), SCALARS, TREES, st.just(2 ** 53))
ROWS = st.one_of(
    st.builds(
        lambda step, value: json.dumps({**ROW, 'step': step, 'eval/return': value}),
        st.floats(0, 1e7) | FIELDS, st.floats(-1e3, 1e3) | FIELDS),
    st.dictionaries(st.sampled_from(list(ROW)) | TEXT, FIELDS).map(json.dumps),
    TREES.map(json.dumps), TEXT, st.integers(0, 40).map(lambda end: json.dumps(ROW)[:end]),
    st.sampled_from([
        '[' * 100_000 + '"eval/return"', '{"eval/return": ' * 30_000, '{"eval/return": 1e999, "step": 1}',
        '{"eval/return": ' + '9' * 5000 + ', "step": 1}', '\0', '"eval/return"', '\r', '\ufeff{}',
        '{"eval/return": 1, "step": ' + '9' * 400 + '}']))


def draw_curve(folder):
  """Go through what is done with the metrics of a run."""
  curves.metrics(folder)
  run = curves.read(folder, 'eval/return')
  assert np.isfinite(run.frames).all() and np.isfinite(run.values).all()
  curves.grouped([run, run])
  if len(run.frames):
    bins = curves.binned([run, run], curves.bin_width([run]))
    assert len(bins.frames) and np.isfinite(bins.mean).all()
    curves.windowed([run], [(0, 1e4), (1e4, 1e7)], [5e3, 5e6])


@examples(100)
@given(damaged(RUN))
def test_any_config_yaml_of_a_run_is_read_or_refused_by_name(tmp_path, text):
  (tmp_path / 'config.yaml').write_bytes(text.encode(errors='surrogatepass'))
  (tmp_path / 'metrics.jsonl').write_text(json.dumps(ROW) + '\n')
  for use in (lambda path: config_lib.read(path / 'config.yaml'), draw_curve):
    try:
      use(tmp_path)
    except UserError as error:
      assert '\n' not in str(error) and str(tmp_path) in str(error)


@examples(150)
@given(st.lists(ROWS | st.just(json.dumps(ROW)), max_size=6), st.binary(max_size=3))
def test_rows_that_are_none_are_left_out(tmp_path, lines, torn):
  (tmp_path / 'config.yaml').write_text(RUN)
  data = '\n'.join(lines).encode(errors='surrogatepass')
  (tmp_path / 'metrics.jsonl').write_bytes(data + torn)
  draw_curve(tmp_path)


@pytest.mark.parametrize('path', ['~nobody_here/x', 'x' * 5000, '\0', '\ud800', ''])
def test_paths_that_cannot_be_are_refused(path):
  with pytest.raises(UserError):
    curves.find([path] if path else ['/dev/null'])


def test_metrics_that_are_no_file_are_refused(tmp_path):
  (tmp_path / 'config.yaml').write_text(RUN)
  (tmp_path / 'metrics.jsonl').mkdir()
  with pytest.raises(UserError, match='metrics.jsonl: cannot be read'):
    draw_curve(tmp_path)


def stored(save=np.savez_compressed, **changes):
  """The bytes of an episode of five rows."""
  data = {
      'image': np.arange(5 * 48, dtype=np.uint8).reshape(5, 4, 4, 3), 'action': np.ones((5, 2), np.float32),
      'reward': np.arange(5, dtype=np.float32), 'discount': np.ones(5, np.float32), **changes}
  file = io.BytesIO()
  save(file, **data)
  return file.getvalue()


def read(folder, content, rows=5):
  """What becomes of the bytes of an episode: the reason of a refusal, or an empty string."""
  path = folder / 'x.npz'
  path.write_bytes(content)
  data, reason = episodes.read(path, rows)
  assert bool(data) != bool(reason) and '\n' not in reason and len(reason) < 400
  for key, value in data.items():
    assert len(value) == rows and value.dtype in (np.uint8, np.float32)
    assert key.startswith('log_') or np.isfinite(value).all()
  return reason


SOUND = [stored(), stored(np.savez)]
PLACES = st.floats(0, 1, exclude_max=True)
BYTES = st.integers(0, 255)


@examples(100)
@given(st.sampled_from(SOUND), st.lists(st.tuples(PLACES, BYTES), max_size=4), PLACES, st.binary(max_size=4))
def test_damaged_episodes_are_refused(tmp_path, content, changes, end, more):
  changed = bytearray(content)
  for place, byte in changes:
    changed[int(place * len(changed))] = byte
  read(tmp_path, bytes(changed))
  read(tmp_path, bytes(changed) + more)
  assert read(tmp_path, bytes(changed[:int(end * len(changed))]))


@examples(200)
@given(st.sampled_from(SOUND), st.integers(0, 400), st.binary(min_size=1, max_size=8))
def test_damaged_indices_are_refused(tmp_path, content, back, piece):
  start = max(0, len(content) - 1 - back)  # the list of files stands at the end
  read(tmp_path, content[:start] + piece + content[start + len(piece):])


@examples(50)
@given(st.binary(max_size=300), st.sampled_from([b'', b'PK\3\4', b'PK\5\6', b'\x93NUMPY\1\0']))
def test_random_bytes_are_no_episode(tmp_path, content, start):
  assert read(tmp_path, start + content)


DTYPES = st.sampled_from([
    'f2', 'f4', '>f4', 'f8', 'g', 'i1', 'i8', 'u1', 'u8', '?', 'c8', 'S3', 'U3', 'O', 'M8[s]', 'm8[D]', 'V4',
    [('a', 'f4')]])
SHAPES = st.lists(st.sampled_from([0, 1, 2, 5, 5, 5]), max_size=5).map(tuple)
ARRAYS = st.builds(
    lambda dtype, shape, seed: np.frombuffer(
        np.random.default_rng(seed).bytes(int(np.prod(shape)) * np.dtype(dtype).itemsize),
        dtype).reshape(shape) if dtype != 'O' and np.prod(shape) else np.zeros(shape, dtype),
    DTYPES, SHAPES, st.integers(0, 99))


@examples(150)
@given(st.dictionaries(
    st.sampled_from(['reward', 'action', 'image', 'log_x', 'reward/x', 'a' * 5000, 'a\nb', '\x1b[2J']), ARRAYS,
    min_size=1, max_size=3))
def test_any_arrays_are_an_episode_or_refused(tmp_path, changes):
  read(tmp_path, stored(**changes))


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize('key', ['reward', 'action', 'state', 'log_state'])
def test_values_that_are_no_numbers_are_refused_by_name(tmp_path, key, value):
  array = np.zeros((5, 2) if key != 'reward' else 5)
  array[3] = value
  reason = read(tmp_path, stored(**{key: array}))
  # What is kept for analysis alone may hold anything.
  assert reason == ('' if key == 'log_state' else f'{key} holds NaN or infinite values')


def archive(data, size, method=8, name=b'reward.npy'):
  """A zip file with one entry: its packed bytes and the size that it is said to have."""
  fields = struct.pack('<5H3I2H', 20, 0, method, 0, 0, 0, len(data), size, len(name), 0)
  local = b'PK\3\4' + fields + name
  central = b'PK\1\2' + struct.pack('<H', 20) + fields + struct.pack('<HHHII', 0, 0, 0, 0, 0) + name
  end = b'PK\5\6' + struct.pack('<HHHHIIH', 0, 0, 1, 1, len(central), len(local) + len(data), 0)
  return local + data + central + end


def header(shape, descr='|u1'):
  text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
  return b'\x93NUMPY\1\0' + struct.pack('<H', len(text)) + text


def pack(data):
  packer = zlib.compressobj(wbits=-15)
  return packer.compress(data) + packer.flush(zlib.Z_FULL_FLUSH)


def refused(folder, content, rows):
  """The reason why an episode is refused, which takes neither time nor memory."""
  tracemalloc.start()
  start = time.process_time()
  reason = read(folder, content, rows)
  seconds, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert seconds < 1 and peak < 200e6, (seconds, peak)
  return reason


@pytest.mark.parametrize('shape, rows', [((3900, 2 ** 20), 3900), ((501, 8162331), 501)])
def test_four_gigabytes_of_zeros_in_four_megabytes_are_refused(tmp_path, shape, rows):
  start = header(shape)
  content = pack(start) + pack(bytes(2 ** 20)) * 3900 + b'\3\0'
  bomb = archive(content, len(start) + int(np.prod(shape)))
  assert len(bomb) < 5e6
  assert 'reward has 4089' in refused(tmp_path, bomb, rows)


HUGE = st.sampled_from([0, 1, 5, 2 ** 20, 10 ** 9, 2 ** 31, 2 ** 32 - 200, 2 ** 63, 10 ** 30])


@examples(100)
@given(
    st.lists(HUGE, min_size=1, max_size=3), st.sampled_from(['|u1', '<f4', '|b1', '<f3', '<i99', '|O']),
    st.sampled_from([0, 8, 12, 14, 93, 99]), st.sampled_from([1, 5, 10 ** 9, 10 ** 18]), st.booleans())
def test_headers_that_claim_much_are_refused_at_once(tmp_path, shape, descr, method, rows, honest):
  start = header(tuple(shape), descr)
  size = 1
  for length in shape:
    size *= length
  size = min(2 ** 32 - 2, len(start) + size) if honest else len(start)
  data = pack(start + bytes(5)) + b'\3\0' if method == 8 else start + bytes(5)
  assert refused(tmp_path, archive(data, size, method), rows)


def test_a_long_episode_of_which_nothing_is_seen_is_read(tmp_path):
  rows = 12_000
  content = stored(
      image=np.zeros((rows, 64, 64, 3), np.uint8), action=np.ones((rows, 2), np.float32),
      reward=np.zeros(rows, np.float32), discount=np.ones(rows, np.float32))
  assert rows * 64 * 64 * 3 > 500 * len(content)
  assert not read(tmp_path, content, rows)


def test_many_arrays_that_are_large_together_are_refused(tmp_path):
  content = stored(**{f'log_{i}': np.zeros((5, 2 ** 22), bool) for i in range(8)})
  assert 'so small a file' in refused(tmp_path, content, 5)


def test_what_is_no_file_is_no_episode(tmp_path):
  assert episodes.read(pathlib.Path('/dev/zero'), 5) == ({}, 'cannot be read (it is no file)')
  assert episodes.read(tmp_path, 5)[1]


@pytest.mark.parametrize('use', [
    lambda name: evaluate.main(['--logdir', name]), lambda name: figures.check(f'{name}.png'),
    lambda name: report.check(f'{name}.html'), lambda name: curves.find([name]),
    lambda name: sweep.main(['--agent', 'dreamer', '--logdir', name, '--configs', 'debug']),
    lambda name: config_lib.load('dreamer', ['--offline', name])])
def test_a_home_directory_that_is_none_is_one_sentence(use, capsys):
  with pytest.raises((UserError, SystemExit)) as error:
    use('~nobody_here/x')
  assert 'home directory' in str(error.value) + capsys.readouterr().err
