"""The peer of the benchmark of front-ends: PyTorch, which has `torch.stft`.

Runs as a program in a Python of its own, with torch, NumPy and librosa, whose
filter bank it takes. It says that it is ready, then computes a front-end for a
batch for every line that it reads, and answers each with the seconds it took.
The filter bank of Kaldi is written out in torch, as torchaudio has it.
"""

import argparse
import json
import math
import os
import sys
import time

import librosa
import numpy as np
import torch

RATE, N_FFT, FRAME, HOP, MELS = 16_000, 512, 400, 160, 128


def make_run(kind: str, speech: torch.Tensor):
  """A function that does it once."""
  kaldi = kind == 'filterbank'
  more = {'htk': True, 'norm': None, 'fmin': 20} if kaldi else {}
  bank = librosa.filters.mel(sr=RATE, n_fft=N_FFT, n_mels=MELS, **more)
  bank = torch.from_numpy(bank.T.copy())
  window = torch.hann_window(FRAME, periodic=not kaldi)
  cosines = make_cosines()

  def decibels():
    spectrum = torch.stft(
      speech.float() / 32768,
      N_FFT,
      HOP,
      FRAME,
      window,
      pad_mode='constant',
      return_complex=True,
    )
    power = spectrum.abs().square().transpose(-1, -2) @ bank
    values = 10 * torch.log10(power.clamp_min(1e-10))
    return values.maximum(values.amax((-2, -1), keepdim=True) - 80)

  def compute():
    if kind == 'mel':
      return decibels()
    if kind == 'mfcc':
      return decibels() @ cosines
    frames = (speech.float() / 32768).unfold(-1, FRAME, HOP)
    frames = frames - frames.mean(-1, keepdim=True)
    before = torch.cat([frames[..., :1], frames[..., :-1]], -1)
    frames = (frames - 0.97 * before) * window
    power = torch.fft.rfft(frames, N_FFT).abs().square() @ bank
    return power.clamp_min(torch.finfo(torch.float32).eps).log()

  return compute


def make_cosines(count: int = 20) -> torch.Tensor:
  """The orthonormal cosine transform, float32 [M, 20]."""
  places = (torch.arange(MELS)[:, None] + 0.5) * torch.arange(count)
  cosines = math.sqrt(2 / MELS) * torch.cos(math.pi / MELS * places)
  cosines[:, 0] /= math.sqrt(2)
  return cosines


def main() -> None:
  args = read_arguments()
  # As many as it may use, not as many as there are.
  torch.set_num_threads(len(os.sched_getaffinity(0)))
  draw = np.random.default_rng(0)
  shape = args.batch_size, round(args.seconds * RATE)
  speech = draw.normal(0, 3000, shape).clip(-32768, 32767).astype(np.int16)
  run = make_run(args.kind, torch.from_numpy(speech))
  with torch.inference_mode():
    run()
    say({'torch': torch.__version__, 'threads': torch.get_num_threads()})
    for _ in sys.stdin:
      began = time.perf_counter()
      for _ in range(args.times):
        run()
      say({'seconds': (time.perf_counter() - began) / args.times})


def say(answer) -> None:
  print(json.dumps(answer), flush=True)


def read_arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(description=__doc__)
  kinds = ('mel', 'mfcc', 'filterbank')
  parser.add_argument('--kind', choices=kinds, required=True)
  parser.add_argument('--batch-size', type=int, default=8)
  parser.add_argument('--seconds', type=float, default=3.0)
  parser.add_argument('--times', type=int, default=20)
  return parser.parse_args()


if __name__ == '__main__':
  main()
