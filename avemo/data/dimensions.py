"""Classes made of a dimension: low, middle and high valence, or activation.

A dataset whose emotions are replaced by such classes is trained on, scored
and read with like any other; its folds stay those of its own emotions.
"""

import copy
import difflib
import types
from collections.abc import Mapping
from typing import Any

import numpy as np

from avemo import errors

# Columns of the index, in [-1, 1] and high where much is felt.
COLUMNS = types.MappingProxyType(
  {
    'activation': 'arousal',
    'arousal': 'arousal',
    'valence': 'valence',
    'dominance': 'dominance',
  }
)
# By the number of edges between them.
NAMES = types.MappingProxyType(
  {1: ('low', 'high'), 2: ('low', 'middle', 'high')}
)
# Under which the corpus's own emotions stay in the index.
OWN = 'own_emotion'
KEYS = ('dimension', 'edges')


def classify(dataset: Any, section: Mapping[str, Any] | None) -> Any:
  """The dataset with classes of a dimension in the place of its emotions.

  Args:
    dataset: with `index` and `emotions`.
    section: `dimension`, a name in `COLUMNS`, and `edges`, one or two rising
      numbers on the scale from 1 to 5, on which raters say it; 5 is much,
      however a corpus stores it. What lies on an edge is neither below nor
      above it: of two edges in the middle, of one high. Empty or None: the
      dataset as it is.

  Raises:
    AvemoError: a wrong section, or a corpus without the dimension.
  """
  if not section:
    return dataset
  column, edges = read(section)
  found = dataset.index.get(column)
  if found is None or np.isnan(np.asarray(found, np.float64)).all():
    raise errors.AvemoError(
      f'data.classes_from: no clip of {dataset.name} has a label of '
      f'{section["dimension"]}'
    )
  # Stored as float32, which moves what was rated 3.6 and not what was 3.5.
  scale = np.round(3 + 2 * np.asarray(found, np.float64), 5)
  above = scale[:, None] > edges
  above[:, 0] |= scale == edges[0]
  words = np.append(NAMES[len(edges)], '')
  places = np.where(np.isnan(scale), -1, above.sum(1))
  index = dict(dataset.index)
  index |= {OWN: index['emotion'], 'emotion': words[places]}
  # What kinds of recording were acted in is said of emotions.
  index.pop('classes', None)
  made = copy.copy(dataset)
  vars(made).update(index=index, emotions=NAMES[len(edges)])
  return made


def read(section: Mapping[str, Any]) -> tuple[str, np.ndarray]:
  """The column and the edges that a section names, or an AvemoError."""
  for key in section:
    if key not in KEYS:
      near = difflib.get_close_matches(key, KEYS, 1, cutoff=0.0)[0]
      raise errors.AvemoError(
        f"config: unknown key 'data.classes_from.{key}'; did you mean {near!r}?"
      )
  name, edges = section.get('dimension'), section.get('edges') or ()
  if name not in COLUMNS:
    near = difflib.get_close_matches(str(name), COLUMNS, 1, cutoff=0.0)[0]
    raise errors.AvemoError(
      f'config: data.classes_from.dimension={name!r}; did you mean {near!r}?'
    )
  edges = np.asarray(edges, np.float64)
  if len(edges) not in NAMES or not (np.diff(edges) > 0).all():
    raise errors.AvemoError(
      f'config: data.classes_from.edges={tuple(edges.tolist())}: one or two '
      'rising numbers between 1 and 5'
    )
  return COLUMNS[name], edges
