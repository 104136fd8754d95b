"""What a family says about a file: how it becomes parameters of a model."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from avemo.convert import rules


class Plan(NamedTuple):
  """How the tensors of one file become the parameters of one model.

  Attributes:
    tensors: the file's tensors, renamed, ready for the rules.
    rules: the table; see `rules.convert`.
    model: the config section of the model, such as
      `{'use': ('video',), 'video': {'name': 'videomae', 'width': 384}}`.
    num_classes: classes of the head; 0 without one.
    classes: their names, in the head's order; () without a head or names.
    clip: what a clip must be, such as `{'frames': 16, 'size': 224}`.
    fresh: prefixes of target paths that the file does not hold; they keep the
      values they start with.
  """

  tensors: Mapping[str, Any]
  rules: tuple[rules.Rule, ...]
  model: dict[str, Any]
  num_classes: int
  classes: tuple[str, ...]
  clip: dict[str, Any]
  fresh: tuple[str, ...] = ()
