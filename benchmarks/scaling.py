"""What a step sends and holds on every mesh, and whether all agree.

A small VideoMAE is fine-tuned for 20 steps on fake CPU devices: on meshes of
one process, and on one mesh over several processes of this machine. Bytes and
collectives are read from the compiled programs and held against the formulas
of docs/scaling.md. The times are those of a few cores that share all the work:
they say nothing of how devices of their own would scale.

  python -m benchmarks.scaling --out benchmarks/results/scaling.json
"""

import argparse
import collections
import json
import os
import pathlib
import platform
import sys
import tempfile
import time
from collections.abc import Iterable
from typing import Any

from avemo import memory
from benchmarks import paper_model

MESHES = ((1, 1), (8, 1), (1, 8), (4, 2))
PROCESSES = (1, 2, 4)
# The mesh of all numbers of processes.
SHARED = (4, 2)
STEPS, BATCH, CLASSES = 20, 16, 6
FRAMES, SIDE = 4, 32
TOWER = {
  'name': 'videomae',
  'variant': 'tiny',
  'width': 256,
  'depth': 4,
  'num_heads': 4,
}


def main() -> None:
  memory.take_large_pages()  # As `avemo` does, and for the peer too.
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--out', type=pathlib.Path, required=True)
  parser.add_argument(
    '--mesh', type=int, nargs=2, help='measure this one alone, as a process'
  )
  args = parser.parse_args()
  if args.mesh:
    from avemo.runtime import distributed

    distributed.start()
    found = measure(*args.mesh)
    if distributed.is_first():
      args.out.write_text(json.dumps(found))
    return
  rows = [
    launch(*mesh, count)
    for mesh in MESHES
    for count in (PROCESSES if mesh == SHARED else (1,))
  ]
  expected = rows[0]['losses']
  for row in rows:
    losses = zip(row.pop('losses'), expected, strict=True)
    row['largest_difference_of_loss'] = max(abs(a - b) for a, b in losses)
  report = {'machine': describe(), 'model': TOWER, 'rows': rows}
  args.out.write_text(json.dumps(report, indent=1) + '\n')
  print(format_table(rows))


def launch(data: int, fsdp: int, count: int) -> dict[str, Any]:
  """What `measure` finds in so many processes."""
  from avemo.runtime import launcher

  flag = f'--xla_force_host_platform_device_count={data * fsdp // count}'
  environment = os.environ | {'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': flag}
  # A thread for each device that waits for the others.
  environment.setdefault('NPROC', '16')
  with tempfile.TemporaryDirectory() as folder:
    out = pathlib.Path(folder) / 'row.json'
    command = [sys.executable, '-m', 'benchmarks.scaling', '--out', str(out)]
    command += ['--mesh', str(data), str(fsdp)]
    launcher.launch(command, folder, count, environment=environment)
    row = json.loads(out.read_text())
  row = {'processes': count} | row
  print(json.dumps({k: v for k, v in row.items() if k != 'losses'}), flush=True)
  return row


def measure(data: int, fsdp: int) -> dict[str, Any]:
  """Bytes, collectives, losses and times of a step on a mesh."""
  import jax

  from avemo.runtime import mesh as mesh_lib
  from benchmarks import collectives

  mesh = mesh_lib.make_mesh(data, fsdp)
  parts = make_parts(mesh)
  began = time.perf_counter()
  step = parts['step'].lower(parts['state'], parts['batch']).compile()
  compile_seconds = time.perf_counter() - began
  found = collectives.find(step.as_text())
  expected = list_expected(parts, data, fsdp)
  state, losses, times = parts['init'](), [], []
  for number in range(STEPS):
    rows = slice_rows(make_batch(number), jax.process_index())
    batch = mesh_lib.shard_batch(rows, mesh)
    began = time.perf_counter()
    state, metrics = step(state, batch)
    losses.append(float(metrics['loss']))
    times.append(time.perf_counter() - began)
  return {
    'mesh': [data, fsdp],
    'held': hold(step, parts, fsdp),
    'sent': sum_up(one for one in found if one.shape),
    'expected': sum_up(expected),
    'scalars': sum(not one.shape for one in found),
    'bytes_sent_by_a_device': round(sum(one.sent for one in expected)),
    'compile_seconds': round(compile_seconds, 1),
    'milliseconds_a_step_on_shared_cores': round(
      1e3 * sorted(times)[STEPS // 2], 1
    ),
    'losses': losses,
  }


def make_parts(mesh, tower=None, **options) -> dict[str, Any]:
  """The step of a small fine-tuning and what it takes.

  Returns:
    `init`, `step`, `placement`, and as shapes with shardings `state`, `batch`.
  """
  import jax
  import numpy as np

  from avemo.evaluate import restore
  from avemo.runtime import mesh as mesh_lib
  from avemo.train import control, optim
  from avemo.train import step as step_lib
  from avemo.train.state import TrainState

  section = {'use': ('video',), 'video': tower or TOWER}
  model = restore.make_model(section, num_classes=CLASSES)
  init_model = restore.make_init(model, make_options(FRAMES, SIDE))
  rate = optim.make_schedule(steps=100, lr=1e-3, warmup=5)
  params = jax.eval_shape(init_model, jax.random.key(0))['params']
  tx = optim.make_optimizer(params, rate, weight_decay=0.05, clip=1.0)

  def init():
    params = init_model(jax.random.key(0))['params']
    return TrainState(
      step=np.int32(0),
      params=params,
      batch_stats={},
      opt_state=tx.init(params),
      ema=params,
      control=control.start(),
    )

  shapes = jax.eval_shape(init)
  placement = mesh_lib.place_params(shapes.params, mesh)
  shardings = mesh_lib.place_like(shapes, shapes.params, placement)
  give = lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s)
  rows = mesh_lib.batch_sharding(mesh)
  return {
    'init': jax.jit(init, out_shardings=shardings),
    'step': step_lib.make_train_step(
      model,
      tx,
      rate,
      shardings,
      seed=0,
      class_weights=np.ones(CLASSES, np.float32),
      ema=0.99,
      **options,
    ),
    'placement': placement,
    'state': jax.tree.map(give, shapes, shardings),
    'batch': jax.tree.map(lambda x: give(x, rows), make_batch(0)),
    'accumulate': options.get('accumulate', 1),
    'remat': (tower or TOWER).get('remat', True),
  }


def make_options(frames: int, size: int):
  from avemo.data.clips import ClipOptions

  return ClipOptions(use=('video',), frames=frames, size=size)


def make_batch(number: int) -> dict[str, Any]:
  """Noise with labels, another for each number."""
  import numpy as np

  draw = np.random.default_rng(number)
  emotion = draw.integers(0, CLASSES, BATCH)
  yes = np.ones(BATCH, bool)
  shape = (BATCH, FRAMES, SIDE, SIDE, 3)
  return {
    'frames': draw.integers(0, 256, shape, np.uint8),
    'has_video': yes,
    'target': np.eye(CLASSES, dtype=np.float32)[emotion],
    'class_mask': np.ones((BATCH, CLASSES), bool),
    'mask': yes,
  }


def slice_rows(batch: dict[str, Any], number: int) -> dict[str, Any]:
  """What process `number` reads of a batch."""
  import jax

  size = BATCH // jax.process_count()
  rows = slice(number * size, (number + 1) * size)
  return {name: value[rows] for name, value in batch.items()}


# ------------------------------------------------------------- the formulas


def count_bytes(params, placement) -> dict[str, int]:
  """Bytes of parameters: `whole` on every device, split in `stacks`, `others`.

  Args:
    params: arrays or their shapes.
    placement: theirs, from `mesh.place_params`.
  """
  import jax

  from avemo.runtime import mesh as mesh_lib

  sizes = {'whole': 0, 'stacks': 0, 'others': 0}
  whole = set(placement.replicated)
  for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
    name = mesh_lib.name_of(path)
    kind = 'stacks' if mesh_lib.is_stacked(name) else 'others'
    kind = 'whole' if name in whole else kind
    sizes[kind] += leaf.size * leaf.dtype.itemsize
  return sizes


def list_expected(parts, data: int, fsdp: int) -> list[paper_model.Traffic]:
  """What a step should send by the formulas, as XLA for CPUs does it."""
  return paper_model.list_traffic(
    count_bytes(parts['state'].params, parts['placement']),
    data,
    fsdp,
    turns=parts['accumulate'],
    remat=parts['remat'],
    has_reduce_scatter=False,
  )


def sum_up(found: Iterable[Any]) -> dict[str, int]:
  """Bytes of the results by kind and number of devices."""
  total = collections.Counter()
  for one in found:
    times = getattr(one, 'times', 1)
    total[f'{one.kind} over {one.devices}'] += one.size * times
  return dict(sorted(total.items()))


def hold(step, parts: dict[str, Any], fsdp: int) -> dict[str, int]:
  """Bytes that a device holds: of the program, and by the formula."""
  import jax

  sizes = count_bytes(parts['state'].params, parts['placement'])
  split = sizes['stacks'] + sizes['others']
  state = paper_model.count_held(sizes, fsdp)
  # What has no parameter that it follows.
  others = [parts['state'].step, *parts['state'].control.values()]
  moments = {jax.tree.structure(parts['state'].params)}
  rest = jax.tree.leaves(
    parts['state'].opt_state,
    is_leaf=lambda tree: jax.tree.structure(tree) in moments,
  )
  others += [leaf for leaf in rest if hasattr(leaf, 'shape')]
  devices = parts['state'].step.sharding.mesh.size
  batch = sum(
    leaf.size * leaf.dtype.itemsize for leaf in parts['batch'].values()
  )
  small = sum(leaf.size * leaf.dtype.itemsize for leaf in others)
  analysis = step.memory_analysis()
  return {
    'arguments': analysis.argument_size_in_bytes,
    'expected': state + small + batch // devices,
    'parameters': sizes['whole'] + split // fsdp,
    'optimiser_and_average': state - sizes['whole'] - split // fsdp,
    'of_it_split': 4 * split // fsdp,
    'of_it_whole': 4 * sizes['whole'],
    'temporary': analysis.temp_size_in_bytes,
  }


# --------------------------------------------------------------- the report


def describe() -> dict[str, Any]:
  import importlib.metadata

  return {
    'devices': 'fake CPU devices',
    'cpus': os.cpu_count(),
    'python': platform.python_version(),
    'jax': importlib.metadata.version('jax'),
  }


def format_table(rows: list[dict[str, Any]]) -> str:
  lines = [
    'data fsdp processes | held MB  formula | sent MB | as expected | loss'
  ]
  for row in rows:
    data, fsdp = row['mesh']
    held = row['held']
    lines.append(
      f'{data:4d} {fsdp:4d} {row["processes"]:9d} | '
      f'{held["arguments"] / 1e6:7.2f} {held["expected"] / 1e6:8.2f} | '
      f'{row["bytes_sent_by_a_device"] / 1e6:7.2f} | '
      f'{row["sent"] == row["expected"]!s:11s} | '
      f'{row["largest_difference_of_loss"]:.1e}'
    )
  return '\n'.join(lines)


if __name__ == '__main__':
  main()
