"""How long it takes until the first step is done: compiling, cold and kept.

  python -m benchmarks.compile_time --out benchmarks/results/compile_time.json

For the training step of VideoMAE, each time in a new process: seconds to trace
and compile, by the clock and of the processor, and from the start of Python to
the end of the first step, without compiled programs on disk (cold) and with
them (kept). Blocks are scanned, so that compiling should not grow with depth.
"""

import argparse
import pathlib
import statistics
import sys
import tempfile
import time
from typing import Any

from avemo import memory
from benchmarks import pairs

# Size and depth; the first two rows are compared.
CASES = (('B', 12), ('L', 24), ('B', 2), ('B', 6), ('B', 24))


def main() -> None:
  memory.take_large_pages()  # As `avemo` does, and for the peer too.
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--repeats', type=int, default=3)
  parser.add_argument('--cases', type=int, default=len(CASES), metavar='N')
  parser.add_argument('--out', type=pathlib.Path, help='the JSON file')
  args = parser.parse_args()
  content: dict[str, Any] = pairs.describe_run()
  found = {case: [] for case in CASES[: args.cases]}
  for _ in range(args.repeats):
    for case, runs in found.items():
      with tempfile.TemporaryDirectory() as folder:
        runs.append({k: start(*case, folder) for k in ('cold', 'kept')})
  rows = [summarize(*case, runs) for case, runs in found.items()]
  content['rows'] = rows
  by_case = {(row['size'], row['depth']): row for row in rows}
  if CASES[1] in by_case:
    large, base = by_case[CASES[1]], by_case[CASES[0]]
    content['L_compiles_times_B'] = round(
      large['compile_cpu_seconds'] / base['compile_cpu_seconds'], 2
    )
  pairs.write(args.out, content)
  print('size depth  compile s   cpu s  first step: cold    kept')
  for row in rows:
    print(
      f'{row["size"]:4s} {row["depth"]:5d} {row["compile_seconds"]:10.1f} '
      f'{row["compile_cpu_seconds"]:7.1f} {row["cold_seconds"]:17.1f} '
      f'{row["kept_seconds"]:7.1f}'
    )
  if 'L_compiles_times_B' in content:
    print(f'L compiles in {content["L_compiles_times_B"]} times what B takes')


def start(size: str, depth: int, folder: str) -> dict[str, Any]:
  """What a new process says after its first step, and when it says it."""
  command = [sys.executable, '-m', 'benchmarks.towers', '--modality', 'video']
  command += ['--task', 'finetune', '--size', size, '--depth', str(depth)]
  env = {
    'JAX_COMPILATION_CACHE_DIR': folder,
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
  }
  began = time.perf_counter()
  with pairs.start({'one': command}, env) as (programs, failed):
    if failed:
      raise SystemExit(f'{size}, depth {depth}: {failed["one"]}')
    seconds = time.perf_counter() - began
    return programs['one'].ready | {'seconds': seconds}


def summarize(size: str, depth: int, runs: list[dict[str, Any]]) -> dict:
  middle = lambda values: round(statistics.median(values), 2)
  return {
    'size': size,
    'depth': depth,
    'compile_seconds': middle(r['cold']['compile_seconds'][0] for r in runs),
    'compile_cpu_seconds': middle(
      r['cold']['compile_seconds'][1] for r in runs
    ),
    'cold_seconds': middle(r['cold']['seconds'] for r in runs),
    'kept_seconds': middle(r['kept']['seconds'] for r in runs),
    'runs': len(runs),
  }


if __name__ == '__main__':
  main()
