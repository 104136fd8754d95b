"""Large pages of memory, without which a training step on a CPU waits for more.

A step takes and gives back gigabytes, which Linux hands out in pages of 4 KiB,
each cleared at its first touch. Where the system lets a program ask for pages
of 2 MiB, the C library does so when it is told by its environment as the
process starts: VideoMAE-B's step of fine-tuning takes two thirds of the time
(docs/scaling.md).
"""

import contextlib
import os
import pathlib
import sys
from collections.abc import Mapping

SETTING = pathlib.Path('/sys/kernel/mm/transparent_hugepage/enabled')
VARIABLE = 'GLIBC_TUNABLES'
TUNABLE = 'glibc.malloc.hugetlb'
# Says that it was tried: a program with rights of its own loses the other.
TRIED = 'AVEMO_LARGE_PAGES'


def take_large_pages() -> None:
  """Starts this program anew, as the same process, where that gives them.

  For the first line of a program: what it has done until here is done again.
  A user who sets the tunable, to 0 or to 1, has the last word.
  """
  try:
    setting = SETTING.read_text()
  except OSError:  # Not Linux, or without large pages.
    return
  asked = ask(os.environ, setting)
  if asked is not None and sys.executable and sys.orig_argv:
    sys.stdout.flush()
    sys.stderr.flush()
    # Where it may not start anew, it goes on with small pages.
    with contextlib.suppress(OSError):
      os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], asked)


def ask(environment: Mapping[str, str], setting: str) -> dict[str, str] | None:
  """The environment that asks for large pages; None where it is of no use.

  Args:
    environment: variables by name.
    setting: of the system, such as 'always [madvise] never'; of 'always' no
      program need ask, and of 'never' none would be heard.
  """
  tunables = environment.get(VARIABLE, '')
  if '[madvise]' not in setting or TUNABLE in tunables or TRIED in environment:
    return None
  joined = ':'.join(filter(None, (tunables, f'{TUNABLE}=1')))
  return {**environment, VARIABLE: joined, TRIED: '1'}
