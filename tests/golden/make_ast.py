"""Writes ast.npz and audiomae.npz: what the original codes compute.

Run from the root of the project where torch, transformers and safetensors are
installed (it was written with torch 2.13.0 and transformers 4.57.6), and give
the folder that benchmarks/parity needs, with the checkouts YuanGongND-ast and
facebookresearch-AudioMAE, and timm-0.4.5; avemo needs none:

  python -m tests.golden.make_ast FOLDER

Weights and inputs are drawn from their names, so only names and outputs are
stored.
"""

import json
import pathlib
import sys
import tempfile

import numpy as np
import torch

from avemo.convert import readers
from benchmarks.parity import ast, audiomae, spectrograms


def describe(reference: spectrograms.Reference) -> dict[str, np.ndarray]:
  """What the tests rebuild a reference from."""
  source = readers.read(reference.path)
  about = {
    'source': reference.source,
    'format': source.format,
    'config': source.config,
    'spectrogram': reference.spectrogram.shape,
    'tensors': {k: x.shape for k, x in source.tensors.items()},
    'outputs': list(reference.outputs)[-1:],
    'norms': list(reference.norms),
  }
  stored = {'about': np.array(json.dumps(about))}
  for name in about['outputs']:
    stored[name] = reference.outputs[name]
  return stored | reference.norms


def resize() -> dict[str, np.ndarray]:
  """Positions of 4 x 7 patches, interpolated by torch, for other sizes."""
  table = spectrograms.draw('table', (1, 28, 6)).reshape(4, 7, 6)
  picture = torch.from_numpy(table).permute(2, 0, 1)[None]
  stored = {}
  for size in ((4, 16), (9, 7), (6, 11)):
    resized = torch.nn.functional.interpolate(
      picture, size=size, mode='bilinear'
    )
    stored[f'resized_{size[0]}_{size[1]}'] = resized[0].permute(1, 2, 0).numpy()
  return stored


def main():
  references = pathlib.Path(sys.argv[1])
  for family in (ast, audiomae):
    stored = resize() if family is ast else {}
    with tempfile.TemporaryDirectory() as folder:
      for number, reference in enumerate(
        family.save_all(references, pathlib.Path(folder), family.SIZES['tiny'])
      ):
        for name, value in describe(reference).items():
          stored[f'{number}/{name}'] = value
    path = pathlib.Path(__file__).with_name(f'{family.FAMILY}.npz')
    np.savez_compressed(path, **stored)
    print(path.name, path.stat().st_size)


if __name__ == '__main__':
  main()
