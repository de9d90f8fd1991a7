"""The doctor names what is missing and how to mend it, and fails only where the main job would."""
import importlib.metadata
import os
import resource
import shutil
import subprocess
import sys
import types

import pytest

from common import doctor
from common.checks import machine
from common.checks.machine import Finding


def answer(code=0, out='', err=''):
  """A stand-in for the processes that the doctor starts."""
  return lambda code_: subprocess.CompletedProcess([], code, out, err)


@pytest.mark.parametrize('version, status', [
    ((3, 9, 9), 'fail'), ((3, 10, 0), 'ok'), ((3, 12, 5), 'ok'), ((3, 13, 0), 'fail')])
def test_python_outside_of_the_tested_versions_fails(monkeypatch, version, status):
  monkeypatch.setattr(sys, 'version_info', version)
  monkeypatch.setattr(machine.platform, 'python_version', lambda: '.'.join(map(str, version)))
  found = machine.python()
  assert found.status == status and (status == 'ok') == (not found.fix)


@pytest.mark.parametrize('required, status, word', [
    (['numpy>=1.26', 'rich'], 'ok', 'within'),
    (['numpy>=99'], 'fail', 'numpy is '),
    (['no-such-package>=1'], 'fail', 'no-such-package is missing'),
    (['no-such-package; extra == "gpu"'], 'ok', 'within')])
def test_packages_are_compared_with_the_tested_ranges(monkeypatch, required, status, word):
  monkeypatch.setattr(importlib.metadata, 'requires', lambda name: required)
  found = machine.packages()
  assert found.status == status and word in found.text
  assert (status == 'fail') == ('pip install' in found.fix)


def test_a_project_that_is_not_installed_is_a_note(monkeypatch):
  def missing(name):
    raise importlib.metadata.PackageNotFoundError(name)
  monkeypatch.setattr(importlib.metadata, 'requires', missing)
  found = machine.packages()
  assert found.status == 'note' and 'pip install -e' in found.fix


def test_without_what_the_commands_import_the_doctor_still_tells():
  """In a fresh checkout nothing is installed, least of all what reads the settings."""
  code = (
      'import importlib.metadata, importlib.util, sys; sys.modules["ruamel"] = None\n'
      'def missing(name): raise importlib.metadata.PackageNotFoundError(name)\n'
      'importlib.metadata.requires = missing\n'
      'importlib.util.find_spec = lambda name: None\n'
      'from common import doctor; from common.checks import machine\n'
      'machine.CHECKS = {"packages": machine.packages}; doctor.main([])')
  environ = {**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)}
  done = subprocess.run([sys.executable, '-c', code], env=environ, capture_output=True, text=True)
  assert done.returncode == 1 and not done.stderr, done.stderr
  assert 'fail packages    the project is not installed, tensorflow, ruamel, numpy missing' in done.stdout
  assert 'fix: pip install -e' in done.stdout


@pytest.mark.parametrize('process, nvidia, status, word', [
    (answer(out='2.21.0\n'), False, 'note', 'no GPU'),
    (answer(out='2.21.0\n'), True, 'note', 'does not see the GPU'),
    (answer(out='2.21.0\nNVIDIA H100\n'), True, 'ok', 'GPU: NVIDIA H100'),
    (answer(1, err='Traceback\nImportError: libcublas.so\n'), False, 'fail', 'libcublas.so'),
    (answer(-11), False, 'fail', 'it crashed')])
def test_tensorflow_and_its_gpus(monkeypatch, process, nvidia, status, word):
  monkeypatch.setattr(machine, '_python', process)
  monkeypatch.setattr(machine, 'has_nvidia', lambda: nvidia)
  found = machine.tensorflow()
  assert found.status == status and word in found.text
  assert ('[gpu]' in found.fix) == ('does not see' in found.text)


def test_a_gpu_that_cannot_compute_is_a_failure(monkeypatch):
  monkeypatch.setattr(machine, '_python', lambda code: (
      answer(1, err='with XLA: no ptxas\n') if code is machine.COMPUTE else
      answer(out='2.21.0\nNVIDIA H100\n'))(code))
  found = machine.tensorflow()
  assert found.status == 'fail' and 'NVIDIA H100, which cannot compute with XLA: no ptxas' in found.text
  assert '--jit False' in found.fix


@pytest.mark.integration
def test_what_a_gpu_has_to_compute_can_be_computed():
  done = machine._python(machine.COMPUTE)
  assert done.returncode == 0, done.stderr


def test_nvidia_tools_without_a_gpu_are_no_gpu(monkeypatch):
  monkeypatch.setattr(machine.os.path, 'exists', lambda path: False)
  done = lambda code, text: lambda *args, **options: subprocess.CompletedProcess([], code, text, '')
  for code, text, expected in (
      (9, 'NVIDIA-SMI has failed because it could not communicate', False),
      (0, 'No devices were found', False), (0, 'GPU 0: NVIDIA H100', True)):
    monkeypatch.setattr(machine.subprocess, 'run', done(code, text))
    assert machine.has_nvidia() == expected


def test_without_gl_the_packages_are_named(monkeypatch):
  monkeypatch.setattr(machine, '_python', answer(1, err='UserError: neither EGL nor OSMesa\n'))
  found = machine.rendering()
  assert found.status == 'fail' and 'neither EGL nor OSMesa' in found.text
  assert found.fix.startswith('sudo apt-get install libegl1')
  monkeypatch.setenv('MUJOCO_GL', 'glfw')  # wants a screen, whatever is installed
  found = machine.rendering()
  assert 'MUJOCO_GL=glfw' in found.text and found.fix == 'unset MUJOCO_GL'


def test_a_device_that_there_is_not_is_named(monkeypatch):
  monkeypatch.setattr(machine, '_python', answer(
      1, err='common.config.errors.UserError: dmc: MUJOCO_EGL_DEVICE_ID must be 0, got 7\n'))
  found = machine.rendering()
  assert found.fix == 'unset MUJOCO_EGL_DEVICE_ID' and '(dmc: MUJOCO_EGL_DEVICE_ID must' in found.text


def test_an_empty_picture_is_a_failure(monkeypatch):
  code = machine.RENDER.replace("env.reset(0)['image']", "env.reset(0)['image'] * 0")
  assert code != machine.RENDER
  monkeypatch.setattr(machine, 'RENDER', code)
  found = machine.rendering()
  assert found.status == 'fail' and 'the picture is empty' in found.text


def test_without_atari_there_is_a_note(monkeypatch):
  monkeypatch.setitem(sys.modules, 'ale_py', None)
  found = machine.atari()
  assert found.status == 'note' and '[atari]' in found.fix


@pytest.mark.parametrize('free, status', [(0.5, 'fail'), (5, 'note'), (100, 'ok')])
def test_little_room_on_the_disk(monkeypatch, free, status):
  monkeypatch.setattr(shutil, 'disk_usage', lambda path: types.SimpleNamespace(free=free * 1e9))
  monkeypatch.setattr(machine.os, 'access', lambda path, mode: True)
  found = machine.disk()
  assert found.status == status and f'{free:.3g} GB' in found.text


def test_a_folder_in_which_nothing_can_be_written(monkeypatch):
  monkeypatch.setattr(machine.os, 'access', lambda path, mode: False)
  found = machine.disk()
  assert found.status == 'fail' and 'nothing can be written' in found.text and '--logdir' in found.fix


@pytest.mark.parametrize('kilobytes, status', [(1_000_000, 'fail'), (8_000_000, 'note'),
                                               (64_000_000, 'ok')])
def test_little_memory(monkeypatch, kilobytes, status):
  text = f'MemTotal: 1 kB\nMemAvailable:   {kilobytes} kB\n'
  monkeypatch.setattr(machine.pathlib.Path, 'read_text', lambda self: text)
  found = machine.memory()
  assert found.status == status and 'cores' in found.text


@pytest.mark.parametrize('limit, used', [
    ('memory.max', 'memory.current'), ('memory/memory.limit_in_bytes', 'memory/memory.usage_in_bytes')])
def test_memory_of_a_container_is_what_it_has(tmp_path, limit, used):
  (tmp_path / 'memory').mkdir()
  (tmp_path / limit).write_text('1500000000\n')
  (tmp_path / used).write_text('1500000000\n')
  for folder in (tmp_path, tmp_path / 'memory'):
    (folder / 'memory.stat').write_text('anon 5\ninactive_file 1000000000\n')
  found = machine.memory(tmp_path)
  assert found.status == 'fail' and found.text.startswith('1 GB available')
  (tmp_path / 'cpu.max').write_text('150000 100000')
  assert machine.memory(tmp_path).text.endswith(' 2 cores') or os.cpu_count() < 2
  (tmp_path / 'cpu.max').write_text('50000 100000')
  assert ' 1 cores' in machine.memory(tmp_path).text
  (tmp_path / limit).write_text('max\n')
  assert not machine.memory(tmp_path).text.startswith('1 GB')


@pytest.mark.parametrize('limit, status', [(256, 'note'), (1024, 'ok')])
def test_few_open_files(monkeypatch, limit, status):
  monkeypatch.setattr(resource, 'getrlimit', lambda kind: (limit, 4096))
  assert machine.files().status == status


def test_without_ffmpeg_there_is_a_note(monkeypatch):
  monkeypatch.setitem(sys.modules, 'imageio_ffmpeg', None)
  assert machine.ffmpeg().status == 'note'


def test_a_check_that_breaks_is_a_failure_and_hides_no_other(monkeypatch, capsys):
  def broken():
    raise KeyError('x')
  monkeypatch.setattr(machine, 'CHECKS', {
      'one': broken, 'two': lambda: Finding('note', 'so and so', 'type this')})
  with pytest.raises(SystemExit) as stop:
    doctor.main([])
  lines = capsys.readouterr().out.splitlines()
  assert stop.value.code == 1
  assert lines[0].startswith('fail one') and "KeyError: 'x'" in lines[0]
  assert lines[1].startswith('note two') and lines[2].strip() == 'fix: type this'
  assert lines[3].startswith('Not ready: mend the 1 failure above')


def test_notes_do_not_fail(monkeypatch, capsys):
  monkeypatch.setattr(machine, 'CHECKS', {'one': lambda: Finding('note', 'no GPU')})
  doctor.main([])
  assert 'Ready: python -m dreamer.train --configs dmc cpu' in capsys.readouterr().out


def test_the_command_finds_this_machine_ready():
  """Really: TensorFlow is imported and a picture drawn."""
  environ = {**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)}
  done = subprocess.run(
      [sys.executable, '-m', 'common.doctor'], env=environ, capture_output=True, text=True)
  assert done.returncode == 0 and not done.stderr, done.stdout + done.stderr
  assert [line.split()[1] for line in done.stdout.splitlines()
          if line.startswith(('ok', 'note'))] == list(machine.CHECKS)
