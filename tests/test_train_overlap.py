"""That weights of other runs bring no unseen speaker into a training."""

import json

import numpy as np
import pytest
import small_run

from avemo import errors
from avemo.data import folds, parts, seen
from avemo.evaluate import caveats
from avemo.evaluate import run as evaluate_run
from avemo.train import about, loop, overlap
from avemo.train import run as run_lib


@pytest.fixture(scope='module')
def dataset():
  return small_run.make_dataset(frames=4)


@pytest.fixture(scope='module')
def source(tmp_path_factory, dataset):
  """A run of fold 1, for which speakers of fold 0 are trained on."""
  workdir = tmp_path_factory.mktemp('source')
  loop.train(make_config(data={'fold': 1}), workdir, dataset=dataset)
  return workdir


def make_config(**sections):
  return small_run.make_config(
    steps=2, optim={'lr': 0.05, 'warmup': 1}, **sections
  )


def find_unseen(dataset, fold=0):
  own = (parts.Part('small_av', 'small_av', 'crema_d_hicmae_5fold', fold),)
  test = parts.find_split(dataset, own, 'test')
  return np.unique(dataset.index['speaker'][test])


def test_a_run_says_whom_it_has_learned_from(dataset, source):
  (entry,) = json.loads((source / seen.FILE).read_text())
  found = entry['corpora']['crema_d']
  unseen = set(find_unseen(dataset, 1))
  assert entry['labels'] and unseen
  assert not unseen & {
    *found['trained']['speaker'],
    *found['chosen']['speaker'],
  }
  assert not {*found['trained']['speaker']} & {*found['chosen']['speaker']}
  assert set(find_unseen(dataset)) <= {*found['trained']['speaker']}
  assert len(found['trained']['clip_id']) == 18


def test_a_tower_that_knows_test_speakers_is_refused(
  tmp_path, dataset, source, monkeypatch
):
  init = {'audio': str(source), 'checkpoint': 'last'}
  (speaker,) = find_unseen(dataset)
  with pytest.raises(errors.AvemoError, match=f'init.audio: .* {speaker}') as e:
    loop.train(make_config(init=init), tmp_path / 'refused', dataset=dataset)
  assert 'test part' in str(e.value) and 'allow_overlap' in str(e.value)
  # Allowed, it is told beside the score, and to those who take it up again.
  config = make_config(init=init | {'allow_overlap': True})
  loop.train(config, tmp_path / 'tuned', dataset=dataset)
  assert [e['path'] for e in seen.read(tmp_path / 'tuned')] == [
    str(tmp_path / 'tuned'),
    str(source),
  ]
  monkeypatch.setattr(parts, 'open_parts', lambda *_: dataset)
  metrics = evaluate_run.evaluate(tmp_path / 'tuned', checkpoint='last')
  said = [line for line in metrics['warnings'] if str(source) in line]
  assert len(said) == 1 and speaker in said[0]
  assert metrics['overlap'] == said
  assert said[0] in (tmp_path / 'tuned/eval/test/report.html').read_text()
  third = make_config(init=init | {'audio': str(tmp_path / 'tuned')})
  run = run_lib.make_run(third, dataset)
  with pytest.raises(errors.AvemoError, match=str(source)):
    overlap.check(third, run.feed)


def test_the_same_fold_is_no_leak(dataset, source):
  config = make_config(data={'fold': 1}, init={'audio': str(source)})
  assert not overlap.check(config, run_lib.make_run(config, dataset).feed)


def test_towers_of_films_are_looked_at_too(dataset, source):
  towers = {'sound': {'path': str(source), 'modality': 'audio'}}
  run = run_lib.make_run(make_config(), dataset)
  config = make_config(features={'towers': towers})
  with pytest.raises(errors.AvemoError, match='features.towers.sound: '):
    overlap.check(config, run.feed)
  config['features']['allow_overlap'] = True
  assert len(overlap.check(config, run.feed)) == 1


def test_pretraining_without_labels_is_contact_and_no_leak(tmp_path, dataset):
  config = small_run.make_pretraining_config(data={'fold': 1})
  about.write(tmp_path, config, run_lib.make_run(config, dataset))
  (entry,) = seen.read(tmp_path)
  assert not entry['labels']
  config = make_config(init={'video': str(tmp_path)})
  lines = overlap.check(config, run_lib.make_run(config, dataset).feed)
  assert lines and all('without labels' in line for line in lines)


def test_clips_count_where_speakers_have_no_names(dataset, source):
  entries = seen.read(source)
  for entry in entries:
    del entry['corpora']['crema_d']['trained']['speaker']
  own = (parts.Part('small_av', 'small_av', 'crema_d_hicmae_5fold', 0),)
  rows = np.arange(30)
  ((_, how),) = seen.find_shared(entries, own, dataset, rows, 'trained')
  assert how.startswith('was trained on 18 clips of crema_d')


def find_shared(dataset, entry, kind='trained'):
  own = (parts.Part('small_av', 'small_av', 'crema_d_hicmae_5fold', 0),)
  test = parts.find_split(dataset, own, 'test')
  entry = {'path': 'there', 'labels': True, 'corpora': entry}
  return [how for _, how in seen.find_shared([entry], own, dataset, test, kind)]


def test_recordings_and_sound_count_as_well(tmp_path, dataset, monkeypatch):
  own = (parts.Part('small_av', 'small_av', 'crema_d_hicmae_5fold', 0),)
  test = parts.find_split(dataset, own, 'test')
  none = np.zeros(0, np.int64)
  made = seen.describe(tmp_path, dataset, test, none, has_labels=True)
  known = made['corpora']['crema_d']['trained']
  recording, sound = known['recording'][:1], known['audio_sha256'][:2]
  (how,) = find_shared(
    dataset, {'crema_d': {'trained': {'recording': recording}}}
  )
  assert how == f'was trained on 1 recording of crema_d, such as {recording[0]}'
  # The same sound may be in another corpus, a recording of that name not.
  elsewhere = {'ravdess': {'trained': known | {'audio_sha256': sound}}}
  (how,) = find_shared(dataset, elsewhere)
  assert how.startswith('was trained on 2 sounds of crema_d')
  # Where the fold has it on both sides, as it may where nobody knows the
  # speakers, its protocol answers.
  split = folds.find_split(dataset, 'crema_d_hicmae_5fold', 0)
  monkeypatch.setattr(folds, 'find_split', lambda *_: split)
  alike = small_run.make_dataset(audio_sha256=np.full(30, 'one'))
  silence = {'crema_d': {'trained': {'audio_sha256': ['one']}}}
  assert not find_shared(alike, silence)


def test_weights_of_which_nothing_is_known_are_told(tmp_path, dataset):
  old = tmp_path / 'old'
  old.mkdir()
  # A conversion has no config.
  assert seen.read(old) == []
  (old / 'config.json').write_text('{}')
  config = make_config(init={'audio': str(old)})
  run = run_lib.make_run(config, dataset)
  (line,) = overlap.check(config, run.feed)
  assert line.startswith('warning: init.audio: ') and 'not known' in line
  about.write(tmp_path, config, run, resumed=True)
  own, source = seen.read(tmp_path)
  assert source['unknown'] and source['path'] == str(old)
  records = run.feed.val
  parts_ = parts.read(config['data'])
  given = config, parts_, dataset, records
  assert caveats.list_overlaps(tmp_path, *given)[1][0].startswith(str(old))
  (tmp_path / seen.FILE).unlink()
  (tmp_path / 'config.json').write_text('{}')
  known, unknown = caveats.list_overlaps(tmp_path, *given)
  assert not known and unknown[0].startswith(str(tmp_path))
  assert caveats.list_overlaps(tmp_path, {}, *given[1:]) == ([], [])
