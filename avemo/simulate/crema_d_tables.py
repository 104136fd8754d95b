"""CREMA-D's CSV tables: names, demographics and the raters' votes."""

import pathlib
from collections.abc import Sequence

import numpy as np

from avemo.simulate import cues

_LETTERS = 'ADFHNS'
_WORDS = ('Anger', 'Disgust', 'Fear', 'Happy', 'Neutral', 'Sad')
_EMOTIONS = ('anger', 'disgust', 'fear', 'happiness', 'neutral', 'sadness')
_CHANNELS = ('Voice', 'Face', 'MultiModal')

# How many people rate a clip, and how often, as in the real table.
_RATERS, _RATER_SHARES = (7, 8, 9, 10, 11), (0.02, 0.1, 0.32, 0.5, 0.06)
# Chance that a rater names what is shown, by the number of channels showing it.
_AGREEMENT = {0: 0.7, 1: 0.74, 2: 0.88}


def write(
  root: pathlib.Path, simulation: cues.Simulation, numbers: dict[str, int]
):
  """Writes the four tables, quoted as R does it.

  Args:
    root: the corpus's folder.
    simulation: its cues; raters of the voice judge the voice's cue, and so on.
    numbers: stimulus number of each clip.
  """
  clips = sorted(simulation.clips, key=lambda clip: numbers[clip.clip_id])
  rows = [f'{numbers[clip.clip_id]},"{clip.clip_id}"' for clip in clips]
  # The real file ends without a line break.
  text = '\n'.join(['"Stimulus_Number","Filename"', *rows])
  (root / 'SentenceFilenames.csv').write_text(text, encoding='utf-8')
  _write_demographics(root / 'VideoDemographics.csv', simulation)

  votes, summary = ([], [], []), []
  for clip in clips:
    number = numbers[clip.clip_id]
    line = f'"{number}","{clip.clip_id}"'
    for channel in range(3):
      table = _vote(clip, channel, simulation.seed)
      row = f'"{channel + 1}{number:05d}"'
      votes[channel].append(_tabulate(row, clip.clip_id, *table))
      line += ',"{}","{}"'.format(*_summarise(*table))
    summary.append(line)
  folder = root / 'processedResults'
  folder.mkdir()
  columns = ','.join(f'"{name}Vote","{name}Level"' for name in _CHANNELS)
  header = f'"","FileName",{columns}'
  _write_lines(folder / 'summaryTable.csv', [header, *summary])
  _write_lines(folder / 'tabulatedVotes.csv', [_header(), *sum(votes, [])])


def _write_lines(path, lines):
  path.write_text('\n'.join(lines) + '\n', encoding='utf-8')


def _write_demographics(path, simulation):
  lines = ['"ActorID","Age","Sex","Race","Ethnicity"']
  for speaker, traits in sorted(simulation.speakers.items()):
    look = traits['look']
    rng = cues.random_generator(simulation.seed, 'demographics', speaker)
    brown = sum(look['skin']) < 420
    race = 'African American' if brown else rng.choice(['Caucasian', 'Asian'])
    ethnicity = 'Hispanic' if rng.random() < 0.1 else 'Not Hispanic'
    sex = look['sex'].capitalize()
    lines.append(f'{speaker},{look["age"]},"{sex}","{race}","{ethnicity}"')
  _write_lines(path, lines)


def _vote(clip, channel, seed):
  """Votes [6] and the mean, median and normed levels of one channel's raters.

  Returns:
    votes int [6]; levels list of 6 arrays in 0..100; the same, normed to the
    range that each rater uses.
  """
  rng = cues.random_generator(seed, 'votes', clip.clip_id, str(channel))
  seen = {0: [clip.voice], 1: [clip.face], 2: [clip.voice, clip.face]}[channel]
  shown = [cue for cue in seen if cue in _EMOTIONS]
  neutral = _EMOTIONS.index('neutral')
  target = _EMOTIONS.index(shown[0]) if shown else neutral
  agreement = _AGREEMENT[len(shown)]
  chances = np.full(6, (1 - agreement) / 6)
  chances[target] += agreement
  if target != neutral:
    # Who does not see it mostly sees nothing.
    chances = 0.5 * chances + 0.5 * np.where(np.arange(6) == target, chances, 0)
    chances[neutral] += 1 - chances.sum()
  count = rng.choice(_RATERS, p=_RATER_SHARES)
  answers = rng.choice(6, size=count, p=chances)
  levels = np.clip(np.rint(rng.normal(62, 15, count)), 1, 100)
  low, high = rng.uniform(0, 12, count), rng.uniform(94, 100, count)
  normed = np.clip(100 * (levels - low) / (high - low), 0, 100)
  votes = np.bincount(answers, minlength=6)
  split = [levels[answers == k] for k in range(6)]
  return votes, split, [normed[answers == k] for k in range(6)]


def _winners(votes):
  return [k for k in range(6) if votes[k] == votes.max()]


def _header():
  names = ['', *_LETTERS, 'fileName', 'numResponses', 'agreement', 'emoVote']
  for suffix in ('Resp', 'RespNorm'):
    names.append(f'meanEmo{suffix}')
    names += [f'mean{word}{suffix}' for word in _WORDS]
    names.append(f'medianEmo{suffix}')
  return ','.join(f'"{name}"' for name in names)


def _tabulate(row, name, votes, levels, normed):
  """One line of tabulatedVotes.csv; -1 where nobody chose the emotion."""
  vote = ':'.join(_LETTERS[k] for k in _winners(votes))
  fields = [row, *map(str, votes), f'"{name}"', str(votes.sum())]
  fields += [_number(votes.max() / votes.sum()), f'"{vote}"']
  for values in (levels, normed):
    together = np.concatenate(values)
    means = [v.mean() if len(v) else -1 for v in values]
    fields += [_number(x) for x in (together.mean(), *means)]
    fields.append(_number(np.median(together)))
  return ','.join(fields)


def _number(value: float) -> str:
  return f'{value:.15g}'


def _summarise(votes, levels, normed) -> Sequence[str]:
  """Vote and level for summaryTable.csv; ties are joined by colons."""
  del normed
  winners = _winners(votes)
  vote = ':'.join(_LETTERS[k] for k in winners)
  texts = [f'{levels[k].mean():.2f}'.rstrip('0').rstrip('.') for k in winners]
  if len(texts) > 1:
    # R formats the members of a tie to the same number of decimals.
    decimals = max(len(text.partition('.')[2]) for text in texts)
    texts = [f'{levels[k].mean():.{decimals}f}' for k in winners]
  return vote, ':'.join(texts)
