"""Single pictures: smaller ones, and JPEGs as datasets store them."""

import cv2
import numpy as np

# Compression that no model has been seen to notice.
JPEG_QUALITY = 95


def shrink(image: np.ndarray, side: int) -> tuple[np.ndarray, float]:
  """The picture [H, W, ...] with no side longer than `side`, and its scale."""
  scale = min(1.0, side / max(image.shape[:2]))
  if scale == 1.0:
    return image, scale
  size = [max(1, round(length * scale)) for length in image.shape[1::-1]]
  return cv2.resize(image, size, interpolation=cv2.INTER_AREA), scale


def encode_jpeg(image: np.ndarray) -> bytes:
  """JPEG of a uint8 [H, W, 3] RGB picture."""
  bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
  quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
  return cv2.imencode('.jpg', bgr, quality)[1].tobytes()
