"""Our side of the benchmark of checkpoints: the state of a tower's training.

As a program it says what the state holds, and then for every line that it reads
saves it, waits until it is on disk, loads it again, and answers with the
seconds: until training may go on, until all is written, and of loading.
"""

import argparse
import json
import os
import pathlib
import shutil
import sys
import tempfile
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from avemo import cli
from avemo.runtime import checkpoint
from avemo.runtime import mesh as mesh_lib
from avemo.train import control, optim
from avemo.train.state import TrainState, from_items, to_items
from benchmarks import towers


def make_state(size: str, depth: int | None = None) -> TrainState:
  """Parameters of VideoMAE and the moments of AdamW, random numbers."""
  model = towers.make_model('video', size, 'float32', depth=depth)
  batch = towers.make_batch('video', 1)
  rate = optim.make_schedule(steps=1000, lr=1e-5)

  def init():
    params = model.init(jax.random.key(0), batch)['params']
    tx = optim.make_optimizer(
      jax.eval_shape(lambda: params), rate, weight_decay=0.05, clip=1.0
    )
    return TrainState(
      step=jnp.int32(0),
      params=params,
      batch_stats={},
      opt_state=tx.init(params),
      ema={},
      control=control.start(),
    )

  shapes = jax.eval_shape(init)
  draw = np.random.default_rng(0)
  # Zeros would be compressed to nothing.
  mesh = mesh_lib.make_mesh(devices=jax.devices()[:1])
  fill = lambda leaf: jax.device_put(
    draw.standard_normal(leaf.shape, np.float32).astype(leaf.dtype),
    mesh_lib.replicated(mesh),
  )
  return jax.tree.map(fill, shapes)


def save_and_restore(state: TrainState, folder: pathlib.Path) -> dict[str, Any]:
  """Seconds of one round, and the bytes on disk.

  Raises:
    SystemExit: what was loaded is not what was saved.
  """
  saved = checkpoint.Checkpoints(folder)
  try:
    began = time.perf_counter()
    saved.save(1, to_items(state))
    blocked = time.perf_counter() - began
    saved.wait()
    written = time.perf_counter() - began
    like = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
      to_items(state),
    )
    began = time.perf_counter()
    restored = from_items(saved.restore(1, like), state)
    jax.block_until_ready(restored)
    loaded = time.perf_counter() - began
  finally:
    saved.close()
  for one, other in zip(*map(jax.tree.leaves, (state, restored)), strict=True):
    if not np.array_equal(one, other):
      raise SystemExit('what was loaded differs from what was saved')
  files = [path for path in folder.rglob('*') if path.is_file()]
  return {
    'seconds': written + loaded,
    'blocked': blocked,
    'save': written,
    'restore': loaded,
    'bytes': sum(path.stat().st_size for path in files),
  }


def main() -> None:
  args = read_arguments()
  state = make_state(args.size, args.depth)
  leaves = jax.tree.leaves(state)
  say(
    {
      'shapes': [leaf.shape for leaf in leaves],
      'state_bytes': sum(leaf.nbytes for leaf in leaves),
    }
  )
  for _ in sys.stdin:
    folder = pathlib.Path(tempfile.mkdtemp(dir=args.scratch))
    # What other programs wrote is not ours to wait for.
    os.sync()
    say(save_and_restore(state, folder))
    shutil.rmtree(folder)


def say(answer) -> None:
  print(json.dumps(answer), flush=True)


def read_arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--size', default='B', choices=towers.VIDEO)
  parser.add_argument('--depth', type=int, help='other than the size has')
  parser.add_argument('--scratch', help='a folder')
  return parser.parse_args()


if __name__ == '__main__':
  cli.quiet_libraries()
  main()
