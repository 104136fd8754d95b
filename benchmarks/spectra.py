"""Our side of the benchmark of front-ends, and librosa's, in our own Python.

As a program it says that it is ready, then computes a front-end for a batch for
every line that it reads, and answers each with the seconds that it took.
"""

import argparse
import functools
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

RATE = 16_000
MEL = {'n_fft': 512, 'window_length': 400, 'num_mels': 128}
NUM_MFCC = 20
COLUMNS, WINDOWS, SIDE = 224, 16, 224

KINDS = ('mel', 'mfcc', 'filterbank', 'picture')
SIDES = ('avemo', 'librosa', 'librosa-double')


def make_speech(batch_size: int, seconds: float) -> np.ndarray:
  """Noise that comes and goes, int16 `[B, S]`."""
  draw = np.random.default_rng(0)
  count = round(seconds * RATE)
  swell = 0.5 + 0.5 * np.sin(np.arange(count) * (8 / RATE))
  noise = draw.normal(0, 3000, (batch_size, count)) * swell
  return np.clip(noise, -32768, 32767).astype(np.int16)


def make_ours(kind: str, speech: np.ndarray) -> Callable[[], Any]:
  """Computes it inside a compiled function, as the step does."""
  import jax

  from avemo.audio import features, filterbank, picture, spectral

  length = np.full(len(speech), speech.shape[1], np.int32)
  work = {
    'mel': functools.partial(spectral.log_mel, **MEL),
    'mfcc': functools.partial(spectral.mfcc, num_mfcc=NUM_MFCC, **MEL),
    'filterbank': filterbank.log_mel,
  }

  def compute(speech):
    if kind == 'picture':
      return picture.draw(
        speech, length, size=SIDE, windows=WINDOWS, columns=COLUMNS
      )
    return work[kind](features.to_waveform(speech))

  compiled = jax.jit(compute).lower(speech).compile()
  on_device = jax.device_put(speech)
  return lambda: jax.block_until_ready(compiled(on_device))


def make_librosas(
  kind: str, speech: np.ndarray, dtype: Any = np.float32
) -> Callable[[], Any]:
  """The same figures by librosa, of the whole batch at once where it can.

  With float64 it computes in double precision. Kaldi's bank it does not have:
  the nearest is a mel spectrum of its sizes. Pictures are the steps published,
  with as many frames as ours.
  """
  import librosa

  options = {'sr': RATE, 'n_fft': MEL['n_fft'], 'hop_length': 160}
  options |= {'win_length': MEL['window_length'], 'n_mels': MEL['num_mels']}

  def mel(waveform, **more):
    power = librosa.feature.melspectrogram(y=waveform, **(options | more))
    return power

  def decibels(waveform):
    # Of each clip alone, for the floor lies below its own maximum.
    return np.stack([librosa.power_to_db(one) for one in mel(waveform)])

  def compute():
    waveform = speech.astype(dtype) / 32768
    if kind == 'mel':
      return decibels(waveform)
    if kind == 'mfcc':
      return librosa.feature.mfcc(S=decibels(waveform), n_mfcc=NUM_MFCC)
    if kind == 'filterbank':
      power = mel(waveform, center=False, fmin=20, htk=True, norm=None)
      return np.log(np.maximum(power, np.finfo(np.float32).eps))
    return np.stack([draw_by_librosa(librosa, clip) for clip in waveform])

  return compute


def draw_by_librosa(librosa, waveform: np.ndarray) -> np.ndarray:
  """The pictures of one clip, uint8 `[N, H, W, 3]`."""
  import cv2
  import matplotlib

  waveform = librosa.effects.preemphasis(waveform / np.abs(waveform).max())
  step = len(waveform) // (WINDOWS + 1)
  hop = (2 * step - 400) // (COLUMNS - 1)
  pictures = []
  for number in range(WINDOWS):
    window = waveform[number * step : (number + 2) * step]
    power = librosa.feature.melspectrogram(
      y=window,
      sr=RATE,
      n_fft=512,
      win_length=400,
      hop_length=hop,
      window='hamming',
      center=False,
      n_mels=40,
      htk=True,
      norm=None,
    )
    values = librosa.feature.mfcc(
      S=2 * librosa.power_to_db(power), n_mfcc=14, lifter=22
    )[1:]
    unit = (values - values.min()) / (values.max() - values.min())
    large = cv2.resize(
      unit[::-1], (SIDE, SIDE), interpolation=cv2.INTER_NEAREST
    )
    colors = matplotlib.colormaps['viridis'](large, bytes=True)
    pictures.append(colors[..., :3])
  return np.stack(pictures)


def main() -> None:
  args = read_arguments()
  make = {
    'avemo': make_ours,
    'librosa': make_librosas,
    'librosa-double': functools.partial(make_librosas, dtype=np.float64),
  }[args.side]
  run = make(args.kind, make_speech(args.batch_size, args.seconds))
  run()
  say({'side': args.side, 'kind': args.kind})
  for _ in sys.stdin:
    began = time.perf_counter()
    for _ in range(args.times):
      run()
    say({'seconds': (time.perf_counter() - began) / args.times})


def say(answer) -> None:
  print(json.dumps(answer), flush=True)


def read_arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--side', choices=SIDES, required=True)
  parser.add_argument('--kind', choices=KINDS, required=True)
  parser.add_argument('--batch-size', type=int, default=8)
  parser.add_argument('--seconds', type=float, default=3.0)
  parser.add_argument('--times', type=int, default=20)
  return parser.parse_args()


if __name__ == '__main__':
  main()
