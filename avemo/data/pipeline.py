"""Records to batches, in an order that a seed fixes.

Order and draws follow from the seed and the place in the global order, before
hosts take their slices, so that a run may stop at step n and go on with any
number of hosts and workers, and the rows of a global batch stay where they are.
"""

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
from avemo.data import (
  cached,
  labels,
  loading,
  mixture,
  sequences,
  targets,
  windows,
)
from avemo.data.clips import ClipOptions
from avemo.data.labels import LabelSpace

Batch = loading.Batch
# What was computed before stands in the place of frames and speech.
Features = cached.Clips | sequences.Films

# Batches are large: a few ahead are enough to hide the decoding.
THREADS = 2

# Bytes of an array from which on processes share its memory.
SMALLEST_SHARED = 1 << 20


def train_batches(
  dataset,
  records: Sequence[int],
  space: LabelSpace,
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
  tasks: Sequence[str] = (labels.EMOTION,),
  derive: str | None = None,
  weights: Sequence[float] | None = None,
  fixed_views: int | None = None,
  features: Features | None = None,
) -> 'Batches':
  """Endless shuffled batches of this host, from batch `first_step` on.

  Records without a label or without any modality in use are left out. Of a
  record whose labels stand by frame a window is drawn, see `windows`.

  Args:
    dataset: with `source`, `index` and `emotions`; or a mixture.
    records: rows of the index to train on.
    space: the classes of the head.
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
    tasks: what is learned, out of `labels.TASKS`.
    derive: see `targets.make_table`.
    weights: shares of the parts of a mixture in the examples; as many as
      they have records when None.
    fixed_views: each clip is one of so many views, as evaluation takes them,
      and not drawn at random.
    features: of such views, in place of frames and speech.

  Returns:
    Iterator over dicts of arrays [B / num_hosts, ...]; close it at the end.

  Raises:
    AvemoError: no record is left, or the batch does not fit the hosts.
  """
  table = targets.make_table(
    dataset, space, tasks=tasks, soft_labels=soft_labels, derive=derive
  )
  if not isinstance(features, sequences.Films):
    check_windows(table, records, options)
  records = targets.keep_usable(dataset, records, options)
  if not unlabelled:
    records = records[table.labelled[records]]
  if not len(records):
    raise errors.AvemoError(
      f'{dataset.name}: none of the training clips has '
      f'{"" if unlabelled else "a label and "}{" or ".join(options.use)}'
    )
  if shuffle_labels_seed is not None:
    table = targets.deal_labels(table, records, shuffle_labels_seed)
  size = split_batch(batch_size, num_hosts)
  own = slice(host * size, (host + 1) * size)
  if features is None:
    load = loading.LoadTraining(
      dataset.source, table, options, seed, own, fixed_views
    )
  else:
    load = features.make_training(table, seed, own)
  order = order_records(dataset, records, table, seed, weights, balanced)
  # Batches of numbers, of which each host decodes its own rows alone.
  numbers = order.map_with_index(loading.pair).batch(
    batch_size, drop_remainder=True
  )
  return iterate(numbers.map(load)[first_step:], workers)


def order_records(
  dataset: Any,
  records: np.ndarray,
  table: targets.Table,
  seed: int,
  weights: Sequence[float] | None,
  balanced: bool,
) -> grain.MapDataset:
  """An endless order of records; each part is shuffled epoch by epoch.

  Of several parts the examples take turns by the weights, to the example, not
  by a draw: which part comes when depends on the place alone.

  Raises:
    AvemoError: a part has no records, and its weight is not 0.
  """
  keys, parts = mixture.list_keys(dataset), table.part[records]
  orders, shares = [], []
  for part, key in enumerate(keys):
    own = records[parts == part]
    weight = len(own) if weights is None else weights[part]
    if weights is not None and not weight:
      continue
    if not len(own):
      raise errors.AvemoError(
        f'{key}: none of its training clips can be used; leave it out of '
        f'data.mixture, or set data.mixture.{key}.weight=0'
      )
    if balanced:
      own = balance_part(own, table, key)
    # The first part is ordered as it would be alone.
    order = grain.MapDataset.source(own).seed((seed + part) % (1 << 32))
    orders.append(order.shuffle().repeat())
    shares.append(float(weight))
  if len(orders) == 1:
    return orders[0]
  return grain.MapDataset.mix(orders, shares)


def balance_part(
  records: np.ndarray, table: targets.Table, key: str
) -> np.ndarray:
  if table.by_frame[records].any():
    raise errors.AvemoError(
      f'{key}: data.balanced repeats clips, and its labels stand by frame; '
      "use loss.class_weights='balanced'"
    )
  labelled = table.target[records].sum(-1) > 0
  if not labelled.all():
    raise errors.AvemoError(
      f'{key}: data.balanced needs an emotion of every clip; '
      f'{(~labelled).sum()} have other labels alone'
    )
  return targets.balance(records, table.target)


def check_windows(
  table: targets.Table, records: Sequence[int], options: ClipOptions
) -> None:
  """Raises an AvemoError where labels by frame lack a window's length."""
  if table.by_frame[np.asarray(records, np.int64)].any():
    if not options.seconds:
      raise errors.AvemoError(
        'data.seconds: labels that stand by frame need it, the window'
      )


def eval_batches(
  dataset,
  rows: Sequence[tuple[int, int]],
  table: targets.Table,
  *,
  options: ClipOptions,
  batch_size: int,
  views: int = 1,
  every: float = 1.0,
  host: int = 0,
  num_hosts: int = 1,
  workers: int = 0,
  features: Features | None = None,
) -> 'Batches':
  """Every look once, in order, on one of the hosts.

  Every host gets as many batches; what fills up the last ones has `mask`
  False and `record` -1.

  Args:
    dataset: with `source`, `index` and `emotions`; or a mixture.
    rows: records and numbers of looks at them, see `list_looks`.
    table: the labels.
    options: how a record becomes a clip.
    batch_size: B over all hosts.
    views: looks at a clip, spread over it.
    every: seconds between two windows where labels stand by frame.
    host: number of this host.
    num_hosts: number of hosts.
    workers: processes that decode; 0 decodes in threads of this one.
    features: of clips, in place of frames and speech.

  Returns:
    Iterator over dicts of arrays [B / num_hosts, ...]; close it at the end.
  """
  split_batch(batch_size, num_hosts)
  rows = [*rows, *([(loading.PADDING, 0)] * (-len(rows) % batch_size))]
  if features is not None:
    own = grain.MapDataset.source(rows)[host::num_hosts].map(np.array)
    load = features.make_evaluation(table)
    return iterate(own.batch(batch_size // num_hosts).map(load), 0)
  load = loading.LoadEvaluation(dataset.source, table, options, views, every)
  own = grain.MapDataset.source(rows)[host::num_hosts].map(load)
  return iterate(own.batch(batch_size // num_hosts), workers)


def list_looks(
  dataset,
  records: Sequence[int],
  table: targets.Table,
  *,
  options: ClipOptions,
  views: int = 1,
  every: float = 1.0,
) -> list[tuple[int, int]]:
  """Records and the numbers of the looks that evaluation takes at them.

  Args:
    dataset: with `index`.
    records: rows of the index, labelled or not.
    table: the labels.
    options: how a record becomes a clip.
    views: looks at a clip.
    every: seconds between two windows of a record with labels by frame, whose
      looks they are.
  """
  check_windows(table, records, options)
  by_frame, rows = table.by_frame, []
  for record in map(int, records):
    count = views
    if by_frame[record]:
      duration = float(dataset.index['duration'][record])
      count = windows.count(duration, options.seconds, every)
    rows += [(record, number) for number in range(count)]
  return rows


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
