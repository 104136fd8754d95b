"""TensorFlow's checkpoints: whole, split, compressed, broken."""

import tracemalloc

import numpy as np
import pytest

import bundles
from avemo import errors
from avemo.convert import bundle, crc32c

NAMES = {
  'a': 'blocks/0/norm/gamma',
  'ab': 'scale',
  'b/c': 'blocks/0/attn/q_bias_id17',
  'b/cd': 'empty',
  'e': 'blocks/10/norm/gamma',
}
GRAPH = bundles.write_graph(
  {f'{key}{bundle.SUFFIX}': name for key, name in NAMES.items()}
)


def get_expected():
  return {
    NAMES[key.removesuffix(bundle.SUFFIX)].removesuffix('_id17'): x
    for key, x in bundles.example_tensors().items()
  }


def assert_equal(tensors, expected):
  assert set(tensors) == set(expected)
  for name, tensor in tensors.items():
    np.testing.assert_array_equal(tensor, expected[name])
    assert tensor.dtype.kind == 'f' and tensor.shape == expected[name].shape


@pytest.mark.parametrize(
  'options',
  [{}, {'num_shards': 3}, {'snappy': True}, {'order': '>'}],
  ids=str,
)
def test_reads_what_was_written(tmp_path, options):
  prefix = tmp_path / 'variables' / 'variables'
  bundles.write_bundle(
    prefix, bundles.example_tensors(), graph=GRAPH, **options
  )
  index = prefix.with_name('variables.index')
  for path in (tmp_path, prefix.parent, prefix, index):
    tensors, attributes = bundle.read(path)
    assert_equal(tensors, get_expected())
    assert attributes == {}
  count = options.get('num_shards', 1)
  assert len(bundle.list_files(tmp_path)) == 1 + count


def test_keys_are_names_without_a_graph_and_bfloat16_is_widened(tmp_path):
  bits = np.array([[0x3F80, 0xC000], [0x7F80, 0x0001]], np.uint16)
  half = np.array([1.5, -2], np.float16)
  tensors = {'model/w': bits, 'model/v': half}
  bundles.write_bundle(tmp_path / 'model.ckpt-7', tensors)
  tensors, _ = bundle.read(tmp_path / 'model.ckpt-7')
  assert tensors['model/w'].dtype == np.float32
  np.testing.assert_array_equal(
    tensors['model/w'], [[1, -2], [np.inf, 2.0**-133]]
  )
  np.testing.assert_array_equal(tensors['model/v'], half)


def test_tensors_are_mapped_not_copied(tmp_path):
  tensors = {'w': np.zeros((1024, 4096), 'f4')}
  bundles.write_bundle(tmp_path / 'x', tensors)
  tracemalloc.start()
  tensors, _ = bundle.read(tmp_path / 'x')
  assert tracemalloc.get_traced_memory()[1] < 8 << 20
  tracemalloc.stop()
  assert not tensors['w'].flags.writeable


@pytest.mark.parametrize(
  ('data', 'checksum'),
  [
    (b'123456789', 0xE3069283),
    (bytes(32), 0x8A9136AA),
    (b'\xff' * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
  ],
)
def test_checksums_are_those_of_the_standard(data, checksum):
  assert crc32c.compute(data) == checksum


@pytest.mark.parametrize('size', [4095, 4096, 4097, 100_003, 1_050_001])
def test_checksums_by_lanes_equal_those_by_bytes(size):
  data = np.random.default_rng(size).integers(0, 256, size, np.uint8)
  assert crc32c.compute(data) == crc32c._run(data, 0xFFFFFFFF) ^ 0xFFFFFFFF


def get_message(path):
  with pytest.raises(errors.AvemoError) as caught:
    bundle.read(path)
  message = str(caught.value)
  assert '\n' not in message and str(path) in message
  return message


def test_refusals_name_the_way_out(tmp_path):
  assert 'no TensorFlow checkpoint' in get_message(tmp_path)
  bundles.write_bundle(tmp_path / 'x', bundles.example_tensors(), num_shards=2)
  shard = tmp_path / 'x.data-00001-of-00002'
  data = bytearray(shard.read_bytes())
  shard.unlink()
  assert 'missing' in get_message(tmp_path / 'x')
  data[0] ^= 1
  shard.write_bytes(data)
  assert 'checksum' in get_message(tmp_path / 'x')
  shard.write_bytes(data[:-1])
  assert 'beyond the end' in get_message(tmp_path / 'x')
  entry = bundles.write_entry(21, (), 0, 0, 0, 0)
  path = tmp_path / 'x.index'
  header = bundles.write_field(1, 2)
  path.write_bytes(bundles.write_table({b'': header, b'w': entry}))
  assert 'number 21 of' in get_message(tmp_path / 'x')
  entry += bundles.write_field(7, b'')
  path.write_bytes(bundles.write_table({b'': header, b'w': entry}))
  assert 'partitioned' in get_message(tmp_path / 'x')


def test_small_files_do_not_unfold_to_large_ones(tmp_path):
  bundles.write_bundle(tmp_path / 'x', bundles.example_tensors())
  # Each entry's key goes on from the one before it by one byte.
  step = b'\xff\xff\x7f\x01\x00x'
  grown = b''.join(bundles.write_varint(i) + step[3:] for i in range(100_000))
  block = bundles.seal(grown + bytes(4) + b'\x01\0\0\0\0')
  handle = bytes(1) + bundles.write_varint(len(block) - 5)
  index = bundles.write_block({b'x': handle})
  footer = bytes(2) + bundles.write_varint(len(block))
  footer += bundles.write_varint(len(index) - 5)
  path = tmp_path / 'x.index'
  path.write_bytes(block + index + footer.ljust(40, b'\0') + bundle.table.MAGIC)
  assert 'unfolds' in get_message(tmp_path / 'x')


def test_every_truncation_is_refused(tmp_path):
  bundles.write_bundle(tmp_path / 'x', bundles.example_tensors(), graph=GRAPH)
  for path in bundle.list_files(tmp_path / 'x'):
    whole = path.read_bytes()
    for length in range(0, len(whole), 3):
      path.write_bytes(whole[:length])
      get_message(tmp_path / 'x')
    path.write_bytes(whole)


def read_mutants(folder, count, seed):
  """Reads mutated checkpoints; says how many were refused."""
  generator = np.random.default_rng(seed)
  prefix = folder / 'x'
  refused = 0
  for i in range(count):
    tensors, graph = bundles.example_tensors(), GRAPH
    if i % 3 == 0:  # The checksum of the graph fits what it was made to be.
      graph = bundles.mutate(graph, generator)
    bundles.write_bundle(prefix, tensors, graph=graph)
    index = folder / 'x.index'
    if i % 3 == 1:  # The checksum of a block does.
      entries = bundle.table.read(index.read_bytes())
      keys = sorted(entries)
      key = keys[generator.integers(len(keys))]
      entries[key] = bundles.mutate(entries[key], generator)
      index.write_bytes(bundles.write_table(entries))
    elif i % 3 == 2:
      path = bundle.list_files(prefix)[generator.integers(2)]
      path.write_bytes(bundles.mutate(path.read_bytes(), generator))
    try:
      result, _ = bundle.read(prefix)
    except errors.AvemoError as error:
      assert '\n' not in str(error)
      refused += 1
      continue
    assert all(isinstance(x, np.ndarray) for x in result.values())
    if i % 3 == 2:
      # What no checksum covers holds nothing that is used.
      assert_equal(result, get_expected())
  return refused


def test_mutants_are_refused_or_harmless(tmp_path):
  tracemalloc.start()
  refused = read_mutants(tmp_path, 300, seed=0)
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert refused > 150
  assert peak < 4 << 20


@pytest.mark.slow
def test_many_mutants_are_refused_or_harmless(tmp_path):
  assert read_mutants(tmp_path, 10_000, seed=1) > 5000
