"""What the builders of all corpora share: clips in, shards of records out."""

import dataclasses
import errno
import functools
import json
import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import tensorflow_datasets as tfds
import tqdm
from array_record.python import array_record_module
from tensorflow_datasets.core import example_serializer

from avemo import corpora, errors, words
from avemo.corpora import clip as clips
from avemo.corpora import given
from avemo.data import schema
from avemo.media import faces
from datasets_tfds import pool, records, spool

QUARANTINE = 'quarantine.jsonl'

# A shard is closed when it has passed this many bytes.
SHARD_BYTES = 256 << 20

_SUMMARIES = {
  'face': 'Squares around the main face, at 1.5 times its box, up to 320 px.',
  'frame': 'Whole pictures, up to 320 px.',
}


class ClipBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Base of the builders; a corpus's own says its name and its instructions.

  The records are written here and not by TFDS's own writer: that one keeps a
  gigabyte in memory, needs TensorFlow for what lies beyond, and its bytes
  differ from process to process.

  Attributes:
    CORPUS: name of the module of `avemo.corpora`.
    labels: table of labels that the user adds, None without one.
    workers: processes that decode; 0 decodes in this one. Set it before
      `download_and_prepare`; the records do not depend on it.
    face_model: ONNX file of the face detector, None for the default one.
    progress: shows a bar.
  """

  CORPUS: ClassVar[str]
  BUILDER_CONFIGS = [
    tfds.core.BuilderConfig(name=name, description=_SUMMARIES[name])
    for name in schema.CONFIGS
  ]
  workers = 1
  face_model: str | None = None
  progress = True

  def __init__(
    self,
    *,
    labels: str | None = None,
    file_format: str | None = None,
    **kwargs,
  ):
    if file_format not in (None, 'array_record'):
      raise ValueError(f'{self.name} is written as array_record only')
    self._scanned = {}
    self.labels = labels
    super().__init__(file_format='array_record', **kwargs)

  @property
  def extra(self) -> schema.Extra:
    """The fields beyond those of every corpus."""
    own = corpora.get(self.CORPUS).EXTRA
    return {**own, **given.EXTRA} if self.labels else own

  @property
  def options(self) -> records.Options:
    """How this builder's clips become records, once they are looked for."""
    corpus = corpora.get(self.CORPUS)
    return records.Options(
      config=self.builder_config.name,
      face_model=self.face_model,
      longest_clip=corpus.LONGEST_CLIP,
      extra=self.extra,
      emotions=tuple(self.info.metadata['emotions']),
    )

  def _info(self):
    corpus = corpora.get(self.CORPUS)
    return self.dataset_info_from_configs(
      features=schema.features(self.extra),
      license=corpus.LICENCE,
      disable_shuffling=True,
      metadata=tfds.core.MetadataDict(
        corpus=self.CORPUS, emotions=list(corpus.EMOTIONS)
      ),
    )

  def scan(
    self, root: str | os.PathLike
  ) -> tuple[list[clips.Clip], list[clips.Quarantined]]:
    """The clips under `root` and the unusable files; looked for once.

    Raises:
      AvemoError: when there is no clip.
    """
    root = os.fspath(root)
    if root not in self._scanned:
      self._scanned[root] = scan(self.CORPUS, pathlib.Path(root), self.labels)
      corpus = corpora.get(self.CORPUS)
      if not corpus.EMOTIONS:
        words = corpus.find_emotions(self._scanned[root][0])
        self.info.metadata['emotions'] = words
    return self._scanned[root]

  def _split_generators(self, dl_manager):
    root = pathlib.Path(dl_manager.manual_dir)
    return {schema.SPLIT: self._generate_examples(root)}

  def _generate_examples(self, root):
    """Yields (clip's id, its serialised records); writes the quarantine."""
    found, unusable = self.scan(root)
    # A folder that is removed when the build ends, whatever ends it.
    options = dataclasses.replace(self.options, scratch=str(self.data_dir))
    jobs = [(clip, options) for clip in found]
    outcomes = pool.map_ordered(
      serialise_clip, jobs, workers=self.workers, give_up=give_up
    )
    bar = tqdm.tqdm(
      outcomes,
      total=len(jobs),
      desc=f'prepare {self.CORPUS}',
      unit='clip',
      # On a terminal alone: a log file would fill with bars.
      disable=None if self.progress else True,
    )
    lines, used = [], False
    for (clip, _), outcome in zip(jobs, bar, strict=True):
      lines += [
        describe_unusable(root, file, clip, kept=bool(outcome.records))
        for file in outcome.unusable
      ]
      used = used or bool(outcome.records)
      yield clip.clip_id, outcome.records
    if not used:
      raise errors.AvemoError(
        f'{root}: none of {words.count(len(jobs), "clip")} could be used; e.g. '
        f'{lines[0]["path"]}: {lines[0]["reason"]}'
      )
    write_lines(
      pathlib.Path(self.data_dir) / QUARANTINE,
      [*describe_found(root, unusable, found, lines), *lines],
    )

  def _generate_splits(self, dl_manager, download_config):
    if download_config.beam_runner is not None:
      return self._generate_with_beam(dl_manager, download_config)
    return [
      write_shards(
        name,
        (record for _, made in generator for record in made),
        self._get_filename_template(split_name=name),
      )
      for name, generator in self._split_generators(dl_manager).items()
    ]

  def _generate_with_beam(self, dl_manager, download_config):
    from datasets_tfds import beam

    root = pathlib.Path(dl_manager.manual_dir)
    found, unusable = self.scan(root)
    return [
      beam.write(
        schema.SPLIT,
        found,
        unusable,
        self.options,
        self._get_filename_template(split_name=schema.SPLIT),
        root,
        download_config,
      )
    ]

  def _log_download_bytes(self):
    """Says nothing: there is no download."""

  def _log_download_done(self):
    """Says nothing: the caller reports."""


def scan(
  corpus: str, root: pathlib.Path, labels: str | None = None
) -> tuple[list[clips.Clip], list[clips.Quarantined]]:
  """The clips of a corpus under `root`, and the files that are of no use.

  Args:
    corpus: its name.
    root: its folder.
    labels: the user's own table of labels, or None.

  Raises:
    AvemoError: when there is no clip, or the table is of no use.
  """
  module = corpora.get(corpus)
  if module.EMOTIONS:
    found, unusable = module.scan(root)
  else:
    # Its labels are the user's to begin with.
    found, unusable = module.scan(root, labels)
    labels = None
  if found and labels:
    found, notes = given.add(found, labels, module.parse_name, module.EMOTIONS)
    unusable = unusable + notes
  if found:
    return found, unusable
  if not any(root.iterdir()):
    raise errors.AvemoError(f'{root}: the folder is empty')
  if not unusable:
    raise errors.AvemoError(f'{root}: holds no media file')
  first = min(unusable)
  raise errors.AvemoError(
    f'{root}: holds no usable clip of {corpus}; e.g. {first.path}: '
    f'{first.reason}'
  )


def serialise_clip(
  job: tuple[clips.Clip, records.Options],
) -> records.Outcome:
  """Makes a clip's records, as bytes; runs in a worker."""
  clip, options = job
  serialise = make_serialiser(tuple(options.extra.items()))
  return records.make_records(
    clip,
    options,
    make_detector,
    lambda made: spool.store(map(serialise, made), options.scratch),
  )


def give_up(job: tuple[clips.Clip, records.Options]) -> records.Outcome:
  """The outcome of a clip whose worker died, again when it ran alone."""
  clip, _ = job
  paths = dict.fromkeys((*clip.videos, *clip.audios))
  reason = 'reading the files of this clip ends the process'
  lost = [clips.Quarantined(path, reason) for path in paths]
  return records.Outcome([], [*lost, *clip.if_left_out])


@functools.cache
def make_detector(face_model):
  """One detector a process: loading it takes longer than using it."""
  return faces.make_detector(face_model)


@functools.cache
def make_serialiser(extra: tuple):
  """A function from records to the bytes that stand for them.

  Args:
    extra: items of the corpus's own fields.
  """
  features = schema.features(dict(extra))
  serialiser = example_serializer.ExampleSerializer(
    features.get_serialized_info()
  )

  def serialise(record: dict[str, Any]) -> bytes:
    example = serialiser.get_tf_example(features.encode_example(record))
    # The order of a map's entries is else another in every process.
    return example.SerializeToString(deterministic=True)

  return serialise


def write_shards(
  split: str, made: Iterable[bytes], template
) -> tfds.core.SplitInfo:
  """Writes records, in order, into as many ArrayRecord files as they need.

  Args:
    split: its name.
    made: serialised records.
    template: TFDS's template of the file names.
  """
  folder = pathlib.Path(template.data_dir)
  made, lengths, num_bytes = iter(made), [], 0
  for path in _name_parts(folder):
    length, size = _write_shard(path, made)
    if not length:
      path.unlink(missing_ok=True)
      break
    lengths.append(length)
    num_bytes += size
  for number in range(len(lengths)):
    os.rename(
      folder / f'part-{number}',
      template.sharded_filepath(shard_index=number, num_shards=len(lengths)),
    )
  return tfds.core.SplitInfo(
    name=split,
    shard_lengths=lengths,
    num_bytes=num_bytes,
    filename_template=template,
  )


def _name_parts(folder) -> Iterator[pathlib.Path]:
  number = 0
  while True:
    yield folder / f'part-{number}'
    number += 1


def _write_shard(path, made):
  """Fills one file; returns the number of its records and their bytes."""
  # JPEGs shrink by 4 %, and to undo that takes a third of reading their bytes.
  options = 'group_size:1,uncompressed'
  writer = array_record_module.ArrayRecordWriter(str(path), options)
  length = size = 0
  try:
    for record in made:
      _report_full_disk(path, writer.write, record)
      length += 1
      size += len(record)
      if size > SHARD_BYTES:
        break
  finally:
    _report_full_disk(path, writer.close)
  return length, size


def _report_full_disk(path, write, *args):
  try:
    write(*args)
  except RuntimeError as error:
    # "... failed: No space left on device; writing ..."
    reason = str(error).split('failed: ')[-1].split(';')[0]
    raise OSError(errno.EIO, ' '.join(reason.split()), str(path)) from error


def describe_unusable(
  root: pathlib.Path,
  file: clips.Quarantined,
  clip: clips.Clip | None = None,
  kept: bool = False,
) -> dict[str, Any]:
  """A line of the quarantine.

  Args:
    root: of the corpus; paths are told from it.
    file: what cannot be used.
    clip: whose file it is, if it is known.
    kept: the clip is in the dataset without this file.
  """
  path = os.path.relpath(file.path, root)
  if os.sep not in os.fspath(file.path):
    # The user's own table, which may lie anywhere.
    path = file.path
  ids = (clip.clip_id,) if clip else file.clip_ids
  line = {
    'path': os.fspath(file.path) if path.startswith('..') else path,
    'reason': file.reason.replace(f'{root}{os.sep}', ''),
    'clip_id': ids[0] if len(ids) == 1 else '',
    'kept': kept,
  }
  return line | ({'clip_ids': list(ids)} if len(ids) > 1 else {})


def describe_found(
  root: pathlib.Path,
  unusable: Iterable[clips.Quarantined],
  found: Iterable[clips.Clip],
  lines: Iterable[dict[str, Any]],
) -> list[dict[str, Any]]:
  """Lines of the quarantine about what was of no use from the start.

  Args:
    root: of the corpus.
    unusable: what that is.
    found: the clips that were read all the same.
    lines: of the quarantine about these.
  """
  left_out = {line['clip_id'] for line in lines if not line['kept']}
  used = {clip.clip_id for clip in found} - left_out
  return [
    describe_unusable(
      root, file, kept=bool(file.clip_ids) and used.issuperset(file.clip_ids)
    )
    for file in unusable
  ]


def write_lines(path: pathlib.Path, lines: Iterable[dict[str, Any]]):
  """Writes JSON lines, sorted by path."""
  lines = sorted(lines, key=lambda line: (line['path'], line['reason']))
  text = ''.join(f'{json.dumps(line, ensure_ascii=False)}\n' for line in lines)
  path.write_text(text, encoding='utf-8')
