"""Towers and the model over their features as one, for a window of a film.

Frames spread over a window are looked at one by one, speech is heard along
it, and what is said of the middle frame is said of the window.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from avemo.data.clips import SAMPLE_RATE
from avemo.features import adaptive, films, sources
from avemo.features import towers as towers_lib
from avemo.models import vggish


@dataclasses.dataclass(frozen=True)
class Assembled:
  """What answers as a model over clips does.

  Attributes:
    model: over features of frames.
    towers: by the names of their features.
    seconds: length of a window.
  """

  model: Any
  towers: Mapping[str, towers_lib.Tower]
  seconds: float

  @property
  def heads(self) -> tuple[str, ...]:
    """Names of the outputs."""
    return self.model.heads

  def apply(
    self,
    variables: Mapping[str, Any],
    batch: Mapping[str, jax.Array],
    train: bool = False,
  ) -> dict[str, jax.Array]:
    """Maps a batch of clips to the outputs of their middle frames, [B, ...].

    Args:
      variables: of the model, and under `towers` those of each.
      batch: as `Emotion` reads it, frames spread evenly over the window; or
        those of `thin`.
      train: not used.
    """
    del train
    length = self.model_length(batch)
    size = len(batch['has_video'])
    times = (jnp.arange(length) + 0.5) * self.seconds / length
    made = {'num_frames': jnp.full(size, length)}
    for name, tower in self.towers.items():
      own = variables['towers'][name]
      if tower.modality == 'video':
        values, known = look(tower, own, batch)
      else:
        values, known = listen(tower, own, batch, times)
      made[f'{name}_feature'] = jnp.where(known[..., None], values, 0)
      made[f'{name}_known'] = known
    outputs = self.model.apply(
      {k: v for k, v in variables.items() if k != 'towers'}, made, train=False
    )
    return {
      name: value.reshape(size, length, -1)[:, length // 2]
      for name, value in outputs.items()
    }

  def model_length(self, batch: Mapping[str, jax.Array]) -> int:
    """T: of the frames, or one each 0.04 s where none are looked at."""
    if 'held' in batch:
      return batch['held'].shape[1]
    if 'frames' in batch:
      return batch['frames'].shape[1]
    return max(round(self.seconds * 25), 1)


def assemble(restored: Any) -> Any:
  """A restored model over features of frames as one over clips.

  Args:
    restored: as of `evaluate.restore`; one over clips is given back as it is.

  Raises:
    AvemoError: a tower is gone, or its weights are others.
  """
  if not restored.towers:
    return restored
  section = restored.config['features'].get('towers') or {}
  opened = sources.open_again(restored.towers, section)
  variables = {name: tower.variables for name, tower in opened.items()}
  return dataclasses.replace(
    restored,
    model=Assembled(restored.model, opened, restored.options.seconds),
    variables=dict(restored.variables) | {'towers': variables},
  )


def thin(
  clip: Mapping[str, np.ndarray], seconds: float, threshold: float
) -> tuple[dict[str, np.ndarray], int]:
  """A clip with the frames that an adaptive frame rate looks at.

  Args:
    clip: with `frames`, uint8 [T, H, W, 3], spread evenly over its time.
    seconds: of that.
    threshold: of `adaptive.choose`.

  Returns:
    The clip with `frames` [(T + 1) // 2, H, W, 3], the last ones empty where
    fewer are looked at, and `held` int32 [T], which of them each frame is
    taken for; and how many are looked at.
  """
  frames = clip['frames']
  length = len(frames)
  times = (np.arange(length) + 0.5) * seconds / length
  chosen = adaptive.choose(frames, times, threshold)
  count = int(chosen.sum())
  most = -(-length // adaptive.STEP)
  kept = np.zeros((most, *frames.shape[1:]), np.uint8)
  kept[:count] = frames[chosen]
  held = adaptive.find_held(chosen).astype(np.int32)
  return {**clip, 'frames': kept, 'held': held}, count


def look(
  tower: towers_lib.Tower,
  variables: Mapping[str, Any],
  batch: Mapping[str, jax.Array],
) -> tuple[jax.Array, jax.Array]:
  """Features of frames [B, T, D], and whether they are known, bool [B, T]."""
  frames = batch['frames']
  size, length = frames.shape[:2]
  yes = jnp.ones(size * length, bool)
  made = tower.model.apply(
    variables,
    {
      'frames': frames.reshape(-1, 1, *frames.shape[2:]),
      'has_video': yes,
      'mask': yes,
    },
    method='embed',
  )['video']
  made = made.reshape(size, length, -1)
  if 'held' in batch:
    length = batch['held'].shape[1]
    made = jnp.take_along_axis(made, batch['held'][..., None], axis=1)
  known = jnp.repeat(batch['has_video'][:, None], length, axis=1)
  return made, known


def listen(
  tower: towers_lib.Tower,
  variables: Mapping[str, Any],
  batch: Mapping[str, jax.Array],
  times: jax.Array,
) -> tuple[jax.Array, jax.Array]:
  """Features of speech at times [T], [B, T, D], and whether they are known."""
  speech, valid = batch['speech'], batch['speech_length']
  size = len(speech)
  if tower.kind == 'waveform':
    yes = jnp.ones(size, bool)
    given = {'speech': speech, 'speech_length': valid}
    tokens = tower.model.apply(
      variables,
      given | {'has_audio': yes, 'mask': yes},
      method='embed_speech',
    )
    hop, width = towers_lib.TOKEN_HOP, towers_lib.TOKEN_SAMPLES
    count = (valid - width) // hop + 1
  else:
    is_patch = tower.kind == 'vggish'
    width = vggish.PATCH_SAMPLES if is_patch else tower.options.num_samples
    hop = round(films.HOP * SAMPLE_RATE)
    speech = jnp.pad(speech, ((0, 0), (0, max(width - speech.shape[1], 0))))
    starts = range(0, speech.shape[1] - width + 1, hop)
    cut = jnp.stack([speech[:, s : s + width] for s in starts], axis=1)
    count = (valid - width) // hop + 1
    # Towers over whole clips hear what is shorter, too.
    count = (
      count if is_patch else jnp.where(valid > 0, jnp.maximum(count, 1), 0)
    )
    lengths = jnp.clip(valid[:, None] - jnp.array(starts), 0, width)
    yes = jnp.ones(size * len(starts), bool)
    given = {'speech': cut.reshape(-1, width), 'speech_length': lengths.ravel()}
    tokens = tower.model.apply(
      variables, given | {'has_audio': yes, 'mask': yes}, method='embed'
    )['audio'].reshape(size, len(starts), -1)
  count = jnp.clip(count, 0, tokens.shape[1])
  last = jnp.maximum(count - 1, 0)[:, None]
  place = (times * SAMPLE_RATE - width / 2) / hop
  place = jnp.clip(place[None], 0, last.astype(jnp.float32))
  below = jnp.floor(place).astype(int)
  share = (place - below)[..., None]
  pick = lambda n: jnp.take_along_axis(tokens, n[..., None], axis=1)
  made = pick(below) * (1 - share) + pick(jnp.minimum(below + 1, last)) * share
  known = jnp.repeat((count > 0)[:, None], len(times), axis=1)
  return made, known & batch['has_audio'][:, None]
