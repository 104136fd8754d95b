"""What simulated speakers look and sound like."""

import dataclasses
import fractions

import cv2
import numpy as np
import pytest

from avemo.simulate import (
  actor,
  cues,
  drawing,
  motion,
  prosody,
  trajectory,
  voice,
)

FPS = fractions.Fraction(30_000, 1001)
EMOTIONS = tuple(pose for pose in motion.POSES if pose != 'flat')


def make_clip(
  voice='flat', face='flat', emotion='anger', name='x', seconds=1.4
):
  return cues.Clip(name, '7', emotion, 'XX', voice, face, 1.0, seconds)


def make_actor(speaker='7', sex='male', seed=0):
  traits = actor.draw_traits(speaker, sex, seed)
  return actor.Actor(speaker, traits, seed=seed, size=(480, 360), fps=FPS)


def perform(performer, clip):
  frames, speech = performer.perform(clip)
  return np.stack(list(frames)), speech


def test_profiles_and_poses_cover_the_same_emotions():
  assert set(prosody.PROFILES) == set(motion.POSES)
  for pose in motion.POSES.values():
    assert set(pose) <= set(motion.UNITS + motion.HEAD)


def test_default_detector_finds_the_face_in_98_percent_of_frames():
  cascade = cv2.CascadeClassifier(
    cv2.data.haarcascades + 'haarcascade_frontalface_default.xml'
  )
  found = total = 0
  for number in range(8):
    sex = ('male', 'female')[number % 2]
    look = actor.draw_traits(str(number), sex, 5).look
    rng = np.random.default_rng(number)
    artist = drawing.Artist(look, (480, 360), rng)
    for emotion in motion.POSES:
      syllables = prosody.draw_syllables(2.0, 4.5, rng)
      course = motion.move(syllables, emotion, 1.1, 1.0, rng)
      for frame in artist.frames(course, rng):
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        found += len(cascade.detectMultiScale(grey, 1.1, 5)) == 1
        total += 1
  assert total == 16 * len(motion.POSES)
  assert found / total >= 0.98


def test_same_seed_same_pixels_and_samples_whatever_came_before():
  clip = make_clip('fear', 'disgust')
  fresh, used = make_actor(), make_actor()
  perform(used, make_clip(face='surprise', name='another'))
  for a, b in zip(perform(fresh, clip), perform(used, clip), strict=True):
    np.testing.assert_array_equal(a, b)
  other, _ = perform(make_actor(seed=1), clip)
  assert (other[0] != perform(fresh, clip)[0][0]).mean() > 0.5


def test_a_flat_clip_does_not_know_its_class():
  performer = make_actor()
  angry = perform(performer, make_clip(emotion='anger'))
  neutral = perform(performer, make_clip(emotion='neutral'))
  for a, b in zip(angry, neutral, strict=True):
    np.testing.assert_array_equal(a, b)


def test_neither_modality_betrays_the_cue_of_the_other():
  performer = make_actor()
  frames, speech = perform(performer, make_clip())
  frames_loud, speech_loud = perform(performer, make_clip(voice='anger'))
  frames_face, speech_face = perform(performer, make_clip(face='anger'))
  np.testing.assert_array_equal(frames, frames_loud)
  np.testing.assert_array_equal(speech, speech_face)
  assert np.abs(speech_loud - speech).max() > 0.1
  difference = np.abs(frames_face.astype(int) - frames).mean((1, 2, 3))
  assert difference[len(frames) // 2] > 1


def test_expressions_come_and_are_distinct_at_the_apex():
  def units(emotion):
    rng = np.random.default_rng(0)
    syllables = prosody.draw_syllables(2.0, 4.0, np.random.default_rng(1))
    return motion.move(syllables, emotion, 1.0, 30.0, rng).units

  flat = units('flat')
  apex = {emotion: units(emotion)[30] - flat[30] for emotion in EMOTIONS}
  for emotion in EMOTIONS:
    assert np.abs(units(emotion)[0] - flat[0]).max() < 0.3
    assert np.abs(apex[emotion]).max() > 0.3
  for a in EMOTIONS:
    for b in EMOTIONS:
      if a != b:
        assert np.linalg.norm(apex[a] - apex[b]) > 0.5, (a, b)


def test_talking_opens_the_mouth_with_the_voice():
  syllables = prosody.draw_syllables(2.5, 4.0, np.random.default_rng(2))
  timbre = voice.draw_timbre('male', np.random.default_rng(0))
  flat = prosody.PROFILES['flat']
  rng = np.random.default_rng(3)
  speech = voice.synthesise(syllables, timbre, flat, rng)
  course = motion.move(syllables, 'flat', 1.0, 30.0, rng)
  part = course.units[:, motion.UNITS.index('lips_part')]
  frames = speech[: len(speech) // len(part) * len(part)]
  loudness = np.sqrt((frames.reshape(len(part), -1) ** 2).mean(1))
  assert np.corrcoef(part, loudness)[0, 1] > 0.5


def estimate_pitch(speech):
  """Median F0 in Hz of the loud parts, from the autocorrelation."""
  pitches = []
  for start in range(0, len(speech) - 1024, 512):
    frame = speech[start : start + 1024]
    if np.sqrt(np.mean(frame**2)) < 0.7 * np.sqrt(np.mean(speech**2)):
      continue
    spectrum = np.abs(np.fft.rfft(frame * np.hanning(1024), 4096)) ** 2
    lags = np.fft.irfft(spectrum)[: 16_000 // 60]
    pitches.append(16_000 / (16_000 // 500 + np.argmax(lags[16_000 // 500 :])))
  return np.median(pitches)


@pytest.mark.parametrize('pitch', [110.0, 210.0])
def test_voice_has_the_pitch_and_level_of_speaker_and_manner(pitch):
  timbre = dataclasses.replace(
    voice.draw_timbre('male', np.random.default_rng(0)),
    pitch=pitch, span=0.2, level=0.0,
  )  # fmt: skip
  syllables = prosody.draw_syllables(2.2, 4.0, np.random.default_rng(1))

  def speak(**manner):
    profile = prosody.Profile(**manner)
    rng = np.random.default_rng(2)
    return voice.synthesise(syllables, timbre, profile, rng)

  flat = speak()
  assert flat.dtype == np.float32
  assert len(flat) == 35_200
  assert estimate_pitch(flat) == pytest.approx(pitch, rel=0.06)
  assert estimate_pitch(speak(pitch=7.0)) == pytest.approx(
    pitch * 2 ** (7 / 12), rel=0.06
  )

  def level(speech):
    return 10 * np.log10(np.mean(speech.astype(float) ** 2))

  assert level(speak(energy=-6.0)) - level(flat) == pytest.approx(-6, abs=0.6)
  assert np.abs(speak(energy=12.0)).max() <= 0.95

  def centroid(speech):
    power = np.abs(np.fft.rfft(speech)) ** 2
    return (power * np.arange(len(power))).sum() / power.sum()

  assert centroid(speak(tilt=5.0)) > 1.2 * centroid(flat)
  assert centroid(speak(tilt=-5.0)) < 0.9 * centroid(flat)


def test_labels_drawn_anew_tell_nothing_of_the_next_frame():
  performer = make_actor()
  _, _, labels = trajectory.perform(performer, 'a', 1.5, redraw=True)
  weights = np.eye(len(trajectory.EXPRESSIONS))[labels.expression]
  np.testing.assert_array_equal(labels.affect, weights @ trajectory._ANCHORS)
  _, _, usual = trajectory.perform(performer, 'a', 1.5)
  assert len(np.unique(usual.affect, axis=0)) == len(usual.affect)
