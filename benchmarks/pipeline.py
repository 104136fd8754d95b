"""How fast records become batches, beside PyTorch's DataLoader.

  python -m benchmarks.pipeline --peer-python PATH --workers 0 2 \\
    --batches 450 --out benchmarks/results/pipeline.json

Clips of RAVDESS are simulated, in MP4 of 1280 x 720, as it is released, or of
another --size, and prepared: from the records avemo reads batches of 16 faces
of 224 x 224 a clip, 8 bit, as its step takes them. The peer reads the same
clips from the MP4, and from the same JPEGs as files; `loader_peer.py` says how.
PATH is a Python with torch, PyAV and OpenCV.

Each program has one core, or as many as it has workers, the same for all. What
counts is clips a second of processor, of a program and all that it started, for
other work on the machine does not stretch it; seconds by the clock stand beside
it, and hold what is read ahead between two runs. --batches reads that many in
one go and tells the memory: 450 batches of 8 are an hour of one clip a second,
more than two cores train VideoMAE-B on.
"""

import argparse
import json
import os
import pathlib
import statistics
import sys
import tempfile
from typing import Any

from avemo import cli, memory, simulate
from avemo.data import schema
from benchmarks import pairs
from datasets_tfds import prepare

CORPUS = 'ravdess'
PEER = pathlib.Path(__file__).parent / 'loader_peer.py'
KINDS = ('mp4', 'jpeg', 'jpeg-uint8')


def main() -> None:
  memory.take_large_pages()  # As `avemo` does, and for the peer too.
  args = read_arguments()
  about = pairs.describe_run()
  peer = pairs.find_python(args.peer_python, ('torch', 'av', 'cv2'))
  with tempfile.TemporaryDirectory(dir=args.scratch) as scratch:
    folder = pathlib.Path(scratch)
    clips = make_data(folder, args)
    rows = []
    for workers in args.workers:
      rows.append(measure(args, folder, peer, workers))
      print(format_row(rows[-1]), flush=True)
      pairs.write(args.out, about | {'clips': clips, 'rows': rows})


def read_arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument(
    '--peer-python', metavar='PATH', help='one with torch, av and cv2'
  )
  parser.add_argument(
    '--size', type=int, nargs=2, default=(1280, 720), metavar=('W', 'H')
  )
  parser.add_argument('--speakers', type=int, default=2)
  parser.add_argument('--clips-per-speaker', type=int, default=12)
  parser.add_argument('--batch-size', type=int, default=8)
  parser.add_argument('--workers', type=int, nargs='+', default=[0])
  parser.add_argument('--repeats', type=int, default=5)
  parser.add_argument(
    '--run', type=int, default=16, help='batches that are timed at a time'
  )
  parser.add_argument(
    '--batches', type=int, default=0, help='batches over which memory is told'
  )
  parser.add_argument('--scratch', type=pathlib.Path, help='a folder')
  parser.add_argument('--out', type=pathlib.Path, help='the JSON file')
  return parser.parse_args()


def make_data(folder: pathlib.Path, args) -> dict[str, Any]:
  """Films, their dataset, and its JPEGs as files; what the clips are."""
  raw = simulate.simulate(
    CORPUS,
    folder / 'raw',
    speakers=args.speakers,
    clips_per_speaker=args.clips_per_speaker,
    size=tuple(args.size),
    workers=os.cpu_count() or 1,
    progress=False,
  )
  prepare.prepare(CORPUS, raw, data_dir=folder / 'data', progress=False)
  dataset = schema.open_dataset(f'{CORPUS}_av', folder / 'data')
  counts, sizes, folders = [], [], []
  for number, record in enumerate(dataset.source):
    folders.append(folder / 'jpeg' / f'{number:05d}')
    folders[-1].mkdir(parents=True)
    for frame, jpeg in enumerate(record['frames']):
      (folders[-1] / f'{frame:05d}.jpg').write_bytes(jpeg)
      sizes.append(len(jpeg))
    counts.append(len(record['frames']))
  # Of sound and picture; the others have one of the two.
  films = sorted(raw.rglob('01-*.mp4'))
  for name, paths in (('mp4', films), ('jpeg', folders)):
    text = json.dumps([str(path) for path in paths])
    (folder / f'{name}.json').write_text(text)
  return {
    'corpus': f'{CORPUS}, simulated',
    'size': list(args.size),
    'records': len(counts),
    'films': len(films),
    'frames': statistics.mean(counts),
    'bytes_a_jpeg': round(statistics.mean(sizes)),
  }


def measure(
  args, folder: pathlib.Path, peer: str | None, workers: int
) -> dict[str, Any]:
  """A row: by program, clips a second; how many times as many we read."""
  sizes = ['--batch-size', str(args.batch_size), '--batches', str(args.run)]
  sizes += ['--workers', str(workers)]
  commands = {'avemo': [sys.executable, '-m', 'benchmarks.reading', *sizes]}
  commands['avemo'] += ['--name', f'{CORPUS}_av']
  commands['avemo'] += ['--data-dir', str(folder / 'data')]
  for kind in KINDS if peer else ():
    paths = folder / f'{kind.partition("-")[0]}.json'
    other = [peer, str(PEER), '--kind', kind, '--paths', str(paths)]
    commands[kind] = [*other, *sizes]
  row: dict[str, Any] = {'workers': workers, 'batch_size': args.batch_size}
  cores = max(workers, 1)
  with pairs.limit_cores(cores), pairs.start(commands) as (programs, failed):
    row |= {'failed': failed} if failed else {}
    if 'avemo' not in programs:
      return row
    answers = pairs.ask_in_turns(programs, args.repeats)
    row |= summarize(answers, args.run * args.batch_size)
    row |= {f'{n}_start': program.ready for n, program in programs.items()}
    if args.batches:
      held = programs['avemo'].ask(f'memory {args.batches}')['bytes']
      row['memory'] = compare_quarters(held) | {'batches': args.batches}
  return row


def summarize(answers, clips: int) -> dict[str, Any]:
  """Clips a second, and the ratios of pairs, from answers by program."""
  cpu, wall = (
    {name: [one[kind] for one in found] for name, found in answers.items()}
    for kind in ('cpu_seconds', 'seconds')
  )
  row = {
    name: {
      'clips_a_second_of_processor': round(
        clips / statistics.median(cpu[name]), 1
      ),
      'clips_a_second': round(clips / statistics.median(wall[name]), 1),
    }
    for name in answers
  }
  for name in answers:
    if name != 'avemo':
      row[name]['times_as_fast'] = pairs.compare(cpu['avemo'], cpu[name])
      row[name]['times_as_fast_by_the_clock'] = pairs.compare(
        wall['avemo'], wall[name]
      )
  return row


def compare_quarters(held: list[int]) -> dict[str, float]:
  """MiB held in the first and in the last quarter of a run, and at most."""
  count = max(len(held) // 4, 1)
  mib = [one / 2**20 for one in held]
  return {
    'first_quarter_mib': round(statistics.mean(mib[:count]), 1),
    'last_quarter_mib': round(statistics.mean(mib[-count:]), 1),
    'most_mib': round(max(mib), 1),
  }


def format_row(row: dict[str, Any]) -> str:
  lines = [
    f'workers {row["workers"]}    clips/s of processor  clips/s   avemo x peer'
    '   by the clock'
  ]
  for name in ('avemo', *KINDS):
    if name in row:
      found = row[name]
      lines.append(
        f'  {name:12s} {found["clips_a_second_of_processor"]:16.1f}'
        f' {found["clips_a_second"]:12.1f}'
        + (
          f' {found["times_as_fast"]:12.2f}'
          f' {found["times_as_fast_by_the_clock"]:14.2f}'
          if name != 'avemo'
          else ''
        )
      )
  lines += [f'  {name}: {why}' for name, why in row.get('failed', {}).items()]
  if 'memory' in row:
    memory = row['memory']
    lines.append(
      f'  memory over {memory["batches"]} batches: '
      f'{memory["first_quarter_mib"]} MiB in the first quarter, '
      f'{memory["last_quarter_mib"]} in the last, at most {memory["most_mib"]}'
    )
  return '\n'.join(lines)


if __name__ == '__main__':
  cli.quiet_libraries()
  main()
