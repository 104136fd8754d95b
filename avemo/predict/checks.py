"""What can be said of a command before JAX starts, which takes seconds."""

import os
import pathlib
from collections.abc import Sequence

from avemo import errors
from avemo.evaluate import checks
from avemo.metrics import smoothing


def check_command(
  files: Sequence[os.PathLike],
  *,
  workdir: os.PathLike,
  out: os.PathLike,
  smooth: str,
  audio: os.PathLike | None = None,
  face_model: os.PathLike | None = None,
) -> None:
  """Raises an AvemoError for what is missing, or not as it must be.

  One file of several that is missing costs a line later, not the others.

  Args:
    files: films and sounds.
    workdir: of a training run, or a converted classifier.
    out: the folder of the results.
    smooth: as `metrics.smoothing.parse` reads it.
    audio: the sound of the one film.
    face_model: ONNX file of the face detector.
  """
  smoothing.parse(smooth)
  checks.check_workdir(workdir)
  missing = [path for path in files if not pathlib.Path(path).exists()]
  if len(missing) == len(files):
    others = f' (nor {len(missing) - 1} others)' if missing[1:] else ''
    raise errors.AvemoError(
      f'{missing[0]}: no such file{others}; check its name'
    )
  for path, what in ((audio, '--audio'), (face_model, '--face-model')):
    if path is not None and not pathlib.Path(path).is_file():
      raise errors.AvemoError(f'{path}: no such file; {what} names one')
  if pathlib.Path(out).exists() and not pathlib.Path(out).is_dir():
    raise errors.AvemoError(f'{out}: not a folder; choose another --out')
