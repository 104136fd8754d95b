"""Writes filterbank.npz: torchaudio's Kaldi filter banks, and AST's input.

Run where torch, torchaudio and transformers are installed (it was written with
torch 2.13.0, torchaudio 2.11.0 and transformers 4.57.6); avemo needs none:

  python tests/golden/make_filterbank.py [KALDI_PY]

KALDI_PY: torchaudio/compliance/kaldi.py of an unpacked torchaudio whose binary
part does not fit the torch installed; that file needs only torch.

torchaudio computes in double precision: in single, its own rounding reaches
1e-2 beside a loud tone. What it reaches here is printed.
"""

import importlib.util
import pathlib
import sys
import types
import zlib

import numpy as np
import torch
import transformers

SAMPLE_RATE = 16_000


def make_signals() -> dict[str, np.ndarray]:
  """Sounds in float32, of which 16 bits hold every sample."""
  time = np.arange(6_400) / SAMPLE_RATE
  signals = {
    'noise': 0.1 * draw('noise', 6_400),
    'sine': 0.5 * np.sin(2 * np.pi * 440 * time),
    'loud_sine': 0.9 * np.sin(2 * np.pi * 3_333 * time),
    'silence': 0 * time,
    'short': 0.1 * draw('short', 1_600),
    'offset': 0.5 + 0.01 * draw('offset', 1_600),
  }
  return {
    k: (np.rint(32_768 * x) / 32_768).astype(np.float32)
    for k, x in signals.items()
  }


def draw(name: str, size: int) -> np.ndarray:
  generator = np.random.default_rng(zlib.crc32(name.encode()))
  return generator.standard_normal(size)


def load_kaldi(path: str | None) -> types.ModuleType:
  if path is None:
    from torchaudio.compliance import kaldi

    return kaldi
  sys.modules['torchaudio'] = types.ModuleType('torchaudio')
  spec = importlib.util.spec_from_file_location('kaldi', path)
  kaldi = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(kaldi)
  return kaldi


def run_kaldi(kaldi: types.ModuleType, signal: np.ndarray, dtype) -> np.ndarray:
  """As AST's and AudioMAE's data loaders call it."""
  waveform = torch.from_numpy(signal).to(dtype)[None]
  return kaldi.fbank(
    waveform - waveform.mean(),
    htk_compat=True,
    sample_frequency=SAMPLE_RATE,
    use_energy=False,
    window_type='hanning',
    num_mel_bins=128,
    dither=0.0,
    frame_shift=10,
  ).numpy()


def main():
  kaldi = load_kaldi(sys.argv[1] if len(sys.argv) > 1 else None)
  outputs = {}
  for name, signal in make_signals().items():
    outputs[name] = run_kaldi(kaldi, signal, torch.float64).astype(np.float32)
    single = run_kaldi(kaldi, signal, torch.float32)
    print(f'{name}: single off by {abs(single - outputs[name]).max():.1e}')
  extract = transformers.ASTFeatureExtractor(max_length=12)
  outputs['ast_input'] = extract(
    make_signals()['short'], sampling_rate=SAMPLE_RATE, return_tensors='np'
  ).input_values[0]
  path = pathlib.Path(__file__).with_name('filterbank.npz')
  np.savez_compressed(path, **outputs)
  print({k: v.shape for k, v in outputs.items()}, path.stat().st_size)


if __name__ == '__main__':
  main()
