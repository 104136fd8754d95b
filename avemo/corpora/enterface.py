"""eNTERFACE'05: 44 subjects who say five sentences in each of six emotions.

Martin et al. 2006. The folders tell subject, emotion and sentence; the file
names contradict them: all of subject 11 is named `s12_*`, as subject 12 is.
"""

import os
import re

from avemo.corpora import clip, files

EMOTIONS = ('anger', 'disgust', 'fear', 'happiness', 'sadness', 'surprise')
CODES = {emotion: emotion[:2] for emotion in EMOTIONS}
SUBJECTS = tuple(range(1, 45))
SENTENCES = (1, 2, 3, 4, 5)

# All that may hold the picture; AVI is what is published.
FILMS = files.order_videos('.avi')

# The cut clips last 1.12 to 6.84 s; subject 6's uncut films 56 to 107 s.
LONGEST_CLIP = 10.0

# Fields beyond those of every corpus: type, or (type, length).
EXTRA = {
  # 1 to 5; what is said is another sentence in every emotion.
  'sentence': int,
}

LICENCE = 'MIT licence conditions, says the page of the corpus'
CITATION = (
  "Martin, Kotsia, Macq, Pitas: The eNTERFACE'05 Audio-Visual Emotion "
  'Database. ICDE Workshops 2006. doi:10.1109/ICDEW.2006.145'
)
DESCRIPTION = (
  '1,287 clips of 43 subjects of 14 nations who speak English sentences in '
  'six emotions.'
)

# The archive has blanks; renamed copies have `_`, `-` or nothing there.
NAME = re.compile(
  r'(?:.*/)?subject[ _-]?(?P<subject>\d{1,2})'
  r'/(?P<emotion>anger|disgust|fear|happiness|sadness|surprise)'
  r'(?:/sentence[ _-]?(?P<sentence>[1-5]))?'
  r'/(?P<stem>s[ _-]?\d{1,2}[ _-](?:an|di|fe|ha|sa|su)(?:[ _-][1-5])?(?:avi)?)'
)

# Nobody cut these films into sentences.
UNCUT_SUBJECT = 6
# Never recorded, by subject: emotion, sentences.
ABSENT = {23: ('happiness', (1, 2, 3))}


def canonical_stem(path: str) -> str:
  """A clip's one name: folders with `_`, and the file's own stem."""
  match = NAME.fullmatch(strip(path))
  parts = [f'subject_{int(match["subject"])}', match['emotion']]
  if match['sentence']:
    parts.append(f'sentence_{match["sentence"]}')
  return '/'.join([*parts, re.sub('[ -]', '_', match['stem'])])


def strip(path: str) -> str:
  """A path in lower case, with `/`, without the suffix of a film."""
  return path.replace('\\', '/').lower().removesuffix('.avi')


def parse_name(path: str) -> clip.Name | None:
  """What a path such as `subject 1/anger/sentence 1/s1_an_1` tells.

  Only its last four parts are looked at. None if it is no clip, as is a file
  name without its folders: it may be that of two clips.
  """
  match = NAME.fullmatch(strip(path))
  if match is None or int(match['subject']) not in SUBJECTS:
    return None
  name = canonical_stem(path)
  return clip.Name(
    clip_id=name,
    speaker=match['subject'].lstrip('0'),
    # Several files in the folder of one sentence are one recording.
    recording=name.rpartition('/')[0],
    emotion=match['emotion'],
    intensity='',
    extra={'sentence': int(match['sentence'] or -1)},
  )


def all_names() -> list[str]:
  """The names of the full corpus, sorted: 1,287 clips and 6 uncut films."""
  names = []
  for subject in SUBJECTS:
    for emotion in EMOTIONS:
      folder = f'subject_{subject}/{emotion}'
      code = CODES[emotion]
      if subject == UNCUT_SUBJECT:
        names.append(f'{folder}/s{subject}_{code}')
        continue
      absent = ABSENT.get(subject, ('', ()))
      names += [
        f'{folder}/sentence_{n}/{name_file(subject, code, n)}'
        for n in SENTENCES
        if absent[0] != emotion or n not in absent[1]
      ]
  return sorted(names)


def name_file(subject: int, code: str, sentence: int) -> str:
  """The stem as published, with its errors.

  Args:
    subject: number of the folder.
    code: of `CODES`.
    sentence: number of the folder.
  """
  if subject == 11:
    return f's12_{code}_{sentence}'
  if subject == 2 and code == 'an' and sentence in (1, 2):
    return f's2_an_{3 - sentence}'
  later = code in ('ha', 'sa', 'su') or (code, sentence) == ('fe', 5)
  if subject == 3 and later:
    return f's_3_{code}_{sentence}'
  odd = 'avi' if (subject, code, sentence) == (16, 'su', 3) else ''
  return f's{subject}_{code}_{sentence}{odd}'


def scan(
  root: str | os.PathLike,
) -> tuple[list[clip.Clip], list[clip.Quarantined]]:
  """The clips under `root`, sorted by clip id.

  Folders decide everything, file names nothing. Picture and sound come from
  the AVI; a WAV beside it, which users cut from it, is the next best. Films
  that nobody cut into sentences, all of subject 6, are quarantined.

  Raises:
    errors.AvemoError: `root` cannot be read.
  """
  found, quarantined = files.find_media(
    root,
    parse_name,
    canonical_stem,
    "eNTERFACE'05 in its folders (subject 1/anger/sentence 1/s1_an_1.avi)",
    by_path=True,
  )
  clips = []
  for group in files.group(found).values():
    films = files.select(group, FILMS)
    published = files.select(group, FILMS[:1])
    sounds = [*published, *files.select(group, ('.wav',))]
    sounds += films[len(published) :]
    reason = None
    if group[0].name.extra['sentence'] < 0:
      reason = 'not cut into sentences: its label is that of five of them'
    elif not sounds:
      reason = 'no film and no WAV of this clip; other sound is not used'
    if reason:
      quarantined += [clip.Quarantined(str(f.path), reason) for f in group]
      continue
    clips.append(clip.make_clip(group[0].name, films, sounds))
    quarantined += files.find_unused(group, sounds)
  return sorted(clips, key=lambda c: c.clip_id), sorted(quarantined)
