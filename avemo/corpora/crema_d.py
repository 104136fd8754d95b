"""CREMA-D: 7,442 clips of 91 actors, six emotions, and what raters heard.

Cao et al. 2014. The emotion of a clip is the one that the actor was asked
for; what raters saw, heard, and both, stands beside it as votes.
"""

import csv
import os
import pathlib
import re
import statistics

from avemo.corpora import clip, files

EMOTIONS = ('anger', 'disgust', 'fear', 'happiness', 'neutral', 'sadness')
CODES = dict(
  zip(('ANG', 'DIS', 'FEA', 'HAP', 'NEU', 'SAD'), EMOTIONS, strict=True)
)
# The tables use one letter; the votes stand in the order of EMOTIONS.
LETTERS = dict(zip('ADFHNS', EMOTIONS, strict=True))

SENTENCES = {
  'IEO': "It's eleven o'clock",
  'TIE': 'That is exactly what happened',
  'IOM': "I'm on my way to the meeting",
  'IWW': 'I wonder what this is about',
  'TAI': 'The airplane is almost full',
  'MTI': 'Maybe tomorrow it will be cold',
  'IWL': 'I would like a new alarm clock',
  'ITH': "I think I have a doctor's appointment",
  'DFA': "Don't forget a jacket",
  'ITS': "I think I've seen this before",
  'TSI': 'The surface is slick',
  'WSI': "We'll stop in a couple of minutes",
}
INTENSITIES = {
  'LO': 'low',
  'MD': 'medium',
  'HI': 'high',
  'XX': 'unspecified',
}

# All that may hold the picture; FLV is what is published.
FILMS = files.order_videos('.flv')
# Beside each WAV, and never used: several hold silence.
UNUSED = ('.mp3',)

# The clips last 1.27 to 5.01 s, but one FLV holds a minute with all emotions.
LONGEST_CLIP = 10.0

MODALITIES = {'1': 'voice', '2': 'face', '3': 'both'}

# Fields beyond those of every corpus: type, or (type, length).
EXTRA = {
  'sentence': str,
  'sentence_text': str,
  'age': int,  # -1 unknown
  'sex': str,
  'race': str,
  'ethnicity': str,
  # How many raters chose each emotion; all 0 where there are no votes.
  'votes_voice': (float, 6),
  'votes_face': (float, 6),
  'votes_both': (float, 6),
  # Mean intensity 0–100 among those who chose it; NaN where nobody did.
  'levels_voice': (float, 6),
  'levels_face': (float, 6),
  'levels_both': (float, 6),
  # The winner; several joined by ':' where they tie; '' where unknown.
  'winner_voice': str,
  'winner_face': str,
  'winner_both': str,
}

LICENCE = 'ODbL 1.0 (database), DbCL 1.0 (contents)'
CITATION = (
  'Cao, Cooper, Keutmann, Gur, Nenkova, Verma: CREMA-D: Crowd-sourced '
  'Emotional Multimodal Actors Dataset. IEEE T-AFFC 5(4), 377-390, 2014. '
  'doi:10.1109/TAFFC.2014.2336244'
)
DESCRIPTION = (
  '7,442 clips of 91 actors who speak twelve sentences in six emotions, with '
  "raters' votes on voice, face and both."
)

# 1040_ITH_SAD_X is how 1040_ITH_SAD_XX was called before October 2022.
NAME = re.compile(
  r'(?P<actor>10(?:[0-8]\d|9[01]))'
  r'_(?P<sentence>IEO|TIE|IOM|IWW|TAI|MTI|IWL|ITH|DFA|ITS|TSI|WSI)'
  r'_(?P<emotion>ANG|DIS|FEA|HAP|NEU|SAD)_(?P<level>LO|MD|HI|XX)',
)
OLD_NAMES = {'1040_ITH_SAD_X': '1040_ITH_SAD_XX'}

# Clips that were never recorded, by actor: sentence, emotion ('' for all).
ABSENT = {
  ('1002', 'TIE', 'NEU'),
  ('1076', 'ITS', 'NEU'),
  ('1008', 'WSI', ''),
  ('1009', 'MTI', ''),
  ('1019', 'ITH', ''),
}


def canonical_stem(stem: str) -> str:
  """The one spelling of a clip's name."""
  stem = stem.upper()
  return OLD_NAMES.get(stem, stem)


def parse_name(stem: str) -> clip.Name | None:
  """What a stem such as `1001_DFA_ANG_XX` tells; None if it is no clip."""
  stem = canonical_stem(stem)
  match = NAME.fullmatch(stem)
  # Actor 1000 fits the pattern of digits and does not exist.
  if match is None or match['actor'] == '1000':
    return None
  return clip.Name(
    clip_id=stem,
    speaker=match['actor'],
    recording=stem,
    emotion=CODES[match['emotion']],
    intensity=INTENSITIES[match['level']],
    extra={
      'sentence': match['sentence'],
      'sentence_text': SENTENCES[match['sentence']],
    },
  )


def all_names() -> list[str]:
  """The names of the full corpus's 7,442 clips, sorted.

  IEO was acted at three levels, the other eleven sentences at one, and
  neutral always at one.
  """
  names = []
  for actor in map(str, range(1001, 1092)):
    for sentence in SENTENCES:
      for emotion in CODES:
        if {(actor, sentence, emotion), (actor, sentence, '')} & ABSENT:
          continue
        graded = sentence == 'IEO' and emotion != 'NEU'
        levels = ('LO', 'MD', 'HI') if graded else ('XX',)
        names += [f'{actor}_{sentence}_{emotion}_{x}' for x in levels]
  return sorted(names)


def scan(
  root: str | os.PathLike,
) -> tuple[list[clip.Clip], list[clip.Quarantined]]:
  """The clips under `root`, whatever the tree, sorted by clip id.

  The picture comes from the FLV (or a film made from it), the sound from the
  WAV, and from the film where there is no WAV. MP3s are never used: several
  of them hold silence, and all hold what the WAVs hold. Beside a film or a
  WAV they are passed over in silence, for the corpus is published so; other
  sound there is quarantined.

  Raises:
    errors.AvemoError: `root` cannot be read.
  """
  found, quarantined = files.find_media(
    root, parse_name, canonical_stem, 'CREMA-D', unused=UNUSED
  )
  tables, faults = read_tables(root)
  quarantined += faults
  clips = []
  for clip_id, group in files.group(found).items():
    films = files.select(group, FILMS)
    sounds = files.select(group, ('.wav',))
    if not films and not sounds:
      reason = 'no film and no WAV of this clip; other sound is not used'
      quarantined += [clip.Quarantined(str(f.path), reason) for f in group]
      continue
    quarantined += files.find_unused(group, sounds + films, unused=UNUSED)
    clips.append(
      clip.make_clip(
        group[0].name,
        films,
        sounds + films,
        **find_labels(clip_id, tables),
      )
    )
  return clips, sorted(quarantined)


def read_tables(root) -> tuple[dict[str, dict], list[clip.Quarantined]]:
  """The label tables found under `root`; damaged ones are quarantined."""
  readers = {
    'VideoDemographics.csv': read_demographics,
    'tabulatedVotes.csv': read_votes,
    'finishedResponses.csv': read_responses,
    'summaryTable.csv': read_summary,
  }
  tables, quarantined = {}, []
  for name, read in readers.items():
    tables[name] = {}
    path = files.find_table(root, name)
    # The counts are made of the responses: these stand in for them.
    is_counted = read is read_responses and tables['tabulatedVotes.csv']
    if path is None or is_counted:
      continue
    fault = files.find_fault(path)
    try:
      if fault:
        raise ValueError(fault)
      tables[name] = read(path)
    except (ValueError, KeyError, csv.Error, UnicodeError) as error:
      reason = f'unreadable table: {error}'
      quarantined.append(clip.Quarantined(str(path), reason))
  return tables, quarantined


def find_labels(clip_id: str, tables: dict[str, dict]) -> dict:
  """The EXTRA values that the tables give for a clip."""
  unknown = {'age': -1, 'sex': '', 'race': '', 'ethnicity': ''}
  labels = tables['VideoDemographics.csv'].get(clip_id[:4], unknown)
  votes = tables['tabulatedVotes.csv'] or tables['finishedResponses.csv']
  votes = votes.get(clip_id, {})
  winners = tables['summaryTable.csv'].get(clip_id, {})
  labels = dict(labels)
  for modality in MODALITIES.values():
    counts, levels = votes.get(modality, ([0.0] * 6, [float('nan')] * 6))
    labels[f'votes_{modality}'] = counts
    labels[f'levels_{modality}'] = levels
    labels[f'winner_{modality}'] = ':'.join(winners.get(modality, ()))
  return labels


def read_rows(path: str | os.PathLike, columns: tuple[str, ...]) -> list[dict]:
  """The rows of a CSV table by column name.

  Raises:
    ValueError: a column is missing.
  """
  with pathlib.Path(path).open(encoding='utf-8-sig', newline='') as file:
    reader = csv.DictReader(file)
    missing = [c for c in columns if c not in (reader.fieldnames or ())]
    if missing:
      raise ValueError(f'no column {missing[0]!r}')
    rows = list(reader)
  for number, row in enumerate(rows, start=2):
    short = [c for c in columns if row[c] is None]
    if short:
      raise ValueError(f'line {number} ends before column {short[0]!r}')
  return rows


def read_demographics(path: str | os.PathLike) -> dict[str, dict]:
  """VideoDemographics.csv: actor → age, sex, race, ethnicity."""
  columns = ('ActorID', 'Age', 'Sex', 'Race', 'Ethnicity')
  return {
    row['ActorID']: {
      'age': int(row['Age']),
      'sex': row['Sex'].lower(),
      'race': row['Race'],
      'ethnicity': row['Ethnicity'],
    }
    for row in read_rows(path, columns)
  }


def read_summary(path: str | os.PathLike) -> dict[str, dict]:
  """summaryTable.csv: clip → modality → the emotions with most votes.

  Ties are joined by a colon in the file: `A:D` gives both.
  """
  columns = {'voice': 'VoiceVote', 'face': 'FaceVote', 'both': 'MultiModalVote'}
  return {
    canonical_stem(row['FileName']): {
      modality: tuple(LETTERS[x] for x in row[column].split(':'))
      for modality, column in columns.items()
    }
    for row in read_rows(path, ('FileName', *columns.values()))
  }


def read_votes(path: str | os.PathLike) -> dict[str, dict]:
  """tabulatedVotes.csv: clip → modality → (votes, mean levels), six each.

  A row's name starts with 1 (voice), 2 (face) or 3 (both), five digits of
  the clip's number follow. A mean of -1 says that nobody chose the emotion.
  """
  words = ('Anger', 'Disgust', 'Fear', 'Happy', 'Neutral', 'Sad')
  means = [f'mean{word}Resp' for word in words]
  votes = {}
  for row in read_rows(path, ('', 'fileName', *LETTERS, *means)):
    name = row['']
    if len(name) != 6 or name[0] not in MODALITIES:
      raise ValueError(f'row name {name!r} starts with none of 1, 2, 3')
    counts = [float(row[letter]) for letter in LETTERS]
    levels = [float(row[column]) for column in means]
    levels = [float('nan') if x == -1 else x for x in levels]
    stem = canonical_stem(row['fileName'])
    votes.setdefault(stem, {})[MODALITIES[name[0]]] = counts, levels
  return votes


# Clips that raters practised on, and the longest time to respond in ms.
PRACTICE = ('7443', '7444')
SLOWEST = 10_000


def read_responses(path: str | os.PathLike) -> dict[str, dict]:
  """finishedResponses.csv, a row a response: as `read_votes` gives them.

  Practice and responses that took over ten seconds do not count. Columns are
  found by name; that emotions are named by a word or a letter as elsewhere is
  an assumption.
  """
  columns = ('clipName', 'clipNum', 'queryType', 'ttr', 'respEmo', 'respLevel')
  given = {}
  for number, row in enumerate(read_rows(path, columns), start=2):
    if row['clipNum'] in PRACTICE or float(row['ttr']) > SLOWEST:
      continue
    letter = row['respEmo'][:1].upper()
    if letter not in LETTERS or row['queryType'] not in MODALITIES:
      raise ValueError(
        f'line {number}: response {row["respEmo"]!r} to {row["queryType"]!r}'
      )
    levels = given.setdefault(canonical_stem(row['clipName']), {}).setdefault(
      MODALITIES[row['queryType']], {x: [] for x in LETTERS}
    )
    levels[letter].append(float(row['respLevel']))
  return {
    stem: {
      modality: (
        [float(len(levels[x])) for x in LETTERS],
        [statistics.fmean(levels[x] or [float('nan')]) for x in LETTERS],
      )
      for modality, levels in modalities.items()
    }
    for stem, modalities in given.items()
  }
