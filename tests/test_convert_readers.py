"""Files of weights, each format as its own software writes it."""

import hashlib
import json
import pathlib
import shutil
import zipfile

import ml_dtypes
import numpy as np
import pytest
from safetensors import numpy as safetensors_numpy

from avemo import errors
from avemo.convert import pickles, readers, torch_trees

GOLDEN = pathlib.Path(__file__).parent / 'golden' / 'torch_files'


def load_expected(name):
  with np.load(GOLDEN / 'expected.npz') as file:
    return {
      key.partition(':')[2]: file[key]
      for key in file.files
      if key.startswith(f'{name}:')
    }


def assert_same(found, expected):
  assert list(found) == list(expected)
  for name, array in expected.items():
    assert found[name].dtype == array.dtype, name
    np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.mark.parametrize(
  'name',
  [
    'state',
    'protocol4',
    'module',
    'checkpoint',
    'deepspeed',
    'uint16',
    'legacy',
  ],
)
def test_files_of_torch_hold_what_torch_saved(name):
  source = readers.read(GOLDEN / f'{name}.pth')
  assert source.format == 'pth'
  assert_same(source.tensors, load_expected(name))


def test_tensors_lie_in_the_file_as_views():
  tensors = readers.read(GOLDEN / 'state.pth').tensors
  assert all(
    not x.flags.owndata
    for name, x in tensors.items()
    if name not in ('bfloat16', 'bfloat16_columns', 'empty')
  )
  assert not tensors['float32'].flags.writeable
  for name in ('rows', 'columns', 'transposed', 'steps', 'flat'):
    assert np.shares_memory(tensors['base'], tensors[name])


def test_a_module_shows_its_attributes_and_leaves_out_what_is_not_state():
  source = readers.read(GOLDEN / 'module.pth')
  assert source.attributes['global_pool.pool_type'] == 'avg'
  assert source.attributes['global_pool.output_size'] == (1, 1)
  assert source.attributes['bn1.eps'] == 1e-3
  assert source.attributes['stem.kernel_size'] == (3, 3)
  assert source.attributes['num_features'] == 4
  assert 'passing' not in source.tensors
  assert source.tensors['bn1.num_batches_tracked'].shape == ()
  np.testing.assert_array_equal(
    source.tensors['again.weight'], source.tensors['blocks.0.weight']
  )


def test_a_checkpoint_shows_its_arguments():
  assert readers.read(GOLDEN / 'checkpoint.pth').attributes == {
    'epoch': 3,
    'args.nb_classes': 400,
    'args.lr': 1e-3,
    'args.name': 'vit',
  }


def rebuild(storage):
  maker = pickles.Global('torch._utils', '_rebuild_tensor_v2')
  return pickles.Object(maker, (storage,))


@pytest.mark.parametrize(
  'tree',
  [
    {'w': rebuild('a')},
    {'model': {'w': rebuild('a')}, 'epoch': 1},
    {'module': {'w': rebuild('a')}},
    {'state_dict': {'w': rebuild('a')}, 'model': {'width': 3}},
    {'model': {'state_dict': {'w': rebuild('a')}}},
    {'state_dict': {'w': rebuild('b')}, 'model': {'w': rebuild('a')}},
  ],
)
def test_the_state_dict_is_found(tree):
  state, _ = torch_trees.find_state_dict(tree)
  assert state['w'].arguments == ('a',)


def test_torchscript_and_files_without_tensors_say_the_way_out(tmp_path):
  with pytest.raises(errors.AvemoError, match=r'TorchScript.*state_dict'):
    readers.read(GOLDEN / 'script.pt')
  with zipfile.ZipFile(tmp_path / 'a.pth', 'w') as file:
    # {'net': {}}
    file.writestr('a/data.pkl', b'\x80\x02}X\x03\x00\x00\x00net}s.')
  with pytest.raises(errors.AvemoError, match="no tensors.* it has 'net'"):
    readers.read(tmp_path / 'a.pth')


def test_big_endian_files_of_torch_are_read(tmp_path):
  path = tmp_path / 'big.pth'
  with (
    zipfile.ZipFile(GOLDEN / 'checkpoint.pth') as source,
    zipfile.ZipFile(path, 'w') as target,
  ):
    for name in source.namelist():
      data = source.read(name)
      if '/data/' in name and len(data) % 4 == 0:
        data = np.frombuffer(data, '<f4').astype('>f4').tobytes()
      if name.endswith('/byteorder'):
        data = b'big'
      target.writestr(name, data)
  found = readers.read(path).tensors
  for name, array in load_expected('checkpoint').items():
    np.testing.assert_array_equal(found[name], array)


def make_arrays():
  generator = np.random.default_rng(0)
  return {
    'layer.0.weight': generator.standard_normal((3, 4)).astype(np.float32),
    'half': generator.standard_normal(5).astype(np.float16),
    'double': generator.standard_normal((2, 1, 2)),
    'count': np.array(7),
    'empty': np.zeros((0, 3), np.float32),
    'flags': np.array([True, False]),
    'bytes': np.arange(5, dtype=np.uint8),
  }


def test_safetensors_agree_with_their_own_package(tmp_path):
  path = tmp_path / 'weights'
  expected = make_arrays()
  brain = np.array([1.5, -2, 3e38, 1e-40]).astype(ml_dtypes.bfloat16)
  safetensors_numpy.save_file(
    expected | {'brain': brain}, path, metadata={'format': 'pt'}
  )
  source = readers.read(path)
  assert source.format == 'safetensors'
  assert source.attributes == {'format': 'pt'}
  package = safetensors_numpy.load_file(path)
  package['brain'] = package['brain'].astype(np.float32)
  assert_same(
    dict(sorted(source.tensors.items())), dict(sorted(package.items()))
  )
  assert not source.tensors['layer.0.weight'].flags.owndata


@pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
def test_archives_of_numpy(tmp_path, save):
  path = tmp_path / 'weights.npz'
  expected = make_arrays()
  expected['columns'] = np.asfortranarray(np.arange(6.0).reshape(2, 3))
  save(path, **expected)
  source = readers.read(path)
  assert source.format == 'npz'
  assert_same(source.tensors, expected)
  assert source.tensors['columns'].flags.f_contiguous


def test_a_single_array_of_numpy_is_named_by_its_file(tmp_path):
  np.save(tmp_path / 'means.npy', np.arange(3.0))
  assert_same(
    readers.read(tmp_path / 'means.npy').tensors, {'means': np.arange(3.0)}
  )


def test_the_name_of_a_file_does_not_matter(tmp_path):
  for name in ('a.h5', 'b.safetensors', 'c'):
    shutil.copy(GOLDEN / 'deepspeed.pth', tmp_path / name)
    assert readers.recognise(tmp_path / name) == 'pth'
  shutil.copy(GOLDEN / 'legacy.pth', tmp_path / 'd.npz')
  assert readers.recognise(tmp_path / 'd.npz') == 'pth'
  (tmp_path / 'e.pth').write_bytes(b'\x89HDF\r\n\x1a\n' + bytes(600))
  assert readers.recognise(tmp_path / 'e.pth') == 'h5'
  (tmp_path / 'f.index').write_bytes(bytes(48) + readers.TABLE_END)
  for name in ('f', 'f.index'):
    assert readers.recognise(tmp_path / name) == 'tf_checkpoint'
  (tmp_path / 'g').mkdir()
  (tmp_path / 'g' / 'variables').mkdir()
  (tmp_path / 'g' / 'variables' / 'variables.index').touch()
  assert readers.recognise(tmp_path / 'g') == 'saved_model'


def test_a_folder_of_transformers_gives_its_config_and_hash(tmp_path):
  path = tmp_path / 'model.safetensors'
  safetensors_numpy.save_file({'w': np.ones(2, np.float32)}, path)
  config = {'hidden_size': 384, 'id2label': {'0': 'anger'}}
  (tmp_path / 'config.json').write_text(json.dumps(config))
  digest = hashlib.sha256(path.read_bytes()).hexdigest()
  for given in (tmp_path, path, str(path)):
    source = readers.read(given)
    assert source.config == config
    assert source.sha256 == digest
    assert source.path == pathlib.Path(given)
  (tmp_path / 'config.json').write_text('[1]')
  with pytest.raises(errors.AvemoError, match='config.json: it is no config'):
    readers.read(path)
  (tmp_path / 'config.json').write_text('{"a": ')
  with pytest.raises(errors.AvemoError, match='config.json: not a whole JSON'):
    readers.read(path)


@pytest.mark.parametrize(
  ('data', 'told'),
  [
    (b'version https://git-lfs.github.com/spec/v1\noid', 'git lfs pull'),
    (b'\n<!DOCTYPE html><html>', 'a web page'),
    (b'\x1f\x8b\x08' + bytes(20), 'unpack it first'),
    (bytes(257) + b'ustar' + bytes(300), 'an archive'),
    (b'\x80\x04\x95' + bytes(8) + b'}.', 'a bare pickle'),
    (b'PK\x03\x04' + bytes(60), 'not a whole zip file'),
    (b'', 'none of the formats'),
    (b'hello', 'none of the formats'),
  ],
)
def test_other_files_are_told_apart(tmp_path, data, told):
  path = tmp_path / 'weights.pth'
  path.write_bytes(data)
  with pytest.raises(errors.AvemoError, match=told) as caught:
    readers.read(path)
  assert str(caught.value).startswith(f'{path}: ')


def test_missing_files_and_other_folders_and_zips(tmp_path):
  with pytest.raises(errors.AvemoError, match='No such file.*check the path'):
    readers.read(tmp_path / 'absent')
  with pytest.raises(errors.AvemoError, match='name the file of weights'):
    readers.read(tmp_path)
  for name in ('model.weights.h5', 'readme'):
    with zipfile.ZipFile(tmp_path / 'a.keras', 'w') as file:
      file.writestr(name, b'')
    with pytest.raises(errors.AvemoError, match='unpack it and name'):
      readers.read(tmp_path / 'a.keras')
