"""Towers that start from weights trained before, the rest from chance."""

import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from avemo import errors
from avemo.evaluate import restore
from avemo.runtime import checkpoint as checkpoint_lib
from avemo.runtime import mesh as mesh_lib
from avemo.train import optim, settings
from avemo.train.state import TrainState

PARTS = ('video', 'audio')

Shapes = Mapping[str, tuple[int, ...]]
# From an array and the shape that is wanted to an array of that shape.
Resize = Callable[[np.ndarray, tuple[int, ...]], np.ndarray]


class Source(NamedTuple):
  """Arrays that are read when it is known where they will lie.

  Attributes:
    path: of whatever holds them, for messages.
    shapes: by name, such as 'video/patch_embed/kernel'.
    read: from `jax.ShapeDtypeStruct`s with shardings, by name and of the
      shapes above, to arrays by name.
  """

  path: str
  shapes: Shapes
  read: Callable[[Mapping[str, jax.ShapeDtypeStruct]], Mapping[str, jax.Array]]


class Account(NamedTuple):
  """What became of a tower's leaves, by name.

  Attributes:
    loaded: taken as they are, or resized.
    resized: those of `loaded` that had another shape.
    fresh: not in the source, or skipped; they start from chance.
    ignored: in the source, and not in the model.
  """

  loaded: tuple[str, ...]
  resized: tuple[str, ...]
  fresh: tuple[str, ...]
  ignored: tuple[str, ...]


def load(
  params: Mapping[str, Any],
  source: Source | Mapping[str, Any],
  part: str,
  *,
  skip: Sequence[str] = (),
  resizes: Mapping[str, Resize] | None = None,
) -> tuple[dict[str, Any], Account]:
  """Parameters with one part of them taken from a source.

  Leaves that are replaced are deleted before the new ones are read, so that
  no device ever holds a tower twice.

  Args:
    params: a nested dict of arrays, whose shardings the new ones get.
    source: where the new ones are; a nested dict of arrays is one, too, and
      of arrays mapped from a file each device reads its own share.
    part: the key of `params` to fill, such as 'video'.
    skip: regexes; a leaf whose whole name one of them matches starts fresh.
    resizes: by regex of names, what makes one shape of another.

  Returns:
    A new nested dict, and what was done.

  Raises:
    AvemoError: a leaf has another shape, or a matrix is missing, and neither
      is skipped; or the source has nothing of this part.
  """
  if isinstance(source, Mapping):
    source = of_arrays(source)
  if part not in params:
    raise errors.AvemoError(
      f'init.{part}: the model has no {part} tower; it has {", ".join(params)}'
    )
  leaves = flatten(params)
  account = match(
    {k: v.shape for k, v in leaves.items() if k.startswith(f'{part}/')},
    {k: v for k, v in source.shapes.items() if k.startswith(f'{part}/')},
    f'init.{part}: {source.path}',
    skip,
    tuple(resizes or {}),
  )
  wanted = {}
  for name in account.loaded:
    old = leaves[name]
    sharding = old.sharding
    if name in account.resized:
      # Small, and needed whole to be resized.
      sharding = mesh_lib.replicated(sharding.mesh)
    wanted[name] = jax.ShapeDtypeStruct(
      source.shapes[name], old.dtype, sharding=sharding
    )
    old.delete()
  new = dict(source.read(wanted))
  for name in account.resized:
    old, resize = leaves[name], find(name, resizes)
    array = np.asarray(resize(np.asarray(new[name]), old.shape), old.dtype)
    new[name] = mesh_lib.put(array, old.sharding)
  return checkpoint_lib.nest(leaves | new), account


def match(
  wanted: Shapes,
  found: Shapes,
  where: str,
  skip: Sequence[str] = (),
  resized: Sequence[str] = (),
) -> Account:
  """Decides what to do with each leaf, by name and shape.

  Args:
    wanted: of the model's part.
    found: of the source's.
    where: beginning of an error's message.
    skip: see `load`.
    resized: regexes of names whose shape may differ.

  Raises:
    AvemoError: as `load`.
  """
  if not found:
    raise errors.AvemoError(f'{where}: holds nothing of such a tower')
  loaded, changed, fresh = [], [], []
  for name, shape in wanted.items():
    if any(re.fullmatch(pattern, name) for pattern in skip):
      fresh.append(name)
    elif name not in found:
      if is_matrix(name, shape):
        raise errors.AvemoError(
          f'{where}: has no {name} {shape}; add {name!r} to init.skip to '
          'train it from chance'
        )
      fresh.append(name)
    elif found[name] == shape:
      loaded.append(name)
    elif any(re.fullmatch(pattern, name) for pattern in resized):
      loaded.append(name)
      changed.append(name)
    else:
      raise errors.AvemoError(
        f'{where}: {name} is {found[name]} there and {shape} in this model; '
        f'give the model the sizes of the weights, or add {name!r} to '
        'init.skip to train it from chance'
      )
  return Account(
    loaded=tuple(loaded),
    resized=tuple(changed),
    fresh=tuple(fresh),
    ignored=tuple(name for name in found if name not in wanted),
  )


def is_matrix(name: str, shape: tuple[int, ...]) -> bool:
  """Whether a tower without this leaf's weights would be another tower.

  Norms and biases start as the identity, so that a source may lack them.
  """
  shape = shape[1:] if optim.is_stacked(name) else shape
  return sum(size > 1 for size in shape) > 1 and not name.endswith('/bias')


def find(name: str, table: Mapping[str, Any]) -> Any:
  """The first entry whose regex matches the whole name."""
  return next(v for pattern, v in table.items() if re.fullmatch(pattern, name))


def flatten(tree: Any) -> dict[str, Any]:
  """Leaves by name."""
  paths = jax.tree_util.tree_flatten_with_path(tree)[0]
  return {mesh_lib.name_of(path): leaf for path, leaf in paths}


# ------------------------------------------------------------------ sources


def of_arrays(tree: Mapping[str, Any], path: str = 'arrays') -> Source:
  """A source of a nested dict of arrays that every process holds."""
  leaves = flatten(tree)

  def place(leaf, like):
    return jax.make_array_from_callback(
      like.shape,
      like.sharding,
      lambda index: np.asarray(leaf[index], like.dtype),
    )

  return Source(
    path,
    {name: tuple(leaf.shape) for name, leaf in leaves.items()},
    lambda wanted: {k: place(leaves[k], like) for k, like in wanted.items()},
  )


def of_folder(folder: pathlib.Path) -> Source:
  """A source of a folder in which Orbax has stored a tree of arrays."""
  return Source(
    str(folder),
    checkpoint_lib.read_shapes(folder),
    lambda wanted: checkpoint_lib.read_arrays(folder, wanted),
  )


class Trained(NamedTuple):
  """Parameters, and the batch statistics that go with them, if any."""

  params: Source
  batch_stats: Source | None


def open_trained(path: str | pathlib.Path, checkpoint: str | int) -> Trained:
  """What a run has trained (its average, where it kept one), or a conversion.

  Args:
    path: the workdir of a run, or a directory of converted weights.
    checkpoint: of a run: 'best', 'last' or a step.

  Raises:
    AvemoError: it is neither, or damaged.
  """
  path = pathlib.Path(path).expanduser()
  if (path / 'model.json').is_file():
    folder, kept = path, 'params'
  elif (path / 'config.json').is_file():
    config = restore.read_json(path / 'config.json')
    store = restore.open_checkpoints(path, config)
    folder = store.directory / str(store.find_step(checkpoint))
    store.close()
    kept = restore.find_kept(config)
  else:
    raise errors.AvemoError(
      f'{path}: neither the workdir of a training run nor converted weights'
    )
  stats = folder / 'batch_stats'
  return Trained(
    of_folder(folder / kept), of_folder(stats) if stats.is_dir() else None
  )


# ---------------------------------------------------------------- the state


def initialize(
  state: TrainState,
  *,
  video: str | None = None,
  audio: str | None = None,
  checkpoint: str | int = 'best',
  skip: Sequence[str] = (),
) -> tuple[TrainState, list[str]]:
  """The state before the first step, with towers from elsewhere.

  The average of the parameters starts from them as well.

  Args:
    state: fresh; leaves that are replaced are deleted.
    video: workdir of a run, or converted weights; None leaves the tower.
    audio: likewise.
    checkpoint: of a run: 'best', 'last' or a step.
    skip: see `load`.

  Returns:
    The state, and a line a tower that says what was done.

  Raises:
    AvemoError: see `load` and `open_trained`.
  """
  parts = {'video': video, 'audio': audio}
  parts = {name: path for name, path in parts.items() if path}
  trained = {k: open_trained(v, checkpoint) for k, v in parts.items()}
  check_skip(skip, state.params, trained)
  values, lines = vars(state), []
  for part, (params, batch_stats) in trained.items():
    new, account = load(values['params'], params, part, skip=skip)
    values = values | {'params': new}
    if values['ema']:
      ema = refresh(values['ema'], new, account.loaded)
      values = values | {'ema': ema}
    if batch_stats and part in values['batch_stats']:
      new, _ = load(values['batch_stats'], batch_stats, part, skip=skip)
      values = values | {'batch_stats': new}
    lines.append(describe(part, params, account))
  return TrainState(**values), lines


def check_skip(
  skip: Sequence[str], params: Any, trained: Mapping[str, Trained]
) -> None:
  """Raises an AvemoError for a regex that matches no leaf anywhere."""
  names = {
    name
    for part, source in trained.items()
    for name in (*flatten(params), *source.params.shapes)
    if name.startswith(f'{part}/')
  }
  for pattern in skip:
    if not any(re.fullmatch(pattern, name) for name in names):
      raise errors.AvemoError(
        f'init.skip: {pattern!r} matches no parameter; names look like '
        f'{", ".join(sorted(names)[:3]) or "video/… (nothing is loaded)"}'
      )


def refresh(average: Any, params: Any, names: Sequence[str]) -> Any:
  """The average with the named leaves as copies of the parameters."""
  leaves, new = flatten(average), flatten(params)
  for name in names:
    leaves[name].delete()
    # A copy, for a step donates both.
    leaves[name] = new[name].copy()
  return checkpoint_lib.nest(leaves)


def describe(part: str, source: Source, account: Account) -> str:
  """What was done with a tower, in one line."""
  count = sum(
    int(np.prod(source.shapes[name], dtype=np.int64)) for name in account.loaded
  )
  text = (
    f'init.{part}: {count:,} parameters in {len(account.loaded)} leaves from '
    f'{source.path}'
  )
  for kind in ('resized', 'fresh', 'ignored'):
    names = getattr(account, kind)
    text += f'; {kind}: {", ".join(names) or "none"}'
  return text


def check(section: Mapping[str, Any]) -> dict[str, Any]:
  """The arguments of `initialize` in a config's section."""
  (options,) = settings.split('init', section, initialize)
  return options
