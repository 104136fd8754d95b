"""What a process and all that it started have used, as Linux counts it."""

import os
import pathlib

PROC = pathlib.Path('/proc')
TICKS = os.sysconf('SC_CLK_TCK')


def find_family(pid: int) -> list[int]:
  """A process and its descendants that live."""
  children = {}
  for entry in PROC.iterdir():
    if entry.name.isdigit():
      fields = read_fields(int(entry.name))
      if fields:
        children.setdefault(int(fields[1]), []).append(int(entry.name))
  family = [pid]
  for one in family:
    family += children.get(one, ())
  return family


def measure_processor(pid: int) -> float:
  """Seconds of processor of a process and of all that it started."""
  # Its own, and of children that have ended, in user and in system mode.
  fields = [read_fields(one) for one in find_family(pid)]
  return sum(int(x) for f in fields for x in f[11:15]) / TICKS


def measure_memory(pid: int) -> int:
  """Bytes that a process and its descendants hold; what is shared, once."""
  total = 0
  for one in find_family(pid):
    try:
      lines = (PROC / str(one) / 'smaps_rollup').read_text().splitlines()
    except OSError:
      continue
    total += sum(int(x.split()[1]) for x in lines if x.startswith('Pss:'))
  return total << 10


def read_fields(pid: int) -> list[str]:
  """The fields of `/proc/PID/stat` from the state on; none where it ended."""
  try:
    text = (PROC / str(pid) / 'stat').read_text()
  except OSError:
    return []
  # The name before may hold spaces and brackets.
  return text.rpartition(')')[2].split()
