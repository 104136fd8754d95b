"""Where weights come from: arrays, a folder of them, a run, a conversion."""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from avemo.runtime import checkpoint as checkpoint_lib
from avemo.runtime import workdirs

Shapes = Mapping[str, tuple[int, ...]]


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


def of_arrays(tree: Mapping[str, Any], path: str = 'arrays') -> Source:
  """A source of a nested dict of arrays that every process holds."""
  leaves = checkpoint_lib.flatten(tree)

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
  """What was trained before.

  Attributes:
    params: its parameters.
    batch_stats: the batch statistics that go with them, if any.
    about: the run's config, or what a conversion says of its weights; `model`
      in it is the model's section.
  """

  params: Source
  batch_stats: Source | None
  about: Mapping[str, Any]


def open_trained(path: str | pathlib.Path, checkpoint: str | int) -> Trained:
  """What a run has trained (its average, where it kept one), or a conversion.

  Args:
    path: the workdir of a run, or a directory of converted weights.
    checkpoint: of a run: 'best', 'last' or a step.

  Raises:
    AvemoError: it is neither, or damaged.
  """
  stored = workdirs.find_stored(path, checkpoint)
  stats = stored.batch_stats
  return Trained(
    params=of_folder(stored.params),
    batch_stats=of_folder(stats) if stats.is_dir() else None,
    about=stored.about,
  )
