"""What preparation takes: by stage, with and without faces, and in parallel.

Films are simulated, or a corpus's own are named. All is told as a multiple of
real time a core: seconds of film over seconds of work and cores. What builds
also starts processes, some seconds that a real corpus does not feel. The peer
is PyAV alone, which decodes the same films to RGB and their sound to samples
and does nothing else; and FFmpeg's own program, where there is one. Each figure
is the median over repeats, in which the measurements take turns.

  python -m benchmarks.prepare --out benchmarks/results/prepare.json
"""

import argparse
import collections
import contextlib
import importlib.metadata
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import av
import cv2
import numpy as np

from avemo import cli, corpora, memory, simulate
from avemo.corpora import clip as clips
from avemo.data import schema
from avemo.media import crops, decode, faces, stills, tracking
from datasets_tfds import build, records
from datasets_tfds import prepare as prepare_lib

STAGES = ('decode', 'detect', 'crop', 'encode', 'write')
PACKAGES = ('av', 'opencv-python-headless', 'array-record', 'numpy')

Seconds = dict[str, float]


def main() -> None:
  memory.take_large_pages()  # As `avemo` does, and for the peer too.
  args = read_arguments()
  with tempfile.TemporaryDirectory(dir=args.scratch) as scratch:
    folder = pathlib.Path(scratch)
    raw = args.raw or simulate.simulate(
      args.corpus,
      folder / 'raw',
      speakers=args.speakers,
      clips_per_speaker=args.clips_per_speaker,
      workers=os.cpu_count() or 1,
    )
    found, media_seconds = find_films(args.corpus, raw)
    print(f'{len(found)} films, {media_seconds:.0f} s of them', flush=True)
    measure = make_measurements(args, raw, found, folder)
    rounds = [
      {name: run() for name, run in measure.items()}
      for _ in range(args.repeats)
    ]
  rows = summarize(rounds, media_seconds)
  content = {
    'date': time.strftime('%Y-%m-%d'),
    'cpus': os.cpu_count(),
    'machine': platform.processor() or platform.machine(),
    'load_before': round(args.load, 2),
    'python': platform.python_version(),
    'packages': {name: importlib.metadata.version(name) for name in PACKAGES},
    'corpus': args.corpus,
    'simulated': args.raw is None,
    'films': len(found),
    'media_seconds': round(media_seconds, 1),
    'repeats': args.repeats,
    'rows': rows,
  }
  if args.out:
    text = json.dumps(content, indent=1)
    args.out.write_text(f'{text}\n', encoding='utf-8')
  print(format_table(rows))


def read_arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--corpus', default='crema_d')
  parser.add_argument('--raw', type=pathlib.Path, help='simulated without it')
  parser.add_argument('--speakers', type=int, default=12)
  parser.add_argument('--clips-per-speaker', type=int, default=12)
  parser.add_argument('--repeats', type=int, default=3)
  parser.add_argument('--workers', type=int, nargs='+', default=[1, 2])
  parser.add_argument('--only', default='', help='part of a name below')
  parser.add_argument('--face-model', type=pathlib.Path)
  parser.add_argument('--scratch', type=pathlib.Path, help='a folder')
  parser.add_argument('--out', type=pathlib.Path, help='the JSON file')
  args = parser.parse_args()
  args.load = os.getloadavg()[0]
  return args


def find_films(
  corpus: str, raw: pathlib.Path
) -> tuple[list[clips.Clip], float]:
  """The clips that have pictures, and the seconds that they last."""
  found = [c for c in corpora.get(corpus).scan(raw)[0] if c.videos]
  return found, sum(decode.probe(c.videos[0]).duration for c in found)


def make_measurements(
  args, raw: pathlib.Path, found: Sequence[clips.Clip], folder: pathlib.Path
) -> dict[str, Callable[[], dict[str, Seconds]]]:
  """What to measure, by name: each gives its parts, and their wall seconds.

  A part is `<name>` with `wall`, `cpu` (of this process and its workers that
  have ended) and `cores`.
  """

  def whole(config, workers):
    def run():
      with clock({}, 'all', workers) as found_here:
        report = prepare_lib.prepare(
          args.corpus,
          raw,
          data_dir=folder / 'data',
          config=config,
          face_model=args.face_model,
          workers=workers,
          overwrite=True,
          progress=False,
        )
      if not report.used:
        raise SystemExit(f'nothing could be used: {report}')
      return found_here

    return run

  measure = {
    'PyAV decodes': lambda: time_each(decode_with_pyav, found),
    'stages': lambda: time_stages(args, found, folder),
    'without faces': lambda: time_blind(args, found, folder),
  }
  program = shutil.which('ffmpeg')
  if program:
    measure['FFmpeg decodes'] = lambda: time_each(
      lambda path: decode_with_ffmpeg(program, path), found
    )
  for workers in args.workers:
    for config in schema.CONFIGS:
      name = f'prepare {config}, workers {workers}'
      measure[name] = whole(config, workers)
  return {name: run for name, run in measure.items() if args.only in name}


@contextlib.contextmanager
def clock(
  seconds: dict[str, Seconds], name: str, cores: int = 1
) -> Iterator[dict[str, Seconds]]:
  """Adds what passes inside to a part's seconds."""
  wall, cpu = time.perf_counter(), os.times()
  yield seconds
  now = os.times()
  part = seconds.setdefault(name, {'wall': 0.0, 'cpu': 0.0, 'cores': cores})
  part['wall'] += time.perf_counter() - wall
  part['cpu'] += sum(now[:4]) - sum(cpu[:4])


# ---------------------------------------------------------------- the peers


def time_each(work, found) -> dict[str, Seconds]:
  seconds: dict[str, Seconds] = {}
  with clock(seconds, 'all'):
    for one in found:
      work(one.videos[0])
  return seconds


def decode_with_pyav(path: str) -> None:
  """Pictures to RGB, sound to samples; one thread, as a worker has it."""
  for kind in ('video', 'audio'):
    with av.open(path) as container:
      streams = getattr(container.streams, kind)
      if not streams:
        continue
      streams[0].codec_context.thread_count = 1
      for frame in container.decode(streams[0]):
        if kind == 'video':
          frame.to_ndarray(format='rgb24')
        else:
          frame.to_ndarray()


def decode_with_ffmpeg(program: str, path: str) -> None:
  command = [program, '-v', 'error', '-threads', '1', '-i', path]
  outputs = ['-pix_fmt', 'rgb24', '-f', 'null', '-']
  subprocess.run([*command, *outputs], check=True, capture_output=True)


# --------------------------------------------------------------- our stages


def time_stages(args, found, folder) -> dict[str, Seconds]:
  """Each stage of the config `face` by itself, one film after the other."""
  seconds: dict[str, Seconds] = {}
  detector = faces.make_detector(args.face_model)
  for one in found:
    with clock(seconds, 'decode'):
      images = [frame.image for frame in decode.read_frames(one.videos[0])]
      for path in one.audios[:1]:
        collections.deque(decode.stream_audio(path), maxlen=0)
    with clock(seconds, 'detect'):
      tracks = tracking.track_faces(images, detector)
      track = tracking.main_track(tracks, 0, len(images))
    if track is None:
      continue
    with clock(seconds, 'crop'):
      squares = [
        crops.crop_face(
          images[frame], box, margin=schema.MARGIN, max_side=schema.MAX_SIDE
        )[0]
        for frame, box in zip(track.frames, track.boxes, strict=True)
      ]
    with clock(seconds, 'encode'):
      for square in squares:
        stills.encode_jpeg(square)
  time_writing(args, found, folder, seconds)
  return seconds


def time_writing(args, found, folder, seconds) -> None:
  """Adds what it takes to serialise and write the records of all films."""
  builder = prepare_lib.make_builder(args.corpus, 'face', folder / 'written')
  template = builder._get_filename_template(split_name=schema.SPLIT)
  target = pathlib.Path(template.data_dir)
  target.mkdir(parents=True)
  serialise = build.make_serialiser(tuple(builder.extra.items()))
  options = records.Options(face_model=args.face_model, extra=builder.extra)

  def make():
    for one in found:
      # Made outside of the clock, which is stopped while they are.
      made = records.make_records(one, options, build.make_detector).records
      with clock(seconds, 'write'):
        written = [serialise(record) for record in made]
      yield from written

  waiting = Paused(make())
  with clock(seconds, 'write'):
    build.write_shards(schema.SPLIT, waiting, template)
  seconds['write']['wall'] -= waiting.wall
  seconds['write']['cpu'] -= waiting.cpu
  shutil.rmtree(folder / 'written')


class Paused:
  """An iterator that counts the time that its elements take to be made."""

  def __init__(self, elements: Iterator[bytes]):
    self._elements = elements
    self.wall = self.cpu = 0.0

  def __iter__(self):
    return self

  def __next__(self):
    seconds: dict[str, Seconds] = {}
    try:
      with clock(seconds, 'made'):
        return next(self._elements)
    finally:
      self.wall += seconds.get('made', {}).get('wall', 0.0)
      self.cpu += seconds.get('made', {}).get('cpu', 0.0)


class Blind:
  """A detector that sees nothing, at no cost."""

  def detect(self, image: np.ndarray) -> list[faces.Detection]:
    del image
    return []


def time_blind(args, found, folder) -> dict[str, Seconds]:
  """All but the detection: whole pictures of films in which none is sought."""
  seconds: dict[str, Seconds] = {}
  builder = prepare_lib.make_builder(args.corpus, 'frame', folder / 'blind')
  template = builder._get_filename_template(split_name=schema.SPLIT)
  pathlib.Path(template.data_dir).mkdir(parents=True)
  serialise = build.make_serialiser(tuple(builder.extra.items()))
  options = records.Options(config='frame', extra=builder.extra)
  with clock(seconds, 'all'):
    made = (
      serialise(record)
      for one in found
      for record in records.make_records(
        one, options, lambda model: Blind()
      ).records
    )
    build.write_shards(schema.SPLIT, made, template)
  shutil.rmtree(folder / 'blind')
  return seconds


# --------------------------------------------------------------- the figures


def summarize(rounds, media_seconds: float) -> list[dict[str, Any]]:
  """Medians over the rounds, and what they are of real time."""
  rows = []
  for name in rounds[0]:
    parts = rounds[0][name]
    for part in parts:
      wall, cpu = (
        statistics.median(one[name][part][kind] for one in rounds)
        for kind in ('wall', 'cpu')
      )
      cores = parts[part]['cores']
      rows.append(
        {
          'name': name if part == 'all' else f'stage {part}',
          'cores': cores,
          'wall_seconds': round(wall, 3),
          'cpu_seconds': round(cpu, 3),
          'times_real_time': round(media_seconds / wall, 2),
          'times_real_time_a_core': round(media_seconds / wall / cores, 2),
          'spread': round(
            max(one[name][part]['wall'] for one in rounds)
            / min(one[name][part]['wall'] for one in rounds),
            3,
          ),
        }
      )
  return rows


def format_table(rows: list[dict[str, Any]]) -> str:
  lines = [
    'what                       cores   wall s    cpu s  x real time  a core'
  ]
  for row in rows:
    lines.append(
      f'{row["name"]:26s} {row["cores"]:5d} {row["wall_seconds"]:8.2f} '
      f'{row["cpu_seconds"]:8.2f} {row["times_real_time"]:12.1f} '
      f'{row["times_real_time_a_core"]:7.1f}'
    )
  by_name = {row['name']: row['wall_seconds'] for row in rows}
  for config in schema.CONFIGS:
    one, two = (f'prepare {config}, workers {n}' for n in (1, 2))
    if one in by_name and two in by_name:
      gain = by_name[one] / by_name[two]
      lines.append(f'two workers, {config}: {gain:.2f} times one')
  return '\n'.join(lines)


if __name__ == '__main__':
  cli.quiet_libraries()
  # As in a worker.
  cv2.setNumThreads(1)
  main()
