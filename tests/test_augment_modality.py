"""Modality dropout never takes the only modality."""

import jax
import numpy as np
import pytest

from avemo import errors
from avemo.augment import modality

VIDEO = np.array([True, True, False, False] * 500)
AUDIO = np.array([True, False, True, False] * 500)


def test_only_one_of_two_is_dropped_at_the_asked_rates():
  video, audio = modality.modality_dropout(
    jax.random.key(0), VIDEO, AUDIO, video=0.3, audio=0.2
  )
  video, audio = np.asarray(video), np.asarray(audio)
  both = VIDEO & AUDIO
  np.testing.assert_array_equal(video[~both], VIDEO[~both])
  np.testing.assert_array_equal(audio[~both], AUDIO[~both])
  assert (video | audio)[both].all()
  assert abs((~video[both]).mean() - 0.3) < 0.06
  assert abs((~audio[both]).mean() - 0.2) < 0.06


def test_certain_dropout_leaves_the_other():
  video, audio = modality.modality_dropout(
    jax.random.key(0), VIDEO, AUDIO, video=1.0, audio=0.0
  )
  np.testing.assert_array_equal(video, VIDEO & ~AUDIO)
  np.testing.assert_array_equal(audio, AUDIO)


def test_impossible_probabilities_are_refused():
  with pytest.raises(errors.AvemoError, match='more than 1'):
    modality.modality_dropout(
      jax.random.key(0), VIDEO, AUDIO, video=0.6, audio=0.6
    )
