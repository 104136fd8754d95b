"""Named folds of MSP-IMPROV.

No rule makes the names of its turns: whoever asks brings them. The hashes are
those over the 7,787 turns of four classes that HiCMAE lists.
"""

import dataclasses
from collections.abc import Sequence

from avemo.corpora import folds, msp_improv
from avemo.corpora.protocols import entry

SPEAKERS = tuple(f'{sex}0{n}' for sex in 'FM' for n in range(1, 7))

_PARTNER = (
  'training hears the partner of the test speaker in the same dialogues'
)


def _assign_session(row: folds.Row) -> int:
  return int(row.speaker[1:]) - 1


def _assign_speaker(row: folds.Row) -> int:
  return SPEAKERS.index(row.speaker)


def _assign_fixed(row: folds.Row) -> str:
  return {
    'F02': 'val', 'M01': 'val', 'F04': 'test', 'M05': 'test'
  }.get(row.speaker, 'train')  # fmt: skip


def _of_four_classes(protocol: entry.Protocol) -> entry.Protocol:
  """Leaves out turns that were rated otherwise; names alone do not tell."""

  def make(rows: Sequence[folds.Row]) -> list[folds.Fold]:
    labelled = [row for row in rows if row.emotion in msp_improv.EMOTIONS]
    return protocol.rule(labelled or rows)

  return dataclasses.replace(protocol, rule=make)


_ALL = (
  *entry.pair(
    'msp_improv_hicmae_6fold',
    _assign_session,
    corpus='msp_improv',
    source=entry.HICMAE,
    description='sessions 1 to 6, a woman and a man each; four classes',
    num_folds=6,
    expected_sha256=(
      '5ab59a5c4cce11452adb081100bfff49918acc0eaee03e186a13218ed6f9e0e1'
    ),
    expected_sha256_published=(
      'e8a5c7f416e0e3552c636298fcd331b885c0e903050728fc4486347a37bb3500'
    ),
  ),
  *entry.pair(
    'msp_improv_speaker_12fold',
    _assign_speaker,
    corpus='msp_improv',
    source='usual in papers: one speaker left out',
    description='speakers F01 to F06, M01 to M06; four classes',
    num_folds=12,
    flaw_published=entry.NO_VALIDATION,
    flaws=(_PARTNER,),
    expected_sha256=(
      '89a956dcaba5eba3b94c1f6fc3cd4da5c839af171b58dcb8bbb6f3c595265fab'
    ),
    expected_sha256_published=(
      'bc052a9af98be406cee14fc83b0a5dd361e2c20de650bcefed189c21dcb4695c'
    ),
  ),
  entry.Protocol(
    'msp_improv_fixed_split',
    corpus='msp_improv',
    source='a split found in public code',
    description=(
      'speakers F02 and M01 for validation, F04 and M05 for test; four classes'
    ),
    rule=folds.fixed(_assign_fixed),
    num_folds=1,
    expected_sha256=(
      'a0c57ae7fb860922f7d5876b846a6edf266696f738e8099c9436818bbf63040d'
    ),
    flaws=(_PARTNER,),
  ),
)
PROTOCOLS = tuple(_of_four_classes(protocol) for protocol in _ALL)
