"""Placement of leaves and batches on eight devices."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from avemo import errors
from avemo.runtime import mesh as mesh_lib


def shape(*sizes):
  return jax.ShapeDtypeStruct(sizes, jnp.float32)


PARAMS = {
  'video': {
    'encoder': {
      'blocks': {
        'fc1': {'kernel': shape(512, 64, 256), 'bias': shape(512, 256)},
        'attn': {'kernel': shape(512, 7, 100)},
      }
    },
    'patch': {'kernel': shape(1024, 1024)},
  },
  'head': {'kernel': shape(512, 6), 'odd': shape(1021, 1021)},
}


def specs(placement):
  return jax.tree.map(lambda s: s.spec, placement.shardings)


def test_mesh_takes_what_is_left_and_types_its_axes_auto():
  mesh = mesh_lib.make_mesh(-1, 2)
  assert dict(mesh.shape) == {'data': 4, 'fsdp': 2}
  assert set(mesh.axis_types) == {AxisType.Auto}
  assert mesh_lib.make_mesh(1, -1).shape['fsdp'] == 8
  assert mesh_lib.make_mesh(devices=jax.devices()[:1]).size == 1
  for sizes in ((3, 2), (-1, 3), (-1, -1), (0, 8)):
    with pytest.raises(errors.AvemoError, match='8 devices'):
      mesh_lib.make_mesh(*sizes)


def test_large_leaves_are_split_but_never_over_layers():
  mesh = mesh_lib.make_mesh(2, 4)
  placement = mesh_lib.place_params(PARAMS, mesh)
  found = specs(placement)
  blocks = found['video']['encoder']['blocks']
  assert blocks['fc1']['kernel'] == P(None, None, 'fsdp')
  assert blocks['attn']['kernel'] == P(None, None, 'fsdp')
  assert found['video']['patch']['kernel'] == P(None, 'fsdp')
  # Small, and indivisible.
  assert set(placement.replicated) == {
    'video/encoder/blocks/fc1/bias',
    'head/kernel',
    'head/odd',
  }
  assert 'head/odd (1021, 1021)' in mesh_lib.describe(PARAMS, placement)
  assert 'head/kernel' not in mesh_lib.describe(PARAMS, placement)


def test_nothing_is_split_without_fsdp():
  placement = mesh_lib.place_params(PARAMS, mesh_lib.make_mesh())
  assert len(placement.replicated) == len(jax.tree.leaves(PARAMS))


def test_rules_come_first_and_must_match_and_fit():
  mesh = mesh_lib.make_mesh(2, 4)
  rules = ((r'head/kernel', ('fsdp', None)), (r'.*/patch/.*', [['data']]))
  found = specs(mesh_lib.place_params(PARAMS, mesh, rules))
  assert found['head']['kernel'] == P('fsdp', None)
  assert found['video']['patch']['kernel'] == P(('data',))
  with pytest.raises(errors.AvemoError, match="'heads/.*' matches no"):
    mesh_lib.place_params(PARAMS, mesh, ((r'heads/.*', ()),))
  for spec in ((None, 'fsdp'), ('model',), (None, None, 'fsdp')):
    with pytest.raises(errors.AvemoError, match='does not fit head/kernel'):
      mesh_lib.place_params(PARAMS, mesh, ((r'head/kernel', spec),))


def test_optimiser_and_averages_follow_their_parameter():
  mesh = mesh_lib.make_mesh(2, 4)
  placement = mesh_lib.place_params(PARAMS, mesh)
  tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3))
  state = {
    'opt_state': jax.eval_shape(tx.init, PARAMS),
    'ema': PARAMS,
    'step': shape(),
  }
  found = mesh_lib.place_like(state, PARAMS, placement)
  adam = found['opt_state'][1][0]
  for tree in (adam.mu, adam.nu, found['ema']):
    assert tree == placement.shardings
  assert adam.count.spec == found['step'].spec == P()


def test_batches_are_split_over_both_axes():
  mesh = mesh_lib.make_mesh(4, 2)
  rows = np.arange(32).reshape(16, 2)
  batch = mesh_lib.shard_batch({'x': rows}, mesh)
  np.testing.assert_array_equal(batch['x'], rows)
  assert {s.data.shape for s in batch['x'].addressable_shards} == {(2, 2)}
  mesh_lib.check_batch_size(16, mesh)
  with pytest.raises(errors.AvemoError, match='multiple of 8'):
    mesh_lib.check_batch_size(12, mesh)


def test_put_places_host_arrays():
  mesh = mesh_lib.make_mesh(1, 8)
  placement = mesh_lib.place_params({'w': shape(512, 1024)}, mesh)
  rows = np.arange(512 * 1024, dtype=np.float32).reshape(512, 1024)
  placed = mesh_lib.put({'w': rows}, placement.shardings)['w']
  np.testing.assert_array_equal(placed, rows)
  assert placed.sharding.spec == P(None, 'fsdp')
