"""Holds every converted family against the code that saves its files.

References are built with random weights, every tensor distinct, saved by their
own code, converted, and compared with our models in float32.

  make parity REFERENCES=DIR

DIR holds checkouts of the codes that no package carries, in folders named
OWNER-NAME, at these commits:

  MCG-NJU/VideoMAE 14ef8d8          innat/VideoMAE 0f12db5
  YuanGongND/ast 31088be            facebookresearch/AudioMAE bd60e29
  sunlicai/HiCMAE cdd28d4           harritaylor/torchvggish f3f9096

and timm-0.4.5, the package of that version unpacked, which AST needs. Without
DIR the families whose reference is a package are compared. TENSORFLOW_PYTHON
names a Python with TensorFlow 2.12, for the files that it writes.
"""

import argparse
import datetime
import importlib
import importlib.metadata
import json
import pathlib
import platform
import sys
import traceback
from typing import Any

import jax

# Sizes by family: those of seconds, and those of the published models.
SIZES = {
  'videomae': (('tiny', 'small'), ('base',)),
  'ast': (('tiny', 'small'), ('base',)),
  'audiomae': (('tiny', 'small'), ('base',)),
  'hicmae': (('small',), ('real',)),
  'vggish': (('small',), ('real',)),
  'wav2vec2': (('small',), ('real',)),
  'efficientnet': (('small',), ('real',)),
}
NEED_CHECKOUT = ('audiomae', 'hicmae', 'vggish')
PACKAGES = ('jax', 'flax', 'numpy', 'torch', 'transformers', 'timm')
COLUMNS = ('family', 'source', 'format', 'size', 'max_abs_delta', 'scale')


def main() -> None:
  args = read_arguments()
  rows, failed = [], []
  for family in args.families or SIZES:
    if family in NEED_CHECKOUT and args.references is None:
      print(f'{family}: left out, its reference is a checkout')
      continue
    small, large = SIZES[family]
    module = importlib.import_module(f'benchmarks.parity.{family}')
    try:
      found = module.run(args.references, small + large * args.large)
    except Exception as error:  # One family must not hide the others.
      traceback.print_exc()
      failed.append(f'{family}: {type(error).__name__}: {error}')
      continue
    for row in found:
      print(format_row(row), flush=True)
    rows += found
  write(args.out, rows, failed)
  failed += [format_row(row) for row in rows if not row['ok']]
  if failed:
    sys.exit('\n'.join(['not in agreement:', *failed]))
  print(f'{len(rows)} comparisons agree; {args.out}')


def read_arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog='python -m benchmarks.parity',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument('families', nargs='*', metavar='FAMILY')
  parser.add_argument('--references', type=pathlib.Path, metavar='DIR')
  parser.add_argument(
    '--large', action='store_true', help='the published sizes as well'
  )
  parser.add_argument(
    '--out', type=pathlib.Path, default=pathlib.Path('runs/parity.json')
  )
  args = parser.parse_args()
  unknown = [name for name in args.families if name not in SIZES]
  if unknown:
    parser.error(f'unknown family {unknown[0]!r}; there are {", ".join(SIZES)}')
  return args


def format_row(row: dict[str, Any]) -> str:
  """A row of the table in Markdown, and what differs first."""
  delta, scale = row['max_abs_delta'], row['scale']
  cells = [row.get(name, '') for name in COLUMNS[:4]]
  cells += [f'{delta:.1e}', f'{scale:.3g}', 'yes' if row['ok'] else 'NO']
  text = '| ' + ' | '.join(map(str, cells)) + ' |'
  first = row.get('layer') or row.get('first_difference')
  return text + (f' differs from {first} on' if first else '')


def write(
  path: pathlib.Path, rows: list[dict[str, Any]], failed: list[str]
) -> None:
  packages = {}
  for name in PACKAGES:
    try:
      packages[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      packages[name] = None
  content = {
    'date': datetime.date.today().isoformat(),
    'device': jax.devices()[0].device_kind,
    'python': platform.python_version(),
    'packages': packages,
    'failed': [line.split(':')[0] for line in failed],
    'rows': rows,
  }
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(content, indent=1, default=float) + '\n')


if __name__ == '__main__':
  main()
