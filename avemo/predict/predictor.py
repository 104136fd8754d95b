"""From files to estimates over time, files of their own, and labelled films."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from avemo import errors, words
from avemo.evaluate import films, restore
from avemo.features import assembled
from avemo.media import decode, faces, render
from avemo.metrics import smoothing
from avemo.predict import (
  estimate,
  output,
  overlay,
  people,
  sound,
  states,
  windows,
)
from avemo.predict import files as files_lib

PathLike = str | os.PathLike

# Passes over a film: following the faces, cutting windows, drawing.
_PASSES = 3


@dataclasses.dataclass(frozen=True)
class Settings:
  """How files are read.

  Attributes:
    every: seconds from one estimate to the next.
    smooth: kind and window, as `metrics.smoothing.parse` reads them.
    audio: file of one film's sound, or None.
    face_model: ONNX file of the face detector, or None for the default.
    adaptive: see `features.assembled.thin`; None looks at every frame.
  """

  every: float = 1.0
  smooth: str = 'none'
  audio: PathLike | None = None
  face_model: PathLike | None = None
  adaptive: float | None = None

  def describe(self) -> dict[str, str | float | None]:
    """What the results say about it."""
    show = files_lib.show_path
    return {
      name: show(value) if isinstance(value, os.PathLike) else value
      for name, value in dataclasses.asdict(self).items()
    }


def predict_files(
  files: Sequence[PathLike],
  *,
  workdir: PathLike,
  out: PathLike,
  checkpoint: str | int = 'best',
  audio: PathLike | None = None,
  every: float = 1.0,
  smooth: str = 'none',
  face_model: PathLike | None = None,
  adaptive: float | None = None,
) -> int:
  """Reads films and sounds with a trained model.

  Each file leaves `<stem>.csv`, `.json`, `.html` and, where it has pictures,
  `.mp4`; of two files with one stem the second is called `<stem>-2`. A file
  that cannot be read costs a line, not the others.

  Args:
    files: films and sounds.
    workdir: of a training run, or a converted classifier.
    out: the folder of the results.
    checkpoint: 'best', 'last' or a step.
    audio: the sound of the one film, where it is a file of its own.
    every: seconds from one estimate to the next.
    smooth: 'none', 'mean:S' or 'median:S', S in seconds.
    face_model: ONNX file of a YuNet face detector; None for the default.
    adaptive: of a model over features of frames: a face that differs by less
      from the one looked at before is taken for it, see
      `features.adaptive.choose`; every face is looked at when None.

  Returns:
    The number of files that could not be read.

  Raises:
    AvemoError: the model or an option cannot be used.
  """
  settings = Settings(every, smooth, audio, face_model, adaptive)
  # Before the model is loaded: a typing error answers at once.
  check(files, settings)
  restored = restore.restore(workdir, checkpoint=checkpoint)
  if adaptive is not None:
    restored = films.set_adaptive(restored, pathlib.Path(workdir), adaptive)
  loaded = assembled.assemble(restored)
  return predict_with(
    loaded, files, out, settings, name=files_lib.show_path(workdir)
  )


def check(files: Sequence[PathLike], settings: Settings) -> None:
  """Raises an AvemoError for options that do not fit."""
  smoothing.parse(settings.smooth)
  if not 0 < settings.every < float('inf'):
    raise errors.AvemoError(
      f'every={settings.every}: seconds between two estimates, above 0'
    )
  if settings.audio is not None and len(files) != 1:
    raise errors.AvemoError(
      f'--audio is the sound of one film, but {len(files)} files are named; '
      'read them one by one'
    )


def predict_with(
  loaded: estimate.Loaded,
  files: Sequence[PathLike],
  out: PathLike,
  settings: Settings,
  *,
  name: str = '',
) -> int:
  """As `predict_files`, with a model at hand; `name` is told in the results."""
  check(files, settings)
  out = pathlib.Path(out)
  if out.exists() and not out.is_dir():
    raise errors.AvemoError(f'{out}: not a folder; choose another --out')
  out.mkdir(parents=True, exist_ok=True)
  # Made here, for a face model that cannot be used concerns every file.
  faces.make_detector(settings.face_model)
  predictor = Predictor(loaded, out, settings, name)
  inputs = [*files, *filter(None, [settings.audio])]

  def read(path, stem):
    results = [out / f'{stem}{suffix}' for suffix in SUFFIXES]
    files_lib.protect(inputs, results)
    return predictor.read(path, stem)

  return files_lib.read_each(files, read)


SUFFIXES = ('.mp4', '.csv', '.json', '.html')


@dataclasses.dataclass
class Rate:
  """How many frames all windows with faces have, and were looked at."""

  frames: int = 0
  looked_at: int = 0

  def describe(self) -> list[str]:
    """A sentence; none where every frame was looked at."""
    if not self.frames:
      return []
    return [
      f'The frame rate was adaptive: of {self.frames} frames, in all windows '
      f'with a face, {self.looked_at} were looked at.'
    ]


def thin(
  cut: Iterable[windows.Window], seconds: float, threshold: float, rate: Rate
) -> Iterator[windows.Window]:
  """The windows with the frames that are looked at, which it counts."""
  for window in cut:
    clip, count = assembled.thin(window.clip, seconds, threshold)
    if clip['has_video']:
      rate.frames += len(clip['held'])
      rate.looked_at += count
    yield window._replace(clip=clip)


class Predictor:
  """A model, a detector's file and a folder: reads file after file."""

  def __init__(
    self,
    loaded: estimate.Loaded,
    out: pathlib.Path,
    settings: Settings,
    name: str,
  ):
    self._options = loaded.options
    self._needs = states.find_needs(loaded.config)
    self._estimator = estimate.Estimator(loaded)
    self._out = out
    self._settings = settings
    self._config = windows.find_config(loaded.config)
    self._model = {
      'workdir': name,
      'step': int(loaded.step),
      'use': list(loaded.options.use),
      'classes': list(self._estimator.classes),
    }

  def read(self, path: pathlib.Path, stem: str) -> str:
    """Reads one file and writes its results; returns a line about them.

    Raises:
      MediaError: the file cannot be read.
      OSError: the results cannot be written.
    """
    info = decode.probe(path)
    with files_lib.show_progress(path.name, info.duration, _PASSES) as progress:
      film = people.NO_PICTURES
      if info.has_video:
        detector = faces.make_detector(self._settings.face_model)
        film = people.watch(path, detector, progress(0))
      source, heard = self._listen(path, info)
      duration = max(film.duration, heard.duration)
      plan = windows.plan(
        duration, self._settings.every, self._options, film.step
      )
      cut = windows.cut(
        path,
        film,
        source,
        plan,
        self._options,
        config=self._config,
        report=progress(1),
      )
      rate = Rate()
      if self._settings.adaptive is not None:
        cut = thin(cut, plan.seconds, self._settings.adaptive, rate)
      estimates = estimate.smooth(
        list(self._estimator(cut)), *smoothing.parse(self._settings.smooth)
      )
      reading = output.Reading(
        file=files_lib.show_path(path),
        duration=duration,
        classes=self._estimator.classes,
        estimates=estimates,
        states=list(
          states.describe(
            info,
            film,
            heard,
            estimates,
            plan,
            self._options,
            self._settings.audio,
            needs=self._needs,
          )
        )
        + rate.describe(),
        model=self._model,
        settings=self._settings.describe() | {'window': round(plan.seconds, 3)},
      )
      made = self._write(path, stem, reading, film, progress(2))
    known = sum(one.is_known for one in estimates)
    said = words.count(known, 'estimate')
    if known < len(estimates):
      said += f' ({len(estimates) - known} more had nothing to go by)'
    return (
      f'{files_lib.show_path(path)}: {said}, '
      f'{words.count(len(film.people), "face")} -> '
      f'{self._out / stem}{{{",".join(made)}}}'
    )

  def _listen(
    self, path: pathlib.Path, info: decode.MediaInfo
  ) -> tuple[PathLike | None, sound.Measure]:
    """The file that is heard, None without any, and its sound's measure."""
    source = self._settings.audio
    if source is not None:
      heard = sound.listen(source)
      if not heard.duration:
        raise errors.AvemoError(
          f'{os.fspath(source)}: has no sound; name another --audio, or none'
        )
      return source, heard
    if not info.has_audio:
      return None, sound.NOTHING
    try:
      return path, sound.listen(path)
    except errors.MediaError:
      # Damaged sound beside pictures is a state, which the results tell.
      if not info.has_video:
        raise
      return None, sound.NOTHING

  def _write(
    self,
    path: pathlib.Path,
    stem: str,
    reading: output.Reading,
    film: people.Film,
    report: Callable[[float], None],
  ) -> list[str]:
    """Writes all results, then gives them their names; returns suffixes."""
    rows = output.make_rows(reading)
    suffixes = [s for s in SUFFIXES if s != '.mp4' or len(film.times)]
    with files_lib.make_staging(self._out) as staging:
      if len(film.times):
        draw_at = overlay.make_draw_at(film, reading.estimates, reading.classes)

        def draw(frame):
          report(frame.time)
          return draw_at(frame)

        render.render(
          path, staging / 'result.mp4', draw, sound=self._settings.audio
        )
      output.write_csv(staging / 'result.csv', rows)
      output.write_json(staging / 'result.json', reading, rows)
      output.write_html(
        staging / 'result.html',
        reading,
        rows,
        f'{stem}.mp4' if len(film.times) else None,
      )
      for suffix in suffixes:
        os.replace(staging / f'result{suffix}', self._out / f'{stem}{suffix}')
    return suffixes
