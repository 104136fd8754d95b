"""One row a record: what folds and sampling need without opening records."""

import hashlib
import os
import pathlib
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import tensorflow_datasets as tfds

from avemo import errors
from avemo.data import labels

FILE = 'index.parquet'
# Column of `hash_record`.
HASH = 'record_sha256'
SPLIT = 'clips'
SAMPLE_RATE = 16_000

_COPIED = (
  'clip_id',
  'video_id',
  'segment',
  'num_segments',
  'start',
  'speaker',
  'recording',
  'emotion',
  'intensity',
  'valence',
  'arousal',
)
# Fields of a record that have no column, not being one value a record.
_LEFT_OUT = (
  'fps',
  'frames',
  'frame_index',
  'frame_time',
  'face',
  'box',
  'landmarks',
  'speech',
  'frame_valence',
  'frame_arousal',
  'frame_expression',
  'frame_action_units',
)


def build_index(directory: str | os.PathLike) -> pathlib.Path:
  """Reads every record of a dataset once and writes its index.

  The file appears under its name only when it is whole.

  Args:
    directory: of the prepared dataset.

  Returns:
    The file.

  Raises:
    AvemoError: when it cannot be written.
  """
  directory = pathlib.Path(directory)
  source = tfds.builder_from_directory(directory).as_data_source(SPLIT)
  table = make_table(source)
  path = directory / FILE
  try:
    _write(table, path)
  except OSError as error:
    raise errors.AvemoError(
      f'{path}: cannot be written ({error.strerror or error})'
    ) from error
  return path


def read_index(
  directory: str | os.PathLike, source: Sequence[Mapping[str, Any]]
) -> dict[str, np.ndarray]:
  """The columns of a dataset's index; makes it anew when it is missing.

  Args:
    directory: of the prepared dataset.
    source: its records.

  Returns:
    Arrays by column, one row a record; lists of one length are [N, length].

  Raises:
    AvemoError: when the file is damaged, or belongs to other records.
  """
  path = pathlib.Path(directory) / FILE
  table = None
  if path.is_file():
    try:
      table = pyarrow.parquet.read_table(path)
    except (OSError, pa.ArrowException) as error:
      raise errors.AvemoError(
        f'{path}: damaged ({" ".join(str(error).split())[:200]}); delete it, '
        'and it is made anew'
      ) from error
    # Of an earlier version: what has no column would count as absent.
    if len(source) and not make_row(0, source[0]).keys() <= {
      *table.column_names
    }:
      table = None
  if table is None:
    table = make_table(source)
    # Datasets are also read from places that cannot be written to.
    if os.access(directory, os.W_OK):
      _write(table, path)
  if table.num_rows != len(source):
    raise errors.AvemoError(
      f'{path}: has {table.num_rows} rows for {len(source)} records; delete '
      'it, and it is made anew'
    )
  return {name: _to_array(table[name]) for name in table.column_names}


def make_table(source: Iterable[Mapping[str, Any]]) -> pa.Table:
  """The index of records as a table."""
  rows = [make_row(number, record) for number, record in enumerate(source)]
  return pa.table(
    {
      name: pa.array([row[name] for row in rows], _find_type(rows[0][name]))
      for name in rows[0]
    }
    if rows
    else {}
  )


def make_row(number: int, record: Mapping[str, Any]) -> dict[str, Any]:
  """The row of one record.

  Args:
    number: of the record in its dataset.
    record: as stored.
  """
  speech = record['speech']
  num_samples = len(speech) // 2
  times = record['frame_time']
  last = float(times[-1] - record['start']) if len(times) else 0.0
  shown = last + 1 / max(float(record['fps']), 1.0) if len(times) else 0.0
  row = {'record': np.int32(number)}
  row |= {name: _to_value(record[name]) for name in _COPIED}
  row |= {
    # Of the sound alone: copies of it are found under other names and labels.
    # Silence is no copy of another one.
    'audio_sha256': hashlib.sha256(speech).hexdigest()
    if speech.strip(b'\0')
    else '',
    'num_frames': np.int32(len(record['frames'])),
    'num_faces': np.int32(np.count_nonzero(record['face'])),
    'num_samples': np.int32(num_samples),
    'duration': np.float32(max(shown, num_samples / SAMPLE_RATE)),
  }
  row |= count_frame_labels(record)
  row[HASH] = hash_record(record)
  others = sorted(set(record) - set(_COPIED) - set(_LEFT_OUT))
  return row | {name: _to_value(record[name]) for name in others}


def hash_record(record: Mapping[str, Any]) -> str:
  """A sha256 of all that a record holds: pictures, boxes, sound, labels."""
  digest = hashlib.sha256()
  _update(digest, record)
  return digest.hexdigest()


def _update(digest: Any, value: Any) -> None:
  if isinstance(value, Mapping):
    for name in sorted(value):
      digest.update(name.encode())
      _update(digest, value[name])
  elif isinstance(value, bytes):
    # With its length, for several may follow one another.
    digest.update(f'{len(value)};'.encode() + value)
  elif isinstance(value, list | tuple):
    for one in value:
      _update(digest, one)
  else:
    array = np.asarray(value)
    if array.dtype == object:
      _update(digest, list(array))
    else:
      digest.update(f'{array.dtype}{array.shape}'.encode())
      digest.update(array.tobytes())


def _to_value(value):
  if isinstance(value, bytes):
    return value.decode()
  # What was stored as a scalar of 32 bits is read back with 64.
  if np.ndim(value) == 0:
    return np.int32(value) if isinstance(value, int) else np.float32(value)
  return value


# More classes than any corpus labels frames with; ABAW has 8.
NUM_EXPRESSIONS = 32


def count_frame_labels(record: Mapping[str, Any]) -> dict[str, Any]:
  """Which labels the frames have, and a hash of them.

  Args:
    record: as stored.

  Returns:
    How many frames have valence and arousal, `frame_affect_count`; each
    expression, `frame_expression_counts` [32]; each unit labelled,
    `frame_action_units_known` [12], and present, `frame_action_units_present`
    [12]; `frame_labels_sha256`, '' without any.
  """
  expression = np.asarray(record['frame_expression'])
  expression = expression[expression >= 0]
  if expression.size and expression.max() >= NUM_EXPRESSIONS:
    raise errors.AvemoError(
      f'{_to_value(record["clip_id"])}: expression {expression.max()} of a '
      f'frame; there are {NUM_EXPRESSIONS}, from 0'
    )
  units = np.reshape(record['frame_action_units'], (-1, len(labels.UNITS)))
  columns = ('valence', 'arousal', 'expression', 'action_units')
  stored = [np.asarray(record[f'frame_{name}']) for name in columns]
  digest = hashlib.sha256(b''.join(array.tobytes() for array in stored))
  affect = np.asarray(record['frame_valence']) + record['frame_arousal']
  counts = {
    'affect_count': np.isfinite(affect).sum(),
    'expression_counts': np.bincount(expression, minlength=NUM_EXPRESSIONS),
    'action_units_known': (~np.isnan(units)).sum(0),
    'action_units_present': (units > 0.5).sum(0),
  }
  has_any = any(array.size for array in stored)
  return {
    f'frame_{name}': np.int32(value) for name, value in counts.items()
  } | {'frame_labels_sha256': digest.hexdigest() if has_any else ''}


def _find_type(value):
  if isinstance(value, str):
    return pa.string()
  if np.ndim(value):
    return pa.list_(pa.from_numpy_dtype(value.dtype), len(value))
  return pa.from_numpy_dtype(np.asarray(value).dtype)


def _to_array(column) -> np.ndarray:
  column = column.combine_chunks()
  if pa.types.is_fixed_size_list(column.type):
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(-1, column.type.list_size)
  if pa.types.is_string(column.type):
    return np.array(column.to_pylist(), str)
  return column.to_numpy(zero_copy_only=False)


def _write(table, path):
  handle, partial = tempfile.mkstemp(
    prefix=f'.{path.name}.', suffix='.partial', dir=path.parent
  )
  os.close(handle)
  try:
    pyarrow.parquet.write_table(table, partial)
    os.chmod(partial, 0o644)
    os.replace(partial, path)
  finally:
    pathlib.Path(partial).unlink(missing_ok=True)
