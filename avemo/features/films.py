"""Features of the frames of films: each tower's, aligned by time to frames."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from avemo import errors
from avemo.data import clips, sequences
from avemo.features import adaptive, keys, shards
from avemo.features import towers as towers_lib

# Of a record, what a frame has one of.
COLUMNS = (
  'frame_index',
  'frame_time',
  'frame_valence',
  'frame_arousal',
  'frame_expression',
  'frame_action_units',
)

# Seconds between windows of towers over sound, but for Wav2Vec2.
HOP = 0.48


def cache_films(
  root: str | os.PathLike,
  dataset: Any,
  records: Sequence[int],
  towers: Mapping[str, towers_lib.Tower],
  *,
  length: int,
  hop: float = HOP,
  threshold: float | None = None,
) -> sequences.Films:
  """Features of all frames of records, from the cache as far as they are there.

  A frame without a face has no features of a tower over faces. Of towers over
  sound a frame has what lies between the middles of the windows around it, in
  a straight line; Wav2Vec2's tokens are such windows. A record's first and
  last windows hold to its ends.

  Args:
    root: folder of the cache.
    dataset: of the records.
    records: rows of its index that are needed.
    towers: by the names of their features.
    length: T, frames of a window.
    hop: seconds between windows of sound.
    threshold: of `adaptive.choose`, which faces are looked at; None is all.

  Raises:
    AvemoError: the cache cannot be written or is damaged, or an embedding is
      not finite.
  """
  count = len(dataset.index['clip_id'])
  entry = shards.fill(
    root,
    'films-labels',
    {'data': keys.identify_data(dataset), 'code': keys.hash_code()},
    records,
    count,
    lambda ranges: read_columns(dataset, ranges),
  )
  numbers = shards.list_shards(records)
  columns = {n: shards.read(entry, n) for n in numbers}
  found, looked_at = {}, {}
  for name, tower in towers.items():

    def make(ranges, tower=tower):
      return embed(dataset, ranges, tower, hop, threshold)

    more = {'hop': hop} if tower.modality == 'audio' else {}
    if tower.modality == 'video' and threshold is not None:
      more['threshold'] = float(threshold)
    about = keys.describe(dataset, tower, tower.options, along='frames', **more)
    entry = shards.fill(
      root, f'films-{tower.modality}', about, records, count, make
    )
    read = {n: shards.read(entry, n) for n in numbers}
    found[name] = {n: arrays['values'] for n, arrays in read.items()}
    if tower.modality == 'video':
      looked_at = {n: arrays['looked_at'] for n, arrays in read.items()}
  modalities = {name: tower.modality for name, tower in towers.items()}
  return sequences.Films(
    shards.SIZE, length, modalities, found, columns, looked_at
  )


def read_columns(
  dataset: Any, ranges: Sequence[range]
) -> Iterator[dict[str, np.ndarray]]:
  """What the records of each range say of their frames."""
  for own in ranges:
    rows: dict[str, list[np.ndarray]] = {name: [] for name in COLUMNS}
    counts = []
    for record in own:
      stored = dataset.source[record]
      size = len(stored['frame_index'])
      counts.append(size)
      for name in COLUMNS:
        rows[name].append(fill_up(name, stored[name], size))
    joined = {name: np.concatenate(values) for name, values in rows.items()}
    yield joined | {'count': np.array(counts, np.int64)}


def fill_up(name: str, values: Any, size: int) -> np.ndarray:
  """A column of a record; unknown throughout where the record has none."""
  values = np.asarray(values)
  if name == 'frame_action_units':
    values = values.reshape(-1, values.shape[-1] if values.ndim > 1 else 12)
  if len(values) == size:
    return values
  unknown = -1 if np.issubdtype(values.dtype, np.integer) else np.nan
  return np.full((size, *values.shape[1:]), unknown, values.dtype)


def embed(
  dataset: Any,
  ranges: Sequence[range],
  tower: towers_lib.Tower,
  hop: float,
  threshold: float | None,
) -> Iterator[dict[str, np.ndarray]]:
  """Features of the frames of each range of records, float32 [frames, D].

  Of faces also which were looked at, bool [frames].
  """
  width = find_width(tower)
  for own in ranges:
    rows, looked_at = [], []
    for record in own:
      stored = dataset.source[record]
      if tower.modality == 'video':
        values, seen = embed_faces(stored, tower, width, threshold)
        looked_at.append(seen)
      else:
        values = embed_sound(stored, tower, width, hop)
      rows.append(values)
    arrays = {'values': np.concatenate(rows)}
    if looked_at:
      arrays['looked_at'] = np.concatenate(looked_at)
    yield arrays


def find_width(tower: towers_lib.Tower) -> int:
  """D of a tower's embeddings."""
  if tower.modality == 'video':
    size = tower.options.size
    frames = np.zeros((1, size, size, 3), np.uint8)
    return towers_lib.embed_frames(tower, frames).shape[1]
  speech = np.zeros(round(10 * clips.SAMPLE_RATE), np.int16)
  return towers_lib.embed_speech(tower, speech).values.shape[1]


def embed_faces(
  stored: Mapping[str, Any],
  tower: towers_lib.Tower,
  width: int,
  threshold: float | None = None,
) -> tuple[np.ndarray, np.ndarray]:
  """A record's faces, float32 [n, D], and which were looked at, bool [n].

  The features are NaN where there is no face.
  """
  size = len(stored['frame_index'])
  values = np.full((size, width), np.nan, np.float32)
  looked_at = np.zeros(size, bool)
  if not clips.has_picture(stored, tower.options):
    return values, looked_at
  seen = np.arange(len(stored['frames']))
  if tower.options.margin is not None:
    seen = np.flatnonzero(stored['face'])
  frames = clips.decode_frames(stored, seen, tower.options)
  chosen = np.ones(len(seen), bool)
  if threshold is not None:
    times = np.asarray(stored['frame_time'], np.float64)[seen]
    chosen = adaptive.choose(frames, times, threshold)
  made = check_finite(towers_lib.embed_frames(tower, frames[chosen]), stored)
  values[seen] = made[adaptive.find_held(chosen)]
  looked_at[seen[chosen]] = True
  return values, looked_at


def embed_sound(
  stored: Mapping[str, Any],
  tower: towers_lib.Tower,
  width: int,
  hop: float = HOP,
) -> np.ndarray:
  """A record's sound at its frames, float32 [n, D]; NaN without any."""
  times = np.asarray(stored['frame_time'], np.float64) - float(stored['start'])
  speech = np.frombuffer(stored['speech'], '<i2')
  times = np.resize(times, len(stored['frame_index'])) if len(times) else times
  if not len(speech) or not len(times):
    return np.full((len(stored['frame_index']), width), np.nan, np.float32)
  heard = towers_lib.embed_speech(tower, speech, hop=hop)
  if not len(heard.times):
    return np.full((len(times), width), np.nan, np.float32)
  check_finite(heard.values, stored)
  return align(heard, times)


def check_finite(values: np.ndarray, stored: Mapping[str, Any]) -> np.ndarray:
  """The values, or an AvemoError: NaN would count as missing."""
  if not np.isfinite(values).all():
    raise errors.AvemoError(
      f'{clips.as_text(stored["clip_id"])}: what a tower says of it is not '
      'finite; look at the clip and at the weights'
    )
  return values


def align(heard: towers_lib.Embedded, times: np.ndarray) -> np.ndarray:
  """What is said along time, at other times: straight lines, held at ends.

  Args:
    heard: at its own times.
    times: seconds, [n].

  Returns:
    float32 [n, D].
  """
  place = np.interp(times, heard.times, np.arange(len(heard.times)))
  below = np.floor(place).astype(int)
  above = np.minimum(below + 1, len(heard.times) - 1)
  share = (place - below)[:, None].astype(np.float32)
  return heard.values[below] * (1 - share) + heard.values[above] * share
