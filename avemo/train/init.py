"""Towers that start from weights trained before, the rest from chance."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from avemo import errors
from avemo.models import sections
from avemo.runtime import checkpoint as checkpoint_lib
from avemo.runtime import mesh as mesh_lib
from avemo.train import optim, settings, sources
from avemo.train.state import TrainState

TOWERS = {'video': sections.VIDEO_TOWERS, 'audio': sections.AUDIO_TOWERS}

# Keys of a config's section.
KEYS = ('video', 'audio', 'checkpoint', 'skip')

# Fields of a tower that do not change what its weights mean, or that show in
# their shapes.
FREE = (
  'variant',
  'width',
  'depth',
  'num_heads',
  'drop_path',
  'dropout',
  'frozen_blocks',
  'remat',
  'implementation',
  'dtype',
)

# From an array and the shape that is wanted to an array of that shape.
Resize = Callable[[np.ndarray, tuple[int, ...]], np.ndarray]
FindResizes = Callable[[str, Mapping[str, Any]], Mapping[str, Resize]]


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
  source: sources.Source | Mapping[str, Any],
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
    source = sources.of_arrays(source)
  if part not in params:
    raise errors.AvemoError(
      f'init.{part}: the model has no {part} tower; it has {", ".join(params)}'
    )
  leaves = checkpoint_lib.flatten(params)
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
  wanted: sources.Shapes,
  found: sources.Shapes,
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


# ---------------------------------------------------------------- the state


def initialize(
  state: TrainState,
  model: Mapping[str, Any],
  find_resizes: FindResizes | None = None,
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
    model: the config's section.
    find_resizes: from a part's name and what is known of its source to the
      `resizes` of `load`; None resizes nothing.
    video: workdir of a run, or converted weights; None leaves the tower.
    audio: likewise.
    checkpoint: of a run: 'best', 'last' or a step.
    skip: see `load`.

  Returns:
    The state, and lines that say what was done.

  Raises:
    AvemoError: see `load` and `sources.open_trained`.
  """
  parts = {'video': video, 'audio': audio}
  trained = {
    part: sources.open_trained(path, checkpoint)
    for part, path in parts.items()
    if path
  }
  check_skip(skip, state.params, trained)
  values, lines = dict(vars(state)), []
  for part, source in trained.items():
    resizes = find_resizes(part, source.about) if find_resizes else {}
    values['params'], account = load(
      values['params'], source.params, part, skip=skip, resizes=resizes
    )
    if values['ema']:
      values['ema'] = refresh(values['ema'], values['params'], account.loaded)
    if source.batch_stats and part in values['batch_stats']:
      values['batch_stats'], _ = load(
        values['batch_stats'], source.batch_stats, part, skip=skip
      )
    lines.append(describe(part, source.params, account))
    lines += find_differences(part, source.about.get('model', {}), model)
  return TrainState(**values), lines


def check_skip(
  skip: Sequence[str], params: Any, trained: Mapping[str, sources.Trained]
) -> None:
  """Raises an AvemoError for a regex that matches no leaf anywhere."""
  names = {
    name
    for part, source in trained.items()
    for name in (*checkpoint_lib.flatten(params), *source.params.shapes)
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
  leaves, new = checkpoint_lib.flatten(average), checkpoint_lib.flatten(params)
  for name in names:
    leaves[name].delete()
    # A copy, for a step donates both.
    leaves[name] = new[name].copy()
  return checkpoint_lib.nest(leaves)


def describe(part: str, source: sources.Source, account: Account) -> str:
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


def find_differences(
  part: str, there: Mapping[str, Any], here: Mapping[str, Any]
) -> list[str]:
  """Lines for what gives the same weights another meaning.

  Args:
    part: 'video' or 'audio'.
    there: the section of the model that the weights come from.
    here: that of the model that takes them.
  """
  old, new = (read_tower(part, section) for section in (there, here))
  return [
    f'init.{part}: warning: {name} is {old[name]!r} there and {new[name]!r} '
    'here'
    for name in sorted(old.keys() & new.keys())
    if old[name] != new[name]
  ]


def read_tower(part: str, model: Mapping[str, Any]) -> dict[str, Any]:
  """What decides how a tower's weights act, with its defaults."""
  section = dict(model.get(part, {}))
  name = section.setdefault('name', next(iter(TOWERS[part])))
  fields = (
    dataclasses.fields(TOWERS[part][name]) if name in TOWERS[part] else ()
  )
  values = {f.name: f.default for f in fields if f.init} | section
  if part == 'audio':
    values['features'] = dict(model.get('features', {}))
  # As JSON gives them back.
  return {
    key: list(value) if isinstance(value, tuple) else value
    for key, value in values.items()
    if key not in (*FREE, 'parent')
  }


def check(section: Mapping[str, Any]) -> dict[str, Any]:
  """The options of `initialize` that a config's section holds."""
  options, _ = settings.split('init', section, KEYS, ('allow_overlap',))
  return options
