"""Published weights to a directory that trains, evaluates and predicts.

Leaves `params/` (Orbax), `batch_stats/` where the model has any, and
`model.json`: architecture, preprocessing, label space, source and licence.
"""

import dataclasses
import importlib
import json
import os
import pathlib
import shutil
import types
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

import avemo
from avemo import errors
from avemo.convert import plans, readers, rules
from avemo.data.clips import SAMPLE_RATE, ClipOptions
from avemo.data.labels import LabelSpace
from avemo.evaluate import page, restore
from avemo.models import layers
from avemo.runtime import checkpoint as checkpoint_lib

FAMILIES = (
  'videomae',
  'ast',
  'audiomae',
  'hicmae',
  'efficientnet',
  'vggish',
  'wav2vec2',
)

# Where a rule's target is a statistic, not a parameter.
STATISTICS = 'batch_stats:'


def convert(
  family: str,
  path: str | os.PathLike,
  out: str | os.PathLike,
  *,
  verify: bool = False,
) -> dict[str, Any]:
  """Converts a file of weights; the directory appears whole or not at all.

  Args:
    family: out of `FAMILIES`.
    path: a file, or a folder such as a SavedModel; the format is recognised.
    out: the directory to make.
    verify: also run the published figures of this family.

  Returns:
    What `model.json` holds.

  Raises:
    AvemoError: an unknown family, a file that is not of it, a directory that
      is there already, or a figure that does not come out.
  """
  layers.check_names('family', (family,), FAMILIES)
  module = importlib.import_module(f'avemo.convert.{family}')
  out = pathlib.Path(out)
  if out.exists() and any(out.iterdir()):
    raise errors.AvemoError(f'{out}: holds something; name a new directory')
  source = readers.read(path)
  plan = module.plan(source)
  model, options, variables = build(plan)
  about = describe(module, source, plan, options)
  write(out, variables, about)
  count = sum(leaf.size for leaf in jax.tree.leaves(variables['params']))
  print(f'{family}: {count:,} parameters from {path} ({source.format})')
  if plan.fresh:
    print(f'not in the file, to be trained: {", ".join(plan.fresh)}')
  print(f'licence of the weights: {module.LICENCE}')
  if verify:
    check_figures(module, model, variables)
  return about


def build(
  plan: plans.Plan,
) -> tuple[Any, ClipOptions, dict[str, Any]]:
  """The model of a plan, what a clip is for it, and its variables.

  Parameters that the file does not hold are left out of the variables.
  """
  model = restore.make_model(plan.model, num_classes=max(plan.num_classes, 1))
  options = read_clip(plan)
  shapes = find_shapes(model, options)
  wanted = {k: v for k, v in shapes.items() if not is_fresh(k, plan.fresh)}
  flat = rules.convert(plan.tensors, plan.rules, wanted)
  params = {k: v for k, v in flat.items() if not k.startswith(STATISTICS)}
  statistics = {
    k.removeprefix(STATISTICS): v for k, v in flat.items() if k not in params
  }
  variables = {
    'params': rules.nest(params),
    'batch_stats': rules.nest(statistics),
  }
  return model, options, variables


def is_fresh(path: str, prefixes: tuple[str, ...]) -> bool:
  """Whether a path is one of the prefixes, or lies below one."""
  return any(
    path == prefix.rstrip('/') or path.startswith(prefix.rstrip('/') + '/')
    for prefix in prefixes
  )


def find_shapes(model: Any, options: ClipOptions) -> dict[str, tuple[int, ...]]:
  """Shapes of all parameters and statistics by path, without making them."""
  shapes = jax.eval_shape(restore.make_init(model, options), jax.random.key(0))
  params = checkpoint_lib.flatten(shapes['params'])
  statistics = checkpoint_lib.flatten(shapes['batch_stats'])
  found = params | {f'{STATISTICS}{k}': v for k, v in statistics.items()}
  return {name: leaf.shape for name, leaf in found.items()}


def read_clip(plan: plans.Plan) -> ClipOptions:
  """What a clip is for the model of a plan; the rest as in any config."""
  known = {field.name for field in dataclasses.fields(ClipOptions)}
  options = {k: v for k, v in plan.clip.items() if k in known}
  use = plan.model.get('use', ('video', 'audio'))
  return ClipOptions(**({'use': tuple(use)} | options))


def describe(
  module: types.ModuleType,
  source: readers.Source,
  plan: plans.Plan,
  options: ClipOptions,
) -> dict[str, Any]:
  """The content of `model.json`."""
  classes = plan.classes or tuple(
    f'class_{number}' for number in range(plan.num_classes)
  )
  return {
    'family': module.FAMILY,
    'model': plan.model,
    'num_classes': plan.num_classes,
    **LabelSpace.of(classes).to_json(),
    'preprocessing': dataclasses.asdict(options) | {'sample_rate': SAMPLE_RATE},
    'clip': dict(plan.clip),
    'fresh': list(plan.fresh),
    'source': {
      'file': source.path.name,
      'format': source.format,
      'sha256': source.sha256,
      'origin': module.ORIGIN,
    },
    'licence': module.LICENCE,
    'avemo': avemo.__version__,
  }


def write(
  out: pathlib.Path, variables: Mapping[str, Any], about: Mapping[str, Any]
) -> None:
  """Writes the directory beside its place, then moves it there."""
  partial = out.with_name(out.name + '.partial')
  shutil.rmtree(partial, ignore_errors=True)
  try:
    partial.mkdir(parents=True)
    for kind in ('params', 'batch_stats'):
      if variables[kind]:
        checkpoint_lib.write_arrays(partial / kind, variables[kind])
    text = json.dumps(about, indent=1, default=list) + '\n'
    page.write_text(partial / restore.MODEL_FILE, text)
    if out.exists():
      out.rmdir()
    partial.rename(out)
  except OSError as error:
    raise errors.AvemoError(
      f'{out}: cannot be written ({error.strerror or error}); free some room '
      'or name another directory'
    ) from error
  finally:
    shutil.rmtree(partial, ignore_errors=True)


def check_figures(
  module: types.ModuleType, model: Any, variables: Mapping[str, Any]
) -> None:
  """Runs the published figures of a family on what was converted.

  Raises:
    AvemoError: a figure does not come out.
  """
  if not hasattr(module, 'verify'):
    print(f'{module.FAMILY}: no figures are published to compare with')
    return

  def apply(batch, **options):
    changed = model
    if options:
      changed = model.clone(audio=model.audio.clone(**options))
    return jax.device_get(
      changed.apply(variables, jax.tree.map(np.asarray, dict(batch)))
    )

  rows = module.verify(apply)
  wrong = []
  for name, expected, found, right in rows:
    print(f'{name}: published {expected}, found {found}')
    if not right:
      wrong.append(name)
  if wrong:
    raise errors.AvemoError(
      f'{module.FAMILY}: {", ".join(wrong)} differ from what is published; '
      'the file is another model, or damaged'
    )
  if not rows:
    print(f'{module.FAMILY}: no figures are published for this model')
