"""What exploration asks of DeepMind Control: tasks of the same physics, own tasks, coordinates.

Plan2Explore paper, section 5.
"""
import numpy as np

# Tasks that share physics and initial states, so that one episode has a reward of each. Their
# pictures are the same but for the floor of quadruped, whose size differs. Tasks of reacher and
# of finger share less than it seems: sizes of targets, the damping of a hinge.
FAMILIES = (
    ('walker_stand', 'walker_walk', 'walker_run'),
    ('hopper_stand', 'hopper_hop'),
    ('cartpole_balance', 'cartpole_balance_sparse'),
    ('cartpole_swingup', 'cartpole_swingup_sparse'),
    ('quadruped_walk', 'quadruped_run'),
    ('cheetah_run', 'cheetah_run_backward', 'cheetah_flip_forward', 'cheetah_flip_backward'))

# The paper's own tasks of the cheetah (figure 5): rewards of speed, m/s, and pitch rate, rad/s,
# which is positive nose down.
CHEETAH = {
    'run_backward': lambda physics: -physics.speed() / 10,
    'flip_forward': lambda physics: physics.named.data.qvel['rooty'][0] / 5,
    'flip_backward': lambda physics: -physics.named.data.qvel['rooty'][0] / 5}
OWN = tuple(('cheetah', task) for task in CHEETAH)

TURN = (-np.pi, np.pi)  # of an angle that goes round

# Coordinates that coverage is counted in: joint and bounds; beyond them an angle goes round,
# anything else stays at the border.
JOINTS = {
    'acrobot': (('shoulder', TURN), ('elbow', TURN)),
    'ball_in_cup': (('ball_x', (-0.4, 0.4)), ('ball_z', (-0.4, 0.4))),
    'cartpole': (('slider', (-1.8, 1.8)), ('hinge_1', TURN)),
    'cheetah': (('rootz', (-0.6, 1.0)), ('rooty', TURN)),
    'finger': (('proximal', TURN), ('distal', TURN), ('hinge', TURN)),
    'hopper': (('rootz', (-1.0, 1.0)), ('rooty', TURN)),
    'reacher': (('shoulder', TURN), ('wrist', TURN)),
    'walker': (('rootz', (-1.3, 0.5)), ('rooty', TURN))}


def siblings(name):
  """Names of all tasks whose rewards an episode of DOMAIN_TASK has, itself included, or ()."""
  return next((family for family in FAMILIES if name in family), ())


def load_own(task):
  """The environment of one of the own tasks, as the suite would build it."""
  from dm_control.rl import control
  from dm_control.suite import cheetah

  class Task(cheetah.Cheetah):
    """The cheetah of the suite with another reward."""

    def get_reward(self, physics):
      """In 0 to 1."""
      return float(np.clip(CHEETAH[task](physics), 0, 1))

  physics = cheetah.Physics.from_xml_string(*cheetah.get_model_and_assets())
  return control.Environment(physics, Task(random=0), time_limit=10)


def coordinates(domain, physics):
  """Where a simulation is, float32 [D] in 0 to 1, for counting what was visited."""
  position, velocity = physics.data.qpos, physics.data.qvel
  if domain == 'pendulum':
    values = [(position[0], TURN), (velocity[0], (-8.0, 8.0))]
  elif domain == 'quadruped':
    values = [(position[2], (0.0, 1.5)), (physics.torso_upright(), (-1.0, 1.0))]
  elif domain in JOINTS:
    named = physics.named.data.qpos
    values = [(np.ravel(named[joint])[0], bounds) for joint, bounds in JOINTS[domain]]
  else:
    values = [(x, TURN) for x in position[:2]]
  shares = []
  for value, bounds in values:
    share = (value - bounds[0]) / (bounds[1] - bounds[0])
    shares.append(share % 1.0 if bounds is TURN else min(max(share, 0.0), 1.0))
  return np.array(shares, np.float32)
