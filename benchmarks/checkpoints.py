"""How long checkpoints take, beside `torch.save` and `torch.load`.

  python -m benchmarks.checkpoints --peer-python PATH \\
    --out benchmarks/results/checkpoints.json

The state of a VideoMAE-B with the moments of AdamW is saved and loaded again,
bit by bit, and PyTorch does so with arrays of the same shapes; PATH is a Python
with torch. Training waits for a save until `blocked`, while the rest is written
behind it; PyTorch's waits until the end. Neither waits for the disk itself:
what is written lies in the system's memory, and is read from there.
"""

import argparse
import json
import pathlib
import statistics
import sys
import tempfile
from typing import Any

from avemo import cli, memory
from benchmarks import pairs, towers

PEER = pathlib.Path(__file__).parent / 'saving_peer.py'
PARTS = ('blocked', 'save', 'restore')


def main() -> None:
  memory.take_large_pages()  # As `avemo` does, and for the peer too.
  args = read_arguments()
  content = pairs.describe_run() | {'size': args.size}
  peer = pairs.find_python(args.peer_python, ('torch',))
  with tempfile.TemporaryDirectory(dir=args.scratch) as folder:
    content |= measure(args, peer, pathlib.Path(folder))
  pairs.write(args.out, content)
  print(format_table(content))


def read_arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--peer-python', metavar='PATH', help='one with torch')
  parser.add_argument('--size', default='B', choices=towers.VIDEO)
  parser.add_argument('--depth', type=int, help='other than the size has')
  parser.add_argument('--repeats', type=int, default=5)
  parser.add_argument('--scratch', type=pathlib.Path, help='a folder')
  parser.add_argument('--out', type=pathlib.Path, help='the JSON file')
  return parser.parse_args()


def measure(args, peer: str | None, folder: pathlib.Path) -> dict[str, Any]:
  """By program the medians, and how many times as fast we are."""
  command = [sys.executable, '-m', 'benchmarks.saving', '--size', args.size]
  command += ['--scratch', str(folder)]
  command += ['--depth', str(args.depth)] if args.depth else []
  with pairs.start({'avemo': command}) as (ours, failed):
    if failed:
      raise SystemExit(failed['avemo'])
    start = ours['avemo'].ready
    shapes = folder / 'shapes.json'
    shapes.write_text(json.dumps(start['shapes']))
    other = [str(peer), str(PEER), '--shapes', str(shapes)]
    other += ['--scratch', str(folder)]
    commands = {'torch': other} if peer else {}
    with pairs.start(commands) as (theirs, failed):
      answers = pairs.ask_in_turns(ours | theirs, args.repeats)
  found: dict[str, Any] = {'state_mib': round(start['state_bytes'] / 2**20, 1)}
  found |= {'failed': failed} if failed else {}
  return found | summarize(answers)


def summarize(answers) -> dict[str, Any]:
  """Medians of seconds, and the ratios of pairs, from answers by program."""
  found: dict[str, Any] = {}
  for name, rounds in answers.items():
    cpu = statistics.median(one['cpu_seconds'] for one in rounds)
    found[name] = {
      part: round(statistics.median(one[part] for one in rounds), 3)
      for part in PARTS
    }
    found[name]['cpu_seconds'] = round(cpu, 3)
    found[name]['mib'] = round(rounds[-1]['bytes'] / 2**20, 1)
  if 'torch' in answers:
    found['times_as_fast'] = {
      part: pairs.compare(
        *([one[part] for one in answers[name]] for name in ('avemo', 'torch'))
      )
      for part in (*PARTS, 'cpu_seconds')
    }
  return found


def format_table(content: dict[str, Any]) -> str:
  names = [name for name in ('avemo', 'torch') if name in content]
  lines = [
    f'{content["state_mib"]} MiB of state',
    f'{"seconds":10s}' + ''.join(f'{name:>10s}' for name in names),
  ]
  for part in (*PARTS, 'cpu_seconds', 'mib'):
    row = ''.join(f'{content[name][part]:10.2f}' for name in names)
    times = content.get('times_as_fast', {}).get(part)
    lines.append(f'{part:11s}{row}' + (f'   {times:.2f} x' if times else ''))
  lines += [f'{n}: {why}' for n, why in content.get('failed', {}).items()]
  return '\n'.join(lines)


if __name__ == '__main__':
  cli.quiet_libraries()
  main()
