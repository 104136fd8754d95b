"""What is taken away or added before a test, and what is left as it was."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from avemo import errors
from avemo.evaluate import conditions


def make_batch(rows=4, samples=800, seed=0):
  rng = np.random.default_rng(seed)
  return {
    'frames': rng.integers(1, 255, (rows, 2, 4, 4, 3), np.uint8),
    'speech': rng.integers(-3000, 3000, (rows, samples)).astype(np.int16),
    'speech_length': np.array([samples, samples // 2, 1, 0][:rows], np.int32),
    'has_video': np.ones(rows, bool),
    'has_audio': np.array([True, True, True, False][:rows]),
    'record': np.arange(rows),
    'view': np.zeros(rows, np.int64),
  }


@pytest.mark.parametrize('without, array', [('video', 'frames'),
                                            ('audio', 'speech')])  # fmt: skip
def test_a_modality_is_gone_and_the_other_untouched(without, array):
  batch = make_batch()
  found = conditions.Condition(without).apply(batch)
  assert not found[array].any() and not found[f'has_{without}'].any()
  (other,) = {'frames', 'speech'} - {array}
  np.testing.assert_array_equal(found[other], batch[other])
  assert batch[array].any() and batch[f'has_{without}'].any()


@hypothesis.settings(max_examples=30, deadline=None)
@hypothesis.given(
  strategies.floats(-10, 30),
  strategies.sampled_from(conditions.NOISES),
  strategies.integers(0, 99),
)
def test_the_ratio_is_the_one_asked_for(snr, noise, seed):
  rng = np.random.default_rng(seed)
  speech = 400 * np.sin(np.arange(4000) / rng.uniform(2, 30))
  speech = speech.astype(np.int16)
  found = conditions.add_noise(speech, snr, noise, rng)
  added = found.astype(float) - speech
  measured = 10 * np.log10(np.mean(speech**2.0) / np.mean(added**2))
  assert measured == pytest.approx(snr, abs=0.05)


def test_loud_speech_becomes_quieter_and_keeps_the_ratio():
  speech = (30_000 * np.sin(np.arange(16_000) / 9)).astype(np.int16)
  quiet, loud = (
    conditions.add_noise(s, -3, 'white', np.random.default_rng(0))
    for s in (speech // 16, speech)
  )
  assert np.abs(loud.astype(int)).max() == 32_767
  share = loud.std() / quiet.std()
  assert 1 < share < 16
  np.testing.assert_allclose(loud / share, quiet, atol=2)


def test_pink_noise_is_as_strong_in_every_octave():
  speech = np.full(64_000, 1000, np.int16)
  noise = conditions.add_noise(speech, 0, 'pink', np.random.default_rng(0))
  power = np.abs(np.fft.rfft(noise - noise.mean())) ** 2
  octaves = [power[400 * 2**k : 800 * 2**k].sum() for k in range(5)]
  assert max(octaves) / min(octaves) < 1.4


def test_noise_follows_the_record_whatever_the_batch():
  batch, condition = make_batch(), conditions.Condition(snr=5)
  found = condition.apply(batch)
  rows = {name: value[1:2] for name, value in batch.items()}
  alone = condition.apply(rows)
  np.testing.assert_array_equal(alone['speech'][0], found['speech'][1])
  assert (found['speech'][0] != batch['speech'][0]).any()
  # Beyond its end and where there is none a clip stays silent.
  np.testing.assert_array_equal(
    found['speech'][1, 400:], batch['speech'][1, 400:]
  )
  np.testing.assert_array_equal(found['speech'][3], batch['speech'][3])
  silent = np.zeros(50, np.int16)
  rng = np.random.default_rng(0)
  assert not conditions.add_noise(silent, 0, 'white', rng).any()


def test_features_in_place_of_inputs_are_refused():
  batch = {'audio_feature': np.zeros((1, 4)), 'has_audio': np.ones(1, bool)}
  for condition in (conditions.Condition('audio'), conditions.Condition(snr=1)):
    with pytest.raises(errors.AvemoError, match='cached'):
      condition.apply(batch)


def test_names_are_never_those_of_clean_scores():
  names = {
    conditions.Condition(): '',
    conditions.Condition('audio'): 'without-audio',
    conditions.Condition(snr=10): 'snr-10db',
    conditions.Condition(snr=-2.5, noise='pink'): 'snr-minus-2.5db-pink',
    conditions.Condition('video', 0): 'without-video-snr-0db',
    conditions.Condition(adaptive=0.01): 'adaptive-0.01',
  }
  assert {condition: condition.name for condition in names} == names


@pytest.mark.parametrize(
  'options, use, words',
  [
    ({'without': 'sound'}, ('video',), 'video, audio'),
    ({'snr': 1, 'noise': 'brown'}, ('audio',), 'white, pink'),
    ({'snr': 1000}, ('audio',), 'decibels'),
    ({'adaptive': 2}, ('video',), '0 to 1'),
    ({'without': 'audio', 'snr': 3}, ('video', 'audio'), 'no sound'),
    ({'without': 'audio'}, ('audio',), 'nothing else'),
    ({'without': 'audio'}, ('video',), 'uses video alone'),
    ({'snr': 3}, ('video',), 'does not listen'),
  ],
)
def test_what_makes_no_sense_is_said(options, use, words):
  with pytest.raises(errors.AvemoError, match=words):
    conditions.Condition(**options).check(use)
