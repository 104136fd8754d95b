"""MSP-IMPROV's evaluation file: means of a turn, then a line a rater."""

import pathlib
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from avemo.simulate import cues

_CODES = {'anger': 'A', 'happiness': 'H', 'neutral': 'N', 'sadness': 'S'}
_WORDS = {'A': 'Angry', 'H': 'Happy', 'N': 'Neutral', 'S': 'Sad', 'O': 'Other'}

# Activation as the file has it, 1 very active and 5 calm, then valence and
# dominance, by what raters name.
_MEANS = {
  'A': (2.2, 1.8, 3.8),
  'H': (2.5, 4.2, 3.2),
  'N': (3.4, 3.1, 3.0),
  'S': (4.0, 2.0, 2.3),
  'O': (3.0, 2.8, 3.0),
}
_NUM_RATERS = 5


def write(
  path: pathlib.Path,
  clips: Sequence[cues.Clip],
  seed: int,
  *,
  codes: Mapping[str, str] | None = None,
  incomplete: Collection[str] = (),
  doubled: Collection[str] = (),
):
  """Writes the file.

  Args:
    path: where.
    clips: the turns that were rated.
    seed: of the corpus.
    codes: 'O', most raters say something else, or 'X', they do not agree, by
      turn; the others have what their clip's emotion says.
    incomplete: turns without means of dominance and naturalness.
    doubled: turns of which one rater stands twice.
  """
  blocks = []
  for clip in clips:
    name = clip.clip_id
    code = (codes or {}).get(name) or _CODES[clip.emotion]
    lines = _rate(name, code, seed, is_incomplete=name in incomplete)
    blocks.append([*lines, lines[1]] if name in doubled else lines)
  text = '\n\n'.join('\n'.join(lines) for lines in blocks)
  path.write_text(f'{text}\n', encoding='ascii')


def add_strangers(path: pathlib.Path, seed: int):
  """Adds a line that cannot be read, and a turn that is nowhere else."""
  gone = _rate('MSP-IMPROV-S02N-F02-P-FM98', 'N', seed)
  lines = ['', 'UTD-IMPROV-S02N-F02-P-FM99.avi; ?; nobody knows', '', *gone]
  with path.open('a', encoding='ascii') as file:
    file.write('\n'.join(lines) + '\n')


def _rate(name, code, seed, *, is_incomplete=False):
  """The lines of one turn."""
  rng = cues.random_generator(seed, 'ratings', name)
  votes = list(code * _NUM_RATERS)
  if code == 'X':
    votes = list('AAHHN')
  else:
    # A minority sees something else.
    for place in rng.choice(_NUM_RATERS, 2, replace=False):
      votes[place] = rng.choice([code, *'AHNSO'])
  values = np.array(
    [
      np.clip(np.rint(rng.normal((*_MEANS[vote], 3.6), 0.6)), 1, 5)
      for vote in votes
    ]
  )
  means = [f'{value:.6f}' for value in values.mean(0)]
  if is_incomplete:
    means[2:] = ['NaN', 'NaN']
  activation, valence, dominance, naturalness = means
  stem = name.replace('MSP-', 'UTD-')
  head = f'{stem}.avi; {code}; A:{activation}; V:{valence}; D:{dominance} ;'
  lines = [head if is_incomplete else f'{head} N:{naturalness};']
  for rater, (vote, row) in enumerate(zip(votes, values, strict=True)):
    also = _WORDS[rng.choice(list(_WORDS))]
    scale = '; '.join(
      f'{letter}:{value:.6f}' for letter, value in zip('AVDN', row, strict=True)
    )
    word = _WORDS[vote]
    seen = word if also == word else f'{word},{also}'
    lines.append(
      f'rater-{rng.integers(1000)}_{rater}; {word}; {seen}; {scale};'
    )
  return lines
