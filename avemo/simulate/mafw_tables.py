"""MAFW's tables, lists and captions, as the release spells them."""

import pathlib
from collections.abc import Callable, Mapping

from avemo.simulate import actor, cues, workbook

EMOTIONS = (
  'anger', 'disgust', 'fear', 'happiness', 'neutral', 'sadness', 'surprise',
  'contempt', 'anxiety', 'helplessness', 'disappointment',
)  # fmt: skip

_LISTS = 'Train & Test Set'
QUIRKS = {
  'Labels/single_set.xlsx': 'spelled with an underscore',
  f'{_LISTS}/single/with_caption/set_1': 'in GB 18030',
  f'{_LISTS}/single/with_caption/set_2': 'in Windows-1252, without Chinese',
  f'{_LISTS}/single/with_caption/set_3': 'an older form, without tabs',
}

# What a second emotion goes with the first, for every third clip.
_SECOND = 5


def write(
  root: pathlib.Path,
  simulation: cues.Simulation,
  find_fold: Callable[[str], int],
  listed: Mapping[str, str],
):
  """Writes all of them.

  Args:
    root: the tree.
    simulation: its cues; with quirks or without.
    find_fold: clip -> the fold, from 1, that tests it.
    listed: clip -> its one emotion.
  """
  odd = bool(simulation.quirks)
  ids = [clip.clip_id for clip in simulation.clips]
  compound = {
    name: f'{emotion}_{_find_second(emotion)}' if n % 3 == 0 else emotion
    for n, (name, emotion) in enumerate(listed.items())
  }
  folder = root / 'Labels'
  folder.mkdir()
  table = [
    [name, *_make_confidences(listed.get(name)), _find_number(listed.get(name))]
    for name in ids
    if name in listed or odd and name == ids[2]
  ]
  workbook.write(
    folder / ('single_set.xlsx' if odd else 'single-set.xlsx'),
    [['clip', *EMOTIONS, 'single_label'], *table],
  )
  workbook.write(folder / 'multi-set.xlsx', _make_several(compound))
  invalid = dict.fromkeys(ids, 0)
  if odd:
    invalid |= {ids[1]: -1, ids[5]: 0.93}
  workbook.write(
    folder / 'annotation.xlsx',
    [
      ['clip', 'invalid', *EMOTIONS],
      *([n, invalid[n], *_make_confidences(listed.get(n))] for n in ids),
    ],
  )
  captions = {
    name: (f'第{name}段，有人在说话。', f'The person in clip {name} talks.')
    for name, emotion in listed.items()
    if emotion != 'neutral'
  }
  workbook.write(
    folder / 'descriptive_text.xlsx',
    [[name, *texts] for name, texts in captions.items()],
  )
  auto = root / 'Labels(auto)'
  auto.mkdir()
  sexes = {name: int(actor.find_sex(name) == 'male') for name in ids}
  lines = [f'{name}: {code}\n' for name, code in sexes.items()]
  (auto / 'gender.txt').write_text(''.join(lines), encoding='utf-8')
  for kind, labels in (('single', listed), ('compound', compound)):
    _write_lists(root / _LISTS / kind, labels, find_fold, captions, odd)


def _find_second(emotion):
  return EMOTIONS[(EMOTIONS.index(emotion) + _SECOND) % len(EMOTIONS)]


def _find_number(emotion):
  return EMOTIONS.index(emotion) + 1 if emotion else 0


def _make_confidences(emotion):
  return [0.75 if word == emotion else 0.025 for word in EMOTIONS]


def _make_several(compound):
  rows = [['clip', *EMOTIONS, 'multi_label']]
  for name, label in compound.items():
    words = label.split('_')
    if len(words) > 1:
      numbers = ','.join(str(_find_number(word)) for word in words)
      rows.append([name, *_make_confidences(words[0]), numbers])
  return rows


def _write_lists(folder, labels, find_fold, captions, odd):
  for number in range(1, 6):
    tested = [name for name in labels if find_fold(name) == number]
    trained = [name for name in labels if name not in tested]
    for part, names in (('train', trained), ('test', tested)):
      lines = [[f'{name}.mp4', labels[name]] for name in names]
      path = folder / 'no_caption' / f'set_{number}' / f'{part}.txt'
      _write(path, lines, ' ', 'utf-8')
      lines = [
        [*line, *captions.get(name, ('', ''))]
        for name, line in zip(names, lines, strict=True)
      ]
      encoding, gap = 'gb18030', '\t'
      if odd and number == 2:
        encoding = 'cp1252'
        lines = [[*line[:2], '', _punctuate(line[3])] for line in lines]
      elif odd and number == 3:
        gap = ' '
      path = folder / 'with_caption' / f'set_{number}' / f'{part}.txt'
      _write(path, lines, gap, encoding)


def _punctuate(text):
  """With a character that the other encodings cannot take for one."""
  return text.replace('The person', 'The persons’ voice')


def _write(path, lines, gap, encoding):
  if lines:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = ''.join(f'{gap.join(line)}\n' for line in lines)
    path.write_bytes(text.encode(encoding))
