"""Films in memory whose labels stand by frame, in the schema's records.

A film is several segments; frame f of it has valence f / 100 - 0.5, arousal
against it, a class that changes every ten frames and two action units, and is
painted so that a test can tell which frame of which segment came out.
"""

import itertools
import types

import numpy as np
import small_dataset
from small_dataset import EMOTIONS, FPS

from avemo.data import index, labels

FRAMES = 20


def find_valence(number):
  return np.float32(number / 100 - 0.5)


def make_record(film, segment, count=FRAMES, masked=()):
  """A segment of a film; frames of it in `masked` have no label."""
  clip = small_dataset.Clip(frames=count, samples=int(count / FPS * 16_000))
  record = small_dataset.make_record(segment, clip)
  number = segment * FRAMES + np.arange(count)
  known = ~np.isin(np.arange(count), list(masked))
  valence = np.where(known, find_valence(number), np.nan)
  units = np.zeros((count, len(labels.UNITS)), np.float32)
  units[:, 0] = number % 2
  units[:, 1] = number >= 30
  units[~known] = np.nan
  # Louder as valence rises, so that there is something to learn.
  rng = np.random.default_rng((film, segment))
  speech = rng.normal(size=clip.samples) * np.repeat(
    50 + 40 * number, clip.samples // max(count, 1)
  )
  return record | {
    'clip_id': f'film_{film}_{segment}'.encode(),
    'video_id': f'film_{film}'.encode(),
    'speaker': str(1001 + 18 * (film % 5)).encode(),
    'recording': f'film_{film}'.encode(),
    'segment': segment,
    'num_segments': 3,
    'start': np.float32(segment * FRAMES / FPS),
    'frame_index': number.astype(np.int32),
    'frame_time': (number / FPS).astype(np.float32),
    'landmarks': np.zeros((count, 10), np.float32),
    'speech': np.clip(speech, -32768, 32767).astype('<i2').tobytes(),
    'emotion': b'',
    'intensity': b'',
    'valence': np.nan,
    'arousal': np.nan,
    'frame_valence': valence.astype(np.float32),
    'frame_arousal': -valence.astype(np.float32),
    'frame_expression': np.where(known, number // 10 % 3, -1).astype(np.int32),
    'frame_action_units': units,
  }


def make_dataset(films=5, segments=3, **options):
  made = [
    make_record(film, segment, **options)
    for film, segment in itertools.product(range(films), range(segments))
  ]
  return open_records(made)


def read_columns(table):
  """The columns of an index as they are read from its file."""
  return {name: index._to_array(table[name]) for name in table.column_names}


def open_records(made):
  return types.SimpleNamespace(
    source=made,
    index=read_columns(index.make_table(made)),
    emotions=EMOTIONS,
    corpus='crema_d',
    directory=None,
    name='films_av',
  )
