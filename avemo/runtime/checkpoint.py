"""Checkpoints: saved while training goes on, whole or not at all.

A checkpoint is a set of named items, each a tree of arrays. Orbax stores
arrays and JSON, so that loading one never runs code from it.
"""

import contextlib
import math
import os
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from avemo import errors


class Checkpoints:
  """The checkpoints of one run.

  Kept are the latest, the best and those at regular steps; a save removes the
  others. At equal metrics the earlier checkpoint is the better one.

  Args:
    directory: where they lie, one folder a step.
    metric: name of the metric that ranks them; None ranks none.
    mode: 'max' or 'min'.
    keep_latest: how many of the newest to keep, at least 1.
    keep_best: how many of the best to keep.
    keep_every: keep those at multiples of this step; 0 keeps none for it.
    read_only: neither create, clean up nor remove anything.
  """

  def __init__(
    self,
    directory: str | os.PathLike,
    *,
    metric: str | None = None,
    mode: str = 'max',
    keep_latest: int = 1,
    keep_best: int = 1,
    keep_every: int = 0,
    read_only: bool = False,
  ):
    if mode not in ('max', 'min'):
      raise errors.AvemoError(f"mode={mode!r}: use 'max' or 'min'")
    self.directory = pathlib.Path(directory).absolute()
    self._metric = metric
    self._sign = 1.0 if mode == 'max' else -1.0
    policies = [checkpoint_managers.LatestN(max(keep_latest, 1))]
    if metric is not None and keep_best:
      policies.append(
        checkpoint_managers.BestN(
          get_metric_fn=self._rank,
          n=keep_best,
          keep_checkpoints_without_metrics=False,
        )
      )
    if keep_every:
      policies.append(checkpoint_managers.EveryNSteps(keep_every))
    if read_only and not self.directory.is_dir():
      raise self._absent()
    with self._explained('could not be opened'):
      self._manager = ocp.CheckpointManager(
        self.directory,
        options=ocp.CheckpointManagerOptions(
          preservation_policy=checkpoint_managers.AnyPreservationPolicy(
            policies
          ),
          # Orbax stores metrics only where it is told to rank by them; what
          # to keep is the policies' decision alone.
          best_fn=self._rank if metric is not None else None,
          cleanup_tmp_directories=not read_only,
          read_only=read_only,
          create=not read_only,
        ),
        handler_registry=_make_registry(),
      )

  def steps(self) -> list[int]:
    """The steps of all whole checkpoints, in order."""
    return sorted(self._manager.all_steps())

  def latest_step(self) -> int | None:
    return max(self.steps(), default=None)

  def best_step(self) -> int | None:
    """The step of the best checkpoint; None where none carries the metric."""
    found = [
      (self._rank(metrics), step)
      for step in self.steps()
      if (metrics := self.metrics(step)) and self._metric in metrics
    ]
    return max(found)[1] if found else None

  def find_step(self, choice: str | int) -> int:
    """The step that a user means.

    Args:
      choice: 'best', 'last' or a step. A run without a metric has no best;
        there 'best' is the last.

    Raises:
      AvemoError: there is no such checkpoint.
    """
    steps = self.steps()
    if not steps:
      raise self._absent()
    if choice in ('best', 'last'):
      best = self.best_step() if choice == 'best' else None
      return steps[-1] if best is None else best
    if not str(choice).isdigit() or int(choice) not in steps:
      raise errors.AvemoError(
        f'{self.directory}: no checkpoint {choice!r}; there are: best, last, '
        f'{", ".join(map(str, steps))}'
      )
    return int(choice)

  def metrics(self, step: int) -> dict[str, float] | None:
    with self._explained(f'{step}: metrics are damaged', step):
      return self._manager.metrics(step)

  def save(
    self,
    step: int,
    items: Mapping[str, Any],
    metrics: Mapping[str, float] | None = None,
  ) -> bool:
    """Starts to save; the arrays may be donated as soon as this returns.

    Args:
      step: the number of finished steps; nothing happens if it is there.
      items: trees of arrays by name; those without a leaf are left out.
      metrics: of the evaluation at this step, if there was one.

    Returns:
      Whether a save was started.

    Raises:
      AvemoError: this save or the one before it could not be written.
    """
    if step in self._manager.all_steps():
      return False
    if metrics is not None:
      value = metrics.get(self._metric, math.nan)
      metrics = dict(metrics, step=step) if math.isfinite(value) else None
    saved = {
      name: ocp.args.PyTreeSave(item)
      for name, item in items.items()
      if _has_leaves(item)
    }
    with self._explained('a checkpoint could not be written'):
      return self._manager.save(
        step, args=ocp.args.Composite(**saved), metrics=metrics, force=True
      )

  def restore(self, step: int, items: Mapping[str, Any]) -> dict[str, Any]:
    """Loads items, bit by bit as they were saved.

    Args:
      step: of an existing checkpoint.
      items: by name, trees of `jax.ShapeDtypeStruct` with shardings; those
        without a leaf come back as they are. Items of the checkpoint that are
        not named are not read.

    Raises:
      AvemoError: the checkpoint is damaged, or holds other arrays.
    """
    wanted = {
      name: _ask_for(item) for name, item in items.items() if _has_leaves(item)
    }
    folder = self.directory / str(step)
    missing = [name for name in wanted if not (folder / name).is_dir()]
    if missing:
      raise errors.AvemoError(
        f'{folder}: the checkpoint has no {missing[0]!r}{self._way_out(step)}'
      )
    with self._explained(f'{step}: the checkpoint is damaged', step):
      for name, item in items.items():
        if name in wanted:
          self._compare(folder / name, item)
      restored = self._manager.restore(step, args=ocp.args.Composite(**wanted))
    return {name: restored.get(name, item) for name, item in items.items()}

  def reached_preemption(self, step: int) -> bool:
    """Whether the machines are about to be taken away; asked by all."""
    return self._manager.reached_preemption(step)

  def wait(self) -> None:
    """Returns when everything is on disk.

    Raises:
      AvemoError: a save could not be written.
    """
    with self._explained('a checkpoint could not be written'):
      self._manager.wait_until_finished()
      self._manager.check_for_errors()

  def close(self) -> None:
    with self._explained('a checkpoint could not be written'):
      self._manager.close()

  def _compare(self, folder: pathlib.Path, item: Any) -> None:
    # Orbax would tell of another shape too, array by array and at length.
    metadata = ocp.StandardCheckpointer().metadata(folder)
    found = _list_shapes(metadata.item_metadata.tree)
    wanted = _list_shapes(item)
    for name in sorted(found.keys() | wanted.keys()):
      if found.get(name) != wanted.get(name):
        raise errors.AvemoError(
          f'{folder}: {name} is {found.get(name, "absent")} in the checkpoint '
          f'and {wanted.get(name, "absent")} in this run; use the config that '
          'the checkpoint was trained with'
        )

  def _rank(self, metrics: Mapping[str, float]) -> tuple[float, float]:
    return self._sign * metrics[self._metric], -metrics['step']

  def _absent(self) -> errors.AvemoError:
    return errors.AvemoError(
      f'{self.directory}: no checkpoint; name the workdir of a run that has '
      'saved one'
    )

  def _way_out(self, step: int | None) -> str:
    if step is None:
      return ''
    others = [s for s in self.steps() if s != step]
    if not others:
      return '; remove the folder to begin anew'
    return f'; remove that folder to go on from step {others[-1]}'

  @contextlib.contextmanager
  def _explained(self, what: str, step: int | None = None) -> Iterator[None]:
    """One line for whatever the storage below raises."""
    try:
      yield
    except errors.AvemoError:
      raise
    except Exception as error:
      reason = find_reason(error)
      raise errors.AvemoError(
        f'{self.directory}/{what} ({reason}){self._way_out(step)}'
        if step is not None
        else f'{self.directory}: {what} ({reason}); run the same command again '
        'when that is mended: it goes on from the last whole checkpoint'
      ) from error


# What the system says of a disk, somewhere in a page of what Orbax says.
DISK = re.compile(
  'No space left on device|Disk quota exceeded|File too large|'
  'Read-only file system|Input/output error|Permission denied'
)


def find_reason(error: Exception) -> str:
  """In a line, why storing or loading failed."""
  text = ' '.join(str(error).split())
  found = DISK.search(text)
  return found[0] if found else text[:300] or type(error).__name__


def read_shapes(folder: pathlib.Path) -> dict[str, tuple[int, ...]]:
  """Shapes by name, such as 'video/patch_embed/kernel', of an item's folder.

  Raises:
    AvemoError: the folder holds no tree of arrays.
  """
  with _explained(folder):
    # Orbax says of an empty folder that it holds nothing at all.
    metadata = ocp.StandardCheckpointer().metadata(folder.absolute())
    shapes = _list_shapes(metadata.item_metadata.tree)
  return shapes


def read_arrays(
  folder: pathlib.Path, wanted: Mapping[str, jax.ShapeDtypeStruct]
) -> dict[str, jax.Array]:
  """Some of the arrays of an item's folder; the others are not read.

  Args:
    folder: holds a tree of arrays, as each item of a checkpoint does.
    wanted: by name, with shardings and the shapes of `read_shapes`.

  Returns:
    Arrays by name.

  Raises:
    AvemoError: the folder is damaged.
  """
  if not wanted:
    return {}
  tree = nest(wanted)
  with _explained(folder), ocp.PyTreeCheckpointer() as checkpointer:
    restored = checkpointer.restore(
      folder.absolute(),
      args=_ask_for(tree, partial_restore=True),
    )
  return flatten(restored)


def write_arrays(folder: pathlib.Path, tree: Mapping[str, Any]) -> None:
  """Stores a nested dict of arrays in a new folder, for `read_arrays`."""
  with ocp.Checkpointer(_make_handler()) as checkpointer:
    checkpointer.save(folder.absolute(), ocp.args.PyTreeSave(dict(tree)))


def _make_handler() -> ocp.PyTreeCheckpointHandler:
  # Random mantissas: compressing takes off a tenth, for three times the work.
  return ocp.PyTreeCheckpointHandler(use_compression=False)


def _make_registry() -> ocp.handlers.CheckpointHandlerRegistry:
  registry, handler = (
    ocp.handlers.DefaultCheckpointHandlerRegistry(),
    _make_handler(),
  )
  for arguments in (ocp.args.PyTreeSave, ocp.args.PyTreeRestore):
    registry.add(None, arguments, handler)
  return registry


def _ask_for(item: Any, **options: Any) -> ocp.args.PyTreeRestore:
  """What restores a tree to the devices that its shapes name."""
  return ocp.args.PyTreeRestore(
    item=item,
    restore_args=ocp.checkpoint_utils.construct_restore_args(item),
    **options,
  )


def nest(leaves: Mapping[str, Any]) -> dict[str, Any]:
  """A nested dict of leaves whose names have slashes between the keys."""
  tree: dict[str, Any] = {}
  for name, leaf in leaves.items():
    *parents, last = name.split('/')
    branch = tree
    for key in parents:
      branch = branch.setdefault(key, {})
    branch[last] = leaf
  return tree


def flatten(tree: Any) -> dict[str, Any]:
  """Leaves by name, with slashes between the keys."""
  leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): leaf
    for path, leaf in leaves
  }


@contextlib.contextmanager
def _explained(folder: pathlib.Path) -> Iterator[None]:
  try:
    yield
  except Exception as error:
    reason = ' '.join(str(error).split())[:300] or type(error).__name__
    raise errors.AvemoError(
      f'{folder}: no arrays can be read there ({reason})'
    ) from error


def _list_shapes(tree: Any) -> dict[str, tuple[int, ...]]:
  return {name: tuple(leaf.shape) for name, leaf in flatten(tree).items()}


def _has_leaves(tree: Any) -> bool:
  return bool(jax.tree.leaves(tree))
