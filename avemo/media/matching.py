"""Comparing faces by place and by looks."""

import cv2
import numpy as np

# Width in pixels to which a face is brought for matching, and the part of
# its width by which it may move from one picture to the next.
_TEMPLATE_SIDE = 40
_REACH = 0.35

# Side in pixels to which faces are brought to compare their looks.
_LIKENESS_SIDE = 24


def overlap(a: np.ndarray, b: np.ndarray) -> float:
  """Intersection over union of two boxes x, y, width, height."""
  low = np.maximum(a[:2], b[:2])
  high = np.minimum(a[:2] + a[2:], b[:2] + b[2:])
  common = float(np.prod(np.maximum(high - low, 0)))
  union = float(np.prod(a[2:]) + np.prod(b[2:])) - common
  return common / union if union > 0 else 0.0


def match(
  before: np.ndarray, after: np.ndarray, box: np.ndarray
) -> tuple[np.ndarray, float]:
  """Finds the contents of a box again in the next picture.

  Args:
    before: uint8 [H, W] grey picture.
    after: the next one, of the same size.
    box: float32 [4], x, y, width, height in pixels in the first.

  Returns:
    The shift, float32 [2] in pixels, and the normalised correlation in
    [-1, 1] there; -1 where the box lies outside the picture.
  """
  scale = min(1.0, _TEMPLATE_SIDE / box[2])
  reach = np.ceil(_REACH * box[2:]).astype(int)
  limit = np.array(before.shape[::-1])
  low = np.clip(np.round(box[:2]).astype(int), 0, limit)
  high = np.clip(np.round(box[:2] + box[2:]).astype(int), 0, limit)
  if min(high - low) < 8:
    return np.zeros(2, np.float32), -1.0
  # The same grid under both, so that a face at rest matches at shift zero.
  first = np.maximum(low - reach, 0)
  last = np.minimum(high + reach, limit)
  size = np.maximum(np.round((last - first) * scale).astype(int), 1)
  ratio = size / (last - first)
  window = [slice(first[1], last[1]), slice(first[0], last[0])]
  old, new = (
    cv2.resize(
      image[tuple(window)], size.tolist(), interpolation=cv2.INTER_AREA
    )
    for image in (before, after)
  )
  start = np.round((low - first) * ratio).astype(int)
  stop = np.maximum(np.round((high - first) * ratio).astype(int), start + 4)
  template = old[start[1] : stop[1], start[0] : stop[0]]
  if template.std() < 1:
    # A flat patch has no correlation: it can neither be followed nor lost.
    still = float(np.abs(old.astype(int) - new).mean()) < 4
    return np.zeros(2, np.float32), 1.0 if still else -1.0
  fit = cv2.matchTemplate(new, template, cv2.TM_CCOEFF_NORMED)
  _, best, _, place = cv2.minMaxLoc(fit)
  peak = np.array(place) + _subpixel(fit, place)
  return ((peak - start) / ratio).astype(np.float32), float(best)


def _subpixel(fit, place):
  """Offset [2] of the top of the parabolas through the peak of `fit`."""
  column, row = place
  offsets = []
  for line, at in ((fit[row], column), (fit[:, column], row)):
    offset = 0.0
    if 0 < at < len(line) - 1:
      left, middle, right = line[at - 1 : at + 2].astype(np.float64)
      curve = left - 2 * middle + right
      offset = (left - right) / (2 * curve) if curve < -1e-9 else 0.0
    offsets.append(np.clip(offset, -0.5, 0.5))
  return np.array(offsets)


def appearance(grey: np.ndarray, box: np.ndarray) -> np.ndarray:
  """A small picture of the face, of mean 0 and variance 1."""
  low = np.maximum(np.round(box[:2]).astype(int), 0)
  high = np.maximum(np.round(box[:2] + box[2:]).astype(int), low + 1)
  patch = grey[low[1] : high[1], low[0] : high[0]]
  if not patch.size:
    return np.zeros((_LIKENESS_SIDE, _LIKENESS_SIDE))
  patch = cv2.resize(
    patch, (_LIKENESS_SIDE, _LIKENESS_SIDE), interpolation=cv2.INTER_AREA
  ).astype(np.float64)
  return (patch - patch.mean()) / max(patch.std(), 1.0)
