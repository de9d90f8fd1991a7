"""What pays an explorer: disagreement, and the baselines' rewards for novelty.

B batch, T time, L imagined rows, N starts. Plan2Explore paper, sections 3 and 4. Every kind offers

  trained(): modules to optimise, by name.
  loss(rows, seed) -> (loss, metrics, stats): on what was filtered from a batch, gradients stopped.
  reward(dream) -> float32 [L, N]: of imagined states, see actor_critic.Imagined.
  update(stats): take over the running statistics, once an update is made.

`rows` has post and prior states, embed and feat [B, T, ...], the preprocessed data (observations
and action), obs_log_prob and kl [B, T].
"""
from plan2explore.novelty.curiosity import Curiosity
from plan2explore.novelty.disagreement import Disagreement
from plan2explore.novelty.icm import ICM
from plan2explore.novelty.rnd import RND


def make(world_model, action_size, config):
  """The kind that config.expl_behavior names; None for those that are not paid."""
  kinds = {'plan2explore': Disagreement, 'curiosity': Curiosity, 'icm': ICM, 'rnd': RND}
  if config.expl_behavior not in kinds:
    return None
  return kinds[config.expl_behavior](world_model, action_size, config)
