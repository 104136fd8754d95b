"""Large pages are asked for once, and the program is the same after it."""

import importlib.metadata
import json
import os
import pathlib
import subprocess
import sys

import pytest

from avemo import cli, memory

ROOT = pathlib.Path(__file__).parent.parent
MADVISE = 'always [madvise] never\n'


def test_asks_where_it_is_heard():
  assert memory.ask({'A': 'b'}, MADVISE) == {
    'A': 'b',
    'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=1',
    'AVEMO_LARGE_PAGES': '1',
  }
  other = {'GLIBC_TUNABLES': 'glibc.malloc.arena_max=2'}
  assert memory.ask(other, MADVISE)['GLIBC_TUNABLES'] == (
    'glibc.malloc.arena_max=2:glibc.malloc.hugetlb=1'
  )


@pytest.mark.parametrize(
  ('environment', 'setting'),
  [
    ({}, '[always] madvise never'),
    ({}, 'always madvise [never]'),
    ({'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=0'}, MADVISE),
    # Tried before, and what it asked for was taken away.
    ({'AVEMO_LARGE_PAGES': '1'}, MADVISE),
    ({'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=1'}, MADVISE),
  ],
)
def test_does_not_ask_in_vain(environment, setting):
  assert memory.ask(environment, setting) is None


PROGRAM = """
import json, os, pathlib, sys
from avemo import memory
memory.SETTING = pathlib.Path(sys.argv[1])
memory.take_large_pages()
print(json.dumps([sys.argv[2:], os.environ.get('GLIBC_TUNABLES'), os.getpid()]))
"""


def test_the_program_starts_anew_as_the_same_process(tmp_path):
  setting = tmp_path / 'enabled'
  names = memory.VARIABLE, memory.TRIED
  environment = {k: v for k, v in os.environ.items() if k not in names}

  def run():
    words = [sys.executable, '-X', 'utf8', '-c', PROGRAM, setting, 'a b', '']
    process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE)
    arguments, tunables, number = json.loads(process.communicate()[0])
    assert arguments == ['a b', ''] and number == process.pid
    return tunables

  assert run() is None  # No such file.
  setting.write_text('always madvise [never]')
  assert run() is None
  setting.write_text(MADVISE)
  assert run() == 'glibc.malloc.hugetlb=1'


def test_the_program_asks_before_its_verb_runs(monkeypatch):
  done = []
  monkeypatch.setattr(memory, 'take_large_pages', lambda: done.append('pages'))
  monkeypatch.setattr(cli, 'main', lambda: done.append('verb'))
  cli.start()
  assert done == ['pages', 'verb']
  (program,) = importlib.metadata.entry_points(name='avemo')
  setup = (ROOT / 'setup.py').read_text()
  assert f"'avemo = {cli.start.__module__}:{cli.start.__name__}'" in setup
  assert program.module == cli.start.__module__
  assert 'cli.start()' in (ROOT / 'avemo' / '__main__.py').read_text()
