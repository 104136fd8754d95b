"""MSP-IMPROV: twelve actors in six dyads improvise, read and talk.

Busso et al. 2017. The file names tell speaker, session and how a turn came
about; what is felt in it was rated, and stands in one evaluation file. The
letter after the sentence is the emotion that the scene aims at, not a label.
"""

import codecs
import collections
import dataclasses
import os
import pathlib
import re
import statistics
from typing import NamedTuple

from avemo.corpora import clip, files

# As published folds order them. Turns that most raters gave another word, or
# on which they do not agree, have no label of these four.
EMOTIONS = ('anger', 'happiness', 'neutral', 'sadness')
TARGETS = {'A': 'anger', 'H': 'happiness', 'N': 'neutral', 'S': 'sadness'}
CONDITIONS = {
  'T': 'target improvised',
  'R': 'target read',
  'S': 'improvised',
  'P': 'natural',
}

# All that may hold the picture. The label file says AVI; that it holds what
# is published is an assumption.
FILMS = files.order_videos('.avi')

# Turns were not measured, and talk between the scenes has long ones: this is
# an assumption that only keeps whole sessions out.
LONGEST_CLIP = 120.0

# As users have it: misspelt in the release.
EVALUATIONS = ('Evalution.txt', 'Evaluation.txt')

# Fields beyond those of every corpus: type, or (type, length).
EXTRA = {
  'session': int,
  'sentence': int,
  # What the scene aims at.
  'target': str,
  'condition': str,
  # Whose scene it is, F or M, then the partner; not who speaks.
  'scene': str,
  'turn': int,
  # One of EMOTIONS, 'other', 'no agreement', or '' without a rating.
  'consensus': str,
  # In [-1, 1], 1 is dominant; NaN unknown.
  'dominance': float,
  # Means of the raters as stored, 1 to 5; activation is inverted there: 1 is
  # very active and 5 calm.
  'raw_activation': float,
  'raw_valence': float,
  'raw_dominance': float,
  'raw_naturalness': float,
  'num_raters': int,
  # How many raters chose each emotion first, and something else.
  'votes': (float, 4),
  'votes_other': float,
  # The same where they could name all that they saw.
  'votes_secondary': (float, 4),
  # Standard deviation over raters, on the scale of 1 to 5.
  'spread_activation': float,
  'spread_valence': float,
  'spread_dominance': float,
}

# Terms, authors and pages are assumptions: the page was not read.
LICENCE = 'academic licence, signed with UT Dallas'
CITATION = (
  'Busso, Parthasarathy, Burmania, AbdelWahab, Sadoughi, Mower Provost: '
  'MSP-IMPROV: An Acted Corpus of Dyadic Interactions to Study Emotion '
  'Perception. IEEE T-AFFC 8(1), 67-80, 2017'
)
DESCRIPTION = (
  '8,438 turns of twelve actors in six dyads, read, improvised and natural, '
  'rated for emotion, valence, arousal and dominance.'
)

NAME = re.compile(
  r'(?:MSP|UTD)-IMPROV-(?P<rest>S(?P<sentence>0[1-9]|1\d|20)(?P<target>[AHSN])'
  r'-(?P<speaker>[FM]0[1-6])-(?P<condition>[PRST])'
  r'-(?P<scene>[FM][FM])(?P<turn>\d{2}))'
)


def canonical_stem(stem: str) -> str:
  """The one spelling: the label file says UTD where the sound says MSP."""
  return re.sub('^UTD-', 'MSP-', stem.upper())


def parse_name(stem: str) -> clip.Name | None:
  """What a stem such as `MSP-IMPROV-S01A-F01-P-FM01` tells; None if no turn.

  The speaker is the fourth field. The letters after the condition say whose
  scene it is, and public code that takes them for the speaker is wrong.
  """
  stem = re.sub(r'\.(WAV|AVI)$', '', canonical_stem(stem))
  match = NAME.fullmatch(stem)
  if match is None:
    return None
  return clip.Name(
    clip_id=stem,
    speaker=match['speaker'],
    recording=stem,
    emotion='',
    intensity='',
    extra={
      'session': int(match['speaker'][1:]),
      'sentence': int(match['sentence']),
      'target': TARGETS[match['target']],
      'condition': CONDITIONS[match['condition']],
      'scene': match['scene'],
      'turn': int(match['turn']),
    },
  )


def scan(
  root: str | os.PathLike,
) -> tuple[list[clip.Clip], list[clip.Quarantined]]:
  """The turns under `root`, whatever the tree, sorted by clip id.

  The picture comes from the film; the sound from the WAV, and from the film
  where there is none. Where a copy has films and WAVs, a turn that turns out
  to lack picture or sound is left out, as published counts leave it out; a
  copy of sound alone, or of films alone, is used as it is.

  Raises:
    errors.AvemoError: `root` cannot be read.
  """
  found, quarantined = files.find_media(
    root, parse_name, canonical_stem, 'MSP-IMPROV'
  )
  ratings, faults = find_ratings(root)
  quarantined += faults
  suffixes = {f.suffix for f in found}
  needs_both = '.wav' in suffixes and not suffixes.isdisjoint(FILMS)
  clips = []
  for clip_id, group in files.group(found).items():
    films = files.select(group, FILMS)
    sounds = files.select(group, ('.wav',)) + films
    if not sounds:
      reason = 'no film and no WAV of this turn; other sound is not used'
      quarantined += [clip.Quarantined(str(f.path), reason) for f in group]
      continue
    quarantined += files.find_unused(group, sounds)
    made = clip.make_clip(group[0].name, films, sounds)
    rated = ratings.get(clip_id, UNRATED)
    clips.append(
      dataclasses.replace(
        made,
        emotion=rated.consensus if rated.consensus in EMOTIONS else '',
        valence=to_unit(rated.means['V']),
        # Stored inverted: 1 is very active, 5 calm.
        arousal=to_unit(6 - rated.means['A']),
        extra={**made.extra, **describe_rating(rated)},
        needs_both=needs_both,
      )
    )
  return clips, sorted(quarantined)


# ------------------------------------------------------------- the label file

LETTERS = {
  'A': 'anger',
  'S': 'sadness',
  'H': 'happiness',
  'N': 'neutral',
  'O': 'other',
  'X': 'no agreement',
}
WORDS = {
  'angry': 'anger',
  'sad': 'sadness',
  'happy': 'happiness',
  'neutral': 'neutral',
}
DIMENSIONS = ('A', 'V', 'D', 'N')
LOWEST, HIGHEST = 1.0, 5.0
NAN = float('nan')


class Rater(NamedTuple):
  """What one rater said of a turn.

  Attributes:
    name: the rater's id.
    primary: of EMOTIONS, or 'other'.
    secondary: all that the rater saw, likewise.
    values: of DIMENSIONS, 1 to 5 as stored; NaN unknown.
  """

  name: str
  primary: str
  secondary: tuple[str, ...]
  values: dict[str, float]


class Rating(NamedTuple):
  """What the label file says of a turn.

  Attributes:
    consensus: of LETTERS, '' unknown.
    means: of DIMENSIONS over the raters, as stored.
    raters: each once.
  """

  consensus: str
  means: dict[str, float]
  raters: tuple[Rater, ...] = ()


UNRATED = Rating('', dict.fromkeys(DIMENSIONS, NAN))


def find_ratings(
  root: str | os.PathLike,
) -> tuple[dict[str, Rating], list[clip.Quarantined]]:
  """Ratings by clip id, and what of the label file cannot be used."""
  paths = [files.find_table(root, name) for name in EVALUATIONS]
  path = next((path for path in paths if path), None)
  if path is None:
    reason = f'no {" or ".join(EVALUATIONS)} here: no turn has a label'
    return {}, [clip.Quarantined(os.fspath(root), reason)]
  fault = files.find_fault(path)
  if fault:
    return {}, [clip.Quarantined(str(path), f'unreadable table: {fault}')]
  ratings, faults = read_evaluation(path)
  return ratings, [clip.Quarantined(str(path), fault) for fault in faults]


def read_evaluation(
  path: str | os.PathLike,
) -> tuple[dict[str, Rating], list[str]]:
  """Evalution.txt: a line of means a turn, a line for each of its raters.

  Blank lines part the turns. Some raters' lines stand twice; the first counts.

  Returns:
    Ratings by clip id, and what is wrong with the lines that were passed over.
  """
  # What raters typed in is of no known encoding; all that is read is ASCII.
  data = pathlib.Path(path).read_bytes().removeprefix(codecs.BOM_UTF8)
  text = data.decode('latin-1')
  ratings, faults, current = {}, [], None
  for number, line in enumerate(text.splitlines(), start=1):
    fields = [field.strip() for field in line.split(';')]
    try:
      if not any(fields):
        current = None
      elif fields[0][:11].upper() in ('UTD-IMPROV-', 'MSP-IMPROV-'):
        # Raters of a turn that cannot be read belong to no other one.
        current = None
        name, rating = parse_name(fields[0]), parse_means(fields)
        if name is None or name.clip_id in ratings:
          what = 'stands twice' if name else 'is no turn'
          raise ValueError(f'{fields[0]} {what}')
        current = name.clip_id
        ratings[current] = rating
      elif current is None:
        raise ValueError(f'{fields[0][:40]!r} belongs to no turn')
      else:
        add_rater(ratings, current, parse_rater(fields))
    except ValueError as error:
      faults.append(f'line {number} is passed over: {error}')
  return ratings, faults


def add_rater(ratings: dict[str, Rating], clip_id: str, rater: Rater) -> None:
  """Adds a rater to a turn, unless the same one is there already."""
  rating = ratings[clip_id]
  if rater.name not in {other.name for other in rating.raters}:
    ratings[clip_id] = rating._replace(raters=(*rating.raters, rater))


def parse_means(fields: list[str]) -> Rating:
  """`UTD-IMPROV-S01A-F01-S-FM01.avi; N; A:3.0; V:3.5; D:3.0 ; N:3.6;`."""
  code = fields[1].upper() if len(fields) > 1 else ''
  if code not in LETTERS:
    raise ValueError(f'{code!r} is none of {", ".join(LETTERS)}')
  return Rating(LETTERS[code], parse_values(fields[2:]))


def parse_rater(fields: list[str]) -> Rater:
  """`name; Neutral; Neutral,Happy; A:3.0; V:3.0; D:3.0; N:4.0;`."""
  if len(fields) < 4:
    raise ValueError(f'{fields[0][:40]!r} is neither a turn nor a rating')
  word = fields[1].lower()
  if word not in WORDS and not word.startswith('other'):
    raise ValueError(f'{fields[1][:40]!r} is no emotion')
  is_value = [bool(VALUE.fullmatch(field)) for field in fields]
  first = is_value.index(True) if any(is_value) else len(fields)
  secondary = parse_words(','.join(fields[2:first]))
  return Rater(
    fields[0], WORDS.get(word, 'other'), secondary, parse_values(fields[first:])
  )


def parse_words(text: str) -> tuple[str, ...]:
  """Emotions of a list such as `Neutral,Happy`; what is unknown is 'other'."""
  words = [word.strip().lower() for word in text.split(',')]
  return tuple(dict.fromkeys(WORDS.get(w, 'other') for w in words if w))


VALUE = re.compile(
  r'(?P<name>[AVDN])\s*:\s*(?P<value>\d+(?:\.\d*)?|NaN)?', re.I
)


def parse_values(fields: list[str]) -> dict[str, float]:
  """Values such as `A:3.0` by letter; NaN where one is missing."""
  values = dict.fromkeys(DIMENSIONS, NAN)
  for field in filter(None, fields):
    match = VALUE.fullmatch(field)
    if match is None:
      raise ValueError(f'{field[:40]!r} is no rating')
    value = float(match['value'] or 'nan')
    if not (value != value or LOWEST <= value <= HIGHEST):
      raise ValueError(f'{field!r} is not within 1 and 5')
    values[match['name'].upper()] = value
  return values


def to_unit(value: float) -> float:
  """From the scale of 1 to 5 to that of -1 to 1."""
  return (value - 3) / 2


def describe_rating(rating: Rating) -> dict:
  """The EXTRA values that the label file gives for a turn."""
  first = collections.Counter(r.primary for r in rating.raters)
  any_of = collections.Counter(w for r in rating.raters for w in r.secondary)
  spreads = {}
  for name in 'AVD':
    values = [r.values[name] for r in rating.raters]
    values = [value for value in values if value == value]
    spreads[name] = statistics.pstdev(values) if len(values) > 1 else NAN
  return {
    'consensus': rating.consensus,
    'dominance': to_unit(rating.means['D']),
    'raw_activation': rating.means['A'],
    'raw_valence': rating.means['V'],
    'raw_dominance': rating.means['D'],
    'raw_naturalness': rating.means['N'],
    'num_raters': len(rating.raters),
    'votes': [float(first[emotion]) for emotion in EMOTIONS],
    'votes_other': float(first['other']),
    'votes_secondary': [float(any_of[emotion]) for emotion in EMOTIONS],
    'spread_activation': spreads['A'],
    'spread_valence': spreads['V'],
    'spread_dominance': spreads['D'],
  }
