"""Tables of a user's own labels: columns, cells, rows, and what they change."""

import dataclasses
import functools

import numpy as np
import pytest
from damages import DAMAGES

from avemo import errors
from avemo.corpora import clip, crema_d, given, given_rows
from avemo.simulate import workbook
from datasets_tfds import parts

ANGRY, AFRAID, NEUTRAL = '1001_DFA_ANG_XX', '1002_DFA_FEA_XX', '1003_IEO_NEU_XX'
CLIPS = [
  clip.make_clip(crema_d.parse_name(name), [], [f'{name}.wav'])
  for name in (ANGRY, AFRAID, NEUTRAL)
]


def write(tmp_path, *lines):
  path = tmp_path / 'mine.csv'
  path.write_text('\n'.join(lines) + '\n', encoding='utf-8')
  return path


def add(path, clips=CLIPS):
  return given.add(clips, path, crema_d.parse_name, crema_d.EMOTIONS)


@pytest.mark.parametrize(
  'lines, words',
  [
    (['clip_id,valance'], ["'valance'", "did you mean 'valence'"]),
    (['clip_id,Emotoin'], ["'Emotoin'", "did you mean 'emotion'"]),
    (['clip_id,age'], ["'age'", 'starts with _']),
    (['clip,valence'], ["'clip'", "did you mean 'clip_id'"]),
    (['valence'], ["no column 'clip_id'"]),
    (['clip_id,valence,Valence '], ["'valence' stands twice"]),
    (['clip_id,au_3'], ["'au_3'", 'au_12']),
    (['clip_id;valence'], ['semicolons']),
    (['clip_id,valence'], ['no row that names a clip']),
    (['clip_id,valence', 'nobody,0.5'], ['row 2', 'nobody', ANGRY]),
  ],
)
def test_tables_of_no_use_are_one_line(tmp_path, lines, words):
  path = write(tmp_path, *lines)
  with pytest.raises(errors.AvemoError) as caught:
    add(path)
  message = str(caught.value)
  assert '\n' not in message and str(path) in message
  for word in words:
    assert word in message


def test_what_is_no_table_is_one_line(tmp_path):
  with pytest.raises(errors.AvemoError, match='no such file'):
    add(tmp_path / 'none.csv')
  broken = tmp_path / 'broken.xlsx'
  broken.write_bytes(b'PK\3\4 nothing')
  with pytest.raises(errors.AvemoError, match='broken.xlsx: not a table'):
    add(broken)
  for name, content, reason in (
    ('sound.wav', b'RIFF', 'ends in neither .csv nor .xlsx'),
    ('sound.csv', b'RIFF\0\1\0', 'holds bytes'),
    ('other.csv', b'\xff\xd8\xff\x81', 'no text'),
    ('empty.csv', b'', 'the file is empty'),
    ('empty.xlsx', b'', 'the file is empty'),
  ):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(errors.AvemoError, match=reason) as caught:
      add(path)
    assert 'CSV or an XLSX' in str(caught.value)


def test_every_row_and_cell_of_no_use_is_told(tmp_path):
  path = write(
    tmp_path,
    'clip_id,frame,valence,arousal,emotion,au_12,split',
    f'{ANGRY},,1.5,0.25,,,',
    f'{ANGRY},,0,0.25,,,',
    '9999_DFA_ANG_XX,,0,0,,,',
    ',,0,0,,,',
    '',
    f'{AFRAID},,-1,nan,happyness,2,dev',
    f'{AFRAID},,-1,,,,dev',
    f'{NEUTRAL},1.5,0,,,,',
    f'{NEUTRAL},-1,0,,,,',
    f'{NEUTRAL},3,0,,,,test',
    f'{NEUTRAL},,,,,,tets',
    f'{NEUTRAL},3,0,,,,,stray',
  )
  clips, faults = add(path)
  assert {fault.path for fault in faults} == {'mine.csv'}
  told = sorted(fault.reason for fault in faults)
  expected = {
    2: "valence '1.5': is no number from -1 to 1; taken as missing",
    3: 'contradicts row 2, which counts',
    4: '9999_DFA_ANG_XX: no clip here has this id',
    5: 'its clip_id is missing',
    8: 'doubles row 7, which counts',
    9: "frame '1.5'",
    10: "frame '-1'",
    11: 'split: is of whole clips',
    12: "split 'tets': is none of train, val, test",
    13: 'has more than 7 cells',
  }
  for number, reason in expected.items():
    (line,) = [x for x in told if x.startswith(f'row {number}: ')]
    assert reason in line
  seventh = [line for line in told if line.startswith('row 7: ')]
  assert len(seventh) == 2 and "did you mean 'happiness'" in ' '.join(seventh)
  assert 'neither 0 nor 1' in ' '.join(seventh)
  assert len(told) == len(expected) + 2
  angry, afraid, neutral = clips
  assert np.isnan(angry.valence) and angry.arousal == 0.25
  assert (afraid.valence, afraid.emotion) == (-1, 'fear')
  assert [c.extra['split'] for c in clips] == ['', 'val', '']
  np.testing.assert_array_equal(neutral.given.frames, [3])


def test_labels_tell_where_they_came_from(tmp_path):
  lines = ['clip_id,emotion,valence', f'{ANGRY}.wav,Disgust,', f'{AFRAID},,0.5']
  clips, faults = add(write(tmp_path, *lines))
  assert not faults
  assert [c.emotion for c in clips] == ['disgust', 'fear', 'neutral']
  sources = [
    (c.extra['emotion_source'], c.extra['valence_source']) for c in clips
  ]
  assert sources == [
    ('mine.csv', ''), ('corpus', 'mine.csv'), ('corpus', ''),
  ]  # fmt: skip
  assert all(set(c.extra) >= set(given.EXTRA) for c in clips)
  # What a clip said before stays with it.
  assert all(c.extra.items() >= o.extra.items() for c, o in zip(
    clips, CLIPS, strict=True))  # fmt: skip


def test_a_spreadsheet_is_a_table_too(tmp_path):
  path = tmp_path / 'mine.xlsx'
  workbook.write(path, [['clip_id', 'Valence'], [ANGRY, -0.5]])
  clips, faults = add(path)
  assert clips[0].valence == -0.5 and not faults


def own_labels(count=4):
  return clip.FrameLabels(
    valence=np.full(count, 0.1, np.float32),
    arousal=np.full(count, np.nan, np.float32),
    expression=np.arange(count, dtype=np.int32),
    action_units=np.full((count, 12), np.nan, np.float32),
    lines={'own.txt': count},
  ), []


def test_labels_of_frames_lie_on_top_of_the_corpus_s_own(tmp_path):
  path = write(
    tmp_path,
    'clip_id,frame,valence,arousal,emotion,au_1,AU12',
    f'{ANGRY},2,0.5,,,,0',
    f'{ANGRY},0,,-0.5,fear,,',
    f'{ANGRY},7,0.5,,,,',
    f'{ANGRY},,,,,1,1',
  )
  marked = dataclasses.replace(
    CLIPS[0], read_labels=functools.partial(own_labels, 4)
  )
  (one,), faults = add(path, [marked])
  assert not faults
  assert one.extra['frame_valence_source'] == 'corpus and mine.csv'
  assert one.extra['frame_expression_source'] == 'corpus and mine.csv'
  own, _ = one.read_labels()
  emotions = crema_d.EMOTIONS
  labels, notes = parts.add_given(own, one.given, 5, emotions)
  ((table, reason, _),) = notes
  assert table == 'mine.csv' and '1 of its rows' in reason and '4' in reason
  np.testing.assert_allclose(labels.valence, [0.1, 0.1, 0.5, 0.1, np.nan])
  np.testing.assert_allclose(labels.arousal, [-0.5] + 4 * [np.nan])
  fear = emotions.index('fear')
  assert labels.expression.tolist() == [fear, 1, 2, 3, -1]
  first, twelfth = (given_rows.ACTION_UNITS.index(n) for n in (1, 12))
  assert labels.action_units[:, first].tolist() == [1] * 5
  assert labels.action_units[:, twelfth].tolist() == [1, 1, 0, 1, 1]
  assert np.isnan(np.delete(labels.action_units, [first, twelfth], 1)).all()
  assert labels.lines == {'own.txt': 4}
  # What the corpus has read is left as it was.
  assert own.valence.tolist() == own_labels()[0].valence.tolist()
  nothing, notes = parts.add_given(None, one.given, 0, emotions)
  assert nothing is None and 'not there' in notes[0].reason
  assert parts.add_given(own, None, 5, emotions) == (own, [])


@pytest.mark.parametrize('suffix', ['.csv', '.xlsx'])
def test_damaged_tables_are_read_in_part_or_refused(tmp_path, suffix):
  path = tmp_path / f'mine{suffix}'
  table = [['clip_id', 'frame', 'valence', 'emotion', 'split']]
  table += [[c.clip_id, '', 0.5, 'anger', 'train'] for c in CLIPS]
  table += [[CLIPS[0].clip_id, n, n / 100, '', ''] for n in range(40)]
  if suffix == '.csv':
    path.write_text('\n'.join(','.join(map(str, row)) for row in table))
  else:
    workbook.write(path, table)
  whole, outcomes = path.read_bytes(), []
  for number in range(120):
    harm = DAMAGES[number % len(DAMAGES)]
    path.write_bytes(harm(np.random.default_rng(number), whole))
    try:
      clips, faults = add(path)
    except errors.AvemoError as error:
      assert '\n' not in str(error) and str(path) in str(error)
      outcomes.append('refused')
      continue
    outcomes.append('told' if faults else 'whole')
    assert all(fault.reason.startswith('row ') for fault in faults)
    for one in clips:
      assert np.isnan(one.valence) or -1 <= one.valence <= 1
      assert one.emotion in crema_d.EMOTIONS
      assert one.extra['split'] in ('', 'train', 'val', 'test')
  assert {'refused'} < set(outcomes)
