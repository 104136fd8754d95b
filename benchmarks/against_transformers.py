"""Our towers and transformers' in turns, on the same machine and input shape.

What `videomae.py` and `spectrogram_vit.py` have in common.
"""

import argparse
import pathlib
import sys
from typing import Any

from avemo import memory
from avemo.models import attention, recompute
from benchmarks import pairs

FIRST_BATCH = 1
HERE = pathlib.Path(__file__).parent


def main(modality: str, doc: str) -> None:
  memory.take_large_pages()  # As `avemo` does, and for the peer too.
  args = read_arguments(modality, doc)
  about = pairs.describe_run()
  peer = pairs.find_python(args.peer_python, ('torch', 'transformers'))
  rows = []
  for size in args.sizes:
    for task in args.task:
      for dtype in args.dtype:
        row = measure(args, modality, peer, size, task, dtype)
        rows.append(row)
        print(format_row(row), flush=True)
        content = about | {'modality': modality, 'rows': rows}
        pairs.write(args.out, content)
  print('\n' + '\n'.join([HEADER, *map(format_row, rows)]))
  for row in rows:
    print(format_phases(row))


def read_arguments(modality: str, doc: str) -> argparse.Namespace:
  name = {'video': 'videomae', 'audio': 'spectrogram_vit'}[modality]
  parser = argparse.ArgumentParser(
    prog=f'python -m benchmarks.{name}',
    description=doc,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument(
    '--peer-python', metavar='PATH', help='one with torch and transformers'
  )
  parser.add_argument('--sizes', nargs='+', default=['B'], choices=list('SBL'))
  tasks = ('forward', 'finetune')
  parser.add_argument('--task', nargs='+', default=tasks, choices=tasks)
  dtypes = ('float32', 'bfloat16')
  parser.add_argument('--dtype', nargs='+', default=dtypes[:1], choices=dtypes)
  parser.add_argument('--batch-size', type=int, default=1)
  parser.add_argument('--repeats', type=int, default=10)
  parser.add_argument(
    '--eager', action='store_true', help='leave out torch.compile'
  )
  parser.add_argument(
    '--remat',
    default='auto',
    choices=recompute.WORDS,
    help='what the backward pass computes anew',
  )
  parser.add_argument(
    '--implementation',
    choices=attention.IMPLEMENTATIONS[1:],
    help='of the attention; the fastest where not given',
  )
  parser.add_argument(
    '--largest', action='store_true', help='find the largest batch that fits'
  )
  parser.add_argument(
    '--no-phases', action='store_true', help='leave out where the time goes'
  )
  parser.add_argument('--out', type=pathlib.Path, help='the JSON file')
  return parser.parse_args()


def measure(
  args, modality: str, peer: str | None, size: str, task: str, dtype: str
) -> dict[str, Any]:
  """A row of the table."""
  what = ['--modality', modality, '--size', size, '--task', task]
  what += ['--dtype', dtype]
  own = [sys.executable, '-m', 'benchmarks.towers', *what]
  own += ['--remat', args.remat]
  if args.implementation:
    own += ['--implementation', args.implementation]
  other = [str(peer), str(HERE / 'transformers_peer.py'), *what]
  batch = ['--batch-size', str(args.batch_size)]
  commands = {'avemo': [*own, *batch]}
  if peer:
    commands['eager'] = [*other, *batch]
    if not args.eager:
      commands['compile'] = [*other, *batch, '--compile']
  row = {
    'size': size,
    'task': task,
    'dtype': dtype,
    'batch_size': args.batch_size,
    'remat': args.remat,
  }
  with pairs.start(commands, ENV) as (programs, failed):
    row |= {'failed': failed} if failed else {}
    row |= {f'{n}_start': program.ready for n, program in programs.items()}
    fits = {
      n: program
      for n, program in programs.items()
      if not program.ready.get('out_of_memory')
    }
    if 'avemo' not in fits:
      return row
    rates = [fits['avemo'].ask('rate')['rate']]
    seconds = pairs.time_in_turns(fits, args.repeats)
    rates.append(fits['avemo'].ask('rate')['rate'])
    row |= {n: pairs.summarize(found) for n, found in seconds.items()}
    row['matrix_gflops'] = round(max(rates) / 1e9, 1)
    reached = fits['avemo'].ready['flops'] / min(seconds['avemo'])
    row['share_of_matrix_rate'] = round(reached / max(rates), 3)
    others = {n: pairs.summarize(seconds[n]) for n in fits if n != 'avemo'}
    if others:
      row['peer'] = min(others, key=lambda n: others[n]['median_ms'])
      row['times_as_fast'] = pairs.compare(
        seconds['avemo'], seconds[row['peer']]
      )
    if not args.no_phases:
      row['phases'] = fits['avemo'].ask('phases')['phases']
  if args.largest:
    row['largest_batch'] = find_largest(own)
    if peer:
      row['peer_largest_batch'] = find_largest(other)
  return row


# Both sides hold the device's memory at once.
ENV = {'XLA_PYTHON_CLIENT_PREALLOCATE': 'false'}


def find_largest(command: list[str]) -> int:
  """The largest batch, to a quarter of it, that a program can run; 0 is none.

  Ends at 4096 on a device that has no end, such as a CPU with swap.
  """

  def fits(size):
    batch = ['--batch-size', str(size)]
    with pairs.start({'one': [*command, *batch]}, ENV) as (programs, _):
      ready = [p.ready for p in programs.values()]
    return bool(ready) and not ready[0].get('out_of_memory')

  largest, step = 0, FIRST_BATCH
  while step <= 4096 and fits(step):
    largest, step = step, 2 * step
  for more in (largest // 2, largest // 4):
    if more and fits(largest + more):
      largest += more
  return largest


HEADER = (
  'size task     dtype    batch   avemo ms   eager ms compile ms   x peer'
  '  of matrix rate'
)


def format_row(row: dict[str, Any]) -> str:
  cells = [
    f'{row["size"]:4s} {row["task"]:8s} {row["dtype"]:8s} '
    f'{row["batch_size"]:5d}'
  ]
  for name in ('avemo', 'eager', 'compile'):
    cells.append(f'{row[name]["median_ms"]:10.1f}' if name in row else ' ' * 10)
  times = row.get('times_as_fast')
  cells.append(f'{times:8.2f}' if times else ' ' * 8)
  if 'share_of_matrix_rate' in row:
    cells.append(
      f'{100 * row["share_of_matrix_rate"]:6.0f} % of '
      f'{row["matrix_gflops"]:.0f} GFLOP/s'
    )
  if 'largest_batch' in row:
    cells.append(
      f'largest batch {row["largest_batch"]}, '
      f'peer {row.get("peer_largest_batch", "-")}'
    )
  cells += [f'{name}: {why}' for name, why in row.get('failed', {}).items()]
  return ' '.join(cells)


def format_phases(row: dict[str, Any]) -> str:
  lines = [f'\n{row["size"]} {row["task"]} {row["dtype"]}: where the time goes']
  for phase in row.get('phases', ()):
    floor = phase.get('floor_ms')
    lines.append(
      f'  {phase["phase"]:34s} {phase["times"]:3d} x {phase["ms"]:8.2f} ms'
      f' = {phase["times"] * phase["ms"]:8.1f} ms'
      + (f', products alone {phase["times"] * floor:8.1f}' if floor else '')
    )
  return '\n'.join(lines) if 'phases' in row else ''
