"""Finding faces in pictures, behind one small interface."""

import hashlib
import os
import pathlib
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from avemo import errors
from avemo.media import stills

_CASCADE = os.path.join(
  cv2.data.haarcascades, 'haarcascade_frontalface_default.xml'
)

# Pictures are searched at no more than this, in pixels of the longer side.
_CASCADE_SIDE = 320
_YUNET_SIDE = 640

# Smallest face looked for by the cascade, as a share of the shorter side: it
# takes texture for small faces far more often than YuNet does.
_CASCADE_SMALLEST = 0.12
_CASCADE_NEIGHBOURS = 5

_YUNET_SCORE = 0.6
_OVERLAP = 0.3


class Detection(NamedTuple):
  """A face in a picture.

  Attributes:
    box: float32 [4]: x and y of the corner, width, height, in pixels.
    score: confidence in [0, 1].
    landmarks: float32 [5, 2] in pixels: the right and the left eye of the
      person, the tip of the nose, the right and the left corner of the mouth;
      None where the detector knows none.
  """

  box: np.ndarray
  score: float
  landmarks: np.ndarray | None = None


class Detector(Protocol):
  """Anything that finds faces in a picture."""

  def detect(self, image: np.ndarray) -> list[Detection]:
    """Faces in a uint8 [H, W, 3] RGB picture, the surest first."""


def make_detector(face_model: str | os.PathLike | None = None) -> Detector:
  """OpenCV's bundled cascade, or YuNet when its ONNX file is given.

  Raises:
    MediaError: when the file cannot be used.
  """
  return CascadeDetector() if face_model is None else YuNetDetector(face_model)


def describe_detector(
  face_model: str | os.PathLike | None = None,
) -> dict[str, str]:
  """What tells a detector from others: `detector`, `detector_sha256`.

  Raises:
    MediaError: when the file cannot be read.
  """
  name = 'OpenCV cascade' if face_model is None else 'YuNet'
  path = pathlib.Path(_CASCADE if face_model is None else face_model)
  try:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
  except OSError as error:
    raise errors.MediaError(
      path, f'no such face model ({error.strerror})'
    ) from None
  return {'detector': name, 'detector_sha256': digest}


class CascadeDetector:
  """OpenCV's frontal face cascade: needs no file, knows no landmarks."""

  def __init__(self):
    self._cascade = cv2.CascadeClassifier(_CASCADE)

  def detect(self, image: np.ndarray) -> list[Detection]:
    """Faces in a uint8 [H, W, 3] RGB picture, the surest first."""
    grey, scale = stills.shrink(
      cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), _CASCADE_SIDE
    )
    smallest = max(24, round(_CASCADE_SMALLEST * min(grey.shape)))
    if min(grey.shape) < smallest:
      return []
    boxes, counts = self._cascade.detectMultiScale2(
      grey,
      scaleFactor=1.1,
      minNeighbors=_CASCADE_NEIGHBOURS,
      minSize=(smallest, smallest),
    )
    found = [
      Detection(np.float32(box) / scale, 1 - float(np.exp(-count / 10)))
      for box, count in zip(boxes, np.ravel(counts), strict=True)
    ]
    found.sort(key=lambda detection: (-detection.score, *detection.box))
    return found


class YuNetDetector:
  """YuNet: faster and far better off-axis, with five landmarks."""

  def __init__(self, face_model: str | os.PathLike):
    if not pathlib.Path(face_model).is_file():
      raise errors.MediaError(face_model, 'no such face model')
    try:
      self._net = cv2.FaceDetectorYN.create(
        os.fspath(face_model), '', (320, 320), _YUNET_SCORE, _OVERLAP
      )
    except cv2.error:
      raise errors.MediaError(
        face_model, 'not a YuNet face detector in ONNX format'
      ) from None

  def detect(self, image: np.ndarray) -> list[Detection]:
    """Faces in a uint8 [H, W, 3] RGB picture, the surest first."""
    small, scale = stills.shrink(image, _YUNET_SIDE)
    self._net.setInputSize(small.shape[1::-1])
    rows = self._net.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))[1]
    found = [
      Detection(
        row[:4] / scale, float(row[14]), row[4:14].reshape(5, 2) / scale
      )
      for row in (rows if rows is not None else ())
      if row[2] > 1 and row[3] > 1
    ]
    found.sort(key=lambda detection: -detection.score)
    return found
