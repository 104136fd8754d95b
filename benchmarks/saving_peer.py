"""The peer of the benchmark of checkpoints: `torch.save` and `torch.load`.

Runs as a program in a Python of its own, with torch and nothing else, on arrays
of the shapes that a file lists. For every line that it reads it saves them and
loads them again, and answers with the seconds of each.
"""

import argparse
import json
import os
import pathlib
import sys
import tempfile
import time

import torch


def save_and_restore(state, path):
  """Seconds of one round, and the bytes on disk."""
  began = time.perf_counter()
  torch.save(state, path)
  saved = time.perf_counter() - began
  began = time.perf_counter()
  restored = torch.load(path, weights_only=True)
  loaded = time.perf_counter() - began
  if not all(torch.equal(state[name], restored[name]) for name in state):
    raise SystemExit('what was loaded differs from what was saved')
  return {
    'seconds': saved + loaded,
    'blocked': saved,
    'save': saved,
    'restore': loaded,
    'bytes': path.stat().st_size,
  }


def main() -> None:
  args = read_arguments()
  torch.manual_seed(0)
  shapes = json.loads(args.shapes.read_text())
  state = {str(n): torch.randn(shape) for n, shape in enumerate(shapes)}
  say({'torch': torch.__version__})
  for _ in sys.stdin:
    with tempfile.TemporaryDirectory(dir=args.scratch) as folder:
      os.sync()
      say(save_and_restore(state, pathlib.Path(folder) / 'state.pt'))


def say(answer) -> None:
  print(json.dumps(answer), flush=True)


def read_arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--shapes', type=pathlib.Path, required=True)
  parser.add_argument('--scratch', help='a folder')
  return parser.parse_args()


if __name__ == '__main__':
  main()
