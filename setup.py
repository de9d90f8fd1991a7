"""Install the agents: pip install -e '.[test,atari]'. `make train` and `make test` do it for you.

The full test suite ran with the newest versions, an earlier state of it with the oldest. Known to
break: mujoco 4 (dm_control cannot load it) and Python 3.13 (dm_control needs labmaze, which has no
wheel for it). tf-keras goes with its TensorFlow.
"""
import pathlib
import shutil

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

TENSORFLOW = '>=2.18,<2.22'
ATARI = 'ale-py>=0.11,<0.13'
MEMORY_MAZE = 'memory-maze>=1.0.3,<2'
DRAW = ['pygame-ce>=2.1.3,<3', 'imageio>=2.14,<3']  # classic control and toys; MuJoCo's
RAY = 'ray>=2.40,<3'
WANDB = 'wandb>=0.31,<1'


class BuildWithConfigs(build_py):
  """Copies configs.yaml into the package, so that an installed one finds it."""

  def run(self):
    super().run()
    if not getattr(self, 'editable_mode', False):
      shutil.copy('configs.yaml', pathlib.Path(self.build_lib, 'common', 'configs.yaml'))


setup(
    name='latent-agents',
    version='0.2.0',
    description='Dreamer, PlaNet and Plan2Explore on one world model, in TensorFlow 2',
    author='the authors',
    license='MIT',
    packages=find_packages(include=[
        f'{name}{rest}' for name in ('common', 'dreamer', 'planet', 'plan2explore')
        for rest in ('', '.*')]),
    package_data={'common': ['checks/reference_runs/*', 'scores/*.csv', 'scores/README.md', 'study/page.css']},
    cmdclass={'build_py': BuildWithConfigs},
    python_requires='>=3.10,<3.13',
    install_requires=[
        f'tensorflow{TENSORFLOW}',
        f'tf-keras{TENSORFLOW}',
        'tensorflow-probability>=0.25,<0.26',
        'numpy>=1.26,<3',
        'scipy>=1.11,<2',
        'dm_control>=1.0.28,<1.1',
        'mujoco>=3.3,<4',
        'gym>=0.26,<0.27',
        'gymnasium>=1.0,<2',
        'ruamel.yaml>=0.18,<0.20',
        'matplotlib>=3.8,<4',
        'pillow>=10,<14',
        'rich>=13.7,<16',
        'cloudpickle>=2,<4',
        'imageio-ffmpeg>=0.5,<1',
    ],
    extras_require={
        'gpu': [f'tensorflow[and-cuda]{TENSORFLOW}'],
        'atari': [ATARI],
        'draw': DRAW,
        'memorymaze': [MEMORY_MAZE],
        'ray': [RAY],
        'wandb': [WANDB],
        'mlflow': ['mlflow>=3,<4'],
        'test': [
            'hypothesis>=6.100,<7', 'pytest>=8,<10', 'pytest-timeout>=2.3,<3', 'pytest-xdist>=3.8,<4',
            MEMORY_MAZE, RAY, ATARI, *DRAW, WANDB, 'mlflow-skinny>=3,<4'],
        'tensorboard': [f'tensorboard{TENSORFLOW}'],
    },
)
