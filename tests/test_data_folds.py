"""Folds as rows of an index."""

import numpy as np
import pytest
import small_run

from avemo import errors
from avemo.data import folds

NAME = 'crema_d_hicmae_5fold'


def test_a_fold_divides_the_records_by_speaker():
  dataset = small_run.make_dataset()
  split = folds.find_split(dataset, NAME, 1)
  rows = [split.get(name) for name in folds.SPLITS]
  assert sorted(np.concatenate(rows)) == list(range(30))
  # Speakers come in turn, one of each fold; validation is the next fold.
  assert set(split.test % 5) == {1} and set(split.val % 5) == {2}
  with pytest.raises(errors.AvemoError, match='train, val, test'):
    split.get('dev')


def test_all_segments_of_a_clip_lie_together():
  dataset = small_run.make_dataset()
  clip_id = dataset.index['clip_id'].copy()
  clip_id[5] = clip_id[0]
  dataset.index['clip_id'] = clip_id
  assert len(folds.make_rows(dataset.index)) == 29
  assert {0, 5} <= set(folds.find_split(dataset, NAME, 0).test)


def test_identical_sound_is_found_in_any_segment():
  dataset = small_run.make_dataset()
  clip_id = dataset.index['clip_id'].copy()
  sounds = dataset.index['audio_sha256'].copy()
  # The second segment of clip 0 sounds like clip 27, of another fold.
  clip_id[5], sounds[5] = clip_id[0], '27'
  dataset.index |= {'clip_id': clip_id, 'audio_sha256': sounds}
  assert folds.make_rows(dataset.index)[0].audio_sha256 == {'0', '27'}
  with pytest.raises(errors.AvemoError, match='identical sound'):
    folds.find_split(dataset, NAME, 0)


def test_missing_sound_is_no_identical_sound():
  dataset = small_run.make_dataset()
  dataset.index['audio_sha256'][:] = ''
  assert not any(r.audio_sha256 for r in folds.make_rows(dataset.index))
  folds.find_split(dataset, NAME, 0)
