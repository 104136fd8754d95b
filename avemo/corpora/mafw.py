"""MAFW: 10,045 clips from films, television and the web, in eleven emotions.

Liu et al. 2022. There are no ids of speakers, and the folds are lists that
come with the corpus; both lists and labels are read from the user's own copy.
"""

import dataclasses
import os
import re

from avemo.corpora import clip, files, folds
from avemo.corpora import mafw_tables as tables

# In the order of the labels 1 to 11.
EMOTIONS = tables.EMOTIONS

FILMS = files.order_videos('.mp4')

# Clips last some seconds; how long the longest is was not published, and a
# longer one is cut into segments: an assumption that keeps films of hours out.
LONGEST_CLIP = 60.0

# Fields beyond those of every corpus: type, or (type, length).
EXTRA = {
  # Its class of the compound task's 43: an emotion, or several joined by '_'.
  'compound': str,
  # Every emotion that annotators agreed on, joined by ':'.
  'several': str,
  # Mean confidence in [0, 1] of each emotion; NaN where unknown.
  'confidences': (float, len(EMOTIONS)),
  # As in the table: 0, or -1 where annotators found no emotion; NaN unknown.
  'invalid': float,
  'sex': str,
  'caption_chinese': str,
  'caption_english': str,
  # The official fold, 1 to 5, that tests the clip; -1 in none.
  'official_single_fold': int,
  'official_compound_fold': int,
}

LICENCE = 'EULA: non-commercial research, no redistribution'
CITATION = (
  'Liu, Dai, Feng, Wang, Yin, Zeng, Shan: MAFW: A Large-scale, Multi-modal, '
  'Compound Affective Database for Dynamic Facial Expression Recognition in '
  'the Wild. ACM Multimedia 2022. doi:10.1145/3503161.3548190'
)
DESCRIPTION = (
  '10,045 clips from films, television and the web: 9,172 with one of eleven '
  'emotions, 4,058 with several, with captions in two languages.'
)

NAME = re.compile(r'\d{5}')


def canonical_stem(stem: str) -> str:
  """The one spelling of a clip's name: digits have but one."""
  return stem


def parse_name(stem: str) -> clip.Name | None:
  """What a name such as `00025` or `00025.mp4` tells: whose clip it is."""
  clip_id = tables.parse_id(stem)
  if clip_id is None:
    return None
  return clip.Name(
    clip_id=clip_id,
    speaker='',
    recording=clip_id,
    emotion='',
    intensity='',
    extra={},
  )


def scan(
  root: str | os.PathLike,
) -> tuple[list[clip.Clip], list[clip.Quarantined]]:
  """The clips under `root`, whatever the tree, sorted by clip id.

  Picture and sound come from the film; the faces that the corpus ships cut
  out are taken for the picture where there are any. Clips without a label are
  clips all the same; those that lists and tables name and that have no medium
  are noted.

  Raises:
    errors.AvemoError: `root` cannot be read.
  """
  faces = {}

  def is_folder_of_faces(path):
    clip_id = path.name if NAME.fullmatch(path.name) else None
    if clip_id is None or not files.holds_pictures(path):
      return False
    faces.setdefault(clip_id, {})[path] = None
    return True

  found, unusable = files.find_media(
    root, parse_name, canonical_stem, 'MAFW', skip=is_folder_of_faces
  )
  labels, faults = tables.read(root, is_folder_of_faces)
  unusable += faults
  groups = files.group(found)
  clips, bare = [], {}
  for clip_id, path in sorted(labels.named_by.items()):
    if clip_id not in groups and clip_id not in faces:
      bare.setdefault(path, []).append(clip_id)
  unusable += files.tell_bare(bare)
  for clip_id in sorted({*groups, *faces}):
    films = files.select(groups.get(clip_id, ()), FILMS)
    sounds = files.select(groups.get(clip_id, ()), files.SOUND_SUFFIXES)
    name = parse_name(clip_id)._replace(emotion=labels.single.get(clip_id, ''))
    made = clip.make_clip(
      name, films, sounds + films, **find_labels(clip_id, labels)
    )
    pictures = tuple(map(str, faces.get(clip_id, ())))
    # Frames were cut out at the film's rate; 25 is an assumption for copies
    # without the films.
    clips.append(dataclasses.replace(made, pictures=pictures, fps=25.0))
  return clips, sorted(unusable)


def find_labels(clip_id: str, labels: tables.Labels) -> dict:
  """The EXTRA values that the tables and lists give for a clip."""
  unknown = [float('nan')] * len(EMOTIONS)
  confidences, invalid = labels.confidences.get(
    clip_id, (unknown, float('nan'))
  )
  chinese, english = labels.captions.get(clip_id, ('', ''))
  return {
    'compound': labels.compound.get(clip_id, ''),
    'several': ':'.join(labels.several.get(clip_id, ())),
    'confidences': list(confidences),
    'invalid': invalid,
    'sex': labels.sexes.get(clip_id, ''),
    'caption_chinese': chinese,
    'caption_english': english,
    **_find_folds(clip_id, labels),
  }


def _find_folds(clip_id, labels) -> dict[str, int]:
  return {
    f'official_{kind}_fold': labels.folds[kind].get(clip_id, -1)
    for kind in tables.KINDS
  }


def list_rows(root: str | os.PathLike) -> list[folds.Row]:
  """What protocols need to know of the clips that lists and tables name.

  No media are needed.

  Raises:
    errors.AvemoError: `root` cannot be read.
  """
  labels, _ = tables.read(
    root,
    lambda path: bool(NAME.fullmatch(path.name)) and files.holds_pictures(path),
  )
  return [
    folds.Row(
      clip_id=clip_id,
      speaker='',
      recording=clip_id,
      emotion=labels.single.get(clip_id, ''),
      lists=_find_folds(clip_id, labels),
    )
    for clip_id in sorted(labels.named_by)
  ]
