"""How wrong dreams are: predictions from actions alone, on episodes that nothing was learned from.

From five rows that are seen the model goes on under the actions that were taken:

    eval/dream_error_10        squared error of the picture after 10 decisions, pixels in 0 to 1
    eval/dream_error_10_still  the same if nothing moves: the last picture that was seen
    eval/dream_error_10_mean   the same of their mean picture: no constant picture does better
    ..._45                     after 45 decisions
    eval/dream_reward_error    squared error of the reward of a decision, over 45 decisions
    eval/dream_reward_error_mean  the same of the mean reward

All are means over up to 32 starts, spread evenly over the evaluation's episodes. What the model
expects is the mean of 8 dreams: of one, what cannot be known would count twice, and a model that
knows how little it knows would lose to a constant.
"""
import numpy as np
import tensorflow as tf

from common.model import dists
from common.model.world_model import CONTEXT

AFTER = {10: 'eval/dream_error_10', 45: 'eval/dream_error_45'}  # decisions
STARTS = 32  # at most
DREAMS = 8   # from each


def errors(agent, episodes, seed):
  """Errors of an agent's world model on episodes.

  Args:
    agent: agent.Agent.
    episodes: list of dicts of arrays [rows, ...], as the driver made them.
    seed: int32 [2].
  Returns:
    Dict of the names above to float. Left out: what no episode is long enough for, and pictures
    where none are seen or decoded.
  """
  model, seed, found = agent.world_model, tf.constant(seed, tf.int32), {}
  for after, name in AFTER.items():
    rows = windows(episodes, CONTEXT + after, model.obs_keys + ['action', 'reward'])
    if not rows:
      return found
    data = model.preprocess({key: tf.constant(value) for key, value in rows.items()})
    dreamt = _dream(agent, data, seed)                              # [B * DREAMS, after, ...]
    last = tf.nest.map_structure(lambda x: x[:, -1:], dreamt)
    found.update(_picture_errors(name, data, model.pictures(last)))
  reward = data['reward'][:, CONTEXT:]                              # [B, 45]
  expected = _expected(model.reward(model.rssm.get_feat(dreamt)).mode())
  return {
      **found, 'eval/dream_reward_error': _squares(expected, reward),
      'eval/dream_reward_error_mean': _squares(tf.reduce_mean(reward), reward)}


def windows(episodes, rows, keys, most=None):
  """Dict of windows [B, rows, ...] of episodes, spread evenly over all that there are; or {}."""
  possible = [
      (episode, t) for episode in episodes for t in range(len(episode['reward']) - rows + 1)]
  if not possible:
    return {}
  chosen = np.linspace(0, len(possible) - 1, min(most or STARTS, len(possible))).astype(int)
  return {
      key: np.stack([possible[i][0][key][possible[i][1]:][:rows] for i in chosen]) for key in keys}


def _dream(agent, data, seed):
  """States that follow the first rows under the actions taken, DREAMS times for each start."""
  model, action = agent.world_model, data['action'][:, CONTEXT:]
  post, _, _ = model.observe({key: value[:, :CONTEXT] for key, value in data.items()}, seed)
  last = tf.nest.map_structure(lambda x: x[:, -1], post)
  if not agent.config.shared_noise and agent.config.rssm_ensemble == 1:
    last = tf.nest.map_structure(lambda x: tf.repeat(x, DREAMS, 0), last)
    return model.rssm.imagine(tf.repeat(action, DREAMS, 0), seed, last)
  # All rows of a call have the same luck.
  each = [model.rssm.imagine(action, dists.fold_seed(seed, f'dream {i}'), last) for i in range(DREAMS)]
  return tf.nest.map_structure(
      lambda *x: tf.reshape(tf.stack(x, 1), [-1, *x[0].shape[1:]]), *each)


def _expected(dreamt):
  """Mean [B, ...] over the dreams of each start [B * DREAMS, ...]."""
  return tf.reduce_mean(tf.reshape(dreamt, [-1, DREAMS, *dreamt.shape[1:]]), 1)


def _picture_errors(name, data, pictures):
  """Errors of the last row of the pictures [B * DREAMS, 1, H, W, C] by key, all keys together."""
  if not pictures:
    return {}
  together = lambda part: tf.concat(
      [tf.reshape(part(key), [len(data['reward']), -1]) for key in pictures], 1)
  truth = together(lambda key: data[key][:, -1] + 0.5)              # [B, N]
  guesses = {
      '': together(lambda key: _expected(tf.clip_by_value(pictures[key], 0, 1))),
      '_still': together(lambda key: data[key][:, CONTEXT - 1] + 0.5),
      '_mean': tf.reduce_mean(truth, 0)}
  return {name + kind: _squares(guess, truth) for kind, guess in guesses.items()}


def _squares(guess, truth):
  return float(tf.reduce_mean(tf.square(guess - truth)))
