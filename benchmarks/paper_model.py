"""Step time and efficiency from 1 to 1,024 devices, on paper.

The formulas are those of docs/scaling.md, and so are the sources of what is
assumed here; every assumption is a flag. Bytes of parameters are those of the
model itself, placed on a mesh of eight devices; what is sent on a mesh is held
against compiled programs by `benchmarks.scaling`.

  python -m benchmarks.paper_model
  python -m benchmarks.paper_model --variant=base --clips=64 --utilisation=0.4
"""

import argparse
import dataclasses
import os
from collections.abc import Mapping
from typing import NamedTuple

# Devices that are close to one another: one machine's.
NEAR = 8
COUNTS = tuple(2**k for k in range(11))


@dataclasses.dataclass(frozen=True)
class Assumptions:
  """All in SI units; by default those of machines with eight H200.

  Attributes:
    rate: matrix products in bfloat16, FLOP/s a device.
    utilisation: share of it that a step on one device reaches.
    near: bytes/s that a device sends to those of its machine.
    far: bytes/s that a device sends to other machines.
    near_delay: seconds that a message takes within a machine.
    far_delay: seconds that a message takes between machines.
    overlap: share of the backward pass that hides what is sent.
    cores: of a machine's processor, for decoding.
    core_clips: clips/s that a core decodes.
    copy: bytes/s from a device to its machine's memory.
    disk: bytes/s that all machines write together.
    checkpoint_steps: steps between two checkpoints.
  """

  rate: float = 989e12
  utilisation: float = 0.5
  near: float = 450e9
  far: float = 50e9
  near_delay: float = 5e-6
  far_delay: float = 20e-6
  overlap: float = 0.0
  cores: int = 112
  core_clips: float = 20.0
  copy: float = 50e9
  disk: float = 10e9
  checkpoint_steps: int = 1000


class Traffic(NamedTuple):
  """One kind of collective in a step.

  Attributes:
    kind: 'all-gather', 'reduce-scatter' or 'all-reduce'.
    size: bytes of the whole arrays, over the step.
    devices: that take part together.
    axis: of the mesh, 'fsdp' or 'data'; 'both' is all devices.
  """

  kind: str
  size: int
  devices: int
  axis: str

  @property
  def sent(self) -> float:
    """Bytes that each device sends, around a ring."""
    passes = 2 if self.kind == 'all-reduce' else 1
    return passes * (self.devices - 1) / self.devices * self.size


def list_traffic(
  sizes: Mapping[str, int],
  data: int,
  fsdp: int,
  *,
  turns: int = 1,
  remat: bool = True,
  has_reduce_scatter: bool = True,
) -> list[Traffic]:
  """What a step sends on a mesh.

  Args:
    sizes: bytes of parameters: `whole` on every device, split in `stacks`,
      and split `others`.
    data: devices along the first axis of the mesh.
    fsdp: along the second.
    turns: microbatches of a step.
    remat: whether the backward pass computes, and so gathers, a block again.
    has_reduce_scatter: False for XLA on CPUs, where an all-reduce stands for
      it.
  """
  whole, stacks, others = (sizes[k] for k in ('whole', 'stacks', 'others'))
  split, count = stacks + others, data * fsdp
  scatter = 'reduce-scatter' if has_reduce_scatter else 'all-reduce'
  found = [
    # What stands in no stack is gathered once, before the microbatches.
    Traffic('all-gather', turns * (1 + remat) * stacks + others, fsdp, 'fsdp'),
    Traffic(scatter, turns * split, fsdp, 'fsdp'),
    Traffic('all-reduce', turns * split // fsdp, data, 'data'),
    Traffic('all-reduce', turns * whole, count, 'both'),
  ]
  return [one for one in found if one.size and one.devices > 1]


def count_held(sizes: Mapping[str, int], fsdp: int) -> int:
  """Bytes a device of parameters, two moments and the average."""
  split = sizes['stacks'] + sizes['others']
  return 4 * (sizes['whole'] + split // fsdp)


def count_flops(depth: int, width: int, tokens: int) -> int:
  """Floating-point operations of a transformer's blocks, forward, a clip.

  Of a block: 24 N D² in its six matrices, and 4 N² D in attention.
  """
  return depth * (24 * tokens * width**2 + 4 * tokens**2 * width)


class Step(NamedTuple):
  """Seconds of a step on a number of devices, and what they are spent on."""

  devices: int
  data: int
  fsdp: int
  compute: float
  sending: float
  exposed: float
  reading: float
  saving: float
  seconds: float
  efficiency: float


def predict(
  count: int,
  fsdp: int,
  *,
  clips: int,
  flops: int,
  sizes: Mapping[str, int],
  remat: bool,
  assumed: Assumptions,
) -> Step:
  """A step of `count` devices, of which `fsdp` split the parameters.

  Args:
    count: of devices.
    fsdp: of them; the rest of the mesh is `data`.
    clips: a device.
    flops: forward, a clip.
    sizes: see `list_traffic`.
    remat: likewise.
    assumed: all else.
  """
  one = clips * flops / (assumed.rate * assumed.utilisation)
  compute = one * (4 if remat else 3)
  data = count // fsdp
  sending = sum(
    time_collective(traffic, count, fsdp, assumed)
    for traffic in list_traffic(sizes, data, fsdp, remat=remat)
  )
  # The backward pass takes two parts of the compute, and hides its share.
  exposed = max(0.0, sending - assumed.overlap * 2 * one)
  near = min(count, NEAR)
  reading = clips * near / (assumed.cores * assumed.core_clips)
  # Devices go on once their bytes are copied; the disk must be done in time.
  state = count_held(sizes, 1)
  copied = count_held(sizes, fsdp) / assumed.copy
  busy = max(compute + exposed, reading)
  waiting = max(0.0, state / assumed.disk - assumed.checkpoint_steps * busy)
  saving = (copied + waiting) / assumed.checkpoint_steps
  seconds = busy + saving
  alone = max(compute, clips / (assumed.cores * assumed.core_clips))
  alone += state / assumed.copy / assumed.checkpoint_steps
  return Step(
    count, data, fsdp, compute, sending, exposed, reading, saving, seconds,
    alone / seconds,
  )  # fmt: skip


def time_collective(
  traffic: Traffic, count: int, fsdp: int, assumed: Assumptions
) -> float:
  """Seconds of a collective around rings.

  Those who split parameters are one machine's. A group over machines is done
  in three parts: scattered within each machine, then reduced between those of
  equal rank, then gathered within each again.
  """
  devices = traffic.devices
  if count <= NEAR or traffic.axis == 'fsdp':
    passes = 2 if traffic.kind == 'all-reduce' else 1
    delay = passes * (devices - 1) * assumed.near_delay
    return traffic.sent / assumed.near + delay
  # Along `data` a machine has NEAR / fsdp devices of the group.
  near = NEAR // fsdp if traffic.axis == 'data' else NEAR
  far = devices // near
  inner = 2 * (near - 1) / near * traffic.size / assumed.near
  outer = 2 * (far - 1) / far * traffic.size / near / assumed.far
  delay = 2 * (near - 1) * assumed.near_delay
  return inner + outer + delay + 2 * (far - 1) * assumed.far_delay


def count_sizes(variant: str) -> tuple[dict[str, int], int]:
  """Bytes of a VideoMAE's parameters on eight devices, and its FLOPs."""
  flag = f'--xla_force_host_platform_device_count={NEAR}'
  os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} {flag}'.strip()
  os.environ['JAX_PLATFORMS'] = 'cpu'
  import jax

  from avemo.evaluate import restore
  from avemo.runtime import mesh as mesh_lib
  from benchmarks import scaling

  options = scaling.make_options(16, 224)
  tower = {'name': 'videomae', 'variant': variant}
  model = restore.make_model(
    {'use': ('video',), 'video': tower}, num_classes=scaling.CLASSES
  )
  params = jax.eval_shape(restore.make_init(model, options), jax.random.key(0))[
    'params'
  ]
  mesh = mesh_lib.make_mesh(1, NEAR, devices=jax.devices()[:NEAR])
  placement = mesh_lib.place_params(params, mesh)
  depth, width = params['video']['encoder']['blocks']['norm1']['scale'].shape
  tokens = (16 // 2) * (224 // 16) ** 2
  sizes = scaling.count_bytes(params, placement)
  return sizes, count_flops(depth, width, tokens)


def main() -> None:
  args, assumed = read_arguments()
  sizes, flops = count_sizes(args.variant)
  total = sum(sizes.values())
  print(
    f'VideoMAE {args.variant}: {total / 4e6:.1f} M parameters '
    f'({total / 1e6:.0f} MB), {flops / 1e9:.0f} GFLOP forward a clip, '
    f'{args.clips} clips a device, remat {not args.no_remat}'
  )
  given = {
    'clips': args.clips,
    'flops': flops,
    'sizes': sizes,
    'remat': not args.no_remat,
    'assumed': assumed,
  }
  for fsdp in (1, NEAR):
    print(f'\nparameters {"on every device" if fsdp == 1 else "split over 8"}')
    print(format_table([predict(n, min(n, fsdp), **given) for n in COUNTS]))


def read_arguments() -> tuple[argparse.Namespace, Assumptions]:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--variant', default='large')
  parser.add_argument('--clips', type=int, default=16, help='a device')
  parser.add_argument('--no-remat', action='store_true')
  for field in dataclasses.fields(Assumptions):
    name = '--' + field.name.replace('_', '-')
    parser.add_argument(name, type=field.type, default=field.default)
  args = parser.parse_args()
  names = [field.name for field in dataclasses.fields(Assumptions)]
  return args, Assumptions(**{name: getattr(args, name) for name in names})


def format_table(steps: list[Step]) -> str:
  lines = [
    '| devices | mesh | compute ms | sent ms | reading ms | saving ms '
    '| step ms | efficiency |',
    '|---|---|---|---|---|---|---|---|',
  ]
  for step in steps:
    times = (step.compute, step.sending, step.reading, step.saving)
    cells = [f'{1e3 * seconds:.1f}' for seconds in (*times, step.seconds)]
    lines.append(
      f'| {step.devices} | {step.data}×{step.fsdp} | {" | ".join(cells)} '
      f'| {step.efficiency:.1%} |'
    )
  return '\n'.join(lines)


if __name__ == '__main__':
  main()
