"""Which leaves of a tower may have another size than where they come from."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from avemo import errors
from avemo.models import positions, sections, spectrogram_vit

Resize = Callable[[np.ndarray, tuple[int, ...]], np.ndarray]

# Of both front ends, where a config does not say.
NUM_MELS = 128


def find_resizes(
  model: Mapping[str, Any], part: str, about: Mapping[str, Any]
) -> dict[str, Resize]:
  """Position tables of spectrograms, which may be of another length or height.

  Args:
    model: the config's section.
    part: 'video' or 'audio'.
    about: what is known of the source; see `sources.Trained`.

  Returns:
    See `init.load`.
  """
  if part != 'audio' or 'model' not in about:
    return {}
  try:
    towers = [read_tower(section) for section in (about['model'], model)]
  except KeyError:
    return {}
  if None in towers:
    return {}
  (old, old_mels), (new, new_mels) = towers

  def resize(table: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    follow = (
      positions.cut_time_major
      if new.order == 'time-major'
      else positions.resize_band_major
    )
    return follow(
      table,
      find_grid(old, old_mels, table.shape[1]),
      find_grid(new, new_mels, shape[1]),
    )

  return {'audio/embedding/positions': resize}


def read_tower(
  section: Mapping[str, Any],
) -> tuple[spectrogram_vit.SpectrogramViT, int] | None:
  """The tower of a section and its mel bands; None for another kind."""
  make, options = sections.read_section(
    'audio', section['audio'], sections.AUDIO_TOWERS
  )
  if make is not spectrogram_vit.SpectrogramViT:
    return None
  num_mels = section.get('features', {}).get('num_mels', NUM_MELS)
  return make(**options, parent=None), num_mels


def find_grid(
  tower: spectrogram_vit.SpectrogramViT, num_mels: int, num_tokens: int
) -> tuple[int, int]:
  """Patches along the mel bands and along time, of so many tokens.

  Raises:
    AvemoError: that many tokens do not make a grid.
  """
  bands = (num_mels - tower.patch[0]) // tower.stride[0] + 1
  times, rest = divmod(num_tokens - len(tower.summary), bands)
  if rest:
    raise errors.AvemoError(
      f'init.audio: {num_tokens} positions are not {len(tower.summary)} and '
      f'whole columns of {bands} patches; give the model the mel bands, patch '
      'and stride of the weights'
    )
  return bands, times
