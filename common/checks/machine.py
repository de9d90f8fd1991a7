"""Whether this machine can run the project: one check a function, and how to mend what is missing."""
import contextlib
import importlib.metadata
import importlib.util
import math
import os
import pathlib
import platform
import resource
import shutil
import subprocess
import sys
from typing import NamedTuple


PACKAGE = 'latent-agents'
PYTHONS = (3, 10), (3, 12)  # of setup.py
GB = 1e9
GL = 'sudo apt-get install libegl1 libgl1 libopengl0'
NEEDED = 'tensorflow', 'ruamel', 'numpy'  # where the installation does not tell
SECONDS = 180  # that importing TensorFlow or rendering may take
COMPILING = 1800  # where the driver first compiles TensorFlow's code for the card

# In processes of their own: libraries that crash are findings, too, and TensorFlow is noisy.
TENSORFLOW = """
import common, tensorflow as tf
print(tf.__version__)
for gpu in tf.config.list_physical_devices('GPU'):
  print(tf.config.experimental.get_device_details(gpu).get('device_name', gpu.name))
"""
# What runs on a GPU are made of: products and convolutions of float16, loops, logarithms and random
# numbers, and their gradients, compiled by XLA.
COMPUTE = """
import common, tensorflow as tf
for gpu in tf.config.list_physical_devices('GPU'):
  tf.config.experimental.set_memory_growth(gpu, True)
x = tf.cast(tf.random.normal([8, 64, 64, 8]), tf.float16)
def compute(kernel):
  with tf.GradientTape() as tape:
    tape.watch(kernel)
    y = tf.cast(tf.reduce_mean(tf.nn.conv2d(x, kernel, 2, 'VALID') ** 2), tf.float32)
    step = lambda i, y: (i + 1, tf.math.log(tf.nn.softplus(y) + 1) + tf.random.stateless_normal([], [i, 0]))
    loss = tf.while_loop(lambda i, y: i < 3, step, (0, y), maximum_iterations=3)[1]
  return tf.reduce_mean(tape.gradient(loss, kernel) @ tf.ones([8, 8], tf.float16))
kernel = tf.cast(tf.random.normal([4, 4, 8, 8]), tf.float16)
for jit in (False, True):
  try:
    tf.function(compute, autograph=False, jit_compile=jit)(kernel).numpy()
  except Exception as error:
    reason = (str(error).splitlines() or [repr(error)])[0]
    raise SystemExit(('with XLA: ' if jit else 'without XLA: ') + reason)
"""
RENDER = """
import os
from common import config
from common import envs
from common.envs import dmc
config = config.load('dreamer', ['--configs', 'dmc', 'cpu', '--task', 'dmc_cartpole_balance'])
env = envs.make(config)
image = env.reset(0)['image']
env.close()
assert image.std() > 1, 'the picture is empty'
name = dmc.gl_renderer()
print(os.environ['MUJOCO_GL'], 'software' if dmc.draws_in_software(name) else 'hardware', name)
"""


class Finding(NamedTuple):
  """What a check found."""
  status: str    # ok | note | fail
  text: str
  fix: str = ''  # a command or a sentence, empty where nothing is to be done


def python():
  """The version of this Python."""
  version = platform.python_version()
  low, high = ('.'.join(map(str, pair)) for pair in PYTHONS)
  if PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
    return Finding('ok', f'{version} (tested: {low} to {high})')
  return Finding(
      'fail', f'{version}, but {low} to {high} are needed',
      f'sudo apt-get install python{high} python{high}-venv, then make PYTHON=python{high} test')


def packages():
  """Versions of installed packages against the tested ranges, which the installation knows."""
  try:
    required = importlib.metadata.requires(PACKAGE) or []
  except importlib.metadata.PackageNotFoundError:
    missing = [name for name in NEEDED if not importlib.util.find_spec(name)]
    return Finding(
        'fail' if missing else 'note', f'the project is not installed, {", ".join(missing)} missing'
        if missing else 'the project is not installed, so the tested versions are unknown',
        "pip install -e '.[test,atari]'")
  from packaging.requirements import Requirement  # TensorFlow brings it
  wrong = []
  for requirement in map(Requirement, required):
    if requirement.marker and not requirement.marker.evaluate({'extra': ''}):
      continue
    try:
      version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
      wrong.append(f'{requirement.name} is missing')
      continue
    if not requirement.specifier.contains(version, prereleases=True):
      wrong.append(f'{requirement.name} is {version}, tested is {requirement.specifier}')
  if wrong:
    return Finding('fail', '; '.join(wrong), "pip install -e '.[test,atari]'")
  return Finding('ok', 'all within the tested versions')


def tensorflow():
  """Whether TensorFlow can be imported, and which GPUs it sees."""
  done = _python(TENSORFLOW)
  if done.returncode:
    return Finding(
        'fail', f'cannot be imported ({_last_line(done.stderr)})', "pip install -e '.[test,atari]'")
  version, *gpus = done.stdout.split('\n')[:-1]
  if gpus:
    text = f'{version}, GPU: {", ".join(gpus)}'
    done = _python(COMPUTE)
    if done.returncode:
      return Finding(
          'fail', f'{text}, which cannot compute {_last_line(done.stderr)}',
          "pip install -e '.[gpu]'; where only XLA fails, pass --jit False to every command; for a card "
          "of compute capability 10 or more these packages have no code, NVIDIA's container has")
    return Finding('ok', text)
  if has_nvidia():
    return Finding(
        'note', f'{version} does not see the GPU of this machine: its CUDA libraries are missing '
        'or do not fit the driver', "pip install -e '.[gpu]', then nvidia-smi must list the GPU")
  return Finding(
      'note', f'{version}, no GPU: the published settings take weeks here, the block cpu 5 to 60 '
      'minutes')


def rendering():
  """Whether one picture of DeepMind Control can really be drawn."""
  done = _python(RENDER)
  if done.returncode:
    chosen = os.environ.get('MUJOCO_GL')
    text = 'no picture can be drawn' + (f' with MUJOCO_GL={chosen}' if chosen else '')
    line = _last_line(done.stderr)
    other = chosen not in (None, '', 'egl', 'osmesa')  # which the packages would not help
    device = 'MUJOCO_EGL_DEVICE_ID'
    remedy = f'unset {device}' if device in line else 'unset MUJOCO_GL' if other else GL
    return Finding('fail', f'{text} ({line})', remedy)
  last = done.stdout.strip().splitlines()[-1]
  backend, how, name = (last.split(' ', 2) + ['', ''])[:3]
  text = f'drew a picture of 64x64 with MUJOCO_GL={backend} by {name}'
  if how == 'software' and has_nvidia():
    return Finding(
        'note', f'{text}: the CPU draws although there is a GPU',
        f'{GL}; /usr/share/glvnd/egl_vendor.d/10_nvidia.json has to name libEGL_nvidia.so.0, and in '
        'containers NVIDIA_DRIVER_CAPABILITIES has to be all; then unset MUJOCO_GL')
  return Finding('ok', text)


def atari():
  """Whether the games of the Arcade Learning Environment are there."""
  try:
    import ale_py.roms
  except ImportError:
    return Finding(
        'note', 'ale-py is not installed, which only Atari needs', "pip install -e '.[atari]'")
  count = len(ale_py.roms.get_all_rom_ids())
  if not count:
    return Finding('note', 'ale-py has no games', "pip install --force-reinstall 'ale-py>=0.11'")
  return Finding('ok', f'{count} games')


def disk():
  """Room for log directories."""
  folder = pathlib.Path(os.path.expanduser('~/logs')).absolute()
  while not folder.exists():
    folder = folder.parent
  free = shutil.disk_usage(folder).free / GB
  text = f'{free:.3g} GB free at {folder}, where ~/logs is'
  if not os.access(folder, os.W_OK | os.X_OK):
    return Finding(
        'fail', f'nothing can be written at {folder}, where ~/logs is',
        'pass --logdir DIR of a directory that is yours')
  if free < 1:
    return Finding('fail', text, 'make room, or pass --logdir on another disk')
  if free < 10:
    return Finding(
        'note', f'{text}; a published run stores some GB', 'pass --logdir on a larger disk')
  return Finding('ok', text)


def memory(groups='/sys/fs/cgroup'):
  """Memory and cores that processes can have, of a container those that it has."""
  cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
  cores = min(cores, _cores_of_group(pathlib.Path(groups)))
  try:
    lines = pathlib.Path('/proc/meminfo').read_text().splitlines()
    free = next(int(line.split()[1]) for line in lines if line.startswith('MemAvailable')) / 1e6
    free = min(free, _free_of_group(pathlib.Path(groups)))
  except (OSError, StopIteration):
    return Finding('note', f'{cores} cores; the system does not say how much memory is free')
  text = f'{free:.3g} GB available, {cores} cores'
  if free < 2:
    return Finding('fail', text, 'end other programs: the block cpu takes 2 GB')
  if free < 40:
    return Finding(
        'note', f'{text}; the replay of a published run grows to 31 GB',
        'pass --replay_capacity 1e6 (6 GB), which is the published setting no more')
  return Finding('ok', text)


def _free_of_group(folder):
  """GB that the control group of a container can have, by either version; infinite without limit."""
  for names in (
      ('memory.max', 'memory.current', 'memory.stat'),
      ('memory/memory.limit_in_bytes', 'memory/memory.usage_in_bytes', 'memory/memory.stat')):
    try:
      limit, used, stat = ((folder / name).read_text() for name in names)
    except OSError:
      continue
    if limit.strip().isdigit():
      # Files that were read are kept as long as nobody wants the memory.
      cached = dict(line.split(None, 1) for line in stat.splitlines() if ' ' in line)
      kept = int(cached.get('total_inactive_file', cached.get('inactive_file', 0)))
      return (int(limit) - int(used) + kept) / GB
  return math.inf


def _cores_of_group(folder):
  """Cores that the control group of a container gives time on, rounded up; infinite without limit."""
  with contextlib.suppress(OSError, ValueError):
    quota, period = (folder / 'cpu.max').read_text().split()
    return math.ceil(int(quota) / int(period))  # ValueError: max
  with contextlib.suppress(OSError, ValueError):
    quota, period = (
        int((folder / f'cpu/cpu.cfs_{name}_us').read_text()) for name in ('quota', 'period'))
    return math.ceil(quota / period) if quota > 0 else math.inf
  return math.inf


def files():
  """How many files a process may open."""
  soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
  if soft < 1024:
    return Finding('note', f'{soft} open files, few for many environments', 'ulimit -n 4096')
  return Finding('ok', f'{soft:,} open files (at most {hard:,})')


def ffmpeg():
  """The program behind MP4 files."""
  try:
    import imageio_ffmpeg
    imageio_ffmpeg.get_ffmpeg_exe()
  except (ImportError, RuntimeError) as error:
    return Finding('note', f'none ({error}), so videos are GIF only', 'pip install imageio-ffmpeg')
  return Finding('ok', 'there, for MP4')


CHECKS = {
    'python': python, 'packages': packages, 'tensorflow': tensorflow, 'rendering': rendering,
    'atari': atari, 'disk': disk, 'memory': memory, 'files': files, 'ffmpeg': ffmpeg}


def has_nvidia():
  """Whether the machine has an NVIDIA GPU, with or without what TensorFlow needs."""
  if os.path.exists('/dev/nvidia0'):
    return True
  try:
    done = subprocess.run(['nvidia-smi', '--list-gpus'], capture_output=True, text=True, timeout=60)
  except (OSError, subprocess.TimeoutExpired):
    return False
  return done.returncode == 0 and 'GPU' in done.stdout


def _python(code):
  """Run code in a process of its own, with the checkout on its path."""
  seconds = COMPILING if code == COMPUTE else SECONDS
  top = str(pathlib.Path(__file__).resolve().parents[2])
  path = os.pathsep.join([top, *filter(None, [os.environ.get('PYTHONPATH')])])
  environ = {**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3', 'PYTHONPATH': path}
  try:
    return subprocess.run(
        [sys.executable, '-c', code], env=environ, capture_output=True, text=True, timeout=seconds)
  except subprocess.TimeoutExpired:
    return subprocess.CompletedProcess([], 1, '', f'no answer within {seconds} s')


def _last_line(text):
  lines = [line.strip() for line in text.splitlines() if line.strip()]
  return lines[-1].removeprefix('common.config.errors.UserError: ') if lines else 'it crashed'
