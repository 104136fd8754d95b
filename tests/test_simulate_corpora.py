"""Simulated eNTERFACE'05 and MSP-IMPROV: trees, names, containers, ratings."""

import collections

import av
import numpy as np
import pytest

from avemo import simulate
from avemo.corpora import enterface as enterface_names
from avemo.corpora import msp_improv as msp_improv_names
from avemo.simulate import (
  actor,
  bayes,
  choice,
  corpus,
  cues,
  enterface,
  msp_improv,
  msp_improv_ratings,
)

PARSERS = {enterface: enterface_names, msp_improv: msp_improv_names}


@pytest.mark.parametrize('room', PARSERS)
def test_every_simulated_name_is_one_of_the_corpus(room):
  for speaker in room.SPEAKERS:
    names = room.clip_names(speaker)
    assert len(set(names)) == len(names)
    for name in names:
      parsed = PARSERS[room].parse_name(name)
      assert (parsed.clip_id, parsed.speaker) == (name, speaker)
      assert room.describe(name)[0] == speaker
  for name in room.required_clips(True):
    assert PARSERS[room].parse_name(name).clip_id == name


def test_enterface_has_the_names_of_the_release():
  names = [n for s in enterface.SPEAKERS for n in enterface.clip_names(s)]
  published = [n for n in enterface_names.all_names() if 'sentence' in n]
  assert sorted(names) == published
  for name in names:
    parsed = enterface_names.parse_name(name)
    assert enterface.describe(name)[1] == parsed.emotion
    for layout in enterface.LAYOUTS:
      path = enterface.find_path(name, layout)
      assert enterface_names.parse_name(path).clip_id == name


def test_msp_improv_says_turn_kinds_and_scenes_as_the_corpus_does():
  names = [n for s in msp_improv.SPEAKERS for n in msp_improv.clip_names(s)]
  scenes = collections.defaultdict(set)
  for name in names:
    extra = msp_improv_names.parse_name(name).extra
    scenes[name.split('-')[3][0], extra['condition']].add(extra['scene'])
  assert scenes['F', 'target improvised'] == {'FM'}
  assert scenes['M', 'target improvised'] == {'MF'}
  assert scenes['F', 'target read'] == {'FF'}
  assert scenes['M', 'natural'] == {'FM', 'MF'}
  # The aim of the scene is not the label, but tells something of it.
  agree = [
    msp_improv.describe(n)[1] == msp_improv_names.parse_name(n).extra['target']
    for n in names
    if '-T-' in n
  ]
  assert 0.7 < np.mean(agree) < 0.95


def test_speakers_are_chosen_without_numbers():
  assert [actor.find_sex(s) for s in ('F01', 'M01', '7', '8')] == [
    'female', 'male', 'male', 'female',
  ]  # fmt: skip
  for count in range(1, 13):
    chosen = choice.choose_speakers(msp_improv.FOLDS, count, set())
    sessions = collections.Counter(s[1:] for s in chosen)
    assert len(sessions) == min(count, 6)
  four = choice.choose_speakers(msp_improv.FOLDS, 4, set())
  assert {s[0] for s in four} == {'F', 'M'}


def describe(path):
  with av.open(str(path)) as container:
    found = {}
    for stream in container.streams:
      context = stream.codec_context
      if stream.type == 'video':
        found['video'] = (context.width, context.height)
        found['fps'] = float(stream.average_rate)
      else:
        layout = context.layout.nb_channels
        found['audio'] = (context.name, context.sample_rate, layout)
    return found


def test_files_are_what_users_have(tiny_corpus):
  name, root, _ = tiny_corpus
  simulation = cues.load(root)
  if name == 'enterface':
    clip = 'subject_11/anger/sentence_1/s12_an_1'
    path = root / 'enterface database/subject 11/anger/sentence 1/s12_an_1.avi'
    assert clip in {c.clip_id for c in simulation.clips}
    assert describe(path) == {
      'video': (360, 288),
      'fps': 25,
      'audio': ('pcm_s16le', 48_000, 2),
    }
    with av.open(
      str(root / 'enterface database/subject 6/anger/s6_an.avi')
    ) as film:
      assert film.duration / 1e6 == pytest.approx(56, abs=1)
    for path in simulation.quirks:
      there = (root / path).exists()
      assert there != ('no film' in simulation.quirks[path]), path
    return
  folder = 'session3/S20H/R/MSP-IMPROV-S20H-M03-R-MM01'
  found = describe(root / f'Video/{folder}.avi')
  assert found['video'] == (480, 360) and found['fps'] == pytest.approx(
    30_000 / 1001
  )
  assert describe(root / f'Audio/{folder}.wav') == {
    'audio': ('pcm_s16le', 48_000, 1)
  }
  assert (root / 'Evalution.txt').exists()
  assert len(list(root.glob('Video/session1/S01A/T/UTD-*.avi'))) == 1


def test_ratings_agree_with_themselves(tmp_path):
  plan = corpus.plan('msp_improv', speakers=12, clips_per_speaker=8)
  path = tmp_path / 'Evaluation.txt'
  msp_improv_ratings.write(path, plan.clips, 0)
  ratings, faults = msp_improv_names.read_evaluation(path)
  assert faults == [] and len(ratings) == len(plan.clips)
  arousal = collections.defaultdict(list)
  for clip in plan.clips:
    rating = ratings[clip.clip_id]
    assert rating.consensus == clip.emotion
    for letter in msp_improv_names.DIMENSIONS:
      mean = np.mean([rater.values[letter] for rater in rating.raters])
      assert rating.means[letter] == pytest.approx(mean, abs=1e-6)
    arousal[clip.emotion].append(6 - rating.means['A'])
  # Anger is loud and sadness is not: stored the other way round.
  assert np.mean(arousal['anger']) > np.mean(arousal['sadness']) + 1


def test_turns_without_agreement_have_no_best_answer():
  plan = corpus.plan('msp_improv', speakers=1, clips_per_speaker=1, quirks=True)
  unlabelled = [clip.clip_id for clip in plan.clips if not clip.emotion]
  assert len(unlabelled) == 3
  labelled = [clip.clip_id for clip in plan.clips if clip.emotion]
  assert bayes.oracle(plan) == bayes.oracle(plan, labelled)


@pytest.mark.parametrize(
  ('name', 'layout', 'expected'),
  [
    ('enterface', 'renamed', 'subject_*/*/sentence_*/s*.avi'),
    ('msp_improv', 'together', 'session*/S*/*/MSP-*.*'),
  ],
)
def test_the_other_layout(tmp_path, name, layout, expected):
  root = simulate.simulate(
    name, tmp_path / 'out', speakers=1, clips_per_speaker=1, layout=layout,
    progress=False,
  )  # fmt: skip
  (clip,) = cues.load(root).clips
  assert len(list(root.glob(expected))) == (2 if name == 'msp_improv' else 1)
  (found,), faults = PARSERS[corpus.CORPORA[name]].scan(root)
  assert found.clip_id == clip.clip_id and faults == []
  if name == 'msp_improv':
    assert (root / 'Evaluation.txt').exists()
    assert found.emotion == clip.emotion
