"""Valence and arousal made from categories by a named table.

They are no ground truth: off unless a config names a table, marked as derived
wherever they are told of, and never scored against.
"""

import types

import numpy as np

from avemo import errors

# Means of pleasure and arousal over raters (Russell & Mehrabian 1977), as code
# for other corpora quotes them; that the figures stand so in the paper is an
# assumption.
TABLES = types.MappingProxyType(
  {
    'russell_mehrabian_1977': types.MappingProxyType(
      {
        'anger': (-0.51, 0.59),
        'disgust': (-0.60, 0.35),
        'fear': (-0.64, 0.60),
        'happiness': (0.81, 0.51),
        'neutral': (0.0, 0.0),
        'sadness': (-0.63, -0.27),
        'surprise': (0.40, 0.67),
      }
    )
  }
)


def get(name: str) -> types.MappingProxyType:
  """The table of that name: emotion to (valence, arousal), in [-1, 1].

  Raises:
    AvemoError: there is none.
  """
  if name not in TABLES:
    raise errors.AvemoError(
      f'data.derive={name!r}: no such table; there is {", ".join(TABLES)}'
    )
  return TABLES[name]


def derive(name: str, target: np.ndarray, classes: tuple[str, ...]):
  """Means of the anchors, weighted by the classes' shares.

  Args:
    name: of the table.
    target: shares of the classes, float32 [N, C]; 0 without a label.
    classes: C names.

  Returns:
    Valence and arousal, float32 [N, 2]; NaN without a label, and where a
    class has a share and no anchor.
  """
  table = get(name)
  anchored = np.array([word in table for word in classes], bool)
  places = np.array([table.get(word, (0.0, 0.0)) for word in classes])
  values = (target @ places.reshape(-1, 2)).astype(np.float32)
  fits = (target.sum(1) > 0) & ~(target[:, ~anchored] > 0).any(1)
  values[~fits] = np.nan
  return values
