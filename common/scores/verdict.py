"""Whether scores of a few seeds agree with a published one, and the rule in words.

    |ours - theirs| <= t * sqrt(s_ours^2 / n_ours + s_theirs^2 / n_theirs)

with the 97.5 % quantile t of Student's distribution and the degrees of freedom of Welch's test. Of
one seed the spread is not known: that of the other side stands for both.
"""
import math
from typing import NamedTuple

import numpy as np

WITHIN, ABOVE, BELOW = 'within', 'above', 'below'
TOO_FEW, NO_FIGURE, NO_SPREAD = 'too few frames', 'no published figure', 'no spread known'

CONFIDENCE = 0.95
SLACK = 0.01  # share of the published score by which anything may differ: figures are rounded

RULE = (
    'A score is within the published interval if it differs from the published mean, at the same '
    'number of environment frames, by no more than t times the square root of (our variance over '
    'seeds / our seeds + their variance over seeds / their seeds), where t is the 97.5 % quantile '
    "of Student's distribution (Welch's test at 5 %). Where one side has a single seed, or printed "
    'no spread, the spread of the other side stands for both. A difference of up to 1 % of the '
    'published score always counts as within.',
    'Too few frames: the run ends where the published curve has not made a quarter of its way up '
    'from its first point to its best one, or before 90 % of the frames of a printed score '
    '(few-shot: of those after exploring). Agreement would say little there.',
    'Of 20 tasks that are reproduced perfectly about one falls outside by chance. One seed proves '
    'little: its interval is wide, and a lucky or broken seed looks like any other.')


class Reference(NamedTuple):
  """A published score at a number of frames."""
  name: str           # of the method, to be read
  kind: str           # curve | printed
  protocol: str       # eval | train | unknown
  source: str         # the file or table
  frames: float       # NaN where that has no meaning
  mean: float         # NaN where the frames lie outside of what was published
  std: float          # over seeds, NaN where it is not known
  n_seeds: int        # 0 where it is not known
  enough: float       # frames from which a comparison says something


class Verdict(NamedTuple):
  """What is said of scores, and the interval they were held against (NaN if there is none)."""
  word: str
  low: float
  high: float


def judge(scores, frames, reference):
  """Compare scores with a published one.

  Args:
    scores: float [n], one a seed.
    frames: after which they were reached.
    reference: Reference, or None.
  Returns:
    Verdict; its word is one of WITHIN, ABOVE, BELOW, TOO_FEW, NO_FIGURE, NO_SPREAD.
  """
  scores = np.asarray(scores, np.float64)
  nothing = math.nan, math.nan
  if reference is None or not len(scores):
    return Verdict(NO_FIGURE, *nothing)
  if frames < reference.enough:
    return Verdict(TOO_FEW, *nothing)
  if math.isnan(reference.mean) or not np.isfinite(scores).all():
    return Verdict(NO_FIGURE, *nothing)
  half = half_width(scores, reference.mean, reference.std, reference.n_seeds)
  if math.isnan(half):
    return Verdict(NO_SPREAD, *nothing)
  low, high = reference.mean - half, reference.mean + half
  mean = scores.mean()
  word = BELOW if mean < low else ABOVE if mean > high else WITHIN
  return Verdict(word, low, high)


def half_width(scores, mean, std, n_seeds):
  """Half of the interval around a published mean in which the mean of the scores should lie.

  Args:
    scores: float [n], one a seed, n at least 1.
    mean: published.
    std: published, over seeds; NaN where it is not known.
    n_seeds: published; 0 where it is not known, which counts as 1.
  Returns:
    Float; NaN where neither side has a spread.
  """
  sides = [(spread(scores), len(scores)), (std, max(1, n_seeds))]
  known = [side for side in sides if side[1] > 1 and not math.isnan(side[0])]
  if not known:
    return math.nan
  # Where one side has no spread, that of the other stands in.
  parts = [(side if side in known else known[0])[0] ** 2 / side[1] for side in sides]
  variance = sum(parts)
  if len(known) == 2 and variance:
    freedom = variance ** 2 / sum(part ** 2 / (n - 1) for part, (_, n) in zip(parts, sides))
  else:
    freedom = known[0][1] - 1
  from scipy import special  # a fifth of a second, which help texts can spare
  quantile = float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2))
  return max(quantile * math.sqrt(variance), SLACK * abs(mean))


def spread(scores):
  """Standard deviation over seeds, with n-1; NaN of one."""
  return float(np.std(scores, ddof=1)) if len(scores) > 1 else math.nan
