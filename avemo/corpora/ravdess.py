"""RAVDESS: 24 actors speak and sing two statements in eight emotions.

Livingstone & Russo 2018. One performance is released three times: with
picture and sound (01), picture only (02) and sound only (03). They are one
recording here, or a fold would train on what it tests.
"""

import os
import re

from avemo.corpora import clip, files

EMOTIONS = (
  'neutral',
  'calm',
  'happiness',
  'sadness',
  'anger',
  'fear',
  'disgust',
  'surprise',
)
INTENSITIES = {'01': 'normal', '02': 'strong'}
CHANNELS = {'01': 'speech', '02': 'song'}
# Of the emotions, in their order: disgust and surprise were not sung.
NUM_ACTED = {'01': 8, '02': 6}
STATEMENTS = {
  '01': 'Kids are talking by the door',
  '02': 'Dogs are sitting by the door',
}

# All that may hold the picture; MP4 is what is published.
FILMS = files.order_videos('.mp4')

# Speech lasts 2.94 to 5.27 s; song was not measured, and stays below this.
LONGEST_CLIP = 20.0

# Fields beyond those of every corpus: type, or (type, length).
EXTRA = {
  'channel': str,
  'statement': str,
  'repetition': int,
  'sex': str,
  # 1 where the emotion was acted in this channel: two were not sung.
  'classes': (float, 8),
}

LICENCE = 'CC BY-NC-SA 4.0'
CITATION = (
  'Livingstone, Russo: The Ryerson Audio-Visual Database of Emotional Speech '
  'and Song (RAVDESS). PLoS ONE 13(5): e0196391, 2018. '
  'doi:10.1371/journal.pone.0196391'
)
DESCRIPTION = (
  '24 actors, 1,440 spoken and 1,012 sung performances of two statements in '
  'eight emotions (six when sung) at two intensities.'
)

NAME = re.compile(
  r'(?P<rendering>0[123])-(?P<recording>(?P<channel>0[12])'
  r'-(?P<emotion>0[1-8])-(?P<intensity>0[12])-(?P<statement>0[12])'
  r'-(?P<repetition>0[12])-(?P<actor>0[1-9]|1\d|2[0-4]))'
)


def canonical_stem(stem: str) -> str:
  """The one spelling of a file's stem: digits have but one."""
  return stem


def parse_name(stem: str) -> clip.Name | None:
  """What a stem such as `03-01-05-01-02-01-18` tells; None if it is no clip.

  The recording's own id, the last six fields, is accepted too.
  """
  match = NAME.fullmatch(stem) or NAME.fullmatch('03-' + stem)
  if match is None:
    return None
  code = int(match['emotion'])
  # Nothing neutral was acted strongly, and only six emotions were sung.
  if code == 1 and match['intensity'] == '02':
    return None
  num_acted = NUM_ACTED[match['channel']]
  if code > num_acted:
    return None
  return clip.Name(
    clip_id=match['recording'],
    speaker=match['actor'],
    recording=match['recording'],
    emotion=EMOTIONS[code - 1],
    intensity=INTENSITIES[match['intensity']],
    extra={
      'channel': CHANNELS[match['channel']],
      'statement': STATEMENTS[match['statement']],
      'repetition': int(match['repetition']),
      'sex': 'male' if int(match['actor']) % 2 else 'female',
      'classes': [float(n < num_acted) for n in range(len(EMOTIONS))],
    },
  )


def all_names(channel: str = 'speech') -> list[str]:
  """The recordings of the full corpus, sorted: 1,440 spoken, 1,012 sung.

  Actor 18 did not sing.
  """
  code = {word: code for code, word in CHANNELS.items()}[channel]
  actors = [a for a in range(1, 25) if channel == 'speech' or a != 18]
  names = [
    f'{code}-{emotion:02d}-{intensity}-{statement}-{repetition}-{actor:02d}'
    for actor in actors
    for emotion in range(1, 9)
    for intensity in INTENSITIES
    for statement in STATEMENTS
    for repetition in ('01', '02')
  ]
  return sorted(name for name in names if parse_name(name))


def scan(
  root: str | os.PathLike,
) -> tuple[list[clip.Clip], list[clip.Quarantined]]:
  """The recordings under `root`, whatever the tree, sorted by clip id.

  The picture comes from the 01 file, else from 02; the sound from the WAV of
  03, else from 01. What else there is of a recording is quarantined. Every
  field comes from the file's name, none from its folder.

  Raises:
    errors.AvemoError: `root` cannot be read.
  """
  found, quarantined = files.find_media(
    root, parse_file_name, canonical_stem, 'RAVDESS'
  )
  clips = []
  for group in files.group(found).values():
    both, mute, voice = (
      [f for f in group if f.stem[:2] == rendering]
      for rendering in ('01', '02', '03')
    )
    films = files.select(both, FILMS) + files.select(mute, FILMS)
    sounds = files.select(voice, ('.wav',))
    sounds += files.select(both, ('.wav', *FILMS))
    if films or sounds:
      clips.append(clip.make_clip(group[0].name, films, sounds))
      quarantined += files.find_unused(group, sounds + films)
      continue
    reason = 'neither one of its films nor its sound'
    quarantined += [clip.Quarantined(str(f.path), reason) for f in group]
  return clips, sorted(quarantined)


def parse_file_name(stem: str) -> clip.Name | None:
  """As `parse_name`, but a file carries all seven fields."""
  return parse_name(stem) if NAME.fullmatch(stem) else None
