"""A frozen tower, and what it says of clips, of frames and of speech."""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from avemo import errors
from avemo.data import clips
from avemo.data.clips import SAMPLE_RATE, ClipOptions
from avemo.models import emotion, sections, vggish
from avemo.runtime import checkpoint as checkpoint_lib
from avemo.runtime import mesh as mesh_lib
from avemo.runtime import workdirs

# Rows a call, so that a tower is compiled once.
BATCH_SIZE = 16

# Wav2Vec2 reads long speech in pieces of the one length, in seconds, of which
# so much on either side is context that its neighbours answer for.
PIECE, CONTEXT = 12.0, 1.0
# Samples between its tokens, and those that a token sees.
TOKEN_HOP, TOKEN_SAMPLES = 320, 400


@dataclasses.dataclass(frozen=True)
class Tower:
  """One modality's tower with its weights, run as in evaluation.

  Attributes:
    modality: 'video' or 'audio'.
    model: an `Emotion` of this modality alone.
    params: of the tower, a nested dict below the modality's name.
    batch_stats: likewise; empty where the tower has none.
    options: what the weights were trained on, or published for.
    path: where the weights come from.
  """

  modality: str
  model: Any
  params: Mapping[str, Any]
  batch_stats: Mapping[str, Any]
  options: ClipOptions
  path: str = ''

  @functools.cached_property
  def sha256(self) -> str:
    """Of the weights: names, shapes, types and values."""
    return hash_weights({'params': self.params, 'stats': self.batch_stats})

  @functools.cached_property
  def kind(self) -> str:
    """What an audio tower reads, as `sections.find_reading` says."""
    return sections.find_reading(getattr(self.model, self.modality))

  @property
  def variables(self) -> dict[str, Any]:
    """Of the model."""
    stats = {self.modality: self.batch_stats} if self.batch_stats else {}
    return {'params': {self.modality: self.params}, 'batch_stats': stats}

  def __call__(
    self, batch: Mapping[str, jax.Array], method: str = 'embed'
  ) -> Any:
    """Applies a method of the model to a batch of the modality's inputs."""
    return _apply(self.model, self.variables, dict(batch), method)


# Weights may change and the model stay: it is then compiled once.
@functools.partial(jax.jit, static_argnames=('model', 'method'))
def _apply(model, variables, batch, method):
  return model.apply(variables, batch, method=method)


class Embedded(NamedTuple):
  """What a tower says along time.

  Attributes:
    times: middles in seconds, rising, float64 [N].
    values: float32 [N, D].
  """

  times: np.ndarray
  values: np.ndarray


# ------------------------------------------------------------------- loading


def load(
  path: str | os.PathLike,
  modality: str | None = None,
  *,
  checkpoint: str | int = 'best',
) -> Tower:
  """The tower of a run's workdir, or of a directory of converted weights.

  Args:
    path: the folder.
    modality: 'video' or 'audio'; None is the only one that the weights have.
    checkpoint: of a run: 'best', 'last' or a step.

  Raises:
    AvemoError: the folder is neither, damaged, or has no such tower.
  """
  stored = workdirs.find_stored(path, checkpoint)
  section = stored.about.get('model', {})
  use = tuple(section.get('use') or sections.MODALITIES)
  if modality is None and len(use) > 1:
    raise errors.AvemoError(
      f'{path}: has towers of {" and ".join(use)}; say which is meant'
    )
  modality = modality or use[0]
  if modality not in use:
    raise errors.AvemoError(
      f'{path}: has no {modality} tower, only {" and ".join(use)}'
    )
  options = clips.read_options(
    workdirs.read_json(stored.inputs).get('preprocessing', {})
  )
  options = dataclasses.replace(options, use=(modality,))
  model = make_model(section, modality)
  shapes = find_shapes(model, options)
  read = {}
  folders = {'params': stored.params, 'batch_stats': stored.batch_stats}
  for kind, folder in folders.items():
    leaves = checkpoint_lib.flatten(shapes.get(kind, {}))
    if leaves:
      check_leaves(folder, leaves, modality)
    found = checkpoint_lib.nest(checkpoint_lib.read_arrays(folder, leaves))
    read[kind] = found.get(modality, {})
  return Tower(modality, model, **read, options=options, path=os.fspath(path))


def make_model(section: Mapping[str, Any], modality: str) -> Any:
  """An `Emotion` of one tower of a config's section `model`."""
  return emotion.Emotion(
    num_classes=1,
    use=(modality,),
    **{modality: dict(section.get(modality, {}))},
    # Only some towers over sound have a spectrogram to set.
    features=section.get('features', {}) if modality == 'audio' else {},
    pictures=section.get('pictures', {}) if modality == 'video' else {},
    dtype=section.get('dtype', 'float32'),
  )


def find_shapes(model: Any, options: ClipOptions) -> dict[str, Any]:
  """What the variables of the towers are, on every device."""
  example = emotion.example_batch(
    frames=options.frames,
    size=options.size,
    samples=max(options.num_samples, 1),
  )
  shapes = jax.eval_shape(
    functools.partial(model.init, method='embed'), jax.random.key(0), example
  )
  sharding = mesh_lib.replicated(mesh_lib.make_mesh(devices=jax.devices()[:1]))
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), shapes
  )


def check_leaves(folder: Any, wanted: Mapping[str, Any], modality: str) -> None:
  """Raises an AvemoError where a folder lacks a leaf, or has another shape."""
  found = checkpoint_lib.read_shapes(folder)
  for name, leaf in wanted.items():
    if found.get(name) != leaf.shape:
      raise errors.AvemoError(
        f'{folder}: {name} is {found.get(name, "missing")}, and the {modality} '
        f'tower that the folder describes has {leaf.shape}; the weights are '
        'damaged, or no tower of their own'
      )


def hash_weights(tree: Any) -> str:
  """A sha256 of names, shapes, types and values of a tree of arrays."""
  digest = hashlib.sha256()
  for name, leaf in sorted(checkpoint_lib.flatten(tree).items()):
    array = np.asarray(jax.device_get(leaf))
    digest.update(f'{name} {array.dtype} {array.shape};'.encode())
    digest.update(np.ascontiguousarray(array).view(np.uint8).data)
  return digest.hexdigest()


# ----------------------------------------------------------------- embedding


def reads_single_frames(tower: Tower) -> bool:
  """Whether a video tower's tokens are of one frame each."""
  video = tower.model.video
  return not hasattr(video, 'tubelet') and getattr(video, 'span', 1) == 1


def embed_clips(tower: Tower, batch: Mapping[str, np.ndarray]) -> np.ndarray:
  """One embedding a clip, float32 [B, D].

  Args:
    tower: whose modality the batch holds.
    batch: as `Emotion` reads it.
  """
  return np.asarray(tower(batch)[tower.modality], np.float32)


def embed_frames(tower: Tower, frames: np.ndarray) -> np.ndarray:
  """One embedding a frame, of a tower that takes single frames.

  Args:
    tower: over video.
    frames: uint8 [T, H, W, 3], faces cut as `tower.options` say.

  Returns:
    float32 [T, D].

  Raises:
    AvemoError: the tower reads several frames at once.
  """
  if tower.modality != 'video':
    raise errors.AvemoError(f'{tower.path}: is a tower over sound, not frames')
  if not reads_single_frames(tower):
    raise errors.AvemoError(
      f'{tower.path}: the tower reads several frames at once and embeds whole '
      'clips alone; use one over single frames, such as efficientnet'
    )
  yes = np.ones(BATCH_SIZE, bool)
  found = []
  for rows in _split(frames):
    batch = {'frames': rows[:, None], 'has_video': yes, 'mask': yes}
    found.append(embed_clips(tower, batch))
  return _join(found, len(frames))


def embed_speech(
  tower: Tower, speech: np.ndarray, *, hop: float | None = None
) -> Embedded:
  """Embeddings along speech: tokens of Wav2Vec2, windows of other towers.

  Windows of VGGish are of 0.975 s, one patch; those of other towers as long as
  the speech that they were trained on. Speech that is too short for a window
  of VGGish has none; to other towers it is one.

  Args:
    tower: over sound.
    speech: int16 [S], 16 kHz.
    hop: seconds between windows; 0.96 for VGGish and half a window for others
      when None. Wav2Vec2 has a token every 0.02 s whatever it is.

  Raises:
    AvemoError: a tower over video.
  """
  if tower.modality != 'audio':
    raise errors.AvemoError(f'{tower.path}: is a tower over pictures')
  speech = np.asarray(speech, np.int16)
  if tower.kind == 'waveform':
    return _embed_waveform(tower, speech)
  if tower.kind == 'vggish':
    size = vggish.PATCH_SAMPLES
    hop = hop or vggish.PATCH_HOP / SAMPLE_RATE
    count = max((len(speech) - size) / (hop * SAMPLE_RATE) + 1, 0)
  else:
    size = tower.options.num_samples
    hop = hop or size / SAMPLE_RATE / 2
    count = max((len(speech) - size) / (hop * SAMPLE_RATE) + 1, 1)
    count = count if len(speech) else 0
  starts = [round(n * hop * SAMPLE_RATE) for n in range(int(count + 1e-6))]
  return _embed_windows(tower, speech, starts, size)


def _embed_windows(tower, speech, starts, size) -> Embedded:
  cut = [speech[start : start + size] for start in starts]
  lengths = np.array([len(rows) for rows in cut], np.int32)
  padded = np.zeros((len(cut), size), np.int16)
  for row, samples in zip(padded, cut, strict=True):
    row[: len(samples)] = samples
  yes = np.ones(BATCH_SIZE, bool)
  found = []
  for rows, valid in zip(_split(padded), _split(lengths), strict=True):
    batch = {'speech': rows, 'speech_length': valid}
    found.append(embed_clips(tower, batch | {'has_audio': yes, 'mask': yes}))
  times = (np.array(starts, np.float64) + lengths / 2) / SAMPLE_RATE
  return Embedded(times, _join(found, len(cut)))


def _embed_waveform(tower, speech) -> Embedded:
  """Tokens of pieces that overlap, each from the piece that knows its sides."""
  size = round(PIECE * SAMPLE_RATE) // TOKEN_HOP * TOKEN_HOP
  context = round(CONTEXT * SAMPLE_RATE) // TOKEN_HOP * TOKEN_HOP
  step, total = size - 2 * context, len(speech)
  found = []
  for start in range(0, max(total - 2 * context, 1), step):
    piece = np.zeros((1, size), np.int16)
    valid = min(total - start, size)
    piece[0, :valid] = speech[start : start + valid]
    yes = np.ones(1, bool)
    batch = {'speech': piece, 'speech_length': np.array([valid], np.int32)}
    tokens = tower(batch | {'has_audio': yes, 'mask': yes}, 'embed_speech')
    count = max((valid - TOKEN_SAMPLES) // TOKEN_HOP + 1, 0)
    first = context // TOKEN_HOP if start else 0
    is_last = start + size >= total
    last = count if is_last else (size - context) // TOKEN_HOP
    found.append(np.asarray(tokens[0], np.float32)[first : min(last, count)])
    if is_last:
      break
  values = np.concatenate(found)
  places = np.arange(len(values)) * TOKEN_HOP + TOKEN_SAMPLES / 2
  return Embedded(places / SAMPLE_RATE, values)


def _split(values: np.ndarray) -> list[np.ndarray]:
  """Parts of `BATCH_SIZE` rows, the last one filled up with its last row."""
  parts = []
  for start in range(0, len(values), BATCH_SIZE):
    part = values[start : start + BATCH_SIZE]
    missing = BATCH_SIZE - len(part)
    parts.append(np.concatenate([part, np.repeat(part[-1:], missing, 0)]))
  return parts


def _join(found: list[np.ndarray], count: int) -> np.ndarray:
  if not found:
    return np.zeros((0, 0), np.float32)
  return np.concatenate(found)[:count]
