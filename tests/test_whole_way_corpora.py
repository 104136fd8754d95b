"""Each further corpus from odd raw files to scores of unseen speakers."""

import json

import numpy as np
import pytest
import small_run

from avemo.corpora import msp_improv as msp_improv_names
from avemo.data import schema
from avemo.evaluate import run, table
from avemo.simulate import cues
from avemo.train import loop
from datasets_tfds import prepare

PROTOCOLS = {
  'enterface': 'enterface_maedfer_5fold',
  'msp_improv': 'msp_improv_hicmae_6fold',
}
# Clips that were simulated and cannot be used.
LEFT_OUT = {
  'enterface': set(),
  'msp_improv': {
    'MSP-IMPROV-S01A-F01-S-MF01',
    'MSP-IMPROV-S01A-M01-T-MF01',
  },
}


@pytest.fixture(scope='module')
def opened(tiny_corpus):
  name, root, data_dir = tiny_corpus
  dataset = schema.open_dataset(f'{name}_av', data_dir)
  lines = (dataset.directory / 'quarantine.jsonl').read_text().splitlines()
  return name, cues.load(root), dataset, [json.loads(line) for line in lines]


def test_records_are_the_clips_that_were_simulated(opened):
  name, simulation, dataset, _ = opened
  planned = {clip.clip_id: clip for clip in simulation.clips}
  found = dataset.index['clip_id'].tolist()
  assert found == sorted(set(planned) - LEFT_OUT[name])
  for number, clip_id in enumerate(found):
    clip = planned[clip_id]
    row = {key: column[number] for key, column in dataset.index.items()}
    assert (row['speaker'], row['emotion']) == (clip.speaker, clip.emotion)
    assert (row['num_faces'] > 0) == (clip.face != cues.MISSING), clip_id
    assert (row['num_samples'] > 0) == (clip.voice != cues.MISSING), clip_id
    assert row['duration'] == pytest.approx(clip.seconds, abs=0.1)


def test_what_is_left_out_is_accounted_for(opened):
  name, _, dataset, lines = opened
  told = {
    line['path'].rpartition('/')[2]: (line['reason'], line['kept'])
    for line in lines
  }
  expected = {
    'enterface': {
      's6_an.avi': 'not cut into sentences',
      's12_an_1.avi': 'not a file name of eNTERFACE',
    },
    'msp_improv': {
      'MSP-IMPROV-S01A-F01-S-MF01.wav': 'no usable picture',
      'MSP-IMPROV-S01A-M01-T-MF01.avi': 'no usable sound',
      'Evalution.txt': "'?' is none of A, S, H, N, O, X",
    },
  }[name]
  assert told.keys() == expected.keys()
  for path, (reason, kept) in told.items():
    assert expected[path] in reason and not kept
  report = prepare.read_report(dataset.directory)
  lacking = {'picture': 1, 'sound': 1} if name == 'msp_improv' else {}
  assert report.lacking == lacking and report.left_out >= sum(lacking.values())
  told = 'left out: 2 clips, 1 for want of its picture, 1 for want of its sound'
  assert (told in str(report)) == bool(lacking)


def test_labels_are_those_of_names_and_ratings(opened):
  name, simulation, dataset, _ = opened
  index = dataset.index
  if name == 'enterface':
    subjects = [c.split('/')[0] for c in index['clip_id']]
    assert [f'subject_{s}' for s in index['speaker']] == subjects
    odd = [c for c in index['clip_id'] if c.endswith('/s12_an_1')]
    assert [c.split('/')[0] for c in odd] == ['subject_11', 'subject_12']
    return
  assert np.isfinite(index['raw_activation']).sum() == len(index['speaker']) - 1
  known = np.isfinite(index['raw_activation'])
  np.testing.assert_allclose(
    index['arousal'][known],
    (3 - index['raw_activation'][known]) / 2,
    atol=1e-6,
  )
  np.testing.assert_allclose(
    index['valence'][known],
    (index['raw_valence'][known] - 3) / 2,
    atol=1e-6,
  )
  assert set(index['num_raters']) == {0, 5}
  consensus = dict(zip(index['clip_id'], index['consensus'], strict=True))
  said = {c.clip_id: c.emotion for c in simulation.clips}
  for clip_id, word in consensus.items():
    assert said[clip_id] in (word, '')
  assert sorted(
    consensus[c] for c in consensus if not said[c]
  ) == ['', 'no agreement', 'other']  # fmt: skip
  voted = index['votes'].sum(1) + index['votes_other']
  np.testing.assert_array_equal(voted, index['num_raters'])
  for emotion, votes in zip(index['emotion'], index['votes'], strict=True):
    if emotion:
      assert msp_improv_names.EMOTIONS[votes.argmax()] == emotion


def test_a_short_training_is_scored_on_unseen_speakers(tiny_corpus, tmp_path):
  name, _, data_dir = tiny_corpus
  config = small_run.make_config(
    steps=2,
    data_dir=str(data_dir),
    data={
      'name': f'{name}_av',
      'protocol': PROTOCOLS[name],
      # So that what is trained on, chosen on and scored is not empty.
      'fold': 1,
      'batch_size': 8,
    },
    optim={'warmup': 0},
  )
  loop.train(config, tmp_path)
  run.evaluate(tmp_path)
  metrics = json.loads((tmp_path / 'eval/test/metrics.json').read_text())
  found = table.read(tmp_path / 'eval/test/predictions.csv')
  assert metrics['num_examples'] == len(found.clip_id) > 0
  folds = {'enterface': range(11, 20), 'msp_improv': (2,)}[name]
  assert {int(s.lstrip('FM')) for s in found.speaker} <= set(folds)
  assert set(found.label) <= set(schema.open_dataset(
    f'{name}_av', data_dir).emotions)  # fmt: skip
