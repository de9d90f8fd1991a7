"""Evaluate a saved agent: python -m common.evaluate --logdir DIR --episodes 10.

Prints the returns of episodes without exploration noise, beside those of the zero action and of
uniformly random actions from the same starts, and errors of the model's dreams, and appends them to
DIR/evaluate.jsonl, but for agents that common.export made. Results that count are means of 10
episodes.
"""

import argparse
import json
import os
import sys

import numpy as np

from common import config as config_lib
from common.config import UserError
from common.loop import evaluation
from common.loop import logdir as logdir_lib
from common.loop import video


@config_lib.entry
def main(argv=None):
  """Run the command; exit code 2 and one line for a mistake of the user."""
  parser = argparse.ArgumentParser(
      prog='python -m common.evaluate', description=__doc__.split('\n\n')[1])
  parser.add_argument('--logdir', required=True, help='directory of the run')
  parser.add_argument(
      '--episodes', type=int, default=10, help='how many (default: 10)')
  parser.add_argument(
      '--video', metavar='FILE', help='write the first episode to this .gif or .mp4 file')
  parser.add_argument(
      '--pictures', metavar='FOLDER',
      help='write films of the first episode, of predictions and of dreams to FOLDER/pictures')
  args = parser.parse_args(argv)
  if args.episodes < 1:
    raise UserError(f'evaluate: --episodes is {args.episodes} but must be at least 1.')
  logdir = config_lib.expand(args.logdir).absolute()  # environments may change the working directory
  _, obs_space, _ = logdir_lib.load_config(logdir)
  images = [key for key, space in obs_space.items() if len(space.shape) == 3]
  args.video = args.video and config_lib.expand(args.video).absolute()
  args.pictures = args.pictures and config_lib.expand(args.pictures).absolute()
  if args.video:
    video.check(args.video)
  if not images:
    for name in ('video', 'pictures'):
      if getattr(args, name):
        raise UserError(f'{logdir}: the agent sees no images, so --{name} has none.')
  if args.pictures:
    evaluation.check_folder(args.pictures)
  row, episodes, agent = evaluate(logdir, args.episodes)
  _tell(row)
  if not logdir_lib.exported(logdir):
    _keep(logdir / 'evaluate.jsonl', row)
  try:  # a film that cannot be written takes no numbers with it
    if args.video:
      video.write(args.video, episodes[0][images[0]])
      print(f'The first episode: {args.video}')
    if args.pictures:
      evaluation.film(config_lib.expand(args.pictures), agent, episodes, row['step'])
  finally:
    print(json.dumps(row))


def _tell(row):
  """Print the returns, those of each task if there are several."""
  several = isinstance(row['returns'], dict)
  name = f'{len(row["returns"])} tasks, mean of all,' if several else row['task']
  print(f'{name} at {row["step"]:,} frames: ' + _sentence(
      row, row['return'], row['return_std'], each=' of each' * several))
  for task, returns in row['returns'].items() if several else ():
    print(f'  {task}: {_sentence(row, np.mean(returns), np.std(returns), f"/{task}")}')


def _sentence(row, mean, spread, of='', each=''):
  return (
      f'return {mean:.1f} +- {spread:.1f} over {row["episodes"]} episodes{each} '
      f'(zero action {row[f"zero_return{of}"]:.1f}, random actions {row[f"random_return{of}"]:.1f})')


def _keep(path, row):
  """Append a row to a file, or say that it is not kept."""
  try:
    with path.open('a+b') as file:
      end = file.seek(0, os.SEEK_END)
      file.seek(max(0, end - 1))
      whole = file.read() in (b'', b'\n')  # a copy may have ended within a line
      file.write(b'' if whole else b'\n')
      file.write(json.dumps(row).encode() + b'\n')
  except OSError as error:
    print(f'{path}: cannot be written ({error.strerror}), so this is not kept.', file=sys.stderr)


def evaluate(logdir, episodes):
  """Evaluate the agent of a directory; see evaluation.evaluate.

  Args:
    logdir: pathlib.Path of a run.
    episodes: how many.
  Returns:
    (row, episodes) of evaluation.evaluate, and the agent.
  Raises:
    UserError: there is no run or no checkpoint.
  """
  logdir_lib.load_config(logdir)
  # Delayed: TensorFlow takes seconds to import, mistakes are refused before.
  from common.loop import checkpoint
  agent = checkpoint.load(logdir)
  return *evaluation.evaluate(logdir, agent, episodes), agent


if __name__ == '__main__':
  main()
