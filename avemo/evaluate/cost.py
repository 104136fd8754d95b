"""What a model costs: parameters, and the products of a forward pass."""

import pathlib
from collections.abc import Mapping
from typing import Any

import jax

from avemo.data.clips import SAMPLE_RATE, ClipOptions
from avemo.evaluate import restore
from avemo.features import films
from avemo.features import towers as towers_lib
from avemo.models import emotion, vggish
from avemo.runtime import cost

# In the workdir of a training run.
COST_FILE = 'cost.json'


def describe_model(model: Any, options: ClipOptions) -> dict[str, Any]:
  """Counts of a model, from shapes alone.

  Args:
    model: the module.
    options: how a record becomes a clip.

  Returns:
    `parameters`, and `gmacs`: 10^9 multiply-accumulates of a forward pass of
    one example, see `runtime.cost`. Of a model over features of frames, whose
    towers are not counted here, an example is one frame of a window, and
    `example` says so.
  """
  variables = jax.eval_shape(
    restore.make_init(model, options), jax.random.key(0)
  )
  by_frame = hasattr(model, 'make_example')
  if by_frame:
    example = model.make_example(options.frames)
  else:
    example = emotion.example_batch(
      frames=options.frames,
      size=options.size,
      samples=max(options.num_samples, 1),
    )
  macs = cost.count_macs(
    lambda variables, batch: model.apply(variables, batch, train=False),
    variables,
    example,
  )
  leaves = jax.tree.leaves(variables['params'])
  found = {'parameters': sum(x.size for x in leaves), 'gmacs': macs / 1e9}
  if by_frame:
    found |= {'gmacs': macs / 1e9 / options.frames, 'example': 'frame'}
  return found


def describe_towers(
  opened: Mapping[str, towers_lib.Tower],
  options: ClipOptions,
  looked_at: float = 1.0,
) -> dict[str, Any]:
  """What the towers cost that a model over features of frames reads.

  Args:
    opened: by name.
    options: of a window, whose frames are spread over its seconds.
    looked_at: share of the frames that towers over faces are run on.

  Returns:
    `tower_parameters`, and `tower_gmacs` for one frame: of sound the share of
    a window that falls to it.
  """
  parameters, macs = 0, 0.0
  step = options.seconds / options.frames
  for tower in opened.values():
    parameters += sum(x.size for x in jax.tree.leaves(tower.params))
    if tower.modality == 'video':
      size, samples, share = tower.options.size, 1, looked_at
    elif tower.kind == 'waveform':
      size, samples = 1, round(towers_lib.PIECE * SAMPLE_RATE)
      share = step / (towers_lib.PIECE - 2 * towers_lib.CONTEXT)
    else:
      size, samples = 1, tower.options.num_samples
      if tower.kind == 'vggish':
        samples = vggish.PATCH_SAMPLES
      share = step / films.HOP
    macs += share * count_tower(tower, size, samples)
  return {'tower_parameters': parameters, 'tower_gmacs': macs / 1e9}


def count_tower(tower: towers_lib.Tower, size: int, samples: int) -> int:
  """Multiply-accumulates of one face, or of so many samples of speech."""
  is_waveform = tower.modality == 'audio' and tower.kind == 'waveform'
  method = 'embed_speech' if is_waveform else 'embed'
  return cost.count_macs(
    lambda variables, batch: tower.model.apply(variables, batch, method=method),
    tower.variables,
    emotion.example_batch(frames=1, size=size, samples=samples),
  )


def describe(
  workdir: pathlib.Path,
  restored: restore.Restored,
  watch: cost.Stopwatch,
  frame_rate: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
  """What stands beside every score.

  Args:
    workdir: of a training run, whose `cost.json` is taken up, or of converted
      weights.
    restored: from it.
    watch: has predicted batches.
    frame_rate: of `metrics.json`, how many faces a tower was run on.

  Returns:
    What training has cost, `parameters`, `gmacs`, and `inference_seconds`: of
    the model alone for one example, in batches of `inference_batch_size` on
    `inference_device`, once compiled. Of a model over features `parameters`
    and `gmacs` are with its towers, whose own stand beside, and the seconds
    without.
  """
  found = read(workdir)
  if restored.opened or not found:
    found |= describe_model(restored.model, restored.options)
  if restored.opened:
    rate = frame_rate or {}
    share = rate['looked_at'] / rate['frames'] if rate.get('frames') else 1.0
    towers = describe_towers(restored.opened, restored.options, share)
    found['parameters'] += towers['tower_parameters']
    found['gmacs'] += towers['tower_gmacs']
    found |= towers | {'inference_of': 'the model over features alone'}
  # One more call at most, for a large model takes minutes on a CPU.
  seconds = watch.measure(repeats=1)
  if seconds is not None:
    size = len(watch.last[1]['mask'])
    found |= {
      'inference_seconds': seconds / size,
      'inference_batch_size': size,
      'inference_device': jax.devices()[0].device_kind,
    }
  return found


def read(workdir: pathlib.Path) -> dict[str, Any]:
  """What `cost.json` of a training run says; empty where there is none."""
  path = workdir / COST_FILE
  return restore.read_json(path) if path.is_file() else {}
