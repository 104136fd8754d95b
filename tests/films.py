"""Simulated films and a model of random weights, for tests of reading films."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np

from avemo import simulate
from avemo.data.clips import ClipOptions
from avemo.data.labels import LabelSpace
from avemo.media import decode, encode
from avemo.models import emotion
from avemo.runtime import mesh as mesh_lib

FPS = 25
CLASSES = ('anger', 'happiness', 'neutral')
OPTIONS = ClipOptions(frames=4, size=32, seconds=1.0)


@dataclasses.dataclass(frozen=True)
class Loaded:
  """A trained model, as far as predicting needs it."""

  model: Any
  variables: Any
  config: dict
  labels: LabelSpace
  options: ClipOptions
  emotions: tuple[str, ...]
  step: int
  mesh: Any
  untrained_units: tuple[str, ...] = ()


@functools.cache
def make_loaded(use=('video', 'audio'), heads=('emotion',), **options):
  """A tiny model of random weights that knows a class nobody annotates."""
  options = dataclasses.replace(OPTIONS, use=use, **options)
  labels = LabelSpace.of(('anger', 'contempt', 'happiness', 'neutral'))
  model = emotion.Emotion(
    num_classes=len(labels),
    use=use,
    video={'name': 'videomae', 'variant': 'tiny'},
    audio={'name': 'spectrogram_vit', 'variant': 'tiny'},
    fusion={'kind': 'late'},
    heads=heads,
  )
  example = emotion.example_batch(
    frames=options.frames, size=options.size, samples=options.num_samples
  )
  variables = jax.jit(model.init)(jax.random.key(0), example)
  # A fresh head says the same of everything.
  variables['params']['head'] = jax.tree.map(
    lambda x: 6 * x, variables['params']['head']
  )
  # One device: eight take longer to compile for.
  mesh = mesh_lib.make_mesh(devices=jax.devices()[:1])
  return Loaded(model, variables, {}, labels, options, CLASSES, 7, mesh)


def simulate_corpus(root):
  """Two speakers of CREMA-D, a clip each; returns the paths of the films."""
  simulate.simulate(
    'crema_d', root, speakers=2, clips_per_speaker=1, seed=3, progress=False
  )
  return sorted((root / 'VideoFlash').glob('*.flv'))


def read(path):
  """Frames at 25 a second, uint8 [N, H, W, 3], and sound of a film."""
  frames = [f.image for f in decode.read_frames(path, fps=FPS)]
  return np.stack(frames), decode.read_audio(path)


def join(left, right, path):
  """Two people side by side for as long as both speak, with one's sound."""
  (a, speech), (b, _) = read(left), read(right)
  count = min(len(a), len(b))
  both = np.concatenate([a[:count], b[:count]], axis=2)
  samples = count * 16_000 // FPS
  encode.write_media(path, both, fps=FPS, speech=speech[:samples])
  return path


def paint_wall(count=40, side=96):
  """Frames of a wall with nobody before it."""
  ramp = np.linspace(60, 200, side).astype(np.uint8)
  wall = np.broadcast_to(ramp[None, :, None], (side, side, 3))
  return [np.roll(wall, n, axis=1) for n in range(count)]


def hum(seconds, rate=16_000):
  """A tone, float32 [n]."""
  times = np.arange(round(seconds * rate)) / rate
  return (0.3 * np.sin(2 * np.pi * 220 * times)).astype(np.float32)
