"""Writes vggish.npz and vggish.ckpt: torchvggish on few channels.

Run where torch is installed (it was written with torch 2.13.0), from the
project's root, with a checkout of harritaylor/torchvggish inside a directory;
avemo needs neither:

  TENSORFLOW_PYTHON=PYTHON python -m tests.golden.make_vggish DIRECTORY

Weights and inputs are drawn from their names, so only outputs are stored; and
the weights as TensorFlow writes them, by the Python of an environment that has
it (it was written with TensorFlow 2.12.1).
"""

import pathlib
import shutil
import sys
import tempfile
import zlib

import numpy as np
import torch

from benchmarks.parity import vggish as parity


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
  generator = np.random.default_rng(zlib.crc32(name.encode()))
  return generator.standard_normal(shape).astype(np.float32)


def draw_tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
  """Weights that pass a signal on, so that every tensor shows in the end."""
  values = draw(name, shape)
  if len(shape) > 1:
    return values * np.float32(2 / np.prod(shape[1:])) ** 0.5
  return 0.2 * values


def make_signal() -> np.ndarray:
  """Two patches and a rest: noise, then silence, then a rising tone."""
  time = np.arange(12_000) / 16_000
  tone = np.sin(2 * np.pi * (200 * time + 4_000 * time**2))
  parts = (0.2 * draw('noise', (16_000,)), np.zeros(6_000), 0.5 * tone)
  return np.round(np.concatenate(parts) * 16_384).astype(np.int16)


def main():
  package = parity.import_checkout(pathlib.Path(sys.argv[1]) / parity.CHECKOUT)
  patches = parity.compute_patches(package, make_signal() / 32_768)
  model = parity.build(package, 'tiny')
  state = model.state_dict()
  model.load_state_dict(
    {
      name: torch.from_numpy(draw_tensor(name, x.shape))
      for name, x in state.items()
    }
  )
  if parity.TENSORFLOW:
    with tempfile.TemporaryDirectory() as folder:
      written = parity.save_checkpoint(model, pathlib.Path(folder))
      shutil.copy(written, pathlib.Path(__file__).with_name('vggish.ckpt'))
  inputs = torch.from_numpy(draw('patches', (3, 96, 64)))[:, None]
  with torch.no_grad():
    rectified = model(inputs)
    model.embeddings = model.embeddings[:-1]
    embeddings = model(inputs)
  whitening = package.vggish.Postprocessor()
  whitening.load_state_dict(
    {
      'pca_eigen_vectors': torch.from_numpy(draw_tensor('vectors', (128, 128))),
      'pca_means': torch.from_numpy(draw('means', (128, 1))),
    }
  )
  arrays = {
    'patches': patches.astype(np.float32),
    'rectified': rectified.numpy(),
    'embeddings': embeddings.numpy(),
    'bytes': whitening(torch.from_numpy(draw('embeddings', (4, 128)))).numpy(),
    'names': np.array(list(state)),
    # As text: shapes have different lengths.
    'shapes': np.array([','.join(map(str, x.shape)) for x in state.values()]),
  }
  path = pathlib.Path(__file__).with_name('vggish.npz')
  np.savez_compressed(path, **arrays)
  print({k: v.shape for k, v in arrays.items()}, path.stat().st_size)


if __name__ == '__main__':
  main()
