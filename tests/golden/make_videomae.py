"""Writes videomae_<format>_<kind>.npz: tiny files and what their codes compute.

Run where torch and transformers are installed (it was written with torch
2.13.0, transformers 4.57.6, TensorFlow 2.12.1), with a folder that holds the
checkouts MCG-NJU-VideoMAE and innat-VideoMAE, and TENSORFLOW_PYTHON
naming a Python with TensorFlow 2.12; avemo needs none of it:

  python tests/golden/make_videomae.py CHECKOUTS

The bytes of each file are stored under `file:<its name>`, each layer's output
under `output:<its name>`, and `frames` and, for pretraining, `mask`. Of the
original's fine-tuned model, `other_frames` and `other_logits` are of a longer
and larger clip.
"""

import pathlib
import sys
import tempfile

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from benchmarks.parity import videomae, videomae_torch

# Of a SavedModel, the graph of computations would be most and is not read.
LEFT_OUT = ('.pb',)


def list_files(path: pathlib.Path) -> list[pathlib.Path]:
  if path.is_file():
    return [path, path.with_name('config.json')]
  return [x for x in sorted(path.rglob('*')) if x.is_file()]


def collect(reference: videomae.Reference) -> dict[str, np.ndarray]:
  stored = {'frames': reference.frames}
  if reference.mask is not None:
    stored['mask'] = reference.mask
  path = reference.path
  root = path if path.is_dir() else path.parent
  for file in list_files(path):
    if file.suffix not in LEFT_OUT:
      name = file.relative_to(root).as_posix()
      stored[f'file:{name}'] = np.frombuffer(file.read_bytes(), np.uint8)
  for name, output in reference.outputs.items():
    stored[f'output:{name}'] = output
  for name, output in reference.norms.items():
    stored[f'norm:{name}'] = output
  return stored


def compute_other_size(
  checkouts: pathlib.Path, reference: videomae.Reference, size: videomae.Size
) -> dict[str, np.ndarray]:
  """The same weights in a model of another size of clips."""
  size = size._replace(frames=20, size=24, batch=1)
  frames, _ = videomae.draw_clip('finetuned', size)
  model = videomae_torch.build_original(
    checkouts / videomae.ORIGINAL, size, None
  )
  weights = torch.load(reference.path, weights_only=False)['model']
  model.load_state_dict(weights, strict=True)
  outputs = videomae_torch.run_original(model.eval(), frames, None)
  return {'other_frames': frames, 'other_logits': outputs['logits']}


def main():
  torch.set_num_threads(1)
  checkouts = pathlib.Path(sys.argv[1])
  size = videomae.SIZES['tiny']
  for kind in videomae.KINDS:
    with tempfile.TemporaryDirectory() as folder:
      for reference in videomae.save_all(
        checkouts, pathlib.Path(folder), kind, size
      ):
        stored = collect(reference)
        if reference.format == 'pth' and kind == 'finetuned':
          stored |= compute_other_size(checkouts, reference, size)
        path = pathlib.Path(__file__).with_name(
          f'videomae_{reference.format}_{kind}.npz'
        )
        np.savez_compressed(path, **stored)
        print(path.name, path.stat().st_size)


if __name__ == '__main__':
  main()
