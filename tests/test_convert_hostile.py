"""Files made to do harm, and broken ones: refused in one line, never run."""

import codecs
import copyreg
import io
import json
import os
import pathlib
import pickle
import random
import resource
import struct
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest
from safetensors import numpy as safetensors_numpy

from avemo import errors
from avemo.convert import pickles, readers

GOLDEN = pathlib.Path(__file__).parent / 'golden' / 'torch_files'
LARGEST_PEAK = 300 << 20

watched: list[str] | None = None
DOING = (
  'exec',
  'os.',
  'subprocess.',
  'socket.',
  'shutil.',
  'pickle.find_class',
  'marshal.',
  'ctypes.',
  'builtins.input',
  'builtins.breakpoint',
)
HARMLESS = ('os.listdir', 'os.scandir')


def watch(event, arguments):
  """Notes what only code that a file brought along would do."""
  if watched is None:
    return
  writes = event == 'open' and set(str(arguments[1])) & set('wax+')
  if writes or (event.startswith(DOING) and event not in HARMLESS):
    watched.append(f'{event} {arguments}')


sys.addaudithook(watch)


@pytest.fixture(autouse=True)
def nothing_is_done(tmp_path):
  """Fails a test in which reading did anything but read."""
  # What is imported at first use is not the file's doing.
  codecs.lookup('cp437')
  for name in ('state', 'legacy'):
    readers.read(GOLDEN / f'{name}.pth')
  yield
  assert not (tmp_path / 'canary').exists()


def read(path):
  """The error of a read, or its tensors; and looks at all of them."""
  global watched
  watched = []
  try:
    source = readers.read(path)
  except errors.AvemoError as error:
    text = str(error)
    assert '\n' not in text and text.isprintable() and len(text) < 800
    assert text.startswith(f'{path}: ') and len(text) > len(str(path)) + 12
    return text
  finally:
    done, watched = watched, None
    assert not done
  for name, array in source.tensors.items():
    assert isinstance(name, str) and isinstance(array, np.ndarray)
    with np.errstate(all='ignore'):
      array.sum()
  return dict(source.tensors)


def pack(path, pickled, members=None, compression=zipfile.ZIP_STORED):
  """Writes a file of torch around a pickle."""
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, 'w', compression) as file:
    file.writestr('a/data.pkl', pickled)
    for name, data in (members or {'data/0': bytes(64)}).items():
      file.writestr(f'a/{name}', data)
  path.write_bytes(buffer.getvalue())


class Call:
  """Pickles as the call of a function."""

  def __init__(self, function, *arguments):
    self.function, self.arguments = function, arguments

  def __reduce__(self):
    return self.function, self.arguments


def touch(path):
  return f'touch {path}/canary'


CALLS = {
  'system': lambda path: Call(os.system, touch(path)),
  'eval': lambda path: Call(eval, f'open("{path}/canary", "w")'),
  'exec': lambda path: Call(exec, f'open("{path}/canary", "w")'),
  'open': lambda path: Call(open, f'{path}/canary', 'w'),
  'getattr': lambda path: Call(getattr, Call(__import__, 'os'), 'system'),
  'nested': lambda path: {'a': [({'b': Call(os.system, touch(path))},)]},
  'runstring': lambda path: Call(
    np.testing.runstring, f'open("{path}/canary", "w")', {}
  ),
  'write': lambda path: Call(pathlib.Path.touch, Call(pathlib.Path, path)),
}


@pytest.mark.parametrize('protocol', range(6))
@pytest.mark.parametrize('call', CALLS)
def test_no_call_of_a_pickle_is_made(tmp_path, call, protocol):
  hostile = CALLS[call](tmp_path)
  path = tmp_path / 'x.pth'
  for tree in (hostile, {'w': hostile}, {'model': {'w': hostile}}):
    pack(path, pickle.dumps(tree, protocol))
    assert isinstance(read(path), str)


def text(value):
  return b'X' + struct.pack('<I', len(value)) + value.encode()


def build_programs(path):
  command = text(touch(path))
  system = b'cos\nsystem\n'
  copyreg.add_extension('os', 'getcwd', 0xEE)
  # A pickle that used the extension leaves it in a cache.
  pickle.loads(b'\x80\x02\x82\xee.')
  return {
    'setstate': b'\x80\x02cx\nY\n)\x81}' + text('__setstate__') + system + b'sb'
    b'' + command + b'b.',
    'state': b'\x80\x02}'
    + text('w')
    + b'cx\nY\n)R}'
    + text('__class__')
    + b'cx\nZ\nsbs.',
    'persistent': b'\x80\x02' + system + b'Q.',
    'persistent call': b'\x80\x02' + system + command + b'\x85RQ.',
    'persistent line': b'Pos.system\n.',
    'inst': b'(' + command + b'ios\nsystem\n.',
    'obj': b'(' + system + command + b'o.',
    'newobj': b'\x80\x02' + system + command + b'\x85\x81.',
    'newobj_ex': b'\x80\x04' + system + command + b'\x85}\x92.',
    'extension': b'\x80\x02\x82\xee)R.',
    'extension 2': b'\x80\x02\x83\xee\x00)R.',
    'extension 4': b'\x80\x02\x84\xee\x00\x00\x00)R.',
    'stack global': b'\x80\x04'
    + text('os')
    + text('system')
    + b'\x93'
    + command
    + b'\x85R.',
    'dotted': b'\x80\x04'
    + text('x')
    + text('os.system')
    + b'\x93'
    + command
    + b'\x85R.',
    'made maker': b'\x80\x02cx\nY\n)R' + command + b'\x85R.',
    'class as tensor': b'\x80\x02}' + text('w') + b'cx\nY\ns.',
    'buffer': b'\x80\x05\x97.',
    'dup': b'\x80\x02]2.',
    'empty': b'.',
    'no stop': b'\x80\x02}',
    'underflow': b'\x80\x02R.',
    'no mark': b'\x80\x02t.',
    'no memo': b'\x80\x02h\x07.',
    'large memo': b'\x80\x02]r\xff\xff\xff\x7f.',
    'long number': b'\x80\x02\x8b\xff\xff\xff\x7f.',
    'negative length': b'\x80\x02\x8b\xff\xff\xff\xff.',
    'long text': b'\x80\x04\x8d' + b'\xff' * 7 + b'\x7f.',
    'long bytes': b'\x80\x05\x96' + b'\xff' * 8 + b'.',
    'bad text': b'\x80\x02X\x02\x00\x00\x00\xff\xff.',
    'long name': b'\x80\x02c' + b'a' * 9999 + b'\nb\n.',
    'strange name': b'\x80\x02ca b\nc\n.',
    'name of numbers': b'\x80\x04K\x01K\x02\x93.',
    'append to a number': b'\x80\x02K\x01K\x02a.',
    'item of a number': b'\x80\x02K\x01K\x02K\x03s.',
    'odd items': b'\x80\x02}(K\x01u.',
    'state of a list': b'\x80\x02]}b.',
    'deep list': b'\x80\x02' + b']' * 20_000 + b'a' * 19_999 + b'.',
    'deep tuple': b'\x80\x02)' + b'\x85' * 40_000 + b'.',
    'deep key': b'\x80\x02})' + b'\x85' * 40_000 + b'Ns.',
    'deep object': b'\x80\x02cx\ny\nq\x00'
    + b'h\x00)R' * 1
    + b'\x85h\x000' * 1
    + b'.',
    'wide key': b'\x80\x02})' + b'q\x00h\x00\x86' * 99 + b'Ns.',
    'wide state dict': b'\x80\x02}'
    + text('model')
    + b'}'
    + text('w')
    + b')'
    + b'q\x00h\x00\x86' * 99
    + b'ss.',
    'itself': b'\x80\x02}q\x00' + text('model') + b'h\x00s.',
    'long program': b'\x80\x02' + b'N0' * 60_000 + b'N.',
    'long stack': b'\x80\x02' + b'\x8f' * 60_000 + b'.',
    'many marks': b'\x80\x02' + b'(' * 60_000 + b'.',
  }


PROGRAMS = sorted(build_programs('/absent'))


@pytest.mark.parametrize('name', PROGRAMS)
def test_programs_that_no_file_of_weights_needs(tmp_path, name, monkeypatch):
  monkeypatch.setattr(pickles, 'MOST_OPCODES', 50_000)
  path = tmp_path / 'x.pth'
  pack(path, build_programs(tmp_path)[name])
  tracemalloc.start()
  told = read(path)
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert isinstance(told, str)
  # An opcode that makes much makes an empty set, of 400 bytes.
  assert peak < 400 * pickles.MOST_OPCODES


def test_the_function_that_would_have_run_is_named(tmp_path):
  path = tmp_path / 'x.pth'
  pack(path, pickle.dumps({'model': {'w': CALLS['system'](tmp_path)}}, 2))
  told = read(path)
  assert f'{os.name}.system' in told and 'nothing of it was run' in told
  pack(path, pickle.dumps({'model': {'w': CALLS['runstring'](tmp_path)}}, 2))
  told = read(path)
  assert 'runstring' in told and "'w'" in told and 'state_dict()' in told


def number(value):
  return b'\x8a\x09' + value.to_bytes(9, 'little', signed=True)


def tuple_of(*values):
  return b'(' + b''.join(values) + b't'


def build_tensor(
  offset=0, shape=(2, 3), strides=(3, 1), kind='FloatStorage', key='0', size=16
):
  storage = tuple_of(
    text('storage'),
    f'ctorch\n{kind}\n'.encode(),
    text(key),
    text('cpu'),
    number(size),
  )
  return (
    b'ctorch._utils\n_rebuild_tensor_v2\n'
    + tuple_of(
      storage + b'Q',
      number(offset),
      tuple_of(*map(number, shape)),
      tuple_of(*map(number, strides)),
      b'\x89',
      b'}',
    )
    + b'R'
  )


def state_dict(**tensors):
  items = b''.join(text(name) + data for name, data in tensors.items())
  return b'\x80\x02}(' + items + b'u.'


def test_the_tensor_of_these_tests_is_read(tmp_path):
  data = np.arange(16, dtype='<f4')
  pickled = state_dict(w=build_tensor(offset=10))
  pack(tmp_path / 'x.pth', pickled, {'data/0': data.tobytes()})
  found = read(tmp_path / 'x.pth')
  np.testing.assert_array_equal(found['w'], data[10:].reshape(2, 3))


@pytest.mark.parametrize(
  ('changes', 'told'),
  [
    ({'offset': 11}, 'reaches beyond'),
    ({'offset': 2**62}, 'none can have'),
    ({'offset': -1}, 'none can have'),
    ({'strides': (4, 6)}, 'reaches beyond'),
    ({'strides': (-3, 1), 'offset': 3}, 'none can have'),
    ({'shape': (2, -3)}, 'none can have'),
    ({'shape': (2,)}, 'none can have'),
    ({'shape': (1,) * 17, 'strides': (1,) * 17}, 'none can have'),
    ({'shape': (2**40,), 'strides': (0,)}, 'reaches beyond'),
    ({'shape': (2**40, 2**40), 'strides': (0, 0)}, 'reaches beyond'),
    ({'shape': (17,), 'strides': (0,)}, 'reaches beyond'),
    ({'shape': (2**47, 2**47, 0), 'strides': (0, 0, 0)}, 'not a whole'),
    ({'kind': 'DoubleStorage', 'offset': 3}, 'reaches beyond'),
    ({'kind': 'QInt8Storage'}, 'torch.QInt8Storage, which is not read'),
    ({'kind': 'ComplexFloatStorage'}, 'which is not read'),
    ({'kind': 'UntypedStorage'}, 'which is not read'),
    ({'key': '../../x'}, "it lacks 'a/data/../../x'"),
    ({'key': '1'}, "it lacks 'a/data/1'"),
  ],
)
def test_views_beyond_their_storage(tmp_path, changes, told):
  pack(tmp_path / 'x.pth', state_dict(w=build_tensor(**changes)))
  assert told in read(tmp_path / 'x.pth')


def test_sizes_are_whole_numbers(tmp_path):
  tensor = build_tensor()
  for wrong in (b'\x88', b'N', b'G' + bytes(8), b')', text('3')):
    pickled = state_dict(w=tensor.replace(number(2), wrong))
    pack(tmp_path / 'x.pth', pickled)
    assert 'none can have' in read(tmp_path / 'x.pth')


def test_many_views_of_one_storage_are_too_much(tmp_path):
  shape = {'shape': (1 << 16,), 'strides': (1,), 'size': 1 << 16}
  names = [f'w{i}' for i in range(600)]
  pickled = state_dict(**{name: build_tensor(**shape) for name in names})
  pack(tmp_path / 'x.pth', pickled, {'data/0': bytes(1 << 18)})
  assert 'would take' in read(tmp_path / 'x.pth')


def build_module(parameters=b'}', modules=b'}'):
  state = tuple_of(text('_parameters'), parameters, text('_modules'), modules)[
    1:-1
  ]
  return b'cx\nModule\n)\x81}(' + state + b'ub'


def test_modules_without_an_end(tmp_path):
  path = tmp_path / 'x.pth'
  loop = (
    b'\x80\x02cx\nModule\n)\x81q\x00}('
    + text('_parameters')
    + b'}'
    + text('_modules')
    + b'}'
    + text('m')
    + b'h\x00sub.'
  )
  pack(path, loop)
  assert 'hold each other' in read(path)
  # Every module holds the one before twice: 2^30 of them, spelled out.
  module = build_module()
  for _ in range(30):
    module = build_module(
      modules=module
      + b'q\x000}('
      + text('a')
      + b'h\x00'
      + text('b')
      + b'h\x00u'
    )
  pack(path, b'\x80\x02' + module + b'.')
  assert 'parts' in read(path)
  long_name = text('n' * 1000)
  module = build_module(parameters=b'}' + long_name + build_tensor() + b's')
  pack(path, b'\x80\x02' + module + b'.')
  assert isinstance(read(path), dict)
  module = build_module(modules=b'}' + long_name + module + b's')
  pack(path, b'\x80\x02' + module + b'.')
  assert 'no name' in read(path)
  pack(
    path,
    b'\x80\x02' + build_module(modules=b'}' + text('m') + b'cx\nY\n)Rs') + b'.',
  )
  assert "'m' is what x.Y makes, not a module" in read(path)


def test_compressed_members_do_not_unpack_to_any_size(tmp_path):
  path = tmp_path / 'x.pth'
  tensor = build_tensor(shape=(1 << 24,), strides=(1,), size=1 << 24)
  members = {'data/0': bytes(1 << 26)}
  pack(path, state_dict(w=tensor), members, zipfile.ZIP_DEFLATED)
  buffer = io.BytesIO()
  np.savez_compressed(buffer, **{f'w{i}': np.zeros(1 << 18) for i in range(20)})
  other = tmp_path / 'x.npz'
  other.write_bytes(buffer.getvalue())
  tracemalloc.start()
  for name in (path, other):
    assert 'times its size' in read(name)
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert peak < 20 << 20


def test_a_compressed_file_of_torch_is_read(tmp_path):
  data = np.random.default_rng(0).standard_normal(16).astype('<f4')
  path = tmp_path / 'x.pth'
  for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2):
    pack(path, state_dict(w=build_tensor()), {'data/0': data.tobytes()}, method)
    found = read(path)
    if method == zipfile.ZIP_DEFLATED:
      np.testing.assert_array_equal(found['w'], data[:6].reshape(2, 3))
    else:
      assert 'method 12, which is not read' in found


def test_archives_of_very_many_or_repeated_members(tmp_path):
  path = tmp_path / 'x.pth'
  names = [f'{"n" * 4000}{i}' for i in range(1100)]
  pack(path, state_dict(w=build_tensor()), dict.fromkeys(names, b''))
  assert 'list of members' in read(path)
  with pytest.warns(UserWarning, match='Duplicate name'):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as file:
      for _ in range(2):
        file.writestr('a/data.pkl', state_dict())
  path.write_bytes(buffer.getvalue())
  assert 'a member twice' in read(path)


def test_a_changed_byte_of_a_tensor_is_noticed(tmp_path):
  path = tmp_path / 'x.pth'
  pack(path, state_dict(w=build_tensor()), {'data/0': b'mark' * 16})
  path.write_bytes(path.read_bytes().replace(b'mark', b'nark', 1))
  assert "'a/data/0' differs from its checksum" in read(path)


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
  assert told in read(path)


def test_a_header_of_safetensors_is_not_of_any_length(tmp_path):
  path = tmp_path / 'x.safetensors'
  for length in (1000, 2**39, 5 << 20):
    path.write_bytes(struct.pack('<Q', length) + b'{"a": 1}' + bytes(8))
    assert 'header would be' in read(path)


class Evil(Call):
  """An object in an array."""


def test_arrays_of_anything_but_numbers(tmp_path):
  path = tmp_path / 'x.npz'
  evil = np.array([Evil(os.system, touch(tmp_path))], object)
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
      assert 'not plain numbers' in read(path)


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
  assert isinstance(read(path), str)


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
    seeds[name] = (GOLDEN / f'{name}.pth').read_bytes()
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
      pack(path, data, members)
    else:
      path.write_bytes(data)
    refused += isinstance(read(path), str)
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
    assert isinstance(read(tmp_path / 'x'), str)
