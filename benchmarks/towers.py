"""Our side of the benchmarks of towers: forward passes and training steps.

As a program it says that it is ready and then answers lines, see `pairs`:
`run` takes a time, `rate` that of the device, `phases` those of the parts.

A step is the one that `avemo train` takes: normalisation of the input, loss,
gradient, clipped AdamW, norms for the log and the check that all is finite.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from avemo.models import emotion
from avemo.runtime import mesh as mesh_lib
from avemo.train import control, optim
from avemo.train import step as step_lib
from avemo.train.state import TrainState

NUM_CLASSES = 7
# As long as AST's input: 1024 frames of 10 ms, 25 ms wide.
SAMPLES = 1023 * 160 + 400


class Shape(NamedTuple):
  """What decides the operations of a tower: tokens N, D, L and patch size."""

  tokens: int
  width: int
  depth: int
  patch: int


VIDEO = {
  'S': Shape(1568, 384, 12, 1536),
  'B': Shape(1568, 768, 12, 1536),
  'L': Shape(1568, 1024, 24, 1536),
}
AUDIO = {
  'S': Shape(1214, 384, 12, 256),
  'B': Shape(1214, 768, 12, 256),
  'L': Shape(1214, 1024, 24, 256),
}
VARIANTS = {'S': 'small', 'B': 'base', 'L': 'large'}
HEADS = {'S': 6, 'B': 12, 'L': 16}


def count_flops(shape: Shape, task: str) -> float:
  """Floating-point operations of all matrix products, for one example."""
  n, d, layers, patch = shape
  block = 2 * n * 12 * d**2 + 4 * n**2 * d
  forward = layers * block + 2 * n * patch * d
  # Two more products an operand for the gradient; none for the input's.
  backward = 2 * layers * block + 2 * n * patch * d
  return float(forward + backward * (task == 'finetune'))


def make_batch(modality: str, batch_size: int) -> dict[str, np.ndarray]:
  """Random frames or speech, random emotions."""
  draw = np.random.default_rng(0)
  batch = emotion.example_batch(batch_size=batch_size, samples=SAMPLES)
  for name, high in (('frames', 256), ('speech', 9999)):
    values = batch[name]
    batch[name] = draw.integers(0, high, values.shape).astype(values.dtype)
  left_out = {'video': ('speech', 'has_audio', 'speech_length')}
  for name in left_out.get(modality, ('frames', 'has_video')):
    del batch[name]
  target = draw.integers(0, NUM_CLASSES, batch_size)
  return batch | {
    'emotion': target.astype(np.int32),
    'target': np.eye(NUM_CLASSES, dtype=np.float32)[target],
    'class_mask': np.ones((batch_size, NUM_CLASSES), bool),
  }


def make_model(modality: str, size: str, dtype: str, **options: Any):
  """The model with one tower, of a published size."""
  tower = {k: v for k, v in options.items() if v is not None}
  tower = {'variant': VARIANTS[size]} | tower
  if modality == 'video':
    sections = {'video': {'name': 'videomae', **tower}}
  else:
    sizes = {'width': AUDIO[size].width, 'depth': AUDIO[size].depth}
    sizes['num_heads'] = HEADS[size]
    tower = sizes | tower | {'variant': 'base'}
    sections = {
      'audio': {'name': 'spectrogram_vit', **tower},
      'features': {'front_end': 'filterbank', 'num_frames': 1024},
    }
  return emotion.Emotion(NUM_CLASSES, (modality,), dtype=dtype, **sections)


class Work(NamedTuple):
  """Something to be timed.

  Attributes:
    run: does it once, to the end.
    compile_seconds: tracing, lowering and compiling, wall and processor.
    temporary_bytes: what the compiled program needs beside its arguments.
  """

  run: Callable[[], Any]
  compile_seconds: tuple[float, float]
  temporary_bytes: int


def make_forward(
  modality: str, size: str, *, dtype: str, batch_size: int, **options: Any
) -> Work:
  """A forward pass, from the batch on the device to logits."""
  model = make_model(modality, size, dtype, **options)
  batch = jax.device_put(make_batch(modality, batch_size))
  variables = jax.jit(model.init)(jax.random.key(0), batch)
  compiled, seconds = compile_program(jax.jit(model.apply), variables, batch)
  run = lambda: jax.block_until_ready(compiled(variables, batch))
  return Work(run, seconds, measure_temporary(compiled))


def make_step(
  modality: str, size: str, *, dtype: str, batch_size: int, **options: Any
) -> Work:
  """A training step of all parameters on one batch, over and over."""
  model = make_model(modality, size, dtype, **options)
  mesh = mesh_lib.make_mesh(data=1, fsdp=1, devices=jax.devices()[:1])
  batch = make_batch(modality, batch_size)
  example = {name: value[:1] for name, value in batch.items()}
  rate = optim.make_schedule(steps=1000, lr=1e-5)
  init_params = lambda: model.init(jax.random.key(0), example)['params']
  tx = optim.make_optimizer(
    jax.eval_shape(init_params), rate, weight_decay=0.05, clip=1.0
  )

  def init():
    params = init_params()
    return TrainState(
      step=jnp.int32(0),
      params=params,
      batch_stats={},
      opt_state=tx.init(params),
      ema={},
      control=control.start(),
    )

  shapes = jax.eval_shape(init)
  placement = mesh_lib.place_params(shapes.params, mesh)
  shardings = mesh_lib.place_like(shapes, shapes.params, placement)
  step = step_lib.make_train_step(
    model,
    tx,
    rate,
    shardings,
    seed=0,
    class_weights=np.ones(NUM_CLASSES, np.float32),
  )
  state = jax.jit(init, out_shardings=shardings)()
  batch = mesh_lib.shard_batch(batch, mesh)
  compiled, seconds = compile_program(step, state, batch)
  kept = [state]
  del state

  def run():
    kept[0], metrics = compiled(kept[0], batch)
    if not bool(jax.device_get(metrics['finite'])):
      raise SystemExit('the loss is not finite')

  return Work(run, seconds, measure_temporary(compiled))


def compile_program(
  program: Any, *inputs: Any
) -> tuple[Any, tuple[float, float]]:
  # Drawing a large model's parameters would be counted as compiling.
  jax.block_until_ready(inputs)
  wall, processor = time.perf_counter(), time.process_time()
  compiled = program.lower(*inputs).compile()
  return compiled, (
    round(time.perf_counter() - wall, 2),
    round(time.process_time() - processor, 2),
  )


def measure_temporary(compiled: Any) -> int:
  return int(compiled.memory_analysis().temp_size_in_bytes)


MAKE = {'forward': make_forward, 'finetune': make_step}


def main() -> None:
  args = vars(read_arguments())
  task = args.pop('task')
  modality, size = args.pop('modality'), args.pop('size')
  shape = (VIDEO if modality == 'video' else AUDIO)[size]
  shape = shape._replace(depth=args['depth'] or shape.depth)
  began = time.perf_counter()
  try:
    work = MAKE[task](modality, size, **args)
    work.run()
    first = time.perf_counter() - began
  except jax.errors.JaxRuntimeError as error:
    if 'RESOURCE_EXHAUSTED' not in str(error):
      raise
    say({'out_of_memory': True})
    return
  from benchmarks import phases

  device = jax.devices()[0]
  say(
    {
      'device': device.device_kind,
      'first_seconds': round(first, 2),
      'compile_seconds': work.compile_seconds,
      'temporary_bytes': work.temporary_bytes,
      'peak_bytes': (device.memory_stats() or {}).get('peak_bytes_in_use'),
      'flops': count_flops(shape, task) * args['batch_size'],
    }
  )
  rate = None
  for line in sys.stdin:
    if line.strip() == 'rate':
      rate = phases.measure_rate(args['dtype'])
      say({'rate': rate})
    elif line.strip() == 'phases':
      say({'phases': phases.find_phases(modality, size, task, rate, **args)})
    else:
      began = time.perf_counter()
      work.run()
      say({'seconds': time.perf_counter() - began})


def say(answer: dict[str, Any]) -> None:
  print(json.dumps(answer), flush=True)


def read_arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--modality', choices=('video', 'audio'), required=True)
  parser.add_argument('--size', choices=VARIANTS, required=True)
  parser.add_argument('--task', choices=MAKE, required=True)
  parser.add_argument('--dtype', default='float32')
  parser.add_argument('--batch-size', type=int, default=1)
  parser.add_argument('--remat', default='auto')
  parser.add_argument('--implementation')
  parser.add_argument('--depth', type=int, help='other than the size has')
  return parser.parse_args()


if __name__ == '__main__':
  main()
