"""What a record holds, and how a prepared dataset is opened.

A record is a segment of at most 10 s of a clip. Datasets open by directory:
neither their builder nor TensorFlow is needed to read them.
"""

import dataclasses
import difflib
import hashlib
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from avemo import corpora, errors
from avemo.data import index, labels

SPLIT = index.SPLIT
# Columns of the index that say what a run learns from.
IDENTITY = (
  'clip_id',
  'segment',
  'emotion',
  'valence',
  'arousal',
  'dominance',
  'action_units',
  'audio_sha256',
  'num_frames',
  'num_samples',
  'frame_labels_sha256',
)
SUFFIX = '_av'
CONFIGS = ('face', 'frame')

# Longest segment in seconds, longest side of a stored picture in pixels, side
# of a stored face crop over the longer side of its box.
MAX_SECONDS = 10.0
MAX_SIDE = 320
MARGIN = 1.5

SAMPLE_RATE = index.SAMPLE_RATE
NUM_ACTION_UNITS = len(labels.UNITS)

# A corpus's own field: its type, or its type and length.
Extra = Mapping[str, type | tuple[type, int]]


def features(extra: Extra) -> tfds.features.FeaturesDict:
  """The fields of a record.

  `frames` are JPEG, `speech` is int16 in little-endian bytes, mono at 16 kHz.
  A missing modality has none of either. Times are seconds, boxes x, y, width
  and height in pixels of the stored picture, landmarks the two eyes, the nose
  and the corners of the mouth, x and y in turn. Labels of the whole clip and
  of its frames stand beside each other; unknown ones are '', NaN or -1, and
  a corpus without labels by frame has none. An expression is a place in the
  corpus's emotions, an action unit 0 or 1, in the order of `labels.UNITS`.

  Args:
    extra: the corpus's own fields.
  """
  tensor = tfds.features.Tensor
  return tfds.features.FeaturesDict(
    {
      'clip_id': tfds.features.Text(),
      'video_id': tfds.features.Text(),
      'speaker': tfds.features.Text(),
      'recording': tfds.features.Text(),
      'segment': tfds.features.Scalar(np.int32),
      'num_segments': tfds.features.Scalar(np.int32),
      'start': tfds.features.Scalar(np.float32),
      'fps': tfds.features.Scalar(np.float32),
      # Encoded bytes: features.Image and features.Video need TensorFlow.
      'frames': tfds.features.Sequence(tensor(shape=(), dtype=np.object_)),
      'frame_index': tensor(shape=(None,), dtype=np.int32),
      'frame_time': tensor(shape=(None,), dtype=np.float32),
      'face': tensor(shape=(None,), dtype=np.uint8),
      'box': tensor(shape=(None, 4), dtype=np.float32),
      'landmarks': tensor(shape=(None, 10), dtype=np.float32),
      # An int16 tensor would be stored as varints: larger, and slow to read.
      'speech': tensor(shape=(), dtype=np.object_),
      'emotion': tfds.features.Text(),
      'intensity': tfds.features.Text(),
      'valence': tfds.features.Scalar(np.float32),
      'arousal': tfds.features.Scalar(np.float32),
      'frame_valence': tensor(shape=(None,), dtype=np.float32),
      'frame_arousal': tensor(shape=(None,), dtype=np.float32),
      'frame_expression': tensor(shape=(None,), dtype=np.int32),
      'frame_action_units': tensor(
        shape=(None, NUM_ACTION_UNITS), dtype=np.float32
      ),
    }
    | {name: _to_feature(kind) for name, kind in extra.items()}
  )


def _to_feature(kind):
  if kind is str:
    return tfds.features.Text()
  shape = ()
  if isinstance(kind, tuple):
    kind, length = kind
    shape = (length,)
  return tfds.features.Tensor(
    shape=shape, dtype={int: np.int32, float: np.float32}[kind]
  )


def unknown(kind: type | tuple[type, int]) -> Any:
  """What stands for a value that a corpus's own field lacks."""
  if isinstance(kind, tuple):
    return [unknown(kind[0])] * kind[1]
  return {str: '', int: -1, float: float('nan')}[kind]


@dataclasses.dataclass(frozen=True)
class Dataset:
  """A prepared dataset, open for reading.

  Attributes:
    name: such as 'crema_d_av/face:1.0.0'.
    corpus: such as 'crema_d'.
    directory: where its files are.
    source: its records; `source[i]` is a dict of NumPy values and bytes.
    index: columns of the index, arrays of one row a record.
    emotions: the words that the corpus labels with, in its own order.
  """

  name: str
  corpus: str
  directory: pathlib.Path
  source: Sequence[dict[str, Any]]
  index: dict[str, np.ndarray]
  emotions: tuple[str, ...]


def open_dataset(
  name: str, data_dir: str | os.PathLike | None = None
) -> Dataset:
  """Opens a prepared dataset.

  Args:
    name: 'crema_d_av', 'crema_d_av/face' or 'crema_d_av/face:1.0.0'; the
      config 'face' and the newest version when not said.
    data_dir: where datasets are; see `default_data_dir`.

  Raises:
    AvemoError: when it is not there, or damaged.
  """
  directory = find_dataset(name, data_dir)
  try:
    builder = tfds.builder_from_directory(directory)
    source = builder.as_data_source(SPLIT)
    about = dict(builder.info.metadata)
    corpus, emotions = about['corpus'], tuple(about['emotions'])
  except (OSError, ValueError, KeyError, RuntimeError) as error:
    raise errors.AvemoError(
      f'{directory}: cannot be opened ({" ".join(str(error).split())[:200]}); '
      'prepare it again with --overwrite'
    ) from error
  return Dataset(
    name=f'{builder.name}/{directory.parent.name}:{directory.name}',
    corpus=corpus,
    directory=directory,
    source=source,
    index=index.read_index(directory, source),
    emotions=emotions,
  )


def identify(dataset: Dataset) -> str:
  """A sha256 of what the records are: their order, labels and lengths."""
  digest = hashlib.sha256()
  for name in IDENTITY:
    column = [str(value) for value in dataset.index.get(name, ())]
    digest.update(json.dumps([name, column]).encode())
  return digest.hexdigest()


def default_data_dir(data_dir: str | os.PathLike | None = None) -> pathlib.Path:
  """The folder of all datasets: as given, else $AVEMO_DATA, else in home."""
  return pathlib.Path(
    data_dir or os.environ.get('AVEMO_DATA') or '~/avemo_data'
  ).expanduser()


def find_dataset(
  name: str, data_dir: str | os.PathLike | None = None
) -> pathlib.Path:
  """The directory of a prepared dataset; arguments as for `open_dataset`.

  Raises:
    AvemoError: when it is not there; says how to make it.
  """
  root = default_data_dir(data_dir)
  rest, _, version = name.partition(':')
  dataset, _, config = rest.partition('/')
  config = config or CONFIGS[0]
  parent = root / dataset / config
  versions = sorted(
    (
      path
      for path in parent.glob(version or '*.*.*')
      if (path / 'dataset_info.json').is_file()
    ),
    key=lambda path: [int(n) if n.isdigit() else -1 for n in _split(path.name)],
  )
  if versions:
    return versions[-1]
  corpus = dataset.removesuffix(SUFFIX)
  if corpus not in corpora.CORPORA:
    known = [f'{one}{SUFFIX}' for one in corpora.CORPORA]
    near = difflib.get_close_matches(dataset, known, 1, cutoff=0.8)
    hint = f'did you mean {near[0]}?' if near else f'known: {", ".join(known)}'
    raise errors.AvemoError(f'no dataset {name} in {root}; {hint}')
  option = f' --data-dir {root}' if data_dir else ''
  chosen = '' if config == CONFIGS[0] else f' --config {config}'
  # The pictures of the other config are no less of this corpus.
  own = [x for x in list_datasets(root) if x.startswith(f'{dataset}/')]
  hint = f'; {", ".join(own)} is there' if own else ''
  raise errors.AvemoError(
    f'no dataset {name} in {root}; `avemo prepare {corpus} --raw DIR{chosen}'
    f'{option}` makes it{hint}'
  )


def _split(version):
  return version.split('.')


def list_datasets(data_dir: str | os.PathLike | None = None) -> list[str]:
  """Names such as 'crema_d_av/face' of the datasets that are prepared."""
  root = default_data_dir(data_dir)
  found = root.glob(f'*{SUFFIX}/*/*.*.*/dataset_info.json')
  return sorted({'/'.join(path.parts[-4:-2]) for path in found})
