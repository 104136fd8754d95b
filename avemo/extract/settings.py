"""How artefacts are made."""

import dataclasses
import os

# As many systems over pictures take them.
SIZE, FRAMES, FPS = 224, 16, 25.0


@dataclasses.dataclass(frozen=True)
class Settings:
  """What a user sets; None is what is usual.

  Attributes:
    size: side of pictures in pixels.
    frames: how many are made of a film; 0 is all.
    fps: pictures a second at which the film is looked at.
    face_model: ONNX file of a YuNet face detector.
    openface: OpenFace's program FeatureExtraction, or a folder with it.
    weights: a run's workdir, or a directory of converted weights.
    checkpoint: of a run: 'best', 'last' or a step.
    every: seconds from one embedding to the next.
  """

  size: int | None = None
  frames: int | None = None
  fps: float | None = None
  face_model: str | os.PathLike | None = None
  openface: str | os.PathLike | None = None
  weights: str | os.PathLike | None = None
  checkpoint: str | None = None
  every: float | None = None


def pick(value, usual):
  return usual if value is None else value
