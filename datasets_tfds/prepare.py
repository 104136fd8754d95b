"""Builds a corpus's dataset: the verb `avemo prepare`."""

import collections
import contextlib
import dataclasses
import hashlib
import importlib
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from avemo import corpora, errors, locks, words
from avemo.corpora import sheets
from avemo.data import index, schema
from avemo.media import faces
from datasets_tfds import beam, build, records

# What a dataset was prepared from: a file of its own, which names a folder of
# this machine and is left out where a dataset is given away.
ORIGIN = 'prepared_from.json'


@dataclasses.dataclass(frozen=True)
class Report:
  """What a dataset was made of; its text is what the user reads.

  Attributes:
    name: such as 'crema_d_av/face'.
    directory: where the dataset is.
    used: clips in it whose files were all of use.
    repaired: clips in it that lack a file which was of no use.
    records: of all its clips; a long one has several.
    quarantined: files that were of no use, all in quarantine.jsonl, and those
      used in part.
    in_part: files of these that were used in part.
    rows: notes on rows of the user's own table, in quarantine.jsonl too.
    already_prepared: it was there before, and nothing was done.
    left_out: clips that are not in it, for want of usable files.
    lacking: of these, those that lack one modality of two, by which.
    about: its classes, speakers and splits, in lines; of own recordings.
    origin: what it was made from, see `describe_origin`; empty where it is
      not known.
  """

  name: str
  directory: pathlib.Path
  used: int
  repaired: int
  quarantined: int
  already_prepared: bool = False
  left_out: int = 0
  records: int = 0
  in_part: int = 0
  lacking: Mapping[str, int] = dataclasses.field(default_factory=dict)
  rows: tuple[str, ...] = ()
  about: tuple[str, ...] = ()
  origin: Mapping[str, str] = dataclasses.field(default_factory=dict)

  def __str__(self):
    total = self.used + self.repaired
    files = words.count(self.quarantined, 'file')
    if self.in_part:
      files += f', {self.in_part} of them used in part'
    lines = [
      f'{self.name}: {words.count(total, "clip")} used in '
      f'{words.count(self.records, "record")}, {self.repaired} of them '
      f'repaired, {words.count(self.left_out, "clip")} left out',
      f'  quarantined: {files}',
      f'  dataset: {self.directory}',
      f'  prepared from: {tell_origin(self.origin)}',
    ]
    if self.lacking:
      each = (f'{n} for want of its {what}' for what, n in self.lacking.items())
      lines.append(
        f'  left out: {words.count(self.left_out, "clip")}, {", ".join(each)}'
      )
    lines += [f'  {line}' for line in self.about]
    if self.rows:
      lines.append(
        f'  labels: {words.count(len(self.rows), "row")} of no use, or in '
        f'part; e.g. {self.rows[0]}'
      )
    if self.quarantined or self.rows:
      lines.append(f'  reasons: {self.directory / build.QUARANTINE}')
    if self.already_prepared:
      lines.append('  already prepared; --overwrite builds it again')
    return '\n'.join(lines)


def prepare(
  corpus: str,
  raw: str | os.PathLike,
  *,
  data_dir: str | os.PathLike | None = None,
  config: str = schema.CONFIGS[0],
  labels: str | os.PathLike | None = None,
  face_model: str | os.PathLike | None = None,
  workers: int = 1,
  runner: str | None = None,
  runner_options: Sequence[str] = (),
  overwrite: bool = False,
  progress: bool = True,
) -> Report:
  """Builds the dataset `<corpus>_av` from a corpus's files.

  It appears under its name only when it is whole, and only then does it take
  the place of another. What an interrupted build left behind is removed by
  the next one.

  Args:
    corpus: key of `avemo.corpora.CORPORA`.
    raw: the corpus as downloaded or unpacked.
    data_dir: where datasets are; see `schema.default_data_dir`.
    config: 'face' or 'frame'.
    labels: a table of labels and splits of the user's own, which count before
      those of the corpus; see `avemo.corpora.given_rows`.
    face_model: YuNet's ONNX file; OpenCV's cascade when None.
    workers: processes; 0 works in this one. The records do not depend on it.
    runner: builds as an Apache Beam pipeline on the runner of this name; the
      records are the same.
    runner_options: of the runner, `name=value`.
    overwrite: builds again, in place of a dataset that exists.
    progress: shows a bar.

  Raises:
    AvemoError: for what is unknown, missing or empty, for a dataset that was
      prepared from something else, and for a folder that cannot be written or
      is full.
  """
  corpora.get(corpus)
  if config not in schema.CONFIGS:
    raise errors.AvemoError(
      f'unknown config {config!r}; one of {", ".join(schema.CONFIGS)}'
    )
  directory = pathlib.Path(make_builder(corpus, config, data_dir).data_dir)
  labels = None if labels is None else os.fspath(labels)
  downloads = tfds.download.DownloadConfig()
  if runner is not None:
    downloads = beam.start(runner, runner_options, workers)
    # Workers stand in folders of their own.
    raw = os.path.abspath(raw)
    face_model = face_model and os.path.abspath(face_model)
  elif runner_options:
    raise errors.AvemoError('--runner-option is of no use without --runner')
  try:
    directory.parent.mkdir(parents=True, exist_ok=True)
    busy = f'{directory}: is being prepared by another process; wait for it'
    with locks.hold(directory.parent, busy), _quiet():
      origin = describe_origin(raw, face_model, labels)
      if directory.is_dir() and not overwrite:
        check_origin(directory, origin)
        return read_report(directory, already_prepared=True)
      _remove_leftovers(directory)
      with _stage(directory) as staging:
        builder = make_builder(corpus, config, staging, labels)
        builder.scan(raw)
        faces.make_detector(face_model)
        builder.workers = workers
        builder.face_model = (
          None if face_model is None else os.fspath(face_model)
        )
        builder.progress = progress
        _build(builder, raw, downloads)
        made = pathlib.Path(builder.data_dir)
        index.build_index(made)
        text = json.dumps(origin, ensure_ascii=False, indent=2)
        (made / ORIGIN).write_text(f'{text}\n', encoding='utf-8')
        _swap(made, directory, staging / 'old')
      return read_report(directory)
  except OSError as error:
    raise _explain(directory, error) from error


def describe_origin(
  raw: str | os.PathLike,
  face_model: str | os.PathLike | None,
  labels: str | os.PathLike | None = None,
) -> dict[str, str]:
  """What a dataset is made from: `raw`, `detector`, `detector_sha256`.

  With a table of labels `labels` and `labels_sha256` as well, and
  `labels_encoding` where it is not UTF-8.

  Raises:
    AvemoError: the detector or the table cannot be read.
  """
  origin = {
    'raw': os.path.realpath(raw),
    **faces.describe_detector(face_model),
  }
  if labels is not None:
    try:
      content = pathlib.Path(labels).read_bytes()
    except OSError as error:
      raise errors.AvemoError(
        f'{labels}: {error.strerror}; --labels names a table'
      ) from error
    origin |= {
      'labels': os.path.realpath(labels),
      'labels_sha256': hashlib.sha256(content).hexdigest(),
    }
    encoding = sheets.tell_encoding(labels)
    # UTF-8 is what is meant where nothing is said.
    origin |= {'labels_encoding': encoding} if encoding else {}
  return origin


def read_origin(directory: pathlib.Path) -> dict[str, str]:
  """What a prepared dataset was made from; empty where it is not known."""
  try:
    return json.loads((directory / ORIGIN).read_text(encoding='utf-8'))
  except (FileNotFoundError, ValueError):
    return {}


def check_origin(directory: pathlib.Path, origin: Mapping[str, str]) -> None:
  """Raises an AvemoError where a dataset was made from something else."""
  known = read_origin(directory)
  if known and known != origin:
    if not os.path.isdir(origin['raw']):
      raise errors.AvemoError(
        f'{origin["raw"]}: no such folder; --raw names the corpus folder'
      )
    raise errors.AvemoError(
      f'{directory}: was prepared from {tell_origin(known)}, not from '
      f'{tell_origin(origin)}; --overwrite builds it again, another --data-dir '
      'keeps both'
    )


def tell_origin(origin: Mapping[str, str]) -> str:
  if not origin:
    return 'not known'
  told = (
    f'{origin["raw"]}, faces found by {origin["detector"]} '
    f'{origin["detector_sha256"][:8]}'
  )
  if 'labels' in origin:
    told += f', labels {origin["labels"]} {origin["labels_sha256"][:8]}'
  if 'labels_encoding' in origin:
    told += f' read as {origin["labels_encoding"]}'
  return told


def make_builder(
  corpus: str,
  config: str,
  data_dir: str | os.PathLike | None,
  labels: str | None = None,
) -> build.ClipBuilder:
  """The builder of a corpus's dataset."""
  name = f'{corpus}{schema.SUFFIX}'
  module = importlib.import_module(
    f'datasets_tfds.{name}.{name}_dataset_builder'
  )
  return module.Builder(
    data_dir=schema.default_data_dir(data_dir), config=config, labels=labels
  )


def read_report(
  directory: pathlib.Path, *, already_prepared: bool = False
) -> Report:
  """Counts what a prepared dataset was made of."""
  text = (directory / build.QUARANTINE).read_text(encoding='utf-8')
  lines = [json.loads(line) for line in text.splitlines()]
  dataset = '/'.join(directory.parts[-3:-1])
  opened = schema.open_dataset(
    f'{dataset}:{directory.name}', directory.parents[2]
  )
  present = set(opened.index['clip_id'].tolist())
  origin = read_origin(directory)
  table = pathlib.Path(origin.get('labels', '')).name
  rows = [line for line in lines if line['path'] == table]
  of_files = [line for line in lines if line['path'] != table]
  in_part = [x for x in of_files if x['reason'].startswith('used in part')]
  repaired = present & {
    line['clip_id']
    for line in of_files
    if line['kept'] and not line['reason'].startswith('used in part')
  }
  named = {i for x in lines for i in x.get('clip_ids', [x['clip_id']])}
  lacking = {
    what: len(
      {
        line['clip_id']
        for line in lines
        if records.LACKS.format(what) in line['reason']
      }
      - present
    )
    for what in ('picture', 'sound')
  }
  return Report(
    dataset,
    directory,
    used=len(present) - len(repaired),
    repaired=len(repaired),
    quarantined=len(of_files),
    rows=tuple(line['reason'] for line in rows),
    already_prepared=already_prepared,
    left_out=len(named - present - {''}),
    records=len(opened.source),
    in_part=len(in_part),
    about=describe_own(opened) if opened.corpus == 'custom' else (),
    lacking={what: count for what, count in lacking.items() if count},
    origin=origin,
  )


def describe_own(dataset: schema.Dataset) -> tuple[str, ...]:
  """Classes, speakers and splits of somebody's own recordings, in lines."""
  index = dataset.index
  _, first = np.unique(index['clip_id'], return_index=True)

  def count(column, unknown):
    found = collections.Counter(column[first].tolist())
    told = [f'{word} {found[word]}' for word in sorted(found) if word]
    return ', '.join(told + ([f'{unknown} {found[""]}'] if found[''] else []))

  speakers = {*index['speaker'][first].tolist()} - {''}
  return (
    f'clips by emotion: {count(index["emotion"], "without")}; '
    f'{words.count(len(speakers), "speaker")}',
    f'clips by split: {count(index["split"], "in none")}',
  )


def _build(builder, raw, config):
  with tempfile.TemporaryDirectory() as downloads:
    builder.download_and_prepare(
      download_dir=downloads,
      download_config=config.replace(manual_dir=os.fspath(raw)),
    )


def _explain(directory, error):
  reason = error.strerror or str(error)
  return errors.AvemoError(
    f'{directory}: cannot be written ({reason}); make room there, or choose '
    'another --data-dir'
  )


@contextlib.contextmanager
def _stage(directory) -> Iterator[pathlib.Path]:
  """A folder beside the dataset to build it in, gone at the end."""
  staging = directory.parent / f'incomplete.{os.getpid()}_{directory.name}'
  staging.mkdir()
  try:
    yield staging
  finally:
    shutil.rmtree(staging, ignore_errors=True)


def _swap(made, directory, old):
  """Puts what was made in the place of the dataset, which becomes `old`."""
  if directory.is_dir():
    directory.rename(old)
  try:
    made.rename(directory)
  except BaseException:
    # Whatever came between: better the old one than none.
    if old.is_dir() and not directory.is_dir():
      old.rename(directory)
    raise


def _remove_leftovers(directory):
  """Removes what killed builds left; under the lock no other one is live."""
  for path in directory.parent.glob(f'incomplete.*_{directory.name}*'):
    shutil.rmtree(path)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Keeps TFDS from talking: this module reports."""
  level = logging.get_verbosity()
  logging.set_verbosity(logging.ERROR)
  tfds.disable_progress_bar()
  try:
    yield
  finally:
    logging.set_verbosity(level)
