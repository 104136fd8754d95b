"""How fast films are read, as a multiple of real time, and what it holds.

  python -m benchmarks.predict --seconds 60 --minutes 10 120 \\
    --out benchmarks/results/predict.json

`avemo predict` reads a film of a simulated face, 640 x 360 at 25 frames a
second with sound, by VideoMAE-S of random weights: an estimate every two
seconds, faces sought in every fifth frame and followed between, results
written. Real time is that of the whole command, and of the reading alone,
without start and compilation; where other programs run the clock says too
little, so that seconds of processor a second of film stand beside it: below the
number of cores a film can be read as it plays. Stages are told in seconds of
processor as well, of all threads.

--minutes reads longer films by a tiny model, 320 x 180 at five frames a second,
and tells the most memory that the command held.
"""

import argparse
import contextlib
import cProfile
import io
import os
import pathlib
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import av
import cv2
import numpy as np

from avemo import cli, memory, simulate
from avemo.data import clips
from avemo.evaluate import page, restore
from avemo.features import assembled
from avemo.media import decode, encode, faces, render, tracking
from avemo.predict import estimate, output, predictor, windows
from benchmarks import pairs
from datasets_tfds import prepare

CORPUS = 'ravdess'
SIZE, FPS = (640, 360), 25
LONG_SIZE, LONG_FPS = (320, 180), 5

CONFIG = """
from configs import common


def get_config(arg=''):
  config = common.default()
  config.steps = 1
  config.data.update(
    name='ravdess_av', protocol='ravdess_luna_5fold', batch_size=2,
    frames={frames}, size={size},
  )
  config.model.use = ('video',)
  config.model.video = dict(name='videomae', variant={variant!r})
  return config
"""
VARIANTS = {'small': (16, 224), 'tiny': (4, 32)}

# What is counted as a stage: with all that it calls.
STAGES: dict[str, Sequence[Callable[..., Any]]] = {
  'decode': (decode._images,),
  'detect': (faces.CascadeDetector.detect,),
  'track': (tracking.Tracker._advance,),
  'cut': (windows.Shelf._store, clips.load_clip),
  'model': (estimate.Estimator._estimate,),
  'draw': (render.draw,),
  'encode': (encode.MediaWriter.write_frame, encode.MediaWriter.__exit__),
  'sound': (decode.stream_audio,),
  'tables, page': (output.write_csv, output.write_json, output.write_html),
}


def main() -> None:
  memory.take_large_pages()  # As `avemo` does, and for the peer too.
  args = read_arguments()
  content = pairs.describe_run()
  with tempfile.TemporaryDirectory(dir=args.scratch) as scratch:
    folder = pathlib.Path(scratch)
    raw = simulate.simulate(
      CORPUS, folder / 'raw', speakers=5, clips_per_speaker=2, progress=False
    )
    prepare.prepare(CORPUS, raw, data_dir=folder / 'data', progress=False)
    film, out = folder / 'film.mp4', folder / 'out'
    content |= {'every': args.every}
    if not args.memory_alone:
      workdir = train(folder, args.variant)
      seconds = make_film(raw, film, args.seconds, SIZE, FPS)
      content['variant'] = args.variant
      content['film'] = {'seconds': seconds, 'size': SIZE, 'fps': FPS}
      content['whole'] = run(film, workdir, out, seconds, args.every)
      content |= time_stages(film, workdir, out, seconds, args.every)
      print(format_table(content), flush=True)
      pairs.write(args.out, content)
    content['memory'] = []
    for minutes in args.minutes:
      tiny = folder / 'tiny'
      if not tiny.exists():
        train(folder, 'tiny')
      seconds = make_film(raw, film, 60 * minutes, LONG_SIZE, LONG_FPS)
      row = run(film, tiny, out, seconds, args.every)
      content['memory'].append({'minutes': round(seconds / 60, 2)} | row)
      print(format_memory(content['memory'][-1]), flush=True)
      pairs.write(args.out, content)


def read_arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--variant', default='small', choices=VARIANTS)
  parser.add_argument('--seconds', type=float, default=60)
  parser.add_argument('--every', type=float, default=2.0)
  parser.add_argument(
    '--memory-alone', action='store_true', help='leave out the seconds'
  )
  parser.add_argument('--minutes', type=float, nargs='*', default=())
  parser.add_argument('--scratch', type=pathlib.Path, help='a folder')
  parser.add_argument('--out', type=pathlib.Path, help='the JSON file')
  return parser.parse_args()


def train(folder: pathlib.Path, variant: str) -> pathlib.Path:
  """The workdir of one step, of which a model of random weights is left."""
  config, workdir = folder / f'{variant}.py', folder / variant
  frames, size = VARIANTS[variant]
  page.write_text(
    config, CONFIG.format(frames=frames, size=size, variant=variant)
  )
  command = ['train', f'--config={config}', f'--workdir={workdir}']
  call([*command, f'--config.data_dir={folder / "data"}'])
  return workdir


def call(arguments: Sequence[str]) -> None:
  root = pathlib.Path(__file__).parent.parent
  path = os.pathsep.join([str(root), os.environ.get('PYTHONPATH', '')])
  done = subprocess.run(
    [sys.executable, '-m', 'avemo', *arguments],
    env=os.environ | {'PYTHONPATH': path},
    capture_output=True,
    text=True,
    check=False,
  )
  if done.returncode:
    raise SystemExit(done.stderr.strip().splitlines()[-1])


def make_film(
  raw: pathlib.Path,
  target: pathlib.Path,
  seconds: float,
  size: tuple[int, int],
  fps: int,
) -> float:
  """Writes one person's clips over and over; returns the film's seconds."""
  # One film alone, for between two people there would be a cut.
  source = sorted(raw.rglob('01-*.mp4'))[0]
  pictures = [
    cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA)
    for frame in decode.read_frames(source, fps=fps)
  ]
  rate = 16_000
  speech = decode.read_audio(source, sample_rate=rate)
  speech = np.resize(speech, len(pictures) * rate // fps)
  once = target.with_name('once.mp4')
  encode.write_media(once, pictures, fps=fps, speech=speech)
  length = len(pictures) / fps
  times = max(round(seconds / length), 1)
  repeat(once, target, length, times)
  return round(length * times, 2)


def repeat(
  source: pathlib.Path, target: pathlib.Path, length: float, times: int
) -> None:
  """Joins a film of `length` seconds with itself, packet by packet."""
  with av.open(target, 'w') as made:
    with av.open(source) as once:
      copies = [made.add_stream_from_template(s) for s in once.streams]
    last: dict[int, int] = {}
    for number in range(times):
      with av.open(source) as once:
        for packet in once.demux():
          if packet.dts is None or packet.pts * packet.time_base >= length:
            continue
          shift = round(number * length / packet.time_base)
          place = packet.stream.index
          # Sound begins before the film does, and overlaps at the joints.
          if packet.dts + shift <= last.get(place, packet.dts + shift - 1):
            continue
          packet.pts += shift
          packet.dts += shift
          last[place] = packet.dts
          packet.stream = copies[place]
          made.mux(packet)


def run(
  film: pathlib.Path,
  workdir: pathlib.Path,
  out: pathlib.Path,
  seconds: float,
  every: float,
) -> dict[str, float]:
  """Time and memory of the command as a whole."""
  program = [sys.executable, '-c', MEASURED, 'predict', str(film)]
  options = ['--workdir', str(workdir), '--out', str(out)]
  options += ['--checkpoint', 'last', '--every', str(every)]
  began = time.perf_counter()
  before = resource.getrusage(resource.RUSAGE_CHILDREN)
  said = subprocess.run(
    [*program, *options], check=True, capture_output=True, text=True
  )
  wall = time.perf_counter() - began
  after = resource.getrusage(resource.RUSAGE_CHILDREN)
  cpu = sum(after[:2]) - sum(before[:2])
  peak = int(said.stdout.split()[-1]) / 1024
  return tell(wall, cpu, seconds) | {'most_mib': round(peak, 1)}


# The mark that the system hands to a parent begins at what the parent itself
# held when it forked.
MEASURED = """
import re, sys
from avemo import cli
cli.main(sys.argv[1:])
print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])
"""


def tell(wall: float, cpu: float, seconds: float) -> dict[str, float]:
  return {
    'wall_seconds': round(wall, 2),
    'cpu_seconds': round(cpu, 2),
    'times_real_time': round(seconds / wall, 2),
    'cpu_seconds_a_second': round(cpu / seconds, 3),
  }


def time_stages(
  film: pathlib.Path,
  workdir: pathlib.Path,
  out: pathlib.Path,
  seconds: float,
  every: float,
) -> dict[str, Any]:
  """Reading by a model that is compiled: as a whole, and by stages."""
  loaded = assembled.assemble(restore.restore(workdir, checkpoint='last'))
  settings = predictor.Settings(every=every)
  reader = predictor.Predictor(loaded, out, settings, 'benchmark')
  # A film of one window compiles.
  short = film.with_name('once.mp4')
  reader.read(short, 'once')
  wall, cpu = time.perf_counter(), time.process_time()
  reader.read(film, 'film')
  wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
  profile = cProfile.Profile(time.process_time)
  profile.runcall(reader.read, film, 'film')
  return {
    'reading': tell(wall, cpu, seconds),
    'stages': count_stages(profile, seconds),
  }


def count_stages(profile: cProfile.Profile, seconds: float) -> dict[str, float]:
  """Seconds of processor a second of film, by stage."""
  with contextlib.redirect_stdout(io.StringIO()):
    stats = pstats.Stats(profile)

  def find(function):
    code = function.__code__
    key = (code.co_filename, code.co_firstlineno, code.co_name)
    return stats.stats.get(key, (0, 0, 0.0, 0.0))[3]

  found = {name: sum(map(find, work)) for name, work in STAGES.items()}
  # Following asks the detector.
  found['track'] -= found['detect']
  found['rest'] = stats.total_tt - sum(found.values())
  return {name: round(cpu / seconds, 4) for name, cpu in found.items()}


def format_table(content: dict[str, Any]) -> str:
  lines = ['                     wall s   cpu s  x real time  cpu s a second']
  for name in ('whole', 'reading'):
    row = content[name]
    lines.append(
      f'{name:16s} {row["wall_seconds"]:10.1f} {row["cpu_seconds"]:7.1f} '
      f'{row["times_real_time"]:12.2f} {row["cpu_seconds_a_second"]:15.3f}'
    )
  for name, cpu in content['stages'].items():
    lines.append(f'  {name:14s} {cpu:47.4f}')
  return '\n'.join(lines)


def format_memory(row: dict[str, float]) -> str:
  return (
    f'{row["minutes"]:.1f} minutes: at most {row["most_mib"]:.0f} MiB, '
    f'{row["times_real_time"]:.1f} times real time'
  )


if __name__ == '__main__':
  cli.quiet_libraries()
  main()
