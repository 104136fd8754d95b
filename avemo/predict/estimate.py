"""Windows to estimates: batches of one shape through one compiled function."""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from avemo.data import labels
from avemo.data.clips import ClipOptions
from avemo.data.labels import LabelSpace
from avemo.metrics import smoothing
from avemo.predict import windows
from avemo.runtime import mesh as mesh_lib

# Windows a batch, at least: a device each, where there are more.
BATCH_SIZE = 8


class Loaded(Protocol):
  """A trained model, as `evaluate.restore` gives it.

  Attributes:
    model: the module.
    variables: its parameters and statistics.
    config: of the run, a nested dict.
    labels: the classes of the head.
    emotions: what the training corpus annotates.
    options: how a record becomes a clip.
    step: of the checkpoint.
    mesh: over the devices, to split batches.
    untrained_units: action units of which nothing was learned.
  """

  model: Any
  variables: Mapping[str, Any]
  config: Mapping[str, Any]
  labels: LabelSpace
  emotions: Sequence[str]
  options: ClipOptions
  step: int
  mesh: jax.sharding.Mesh
  untrained_units: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Estimate:
  """What is said of one person, or of nobody, at one time.

  Attributes:
    time: seconds.
    track: the person's number, None without a face.
    box: float32 [4], x, y, width, height in pixels, None without a face.
    sound: 'own', 'shared' or 'none'.
    probabilities: float64 [C], NaN where there was nothing to go by; of a
      model without emotions C is 0.
    valence_arousal: float64 [2], NaN where unknown.
    action_units: float64 [K], probabilities; NaN where there was nothing to
      go by, and of units never trained; of a model without them K is 0.
  """

  time: float
  track: int | None
  box: np.ndarray | None
  sound: str
  probabilities: np.ndarray
  valence_arousal: np.ndarray
  action_units: np.ndarray = dataclasses.field(
    default_factory=lambda: np.zeros(0)
  )

  @property
  def is_known(self) -> bool:
    """Whether there was anything to go by."""
    said = self.probabilities, self.valence_arousal, self.action_units
    return not np.isnan(np.concatenate(said)).all()

  def emotion(self, classes: Sequence[str]) -> str:
    """The most probable class; empty where there is none."""
    if not len(self.probabilities) or np.isnan(self.probabilities).any():
      return ''
    return classes[int(self.probabilities.argmax())]


class Estimator:
  """A model, compiled once for all files.

  Attributes:
    classes: C names, in the order of the head; none without emotions.
  """

  def __init__(self, loaded: Loaded):
    heads = loaded.model.heads
    kept = np.flatnonzero(loaded.labels.class_mask(loaded.emotions))
    kept = kept if labels.EMOTION in heads else kept[:0]
    self._sizes = {
      'probabilities': len(kept),
      'valence_arousal': 2,
      'action_units': len(labels.UNITS) * (labels.ACTION_UNITS in heads),
    }
    units = np.array(labels.VALUES[labels.ACTION_UNITS])
    self._untrained = np.isin(units, list(loaded.untrained_units))
    self.classes = tuple(loaded.labels.names[place] for place in kept)
    self._mesh = loaded.mesh
    self._batch_size = -(-BATCH_SIZE // self._mesh.size) * self._mesh.size
    self._variables = jax.device_put(
      loaded.variables, mesh_lib.replicated(self._mesh)
    )

    def apply(variables, batch):
      outputs = loaded.model.apply(variables, batch, train=False)
      found = {}
      if 'emotion' in outputs:
        logits = outputs['emotion'].astype(jnp.float32)[:, kept]
        found['probabilities'] = jax.nn.softmax(logits)
      if 'valence_arousal' in outputs:
        found['valence_arousal'] = outputs['valence_arousal']
      if 'action_units' in outputs:
        logits = outputs['action_units'].astype(jnp.float32)
        found['action_units'] = jax.nn.sigmoid(logits)
      return found

    self._apply = jax.jit(apply, out_shardings=mesh_lib.replicated(self._mesh))

  def __call__(self, cut: Iterable[windows.Window]) -> Iterator[Estimate]:
    """One estimate a window, in order; holds one batch of them at a time."""
    cut = iter(cut)
    while batch := list(itertools.islice(cut, self._batch_size)):
      yield from self._estimate(batch)

  def _estimate(self, batch):
    clips = [window.clip for window in batch]
    clips += [clips[-1]] * (self._batch_size - len(clips))
    arrays = {name: np.stack([c[name] for c in clips]) for name in clips[0]}
    # Not what a window shows, but whether it is one.
    arrays['mask'] = np.arange(self._batch_size) < len(batch)
    outputs = self._apply(
      self._variables, mesh_lib.shard_batch(arrays, self._mesh)
    )
    outputs = jax.device_get(outputs)
    for row, window in enumerate(batch):
      given = window.clip['has_video'] or window.clip['has_audio']
      values = {
        name: np.full(size, np.nan) for name, size in self._sizes.items()
      }
      if given:
        values |= {k: np.array(v[row], np.float64) for k, v in outputs.items()}
        if 'action_units' in outputs:
          values['action_units'][self._untrained] = np.nan
      yield Estimate(*window[:4], **values)


def smooth(
  estimates: Sequence[Estimate], kind: str, seconds: float
) -> list[Estimate]:
  """Smooths along time, each person apart; what is unknown stays so.

  Args:
    estimates: in the order of time.
    kind: of `metrics.smoothing.KINDS`.
    seconds: length of the window.
  """
  if kind == 'none':
    return list(estimates)
  smoothed = list(estimates)
  for track in {estimate.track for estimate in estimates}:
    places = [n for n, e in enumerate(estimates) if e.track == track]
    group = [estimates[place] for place in places]
    times = np.array([estimate.time for estimate in group])
    probabilities = smoothing.smooth_probabilities(
      times, np.stack([e.probabilities for e in group]), kind, seconds
    )
    values, units = (
      smoothing.smooth(
        times, np.stack([getattr(e, name) for e in group]), kind, seconds
      )
      for name in ('valence_arousal', 'action_units')
    )
    for row, place in enumerate(places):
      smoothed[place] = dataclasses.replace(
        estimates[place],
        probabilities=probabilities[row],
        valence_arousal=values[row],
        action_units=units[row],
      )
  return smoothed
