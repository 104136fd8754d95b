"""Fewer faces are looked at where little changes, and never more than half."""

import numpy as np

from avemo.features import adaptive


def make_faces(levels):
  return np.stack([np.full((20, 20, 3), level, np.uint8) for level in levels])


def test_a_still_face_is_looked_at_every_half_second():
  times = np.arange(50) / 25
  chosen = adaptive.choose(make_faces([100] * 50), times, 0.01)
  np.testing.assert_allclose(np.flatnonzero(chosen), [0, 13, 26, 39])


def test_a_change_is_looked_at():
  levels = [100] * 5 + [120] * 5 + [121] * 5
  chosen = adaptive.choose(make_faces(levels), np.arange(15) / 100, 0.02)
  assert np.flatnonzero(chosen).tolist() == [0, 5]
  held = adaptive.find_held(chosen)
  assert held.tolist() == [0] * 5 + [1] * 10


def test_at_most_every_second_face_is_looked_at():
  rng = np.random.default_rng(0)
  faces = rng.integers(0, 256, (31, 16, 16, 3), dtype=np.uint8)
  chosen = adaptive.choose(faces, np.arange(31) / 30, 0.0)
  assert chosen.tolist() == [n % 2 == 0 for n in range(31)]
