"""Modality dropout: one of two present modalities is taken for missing."""

import jax
import jax.numpy as jnp

from avemo import errors


def modality_dropout(
  key: jax.Array,
  has_video: jax.Array,
  has_audio: jax.Array,
  *,
  video: float = 0.1,
  audio: float = 0.1,
) -> tuple[jax.Array, jax.Array]:
  """Drops the video or the audio of an example, never the only one present.

  Args:
    key: of JAX.
    has_video: bool `[B]`.
    has_audio: bool `[B]`.
    video: the probability that an example with both loses its video.
    audio: likewise its audio; the two exclude each other.

  Returns:
    The new `has_video` and `has_audio`. Frames and speech stay as they are.

  Raises:
    AvemoError: the probabilities sum to more than 1.
  """
  if video < 0 or audio < 0 or video + audio > 1:
    raise errors.AvemoError(
      f'augment.modality_dropout: video={video} and audio={audio} must not be '
      'negative nor sum to more than 1'
    )
  draw = jax.random.uniform(key, has_video.shape)
  both = jnp.logical_and(has_video, has_audio)
  drops_video = both & (draw < video)
  drops_audio = both & (draw >= video) & (draw < video + audio)
  return has_video & ~drops_video, has_audio & ~drops_audio
