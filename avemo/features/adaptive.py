"""An adaptive frame rate: fewer faces are looked at where little changes."""

import cv2
import numpy as np

# Side of the grey pictures that are compared, in pixels.
_SIDE = 16

# At most every second frame is looked at, and after so many seconds one is.
STEP, LONGEST = 2, 0.5


def choose(
  faces: np.ndarray, times: np.ndarray, threshold: float
) -> np.ndarray:
  """Which faces to look at; the others are taken for the one looked at before.

  A face is looked at where it differs from that one by more than `threshold`,
  or where that one is `LONGEST` seconds old, and never one right after another:
  of n faces at most (n + 1) / 2 are, whatever moves.

  Args:
    faces: uint8 [n, H, W, 3], cut alike.
    times: seconds, rising, [n].
    threshold: mean difference of grey, of 0 to 1; 0 looks at every second.

  Returns:
    bool [n].
  """
  chosen = np.zeros(len(faces), bool)
  last, kept = None, None
  for number, face in enumerate(faces):
    grey = shrink(face)
    if last is not None:
      if number - last < STEP:
        continue
      is_old = times[number] - times[last] >= LONGEST - 1e-6
      if not is_old and np.abs(grey - kept).mean() <= threshold:
        continue
    chosen[number] = True
    last, kept = number, grey
  return chosen


def shrink(face: np.ndarray) -> np.ndarray:
  """A face, uint8 [H, W, 3], as a small grey picture in [0, 1]."""
  grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)
  small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
  return small.astype(np.float32) / 255


def find_held(chosen: np.ndarray) -> np.ndarray:
  """For each face the number of the one that it is taken for, int [n].

  Numbers count the faces looked at alone.
  """
  return np.cumsum(chosen) - 1
