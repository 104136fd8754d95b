"""Records to batches, in an order that a seed fixes.

Order and draws follow from the seed and the place in the global order, before
hosts take their slices, so that a run may stop at step n and go on with any
number of hosts and workers, and the rows of a global batch stay where they are.
"""

import dataclasses
import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from typing import Any

import grain
import numpy as np
from absl import flags

from avemo import errors
from avemo.data import clips
from avemo.data.clips import ClipOptions
from avemo.data.labels import LabelSpace

Batch = dict[str, np.ndarray]

# Batches are large: a few ahead are enough to hide the decoding.
THREADS = 2

# Bytes of an array from which on processes share its memory.
SMALLEST_SHARED = 1 << 20


def train_batches(
  dataset,
  records: Sequence[int],
  labels: LabelSpace,
  *,
  options: ClipOptions,
  batch_size: int,
  seed: int,
  first_step: int = 0,
  host: int = 0,
  num_hosts: int = 1,
  workers: int = 0,
  balanced: bool = False,
  soft_labels: str | None = None,
  shuffle_labels_seed: int | None = None,
  unlabelled: bool = False,
) -> 'Batches':
  """Endless shuffled batches of this host, from batch `first_step` on.

  Records without a label or without any modality in use are left out.

  Args:
    dataset: with `source`, `index` and `emotions`.
    records: rows of the index to train on.
    labels: the classes of the head.
    options: how a record becomes a clip.
    batch_size: B over all hosts.
    seed: of order and draws.
    first_step: number of batches that have been used already.
    host: number of this host.
    num_hosts: number of hosts.
    workers: processes that decode; 0 decodes in threads of this one.
    balanced: repeat the records of rare classes, so that an epoch has as many
      of each class.
    soft_labels: column of the index with votes by emotion; a clip without
      votes keeps its label.
    shuffle_labels_seed: deal the labels out anew, for a control that must
      end at chance.
    unlabelled: take records without a label as well.

  Returns:
    Iterator over dicts of arrays [B / num_hosts, ...]; close it at the end.

  Raises:
    AvemoError: no record is left, or the batch does not fit the hosts.
  """
  table = make_table(dataset, labels, soft_labels=soft_labels)
  records = keep_usable(dataset, records, options)
  if not unlabelled:
    records = records[table.target[records].sum(-1) > 0]
  if not len(records):
    raise errors.AvemoError(
      f'{dataset.name}: none of the training clips has '
      f'{"" if unlabelled else "a label and "}{" or ".join(options.use)}'
    )
  if shuffle_labels_seed is not None:
    table = deal_labels(table, records, shuffle_labels_seed)
  if balanced:
    records = balance(records, table.target)
  size = split_batch(batch_size, num_hosts)
  own = slice(host * size, (host + 1) * size)
  load = LoadTraining(dataset.source, table, options, seed, own)
  order = grain.MapDataset.source(records).seed(seed).shuffle().repeat()
  # Batches of numbers, of which each host decodes its own rows alone.
  numbers = order.map_with_index(pair).batch(batch_size, drop_remainder=True)
  return iterate(numbers.map(load)[first_step:], workers)


def eval_batches(
  dataset,
  records: Sequence[int],
  labels: LabelSpace,
  *,
  options: ClipOptions,
  batch_size: int,
  views: int = 1,
  host: int = 0,
  num_hosts: int = 1,
  workers: int = 0,
) -> 'Batches':
  """Every view of every record once, in order, on one of the hosts.

  Every host gets as many batches; what fills up the last ones has `mask`
  False and `record` -1.

  Args:
    dataset: with `source`, `index` and `emotions`.
    records: rows of the index, labelled or not.
    labels: the classes of the head.
    options: how a record becomes a clip.
    batch_size: B over all hosts.
    views: looks at a clip, spread over it.
    host: number of this host.
    num_hosts: number of hosts.
    workers: processes that decode; 0 decodes in threads of this one.

  Returns:
    Iterator over dicts of arrays [B / num_hosts, ...]; close it at the end.
  """
  split_batch(batch_size, num_hosts)
  rows = [(int(r), view) for r in records for view in range(views)]
  rows += [(PADDING, 0)] * (-len(rows) % batch_size)
  table = make_table(dataset, labels)
  load = LoadEvaluation(dataset.source, table, options, views)
  own = grain.MapDataset.source(rows)[host::num_hosts].map(load)
  return iterate(own.batch(batch_size // num_hosts), workers)


def count_eval_batches(
  num_records: int, batch_size: int, views: int = 1
) -> int:
  return -(-num_records * views // batch_size)


PADDING = -1


# ------------------------------------------------------------------- labels


@dataclasses.dataclass(frozen=True)
class Table:
  """Labels by row of the index.

  Attributes:
    emotion: int32 [N], -1 without a label.
    target: float32 [N, C], shares of the classes; 0 without a label.
    class_mask: bool [N, C], the classes that a row could have.
  """

  emotion: np.ndarray
  target: np.ndarray
  class_mask: np.ndarray


def make_table(
  dataset, labels: LabelSpace, *, soft_labels: str | None = None
) -> Table:
  emotion = labels.indices(clips.as_text(e) for e in dataset.index['emotion'])
  target = np.eye(len(labels), dtype=np.float32)[emotion]
  target[emotion < 0] = 0
  if soft_labels:
    shares = read_votes(dataset, labels, soft_labels)
    voted = shares.sum(-1) > 0
    target[voted] = shares[voted]
  return Table(emotion, target, labels.class_masks(dataset))


def read_votes(dataset, labels: LabelSpace, column: str) -> np.ndarray:
  """Shares of the votes, float32 [N, C]; 0 where nobody voted."""
  if column not in dataset.index:
    raise errors.AvemoError(
      f'soft_labels={column!r}: {dataset.name} has no such column; it has '
      f'{", ".join(dataset.index)}'
    )
  width = len(dataset.emotions)
  rows = [np.asarray(row, np.float32) for row in dataset.index[column]]
  if any(row.shape != (width,) for row in rows):
    raise errors.AvemoError(
      f'soft_labels={column!r}: {dataset.name} has {width} emotions, so votes '
      f'are {width} numbers a clip'
    )
  votes = np.nan_to_num(np.stack(rows)) @ labels.votes_matrix(dataset.emotions)
  return votes / np.maximum(votes.sum(-1, keepdims=True), 1e-9)


def deal_labels(table: Table, records: np.ndarray, seed: int) -> Table:
  """The same labels on other records; counts by class stay as they are."""
  dealt = np.random.default_rng(seed).permutation(records)
  emotion, target = table.emotion.copy(), table.target.copy()
  emotion[records] = table.emotion[dealt]
  target[records] = table.target[dealt]
  return dataclasses.replace(table, emotion=emotion, target=target)


def balance(records: np.ndarray, target: np.ndarray) -> np.ndarray:
  """Repeats the records of each class, in turn, up to the largest class.

  Args:
    records: rows of the index, each with a target.
    target: shares of the classes [N, C] by row of the index; the largest
      share tells the class, be it a label's or the votes'.
  """
  emotion = target[records].argmax(-1)
  groups = [records[emotion == c] for c in np.unique(emotion)]
  largest = max(map(len, groups))
  return np.concatenate([np.resize(group, largest) for group in groups])


def keep_usable(
  dataset, records: Sequence[int], options: ClipOptions
) -> np.ndarray:
  """The records, int64, that have at least one modality in use."""
  records = np.asarray(records, np.int64)
  pictures = 'num_frames' if options.margin is None else 'num_faces'
  columns = {'video': pictures, 'audio': 'num_samples'}
  some = [dataset.index[columns[name]][records] > 0 for name in options.use]
  return records[np.any(some, axis=0)]


# ------------------------------------------------------------------ loading


def pair(place: int, record: int) -> np.ndarray:
  """A record and its place in the global order, int64 [2]."""
  return np.array([place, record], np.int64)


@dataclasses.dataclass(frozen=True)
class LoadTraining(grain.transforms.Map):
  """Places and records of a batch over all hosts to this host's rows."""

  source: Any
  table: Table
  options: ClipOptions
  seed: int
  own: slice

  def map(self, numbers: np.ndarray) -> Batch:
    rows = [self.load(*map(int, row)) for row in numbers[self.own]]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

  def load(self, place: int, record: int) -> Batch:
    # Of the seed and the place alone, whichever host or worker draws.
    rng = np.random.default_rng((self.seed, place))
    clip = clips.load_clip(self.source[record], self.options, rng)
    return clip | label(self.table, record)


@dataclasses.dataclass(frozen=True)
class LoadEvaluation(grain.transforms.Map):
  """A record and the number of a view to an example; padding to zeros."""

  source: Any
  table: Table
  options: ClipOptions
  views: int

  def map(self, row: tuple[int, int]) -> Batch:
    record, number = row
    view = clips.View(number, self.views)
    if record == PADDING:
      stored = {'frames': [], 'face': [], 'speech': b''}
      clip = clips.load_clip(stored, self.options, view)
    else:
      clip = clips.load_clip(self.source[record], self.options, view)
    return clip | label(self.table, record, number)


def label(table: Table, record: int, view: int = 0) -> Batch:
  is_padding = record == PADDING
  return {
    'emotion': np.int32(-1) if is_padding else table.emotion[record],
    'target': table.target[record] * np.float32(not is_padding),
    'class_mask': table.class_mask[record],
    'mask': np.bool_(not is_padding),
    'record': np.int32(record),
    'view': np.int32(view),
  }


# ---------------------------------------------------------------- iteration


def split_batch(batch_size: int, num_hosts: int) -> int:
  if batch_size < 1 or batch_size % num_hosts:
    raise errors.AvemoError(
      f'batch_size={batch_size} cannot be split over {num_hosts} hosts'
    )
  return batch_size // num_hosts


class Batches:
  """An iterator over batches; to be closed, which ends its processes."""

  def __init__(self, iterator: grain.DatasetIterator, *, is_shared: bool):
    self._iterator = iterator
    self._is_shared = is_shared

  def __iter__(self) -> 'Batches':
    return self

  def __next__(self) -> Batch:
    if self._iterator is None:
      raise StopIteration
    batch = next(self._iterator)
    if self._is_shared:
      # JAX may hold on to what it is given, to the end of the process, and
      # shared memory must be given back before.
      batch = {name: np.array(value) for name, value in batch.items()}
    return batch

  def close(self) -> None:
    if self._iterator is not None:
      self._iterator.close()
      self._iterator = None
      if self._is_shared:
        # What it has read ahead is given back with it, and it refers to
        # itself.
        gc.collect()


def iterate(batches: grain.MapDataset, workers: int) -> Batches:
  """Reads ahead, in order: in threads, or in processes and not in threads."""
  threads = 1 if workers else THREADS
  options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads)
  dataset = batches.to_iter_dataset(options)
  if workers:
    # Workers read flags of absl, which a program without any never parses.
    if not flags.FLAGS.is_parsed():
      flags.FLAGS.mark_as_parsed()
    # What is small is copied: each shared array costs calls to the system.
    dataset = grain.experimental.WithOptionsIterDataset(
      dataset, grain.experimental.DatasetOptions(min_shm_size=SMALLEST_SHARED)
    ).mp_prefetch(
      grain.MultiprocessingOptions(
        num_workers=workers, per_worker_buffer_size=1
      ),
      worker_init_fn=start_worker,
    )
  return Batches(iter(dataset), is_shared=workers > 0)


def start_worker(number: int, count: int) -> None:
  """Leaves signals to the parent, and ends with it.

  A scheduler signals the whole group, and the parent still wants batches
  until it has saved. A parent that is killed cannot end its workers.
  """
  del number, count
  signal.signal(signal.SIGTERM, signal.SIG_IGN)
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  threading.Thread(target=end_with_parent, daemon=True).start()


def end_with_parent() -> None:
  multiprocessing.parent_process().join()
  os._exit(1)
