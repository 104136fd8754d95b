"""The same records as an Apache Beam pipeline, for more than one machine.

The pipeline ends in TFDS's own Beam writer. Every worker must reach the raw
files and the data folder under the same paths, and import this package.
"""

import difflib
import functools
import logging
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow_datasets as tfds
from tensorflow_datasets.core import file_adapters
from tensorflow_datasets.core import writer as tfds_writer
from tensorflow_datasets.core.utils import shard_utils

from avemo import errors, words
from avemo.corpora import clip as clips
from datasets_tfds import build, records

LOCAL = 'FnApiRunner'
# Beam's own way to run on one machine first loads a program from the network;
# what it falls back to does not.
_LOCAL_NAMES = ('fnapirunner', 'directrunner', 'direct')

# Records of a clip have numbers that follow one another; none has more.
_MOST_SEGMENTS = 1 << 20


class _Bytes:
  """TFDS's serialiser for records that are bytes already."""

  def serialize_example(self, record: bytes) -> bytes:
    return record


class _Shards(shard_utils.ShardConfig):
  """As many shards as the records fill; TFDS's own goes by its defaults."""

  def get_number_shards(
    self, total_size: int, num_examples: int, uses_precise_sharding: bool = True
  ) -> int:
    del uses_precise_sharding
    return min(num_examples, -(-total_size // self.max_shard_size))


def start(
  name: str, given: Sequence[str], workers: int
) -> tfds.download.DownloadConfig:
  """What TFDS needs to know to build on a runner.

  Args:
    name: of a runner, as Beam calls it: FlinkRunner, SparkRunner,
      DataflowRunner, or FnApiRunner for this machine.
    given: options of the runner, `name=value` or `name`.
    workers: processes, on this machine.

  Raises:
    AvemoError: Beam is not installed, or knows no such runner or option.
  """
  beam = _import()
  from apache_beam.options import pipeline_options

  flags = [f'--{option.lstrip("-")}' for option in given]
  if name.lower() in _LOCAL_NAMES:
    from apache_beam.runners.portability import fn_api_runner

    runner = fn_api_runner.FnApiRunner()
    flags = [*_spread(workers), *flags]
  else:
    runner = _make_runner(beam, name)
  # Of the options given, and never of this program's own.
  options = pipeline_options.PipelineOptions([])
  known = options.get_all_options()
  for flag in flags:
    word = flag.lstrip('-').partition('=')[0]
    if word.replace('-', '_') not in known:
      near = difflib.get_close_matches(word, known, 1)
      hint = f'; did you mean {near[0]}?' if near else ''
      raise errors.AvemoError(f'--runner-option {word}: unknown{hint}')
  return tfds.download.DownloadConfig(
    beam_runner=runner,
    beam_options=pipeline_options.PipelineOptions(flags),
  )


def _import():
  try:
    # It warns of clouds that are not in use.
    logging.disable(logging.WARNING)
    import apache_beam
  except ImportError as error:
    raise errors.AvemoError(
      f'--runner needs Apache Beam ({error}); install the extra: '
      "pip install 'avemo[beam]'"
    ) from error
  finally:
    logging.disable(logging.NOTSET)
  # What fails is raised here, where it is told in a line.
  logging.getLogger('apache_beam').setLevel(logging.CRITICAL)
  return apache_beam


def _spread(workers) -> list[str]:
  if workers <= 1:
    return []
  return [
    '--direct_running_mode=multi_processing',
    '--default_sdk_harness_log_level=CRITICAL',
    f'--direct_num_workers={workers}',
  ]


def _make_runner(beam, name):
  from apache_beam.options import pipeline_options

  try:
    return beam.runners.create_runner(name)
  except (ImportError, AttributeError, ValueError, RuntimeError) as error:
    paths = pipeline_options.StandardOptions.ALL_KNOWN_RUNNERS
    known = [LOCAL, *(path.rpartition('.')[2] for path in paths)]
    near = difflib.get_close_matches(name, known, 1)
    hint = f'did you mean {near[0]}? ' if near else ''
    raise errors.AvemoError(
      f'--runner {name}: {hint}Beam cannot make it '
      f'({" ".join(str(error).split())[:200]})'
    ) from error


def write(
  split: str,
  found: Sequence[clips.Clip],
  unusable: Sequence[clips.Quarantined],
  options: records.Options,
  template: Any,
  root: pathlib.Path,
  config: tfds.download.DownloadConfig,
) -> tfds.core.SplitInfo:
  """Makes and writes the records of clips, and the quarantine, on a runner.

  Args:
    split: its name.
    found: the clips, in the order of the records.
    unusable: files that are of no use from the start.
    options: how clips become records.
    template: TFDS's template of the file names.
    root: of the corpus.
    config: from `start`.

  Raises:
    AvemoError: the pipeline failed.
  """
  beam = _import()
  writer = tfds_writer.BeamWriter(
    serializer=_Bytes(),
    filename_template=template,
    hash_salt='',
    disable_shuffling=True,
    example_writer=tfds_writer.ExampleWriter(
      file_adapters.FileFormat.ARRAY_RECORD
    ),
    shard_config=_Shards(max_shard_size=build.SHARD_BYTES),
  )
  folder = pathlib.Path(template.data_dir)
  make = functools.partial(_make_records, options=options, root=root)
  try:
    with beam.Pipeline(
      runner=config.beam_runner, options=config.beam_options
    ) as pipeline:
      made, faults = (
        pipeline
        | 'Clips' >> beam.Create(list(enumerate(found)))
        # So that no worker takes them all.
        | 'Spread' >> beam.Reshuffle()
        | 'MakeRecords'
        >> beam.FlatMap(make).with_outputs('faults', main='records')
      )
      writer.write_from_pcollection(made)
      _ = (
        faults
        | 'AllFaults' >> beam.combiners.ToList()
        | 'Quarantine'
        >> beam.Map(
          _write_quarantine,
          describe=functools.partial(
            build.describe_found, root, unusable, found
          ),
          path=folder / build.QUARANTINE,
        )
      )
  except Exception as error:
    # Whatever it is on its worker, here it is text.
    told = ' '.join(str(error).split())
    if 'number of generated examples is 0' in told:
      told = (
        f'none of {words.count(len(found), "clip")} under {root} could be used'
      )
    raise errors.AvemoError(
      f'the pipeline failed: {told[:400]}; --debug shows all of it'
    ) from error
  lengths, size = writer.finalize()
  return tfds.core.SplitInfo(
    name=split,
    shard_lengths=lengths,
    num_bytes=size,
    filename_template=template,
  )


def _make_records(
  numbered: tuple[int, clips.Clip], options: records.Options, root: pathlib.Path
) -> Iterator[Any]:
  """Yields numbered records of a clip, and lines of the quarantine aside."""
  from apache_beam import pvalue

  number, clip = numbered
  outcome = build.serialise_clip((clip, options))
  for file in outcome.unusable:
    line = build.describe_unusable(
      root, file, clip, kept=bool(len(outcome.records))
    )
    yield pvalue.TaggedOutput('faults', line)
  for segment, record in enumerate(outcome.records):
    yield number * _MOST_SEGMENTS + segment, record


def _write_quarantine(lines, describe, path: os.PathLike):
  build.write_lines(path, [*describe(lines), *lines])
