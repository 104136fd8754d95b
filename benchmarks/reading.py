"""Our side of the benchmark of reading: records to batches.

As a program it says that it is ready and then answers lines, see `pairs`:
`run` reads a number of batches, `memory N` reads N and tells what was held.
"""

import argparse
import json
import os
import sys
import time

import cv2
import numpy as np

from avemo.data import clips, labels, pipeline, schema
from benchmarks import processes

# Samples of the memory over a run.
SAMPLES = 64
# Clips of an epoch, as many as RAVDESS has. To put few in an order takes Grain
# far longer than many: it draws until a number is one of them.
CLIPS = 1440


def main() -> None:
  args = read_arguments()
  # As the peer's, and so that processor time is that of one thread a clip.
  cv2.setNumThreads(1)
  dataset = schema.open_dataset(args.name, args.data_dir)
  batches = pipeline.train_batches(
    dataset,
    np.resize(np.arange(len(dataset.source)), CLIPS),
    labels.LabelSpace.of(dataset.emotions),
    options=clips.ClipOptions(use=('video',)),
    batch_size=args.batch_size,
    seed=0,
    workers=args.workers,
  )
  batch = next(batches)
  say({'shape': batch['frames'].shape, 'dtype': str(batch['frames'].dtype)})
  for line in sys.stdin:
    words = line.split()
    if words[0] == 'memory':
      say({'bytes': watch_memory(batches, int(words[1]))})
      continue
    began = time.perf_counter()
    for _ in range(args.batches):
      next(batches)
    say({'seconds': time.perf_counter() - began})
  batches.close()


def watch_memory(batches: pipeline.Batches, count: int) -> list[int]:
  """Bytes held by all processes, after equal parts of `count` batches."""
  held = []
  for part in np.array_split(np.arange(count), min(count, SAMPLES)):
    for _ in part:
      next(batches)
    held.append(processes.measure_memory(os.getpid()))
  return held


def say(answer) -> None:
  print(json.dumps(answer), flush=True)


def read_arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--name', required=True)
  parser.add_argument('--data-dir', required=True)
  parser.add_argument('--batch-size', type=int, default=8)
  parser.add_argument('--batches', type=int, default=8)
  parser.add_argument('--workers', type=int, default=0)
  return parser.parse_args()


if __name__ == '__main__':
  main()
