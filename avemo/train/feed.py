"""What a run reads: a dataset, its fold, and the batches made of them."""

import dataclasses
import os
from typing import Any

import jax
import numpy as np

from avemo import errors
from avemo.data import folds, labels, pipeline, schema
from avemo.data.clips import ClipOptions
from avemo.runtime import mesh as mesh_lib


@dataclasses.dataclass(frozen=True)
class Feed:
  """A dataset divided for one run.

  Attributes:
    dataset: open for reading.
    labels: the classes of the head.
    options: how a record becomes a clip.
    train: records to train on, all of them of use.
    val: records to choose on; empty where nothing is chosen.
    batch_size: B over all hosts.
    seed: of order and draws.
    workers: processes that decode on each host.
    balanced: see `pipeline.train_batches`.
    soft_labels: likewise.
    shuffle_labels: deal the training labels out anew, by the seed.
    unlabelled: train on records without a label as well.
    num_without_input: records left out, for they lack every modality in use.
    num_without_label: records left out, for they have no label.
  """

  dataset: Any
  labels: labels.LabelSpace
  options: ClipOptions
  train: np.ndarray
  val: np.ndarray
  batch_size: int
  seed: int
  workers: int = 0
  balanced: bool = False
  soft_labels: str | None = None
  shuffle_labels: bool = False
  unlabelled: bool = False
  num_without_input: int = 0
  num_without_label: int = 0

  def train_batches(self, first_step: int) -> pipeline.Batches:
    """Batches of this host from `first_step` on."""
    return pipeline.train_batches(
      self.dataset,
      self.train,
      self.labels,
      options=self.options,
      batch_size=self.batch_size,
      seed=self.seed,
      first_step=first_step,
      host=jax.process_index(),
      num_hosts=jax.process_count(),
      workers=self.workers,
      balanced=self.balanced,
      soft_labels=self.soft_labels,
      shuffle_labels_seed=self.seed if self.shuffle_labels else None,
      unlabelled=self.unlabelled,
    )

  def train_targets(self) -> np.ndarray:
    """Targets of the records that are trained on, [N, C]."""
    table = pipeline.make_table(
      self.dataset, self.labels, soft_labels=self.soft_labels
    )
    return table.target[self.train]


def make_feed(
  mesh: jax.sharding.Mesh,
  dataset: Any | None = None,
  *,
  seed: int,
  options: ClipOptions,
  data_dir: str | os.PathLike | None = None,
  name: str,
  protocol: str,
  fold: int = 0,
  batch_size: int,
  workers: int = 0,
  balanced: bool = False,
  soft_labels: str | None = None,
  shuffle_labels: bool = False,
  refit: bool = False,
  unlabelled: bool = False,
) -> Feed:
  """Opens a dataset and divides it.

  Args:
    mesh: over which batches are sharded.
    dataset: one that is open already; `name` and `data_dir` are then unused.
    seed: of order and draws.
    options: how a record becomes a clip.
    data_dir: where datasets are.
    name: of the dataset.
    protocol: of its folds.
    fold: published number.
    batch_size: B over all hosts.
    workers: processes that decode on each host.
    balanced: as many examples of each class.
    soft_labels: column with votes.
    shuffle_labels: a control that must end at chance.
    refit: train on the validation clips as well, and choose nothing.
    unlabelled: train on records without a label as well.

  Raises:
    AvemoError: the data is not there or does not fit.
  """
  if dataset is None:
    dataset = schema.open_dataset(name, data_dir)
  split = folds.find_split(dataset, protocol, fold)
  train, val = split.train, split.val
  if refit and np.intersect1d(val, split.test).size:
    raise errors.AvemoError(
      f'{protocol}: its validation clips are its test clips, which '
      'data.refit=True would train on; use the nested protocol'
    )
  if refit:
    train, val = np.sort(np.concatenate([train, val])), val[:0]
  elif not len(val):
    raise errors.AvemoError(
      f'{protocol}, fold {fold}: no validation clips here to choose on; '
      'set data.refit=True to train without'
    )
  mesh_lib.check_batch_size(batch_size, mesh)
  space = labels.LabelSpace.of(dataset.emotions)
  usable = pipeline.keep_usable(dataset, train, options)
  table = pipeline.make_table(dataset, space, soft_labels=soft_labels)
  labelled = usable
  if not unlabelled:
    labelled = usable[table.target[usable].sum(-1) > 0]
  return Feed(
    dataset=dataset,
    labels=space,
    options=options,
    train=labelled,
    val=val,
    num_without_input=len(train) - len(usable),
    num_without_label=len(usable) - len(labelled),
    batch_size=batch_size,
    seed=seed,
    workers=workers,
    balanced=balanced,
    soft_labels=soft_labels,
    shuffle_labels=shuffle_labels,
    unlabelled=unlabelled,
  )
