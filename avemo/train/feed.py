"""What a run reads: datasets, their folds, and the batches made of them."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from avemo import errors
from avemo.data import labels, pipeline, targets
from avemo.data import mixture as mixture_lib
from avemo.data import parts as parts_lib
from avemo.data.clips import ClipOptions
from avemo.evaluate import scores
from avemo.runtime import mesh as mesh_lib


@dataclasses.dataclass(frozen=True)
class Feed:
  """A dataset, or a mixture of several, divided for one run.

  Attributes:
    dataset: open for reading.
    labels: the classes of the head.
    options: how a record becomes a clip.
    train: records to train on, all of them of use.
    val: records to choose on; empty where nothing is chosen.
    batch_size: B over all hosts.
    seed: of order and draws.
    tasks: what is learned, out of `labels.TASKS`.
    folds: by part, its protocol and fold.
    weights: see `pipeline.train_batches`.
    workers: processes that decode on each host.
    balanced: see `pipeline.train_batches`.
    soft_labels: likewise.
    derive: likewise.
    every: seconds between two windows where labels stand by frame.
    shuffle_labels: deal the training labels out anew, by the seed.
    unlabelled: train on records without a label as well.
    views: each training clip is one of so many fixed views, as evaluation
      takes them; None draws it at random.
    features: of these views, or of frames, in place of frames and speech.
    towers: what made features of frames, as `sources.describe` says it.
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
  tasks: tuple[str, ...] = (labels.EMOTION,)
  folds: tuple[tuple[str, int], ...] = ()
  weights: tuple[float, ...] | None = None
  workers: int = 0
  balanced: bool = False
  soft_labels: str | None = None
  derive: str | None = None
  every: float = 1.0
  shuffle_labels: bool = False
  unlabelled: bool = False
  views: int | None = None
  features: Any = None
  towers: tuple[dict[str, Any], ...] = ()
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
      tasks=self.tasks,
      derive=self.derive,
      weights=self.weights,
      fixed_views=self.views,
      features=self.features,
    )

  def make_table(self) -> targets.Table:
    """The labels that are trained on."""
    return targets.make_table(
      self.dataset,
      self.labels,
      tasks=self.tasks,
      soft_labels=self.soft_labels,
      derive=self.derive,
    )

  def count_classes(self) -> np.ndarray:
    """How often each class is met in training, in proportion, [P, C].

    A part counts by its weight, not by its size, where weights are set; a
    record with labels by frame counts as one, as it is drawn.
    """
    table, rows = self.make_table(), []
    for number, part in enumerate(mixture_lib.list_parts(self.dataset)):
      whole, framed = self._divide(table, labels.EMOTION, number)
      counts = table.target[whole].sum(0, dtype=np.float64)
      if len(framed):
        frames = part.index['frame_expression_counts'][framed]
        shares = (frames / np.maximum(frames.sum(1, keepdims=True), 1)).sum(0)
        classes = table.expressions[number]
        np.add.at(counts, classes, shares[: len(classes)])
      if self.weights is not None and counts.sum():
        counts *= self.weights[number] / counts.sum()
      rows.append(counts)
    return np.stack(rows)

  def count_units(self) -> tuple[np.ndarray, np.ndarray]:
    """Training labels of each action unit, and those present, both [K].

    A record with labels by frame counts as one, as it is drawn.
    """
    table = self.make_table()
    known, present = np.zeros((2, len(labels.UNITS)))
    for number, part in enumerate(mixture_lib.list_parts(self.dataset)):
      whole, framed = self._divide(table, labels.ACTION_UNITS, number)
      found = table.values[labels.ACTION_UNITS][whole]
      known += (~np.isnan(found)).sum(0)
      present += (found > 0.5).sum(0)
      if len(framed):
        frames = part.index['frame_action_units_known'][framed]
        count = np.maximum(frames.max(1, keepdims=True), 1)
        known += (frames / count).sum(0)
        frames = part.index['frame_action_units_present'][framed]
        present += (frames / count).sum(0)
    return known, present

  def _divide(
    self, table: targets.Table, task: str, number: int
  ) -> tuple[np.ndarray, np.ndarray]:
    """Training rows of a part with labels of the clip, and those by frame.

    The first are rows of the dataset, the second of the part's own index.
    """
    own = self.train[table.part[self.train] == number]
    if task not in table.tasks:
      return own, own[:0]
    framed = table.frames[task][own] >= 0
    offset = mixture_lib.find_offsets(self.dataset)[number]
    return own[~framed], own[framed] - offset


def make_feed(
  mesh: jax.sharding.Mesh,
  dataset: Any | None = None,
  *,
  seed: int,
  options: ClipOptions,
  data_dir: str | os.PathLike | None = None,
  tasks: Sequence[str] = (labels.EMOTION,),
  name: str | None = None,
  protocol: str | None = None,
  fold: int | None = None,
  mixture: Mapping[str, Mapping[str, Any]] | None = None,
  label_map: Mapping[str, str] | None = None,
  batch_size: int,
  workers: int = 0,
  balanced: bool = False,
  soft_labels: str | None = None,
  derive: str | None = None,
  every: float = 1.0,
  shuffle_labels: bool = False,
  refit: bool = False,
  unlabelled: bool = False,
  views: int | None = None,
) -> Feed:
  """Opens the datasets and divides them.

  Args:
    mesh: over which batches are sharded.
    dataset: one, or a mixture, that is open already; names and `data_dir` are
      then unused.
    seed: of order and draws.
    options: how a record becomes a clip.
    data_dir: where datasets are.
    tasks: what is learned, out of `labels.TASKS`.
    name: of the dataset.
    protocol: of its folds.
    fold: published number.
    mixture: several corpora instead, by what they are called; see
      `parts.Part`.
    label_map: emotions that count as another, by word.
    batch_size: B over all hosts.
    workers: processes that decode on each host.
    balanced: as many examples of each class.
    soft_labels: column with votes.
    derive: table of `anchors`: clips without valence and arousal get some
      from their emotion.
    every: seconds between two windows of a film, where labels stand by frame.
    shuffle_labels: a control that must end at chance.
    refit: train on the validation clips as well, and choose nothing.
    unlabelled: train on records without a label as well.
    views: see `Feed`.

  Raises:
    AvemoError: the data is not there or does not fit.
  """
  section = {'name': name, 'protocol': protocol, 'fold': fold}
  parts = parts_lib.read(section | {'mixture': mixture})
  if dataset is None:
    dataset = parts_lib.open_parts(parts, data_dir)
  train, val = parts_lib.divide(dataset, parts, refit=refit)
  mesh_lib.check_batch_size(batch_size, mesh)
  weights = tuple(part.weight for part in parts)
  feed = Feed(
    dataset=dataset,
    labels=mixture_lib.make_space(dataset, label_map),
    options=options,
    train=train,
    val=val,
    batch_size=batch_size,
    seed=seed,
    tasks=tuple(tasks),
    folds=tuple((part.protocol, part.fold) for part in parts),
    weights=None if None in weights else weights,
    workers=workers,
    balanced=balanced,
    soft_labels=soft_labels,
    derive=derive,
    every=every,
    shuffle_labels=shuffle_labels,
    unlabelled=unlabelled,
    views=views,
  )
  return keep_labelled(feed)


def keep_labelled(feed: Feed) -> Feed:
  """The feed without training records that nothing can be learned from.

  Raises:
    AvemoError: no training record has a label of a task, which would stay
      what chance has made it.
  """
  usable = targets.keep_usable(feed.dataset, feed.train, feed.options)
  table, labelled = feed.make_table(), usable
  if feed.derive and 'valence_arousal' not in feed.tasks:
    raise errors.AvemoError(
      'data.derive makes valence and arousal: add valence_arousal to '
      'model.heads'
    )
  if not feed.unlabelled:
    labelled = usable[table.labelled[usable]]
    for task in feed.tasks:
      # Without any record at all the pipeline says so.
      if len(labelled) and not table.is_labelled(task)[labelled].any():
        raise errors.AvemoError(
          f'model.heads: no training clip of {feed.dataset.name} has a label '
          f'of {task}; leave that head out'
        )
  return dataclasses.replace(
    feed,
    train=labelled,
    num_without_input=len(feed.train) - len(usable),
    num_without_label=len(usable) - len(labelled),
  )


def check_chosen(metric: str, feed: Feed) -> None:
  """Raises an AvemoError where no validation record can be chosen by."""
  # As it is scored: what is derived for training does not count.
  table = targets.make_table(feed.dataset, feed.labels, tasks=feed.tasks)
  _, *key, name = metric.split('/')
  rows = feed.val
  if key:
    number = mixture_lib.list_keys(feed.dataset).index(key[0])
    rows = rows[table.part[rows] == number]
  for task in feed.tasks:
    if name in scores.NAMES[task] and not table.is_labelled(task)[rows].any():
      raise errors.AvemoError(
        f'config: control.metric={metric!r}: no validation clip has a label of '
        f'{task}; choose by another, or on other clips'
      )
