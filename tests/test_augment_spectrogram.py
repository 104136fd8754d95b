"""SpecAugment's stripes: number, width, place, and the valid frames."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from avemo.augment import spectrogram

VALID = np.array([60, 30, 4, 0] * 200, np.int32)
ONES = jnp.ones((800, 60, 24))


def apply(valid=VALID, seed=0, values=ONES, **options):
  function = functools.partial(spectrogram.spec_augment, **options)
  return np.asarray(jax.jit(function)(jax.random.key(seed), values, valid))


def count_runs(hidden):
  return np.sum(np.diff(np.r_[False, hidden, False].astype(int)) == 1)


def test_time_stripes_lie_in_the_valid_frames():
  out = apply(
    time_masks=2, time_width=10, time_part=0.3, frequency_masks=0, fill=-1.0
  )
  hidden = out == -1
  assert (hidden.all(2) == hidden.any(2)).all()
  hidden = hidden[:, :, 0]
  for row, valid in zip(hidden, VALID, strict=True):
    assert not row[valid:].any()
    assert count_runs(row) <= 2
    assert row.sum() <= 2 * min(10, int(0.3 * valid))
  assert len({row.tobytes() for row in hidden[VALID == 60]}) > 5
  # Stripes reach both ends.
  assert hidden[VALID == 60].any(0).all()


def test_frequency_stripes():
  out = apply(time_masks=0, frequency_masks=1, frequency_width=6)
  hidden = out == 0
  assert (hidden.all(1) == hidden.any(1)).all()
  widths = hidden[:, 0].sum(1)
  assert widths.min() >= 0 and widths.max() <= 6 and widths.max() >= 5
  assert all(count_runs(row) <= 1 for row in hidden[:, 0])


def test_without_lengths_all_frames_count_and_probability_holds():
  out = apply(None, time_width=60, time_part=1.0, frequency_masks=0)
  assert (out[:, 50:] == 0).any()
  np.testing.assert_array_equal(apply(probability=0.0), ONES)
  half = apply(probability=0.5, seed=3, frequency_width=20)
  untouched = (half == 1).all((1, 2)).mean()
  assert 0.25 < untouched < 0.75


def test_type_stays():
  out = apply(values=ONES.astype(jnp.bfloat16))
  assert out.dtype == jnp.bfloat16
