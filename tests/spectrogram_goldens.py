"""Rebuilds what golden/make_ast.py saved: drawn weights, stored outputs."""

import functools
import itertools
import json
import pathlib

import jax
import numpy as np
from flax import linen as nn

from avemo.convert import plans, readers
from avemo.models import operations
from benchmarks.parity import spectrograms

GOLDEN = pathlib.Path(__file__).parent / 'golden'


@functools.cache
def load(
  family: str, number: int
) -> tuple[readers.Source, spectrograms.Reference]:
  """What a reader makes of a file of a family, and what its code computed."""
  with np.load(GOLDEN / f'{family}.npz') as stored:
    about = json.loads(str(stored[f'{number}/about']))
    outputs = {k: stored[f'{number}/{k}'] for k in about['outputs']}
    norms = {k: stored[f'{number}/{k}'] for k in about['norms']}
  path = pathlib.Path(family)
  source = readers.Source(
    tensors={k: spectrograms.draw(k, x) for k, x in about['tensors'].items()},
    format=about['format'],
    config=about['config'],
    attributes={},
    path=path,
    sha256='',
  )
  spectrogram = spectrograms.draw('spectrogram', about['spectrogram']) * 2.5
  return source, spectrograms.Reference(
    about['source'], path, spectrogram, outputs, norms
  )


def list_swaps(source: readers.Source, block: str) -> list[tuple[str, str]]:
  """Every pair of tensors of equal shape whose names begin so."""
  names = [name for name in source.tensors if name.startswith(block)]
  return [
    (a, b)
    for a, b in itertools.combinations(names, 2)
    if source.tensors[a].shape == source.tensors[b].shape
  ]


def swap(source: readers.Source, a: str, b: str) -> readers.Source:
  tensors = source.tensors
  return source._replace(tensors=tensors | {a: tensors[b], b: tensors[a]})


def agrees(plan: plans.Plan, reference: spectrograms.Reference) -> bool:
  """Whether the model of a plan computes what the reference does."""
  model, params = spectrograms.build(plan)
  output = spectrograms.run(model, params, reference.spectrogram)
  (expected,) = reference.outputs.values()
  return spectrograms.measure(output, expected, 1e-5)['ok']


def agrees_anew(plan: plans.Plan, reference: spectrograms.Reference) -> bool:
  """As `agrees`, compiled anew."""
  model, params = spectrograms.build(plan)
  run = functools.partial(spectrograms.run.__wrapped__, model)
  output = jax.jit(lambda *inputs: run(*inputs))(params, reference.spectrogram)
  (expected,) = reference.outputs.values()
  return spectrograms.measure(output, expected, 1e-5)['ok']


def use_tanh(monkeypatch):
  """Lets layers compute the GELU of tanh; see `agrees_anew`."""
  monkeypatch.setattr(operations, 'gelu', nn.gelu)


def change_tower(plan: plans.Plan, **options) -> plans.Plan:
  """The plan with other arguments of its tower."""
  audio = plan.model['audio'] | options
  return plan._replace(model=plan.model | {'audio': audio})
