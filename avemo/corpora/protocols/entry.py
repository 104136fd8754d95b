"""What a named protocol says of itself."""

import dataclasses
from typing import Any

from avemo.corpora import folds as folds_lib


@dataclasses.dataclass(frozen=True)
class Protocol:
  """A named way to divide a corpus.

  Attributes:
    name: `<corpus>_<source>_<n>fold`, with `_published` for the original.
    corpus: name of the corpus.
    source: who published it.
    description: who is tested when, in a line.
    rule: from the corpus's rows to folds.
    num_folds: over the full corpus.
    expected_sha256: hash of the folds over the full corpus.
    speaker_independent: whether no speaker is on two sides; None where the
      corpus does not tell speakers apart.
    test_is_validation: whether checkpoints are chosen on the test part.
    flaws: what keeps its figures from being honest estimates.
  """

  name: str
  corpus: str
  source: str
  description: str
  rule: folds_lib.Rule
  num_folds: int
  expected_sha256: str
  speaker_independent: bool | None = True
  test_is_validation: bool = False
  flaws: tuple[str, ...] = ()


CHOSEN_ON_TEST = (
  'the checkpoint is chosen on the clips that it is scored on, so the score is '
  'too high'
)
NO_VALIDATION = (
  'no validation part was published; the test part doubles as one here, and a '
  'score of a checkpoint chosen on it is too high'
)
HICMAE = 'HiCMAE (Sun et al. 2024), its published fold lists'
MAE_DFER = 'MAE-DFER (Sun et al. 2023), its published fold lists'
EMOBOX = 'EmoBox (Ma et al. 2024), its published folds'


def pair(
  name: str,
  assign: folds_lib.Assign,
  *,
  expected_sha256: str,
  expected_sha256_published: str,
  flaw_published: str = CHOSEN_ON_TEST,
  flaws: tuple[str, ...] = (),
  **kwargs: Any,
) -> tuple[Protocol, Protocol]:
  """The nested protocol and the original.

  Args:
    name: of the nested one.
    assign: the test fold of a clip.
    expected_sha256: of the nested one.
    expected_sha256_published: of the original.
    flaw_published: why choosing on the original's parts is wrong.
    flaws: of both.
    **kwargs: what both share.
  """
  return (
    Protocol(
      name=name,
      rule=folds_lib.nested(assign),
      expected_sha256=expected_sha256,
      flaws=flaws,
      **kwargs,
    ),
    Protocol(
      name=f'{name}_published',
      rule=folds_lib.published(assign),
      expected_sha256=expected_sha256_published,
      test_is_validation=True,
      flaws=(flaw_published, *flaws),
      **kwargs,
    ),
  )
