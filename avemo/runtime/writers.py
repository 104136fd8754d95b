"""Training curves: JSON lines always, TensorBoard where it is installed."""

import importlib.util
import json
import math
import os
import pathlib
import time
from collections.abc import Mapping

from avemo import errors


class JsonLinesWriter:
  """Appends one JSON object a line to a file: `step`, `time`, then scalars.

  A run that resumes writes its steps once more, so lines beyond the step that
  it starts from are dropped, and so is a last line that was cut off.
  """

  def __init__(self, path: str | os.PathLike, *, first_step: int = 0):
    self._path = pathlib.Path(path)
    _drop_lines(self._path, first_step)
    self._file = self._path.open('a', encoding='utf-8')

  def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
    """Writes and flushes one line; what is not finite is written as null."""
    values = {name: _to_json(value) for name, value in scalars.items()}
    line = {'step': int(step), 'time': round(time.time(), 3), **values}
    self._file.write(json.dumps(line) + '\n')
    self._file.flush()

  def flush(self) -> None:
    self._file.flush()
    os.fsync(self._file.fileno())

  def close(self) -> None:
    self._file.close()


class SilentWriter:
  """The writer of all processes but the first."""

  def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
    del step, scalars

  def flush(self) -> None:
    pass

  def close(self) -> None:
    pass


class JoinedWriter:
  """Hands every call to several writers."""

  def __init__(self, *writers):
    self._writers = writers

  def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
    for writer in self._writers:
      writer.write_scalars(step, scalars)

  def flush(self) -> None:
    for writer in self._writers:
      writer.flush()

  def close(self) -> None:
    for writer in self._writers:
      writer.close()


def make_writer(
  workdir: str | os.PathLike,
  *,
  first_step: int = 0,
  is_first_process: bool = True,
):
  """Writer of `metrics.jsonl`, and of TensorBoard events where possible."""
  if not is_first_process:
    return SilentWriter()
  path = pathlib.Path(workdir) / 'metrics.jsonl'
  writer = JsonLinesWriter(path, first_step=first_step)
  if importlib.util.find_spec('tensorflow') is None:
    return writer
  # Imports TensorFlow, which nothing else in the project does.
  from clu import metric_writers

  return JoinedWriter(writer, metric_writers.SummaryWriter(str(workdir)))


def read_lines(path: str | os.PathLike) -> list[dict]:
  """The objects of a JSON lines file; a last line that was cut off is left.

  Raises:
    AvemoError: a line that is not JSON, other than the last.
  """
  path = pathlib.Path(path)
  if not path.exists():
    return []
  lines = path.read_text(encoding='utf-8').split('\n')
  # What follows the last line break was cut off, or is empty.
  whole = lines[:-1]
  try:
    return [json.loads(line) for line in whole]
  except json.JSONDecodeError as error:
    raise errors.AvemoError(
      f'{path}: line is not JSON ({error}); move the file away to go on'
    ) from error


def _drop_lines(path: pathlib.Path, first_step: int) -> None:
  if not path.exists():
    return
  kept = [line for line in read_lines(path) if line['step'] <= first_step]
  if not first_step:
    kept = []
  # Written beside and moved, so that a kill in between loses nothing.
  beside = path.with_suffix('.tmp')
  beside.write_text(''.join(json.dumps(line) + '\n' for line in kept))
  beside.replace(path)


def _to_json(value: float) -> float | None:
  value = float(value)
  return value if math.isfinite(value) else None
