"""Trained agents to share: small files that act, dream, and are not trained on."""
import json
import shutil

import numpy as np
import pytest

import common
from common import config as config_lib
from common import evaluate
from common import export
from common import report
from common.config import UserError
from common.loop import logdir as logdir_lib
from common.loop import weights
from common.model import devices
from common.model.optimizer import Optimizer
from plan2explore.agent import Plan2Explore
import loops
import toys


def explorer(**changes):
  config = config_lib.load(
      'plan2explore', ['--configs', 'debug', '--task', 'dummy_continuous'])
  sizes = {key: value for key, value in toys.SMALL.items() if key in config}
  return Plan2Explore(
      devices.setup(config.replace(**{**sizes, **changes})), toys.IMAGE, toys.actions(2))


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """Directory of a Dreamer that saw images for a moment."""
  path = tmp_path_factory.mktemp('trained')
  loops.start(
      path, '--task', 'dummy_continuous', '--cnn_keys', 'image', '--mlp_keys=', '--steps', 60,
      '--slow_value', 2)
  return path


@pytest.fixture(scope='module')
def shared(trained, tmp_path_factory):
  """What is shared of it."""
  path = tmp_path_factory.mktemp('shared') / 'agent'
  export.main(['--logdir', str(trained), '--out', str(path)])
  return path


AGENTS = {
    'dreamer': toys.agent, 'slow value, pcont': lambda: toys.agent(slow_value=100, pcont=True),
    'planet': toys.planet, 'norm gru': lambda: toys.agent(rssm_gru='norm', norm='layer'),
    'block gru': lambda: toys.agent(rssm_gru='block'), 'ssm': lambda: toys.agent(latent_model='ssm'),
    'drnn': lambda: toys.agent(latent_model='drnn'), 'plan2explore': explorer,
    'rnd': lambda: explorer(expl_behavior='rnd'), 'icm': lambda: explorer(expl_behavior='icm')}


@pytest.mark.parametrize('name', AGENTS)
def test_every_variable_but_those_of_optimisers_is_named_once(name):
  agent = AGENTS[name]()
  found = weights.named(agent)
  own = {
      id(variable) for module in agent.submodules if isinstance(module, Optimizer)
      for variable in module.counters}
  assert {id(v) for v in found.values()} == {id(v) for v in agent.variables} - own
  for path in found:
    assert not any(part.startswith('_') or part.endswith('_') for part in path.split('/')[:-1]), path


@pytest.mark.parametrize('dtype, close', [('float32', 0), ('float16', 2e-3)])
def test_weights_are_those_that_were_saved(trained, tmp_path, dtype, close):
  export.main(['--logdir', str(trained), '--out', str(tmp_path / 'out'), '--dtype', dtype])
  one, two = common.load(trained), common.load(tmp_path / 'out')
  ours, theirs = weights.named(one), weights.named(two)
  assert len(ours) > 40 and ours.keys() == theirs.keys()
  for name in ours:
    np.testing.assert_allclose(
        theirs[name].numpy(), ours[name].numpy(), rtol=close, atol=close / 100, err_msg=name)
  obs = {'image': np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)}
  (one, _), (two, _) = (agent.policy(obs, None, mode='eval') for agent in (one, two))
  np.testing.assert_allclose(two, one, atol=10 * close)


def test_it_is_evaluated_and_filmed_and_left_as_it_was(shared, tmp_path, capsys):
  before = {path: path.read_bytes() for path in shared.rglob('*') if path.is_file()}
  evaluate.main([
      '--logdir', str(shared), '--episodes', '2', '--pictures', str(tmp_path), '--video',
      str(tmp_path / 'out.gif')])
  said = capsys.readouterr().out
  row = json.loads(said[said.index('{'):said.index('}') + 1])
  assert row['step'] == 60 and row['episodes'] == 2
  assert {path.name for path in (tmp_path / 'pictures').iterdir()} == {
      f'{kind}_image-000000060.{suffix}' for kind, suffix in (
          ('eval', 'gif'), ('open_loop', 'gif'), ('open_loop', 'png'), ('dream', 'gif'),
          ('dream', 'png'))}
  assert f'The first episode: {tmp_path / "out.gif"}' in said
  assert {path: path.read_bytes() for path in shared.rglob('*') if path.is_file()} == before


def test_it_knows_the_frames_that_its_weights_have_seen(trained, tmp_path):
  going = tmp_path / 'going'
  shutil.copytree(trained, going)
  with (going / 'metrics.jsonl').open('a') as file:  # the run goes on, after its checkpoint
    file.write('{"step": 90, "train/return": 1.0}\n{"step": 100, "tr')
  export.main(['--logdir', str(going), '--out', str(tmp_path / 'out')])
  assert evaluate.evaluate(tmp_path / 'out', 1)[0]['step'] == 60
  # Those of earlier versions do not say; the last whole row does.
  with np.load(tmp_path / 'out' / 'weights.npz') as file:
    arrays = {name: file[name] for name in file.files if name != weights.FRAMES}
  np.savez(tmp_path / 'out' / 'weights.npz', **arrays)
  assert evaluate.evaluate(tmp_path / 'out', 1)[0]['step'] == 90


def test_it_is_reported_like_a_run(shared, tmp_path):
  report.main([str(shared), '--out', str(tmp_path / 'page.html')])
  assert 'dummy_continuous' in (tmp_path / 'page.html').read_text()


def test_no_run_goes_on_in_it(shared, capsys):
  with pytest.raises(UserError, match='without what training goes on from. Pass another --logdir'):
    loops.start(shared, '--task', 'dummy_continuous', '--cnn_keys', 'image', '--mlp_keys=')
  assert not (shared / '.lock').exists() and not (shared / 'episodes').exists()


def test_a_folder_that_is_there_is_refused(shared, trained, capsys):
  with pytest.raises(SystemExit) as ended:
    export.main(['--logdir', str(trained), '--out', str(shared)])
  assert ended.value.code == 2 and 'is there already' in capsys.readouterr().err


def test_nothing_is_left_of_an_export_that_failed(trained, tmp_path, monkeypatch, capsys):
  out = ['--logdir', str(trained), '--out', str(tmp_path / 'out')]
  for error in (UserError('too large'), KeyboardInterrupt()):
    def fail(*args):
      raise error
    with monkeypatch.context() as patch:
      patch.setattr(weights, 'save', fail)
      with pytest.raises(BaseException):
        export.main(out)
    assert not list(tmp_path.iterdir())
  export.main(out)
  assert [path.name for path in tmp_path.iterdir()] == ['out']


def test_a_name_that_is_too_long_is_refused(trained, tmp_path, capsys):
  with pytest.raises(SystemExit) as ended:
    export.main(['--logdir', str(trained), '--out', str(tmp_path / ('x' * 300))])
  assert ended.value.code == 2 and 'cannot be written' in capsys.readouterr().err


def test_damaged_files_are_refused(shared, tmp_path):
  agent = toys.agent()
  path = tmp_path / 'weights.npz'
  whole = (shared / logdir_lib.WEIGHTS).read_bytes()
  damaged = [whole[:-50], b'', b'no archive']
  for place in np.random.default_rng(0).integers(0, len(whole), 60):
    damaged.append(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1:])
  for data in damaged:
    path.write_bytes(data)
    with pytest.raises(UserError, match='cannot be read|does not fit'):
      weights.load(path, agent)
  np.save(tmp_path / 'array.npy', np.zeros(3))
  with pytest.raises(UserError, match='cannot be read'):
    weights.load(tmp_path / 'array.npy', agent)


def test_another_agent_is_refused(shared):
  agent = toys.agent()
  before = toys.values(agent.variables)
  with pytest.raises(UserError, match='does not fit its config.yaml'):
    weights.load(shared / logdir_lib.WEIGHTS, agent)
  assert not any(toys.changed(before, agent.variables))


def test_a_weight_that_float16_does_not_hold_is_named(tmp_path):
  agent = toys.agent()
  name, variable = next(
      (name, variable) for name, variable in weights.named(agent).items() if variable.shape.rank)
  variable.assign(variable * 0 + 1e5)
  with pytest.raises(UserError, match=f'{name} has numbers that float16 .* Pass --dtype float32'):
    weights.save(tmp_path / 'weights.npz', agent)
