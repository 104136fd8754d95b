"""PyTorch files made to do harm: refused in one line, nothing of them run."""

import copyreg
import io
import os
import pathlib
import pickle
import tracemalloc
import zipfile

import hostile_files
import numpy as np
import pytest

from avemo.convert import pickles


def test_what_a_pickle_would_do_is_noticed(tmp_path, monkeypatch):
  for call in ('system', 'eval', 'exec', 'open', 'write'):
    data = pickle.dumps(CALLS[call](tmp_path))
    seen = []
    monkeypatch.setattr(hostile_files, 'watched', seen)
    pickle.loads(data)
    monkeypatch.undo()
    assert seen
    (tmp_path / 'canary').unlink()


CALLS = {
  'system': lambda path: hostile_files.Call(
    os.system, hostile_files.touch(path)
  ),
  'eval': lambda path: hostile_files.Call(eval, f'open("{path}/canary", "w")'),
  'exec': lambda path: hostile_files.Call(exec, f'open("{path}/canary", "w")'),
  'open': lambda path: hostile_files.Call(open, f'{path}/canary', 'w'),
  'getattr': lambda path: hostile_files.Call(
    getattr, hostile_files.Call(__import__, 'os'), 'system'
  ),
  'nested': lambda path: {
    'a': [({'b': hostile_files.Call(os.system, hostile_files.touch(path))},)]
  },
  'runstring': lambda path: hostile_files.Call(
    np.testing.runstring, f'open("{path}/canary", "w")', {}
  ),
  'write': lambda path: hostile_files.Call(
    pathlib.Path.touch, hostile_files.Call(pathlib.Path, f'{path}/canary')
  ),
}


@pytest.mark.parametrize('protocol', range(6))
@pytest.mark.parametrize('call', CALLS)
def test_no_call_of_a_pickle_is_made(tmp_path, call, protocol):
  hostile = CALLS[call](tmp_path)
  path = tmp_path / 'x.pth'
  for tree in (hostile, {'w': hostile}, {'model': {'w': hostile}}):
    hostile_files.pack(path, pickle.dumps(tree, protocol))
    assert isinstance(hostile_files.read(path), str)
    assert not (tmp_path / 'canary').exists()


def build_programs(path):
  command = hostile_files.text(hostile_files.touch(path))
  system = b'cos\nsystem\n'
  copyreg.add_extension('os', 'getcwd', 0xEE)
  # A pickle that used the extension leaves it in a cache.
  pickle.loads(b'\x80\x02\x82\xee.')
  return {
    'setstate': b'\x80\x02cx\nY\n)\x81}'
    + hostile_files.text('__setstate__')
    + system
    + b'sb'
    b'' + command + b'b.',
    'state': b'\x80\x02}'
    + hostile_files.text('w')
    + b'cx\nY\n)R}'
    + hostile_files.text('__class__')
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
    + hostile_files.text('os')
    + hostile_files.text('system')
    + b'\x93'
    + command
    + b'\x85R.',
    'dotted': b'\x80\x04'
    + hostile_files.text('x')
    + hostile_files.text('os.system')
    + b'\x93'
    + command
    + b'\x85R.',
    'made maker': b'\x80\x02cx\nY\n)R' + command + b'\x85R.',
    'class as tensor': b'\x80\x02}' + hostile_files.text('w') + b'cx\nY\ns.',
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
    + hostile_files.text('model')
    + b'}'
    + hostile_files.text('w')
    + b')'
    + b'q\x00h\x00\x86' * 99
    + b'ss.',
    'itself': b'\x80\x02}q\x00' + hostile_files.text('model') + b'h\x00s.',
    'long program': b'\x80\x02' + b'N0' * 60_000 + b'N.',
    'long stack': b'\x80\x02' + b'\x8f' * 60_000 + b'.',
    'many marks': b'\x80\x02' + b'(' * 60_000 + b'.',
  }


PROGRAMS = sorted(build_programs('/absent'))


@pytest.mark.parametrize('name', PROGRAMS)
def test_programs_that_no_file_of_weights_needs(tmp_path, name, monkeypatch):
  monkeypatch.setattr(pickles, 'MOST_OPCODES', 50_000)
  path = tmp_path / 'x.pth'
  hostile_files.pack(path, build_programs(tmp_path)[name])
  tracemalloc.start()
  told = hostile_files.read(path)
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert isinstance(told, str)
  # An opcode that makes much makes an empty set, of 400 bytes.
  assert peak < 400 * pickles.MOST_OPCODES


def test_the_function_that_would_have_run_is_named(tmp_path):
  path = tmp_path / 'x.pth'
  hostile_files.pack(
    path, pickle.dumps({'model': {'w': CALLS['system'](tmp_path)}}, 2)
  )
  told = hostile_files.read(path)
  assert f'{os.name}.system' in told and 'nothing of it was run' in told
  hostile_files.pack(
    path, pickle.dumps({'model': {'w': CALLS['runstring'](tmp_path)}}, 2)
  )
  told = hostile_files.read(path)
  assert 'runstring' in told and "'w'" in told and 'state_dict()' in told


def number(value):
  return b'\x8a\x09' + value.to_bytes(9, 'little', signed=True)


def tuple_of(*values):
  return b'(' + b''.join(values) + b't'


def build_tensor(
  offset=0, shape=(2, 3), strides=(3, 1), kind='FloatStorage', key='0', size=16
):
  storage = tuple_of(
    hostile_files.text('storage'),
    f'ctorch\n{kind}\n'.encode(),
    hostile_files.text(key),
    hostile_files.text('cpu'),
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
  items = b''.join(
    hostile_files.text(name) + data for name, data in tensors.items()
  )
  return b'\x80\x02}(' + items + b'u.'


def test_the_tensor_of_these_tests_is_read(tmp_path):
  data = np.arange(16, dtype='<f4')
  pickled = state_dict(w=build_tensor(offset=10))
  hostile_files.pack(tmp_path / 'x.pth', pickled, {'data/0': data.tobytes()})
  found = hostile_files.read(tmp_path / 'x.pth')
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
  hostile_files.pack(tmp_path / 'x.pth', state_dict(w=build_tensor(**changes)))
  assert told in hostile_files.read(tmp_path / 'x.pth')


def test_sizes_are_whole_numbers(tmp_path):
  tensor = build_tensor()
  for wrong in (b'\x88', b'N', b'G' + bytes(8), b')', hostile_files.text('3')):
    pickled = state_dict(w=tensor.replace(number(2), wrong))
    hostile_files.pack(tmp_path / 'x.pth', pickled)
    assert 'none can have' in hostile_files.read(tmp_path / 'x.pth')


def test_many_views_of_one_storage_are_too_much(tmp_path):
  shape = {'shape': (1 << 16,), 'strides': (1,), 'size': 1 << 16}
  names = [f'w{i}' for i in range(600)]
  pickled = state_dict(**{name: build_tensor(**shape) for name in names})
  hostile_files.pack(tmp_path / 'x.pth', pickled, {'data/0': bytes(1 << 18)})
  assert 'would take' in hostile_files.read(tmp_path / 'x.pth')


def build_module(parameters=b'}', modules=b'}'):
  state = tuple_of(
    hostile_files.text('_parameters'),
    parameters,
    hostile_files.text('_modules'),
    modules,
  )[1:-1]
  return b'cx\nModule\n)\x81}(' + state + b'ub'


def test_modules_without_an_end(tmp_path):
  path = tmp_path / 'x.pth'
  loop = (
    b'\x80\x02cx\nModule\n)\x81q\x00}('
    + hostile_files.text('_parameters')
    + b'}'
    + hostile_files.text('_modules')
    + b'}'
    + hostile_files.text('m')
    + b'h\x00sub.'
  )
  hostile_files.pack(path, loop)
  assert 'hold each other' in hostile_files.read(path)
  # Every module holds the one before twice: 2^30 of them, spelled out.
  module = build_module()
  for _ in range(30):
    module = build_module(
      modules=module
      + b'q\x000}('
      + hostile_files.text('a')
      + b'h\x00'
      + hostile_files.text('b')
      + b'h\x00u'
    )
  hostile_files.pack(path, b'\x80\x02' + module + b'.')
  assert 'parts' in hostile_files.read(path)
  long_name = hostile_files.text('n' * 1000)
  module = build_module(parameters=b'}' + long_name + build_tensor() + b's')
  hostile_files.pack(path, b'\x80\x02' + module + b'.')
  assert isinstance(hostile_files.read(path), dict)
  module = build_module(modules=b'}' + long_name + module + b's')
  hostile_files.pack(path, b'\x80\x02' + module + b'.')
  assert 'no name' in hostile_files.read(path)
  hostile_files.pack(
    path,
    b'\x80\x02'
    + build_module(modules=b'}' + hostile_files.text('m') + b'cx\nY\n)Rs')
    + b'.',
  )
  assert "'m' is what x.Y makes, not a module" in hostile_files.read(path)


def test_compressed_members_do_not_unpack_to_any_size(tmp_path):
  path = tmp_path / 'x.pth'
  tensor = build_tensor(shape=(1 << 24,), strides=(1,), size=1 << 24)
  members = {'data/0': bytes(1 << 26)}
  hostile_files.pack(path, state_dict(w=tensor), members, zipfile.ZIP_DEFLATED)
  buffer = io.BytesIO()
  np.savez_compressed(buffer, **{f'w{i}': np.zeros(1 << 18) for i in range(20)})
  other = tmp_path / 'x.npz'
  other.write_bytes(buffer.getvalue())
  tracemalloc.start()
  for name in (path, other):
    assert 'times its size' in hostile_files.read(name)
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert peak < 20 << 20


def test_a_compressed_file_of_torch_is_read(tmp_path):
  data = np.random.default_rng(0).standard_normal(16).astype('<f4')
  path = tmp_path / 'x.pth'
  for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2):
    hostile_files.pack(
      path, state_dict(w=build_tensor()), {'data/0': data.tobytes()}, method
    )
    found = hostile_files.read(path)
    if method == zipfile.ZIP_DEFLATED:
      np.testing.assert_array_equal(found['w'], data[:6].reshape(2, 3))
    else:
      assert 'method 12, which is not read' in found


def test_archives_of_very_many_or_repeated_members(tmp_path):
  path = tmp_path / 'x.pth'
  names = [f'{"n" * 4000}{i}' for i in range(1100)]
  hostile_files.pack(
    path, state_dict(w=build_tensor()), dict.fromkeys(names, b'')
  )
  assert 'list of members' in hostile_files.read(path)
  with pytest.warns(UserWarning, match='Duplicate name'):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as file:
      for _ in range(2):
        file.writestr('a/data.pkl', state_dict())
  path.write_bytes(buffer.getvalue())
  assert 'a member twice' in hostile_files.read(path)


def test_a_changed_byte_of_a_tensor_is_noticed(tmp_path):
  path = tmp_path / 'x.pth'
  hostile_files.pack(
    path, state_dict(w=build_tensor()), {'data/0': b'mark' * 16}
  )
  path.write_bytes(path.read_bytes().replace(b'mark', b'nark', 1))
  assert "'a/data/0' differs from its checksum" in hostile_files.read(path)
