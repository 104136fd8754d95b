"""Named folds: sizes, hashes, nesting, and leaks of each kind when planted."""

import dataclasses
import functools
import json
import os
import pathlib

import pytest
from corpus_trees import put

from avemo import errors
from avemo.corpora import crema_d, folds, protocols, ravdess
from avemo.corpora.protocols.msp_improv import SPEAKERS

# Turns of each speaker in HiCMAE's list, F01 to F06, then M01 to M06.
MSP_IMPROV_TURNS = (
  411, 690, 856, 515, 710, 720, 505, 638, 766, 529, 697, 750,
)  # fmt: skip

SIZES = {
  'crema_d_hicmae_5fold': [1463, 1470, 1475, 1474, 1555],
  'crema_d_maedfer_5fold': [1463, 1470, 1476, 1476, 1557],
  'ravdess_hicmae_6fold': [240] * 6,
  'ravdess_emobox_6fold': [240] * 6,
  'ravdess_luna_5fold': [300, 300, 300, 300, 240],
  'enterface_maedfer_5fold': [270, 270, 267, 270, 210],
  'enterface_mcn_split': [420],
  'msp_improv_hicmae_6fold': [916, 1328, 1622, 1044, 1407, 1470],
  'msp_improv_speaker_12fold': list(MSP_IMPROV_TURNS),
}
SIZES |= {f'{name}_published': sizes for name, sizes in SIZES.items()}
# Their validation part was published with them.
SIZES |= {'crema_d_tfds_split': [1556], 'msp_improv_fixed_split': [1212]}
SPLITS = [name for name in SIZES if '_split' in name]

# A changed rule must not pass as the published one by a new constant.
HASHES = {
  'crema_d_hicmae_5fold': '47f291f6aea04d20',
  'crema_d_hicmae_5fold_published': '8c0aec3e6e113204',
  'crema_d_maedfer_5fold': '9ea4a24cb2dce19d',
  'crema_d_maedfer_5fold_published': '3e443b4f51c15697',
  'crema_d_tfds_split': '24dc5d7c9d6ac3bb',
  'ravdess_hicmae_6fold': 'eeaf0be4b52851b9',
  'ravdess_hicmae_6fold_published': '6f71fbef489aae28',
  'ravdess_emobox_6fold': '3d3242a68b430ebe',
  'ravdess_emobox_6fold_published': '0ea7b7a02635659e',
  'ravdess_luna_5fold': '9f06d6bb122ad282',
  'ravdess_luna_5fold_published': 'ec99690640703aa1',
  'enterface_maedfer_5fold': 'fb68d6250f508c9d',
  'enterface_maedfer_5fold_published': '726a64245f8c26bc',
  'enterface_mcn_split': '9ca6abb109b306fc',
  'enterface_mcn_split_published': 'aa5484f33a3d5cc7',
  # Over HiCMAE's own list, which real data alone holds.
  'msp_improv_hicmae_6fold': '5ab59a5c4cce1145',
  'msp_improv_hicmae_6fold_published': 'e8a5c7f416e0e355',
  'msp_improv_speaker_12fold': '89a956dcaba5eba3',
  'msp_improv_speaker_12fold_published': 'bc052a9af98be406',
  'msp_improv_fixed_split': 'a0c57ae7fb860922',
}


@functools.cache
def make_rows(corpus):
  """Rows of a full corpus; of MSP-IMPROV as many as HiCMAE lists."""
  if corpus != 'msp_improv':
    return protocols.rows_of_corpus(corpus)
  return [
    folds.Row(
      f'MSP-IMPROV-S{n // 100 + 1:02d}A-{speaker}-S-FM{n % 100:02d}', speaker
    )
    for speaker, count in zip(SPEAKERS, MSP_IMPROV_TURNS, strict=True)
    for n in range(count)
  ]


@functools.cache
def make(name):
  protocol = protocols.get(name)
  rows = make_rows(protocol.corpus)
  return protocol, rows, protocols.make_folds(name, rows)


def find_names(file_name):
  folder = os.environ.get('AVEMO_REAL_DATA')
  if not folder:
    pytest.skip('AVEMO_REAL_DATA does not name the folder of real data')
  return pathlib.Path(folder) / 'names' / file_name


def test_every_protocol_is_tested_here():
  # Those that go by a copy's own lists have no hash; test_corpora_lists.
  hashed = {n for n, p in protocols.PROTOCOLS.items() if p.expected_sha256}
  assert hashed == set(SIZES) == set(HASHES)


@pytest.mark.parametrize('name', SIZES)
def test_test_parts_have_the_published_sizes(name):
  _, _, made = make(name)
  assert [len(fold.test) for fold in made] == SIZES[name]
  assert [fold.index for fold in made] == list(range(len(made)))


@pytest.mark.parametrize('name', SIZES)
def test_hash_over_the_full_corpus_is_the_expected_one(name):
  protocol, rows, made = make(name)
  assert protocol.expected_sha256.startswith(HASHES[name])
  sha256 = folds.compute_sha256(made)
  if protocol.corpus != 'msp_improv':
    assert sha256 == protocol.expected_sha256
  # Whoever lists the clips in another order gets the same folds.
  again = protocols.make_folds(name, rows[::-1])
  assert folds.compute_sha256(again) == sha256


@pytest.mark.parametrize('name', sorted(set(SIZES) - set(SPLITS)))
def test_every_clip_is_tested_once_and_every_fold_is_whole(name):
  _, rows, made = make(name)
  tested = [clip for fold in made for clip in fold.test]
  assert len(set(tested)) == len(tested)
  assert len(tested) in (7437, 7442, 1440, 1287, 7787)
  for fold in made:
    assert set(fold.train) | set(fold.val) | set(fold.test) == set(tested)
    for part in (fold.train, fold.val, fold.test):
      assert list(part) == sorted(part) and part


@pytest.mark.parametrize('name', SIZES)
def test_no_protocol_leaks_but_as_it_says(name):
  protocol, rows, made = make(name)
  for fold in made:
    declared = protocol.test_is_validation
    assert not folds.find_leaks(fold, rows, test_is_validation=declared)
    assert bool(folds.find_leaks(fold, rows)) == declared


def test_nested_validation_is_the_next_test_part_in_a_circle():
  _, _, made = make('ravdess_hicmae_6fold')
  for fold, following in zip(made, made[1:] + made[:1], strict=True):
    assert fold.val == following.test
    assert set(fold.train).isdisjoint(fold.val + fold.test)


def test_the_published_form_names_its_flaw():
  protocol, _, made = make('crema_d_hicmae_5fold_published')
  assert protocol.test_is_validation and 'chosen' in protocol.flaws[0]
  assert all(fold.val == fold.test for fold in made)
  assert not protocols.get('crema_d_hicmae_5fold').test_is_validation


def test_speakers_of_the_folds():
  _, _, made = make('crema_d_hicmae_5fold')
  speakers = [sorted({clip[:4] for clip in fold.test}) for fold in made]
  ends = [(group[0], group[-1]) for group in speakers]
  assert ends == [
    ('1001', '1018'),
    ('1019', '1036'),
    ('1037', '1054'),
    ('1055', '1072'),
    ('1073', '1091'),
  ]
  _, _, made = make('ravdess_hicmae_6fold')
  actors = [sorted({int(clip[-2:]) for clip in fold.test}) for fold in made]
  assert actors == [list(range(n, n + 4)) for n in range(1, 25, 4)]


def test_actors_and_subjects_of_the_other_folds():
  def numbers(name, cut):
    _, _, made = make(name)
    return [sorted({int(cut(clip)) for clip in fold.test}) for fold in made]

  assert numbers('ravdess_emobox_6fold', lambda clip: clip[-2:]) == [
    [1, 11, 20, 21], [4, 10, 12, 14], [8, 9, 19, 23], [3, 5, 7, 24],
    [2, 15, 16, 18], [6, 13, 17, 22],
  ]  # fmt: skip
  assert numbers('ravdess_luna_5fold', lambda clip: clip[-2:]) == [
    [2, 5, 14, 15, 16], [3, 6, 7, 13, 18], [10, 11, 12, 19, 20],
    [8, 17, 21, 23, 24], [1, 4, 9, 22],
  ]  # fmt: skip
  found = numbers('enterface_maedfer_5fold', lambda c: c.split('/')[0][8:])
  assert [(group[0], group[-1]) for group in found] == [
    (1, 10), (11, 19), (20, 28), (29, 37), (38, 44),
  ]  # fmt: skip
  assert 6 not in found[0]
  # The same session number is a pair, a woman and a man.
  _, _, made = make('msp_improv_hicmae_6fold')
  for number, fold in enumerate(made, start=1):
    assert {c.split('-')[3] for c in fold.test} == {
      f'F0{number}',
      f'M0{number}',
    }


def test_parts_of_the_published_splits():
  def find_parts(name):
    _, rows, (fold,) = make(name)
    speaker = {row.clip_id: row.speaker for row in rows}
    parts = (fold.train, fold.val, fold.test)
    return [{speaker[clip] for clip in part} for part in parts], parts

  # TFDS publishes these sizes.
  speakers, parts = find_parts('crema_d_tfds_split')
  assert [len(part) for part in parts] == [5144, 738, 1556]
  assert [len(group) for group in speakers] == [63, 9, 19]
  assert not {'1006_TIE_NEU_XX', '1040_ITH_SAD_XX'} & set().union(*parts)
  speakers, _ = find_parts('msp_improv_fixed_split')
  assert speakers[1:] == [{'F02', 'M01'}, {'F04', 'M05'}]
  assert len(speakers[0]) == 8
  speakers, parts = find_parts('enterface_mcn_split')
  assert max(map(int, speakers[0] | speakers[1])) == 30
  published, whole = find_parts('enterface_mcn_split_published')
  assert published[0] == speakers[0] | speakers[1]
  assert whole[1] == whole[2] == parts[2]
  # An own division of the actors that are there would be another one.
  rows = [r for r in make_rows('crema_d') if int(r.speaker) % 2]
  (part,) = protocols.make_folds('crema_d_tfds_split', rows)
  _, _, (fold,) = make('crema_d_tfds_split')
  assert set(part.test) < set(fold.test) and set(part.val) < set(fold.val)
  with pytest.raises(errors.AvemoError, match='no clip of the train part'):
    protocols.make_folds(
      'crema_d_tfds_split', [r for r in rows if r.clip_id in part.test]
    )


def test_turns_of_other_classes_are_left_out_where_labels_are_known():
  rows = [
    dataclasses.replace(row, emotion='' if n % 3 else 'anger')
    for n, row in enumerate(make_rows('msp_improv'))
  ]
  for name in ('msp_improv_hicmae_6fold', 'msp_improv_fixed_split'):
    used = protocols.make_folds(name, rows)[0]
    labelled = {row.clip_id for row in rows if row.emotion}
    assert set(used.train) | set(used.val) | set(used.test) == labelled


def test_what_was_not_published_is_said():
  emobox = protocols.get('ravdess_emobox_6fold_published')
  assert 'no validation part was published' in emobox.flaws[0]
  assert protocols.get('ravdess_emobox_6fold').flaws == ()
  for name in protocols.PROTOCOLS:
    shares_dialogues = name.startswith(
      ('msp_improv_speaker', 'msp_improv_fixed')
    )
    told = any('partner' in flaw for flaw in protocols.get(name).flaws)
    assert told == shares_dialogues


def test_folds_of_the_real_lists():
  path = find_names('enterface_paths.txt')
  rows = protocols.rows_from_names('enterface', path)
  for name in ('enterface_maedfer_5fold', 'enterface_maedfer_5fold_published'):
    made = protocols.make_folds(name, rows)
    # The list lacks the 30 clips of one of subjects 11 and 12.
    assert [len(fold.test) for fold in made] == [270, 240, 267, 270, 210]
  path = find_names('msp_improv_stems.txt')
  rows = protocols.rows_from_names('msp_improv', path)
  for name in [name for name in SIZES if name.startswith('msp_improv')]:
    made = protocols.make_folds(name, rows)
    assert [len(fold.test) for fold in made] == SIZES[name]
    expected = protocols.get(name).expected_sha256
    assert folds.compute_sha256(made) == expected


def test_broken_clips_and_the_missing_one_are_left_out():
  _, _, made = make('crema_d_hicmae_5fold')
  used = {clip for fold in made for clip in fold.train + fold.val + fold.test}
  assert set(crema_d.all_names()) - used == {
    '1064_IEO_DIS_MD',
    '1064_TIE_SAD_XX',
    '1076_MTI_NEU_XX',
    '1076_MTI_SAD_XX',
    '1040_ITH_SAD_XX',
  }


def test_sixteen_actors_give_four_folds_of_four():
  rows = make_rows('ravdess')
  rows = [row for row in rows if int(row.speaker) <= 16]
  made = protocols.make_folds('ravdess_hicmae_6fold', rows)
  assert [fold.index for fold in made] == [0, 1, 2, 3]
  assert [len(f.train) for f in made] == [480] * 4
  assert made[3].val == made[0].test


def test_an_empty_fold_between_is_passed_over():
  rows = make_rows('ravdess')
  rows = [row for row in rows if int(row.speaker) not in range(5, 9)]
  made = protocols.make_folds('ravdess_hicmae_6fold', rows)
  assert [fold.index for fold in made] == [0, 2, 3, 4, 5]
  assert made[0].val == made[1].test
  with pytest.raises(errors.AvemoError, match='no fold 1'):
    protocols.make_fold('ravdess_hicmae_6fold', rows, 1)


def test_too_few_speakers_get_one_line():
  rows = make_rows('ravdess')
  rows = [row for row in rows if int(row.speaker) <= 8]
  with pytest.raises(errors.AvemoError, match='prepare more speakers'):
    protocols.make_folds('ravdess_hicmae_6fold', rows)


def test_songs_are_no_part_of_the_speech_protocol():
  rows = make_rows('ravdess')
  song = [
    dataclasses.replace(r, clip_id='02' + r.clip_id[2:], recording='song')
    for r in rows[:100]
  ]
  made = protocols.make_folds('ravdess_hicmae_6fold', rows + song)
  _, _, expected = make('ravdess_hicmae_6fold')
  assert made == expected


# --------------------------------------------------------------------- leaks

ROWS = [
  folds.Row(
    f'clip{n}',
    f'speaker{n}',
    f'recording{n}',
    # Of two segments.
    frozenset({f'hash{n}', f'other{n}'}),
    'anger',
  )
  for n in range(6)
]
FOLD = folds.Fold(0, ('clip0', 'clip1'), ('clip2', 'clip3'), ('clip4', 'clip5'))


def test_a_clean_fold_has_no_leak():
  assert folds.find_leaks(FOLD, ROWS) == []


@pytest.mark.parametrize('field', ['speaker', 'recording', 'audio_sha256'])
@pytest.mark.parametrize(
  ('one', 'other', 'parts'),
  [
    (0, 4, 'train and test'),
    (1, 3, 'train and val'),
    (2, 5, 'val and test'),
  ],
)
def test_finds_what_two_parts_share(field, one, other, parts):
  rows = list(ROWS)
  value, kind = getattr(rows[one], field), field
  told = value
  if field == 'audio_sha256':
    kind, told = 'identical sound', f'other{one}'
    value = frozenset({told, 'own'})
  rows[other] = dataclasses.replace(rows[other], **{field: value})
  (leak,) = folds.find_leaks(FOLD, rows)
  assert leak.startswith(parts) and kind in leak
  assert told in leak


def test_finds_validation_on_the_test_part():
  fold = dataclasses.replace(FOLD, val=FOLD.test)
  leaks = folds.find_leaks(fold, ROWS)
  assert any('val and test' in x and 'clip' in x for x in leaks)
  assert folds.find_leaks(fold, ROWS, test_is_validation=True) == []


def test_a_declared_validation_does_not_excuse_training_on_it():
  fold = dataclasses.replace(FOLD, train=FOLD.test, val=FOLD.test)
  leaks = folds.find_leaks(fold, ROWS, test_is_validation=True)
  assert any(leak.startswith('train and test') for leak in leaks)


def test_finds_clips_twice_and_clips_of_which_nothing_is_known():
  fold = dataclasses.replace(FOLD, train=('clip0', 'clip0'), val=('stranger',))
  leaks = ' '.join(folds.find_leaks(fold, ROWS))
  assert 'twice' in leaks and 'stranger' in leaks


def test_unknown_values_are_no_leak():
  rows = [folds.Row(row.clip_id, '', '') for row in ROWS]
  assert folds.find_leaks(FOLD, rows) == []


@pytest.mark.parametrize('field', ['recording', 'audio_sha256'])
def test_a_corpus_that_leaks_is_refused(field):
  # Speakers decide the folds of these protocols; sound and recordings do not.
  rows = make_rows('ravdess')
  rows = [dataclasses.replace(r, audio_sha256={r.clip_id}) for r in rows]
  value = getattr(rows[-1], field)
  rows[0] = dataclasses.replace(rows[0], **{field: value})
  with pytest.raises(errors.AvemoError, match='share 1'):
    protocols.make_folds('ravdess_hicmae_6fold', rows)


def test_unknown_speakers_excuse_one_sound_alone():
  name = 'mafw_official_5fold'
  rows = [
    folds.Row(f'{n:05d}', '', f'{n:05d}', lists={'official_single_fold': n})
    for n in range(1, 6)
  ]
  assert (
    protocols.list_leaks(name, rows, protocols.make_folds(name, rows)) == []
  )
  shared = [dataclasses.replace(r, recording='film') for r in rows]
  with pytest.raises(errors.AvemoError, match='of kind recording'):
    protocols.make_folds(name, shared)
  shared = [dataclasses.replace(r, audio_sha256={'sound'}) for r in rows]
  text = protocols.describe(name, shared)
  assert (
    f'warning: {name}, fold 0: train and test share 1 of kind identical sound'
    in text
  )


def test_finds_one_sound_under_two_labels():
  def row(clip, sound):
    name = crema_d.parse_name(clip)
    return folds.Row(clip, name.speaker, clip, set(sound), name.emotion)

  rows = [
    # Two segments in common are one finding.
    row('1006_TIE_HAP_XX', 'ax'),
    row('1006_TIE_NEU_XX', 'ax'),
    row('1013_WSI_SAD_XX', 'b'),
    row('1013_WSI_DIS_XX', 'b'),
    row('1001_IEO_ANG_LO', 'c'),
    row('1001_IEO_ANG_HI', 'c'),
    row('1002_DFA_ANG_XX', ''),
    row('1002_DFA_SAD_XX', ''),
  ]
  assert folds.find_conflicts(rows) == [
    ('1006_TIE_HAP_XX', '1006_TIE_NEU_XX'),
    ('1013_WSI_DIS_XX', '1013_WSI_SAD_XX'),
  ]


@pytest.mark.parametrize('name', SIZES)
def test_finds_a_planted_leak_of_each_kind_in_every_protocol(name):
  protocol, rows, made = make(name)
  declared = protocol.test_is_validation
  fold = made[-1]
  by_id = {row.clip_id: row for row in rows}
  inside, outside = by_id[fold.train[0]], by_id[fold.test[0]]
  kinds = {
    'speaker': {'speaker': inside.speaker},
    'recording': {'recording': inside.recording or 'one'},
    'identical sound': {'audio_sha256': frozenset({'sound'})},
  }
  for kind, change in kinds.items():
    planted = by_id | {outside.clip_id: dataclasses.replace(outside, **change)}
    if kind != 'speaker':
      twin = dataclasses.replace(inside, **change)
      planted[inside.clip_id] = twin
    leaks = folds.find_leaks(
      fold, list(planted.values()), test_is_validation=declared
    )
    assert any(f'of kind {kind}' in leak for leak in leaks), (kind, leaks)
  doubled = dataclasses.replace(fold, train=(*fold.train, fold.test[0]))
  leaks = folds.find_leaks(doubled, rows, test_is_validation=declared)
  assert any('of kind clip' in leak for leak in leaks)
  twice = dataclasses.replace(fold, test=(*fold.test, fold.test[0]))
  leaks = folds.find_leaks(twice, rows, test_is_validation=declared)
  assert any('twice' in leak for leak in leaks)
  if not declared:
    chosen = dataclasses.replace(fold, val=fold.test)
    assert folds.find_leaks(chosen, rows)


# --------------------------------------------------------------- description


def test_folds_of_a_list_of_names(tmp_path):
  path = tmp_path / 'names.txt'
  names = ravdess.all_names()
  lines = [f'0{n % 3 + 1}-{name}' for n, name in enumerate(names)]
  path.write_text('\ufeff' + '\n'.join(lines) + '\n\n', encoding='utf-8')
  rows = protocols.rows_from_names('ravdess', path)
  text = protocols.describe('ravdess_hicmae_6fold', rows, as_json=True)
  content = json.loads(text)
  assert content['sha256'] == content['expected_sha256']
  assert content['protocol'] == 'ravdess_hicmae_6fold'
  assert content['speaker_independent'] is True
  assert content['source']
  assert [len(f['test']) for f in content['folds']] == [240] * 6
  assert set(content['folds'][0]) >= {'train', 'val', 'test'}


def test_the_old_name_is_the_clip_that_the_protocol_leaves_out(tmp_path):
  path = tmp_path / 'names.txt'
  names = set(crema_d.all_names()) - {'1040_ITH_SAD_XX'} | {'1040_ITH_SAD_X'}
  path.write_text('\n'.join(sorted(names)))
  rows = protocols.rows_from_names('crema_d', path)
  made = protocols.make_folds('crema_d_hicmae_5fold', rows)
  protocol = protocols.get('crema_d_hicmae_5fold')
  assert folds.compute_sha256(made) == protocol.expected_sha256


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    (None, 'No such file'),
    (b'1001_DFA_ANG_XX\nholiday\n', "line 2: 'holiday'"),
    (b'\xff\xfe\x00', 'UTF-8'),
  ],
)
def test_a_bad_list_of_names_gets_one_line(tmp_path, content, message):
  path = tmp_path / 'names.txt'
  if content is not None:
    path.write_bytes(content)
  with pytest.raises(errors.AvemoError, match=message) as error:
    protocols.rows_from_names('crema_d', path)
  assert '\n' not in str(error.value)


def test_description_says_what_is_skipped_and_what_is_flawed():
  rows = make_rows('ravdess')
  rows = [row for row in rows if int(row.speaker) <= 16]
  name = 'ravdess_hicmae_6fold_published'
  text = protocols.describe(name, rows)
  assert 'skipped, no test clips: fold 4, 5' in text
  assert 'NOT the full corpus' in text and 'warning' in text
  content = json.loads(protocols.describe(name, rows, as_json=True))
  assert content['skipped'] == [4, 5]
  assert content['sha256'] != content['expected_sha256']
  overview = protocols.describe_all()
  assert all(known in overview for known in protocols.PROTOCOLS)


def test_an_unknown_protocol_names_the_nearest():
  with pytest.raises(errors.AvemoError, match='crema_d_hicmae_5fold'):
    protocols.get('crema_d_hicmae_5folds')


def test_a_protocol_without_its_folds_names_itself_and_what_is_missing():
  rows = [folds.Row('00020', '', lists={'official_single_fold': 1})]
  words = r'mafw_official_5fold: clips of 1 fold alone.*prepare more clips'
  with pytest.raises(errors.AvemoError, match=words):
    protocols.make_folds('mafw_official_5fold', rows)
  with pytest.raises(errors.AvemoError, match='5fold: .*more speakers'):
    protocols.make_folds('crema_d_hicmae_5fold', make_rows('crema_d')[:9])


def test_lists_leave_out_clips_without_a_medium(tmp_path):
  folder = tmp_path / 'VA_Set/Train_Set'
  for name in ('video1', 'video2'):
    put(folder / f'{name}.txt', b'valence,arousal\n0,0\n')
  rows = protocols.rows_from_raw('aff_wild2', tmp_path)
  assert protocols.split_bare('aff_wild2', tmp_path, rows) == (rows, [])
  put(tmp_path / 'videos/video2.mp4')
  left, bare = protocols.split_bare('aff_wild2', tmp_path, rows)
  assert [row.clip_id for row in left] == ['video2'] and bare == ['video1']
