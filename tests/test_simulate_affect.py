"""Valence and arousal of simulated clips: from what is shown, for prepare."""

import csv

import numpy as np
import pytest

from avemo import errors
from avemo.corpora import given_rows
from avemo.data import schema
from avemo.metrics import regression
from avemo.simulate import affect, corpus, cues


def draw(name):
  options = {'videos': 9} if name == 'mafw' else {'speakers': 4}
  return corpus.plan(name, **options)


def test_the_values_are_of_what_is_shown_not_of_the_class():
  clips = draw('crema_d').clips
  shown = np.array([affect.find_shown(clip) for clip in clips])
  said = np.array([affect.rate(clip, 0) for clip in clips])
  assert np.abs(said).max() <= 1
  for column in (0, 1):
    assert 0.9 < regression.ccc(said[:, column], shown[:, column]) < 0.99
  flat = np.array([c.face == c.voice == cues.FLAT for c in clips])
  classes = {clip.emotion for clip in np.array(clips, object)[flat]}
  assert len(classes) == 6 and not shown[flat].any()
  # The face tells more of the valence, the voice of the arousal.
  angry = {c.clip_id: c for c in clips if c.emotion == 'anger'}.values()
  face = [c for c in angry if (c.face, c.voice) == ('anger', cues.FLAT)]
  voice = [c for c in angry if (c.face, c.voice) == (cues.FLAT, 'anger')]
  face, voice = (affect.find_shown(group[0]) for group in (face, voice))
  assert face[0] < voice[0] and face[1] < voice[1]
  gone = cues.Clip('x', 's', 'anger', 'XX', '', '', 1.0, 1.0)
  assert np.isnan(affect.find_shown(gone)).all()


@pytest.mark.parametrize('name', ['crema_d', 'ravdess', 'enterface', 'mafw'])
def test_every_emotion_has_a_place_and_every_row_is_read(name, tmp_path):
  simulation = draw(name)
  assert set(simulation.emotions) <= affect.PLACES.keys()
  path = affect.write(tmp_path, simulation)
  rows, faults = given_rows.read(path, 'clip_id', ('valence', 'arousal'))
  assert len(rows) == len(simulation.clips) and not faults
  assert all(len(row.values) == 2 for row in rows)


def test_rows_name_the_clips_of_the_dataset(
  tiny_crema_d, tiny_crema_d_dataset, tmp_path
):
  path = affect.write(tmp_path, cues.load(tiny_crema_d))
  with path.open() as file:
    names = {row['clip_id'] for row in csv.DictReader(file)}
  index = schema.open_dataset('crema_d_av', tiny_crema_d_dataset).index
  assert names >= set(index['clip_id'])


def test_corpora_with_values_of_their_own_are_refused(tmp_path):
  with pytest.raises(errors.AvemoError, match='leave --affect out'):
    corpus.simulate('aff_wild2', tmp_path / 'x', videos=1, affect=True)
  assert not (tmp_path / 'x').exists()
