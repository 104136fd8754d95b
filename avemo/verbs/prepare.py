"""The verb `prepare`: its arguments and what it calls."""

import pathlib

from avemo.verbs import options

SUMMARY = "build the dataset CORPUS_av from a corpus's files"


def add_arguments(verb) -> None:
  verb.add_argument(
    'corpus',
    metavar='CORPUS',
    help='crema_d, ravdess, enterface, msp_improv, mafw, aff_wild2, or custom '
    'for any folder of films and sounds',
  )
  verb.add_argument(
    '--raw',
    type=pathlib.Path,
    required=True,
    metavar='DIR',
    help='the corpus as downloaded or unpacked',
  )
  verb.add_argument(
    '--labels',
    type=pathlib.Path,
    metavar='CSV',
    help='a table of your own labels and splits: a row a clip, named in the '
    'column clip_id (custom: path), beside columns such as valence, arousal, '
    'emotion, au_<n>, split, frame (custom: speaker)',
  )
  verb.add_argument(
    '--config',
    choices=('face', 'frame'),
    default='face',
    help='store face crops or whole pictures',
  )
  verb.add_argument(
    '--face-model',
    type=pathlib.Path,
    metavar='ONNX',
    help="YuNet face detector; OpenCV's cascade when not given",
  )
  verb.add_argument(
    '--runner',
    metavar='NAME',
    help='build as an Apache Beam pipeline (pip install "avemo[beam]"): '
    'FnApiRunner on this machine, FlinkRunner, SparkRunner or DataflowRunner '
    'on many, which must all see the folders under the same paths',
  )
  verb.add_argument(
    '--runner-option',
    action='append',
    default=[],
    metavar='NAME=VALUE',
    help='an option of the runner, as Beam calls it; as often as needed',
  )
  verb.add_argument(
    '--overwrite', action='store_true', help='build again what exists'
  )
  options.add_workers(verb)
  options.add_data_dir(verb)


def run(args) -> None:
  from datasets_tfds import prepare

  report = prepare.prepare(
    args.corpus,
    args.raw,
    data_dir=args.data_dir,
    config=args.config,
    labels=args.labels,
    face_model=args.face_model,
    workers=args.workers,
    runner=args.runner,
    runner_options=args.runner_option,
    overwrite=args.overwrite,
  )
  print(report)
