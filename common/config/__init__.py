"""Configuration: configs.yaml and the command line become one frozen, checked mapping.

Nothing here imports TensorFlow or a simulator, so that a mistake is refused within a second or two
and before anything is created. The meaning and unit of every key stand in configs.yaml. Suites are
known by name alone: whether a task exists is for `common.envs` to say.
"""
from common.config.blocks import before, defaults, filled, load, names_blocks, preset, restore, with_blocks
from common.config.command import entry
from common.config.errors import UserError, nearest
from common.config.files import difference, expand, parse, read, replacing, save
from common.config.mapping import Config
from common.config.options import AGENTS, FREE_TO_CHANGE, SUITES
from common.config.task_keys import eval_tasks, repeats, suite, tasks

__all__ = [
    'AGENTS', 'Config', 'FREE_TO_CHANGE', 'SUITES', 'UserError', 'before', 'defaults', 'difference',
    'entry', 'eval_tasks', 'expand', 'filled', 'load', 'names_blocks', 'nearest', 'parse', 'preset', 'read',
    'repeats', 'replacing', 'restore', 'save', 'suite', 'tasks', 'with_blocks']
