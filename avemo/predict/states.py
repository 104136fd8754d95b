"""What a reader must know of a file that was read, in words."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from avemo.data.clips import ClipOptions
from avemo.media import decode
from avemo.predict import estimate, output, people, sound, windows

# Seconds that a file may be shorter than it says before that is worth a word.
_CUT_SHORT = 1.0

_WORDS = {'video': 'a face', 'audio': 'sound'}


def describe(
  info: decode.MediaInfo,
  film: people.Film,
  heard: sound.Measure,
  estimates: Sequence[estimate.Estimate],
  plan: windows.Plan,
  options: ClipOptions,
  audio: str | os.PathLike | None,
  *,
  needs: Sequence[str] = (),
) -> Iterator[str]:
  """Yields what else than the estimates there is to say, a sentence each.

  Args:
    info: what the file says of itself.
    film: its people.
    heard: its sound's measure.
    estimates: all of them.
    plan: the windows they rest on.
    options: of the model.
    audio: the file of its sound, where that is another one.
    needs: modalities that the model never missed in training.
  """
  total, duration = len(plan.times), plan.duration
  alone = sum(one.track is None for one in estimates)
  if not info.has_video:
    yield 'There are no pictures that can be decoded: sound alone was read.'
  elif not film.people:
    yield 'No face was found in any picture.'
  elif alone:
    yield f'There was no face at {alone} of {total} times.'
  if not heard.duration:
    yield 'There is no sound that can be decoded.'
  elif not heard.is_heard:
    yield 'The sound is silent throughout, or too short to be heard.'
  elif audio is not None:
    yield f'The sound is that of {output.show_path(audio)}.'
  by_sound = [one for one in estimates if one.track is None and one.is_known]
  if film.people and by_sound and options.margin is not None:
    yield 'Where there is no face the emotion is that of the sound alone.'
  without = {
    'video': bool(by_sound) and options.margin is not None,
    'audio': any(one.is_known and one.sound == 'none' for one in estimates),
  }
  for name in needs:
    if without[name]:
      yield (
        f'The model was not trained to do without {_WORDS[name]}: where there '
        f'is none, do not rely on its estimates.'
      )
  if any(one.sound == 'shared' for one in estimates):
    yield (
      'Where several faces are seen at once they share the sound: whose '
      'voice it is, is not known.'
    )
  if 'audio' not in options.use:
    yield 'The model reads pictures alone; the sound was not heard.'
  if 'video' not in options.use:
    yield 'The model hears sound alone; faces are marked, but not read.'
  unknown = len({one.time for one in estimates if not one.is_known})
  if unknown:
    yield (
      f'At {unknown} of {total} times there was nothing to go by, and no '
      'emotion is given.'
    )
  if total > 1 and duration <= plan.seconds:
    yield (
      f'The model looks at {plan.seconds:g} s at a time, as in training: all '
      'estimates of this file rest on the whole of it.'
    )
  if audio is None and duration < info.duration - _CUT_SHORT:
    yield (
      f'The file says that it lasts {info.duration:.1f} s, but only '
      f'{duration:.1f} s could be decoded.'
    )


def find_needs(config: Mapping[str, Any]) -> tuple[str, ...]:
  """The modalities that a model's training never took away.

  Towers whose logits are averaged stand alone; others were joined before.

  Args:
    config: of the training run.
  """
  model = config.get('model', {})
  joined = model.get('fusion', {}).get('kind', 'late') != 'late'
  if not joined or len(model.get('use', ())) < 2:
    return ()
  rates = config.get('augment', {}).get('modality_dropout')
  # What `augment.modality_dropout` does when a rate is not said.
  rates, default = ({}, 0.0) if rates is None else (rates, 0.1)
  return tuple(name for name in model['use'] if not rates.get(name, default))
