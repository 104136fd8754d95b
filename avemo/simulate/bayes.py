"""The best score that the evidence put into a simulated corpus allows."""

import os
from collections.abc import Iterable

import numpy as np

from avemo import errors
from avemo.simulate import cues

MODALITIES = ('audio', 'video', 'both')


def likelihood(cue: str, emotions: tuple[str, ...], evidence: float):
  """P(cue | class) for every class, float64 [C].

  Args:
    cue: an emotion, `cues.FLAT`, or `cues.MISSING`, which says nothing.
    emotions: the classes.
    evidence: probability that a clip of an emotion shows it.
  """
  if cue == cues.MISSING:
    return np.ones(len(emotions))
  neutral = np.array([emotion == 'neutral' for emotion in emotions])
  if cue == cues.FLAT:
    return np.where(neutral, 1.0, 1.0 - evidence)
  same = np.array([emotion == cue for emotion in emotions])
  return evidence * (same & ~neutral)


def decide(
  simulation: cues.Simulation, voice: str, face: str, modality: str
) -> int:
  """The class of Bayes' rule, as an index into the emotions.

  Every class weighs the same, as it does in the unweighted average recall, so
  that no rule reaches a higher one.

  Args:
    simulation: states the probabilities.
    voice: the voice's cue.
    face: the face's cue.
    modality: one of `MODALITIES`; the other cue is not looked at.
  """
  posterior = np.ones(len(simulation.emotions))
  if modality != 'video':
    posterior *= likelihood(
      voice, simulation.emotions, simulation.voice_evidence
    )
  if modality != 'audio':
    posterior *= likelihood(face, simulation.emotions, simulation.face_evidence)
  return int(np.argmax(posterior))


def oracle(
  source: str | os.PathLike | cues.Simulation,
  clip_ids: Iterable[str] | None = None,
) -> dict[str, float]:
  """The UAR that Bayes' rule reaches on the cues of the given clips.

  Args:
    source: the directory of a simulated corpus, or its cues.
    clip_ids: the clips to score; all of them when None.

  Returns:
    UAR in [0, 1] over the classes that occur, by modality: audio, video, both.

  Raises:
    AvemoError: without cues, for a clip that the corpus does not have, and for
      labels by frame, of which no best score is known.
  """
  simulation, clips = _select(source, clip_ids)
  if not any(clip.emotion for clip in clips):
    raise errors.AvemoError(
      f'{simulation.corpus} is labelled by frame, and its labels follow from '
      'what is shown without chance: no best score can be stated'
    )
  scores = {}
  for modality in MODALITIES:
    hits = {}
    # A clip on which raters do not agree has no class to be right about.
    for clip in filter(lambda clip: clip.emotion, clips):
      decision = decide(simulation, clip.voice, clip.face, modality)
      right = simulation.emotions[decision] == clip.emotion
      hits.setdefault(clip.emotion, []).append(right)
    scores[modality] = float(np.mean([np.mean(h) for h in hits.values()]))
  return scores


def _select(source, clip_ids):
  if not isinstance(source, cues.Simulation):
    source = cues.load(source)
  if clip_ids is None:
    clips = list(source.clips)
  else:
    by_id = {clip.clip_id: clip for clip in source.clips}
    clip_ids = list(clip_ids)
    unknown = [name for name in clip_ids if name not in by_id]
    if unknown:
      raise errors.AvemoError(
        f'{unknown[0]}: the simulated {source.corpus} of seed {source.seed} '
        'has no such clip; score the records made from the same corpus'
      )
    clips = [by_id[name] for name in clip_ids]
  if not clips:
    raise errors.AvemoError('no clips to score; name at least one')
  return source, clips
