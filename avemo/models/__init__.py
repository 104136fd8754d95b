"""Models by the name that a config gives them; parts of them in this folder."""

import types
from typing import Any

from avemo.models import emotion, hicmae, sequence, videomae_pretraining

MODELS = types.MappingProxyType(
  {
    'emotion': emotion.Emotion,
    'hicmae': hicmae.HiCMAE,
    'sequence': sequence.Sequence,
    'videomae_pretraining': videomae_pretraining.VideoMAEPretraining,
  }
)


def has_own_loss(model: Any) -> bool:
  """Whether a model, or its class, measures its own loss.

  Its outputs then hold `loss`, float32 [B], in the place of `emotion`; it
  needs no labels, and can be neither scored by class nor used to predict.
  """
  return getattr(model, 'has_own_loss', False)
