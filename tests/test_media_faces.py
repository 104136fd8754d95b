"""Finding, following and cutting faces."""

import os
import pathlib

import cv2
import numpy as np
import pytest

from avemo import errors
from avemo.media import crops, decode, faces, matching, tracking

WIDTH, HEIGHT = 240, 160


def make_texture(seed, side=40):
  """A patch that looks like no other, uint8 [side, side, 3]."""
  coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3))
  return cv2.resize(
    coarse.astype(np.uint8), (side, side), interpolation=cv2.INTER_CUBIC
  )


def make_picture(places, seeds, background=90):
  """Patches with their corners at the given places."""
  image = np.full((HEIGHT, WIDTH, 3), background, np.uint8)
  for (x, y), seed in zip(places, seeds, strict=True):
    patch = make_texture(seed)
    image[y : y + 40, x : x + 40] = patch[: HEIGHT - y, : WIDTH - x]
  return image


class TextureDetector:
  """Finds the known patches, save in calls where it is told to be blind."""

  def __init__(self, seeds, blind=(), jitter=0.0):
    self.seeds, self.blind, self.jitter = seeds, blind, jitter
    self.calls = 0
    self.rng = np.random.default_rng(0)

  def detect(self, image):
    self.calls += 1
    found = []
    for seed in self.seeds if self.calls - 1 not in self.blind else ():
      fit = cv2.matchTemplate(image, make_texture(seed), cv2.TM_CCOEFF_NORMED)
      _, best, _, (x, y) = cv2.minMaxLoc(fit)
      if best > 0.95:
        size = 40 + self.jitter * self.rng.standard_normal()
        box = np.float32([x + 20 - size / 2, y + 20 - size / 2, size, size])
        found.append(faces.Detection(box, best))
    return found


def centre(boxes):
  return boxes[..., :2] + boxes[..., 2:] / 2


def test_faces_are_followed_between_detections():
  places = [(20 + 3 * n, 30 + n) for n in range(40)]
  detector = TextureDetector([1])
  tracks = tracking.track_faces(
    (make_picture([place], [1]) for place in places), detector, every=5
  )
  assert len(tracks) == 1
  track = tracks[0]
  np.testing.assert_array_equal(track.frames, np.arange(40))
  assert detector.calls < 12 and track.detected.sum() == detector.calls
  error = centre(track.boxes) - (np.array(places) + 20)
  assert np.abs(error).max() < 2
  assert np.isnan(track.landmarks).all()


def test_several_people_stay_apart():
  """Two people pass each other, one far above the other."""
  one = [(10 + 4 * n, 20) for n in range(40)]
  two = [(180 - 4 * n, 100) for n in range(40)]
  pictures = (make_picture(pair, [1, 2]) for pair in zip(one, two, strict=True))
  tracks = tracking.track_faces(pictures, TextureDetector([1, 2]), every=5)
  assert [len(track.frames) for track in tracks] == [40, 40]
  for track, places in zip(
    sorted(tracks, key=lambda track: track.boxes[0, 1]), (one, two), strict=True
  ):
    assert np.abs(centre(track.boxes) - (np.array(places) + 20)).max() < 2


def test_boxes_are_smoothed():
  detector = TextureDetector([1], jitter=3.0)
  pictures = (make_picture([(100, 60)], [1]) for _ in range(60))
  track = tracking.track_faces(pictures, detector, every=1)[0]
  assert np.abs(np.diff(track.boxes[:, 2])).mean() < 0.4
  tracker = tracking.Tracker(TextureDetector([1], jitter=3.0), every=1)
  sizes = [
    tracker.update(make_picture([(100, 60)], [1]))[0].box[2] for _ in range(60)
  ]
  assert np.abs(np.diff(sizes)).mean() < 1.5  # 3.4 unsmoothed.
  assert np.mean(sizes) == pytest.approx(40, abs=1.5)


def test_a_missed_detection_does_not_break_a_track():
  detector = TextureDetector([1], blind=(3, 4))
  pictures = (make_picture([(100, 60)], [1]) for _ in range(40))
  tracks = tracking.track_faces(pictures, detector, every=5)
  assert [len(track.frames) for track in tracks] == [40]


def test_who_returns_after_a_moment_is_the_same_person():
  hidden = range(12, 18)
  pictures = (
    make_picture([] if n in hidden else [(100, 60)], [] if n in hidden else [1])
    for n in range(40)
  )
  tracks = tracking.track_faces(pictures, TextureDetector([1]), every=5)
  assert len(tracks) == 1
  assert not set(hidden) & set(tracks[0].frames.tolist())
  assert tracks[0].frames[-1] == 39


def test_behind_a_cut_stands_another_person():
  pictures = (
    make_picture([(100, 60)], [1 if n < 20 else 2]) for n in range(40)
  )
  tracks = tracking.track_faces(pictures, TextureDetector([1, 2]), every=5)
  assert len(tracks) == 2
  assert tracks[0].frames[-1] == 19
  assert tracks[1].frames[0] <= 21


def test_a_single_false_alarm_is_no_track():
  texture = make_texture(1)

  class Alarm:
    calls = 0

    def detect(self, image):
      self.calls += 1
      box = np.float32([10, 10, 40, 40])
      return [faces.Detection(box, 0.9)] if self.calls == 3 else []

  noise = np.tile(texture, (4, 6, 1))
  assert tracking.track_faces([noise] * 40, Alarm(), every=5) == []
  tracker = tracking.Tracker(Alarm(), every=5)
  confirmed = [
    face.confirmed for _ in range(40) for face in tracker.update(noise)
  ]
  assert confirmed and not any(confirmed) and len(confirmed) <= 15


def test_one_picture_is_enough_for_a_face_and_none_for_no_face():
  picture = make_picture([(100, 60)], [1])
  assert len(tracking.track_faces([picture], TextureDetector([1]))) == 1
  assert tracking.track_faces([], TextureDetector([1])) == []
  empty = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
  for detector in (faces.make_detector(), TextureDetector([1])):
    assert tracking.track_faces([empty] * 8, detector) == []
  assert tracking.main_track([], 0, 8) is None


def test_landmarks_move_with_the_face():
  class WithLandmarks(TextureDetector):
    def detect(self, image):
      return [
        face._replace(landmarks=centre(face.box) + np.float32([[0, 0]] * 5))
        for face in super().detect(image)
      ]

  places = [(20 + 3 * n, 40) for n in range(30)]
  track = tracking.track_faces(
    [make_picture([place], [1]) for place in places], WithLandmarks([1])
  )[0]
  np.testing.assert_allclose(
    track.landmarks[:, 2], centre(track.boxes), atol=1e-3
  )


def make_track(count, side, score=0.9):
  boxes = np.tile(np.float32([0, 0, side, side]), (count, 1))
  return tracking.Track(
    0,
    np.arange(count),
    boxes,
    np.full((count, 5, 2), np.nan, np.float32),
    np.ones(count, bool),
    np.full(count, score, np.float32),
  )


def test_the_main_face_is_long_in_the_picture_and_large():
  large, small, brief = (
    make_track(80, 60),
    make_track(100, 30),
    make_track(8, 200),
  )
  assert tracking.main_track([small, large, brief], 0, 100) is large
  assert tracking.main_track([small], 0, 100) is small
  assert tracking.main_track([brief], 0, 100) is None


def test_matching_finds_a_shift_below_a_pixel():
  rng = np.random.default_rng(0)
  grey = cv2.GaussianBlur(rng.integers(0, 256, (200, 300), np.uint8), (0, 0), 5)
  grey = cv2.normalize(grey, None, 0, 255, cv2.NORM_MINMAX)
  box = np.float32([100, 60, 80, 80])
  for shift in ((0, 0), (5, -3), (-12.5, 7.25)):
    moved = cv2.warpAffine(
      grey, np.float64([[1, 0, shift[0]], [0, 1, shift[1]]]), (300, 200)
    )
    found, fit = matching.match(grey, moved, box)
    np.testing.assert_allclose(found, shift, atol=0.6)
    assert fit > 0.95
  assert matching.match(grey, grey, np.float32([-90, 0, 80, 80]))[1] == -1


def test_overlap_of_boxes():
  box = np.float32([0, 0, 10, 10])
  assert matching.overlap(box, box) == 1
  assert matching.overlap(box, np.float32([5, 0, 10, 10])) == pytest.approx(
    1 / 3
  )
  assert matching.overlap(box, np.float32([20, 0, 5, 5])) == 0
  assert matching.overlap(box * 0, box * 0) == 0


# --- crops ---------------------------------------------------------------


def test_crops_hold_the_face_and_its_margin():
  image = make_picture([(100, 60)], [1])
  crop, box, landmarks = crops.crop_face(
    image, np.float32([100, 60, 40, 40]), margin=1.5
  )
  assert crop.shape == (60, 60, 3) and landmarks is None
  np.testing.assert_allclose(box, [10, 10, 40, 40])
  np.testing.assert_array_equal(crop[10:50, 10:50], make_texture(1))
  assert (crop[:10] == 90).all()


def test_crops_over_the_border_are_padded_with_black():
  image = make_picture([(0, 0)], [1])
  crop, box, _ = crops.crop_face(image, np.float32([0, 0, 40, 40]), margin=2)
  assert crop.shape == (80, 80, 3)
  assert not crop[:20].any() and not crop[:, :20].any()
  np.testing.assert_array_equal(crop[20:60, 20:60], make_texture(1))
  np.testing.assert_allclose(box, [20, 20, 40, 40])
  outside, _, _ = crops.crop_face(image, np.float32([900, 900, 40, 40]))
  assert not outside.any()


def test_crops_are_scaled_with_what_is_in_them():
  image = make_picture([(100, 60)], [1])
  points = np.float32([[110, 70], [130, 70], [120, 80], [112, 90], [128, 90]])
  box = np.float32([100, 60, 40, 40])
  crop, new_box, found = crops.crop_face(
    image, box, margin=1.5, size=120, landmarks=points
  )
  assert crop.shape == (120, 120, 3)
  np.testing.assert_allclose(new_box, [20, 20, 80, 80])
  np.testing.assert_allclose(found, (points - [90, 50]) * 2, atol=1e-4)
  assert crops.crop_face(image, box, max_side=30)[0].shape == (30, 30, 3)
  assert crops.crop_face(image, box, max_side=300)[0].shape == (60, 60, 3)


@pytest.mark.parametrize('degrees', [-40, 25, 90])
def test_aligned_crops_have_level_eyes(degrees):
  image = make_picture([], [])
  middle, radius = np.float64([120, 80]), 12
  turn = np.radians(degrees)
  arm = radius * np.array([np.cos(turn), np.sin(turn)])
  right, left = middle - arm, middle + arm
  for eye, colour in ((right, (255, 0, 0)), (left, (0, 0, 255))):
    cv2.circle(image, np.round(eye).astype(int).tolist(), 3, colour, -1)
  points = np.float32([right, left, middle, middle, middle])
  crop, _, found = crops.crop_face(
    image, np.float32([90, 50, 60, 60]), landmarks=points, align=True
  )
  np.testing.assert_allclose(found[0, 1], found[1, 1], atol=1e-3)
  np.testing.assert_allclose(found[2], [45, 45], atol=1e-3)
  for point, channel in ((found[0], 0), (found[1], 2)):
    x, y = np.round(point).astype(int)
    assert crop[y, x, channel] > 200 and crop[y, x, 2 - channel] < 60
  unknown = np.full((5, 2), np.nan, np.float32)
  crop, _, _ = crops.crop_face(
    image, np.float32([90, 50, 60, 60]), landmarks=unknown, align=True
  )
  assert crop.shape == (90, 90, 3)


# --- detectors -----------------------------------------------------------


def test_bad_face_models_give_one_clear_line(tmp_path):
  with pytest.raises(errors.MediaError, match='no such face model'):
    faces.make_detector(tmp_path / 'absent.onnx')
  (tmp_path / 'text.onnx').write_text('not a network')
  with pytest.raises(errors.MediaError, match='not a YuNet'):
    faces.make_detector(tmp_path / 'text.onnx')


def test_tiny_pictures_hold_no_face():
  for side in (1, 8, 23):
    image = np.zeros((side, side, 3), np.uint8)
    assert faces.make_detector().detect(image) == []


needs_real_data = pytest.mark.skipif(
  not os.environ.get('AVEMO_REAL_DATA'),
  reason='AVEMO_REAL_DATA does not name a folder of real recordings',
)


@needs_real_data
@pytest.mark.parametrize('model', [None, 'face_detection_yunet_2026may.onnx'])
def test_real_films_have_the_faces_that_are_in_them(model):
  folder = pathlib.Path(os.environ['AVEMO_REAL_DATA']) / 'video'
  detector = faces.make_detector(model and folder / model)
  images = [f.image for f in decode.read_frames(folder / 'single_face.mp4')]
  tracks = tracking.track_faces(images, detector)
  assert len(tracks) == 1 and len(tracks[0].frames) == len(images)
  # The middle of the face is read off the pictures by eye.
  assert np.abs(centre(tracks[0].boxes) - [292, 180]).max() < 25
  assert np.isfinite(tracks[0].landmarks).all() == (model is not None)
  for frame in (10, 37, 68):
    detected = detector.detect(images[frame])[0].box
    assert matching.overlap(tracks[0].boxes[frame], detected) > 0.85
  empty = (f.image for f in decode.read_frames(folder / 'no_face.mp4'))
  assert tracking.track_faces(empty, detector) == []
