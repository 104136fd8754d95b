"""Large pages are asked for once, and the program is the same after it."""

import json
import os
import subprocess
import sys

import pytest

from avemo import memory

MADVISE = 'always [madvise] never\n'


def test_asks_where_it_is_heard():
  assert memory.ask({'A': 'b'}, MADVISE) == {
    'A': 'b',
    'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=1',
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
  environment = {k: v for k, v in os.environ.items() if k != memory.VARIABLE}

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
