"""What is known of each corpus: names, labels, licences, folds.

A corpus is a module with EMOTIONS, EXTRA, LONGEST_CLIP, LICENCE, CITATION,
DESCRIPTION and the functions parse_name and scan; and all_names, where a rule
makes the names of the full corpus, or list_rows, where its folds are lists.
`custom` has no EMOTIONS: its labels tell them, and its scan takes their table.
"""

import difflib
import types

from avemo import errors
from avemo.corpora import (
  aff_wild2,
  crema_d,
  custom,
  enterface,
  mafw,
  msp_improv,
  ravdess,
)

CORPORA = {
  'crema_d': crema_d,
  'ravdess': ravdess,
  'enterface': enterface,
  'msp_improv': msp_improv,
  'mafw': mafw,
  'aff_wild2': aff_wild2,
  'custom': custom,
}


def get(name: str) -> types.ModuleType:
  """The corpus of that name.

  Raises:
    errors.AvemoError: there is none; the message names the nearest.
  """
  if name in CORPORA:
    return CORPORA[name]
  near = difflib.get_close_matches(name.lower(), CORPORA, n=1, cutoff=0.4)
  hint = f'; did you mean {near[0]}?' if near else ''
  known = ', '.join(CORPORA)
  raise errors.AvemoError(f'unknown corpus {name!r}{hint} (known: {known})')
