"""The device mesh, and where every leaf of a state lies on it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from avemo import errors

AXES = ('data', 'fsdp')

# Below this a gather costs more than the memory that a split would save.
SMALLEST_SPLIT = 1 << 20

# Leaves under `blocks/` are stacked by layer: [L, ...].
STACKED = r'(.*/)?blocks/.*'

Rule = tuple[str, Sequence[str | None]]


def make_mesh(
  data: int = -1,
  fsdp: int = 1,
  *,
  devices: Sequence[jax.Device] | None = None,
) -> jax.sharding.Mesh:
  """The mesh ('data', 'fsdp') over all devices.

  Args:
    data: devices along the batch axis only; -1 takes what `fsdp` leaves.
    fsdp: devices over which parameters are split as well; -1 takes what
      `data` leaves.
    devices: None is every device of every process.

  Raises:
    AvemoError: the two do not multiply to the number of devices.
  """
  devices = list(jax.devices() if devices is None else devices)
  count = len(devices)
  if data == -1 and fsdp > 0:
    data = count // fsdp
  elif fsdp == -1 and data > 0:
    fsdp = count // data
  if data < 1 or fsdp < 1 or data * fsdp != count:
    raise errors.AvemoError(
      f'mesh: data={data} times fsdp={fsdp} is not the {count} devices here; '
      'set one of the two to -1'
    )
  # The default axis type is Explicit, which puts shardings into types.
  return jax.make_mesh(
    (data, fsdp), AXES, axis_types=(AxisType.Auto,) * 2, devices=devices
  )


def replicated(mesh: jax.sharding.Mesh) -> NamedSharding:
  return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: jax.sharding.Mesh) -> NamedSharding:
  """The first axis over all devices."""
  return NamedSharding(mesh, PartitionSpec(AXES))


def check_batch_size(batch_size: int, mesh: jax.sharding.Mesh) -> None:
  """Raises an AvemoError when a batch cannot be split over the mesh."""
  if batch_size % mesh.size:
    raise errors.AvemoError(
      f'batch_size={batch_size} cannot be split over {mesh.size} devices; '
      f'use a multiple of {mesh.size}'
    )


def shard_batch(
  batch: Mapping[str, np.ndarray], mesh: jax.sharding.Mesh
) -> dict[str, jax.Array]:
  """Global arrays [B, ...] from this process's rows of the batch."""
  sharding = batch_sharding(mesh)
  return {
    name: jax.make_array_from_process_local_data(sharding, np.asarray(value))
    for name, value in batch.items()
  }


def put(tree: Any, shardings: Any) -> Any:
  """Places host arrays that every process holds whole."""

  def place(leaf, sharding):
    leaf = np.asarray(leaf)
    return jax.make_array_from_callback(
      leaf.shape, sharding, lambda index: leaf[index]
    )

  return jax.tree.map(place, tree, shardings)


def name_of(path: tuple[Any, ...]) -> str:
  """A leaf's path in a tree, such as `video/encoder/blocks/fc1/kernel`."""
  return jax.tree_util.keystr(path, simple=True, separator='/')


class Placement(NamedTuple):
  """Shardings of parameters.

  Attributes:
    shardings: a sharding a leaf, in the parameters' structure.
    replicated: names of the leaves that every device holds whole.
  """

  shardings: Any
  replicated: tuple[str, ...]


def place_params(
  params: Any,
  mesh: jax.sharding.Mesh,
  rules: Sequence[Rule] = (),
  *,
  smallest: int = SMALLEST_SPLIT,
) -> Placement:
  """Splits large parameters over `fsdp`; the rest is on every device.

  A leaf of at least `smallest` bytes is split along its largest axis that
  `fsdp` divides, the last such axis at a tie, and never along the layer axis
  of a stack: a scan would gather the whole stack at every layer.

  Args:
    params: arrays or their shapes, a nested dict.
    mesh: from `make_mesh`.
    rules: (regex, spec) pairs. The first whose regex matches a whole name
      decides; spec names a mesh axis, or None, for each axis of the leaf.
    smallest: bytes.

  Raises:
    AvemoError: a rule that no leaf matches or that does not fit its leaf.
  """
  used = set()
  whole = []

  def place(path, leaf):
    name = name_of(path)
    for pattern, spec in rules:
      if re.fullmatch(pattern, name):
        used.add(pattern)
        sharding = _follow_rule(name, leaf, mesh, pattern, spec)
        break
    else:
      spec = _choose_split(name, leaf, mesh.shape['fsdp'], smallest)
      sharding = NamedSharding(mesh, spec)
    if sharding.is_fully_replicated:
      whole.append(name)
    return sharding

  shardings = jax.tree_util.tree_map_with_path(place, params)
  unused = [pattern for pattern, _ in rules if pattern not in used]
  if unused:
    raise errors.AvemoError(
      f'sharding rule {unused[0]!r} matches no parameter that an earlier rule '
      f'left; names look like {_show_names(params)}'
    )
  return Placement(shardings, tuple(whole))


def _follow_rule(name, leaf, mesh, pattern, spec) -> NamedSharding:
  try:
    if len(spec) > leaf.ndim:
      raise ValueError(f'{len(spec)} axes for {leaf.ndim}')
    # From a config's file a spec comes back as lists.
    axes = [tuple(a) if isinstance(a, list) else a for a in spec]
    sharding = NamedSharding(mesh, PartitionSpec(*axes))
    sharding.shard_shape(leaf.shape)
  except (ValueError, TypeError) as error:
    raise errors.AvemoError(
      f'sharding rule {pattern!r}: {tuple(spec)} does not fit {name} '
      f'{tuple(leaf.shape)} on the mesh {dict(mesh.shape)}'
    ) from error
  return sharding


def _choose_split(name, leaf, parts, smallest) -> PartitionSpec:
  size = leaf.size * np.dtype(leaf.dtype).itemsize
  if parts == 1 or size < smallest:
    return PartitionSpec()
  first = 1 if is_stacked(name) else 0
  axes = [a for a in range(first, leaf.ndim) if leaf.shape[a] % parts == 0]
  if not axes:
    return PartitionSpec()
  axis = max(axes, key=lambda a: (leaf.shape[a], a))
  spec = [None] * leaf.ndim
  spec[axis] = 'fsdp'
  return PartitionSpec(*spec)


def is_stacked(name: str) -> bool:
  """Whether a leaf has a first axis of layers."""
  return re.fullmatch(STACKED, name) is not None


def _show_names(tree: Any) -> str:
  paths = jax.tree_util.tree_flatten_with_path(tree)[0]
  return ', '.join(name_of(path) for path, _ in paths[:3])


def place_like(tree: Any, params: Any, placement: Placement) -> Any:
  """Shardings of a state: what follows a parameter lies where that one lies.

  A leaf follows the parameter whose name its own name ends with, if the two
  have one shape: moments of the optimiser, averages of the parameters. All
  other leaves are on every device.

  Args:
    tree: arrays or their shapes.
    params: as given to `place_params`.
    placement: from `place_params`.

  Returns:
    A sharding a leaf, in the tree's structure.
  """
  leaves = jax.tree_util.tree_flatten_with_path(params)[0]
  shardings = jax.tree.leaves(placement.shardings)
  table = {
    name_of(path): (leaf.shape, sharding)
    for (path, leaf), sharding in zip(leaves, shardings, strict=True)
  }
  everywhere = replicated(shardings[0].mesh)

  def place(path, leaf):
    parts = name_of(path).split('/')
    for start in range(len(parts)):
      found = table.get('/'.join(parts[start:]))
      if found and found[0] == leaf.shape:
        return found[1]
    return everywhere

  return jax.tree_util.tree_map_with_path(place, tree)


def describe(params: Any, placement: Placement) -> str:
  """What is split and what is not, in one paragraph."""
  total = sum(x.size for x in jax.tree.leaves(params))
  leaves = jax.tree_util.tree_flatten_with_path(params)[0]
  whole = set(placement.replicated)
  large = [
    f'{name_of(path)} {tuple(leaf.shape)}'
    for path, leaf in leaves
    if name_of(path) in whole and leaf.size * 4 >= SMALLEST_SPLIT
  ]
  text = (
    f'{total:,} parameters in {len(leaves)} leaves, {len(whole)} of them on '
    'every device'
  )
  return f'{text}; large ones: {", ".join(large)}' if large else text
