"""What PlaNet, Dreamer and Plan2Explore share.

    agent = common.load(DIR)
    action, state = agent.policy(obs, state, mode='eval')
"""

import os
import sys

# Intel's kernels halve the time of a training step on CPUs, and TensorFlow
# switches them on by itself only for some. Read when TensorFlow is imported.
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')

# Wheels since TensorFlow 2.20 load it with global symbols, by this module that
# they can do without (tensorflow/tensorflow#124205). Its copy of LLVM then
# meets that of Mesa, which renders on machines without a GPU, and they crash.
sys.modules.setdefault('tensorflow.python.pywrap_dlopen_global_flags', None)
if 'OpenGL' in sys.modules and 'tensorflow' not in sys.modules:
  # Something renders already. Libraries that come now prefer symbols of their own.
  sys.setdlopenflags(sys.getdlopenflags() | getattr(os, 'RTLD_DEEPBIND', 0))


def load(logdir):
  """The saved agent of a run; see common.loop.checkpoint.load."""
  # Delayed: TensorFlow takes seconds to import.
  from common.loop import checkpoint
  return checkpoint.load(logdir)
