"""Writes a small corpus in the layout of a real one."""

import concurrent.futures
import concurrent.futures.process
import dataclasses
import functools
import multiprocessing
import os
import pathlib
import shutil
import tempfile
from collections.abc import Collection

import cv2
import tqdm

from avemo import errors
from avemo.simulate import (
  actor,
  aff_wild2,
  choice,
  crema_d,
  cues,
  enterface,
  mafw,
  msp_improv,
  ravdess,
)
from avemo.simulate import affect as affect_lib

CORPORA = {
  'crema_d': crema_d,
  'ravdess': ravdess,
  'enterface': enterface,
  'msp_improv': msp_improv,
  'mafw': mafw,
  'aff_wild2': aff_wild2,
}

# Clips of one speaker that a worker takes at a time: the layers of the face
# are drawn once for all of them.
_CHUNK = 12


def simulate(
  corpus: str,
  out: str | os.PathLike,
  *,
  speakers: int | None = None,
  clips_per_speaker: int | None = None,
  videos: int | None = None,
  seed: int = 0,
  quirks: bool = False,
  workers: int = 1,
  voice_evidence: float = cues.EVIDENCE,
  face_evidence: float = cues.EVIDENCE,
  size: tuple[int, int] | None = None,
  layout: str = 'release',
  affect: bool = False,
  redraw: bool = False,
  longer: float = 1.0,
  other_than: str | os.PathLike | None = None,
  progress: bool = True,
) -> pathlib.Path:
  """Writes a simulated corpus and its cues.

  The tree appears under its name only when it is whole. The same arguments
  write the same files, whatever the number of workers.

  Args:
    corpus: key of `CORPORA`.
    out: the folder to make; it must not exist, or be empty.
    speakers: how many of the corpus's speakers, spread over its folds; 12
      when not given.
    clips_per_speaker: None for all clips of the real corpus, else a number of
      them, spread evenly over the emotions.
    videos: how many clips of a corpus that names no speakers; 12 likewise.
    seed: of everything that is drawn.
    quirks: with the broken and odd files of the real corpus.
    workers: processes.
    voice_evidence: probability that an emotional clip's voice shows it.
    face_evidence: the same for the face.
    size: width and height of the pictures; of the corpus's `SIZES`.
    layout: of the corpus's `LAYOUTS`.
    affect: also leaves `affect.csv`, valence and arousal by clip.
    redraw: see `plan`.
    longer: likewise.
    other_than: another simulation of the corpus, whose speakers, or films, are
      left out.
    progress: shows a bar.

  Returns:
    The folder; `simulation.json` in it holds the cues.

  Raises:
    AvemoError: for what cannot be simulated, and for a folder that is in use
      or cannot be written.
  """
  room = _find_room(corpus)
  if layout not in room.LAYOUTS:
    raise errors.AvemoError(
      f'{corpus} has no layout {layout!r}; one of {", ".join(room.LAYOUTS)}'
    )
  if affect:
    affect_lib.check(corpus)
  simulation = plan(
    corpus,
    speakers=speakers,
    clips_per_speaker=clips_per_speaker,
    videos=videos,
    seed=seed,
    quirks=quirks,
    voice_evidence=voice_evidence,
    face_evidence=face_evidence,
    size=size,
    layout=layout,
    redraw=redraw,
    longer=longer,
    avoid=choice.read_speakers(corpus, other_than) if other_than else (),
  )
  out = pathlib.Path(out)
  _check_free(out)
  try:
    out.parent.mkdir(parents=True, exist_ok=True)
    # Beside the goal, so that the last step is one renaming.
    prefix = f'.{out.name}.partial-'
    staging = pathlib.Path(tempfile.mkdtemp(prefix=prefix, dir=out.parent))
  except OSError as error:
    raise _explain(out, error) from error
  try:
    _fill(staging, simulation, workers, progress)
    if affect:
      affect_lib.write(staging, simulation)
    # mkdtemp keeps other users out; a corpus is an ordinary folder.
    staging.chmod(0o755)
    if out.exists():
      out.rmdir()
    staging.rename(out)
  except OSError as error:
    raise _explain(out, error) from error
  finally:
    shutil.rmtree(staging, ignore_errors=True)
  return out


def plan(
  corpus: str,
  *,
  speakers: int | None = None,
  clips_per_speaker: int | None = None,
  videos: int | None = None,
  seed: int = 0,
  quirks: bool = False,
  voice_evidence: float = cues.EVIDENCE,
  face_evidence: float = cues.EVIDENCE,
  size: tuple[int, int] | None = None,
  layout: str = 'release',
  redraw: bool = False,
  longer: float = 1.0,
  avoid: Collection[str] = (),
) -> cues.Simulation:
  """Draws the cues of a corpus without rendering any.

  Args:
    redraw: of aff_wild2: each frame shows, and is labelled with, an expression
      drawn anew, a control for what reads films along time.
    longer: of aff_wild2: films are so many times as long, and show as many
      more expressions.
    avoid: speakers, or films, that are left out.

  The others are those of `simulate`.
  """
  room = _find_room(corpus)
  size = tuple(size or room.SIZE)
  _check_plan(room, corpus, size, seed, clips_per_speaker, redraw, longer)
  cues.check_evidence('voice_evidence', voice_evidence)
  cues.check_evidence('face_evidence', face_evidence)
  names = _choose_names(
    room, corpus, speakers, clips_per_speaker, videos, seed, quirks, avoid
  )
  clips = []
  for name in sorted(names):
    speaker, emotion, intensity = room.describe(name)
    clip = cues.draw(
      name,
      speaker=speaker,
      emotion=emotion,
      intensity=intensity,
      seed=seed,
      voice_evidence=voice_evidence,
      face_evidence=face_evidence,
    )
    clips.append(clip)
  clips, unusual = room.plan_quirks(clips, quirks, layout)
  if longer != 1:
    clips = [
      dataclasses.replace(c, seconds=round(longer * c.seconds, 3))
      for c in clips
    ]
  present = sorted({clip.speaker for clip in clips})
  return cues.Simulation(
    corpus=corpus,
    version=cues.VERSION,
    seed=seed,
    emotions=room.EMOTIONS,
    voice_evidence=voice_evidence,
    face_evidence=face_evidence,
    speakers={
      speaker: dataclasses.asdict(_draw_traits(speaker, seed))
      for speaker in present
    },
    clips=tuple(clips),
    quirks=unusual,
    media={
      'width': size[0],
      'height': size[1],
      'release_width': room.RELEASE_SIZE[0],
      'release_height': room.RELEASE_SIZE[1],
      'fps': round(float(room.FPS), 4),
      'layout': layout,
      # Told where it is so alone: other trees are those of before.
      **({'redraw': True} if redraw else {}),
    },
  )


def _check_plan(
  room, corpus, size, seed, clips_per_speaker, redraw, longer
) -> None:
  """Raises an AvemoError for what the corpus cannot have."""
  for name, value, usual in (
    ('--redraw', redraw, False),
    ('--longer', longer, 1),
  ):
    if value != usual and room is not aff_wild2:
      raise errors.AvemoError(
        f'{corpus}: {name} is for films that are labelled by frame, aff_wild2'
      )
  if not 0.1 <= longer <= 100:
    raise errors.AvemoError(f'--longer {longer:g}: 0.1 to 100 times')
  if size not in room.SIZES:
    known = ', '.join(f'{width}x{height}' for width, height in room.SIZES)
    raise errors.AvemoError(f'{corpus}: pictures are {known}, not {size}')
  if seed < 0:
    raise errors.AvemoError(f'seed={seed}: a whole number from 0')
  if clips_per_speaker is not None and clips_per_speaker < 1:
    raise errors.AvemoError(
      f'clips_per_speaker={clips_per_speaker}: at least one'
    )


def _choose_names(
  room, corpus, speakers, clips_per_speaker, videos, seed, quirks, avoid
) -> set[str]:
  """Names of the clips: those of quirks, and of speakers or films drawn."""
  required = room.required_clips(quirks)
  wanted = {room.describe(name)[0] for name in required}
  clash = sorted(wanted.intersection(avoid))
  if clash:
    raise errors.AvemoError(
      f'{corpus}: quirks are clips of {", ".join(clash)}, whom the other '
      'simulation has; leave out --quirks or --other-than'
    )
  if room.FOLDS:
    _refuse(corpus, 'videos', videos, 'speakers')
    left = choice.leave_out(room.FOLDS, avoid)
    count = _find_count(left, speakers, avoid, 'speakers')
    chosen = choice.choose_speakers(left, count, wanted)
  else:
    _refuse(corpus, 'speakers', speakers, 'videos')
    _refuse(corpus, 'clips_per_speaker', clips_per_speaker, 'videos')
    (left,) = choice.leave_out((room.SPEAKERS,), avoid)
    count = _find_count((left,), videos, avoid, 'videos')
    chosen = choice.choose_videos(left, count)
  names = set(required)
  for speaker in chosen:
    names |= set(choice.choose_clips(room, speaker, clips_per_speaker, seed))
  return names


def _find_count(left, count, avoid, what):
  if avoid:
    return choice.count_left(left, count, what)
  return choice.USUAL_COUNT if count is None else count


def _refuse(corpus, name, value, other):
  if value is not None:
    raise errors.AvemoError(
      f'{corpus}: {name}={value} does not apply; say how many {other}'
    )


def _find_room(corpus):
  if corpus not in CORPORA:
    raise errors.AvemoError(
      f'cannot simulate {corpus!r}; one of {", ".join(CORPORA)}'
    )
  return CORPORA[corpus]


def _draw_traits(speaker, seed):
  return actor.draw_traits(speaker, actor.find_sex(speaker), seed)


def _make_actor(simulation, speaker):
  room = CORPORA[simulation.corpus]
  size = (simulation.media['width'], simulation.media['height'])
  fps = room.FPS
  if not room.FOLDS:
    # What many people have sent in is of many sizes and rates.
    size, fps = room.find_form(speaker, size)
  return actor.Actor(
    speaker,
    _draw_traits(speaker, simulation.seed),
    seed=simulation.seed,
    size=size,
    fps=fps,
  )


def _fill(root, simulation, workers, progress):
  """Writes the whole tree into an empty folder."""
  room = CORPORA[simulation.corpus]
  room.make_folders(root, simulation)
  groups = {}
  for clip in simulation.clips:
    groups.setdefault(clip.speaker, []).append(clip)
  jobs = [
    group[first : first + _CHUNK]
    for group in groups.values()
    for first in range(0, len(group), _CHUNK)
  ]
  bar = tqdm.tqdm(
    total=len(simulation.clips),
    desc=f'simulate {simulation.corpus}',
    unit='clip',
    # On a terminal alone: a log file would fill with bars.
    disable=None if progress else True,
  )
  with bar:
    if workers <= 1 or len(jobs) == 1:
      for job in jobs:
        _write_job(root, simulation, job, bar.update)
    else:
      _write_in_processes(root, simulation, jobs, workers, bar.update)
  make_actor = functools.partial(_make_actor, simulation)
  room.finish(root, simulation, make_actor, simulation.media['layout'])
  cues.save(simulation, root)


def _write_in_processes(root, simulation, jobs, workers, report):
  slim = dataclasses.replace(simulation, clips=(), speakers={})
  # A parent that has started threads must not be forked.
  context = multiprocessing.get_context('spawn')
  with concurrent.futures.ProcessPoolExecutor(
    workers, mp_context=context, initializer=cv2.setNumThreads, initargs=(1,)
  ) as pool:
    futures = {pool.submit(_write_job, root, slim, job): job for job in jobs}
    try:
      for future in concurrent.futures.as_completed(futures):
        future.result()
        report(len(futures[future]))
    except concurrent.futures.process.BrokenProcessPool as error:
      raise errors.AvemoError(
        'a worker process died, perhaps for want of memory: use fewer workers; '
        "a script puts what it does under `if __name__ == '__main__':`"
      ) from error
    except BaseException:
      pool.shutdown(wait=True, cancel_futures=True)
      raise


def _write_job(root, simulation, clips, report=None):
  room = CORPORA[simulation.corpus]
  performer = _make_actor(simulation, clips[0].speaker)
  media = simulation.media | {'quirks': simulation.quirks}
  for clip in clips:
    room.write_clip(root, clip, performer, media)
    if report:
      report(1)


def _check_free(out):
  try:
    if out.is_dir() and not any(out.iterdir()):
      return
    taken = out.exists()
  except OSError as error:
    raise _explain(out, error) from error
  if taken:
    raise errors.AvemoError(
      f'{out}: already exists; remove it, or write elsewhere'
    )


def _explain(out, error):
  reason = error.strerror or str(error)
  return errors.AvemoError(
    f'{out}: cannot write the corpus ({reason}); choose a folder that can be '
    'written and has room'
  )
