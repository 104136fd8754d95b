"""How fast the front-ends of sound are, beside librosa and PyTorch.

  python -m benchmarks.front_ends --peer-python PATH --share \\
    --out benchmarks/results/front_ends.json

Log-mel, MFCC, Kaldi's filter bank and MFCC pictures of a batch of speech, ours
compiled, as inside the step, librosa in the same Python, PyTorch in that of
PATH, which needs torch and librosa. Kaldi's bank we compute in double
precision, so that librosa is asked in both. Each has one core, and is timed by
the clock and by seconds of processor, which other work on the machine does not
stretch.
--share also times a fine-tuning step of VideoMAE-B on one clip and tells what
share of it the front-end of one clip is.
"""

import argparse
import pathlib
import statistics
import sys
from typing import Any

from avemo import cli, memory
from benchmarks import pairs, spectra

PEER = pathlib.Path(__file__).parent / 'spectra_peer.py'
DOUBLE = 'librosa-double'


def main() -> None:
  memory.take_large_pages()  # As `avemo` does, and for the peer too.
  args = read_arguments()
  about = pairs.describe_run() | {
    'batch_size': args.batch_size,
    'seconds': args.seconds,
  }
  peer = pairs.find_python(args.peer_python, ('torch', 'librosa'))
  rows = []
  for kind in args.kinds:
    rows.append(measure(args, peer, kind))
    print(format_row(rows[-1]), flush=True)
    pairs.write(args.out, about | {'rows': rows})
  if args.share:
    step = measure_step(args.repeats)
    about |= {'videomae_b_step_of_a_clip': step}
    for row in rows:
      row['share_of_step'] = find_share(row, args.batch_size, step)
      share = 100 * row['share_of_step']
      print(f'{row["kind"]:12s} {share:.3f} % of a step of VideoMAE-B')
    pairs.write(args.out, about | {'rows': rows})


def read_arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog='python -m benchmarks.front_ends',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument(
    '--peer-python', metavar='PATH', help='one with torch and librosa'
  )
  parser.add_argument(
    '--kinds', nargs='+', default=spectra.KINDS, choices=spectra.KINDS
  )
  parser.add_argument('--batch-size', type=int, default=8)
  parser.add_argument('--seconds', type=float, default=3.0)
  parser.add_argument('--repeats', type=int, default=9)
  parser.add_argument('--share', action='store_true', help='of a step')
  parser.add_argument('--out', type=pathlib.Path, help='the JSON file')
  return parser.parse_args()


def measure(args, peer: str | None, kind: str) -> dict[str, Any]:
  """A row: seconds of each side, and how many times as fast we are."""
  what = ['--kind', kind, '--batch-size', str(args.batch_size)]
  what += ['--seconds', str(args.seconds)]
  # Long enough for the clock of the processor, which ticks every 10 ms.
  times = 2 if kind == 'picture' else 40
  what += ['--times', str(times)]
  own = [sys.executable, '-m', 'benchmarks.spectra', *what]
  sides = [s for s in spectra.SIDES if s != DOUBLE or kind == 'filterbank']
  commands = {side: [*own, '--side', side] for side in sides}
  if peer and kind != 'picture':
    commands['torch'] = [peer, str(PEER), *what]
  row: dict[str, Any] = {'kind': kind}
  with pairs.limit_cores(1), pairs.start(commands) as (programs, failed):
    row |= {'failed': failed} if failed else {}
    answers = pairs.ask_in_turns(programs, args.repeats)
  wall = {n: [one['seconds'] for one in a] for n, a in answers.items()}
  cpu = {
    n: [one['cpu_seconds'] / times for one in a] for n, a in answers.items()
  }
  for name in answers:
    row[name] = pairs.summarize(wall[name])
    row[name]['cpu_ms'] = round(1e3 * statistics.median(cpu[name]), 3)
    if name != 'avemo':
      row[name]['times_as_fast'] = pairs.compare(wall['avemo'], wall[name])
      row[name]['times_as_cheap'] = pairs.compare(cpu['avemo'], cpu[name])
  return row


def measure_step(repeats: int) -> dict[str, float]:
  """A fine-tuning step of VideoMAE-B on one clip, in ms."""
  command = [sys.executable, '-m', 'benchmarks.towers', '--modality', 'video']
  command += ['--size', 'B', '--task', 'finetune']
  with pairs.start({'step': command}) as (programs, failed):
    if failed:
      raise SystemExit(f'the step: {failed["step"]}')
    answers = pairs.ask_in_turns(programs, max(repeats // 3, 1))['step']
  cpu = statistics.median(one['cpu_seconds'] for one in answers)
  return pairs.summarize([one['seconds'] for one in answers]) | {
    'cpu_ms': round(1e3 * cpu, 1)
  }


def find_share(
  row: dict[str, Any], batch_size: int, step: dict[str, float]
) -> float:
  """Of the processor's time of a step with one clip, what the front-end is."""
  return row['avemo']['cpu_ms'] / batch_size / step['cpu_ms']


def format_row(row: dict[str, Any]) -> str:
  lines = [f'{row["kind"]:16s}         ms   cpu ms   avemo x peer   by cpu']
  for name in (*spectra.SIDES, 'torch'):
    if name in row:
      found = row[name]
      lines.append(
        f'  {name:14s} {found["median_ms"]:10.2f} {found["cpu_ms"]:8.2f}'
        + (
          f' {found["times_as_fast"]:12.2f} {found["times_as_cheap"]:10.2f}'
          if name != 'avemo'
          else ''
        )
      )
  lines += [f'  {name}: {why}' for name, why in row.get('failed', {}).items()]
  return '\n'.join(lines)


if __name__ == '__main__':
  cli.quiet_libraries()
  main()
