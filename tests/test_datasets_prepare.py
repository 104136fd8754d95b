"""`prepare` from raw files to a dataset, and what may happen on the way."""

import contextlib
import itertools
import json
import os
import pathlib
import pty
import shutil
import signal
import subprocess
import sys
import termios
import time

import numpy as np
import pytest

from avemo import errors, locks
from avemo.data import schema
from avemo.simulate import corpus
from datasets_tfds import prepare

# Two clips with one sound under two labels, and one that loses its picture.
FEW = ('1006_TIE_HAP_XX', '1006_TIE_NEU_XX', '1076_MTI_NEU_XX')


def copy_clips(raw, target, names, folders=('AudioWAV', 'VideoFlash')):
  for folder, name in itertools.product(folders, names):
    for path in raw.glob(f'{folder}/{name}.*'):
      copy = target / path.relative_to(raw)
      copy.parent.mkdir(parents=True, exist_ok=True)
      shutil.copyfile(path, copy)
  return target


def build(raw, data_dir, corpus_name='crema_d', **options):
  options = {'workers': 0, 'progress': False} | options
  return prepare.prepare(corpus_name, raw, data_dir=data_dir, **options)


def read_tree(folder):
  return {
    path.relative_to(folder).as_posix(): path.read_bytes()
    for path in sorted(pathlib.Path(folder).rglob('*'))
    if path.is_file()
  }


def read_quarantine(directory):
  text = (directory / 'quarantine.jsonl').read_text(encoding='utf-8')
  return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope='module')
def few_raw(tiny_crema_d, tmp_path_factory):
  return copy_clips(tiny_crema_d, tmp_path_factory.mktemp('few'), FEW)


@pytest.fixture(scope='module')
def few_tree(few_raw, tmp_path_factory):
  """Every file of the dataset of a few clips, built in one process."""
  return read_tree(build(few_raw, tmp_path_factory.mktemp('data')).directory)


def test_every_quirk_is_met_listed_and_counted(
  tiny_crema_d, tiny_crema_d_dataset
):
  report = build(tiny_crema_d, tiny_crema_d_dataset)
  assert report.already_prepared
  assert (report.used, report.repaired, report.quarantined) == (13, 2, 6)
  reasons = {
    line['path']: (line['reason'], line['kept'])
    for line in read_quarantine(report.directory)
  }
  expected = {
    'AudioWAV/1040_ITH_HAP_XX.wav': ('git-LFS', False),
    'VideoFlash/1040_ITH_HAP_XX.flv': ('git-LFS', False),
    'AudioWAV/1076_MTI_SAD_XX.wav': ('silent', False),
    'VideoFlash/1076_MTI_SAD_XX.flv': ('no face', False),
    'VideoFlash/1064_IEO_DIS_MD.flv': ('lasts longer than 10 s', True),
    'VideoFlash/1076_MTI_NEU_XX.flv': ('pictures last 0.2', True),
  }
  assert reasons.keys() == expected.keys()
  for path, (part, kept) in expected.items():
    assert part in reasons[path][0] and reasons[path][1] == kept
  index = schema.open_dataset('crema_d_av', tiny_crema_d_dataset).index
  row = {name: i for i, name in enumerate(index['clip_id'].tolist())}
  assert '1076_MTI_SAD_XX' not in row and '1040_ITH_HAP_XX' not in row
  for name, number in row.items():
    shown = name not in ('1064_IEO_DIS_MD', '1076_MTI_NEU_XX')
    assert (index['num_frames'][number] > 0) == shown, name
    assert (index['num_faces'][number] > 0) == shown, name
    assert index['num_samples'][number] > 16_000, name
  # Its WAV has the old name.
  assert '1040_ITH_SAD_XX' in row
  first, second = row['1013_WSI_DIS_XX'], row['1013_WSI_SAD_XX']
  assert index['audio_sha256'][first] == index['audio_sha256'][second]
  assert index['emotion'][first] != index['emotion'][second]


def test_any_number_of_workers_writes_the_same_bytes(
  few_raw, few_tree, tmp_path
):
  report = build(few_raw, tmp_path, workers=2)
  assert (report.used, report.repaired, report.quarantined) == (2, 1, 1)
  assert read_tree(report.directory) == few_tree


def start_build(raw, folder):
  """A process of its own that builds with two workers."""
  program = (
    'from datasets_tfds import prepare\n'
    "if __name__ == '__main__':\n"
    f'  prepare.prepare("crema_d", {str(raw)!r}, '
    f'data_dir={str(folder)!r}, workers=2, progress=False)\n'
  )
  script = folder / 'program.py'
  script.write_text(program, encoding='utf-8')
  return subprocess.Popen([sys.executable, script])


def test_a_killed_build_is_made_whole_by_the_next(few_raw, few_tree, tmp_path):
  process = start_build(few_raw, tmp_path)
  parent = tmp_path / 'crema_d_av' / 'face'
  workers = []
  while not (workers and list(parent.glob('incomplete.*/**/part-0'))):
    assert process.poll() is None, 'it ended before it could be killed'
    workers = list_children(process.pid)
    time.sleep(0.02)
  process.send_signal(signal.SIGKILL)
  process.wait()
  assert list(parent.glob('incomplete.*'))
  with pytest.raises(errors.AvemoError, match='avemo prepare crema_d'):
    schema.open_dataset('crema_d_av', tmp_path)
  report = build(few_raw, tmp_path)
  assert not list(parent.glob('incomplete.*'))
  assert read_tree(report.directory) == few_tree
  deadline = time.monotonic() + 20
  while any(map(is_alive, workers)):
    assert time.monotonic() < deadline, 'workers outlive their parent'
    time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_ten_kills_at_random_change_no_byte(few_raw, few_tree, tmp_path):
  began = time.monotonic()
  (tmp_path / 'whole').mkdir()
  assert start_build(few_raw, tmp_path / 'whole').wait() == 0
  seconds = time.monotonic() - began
  rng, killed = np.random.default_rng(0), 0
  # Those that end before they are killed are no case.
  for number in range(40):
    folder = tmp_path / str(number)
    folder.mkdir()
    process = start_build(few_raw, folder)
    time.sleep(seconds * rng.random())
    process.send_signal(signal.SIGKILL)
    killed += process.wait() == -signal.SIGKILL
    parent = folder / 'crema_d_av/face'
    # Whole, or not there.
    for made in parent.glob('1.0.0'):
      assert read_tree(made) == few_tree
    report = build(few_raw, folder)
    assert read_tree(report.directory) == few_tree
    assert sorted(os.listdir(parent)) == ['.lock', '1.0.0']
    if killed == 10:
      return
  raise AssertionError(f'{killed} of 40 builds could be killed')


def list_children(process_id):
  path = pathlib.Path(f'/proc/{process_id}/task/{process_id}/children')
  return [int(number) for number in path.read_text().split()]


def is_alive(process_id):
  try:
    status = pathlib.Path(f'/proc/{process_id}/stat').read_text()
  except (FileNotFoundError, ProcessLookupError):
    return False
  return status.rsplit(')', 1)[1].split()[0] != 'Z'


def test_a_second_build_at_the_same_time_is_refused(few_raw, tmp_path):
  builder = prepare.make_builder('crema_d', 'face', tmp_path)
  directory = pathlib.Path(builder.data_dir)
  directory.parent.mkdir(parents=True)
  with locks.hold(directory.parent, 'busy'):
    with pytest.raises(errors.AvemoError, match='another process'):
      build(few_raw, tmp_path)


def test_what_exists_is_kept_unless_overwritten(few_raw, few_tree, tmp_path):
  clip = copy_clips(few_raw, tmp_path / 'one', FEW[:1])
  first = build(clip, tmp_path)
  assert 'already prepared' not in str(first)
  assert str(first).startswith('crema_d_av/face: 1 clip used in 1 record, 0')
  made = (first.directory / 'dataset_info.json').stat().st_mtime_ns
  again = build(clip, tmp_path)
  assert again.used == 1 and 'already prepared' in str(again)
  assert f'prepared from: {clip.resolve()}' in str(again)
  assert (first.directory / 'dataset_info.json').stat().st_mtime_ns == made
  # A wrong folder must not cost the dataset that is there.
  with pytest.raises(errors.AvemoError):
    build(tmp_path / 'nowhere', tmp_path, overwrite=True)
  assert build(clip, tmp_path).used == 1
  assert build(few_raw, tmp_path, overwrite=True).used == 2
  assert read_tree(first.directory) == few_tree
  assert sorted(os.listdir(first.directory.parent)) == ['.lock', '1.0.0']


def test_another_origin_is_refused_and_named(few_raw, tmp_path, monkeypatch):
  clip = copy_clips(few_raw, tmp_path / 'one', FEW[:1], ['AudioWAV'])
  first = build(clip, tmp_path)
  before = read_tree(first.directory)
  with pytest.raises(errors.AvemoError, match='--overwrite') as caught:
    build(few_raw, tmp_path)
  message = str(caught.value)
  assert '\n' not in message and '--data-dir' in message
  assert str(clip.resolve()) in message and str(few_raw.resolve()) in message
  # The same folder by another name is the same.
  monkeypatch.chdir(tmp_path)
  assert build('one', tmp_path).already_prepared
  model = tmp_path / 'yunet.onnx'
  model.write_bytes(b'another detector')
  with pytest.raises(errors.AvemoError, match='OpenCV cascade.*YuNet'):
    build(clip, tmp_path, face_model=model)
  assert read_tree(first.directory) == before
  # Nothing is known of datasets that were made elsewhere.
  (first.directory / prepare.ORIGIN).unlink()
  assert 'prepared from: not known' in str(build(few_raw, tmp_path))


def test_a_failed_rebuild_leaves_the_old_dataset(
  few_raw, tmp_path, monkeypatch
):
  clip = copy_clips(few_raw, tmp_path / 'one', FEW[:1], ['AudioWAV'])
  directory = build(clip, tmp_path).directory
  before = read_tree(directory)

  def fail(made):
    # All but the index is written, and the old dataset is still there.
    assert (made / 'dataset_info.json').is_file()
    assert read_tree(directory) == before
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(prepare.index, 'build_index', fail)
  with pytest.raises(errors.AvemoError, match='make room'):
    build(clip, tmp_path, overwrite=True)
  assert read_tree(directory) == before
  assert sorted(os.listdir(directory.parent)) == ['.lock', '1.0.0']


def test_a_good_copy_stands_in_for_a_damaged_one(few_raw, tmp_path):
  raw = copy_clips(few_raw, tmp_path / 'raw', FEW[:1], ['AudioWAV'])
  copy_clips(few_raw, raw / 'again', FEW[:1], ['AudioWAV'])
  (outer,) = raw.glob('AudioWAV/*')
  outer.write_bytes(b'\0' * outer.stat().st_size)
  report = build(raw, tmp_path)
  assert (report.used, report.repaired, report.quarantined) == (0, 1, 1)
  (line,) = read_quarantine(report.directory)
  assert line['path'] == f'AudioWAV/{outer.name}' and line['kept']


def test_copies_with_sound_or_picture_alone(tiny_crema_d, tmp_path):
  sound = copy_clips(tiny_crema_d, tmp_path / 'a', FEW[:2], ['AudioWAV'])
  report = build(sound, tmp_path / 'sound')
  assert (report.used, report.repaired, report.quarantined) == (2, 0, 0)
  record = schema.open_dataset('crema_d_av', tmp_path / 'sound').source[0]
  assert record['speech'] and not len(record['frames'])
  # The sound of an FLV stands in for the WAV.
  picture = copy_clips(tiny_crema_d, tmp_path / 'b', FEW[:1], ['VideoFlash'])
  build(picture, tmp_path / 'picture', config='frame')
  dataset = schema.open_dataset('crema_d_av/frame', tmp_path / 'picture')
  assert dataset.source[0]['speech'] and len(dataset.source[0]['frames']) > 20
  assert dataset.source[0]['face'].any()
  # Without the tables nothing is known of speakers and votes.
  assert dataset.index['age'][0] == -1 and dataset.index['sex'][0] == ''
  assert not np.nansum(dataset.index['votes_both'])


@pytest.mark.parametrize(
  'kept', [('01', '02', '03'), ('02',), ('01',), ('03',)]
)
def test_renderings_of_one_recording_are_one_record(
  tiny_ravdess, tmp_path, kept
):
  raw = tmp_path / 'raw'
  for path in tiny_ravdess.rglob('*-01-*'):
    if path.is_file() and path.name[:2] in kept:
      raw.mkdir(exist_ok=True)
      shutil.copyfile(path, raw / path.name)
  report = build(raw, tmp_path, 'ravdess')
  assert (report.used, report.quarantined) == (2, 0)
  dataset = schema.open_dataset('ravdess_av', tmp_path)
  assert len(dataset.source) == 2 and dataset.corpus == 'ravdess'
  for record in dataset.source:
    assert record['clip_id'].startswith(b'01-')
    assert bool(record['speech']) == (kept != ('02',))
    assert bool(len(record['frames'])) == (kept != ('03',))
  assert dataset.emotions[:2] == ('neutral', 'calm')


@pytest.fixture(scope='module')
def tiny_ravdess(tmp_path_factory):
  folder = tmp_path_factory.mktemp('raw') / 'ravdess'
  return corpus.simulate(
    'ravdess', folder, speakers=1, clips_per_speaker=2, progress=False
  )


def test_songs_and_films_alone_are_records_of_their_own(tmp_path):
  raw = corpus.simulate(
    'ravdess',
    tmp_path / 'raw',
    speakers=1,
    clips_per_speaker=1,
    quirks=True,
    progress=False,
  )
  first, second = '02-03-01-01-01-01', '02-04-02-02-01-01'
  for path in list(raw.rglob('0?-*')):
    is_song = path.stem.endswith((first, second))
    if not is_song or path.stem in (f'01-{first}', f'03-{first}'):
      path.unlink()
  build(raw, tmp_path, 'ravdess')
  index = schema.open_dataset('ravdess_av', tmp_path).index
  assert index['clip_id'].tolist() == [first, second]
  assert index['channel'].tolist() == ['song', 'song']
  assert index['classes'].tolist() == [[1] * 6 + [0] * 2] * 2
  assert index['emotion'].tolist() == ['happiness', 'sadness']
  assert index['intensity'].tolist() == ['normal', 'strong']
  # Of the first, the silent film alone is left.
  assert (index['num_faces'] > 0).all()
  assert (index['num_samples'] > 0).tolist() == [False, True]


def test_bad_input_gets_one_line_that_names_the_way_out(few_raw, tmp_path):
  empty = tmp_path / 'empty'
  empty.mkdir()
  strange = tmp_path / 'strange'
  strange.mkdir()
  (strange / 'holiday.mp4').write_bytes(b'abc')
  model = {'face_model': tmp_path / 'none.onnx'}
  cases = [
    ('did you mean crema_d', 'cremad', few_raw, {}),
    ('no such folder', 'crema_d', tmp_path / 'nowhere', {}),
    ('empty', 'crema_d', empty, {}),
    ('no usable clip of crema_d', 'crema_d', strange, {}),
    ('one of face, frame', 'crema_d', few_raw, {'config': 'whole'}),
    ('no such face model', 'crema_d', few_raw, model),
    ('cannot be written', 'crema_d', few_raw, {'data_dir': __file__}),
  ]
  for expected, name, raw, options in cases:
    options = {'data_dir': tmp_path / 'data'} | options
    with pytest.raises(errors.AvemoError, match=expected) as caught:
      build(raw, options.pop('data_dir'), name, **options)
    assert '\n' not in str(caught.value)


def test_a_full_disk_is_one_line_and_leaves_nothing(few_raw, tmp_path):
  clip = copy_clips(few_raw, tmp_path / 'one', FEW[:1])
  program = (
    'import resource, signal\n'
    'from avemo import errors\n'
    'from datasets_tfds import prepare\n'
    'signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n'
    'resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n'
    'try:\n'
    f'  prepare.prepare("crema_d", {str(clip)!r}, '
    f'data_dir={str(tmp_path)!r}, workers=0, progress=False)\n'
    'except errors.AvemoError as error:\n'
    '  print(error)\n'
  )
  result = subprocess.run(
    [sys.executable, '-c', program], capture_output=True, text=True, check=True
  )
  lines = result.stdout.splitlines()
  assert len(lines) == 1 and 'make room' in lines[0], lines
  names = os.listdir(tmp_path / 'crema_d_av' / 'face')
  assert names == ['.lock']


def test_a_terminal_sees_the_bar_and_a_log_file_nothing(few_raw, tmp_path):
  clip = copy_clips(few_raw, tmp_path / 'one', FEW[:1])
  program = (
    'from datasets_tfds import prepare\n'
    f'prepare.prepare("crema_d", {str(clip)!r}, '
    f'data_dir={str(tmp_path)!r}, workers=0, overwrite=True)\n'
  )
  command = [sys.executable, '-c', program]
  result = subprocess.run(command, capture_output=True, text=True, check=True)
  assert (result.stdout, result.stderr) == ('', '')
  terminal, ours = pty.openpty()
  termios.tcsetwinsize(ours, (24, 100))
  process = subprocess.Popen(command, stdout=ours, stderr=ours)
  os.close(ours)
  shown = b''
  # The last reader of a terminal whose writers are gone gets an error.
  with contextlib.suppress(OSError):
    while piece := os.read(terminal, 1 << 16):
      shown += piece
  os.close(terminal)
  assert process.wait() == 0
  bars = [bar for bar in shown.decode().replace('\r', '\n').split('\n') if bar]
  assert all(bar.startswith('prepare crema_d:') for bar in bars)
  assert '1/1' in bars[-1]
