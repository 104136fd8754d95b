"""What a model costs: parameters, and the products of a forward pass."""

import pathlib
from typing import Any

import jax

from avemo.data.clips import ClipOptions
from avemo.evaluate import restore
from avemo.models import emotion
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
    one example, see `runtime.cost`.
  """
  variables = jax.eval_shape(
    restore.make_init(model, options), jax.random.key(0)
  )
  # A model of other inputs than clips makes its own.
  example = getattr(model, 'make_example', emotion.example_batch)
  sizes = {}
  if example is emotion.example_batch:
    sizes = {'frames': options.frames, 'size': options.size}
    sizes['samples'] = max(options.num_samples, 1)
  macs = cost.count_macs(
    lambda variables, batch: model.apply(variables, batch, train=False),
    variables,
    example(**sizes),
  )
  leaves = jax.tree.leaves(variables['params'])
  return {'parameters': sum(x.size for x in leaves), 'gmacs': macs / 1e9}


def describe(
  workdir: pathlib.Path, restored: restore.Restored, watch: cost.Stopwatch
) -> dict[str, Any]:
  """What stands beside every score.

  Args:
    workdir: of a training run, whose `cost.json` is taken up, or of converted
      weights.
    restored: from it.
    watch: has predicted batches.

  Returns:
    What training has cost, `parameters`, `gmacs`, and `inference_seconds`: of
    the model alone for one example, in batches of `inference_batch_size` on
    `inference_device`, once compiled.
  """
  found = read(workdir) or describe_model(restored.model, restored.options)
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
