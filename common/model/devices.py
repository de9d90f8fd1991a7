"""What the machine decides: precision, XLA, memory growth, several devices."""

import contextlib
import functools

import tensorflow as tf
import tf_keras

from common.config import UserError


def setup(config):
  """Prepare TensorFlow for a run and settle what the config leaves open.

  Seeds the initial weights, and with them the global random numbers of
  Python, NumPy and TensorFlow, lets GPUs allocate as they need, and sets the
  layers' precision.

  Returns:
    The config with `precision` and `jit` settled: float32 and no XLA on a CPU, mixed float16 (before
    Volta float32) and XLA on a GPU (`python -m common.benchmark train_step`).
  """
  gpus = tf.config.get_visible_devices('GPU')
  if config.devices and len(gpus) > config.devices:
    # A process keeps memory on each card that it sees, which others may want.
    gpus = gpus[:config.devices]
    with contextlib.suppress(RuntimeError):  # they are in use already
      tf.config.set_visible_devices(gpus, 'GPU')
  for gpu in gpus:
    try:
      tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError:
      pass  # the devices are in use already, with the growth they have
  if config.machines:
    _joined()
  precision, jit = config.precision, config.jit
  if precision == 'auto':
    precision = 'mixed_float16' if gpus and all(map(_fast_in_float16, gpus)) else 'float32'
  if jit == 'auto':
    jit = bool(gpus)
  tf_keras.mixed_precision.set_global_policy(precision)
  tf_keras.utils.set_random_seed(config.seed)
  if config.deterministic:
    tf.config.experimental.enable_op_determinism()
  return config.replace(precision=precision, jit=jit)


def _fast_in_float16(gpu):
  """Whether a GPU is of those that multiply float16 faster than float32: Volta and later."""
  return tf.config.experimental.get_device_details(gpu).get('compute_capability', (7, 0)) >= (7, 0)


def setup_collector(config):
  """As `setup`, for a process that only acts: one thread of the CPU, in float32 and without XLA."""
  tf.config.set_visible_devices([], 'GPU')
  tf.config.threading.set_intra_op_parallelism_threads(1)
  tf.config.threading.set_inter_op_parallelism_threads(1)
  setup(config.replace(precision='float32', jit=False, machines=False))


def strategy(config):
  """The tf.distribute strategy over config.devices devices; 0 is all of them.

  One device is TensorFlow's default strategy. Without GPUs the logical CPU
  devices count.

  Raises:
    UserError: fewer devices than asked for, or batch_size cannot be shared.
  """
  if config.machines:
    joined = _joined()
    wanted = joined.num_replicas_in_sync
    if config.batch_size % wanted:
      raise UserError(
          f'config: batch_size {config.batch_size} cannot be shared by the {wanted} devices of all '
          f'machines. Pass a multiple of {wanted}.')
    return joined
  if config.devices == 1:
    return tf.distribute.get_strategy()
  kind = 'GPU' if tf.config.list_logical_devices('GPU') else 'CPU'
  found = [device.name for device in tf.config.list_logical_devices(kind)]
  wanted = config.devices or len(found)
  if wanted > len(found):
    raise UserError(
        f'config: devices is {wanted} but TensorFlow sees {len(found)} {kind}s. '
        f'Pass --devices {len(found)} or less.')
  if config.batch_size % wanted:
    raise UserError(
        f'config: batch_size {config.batch_size} cannot be shared by {wanted} '
        f'devices. Pass a multiple of {wanted}.')
  return tf.distribute.MirroredStrategy(found[:wanted])


@functools.cache
def _joined():
  """The strategy over the machines of TF_CONFIG, once all are there; before any computation."""
  return tf.distribute.MultiWorkerMirroredStrategy()


def has_gpu():
  """Whether TensorFlow sees a GPU."""
  return bool(tf.config.list_physical_devices('GPU'))


def describe():
  """One line for people: the devices that TensorFlow computes on."""
  gpus = tf.config.get_visible_devices('GPU')
  if not gpus:
    return 'CPU (no GPU is visible to TensorFlow)'
  names = [
      tf.config.experimental.get_device_details(gpu).get('device_name', 'GPU')
      for gpu in gpus]
  return ', '.join(names)
