"""Protocols and their folds, to read or as JSON."""

import json
from collections.abc import Sequence

from avemo import words
from avemo.corpora import folds as folds_lib
from avemo.corpora.protocols import registry

_SPEAKERS = {
  True: 'speaker-independent',
  False: 'SPEAKERS ON BOTH SIDES',
  None: 'speakers unknown',
}


def describe_all(corpus: str | None = None) -> str:
  """A table of all protocols, or of one corpus's."""
  lines = []
  for protocol in registry.PROTOCOLS.values():
    if corpus not in (None, protocol.corpus):
      continue
    marks = [
      _SPEAKERS[protocol.speaker_independent],
      *(['TEST IS VALIDATION'] if protocol.test_is_validation else []),
    ]
    lines += [
      f'{protocol.name}  ({", ".join(marks)})',
      f'  {protocol.description}',
      f'  source: {protocol.source}',
      *(f'  warning: {flaw}' for flaw in protocol.flaws),
    ]
  return '\n'.join(lines)


def describe(
  name: str,
  rows: Sequence[folds_lib.Row],
  *,
  as_json: bool = False,
  with_clips: bool = False,
) -> str:
  """The folds of a protocol over the clips at hand, to read or as JSON.

  Args:
    name: of the protocol.
    rows: the clips.
    as_json: for a program; names every clip.
    with_clips: names the clips of each part below the table.

  Raises:
    AvemoError: as `make_folds`.
  """
  protocol = registry.get(name)
  made = registry.make_folds(name, rows)
  flaws = registry.find_flaws(name, rows)
  present = {fold.index for fold in made}
  skipped = [i for i in range(protocol.num_folds) if i not in present]
  sha256 = folds_lib.compute_sha256(made)
  if as_json:
    content = {
      'protocol': protocol.name,
      'speaker_independent': protocol.speaker_independent,
      'test_is_validation': protocol.test_is_validation,
      'source': protocol.source,
      'flaws': list(flaws),
      'sha256': sha256,
      'expected_sha256': protocol.expected_sha256,
      'skipped': skipped,
      'folds': [
        {
          'index': fold.index,
          'train': list(fold.train),
          'val': list(fold.val),
          'test': list(fold.test),
        }
        for fold in made
      ],
    }
    return json.dumps(content, indent=1)
  extent = 'NOT the full corpus'
  if not protocol.expected_sha256:
    extent = "of this copy's own lists; none was published"
  elif sha256 == protocol.expected_sha256:
    extent = 'the full corpus'
  parts = ('train', 'val', 'test')
  lines = [
    f'{protocol.name}: {protocol.description}',
    f'source: {protocol.source}',
    f'sha256: {sha256} ({extent})',
    *(f'warning: {flaw}' for flaw in flaws),
    'fold  train    val   test',
    *(
      f'{fold.index:4d} {len(fold.train):6d} {len(fold.val):6d} '
      f'{len(fold.test):6d}'
      for fold in made
    ),
  ]
  for clips in folds_lib.find_conflicts(rows):
    lines.append(
      f'warning: one sound under several labels: {", ".join(clips)}; kept, as '
      'in the published folds'
    )
  lines += [
    f'warning: {leak}' for leak in registry.list_leaks(name, rows, made)
  ]
  if skipped:
    lines.append(f'skipped, no test clips: fold {", ".join(map(str, skipped))}')
  divided = {c for fold in made for part in parts for c in getattr(fold, part)}
  if len(divided) < len(rows):
    lines.append(
      f'in no part: {len(rows) - len(divided)} of '
      f'{words.count(len(rows), "clip")}'
    )
  if with_clips:
    lines += [
      f'fold {fold.index} {part}: {" ".join(getattr(fold, part))}'
      for fold in made
      for part in parts
    ]
  return '\n'.join(lines)
