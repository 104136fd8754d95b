"""Files of every format that lie, end early or were changed at random."""

import io
import json
import os
import random
import resource
import struct
import zipfile

import hostile_files
import numpy as np
import pytest
from safetensors import numpy as safetensors_numpy

LARGEST_PEAK = 300 << 20


def build_safetensors(header, size=8):
  if isinstance(header, dict):
    header = json.dumps(header).encode()
  return struct.pack('<Q', len(header)) + header + bytes(size)


def entry(start, stop, shape=(1,), dtype='F32'):
  return {'dtype': dtype, 'shape': shape, 'data_offsets': [start, stop]}


@pytest.mark.parametrize(
  ('header', 'told'),
  [
    ({'a': entry(0, 4), 'b': entry(0, 4)}, 'overlap'),
    ({'a': entry(0, 8, (2,)), 'b': entry(4, 8)}, 'overlap'),
    ({'a': entry(4, 8)}, 'leave gaps'),
    ({'a': entry(0, 4)}, 'take 4 bytes and it holds 8'),
    ({'a': entry(0, 12, (3,))}, 'take 12 bytes'),
    ({'a': entry(0, 2**70, (3,))}, 'bytes and it holds 8'),
    ({'a': entry(-4, 8, (3,))}, 'overlap'),
    ({'a': entry(0, -4), 'b': entry(-4, 8)}, 'overlap'),
    ({'a': entry(0.0, 8, (2,))}, 'lies nowhere'),
    ({'a': entry(False, 8, (2,))}, 'lies nowhere'),
    ({'a': entry(0, 8)}, 'does not fill'),
    ({'a': entry(0, 8, (2**40,))}, 'reaches beyond'),
    ({'a': entry(0, 8, (-2, -1))}, 'none can have'),
    ({'a': entry(0, 8, (2.0,))}, 'none can have'),
    ({'a': entry(0, 8, (True, 2))}, 'none can have'),
    ({'a': entry(0, 8, (2**40, 2**40))}, 'reaches beyond'),
    ({'a': entry(0, 8, (0, 2**60))}, 'none can have'),
    ({'a': entry(0, 8, (8,), 'F8_E4M3')}, "'a' is of type F8_E4M3"),
    ({'a': entry(0, 8, (8,), ['F32'])}, 'not a whole safetensors'),
    ({'a': entry(0, 8, 2)}, 'not a whole safetensors'),
    ({'a': [1]}, 'not a whole safetensors'),
    ({'a': {}}, 'not a whole safetensors'),
    ({'': entry(0, 8, (2,))}, 'no name'),
    ({'a' * 2000: entry(0, 8, (2,))}, 'no name'),
    ({}, 'and it holds 8'),
    ({'__metadata__': 3}, 'and it holds 8'),
    (b'{"a": 1, "a": 2}', 'a name twice'),
    (b'{"a": ' + b'[' * 100_000, 'not a whole safetensors'),
    (b'{"a": ' + b'9' * 9999 + b'}', 'not a whole safetensors'),
    (b'{"\xff": 1}', 'not a whole safetensors'),
    (b'{', 'not a whole safetensors'),
  ],
)
def test_headers_of_safetensors_that_lie(tmp_path, header, told):
  path = tmp_path / 'x.safetensors'
  path.write_bytes(build_safetensors(header))
  assert told in hostile_files.read(path)


def test_a_header_of_safetensors_is_not_of_any_length(tmp_path):
  path = tmp_path / 'x.safetensors'
  for length in (1000, 2**39, 5 << 20):
    path.write_bytes(struct.pack('<Q', length) + b'{"a": 1}' + bytes(8))
    assert 'header would be' in hostile_files.read(path)


class Evil(hostile_files.Call):
  """An object in an array."""


def test_arrays_of_anything_but_numbers(tmp_path):
  path = tmp_path / 'x.npz'
  evil = np.array([Evil(os.system, hostile_files.touch(tmp_path))], object)
  for array in (
    evil,
    np.array(['a']),
    np.array([b'a']),
    np.zeros(2, [('a', 'f4')]),
    np.zeros(2, complex),
    np.zeros(2, 'M8[s]'),
  ):
    for save in (np.savez, np.save):
      buffer = io.BytesIO()
      save(buffer, array)
      path.write_bytes(buffer.getvalue())
      assert 'not plain numbers' in hostile_files.read(path)


@pytest.mark.parametrize(
  'header',
  [
    "{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (-2, -1)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (True, 2)}",
    "{'descr': '<f4', 'fortran_order': True, 'shape': (2**70,)}",
    "{'descr': '<f4', 'fortran_order': 1, 'shape': (2,)}",
    "{'descr': '(2,)<f4', 'fortran_order': False, 'shape': (1,)}",
    "{'descr': 'O', 'fortran_order': False, 'shape': (1,)}",
    "{'descr': __import__('os'), 'fortran_order': False, 'shape': (2,)}",
    '(' * 5000,
    "{'descr': " * 2000,
    '',
  ],
)
def test_headers_of_numpy_that_lie(tmp_path, header):
  path = tmp_path / 'x.npy'
  data = header.encode() + b'\n'
  length = struct.pack('<H', len(data))
  path.write_bytes(b'\x93NUMPY\x01\x00' + length + data + bytes(8))
  assert isinstance(hostile_files.read(path), str)


# Checksums would hide what a changed pickle does: it is packed anew.
INNER = ('module', 'checkpoint')


def list_seeds():
  """Small whole files of each format; of zips, also the pickle alone."""
  arrays = {
    'a.weight': np.arange(6, dtype=np.float32).reshape(2, 3),
    'b': np.ones(3, np.float16),
    'c': np.array(3),
  }
  archive, compressed, array = io.BytesIO(), io.BytesIO(), io.BytesIO()
  np.savez(archive, **arrays)
  np.savez_compressed(compressed, **arrays)
  np.save(array, arrays['a.weight'])
  seeds = {
    'npz': archive.getvalue(),
    'npz_compressed': compressed.getvalue(),
    'npy': array.getvalue(),
    'safetensors': safetensors_numpy.save(arrays, {'format': 'pt'}),
  }
  for name in ('state', 'legacy', *INNER):
    seeds[name] = (hostile_files.GOLDEN / f'{name}.pth').read_bytes()
  return seeds


FORMATS = [x for x in list_seeds() if x not in INNER]
FORMATS += [f'{name}_pickle' for name in ('state', *INNER)]


def mutate(data, generator):
  """A copy with one to four changes, mostly near the start, where sizes are."""
  data = bytearray(data)
  for _ in range(generator.randint(1, 4)):
    near = generator.random() < 0.6
    place = generator.randrange(min(len(data), 600) if near else len(data))
    length = generator.randint(1, 8)
    kind = generator.randrange(6)
    if kind == 0:
      data[place] ^= 1 << generator.randrange(8)
    elif kind == 1:
      data[place] = generator.randrange(256)
    elif kind == 2:
      data[place : place + length] = b'\xff' * length
    elif kind == 3:
      del data[place : place + length]
    elif kind == 4:
      other = generator.randrange(len(data))
      data[place:place] = data[other : other + length]
    elif generator.random() < 0.2:
      del data[max(place, 1) :]
    else:
      data[place] = generator.choice(b'0()[]{}.abcehjqrstuQRX\x81\x85\x93\xff')
    if not data:
      break
  return bytes(data)


def run_mutations(tmp_path, name, count):
  """Reads mutated files; returns how many were refused."""
  seed = list_seeds()[name.removesuffix('_pickle')]
  members = {}
  if name.endswith('_pickle'):
    with zipfile.ZipFile(io.BytesIO(seed)) as file:
      root = file.namelist()[0].split('/')[0]
      members = {x[len(root) + 1 :]: file.read(x) for x in file.namelist()}
    seed = members.pop('data.pkl')
  generator = random.Random(name)
  path = tmp_path / 'x'
  refused = 0
  for _ in range(count):
    data = mutate(seed, generator)
    if members:
      hostile_files.pack(path, data, members)
    else:
      path.write_bytes(data)
    refused += isinstance(hostile_files.read(path), str)
  return refused


@pytest.mark.parametrize('name', FORMATS)
def test_changed_files_are_refused_or_read(tmp_path, name):
  refused = run_mutations(tmp_path, name, 300)
  assert 30 < refused <= 300


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize('name', FORMATS)
def test_ten_thousand_changed_files(tmp_path, name):
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  refused = run_mutations(tmp_path, name, 10_000)
  grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
  assert grown << 10 < LARGEST_PEAK
  print(f'{name}: {refused} of 10000 refused, {grown} KiB more')
  assert 1000 < refused <= 10_000


@pytest.mark.parametrize('name', list_seeds())
def test_files_that_end_early(tmp_path, name):
  seed = list_seeds()[name]
  for end in {*range(0, len(seed), max(1, len(seed) // 60)), len(seed) - 1}:
    (tmp_path / 'x').write_bytes(seed[:end])
    assert isinstance(hostile_files.read(tmp_path / 'x'), str)
