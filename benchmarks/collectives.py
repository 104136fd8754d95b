"""What a compiled program sends between devices, read from its text."""

import collections
import math
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

KINDS = (
  'all-reduce',
  'all-gather',
  'reduce-scatter',
  'all-to-all',
  'collective-permute',
)
BYTES = {'pred': 1, 'bf16': 2, 'f16': 2, 'f32': 4, 's32': 4, 'u32': 4}

COMPUTATION = re.compile(r'(?:ENTRY )?%?([\w.-]+) \(.*\) -> .* \{$')
OPERATION = re.compile(rf' = (.+?) ({"|".join(KINDS)})\(')
ARRAY = re.compile(r'(\w+)\[([\d,]*)\]')


class Collective(NamedTuple):
  """One array of one collective operation.

  Attributes:
    kind: out of `KINDS`.
    shape: of the result on each device.
    size: its bytes.
    devices: that take part together.
    times: that a step does it, over all turns of the loops around it.
  """

  kind: str
  shape: tuple[int, ...]
  size: int
  devices: int
  times: int

  @property
  def sent(self) -> float:
    """Bytes that each device sends in a step, where a ring is used."""
    share = (self.devices - 1) / self.devices
    factor = {'all-reduce': 2, 'reduce-scatter': self.devices}
    return factor.get(self.kind, 1) * share * self.size * self.times


def find(text: str) -> list[Collective]:
  """All collectives of an optimised HLO module, but those of one device.

  Args:
    text: of `compiled.as_text()`; operations that start and end apart, as
      asynchronous ones do, are not known here.

  Raises:
    ValueError: a loop around a collective whose turns are not known.
  """
  assert not re.search(rf'({"|".join(KINDS)})-start\(', text)
  bodies = dict(split(text))
  times = count_turns(bodies, next(reversed(bodies)))
  found = []
  for name, lines in bodies.items():
    for line in lines:
      match = OPERATION.search(line)
      if match is None:
        continue
      if not times[name]:
        raise ValueError(f'{name}: nothing is known of who calls it')
      devices = count_devices(line)
      for kind, sizes in ARRAY.findall(match[1]):
        shape = tuple(int(size) for size in sizes.split(',') if size)
        size = BYTES[kind] * math.prod(shape)
        found.append(Collective(match[2], shape, size, devices, times[name]))
  return [one for one in found if one.devices > 1]


def split(text: str) -> Iterator[tuple[str, list[str]]]:
  """The computations of a module and their lines, the entry last."""
  name, lines, entry = '', [], None
  for line in text.splitlines():
    start = COMPUTATION.match(line)
    if start:
      name, lines = start[1], []
      if line.startswith('ENTRY'):
        entry = name, lines
      else:
        yield name, lines
    else:
      lines.append(line)
  yield entry


def count_turns(bodies: Mapping[str, list[str]], entry: str) -> dict[str, int]:
  """How often each computation is run in one of the module."""
  calls = collections.defaultdict(list)
  for name, lines in bodies.items():
    for line in lines:
      called = re.findall(
        r'(?:body|condition|calls|to_apply)=%?([\w.-]+)', line
      )
      branches = re.search(r'branch_computations=\{([^}]*)\}', line)
      if branches:
        called += re.findall(r'%?([\w.-]+)', branches[1])
      turns = re.search(r'"known_trip_count":\{"n":"(\d+)"', line)
      for other in called:
        calls[other].append((name, int(turns[1]) if turns else None, line))

  def count(name):
    if name == entry:
      return 1
    total = 0
    for caller, turns, line in calls[name]:
      if turns is None:
        # A loop whose turns are not known counts as none, which `find`
        # refuses when it sends anything.
        turns = 0 if ' while(' in line else 1
      total += turns * count(caller)
    return total

  return {name: count(name) for name in bodies}


def count_devices(line: str) -> int:
  """How many devices take part together, in any way of writing it."""
  mesh = re.search(r"groups=mesh\[([^\]]*)\].*? \{('[^}]*)\}", line)
  if mesh:
    axes = dict(re.findall(r"'([^']+)'=(\d+)", mesh[1]))
    named = re.findall(r"'([^']+)'", mesh[2])
    return math.prod(int(axes[name]) for name in named)
  rows = re.search(r'replica_groups=\[\d+,(\d+)\]<=', line)
  if rows:
    return int(rows[1])
  listed = re.search(r'replica_groups=\{\{([\d,]*)\}', line)
  if listed:
    return len(listed[1].split(','))
  raise ValueError(f'no groups of devices in {line.strip()[:200]}')
