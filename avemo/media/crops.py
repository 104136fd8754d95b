"""Cutting faces out of pictures."""

import cv2
import numpy as np


def crop_face(
  image: np.ndarray,
  box: np.ndarray,
  *,
  margin: float = 1.5,
  size: int | None = None,
  max_side: int | None = None,
  landmarks: np.ndarray | None = None,
  align: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
  """Cuts a square around a face; what lies outside the picture is black.

  Args:
    image: uint8 [H, W, 3].
    box: float [4], x, y, width, height in pixels.
    margin: side of the square over the longer side of the box.
    size: side of the crop in pixels; its own in the picture when None.
    max_side: a longer crop is scaled down to it; not together with `size`.
    landmarks: float [5, 2] in pixels, the two eyes first, or None.
    align: turn the picture so that the eyes lie level, where they are known.

  Returns:
    The crop, uint8 [S, S, 3]; the box in it, float32 [4], which when turned
    keeps its size about its turned centre; the landmarks in it, or None.
  """
  box = np.asarray(box, np.float64)
  side = max(1, round(float(margin * box[2:].max())))
  known = landmarks is not None and np.isfinite(landmarks).all()
  angle = _roll(np.asarray(landmarks)) if align and known else 0.0
  centre = box[:2] + box[2:] / 2
  # Pixel centres lie at whole numbers for warpAffine, corners do for boxes.
  matrix = cv2.getRotationMatrix2D((centre - 0.5).tolist(), angle, 1.0)
  matrix[:, 2] += side / 2 - centre
  crop = cv2.warpAffine(
    image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderValue=(0, 0, 0)
  )
  final = size or (min(side, max_side) if max_side else side)
  if final != side:
    method = cv2.INTER_AREA if final < side else cv2.INTER_LINEAR
    crop = cv2.resize(crop, (final, final), interpolation=method)
  scale = final / side
  new_box = np.concatenate([side / 2 - box[2:] / 2, box[2:]]) * scale
  if landmarks is None:
    return crop, new_box.astype(np.float32), None
  turned = (np.asarray(landmarks) - centre) @ matrix[:, :2].T + side / 2
  return crop, new_box.astype(np.float32), (turned * scale).astype(np.float32)


def _roll(landmarks) -> float:
  """Degrees by which the line of the eyes falls to the right."""
  left, right = sorted(landmarks[:2].tolist())
  return float(np.degrees(np.arctan2(right[1] - left[1], right[0] - left[0])))
