"""What trained weights say of a film or a sound, along time."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from avemo import errors
from avemo.data import clips
from avemo.evaluate import restore
from avemo.extract import settings as settings_lib
from avemo.features import towers
from avemo.media import decode, encode, faces
from avemo.predict import people, sound, windows
from avemo.runtime import workdirs

EVERY = 1.0
# Clips a call, so that a model is compiled once.
_BATCH_SIZE = 8

# Values [N, D] and their times in seconds [N], by modality or 'joint'.
Found = dict[str, tuple[np.ndarray, np.ndarray]]


def open_maker(
  settings: settings_lib.Settings, files: Sequence[pathlib.Path]
) -> Callable[..., str]:
  """Loads the weights: ones that cannot be used concern every file.

  Raises:
    AvemoError: there are none, or they are no tower's.
  """
  del files
  if settings.weights is None:
    raise errors.AvemoError(
      'features: name by --weights the folder of a training run, or of '
      'weights that `avemo convert` has written'
    )
  detector = faces.make_detector(settings.face_model)
  embed = open_weights(
    pathlib.Path(settings.weights).expanduser(),
    settings_lib.pick(settings.checkpoint, 'best'),
    settings_lib.pick(settings.every, EVERY),
  )

  def make(path, target, progress):
    info = decode.probe(path)
    film = people.NO_PICTURES
    if info.has_video:
      film = keep_main(people.watch(path, detector, progress(0)))
    found = embed(path, info, film, progress(1))
    check_found(path, found)
    arrays = {}
    for name, (times, values) in found.items():
      arrays[name] = values.astype(np.float32)
      arrays[f'{name}_times'] = times.astype(np.float64)
    with target.open('wb') as file:
      np.savez(file, **arrays)
    return ', '.join(
      f'{name} {"x".join(map(str, values.shape))}'
      for name, (_, values) in found.items()
    )

  return make


def check_found(path: pathlib.Path, found: Found) -> None:
  """Raises an AvemoError where the weights had nothing to go by."""
  if any(len(times) for times, _ in found.values()):
    return
  needs = {'video': 'a face', 'audio': 'sound', 'joint': 'a face or sound'}
  words = ' or '.join(word for name, word in needs.items() if name in found)
  raise errors.AvemoError(
    f'{path}: the weights read {words}, and it has none; name another file'
  )


def keep_main(film: people.Film) -> people.Film:
  """The film with the one person that is seen longest, and largest."""
  if len(film.people) < 2:
    return film

  def weigh(person):
    sizes = np.sqrt(person.boxes[:, 2] * person.boxes[:, 3])
    return float((sizes * person.found).sum())

  return dataclasses.replace(film, people=(max(film.people, key=weigh),))


# -------------------------------------------------------------------- weights


def open_weights(
  path: pathlib.Path, checkpoint: str, every: float
) -> Callable[..., Found]:
  """From a folder of weights to what embeds a file.

  Modalities that a run joins, or reads both, go through its own model, window
  by window as when it predicts; a tower alone says as much as it can: single
  frames, tokens of speech.

  Args:
    path: a run's workdir, or a directory of converted weights.
    checkpoint: of a run.
    every: seconds from one window to the next.
  """
  stored = workdirs.find_stored(path, checkpoint)
  use = stored.about.get('model', {}).get('use') or clips.MODALITIES
  if len(use) > 1:
    loaded = restore.restore(path, checkpoint=checkpoint)
    return functools.partial(
      embed_windows,
      apply=make_apply(loaded.model, loaded.variables),
      options=loaded.options,
      config=windows.find_config(loaded.config),
      every=every,
    )
  tower = towers.load(path, checkpoint=checkpoint)
  if tower.modality == 'audio':
    return functools.partial(embed_sound, tower=tower, every=every)
  config = windows.find_config(stored.about)
  if towers.reads_single_frames(tower):
    return functools.partial(embed_frames, tower=tower, config=config)
  return functools.partial(
    embed_windows,
    apply=tower,
    options=tower.options,
    config=config,
    every=every,
  )


def make_apply(model: Any, variables: Any) -> Callable[..., Any]:
  """From a batch to the features of a model, compiled once."""
  if not hasattr(model, 'embed'):
    raise errors.AvemoError(
      f'{type(model).__name__} has no features before its outputs; name other '
      'weights'
    )
  apply = jax.jit(functools.partial(model.apply, method='embed'))
  return functools.partial(apply, variables)


# ------------------------------------------------------------------ embedding


def embed_windows(
  path: pathlib.Path,
  info: decode.MediaInfo,
  film: people.Film,
  report: Callable[[float], None],
  *,
  apply: Callable[[dict[str, np.ndarray]], Mapping[str, Any]],
  options: clips.ClipOptions,
  config: str,
  every: float,
) -> Found:
  """An embedding a window, of the windows in which there is what it reads."""
  heard = info.has_audio and 'audio' in options.use
  measure = sound.listen(path) if heard else sound.NOTHING
  duration = max(film.duration, measure.duration)
  plan = windows.plan(duration, every, options, film.step)
  cut = windows.cut(
    path,
    film,
    path if heard else None,
    plan,
    options,
    config=config,
    report=report,
  )
  times, values = {}, {}
  for moments, batch, count in make_batches(cut):
    given = {name: batch[f'has_{name}'] for name in options.use}
    given['joint'] = np.any(list(given.values()), axis=0)
    for name, rows in jax.device_get(apply(batch)).items():
      kept = given[name][:count]
      times.setdefault(name, []).append(moments[kept])
      values.setdefault(name, []).append(rows[:count][kept])
  return {
    name: (np.concatenate(times[name]), np.concatenate(values[name]))
    for name in times
  }


def make_batches(
  cut: Iterator[windows.Window],
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray], int]]:
  """Yields times [n], a batch filled up with its last clip, and n."""
  held = []

  def stack():
    filled = held + [held[-1]] * (_BATCH_SIZE - len(held))
    batch = {
      name: np.stack([one.clip[name] for one in filled])
      for name in held[0].clip
    }
    batch['mask'] = np.arange(_BATCH_SIZE) < len(held)
    return np.array([one.time for one in held]), batch, len(held)

  for one in cut:
    held.append(one)
    if len(held) == _BATCH_SIZE:
      yield stack()
      held = []
  if held:
    yield stack()


def embed_frames(
  path: pathlib.Path,
  info: decode.MediaInfo,
  film: people.Film,
  report: Callable[[float], None],
  *,
  tower: towers.Tower,
  config: str,
) -> Found:
  """An embedding of every frame with a face, of a tower over single frames.

  Of one over whole pictures, of every frame.
  """
  del info
  options = tower.options
  times, values = [np.zeros(0)], []
  alike = windows.are_alike(config, options)
  person = film.people[0] if film.people and not alike else None
  shelf = windows.Shelf(path, film, config, report)
  # A piece at a time, for a film may be long.
  step = towers.BATCH_SIZE * film.step
  for start in np.arange(0, film.duration, step) if person or alike else ():
    shelf.move_to(start, start + step)
    record = shelf.make_record(person)
    if not clips.has_picture(record, options):
      continue
    chosen = np.flatnonzero(record['face'] | alike)
    frames = clips.decode_frames(record, chosen, options)
    times.append(np.float64(record['frame_time'])[chosen])
    values.append(towers.embed_frames(tower, frames))
  joined = np.concatenate(values) if values else np.zeros((0, 0), np.float32)
  return {'video': (np.concatenate(times), joined)}


def embed_sound(
  path: pathlib.Path,
  info: decode.MediaInfo,
  film: people.Film,
  report: Callable[[float], None],
  *,
  tower: towers.Tower,
  every: float,
) -> Found:
  """Embeddings along the sound: its tokens, or windows of it."""
  del film
  pieces = []
  if info.has_audio:
    for piece in decode.stream_audio(path, sample_rate=clips.SAMPLE_RATE):
      pieces.append(encode.to_int16(piece))
      report(sum(map(len, pieces)) / clips.SAMPLE_RATE)
  speech = np.concatenate(pieces) if pieces else np.zeros(0, np.int16)
  found = towers.embed_speech(tower, speech, hop=every)
  return {'audio': (found.times, found.values)}
