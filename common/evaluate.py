"""Evaluate a saved agent: python -m common.evaluate --logdir DIR --episodes 10.

Prints the returns of episodes without exploration noise, beside those of the zero action and of
uniformly random actions from the same starts, and errors of the model's dreams, and appends them to
DIR/evaluate.jsonl, but for agents that common.export made. Results that count are means of 10
episodes.
"""

import argparse
import json

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
  logdir = config_lib.expand(args.logdir)
  _, obs_space, _ = logdir_lib.load_config(logdir)
  images = [key for key, space in obs_space.items() if len(space.shape) == 3]
  if args.video:
    video.check(args.video)
  if not images:
    for name in ('video', 'pictures'):
      if getattr(args, name):
        raise UserError(f'{logdir}: the agent sees no images, so --{name} has none.')
  if args.pictures:
    evaluation.check_folder(config_lib.expand(args.pictures), logdir)
  row, episodes = evaluate(logdir, args.episodes, args.pictures)
  if args.video:
    video.write(args.video, episodes[0][images[0]])
    print(f'The first episode: {args.video}')
  if not logdir_lib.exported(logdir):
    with (logdir / 'evaluate.jsonl').open('a') as file:
      file.write(json.dumps(row) + '\n')
  print(
      f'{row["task"]} at {row["step"]:,} frames: return {row["return"]:.1f} '
      f'+- {row["return_std"]:.1f} over {args.episodes} episodes '
      f'(zero action {row["zero_return"]:.1f}, random actions '
      f'{row["random_return"]:.1f})')
  print(json.dumps(row))


def evaluate(logdir, episodes, pictures=None):
  """Evaluate the agent of a directory; see evaluation.evaluate.

  Args:
    logdir: pathlib.Path of a run.
    episodes: how many.
    pictures: folder for films, or None.
  Returns:
    (row, episodes) of evaluation.evaluate.
  Raises:
    UserError: there is no run or no checkpoint, or films cannot be written.
  """
  logdir_lib.load_config(logdir)
  # Delayed: TensorFlow takes seconds to import, mistakes are refused before.
  from common.loop import checkpoint
  agent = checkpoint.load(logdir)
  row, played = evaluation.evaluate(logdir, agent, episodes)
  if pictures:
    evaluation.film(config_lib.expand(pictures), agent, played, row['step'])
  return row, played


if __name__ == '__main__':
  main()
