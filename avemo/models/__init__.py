"""Models by the name that a config gives them; parts of them in this folder."""

import types

from avemo.models import emotion, hicmae

MODELS = types.MappingProxyType(
  {'emotion': emotion.Emotion, 'hicmae': hicmae.HiCMAE}
)
