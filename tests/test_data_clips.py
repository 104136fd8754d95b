"""One record to one clip: which frames, which square, which sound."""

import cv2
import numpy as np
import pytest
import small_dataset

from avemo import errors
from avemo.data import clips
from avemo.data.clips import ClipOptions, View


def options(**more):
  return ClipOptions(**{'frames': 4, 'size': 32, 'seconds': 0.5} | more)


def record(**more):
  return small_dataset.make_record(3, small_dataset.Clip(**more))


def frames_seen(clip):
  """Which frames of the clip came out, from what is painted into them."""
  return np.round(clip['frames'][..., 0].mean((1, 2)) / 8).astype(int).tolist()


def test_uniform_frames_stand_in_the_middle_of_their_share():
  clip = clips.load_clip(record(frames=32), options(), View())
  assert frames_seen(clip) == [4, 12, 20, 28]
  views = [
    frames_seen(clips.load_clip(record(frames=32), options(), View(v, 2)))
    for v in (0, 1)
  ]
  assert views == [[2, 10, 18, 26], [6, 14, 22, 30]]


def test_uniform_frames_move_within_their_share_in_training():
  rng = np.random.default_rng(0)
  drawn = np.array(
    [clips.choose_frames(32, options(), rng) for _ in range(300)]
  )
  for share in range(4):
    assert set(drawn[:, share]) == set(range(8 * share, 8 * share + 8))


def test_dense_frames_are_a_stride_apart():
  dense = options(sampling='dense', stride=5)
  clip = clips.load_clip(record(frames=30), dense, View())
  assert frames_seen(clip) == [7, 12, 17, 22]
  starts = [clips.choose_frames(30, dense, View(v, 3))[0] for v in range(3)]
  assert starts == [0, 7, 14]
  rng = np.random.default_rng(0)
  drawn = np.array([clips.choose_frames(30, dense, rng) for _ in range(300)])
  assert (np.diff(drawn) == 5).all()
  assert set(drawn[:, 0]) == set(range(15))


def test_head_frames_start_with_the_clip_whatever_the_draw():
  head = options(sampling='head', stride=3)
  clip = clips.load_clip(record(frames=30), head, View())
  assert frames_seen(clip) == [0, 3, 6, 9]
  for draw in (View(2, 3), np.random.default_rng(0)):
    assert clips.choose_frames(30, head, draw).tolist() == [0, 3, 6, 9]


@pytest.mark.parametrize('sampling', clips.SAMPLINGS)
@pytest.mark.parametrize('draw', [View(), View(2, 3), np.random.default_rng(0)])
def test_clips_that_are_too_short_stay_in_order(sampling, draw):
  chosen = clips.choose_frames(3, options(sampling=sampling, frames=16), draw)
  assert len(chosen) == 16
  assert chosen.min() >= 0 and chosen.max() <= 2
  assert (np.diff(chosen) >= 0).all()
  assert (clips.choose_frames(1, options(frames=16), draw) == 0).all()


def test_only_the_frames_needed_are_decoded(monkeypatch):
  decoded = []
  decode = clips.decode_picture
  monkeypatch.setattr(
    clips, 'decode_picture', lambda *a: decoded.append(1) or decode(*a)
  )
  clips.load_clip(record(frames=30), options(), View())
  assert len(decoded) == 4
  clips.load_clip(record(frames=2), options(), View())
  assert len(decoded) == 6


def test_the_square_around_the_face_is_cut():
  # The face is a blue square of 32 pixels at (30, 16).
  blue = clips.load_clip(record(), options(margin=1.0), View())['frames'][
    ..., 2
  ]
  assert blue[:, 1:-1, 1:-1].min() > 200
  wide = clips.load_clip(record(), options(margin=2.0), View())['frames'][
    ..., 2
  ]
  assert wide[:, 9:23, 9:23].min() > 200
  # Beyond the picture's right edge its last column is repeated.
  outside = np.delete(wide, np.s_[6:26], axis=1)
  assert outside.max() < 60


def test_without_a_margin_the_middle_of_the_picture_is_taken():
  clip = clips.load_clip(record(faces=False), options(margin=None), View())
  assert clip['has_video']
  blue = clip['frames'][0, :, :, 2]
  assert blue[16, 25] > 200 and blue[16, 5] < 60


def test_a_squeezed_picture_is_whole():
  picture = np.zeros((40, 80, 3), np.uint8)
  picture[:, :8], picture[:, 72:] = 255, 128
  stored = record(frames=1) | {
    'frames': [cv2.imencode('.png', picture)[1].tobytes()]
  }
  cut, squeezed = (
    clips.load_clip(stored, options(margin=None, **more), View())['frames'][0]
    for more in ({}, {'squeeze': True})
  )
  assert (cut == 0).all()
  assert squeezed.shape == (32, 32, 3)
  assert (squeezed[:, :3] == 255).all() and (squeezed[:, -3:] == 128).all()


def test_crops_follow_the_face_at_one_scale():
  box = np.zeros((5, 4), np.float32)
  box[:, 0] = [0, 10, 999, 30, 40]
  box[:, 2:] = [[10, 8], [12, 8], [999, 999], [11, 8], [10, 8]]
  face = np.array([1, 1, 0, 1, 1], np.uint8)
  centres, side = clips.follow_face(box, face, 2.0)
  assert side == 2 * 10.5
  np.testing.assert_allclose(centres[:, 0], [5, 16, 25.75, 35.5, 45])
  np.testing.assert_allclose(centres[:, 1], 4)


def test_cuts_at_fractions_of_a_pixel_do_not_shift():
  ramp = np.tile(np.arange(0, 240, 4, np.uint8), (60, 1))
  picture = np.stack([ramp] * 3, axis=-1)
  for centre, side in ((30.0, 20), (30.25, 20), (30.0, 40), (25.5, 50)):
    cut = clips.cut_square(picture, (centre, 30), side, 10).astype(float)
    # Pixel i shows the ramp at its own middle.
    middles = centre - side / 2 + (np.arange(10) + 0.5) * side / 10
    np.testing.assert_allclose(cut[5, :, 0], 4 * (middles - 0.5), atol=1.01)


def test_shrinking_averages_rather_than_skips():
  stripes = np.zeros((64, 64, 3), np.uint8)
  stripes[:, ::2] = 200
  cut = clips.cut_square(stripes, (32, 32), 64, 16)
  assert np.abs(cut.astype(int) - 100).max() <= 2


def test_missing_modalities_are_false_and_zero():
  for missing in ({'frames': 0}, {'faces': False}):
    clip = clips.load_clip(record(**missing), options(), View())
    assert not clip['has_video'] and clip['has_audio']
    assert not clip['frames'].any()
    assert clip['frames'].shape == (4, 32, 32, 3)
  clip = clips.load_clip(record(samples=0), options(), View())
  assert clip['has_video'] and not clip['has_audio']
  assert not clip['speech'].any() and clip['speech_length'] == 0


def test_modalities_not_in_use_are_left_out():
  clip = clips.load_clip(record(), options(use=('audio',)), View())
  assert set(clip) == {'speech', 'speech_length', 'has_video', 'has_audio'}
  assert not clip['has_video']
  clip = clips.load_clip(
    record(), options(use=('video',), seconds=None), View()
  )
  assert set(clip) == {'frames', 'has_video', 'has_audio'}


def start_of(clip, samples):
  whole = np.frombuffer(record(samples=samples)['speech'], '<i2')
  length = clip['speech_length']
  found = [
    start
    for start in range(0, samples - length + 1, 10)
    if np.array_equal(whole[start : start + length], clip['speech'][:length])
  ]
  return found


def test_short_speech_is_whole_and_padded():
  clip = clips.load_clip(record(samples=5000), options(), View())
  assert clip['speech'].shape == (8000,) and clip['speech_length'] == 5000
  assert clip['speech'][:5000].any() and not clip['speech'][5000:].any()


def make_ramp(samples, frames=30):
  made = record(frames=frames)
  made['speech'] = np.arange(samples, dtype='<i2').tobytes()
  return made


def test_long_speech_is_placed_by_view_or_at_random():
  ramp = make_ramp(16_000)
  starts = [
    clips.load_clip(ramp, options(), View(v, 3))['speech'][0] for v in range(3)
  ]
  assert starts == [0, 4000, 8000]
  assert clips.load_clip(ramp, options(), View())['speech'][0] == 4000
  rng = np.random.default_rng(0)
  drawn = [
    clips.load_clip(ramp, options(), rng)['speech'][0] for _ in range(60)
  ]
  assert min(drawn) < 1000 and max(drawn) > 7000 and max(drawn) <= 8000


def test_dense_speech_has_its_middle_at_the_frames_middle():
  ramp = make_ramp(19_200)
  ramp['start'] = np.float32(7)
  ramp['frame_time'] = ramp['frame_time'] + np.float32(7)
  dense = options(sampling='dense', stride=2, seconds=0.25)
  for draw in (View(), View(1, 3), np.random.default_rng(0)):
    clip = clips.load_clip(ramp, dense, draw)
    first = frames_seen(clip)[0]
    middle = (first + 3) / small_dataset.FPS * 16_000
    assert abs(int(clip['speech'][0]) + 2000 - middle) <= 1
  late = clips.load_clip(ramp, dense, View(2, 3))
  assert frames_seen(late)[-1] == 29 and late['speech_length'] == 4000


def test_damage_and_wrong_options_are_named():
  made = record()
  made['frames'][3] = made['frames'][3][:40]
  with pytest.raises(errors.AvemoError, match='clip_003'):
    clips.load_clip(made, options(frames=30), View())
  for wrong in (
    {'use': ('face',)},
    {'use': ()},
    {'sampling': 'random'},
    {'seconds': None},
    {'size': 0},
    {'squeeze': True},
  ):
    with pytest.raises(errors.AvemoError):
      options(**wrong)


def test_pictures_are_rgb():
  red = np.zeros((8, 8, 3), np.uint8)
  red[..., 0] = 250
  assert clips.decode_picture(small_dataset.encode(red))[4, 4, 0] > 200
  assert cv2.IMREAD_COLOR_RGB
