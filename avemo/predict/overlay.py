"""What is drawn onto each frame of a film that was read."""

import bisect
import collections
from collections.abc import Callable, Sequence

import numpy as np

from avemo.media import decode, render
from avemo.predict import estimate, people


def make_draw_at(
  film: people.Film,
  estimates: Sequence[estimate.Estimate],
  classes: Sequence[str],
) -> Callable[[decode.Frame], list[render.Overlay]]:
  """From a frame to its overlays: each person's estimate nearest in time.

  Args:
    film: the people and their boxes.
    estimates: in the order of time.
    classes: C names.
  """
  by_track = collections.defaultdict(list)
  for one in estimates:
    by_track[one.track].append(one)

  def overlay(track, box, time):
    nearest = find_nearest(by_track[track], time)
    label = describe(nearest, classes) if nearest else ''
    if track is None:
      label = f'no face: {label}' if label else 'no face'
    elif len(film.people) > 1:
      label = f'{track}: {label}' if label else f'{track}'
    known = nearest is not None and bool(nearest.emotion(classes))
    return render.Overlay(
      box,
      label,
      dict(zip(classes, nearest.probabilities, strict=True)) if known else {},
      colour=0 if track is None else track - 1,
    )

  def draw_at(frame):
    boxes = [(person, person.box_at(frame.index)) for person in film.people]
    found = [
      overlay(person.track, box, frame.time)
      for person, box in boxes
      if box is not None
    ]
    return found or [overlay(None, None, frame.time)]

  return draw_at


def find_nearest(
  estimates: Sequence[estimate.Estimate], time: float
) -> estimate.Estimate | None:
  """The estimate nearest to a time; of two, the later; None without any."""
  if not estimates:
    return None
  place = bisect.bisect_left(estimates, time, key=lambda one: one.time)
  near = estimates[max(place - 1, 0) : place + 1]
  return min(near, key=lambda one: (abs(one.time - time), -one.time))


def describe(one: estimate.Estimate, classes: Sequence[str]) -> str:
  """The emotion and its probability; without emotions valence and arousal."""
  emotion = one.emotion(classes)
  if emotion:
    return f'{emotion} {one.probabilities.max():.0%}'
  if classes or np.isnan(one.valence_arousal).any():
    return ''
  valence, arousal = one.valence_arousal
  return f'valence {valence:+.2f} arousal {arousal:+.2f}'
