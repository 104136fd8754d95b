"""VGGish through the converter against torchvggish's checkout.

The front-end is compared with the checkout's NumPy code, embeddings with its
module, and a checkpoint of TensorFlow, where an environment has it, with the
same weights in torch.
"""

import importlib
import os
import pathlib
import subprocess
import sys
import tempfile
import types
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import torch

from avemo.audio import vggish as front_end
from avemo.convert import readers
from avemo.convert import vggish as family
from avemo.models import emotion
from avemo.models import vggish as tower
from benchmarks.parity import converted

CHECKOUT = 'harritaylor-torchvggish'
# The size of a run: its variant and its tolerance.
SIZES = {'small': ('tiny', 1e-5), 'real': ('base', 1e-4)}
# The Python of an environment with TensorFlow; without one its row is left
# out.
TENSORFLOW = os.environ.get('TENSORFLOW_PYTHON', '')


def run(
  references: pathlib.Path, sizes: Sequence[str] = ('small',)
) -> list[dict[str, Any]]:
  """Compares the front-end, embeddings of every format and the whitening.

  Args:
    references: directory of checkouts, with `CHECKOUT` among them.
    sizes: out of `SIZES`.

  Returns:
    One row a comparison.
  """
  package = import_checkout(pathlib.Path(references) / CHECKOUT)
  rows = compare_front_end(package) + compare_whitening(package)
  for size in sizes:
    variant, tolerance = SIZES[size]
    torch.manual_seed(0)
    model = build(package, variant)
    with tempfile.TemporaryDirectory() as folder:
      path = pathlib.Path(folder) / 'vggish.pth'
      torch.save(model.state_dict(), path)
      columns = {'source': 'torchvggish', 'size': variant}
      found = compare_tower(model, path, tolerance)
      rows.append(make_row('pth', columns, found))
      if TENSORFLOW:
        path = save_checkpoint(model, pathlib.Path(folder))
        # Embeddings before the ReLU, which TensorFlow's model does not have.
        model.embeddings = model.embeddings[:-1]
        found = compare_tower(model, path, tolerance)
        columns['source'] = 'TensorFlow'
        rows.append(make_row('tf_checkpoint_v1', columns, found))
  return rows


def make_row(form: str, *columns: dict[str, Any]) -> dict[str, Any]:
  row = {'family': 'vggish', 'format': form}
  for more in columns:
    row |= more
  return row


def import_checkout(path: pathlib.Path) -> types.ModuleType:
  """The checkout's package; what it imports to read files may be missing."""
  for name in ('resampy', 'soundfile'):
    try:
      importlib.import_module(name)
    except ImportError:
      sys.modules[name] = types.ModuleType(name)
  if str(path) not in sys.path:
    sys.path.insert(0, str(path))
  for name in ('mel_features', 'vggish', 'vggish_params'):
    package = importlib.import_module(f'torchvggish.{name}')
  return sys.modules[package.__package__]


def compute_patches(
  package: types.ModuleType, waveform: np.ndarray
) -> np.ndarray:
  """The checkout's patches [N, 96, 64] of a waveform [S]."""
  log_mel = package.mel_features.log_mel_spectrogram(
    waveform,
    audio_sample_rate=16_000,
    log_offset=0.01,
    window_length_secs=0.025,
    hop_length_secs=0.010,
    num_mel_bins=64,
    lower_edge_hertz=125,
    upper_edge_hertz=7_500,
  )
  return package.mel_features.frame(log_mel, 96, 96)


def make_signals() -> dict[str, np.ndarray]:
  """Waveforms by name, at 16 kHz, each of another length."""
  generator = np.random.default_rng(0)
  time = np.arange(48_000) / 16_000
  noise = generator.standard_normal(48_000)
  return {
    'noise': 0.3 * noise,
    'faint noise': 1e-4 * noise[:40_000],
    'square noise': np.sign(noise[:31_000]),
    'sine': np.sin(2 * np.pi * 1_000 * time),
    'silence': np.zeros(20_000),
    'one patch': noise[: front_end.PATCH_SAMPLES],
    'less than one patch': noise[: front_end.PATCH_SAMPLES - 1],
    '0.1 s': noise[:1_600],
  }


def compare_front_end(package: types.ModuleType) -> list[dict[str, Any]]:
  """One row a signal, each in a batch that is longer than it."""
  rows = []
  for name, waveform in make_signals().items():
    waveform = waveform.astype(np.float32)
    expected = compute_patches(package, waveform.astype(np.float64))
    patches, count = front_end.cut_patches(
      np.pad(waveform, (0, 20_000))[None], np.array([len(waveform)])
    )
    found = np.asarray(patches[0, : int(count[0])])
    columns = {'source': "torchvggish's front-end", 'size': name}
    if len(expected):
      columns |= converted.compare(expected, found, 1e-4)
    else:
      columns |= {'max_abs_delta': 0.0, 'scale': 0.0, 'ok': not len(found)}
    rows.append(make_row('waveform', columns))
  return rows


def compare_whitening(package: types.ModuleType) -> list[dict[str, Any]]:
  """Bytes, from random embeddings and a random PCA in a file."""
  generator = np.random.default_rng(0)
  arrays = {
    'pca_eigen_vectors': generator.standard_normal((128, 128)) / 8,
    'pca_means': generator.standard_normal(128),
  }
  arrays = {name: x.astype(np.float32) for name, x in arrays.items()}
  embeddings = generator.standard_normal((50, 128)).astype(np.float32)
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / 'vggish_pca_params.npz'
    np.savez(path, **arrays)
    pca = family.read_pca(readers.read(path))
  module = package.vggish.Postprocessor()
  module.load_state_dict(
    {
      'pca_eigen_vectors': torch.from_numpy(arrays['pca_eigen_vectors']),
      'pca_means': torch.from_numpy(arrays['pca_means'])[:, None],
    }
  )
  expected = module(torch.from_numpy(embeddings)).numpy()
  found = tower.postprocess(embeddings, **pca, rounding='round')
  # A value at the edge of two bytes may fall to either.
  row = converted.compare(expected, np.asarray(found, np.float32), 1 / 255)
  share = (expected != np.asarray(found)).mean()
  row['ok'] = bool(row['ok'] and share < 1e-3)
  return [make_row('npz', {'source': 'torchvggish, PCA', 'size': '128'}, row)]


def build(package: types.ModuleType, variant: str) -> torch.nn.Module:
  """The checkout's module, every tensor drawn; `tiny` has fewer channels."""
  *widths, hidden, width = flatten(tower.VARIANTS[variant])
  with torch.device('meta'):
    model = package.vggish.VGG(package.vggish.make_layers())
  entering = 1
  for i, layer in enumerate(model.features):
    if isinstance(layer, torch.nn.Conv2d):
      # The widths of the checkout's stages, in their order.
      stage = (64, 128, 256, 512).index(layer.out_channels)
      model.features[i] = torch.nn.Conv2d(
        entering, widths[stage], kernel_size=3, padding=1
      )
      entering = widths[stage]
  sizes = (6 * 4 * entering, hidden, hidden, width)
  for i in range(3):
    model.embeddings[2 * i] = torch.nn.Linear(sizes[i], sizes[i + 1])
  with torch.no_grad():
    for tensor in model.parameters():
      if tensor.ndim == 1:
        tensor.copy_(0.2 * torch.randn(tensor.shape))
      else:
        fan_in = tensor[0].numel()
        tensor.copy_(torch.randn(tensor.shape) * (2 / fan_in) ** 0.5)
  return model.eval()


def flatten(variant: tower.Variant) -> tuple[int, ...]:
  return (*variant.widths, variant.hidden, variant.width)


def save_checkpoint(
  model: torch.nn.Module, folder: pathlib.Path
) -> pathlib.Path:
  """The module's weights as TensorFlow writes them, by a program of its own.

  TensorFlow and torch need not share an environment.
  """
  state = model.state_dict()
  arrays = {}
  for layers, transform in (
    (family.CONVOLUTIONS, lambda x: x.permute(2, 3, 1, 0)),
    (family.DENSES, lambda x: x.T),
  ):
    for theirs, torchs in layers.values():
      weight = transform(state[f'{torchs}.weight'])
      arrays[f'vggish/{theirs}/weights'] = weight.numpy()
      arrays[f'vggish/{theirs}/biases'] = state[f'{torchs}.bias'].numpy()
  np.savez(folder / 'variables.npz', **arrays)
  program = pathlib.Path(__file__).with_name('vggish_tensorflow.py')
  path = folder / 'vggish_model.ckpt'
  subprocess.run(
    # -P: `ast` beside the program is not Python's.
    [TENSORFLOW, '-P', program, folder / 'variables.npz', path],
    check=True,
    stderr=subprocess.DEVNULL,
  )
  return path


def compare_tower(
  model: torch.nn.Module, path: pathlib.Path, tolerance: float
) -> dict[str, Any]:
  """Embeddings of two patches, on failure with the first layer that differs."""
  signal = make_signals()['noise'][None, :31_000].astype(np.float32)
  length = np.array([signal.shape[1]])
  patches, count = front_end.cut_patches(signal, length)
  maps = {}
  for name, module in model.named_modules():
    if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
      module.register_forward_hook(
        # The ReLU that follows works in place.
        lambda module, inputs, output, name=name: maps.update(
          {name: output.clone()}
        )
      )
  with torch.no_grad():
    inputs = torch.from_numpy(np.array(patches[0]))[:, None]
    expected = model(inputs).numpy()
  batch = emotion.example_batch(samples=signal.shape[1]) | {
    'speech': signal,
    'speech_length': length,
  }
  ours, variables = converted.load(path, family, batch)
  tokens, state = jax.jit(
    lambda variables, patches: ours.apply(
      variables,
      patches,
      count,
      method=lambda module, *inputs: module.audio(*inputs),
      capture_intermediates=True,
      mutable=['intermediates'],
    )
  )(variables, patches)
  row = converted.compare(expected, tokens[0], tolerance)
  if not row['ok']:
    layers = state['intermediates']['audio']
    row['first_difference'] = find_first_difference(maps, layers, tolerance)
  return row


def find_first_difference(
  maps: dict[str, torch.Tensor], layers: dict[str, Any], tolerance: float
) -> str:
  """torchvggish's name of the first layer whose output differs."""
  names = family.CONVOLUTIONS | family.DENSES
  for own, (_, theirs) in names.items():
    output = maps[theirs]
    if output.ndim == 4:
      output = output.permute(0, 2, 3, 1)
    found = layers[own]['__call__'][0]
    if not converted.compare(output.numpy(), found, 10 * tolerance)['ok']:
      return theirs
  return 'the ReLU after it'
