"""Cues, their probabilities, and the best score they allow."""

import collections
import dataclasses
import itertools

import numpy as np
import pytest

from avemo import errors
from avemo.simulate import bayes, corpus, cues


def make(emotions, voice, face, seed=0, count=1):
  clips = [
    cues.draw(
      f'{emotion}-{number}',
      speaker='1',
      emotion=emotion,
      intensity='XX',
      seed=seed,
      voice_evidence=voice,
      face_evidence=face,
    )
    for emotion in emotions
    for number in range(count)
  ]
  return cues.Simulation(
    'crema_d', 1, seed, tuple(emotions), voice, face, {}, tuple(clips), {}, {}
  )


SIX = ('anger', 'disgust', 'fear', 'happiness', 'neutral', 'sadness')


def best_by_enumeration(emotions, voice, face):
  """Highest UAR of any rule: each pair of cues goes to its likeliest class."""

  def chances(emotion, evidence):
    if emotion == 'neutral':
      return {'flat': 1.0}
    return {'flat': 1 - evidence, emotion: evidence}

  both = collections.defaultdict(list)
  single = {0: collections.defaultdict(list), 1: collections.defaultdict(list)}
  for emotion in emotions:
    voices, faces = chances(emotion, voice), chances(emotion, face)
    for pair in itertools.product(voices, faces):
      both[pair].append(voices[pair[0]] * faces[pair[1]])
    for number, table in enumerate((voices, faces)):
      for cue, chance in table.items():
        single[number][cue].append(chance)
  return [
    sum(max(values) for values in table.values()) / len(emotions)
    for table in (single[0], single[1], both)
  ]


def expect(emotions, voice, face):
  """The oracle's UAR before the cues are drawn: its mean over all draws."""
  simulation = make(emotions, voice, face)
  known = ('flat', *(e for e in emotions if e != 'neutral'))
  scores = {}
  for modality in bayes.MODALITIES:
    recall = np.zeros(len(emotions))
    for heard, seen in itertools.product(known, known):
      decision = bayes.decide(simulation, heard, seen, modality)
      chances = bayes.likelihood(heard, emotions, voice)
      chances = chances * bayes.likelihood(seen, emotions, face)
      recall[decision] += chances[decision]
    scores[modality] = recall.mean()
  return scores


@pytest.mark.parametrize('voice', [0.0, 0.3, 0.65, 1.0])
@pytest.mark.parametrize('face', [0.2, 0.65])
@pytest.mark.parametrize('emotions', [SIX, (*SIX, 'calm', 'surprise')])
def test_no_rule_beats_the_oracle(emotions, voice, face):
  scores = expect(emotions, voice, face)
  best = best_by_enumeration(emotions, voice, face)
  np.testing.assert_allclose(
    [scores['audio'], scores['video'], scores['both']], best, atol=1e-12
  )


def test_realised_oracle_agrees_with_its_expectation():
  simulation = make(SIX, 0.65, 0.65, count=2000)
  realised, expected = bayes.oracle(simulation), expect(SIX, 0.65, 0.65)
  assert expected['audio'] == pytest.approx((1 + 5 * 0.65) / 6)
  assert expected['both'] == pytest.approx((1 + 5 * (1 - 0.35**2)) / 6)
  for modality in bayes.MODALITIES:
    assert realised[modality] == pytest.approx(expected[modality], abs=0.01)


def test_a_voice_without_evidence_leaves_chance_and_adds_nothing():
  simulation = make(SIX, 0.0, 0.65, count=50)
  assert {clip.voice for clip in simulation.clips} == {'flat'}
  scores = bayes.oracle(simulation)
  assert scores['audio'] == pytest.approx(1 / 6)
  assert scores['both'] == scores['video']


def test_cues_come_with_the_stated_probabilities_and_independently():
  simulation = make(('anger', 'neutral'), 0.7, 0.4, count=4000)
  angry = [c for c in simulation.clips if c.emotion == 'anger']
  voice = np.array([c.voice == 'anger' for c in angry])
  face = np.array([c.face == 'anger' for c in angry])
  assert voice.mean() == pytest.approx(0.7, abs=0.03)
  assert face.mean() == pytest.approx(0.4, abs=0.03)
  assert (voice & face).mean() == pytest.approx(0.28, abs=0.03)
  calm = [c for c in simulation.clips if c.emotion == 'neutral']
  assert {(c.voice, c.face) for c in calm} == {('flat', 'flat')}


def test_less_evidence_takes_cues_away_and_changes_nothing_else():
  more, less = make(SIX, 0.8, 0.5, count=30), make(SIX, 0.3, 0.5, count=30)
  for a, b in zip(more.clips, less.clips, strict=True):
    assert dataclasses.replace(a, voice=b.voice) == b
    assert b.voice in ('flat', a.voice)


def test_missing_modality_says_nothing():
  simulation = make(SIX, 0.65, 0.65, count=20)
  blind = dataclasses.replace(
    simulation,
    clips=tuple(
      dataclasses.replace(clip, face=cues.MISSING) for clip in simulation.clips
    ),
  )
  scores = bayes.oracle(blind)
  assert scores['both'] == bayes.oracle(simulation)['audio']
  assert scores['video'] == pytest.approx(1 / 6)


def test_oracle_of_some_clips_and_of_unknown_ones():
  simulation = make(SIX, 0.65, 0.65, count=20)
  shown = [c.clip_id for c in simulation.clips if c.voice != 'flat']
  neutral = [c.clip_id for c in simulation.clips if c.emotion == 'neutral']
  assert bayes.oracle(simulation, shown + neutral)['audio'] == 1
  with pytest.raises(errors.AvemoError, match='no such clip'):
    bayes.oracle(simulation, ['elsewhere'])


def test_cues_survive_the_file(tmp_path):
  simulation = corpus.plan('crema_d', speakers=2, clips_per_speaker=6)
  cues.save(simulation, tmp_path)
  assert cues.load(tmp_path).clips == simulation.clips
  assert bayes.oracle(tmp_path) == bayes.oracle(simulation)


def test_absent_or_foreign_cues_are_one_clear_line(tmp_path):
  with pytest.raises(errors.AvemoError, match='simulation.json'):
    bayes.oracle(tmp_path)
  (tmp_path / 'simulation.json').write_text('{"clips": [1]}')
  with pytest.raises(errors.AvemoError, match='not a description'):
    bayes.oracle(tmp_path)
