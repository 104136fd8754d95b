"""Compiled programs kept on disk from one process to the next."""

import os
import pathlib
import subprocess
import sys

import jax
import pytest

from avemo.runtime import programs

ROOT = pathlib.Path(__file__).parent.parent

COMPILE = """
import jax
from avemo.runtime import programs
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
print(programs.keep())
jax.monitoring.register_event_listener(
  lambda name, **_: print(name) if name.endswith('cache_hits') else None
)
print(jax.jit(lambda x: x @ x + 1)(jax.numpy.ones((8, 8))).sum())
"""


@pytest.fixture
def own_cache(monkeypatch):
  monkeypatch.delenv('JAX_COMPILATION_CACHE_DIR', raising=False)
  monkeypatch.delenv(programs.VARIABLE, raising=False)
  before = jax.config.jax_compilation_cache_dir
  yield
  jax.config.update('jax_compilation_cache_dir', before)


def compile_in_a_process(**env):
  env = os.environ | {'PYTHONPATH': str(ROOT), **env}
  env.pop('JAX_COMPILATION_CACHE_DIR', None)
  found = subprocess.run(
    [sys.executable, '-c', COMPILE],
    env=env,
    check=True,
    capture_output=True,
    text=True,
  )
  return found.stdout.splitlines()


def test_second_process_finds_what_the_first_compiled(tmp_path):
  place, *lines = compile_in_a_process(AVEMO_PROGRAMS=str(tmp_path / 'kept'))
  files = list(pathlib.Path(place).iterdir())
  assert files
  assert not any(line.endswith('cache_hits') for line in lines)
  _, *again = compile_in_a_process(AVEMO_PROGRAMS=str(tmp_path / 'kept'))
  assert any(line.endswith('cache_hits') for line in again)
  assert again[-1] == lines[-1]


def test_default_is_the_users_cache(tmp_path, monkeypatch, own_cache):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  place = programs.keep()
  assert place.is_dir()
  assert place.parent == tmp_path / 'avemo' / 'programs'
  assert jax.config.jax_compilation_cache_dir == str(place)


@pytest.mark.parametrize('named', ['argument', 'variable', 'jax'])
def test_nothing_is_kept_on_request(tmp_path, monkeypatch, own_cache, named):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  before = jax.config.jax_compilation_cache_dir
  if named == 'variable':
    monkeypatch.setenv(programs.VARIABLE, 'none')
  if named == 'jax':
    monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', str(tmp_path / 'own'))
  assert programs.keep('none' if named == 'argument' else None) is None
  assert jax.config.jax_compilation_cache_dir == before
  assert not list(tmp_path.iterdir())


def test_folder_that_cannot_be_made_stops_nothing(tmp_path, own_cache):
  (tmp_path / 'file').write_text('')
  assert programs.keep(tmp_path / 'file') is None
