"""Every record once, views averaged, on any number of devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_dataset

from avemo import errors
from avemo.data import clips, labels
from avemo.evaluate import predictions
from avemo.runtime import mesh as mesh_lib

SPACE = labels.LabelSpace.of((*small_dataset.EMOTIONS, 'surprise'))
OPTIONS = clips.ClipOptions(use=('audio',), seconds=0.05)


class Model:
  """Logits from the first samples of the speech, by a fixed rule."""

  def apply(self, variables, batch, train):
    assert not train
    x = batch['speech'][:, :4].astype(jnp.float32) / 1000
    return {'emotion': x * variables['params']['scale'] * jnp.arange(1.0, 5.0)}


VARIABLES = {'params': {'scale': jnp.float32(1.5)}}


def make(count):
  return small_dataset.make_dataset(
    small_dataset.Clip(frames=0, samples=4000, emotion=emotion)
    for emotion in (('anger', '', 'neutral') * 9)[:count]
  )


def predict(dataset, records, views=1, mesh=None, **options):
  mesh = mesh or mesh_lib.make_mesh()
  return predictions.predict_records(
    predictions.make_predict_step(Model(), mesh),
    VARIABLES,
    dataset,
    records,
    SPACE,
    options=OPTIONS,
    batch_size=8,
    mesh=mesh,
    views=views,
    **options,
  )


def expect(dataset, record, views):
  rows = []
  for view in range(views):
    clip = clips.load_clip(
      dataset.source[record], OPTIONS, clips.View(view, views)
    )
    logits = clip['speech'][:3] / 1000 * 1.5 * np.arange(1, 4)
    rows.append(np.exp(logits) / np.exp(logits).sum())
  return np.append(np.mean(rows, axis=0), 0)


@pytest.mark.parametrize('views', [1, 3])
def test_views_are_averaged_by_record_in_the_order_asked(views):
  dataset, records = make(13), [12, 3, 0, 7, 5, 9, 1, 2, 4]
  seen = []
  found = predict(dataset, records, views, progress=seen.append)
  np.testing.assert_array_equal(found.record, records)
  expected = [expect(dataset, record, views) for record in records]
  np.testing.assert_allclose(found.probabilities, expected, rtol=1e-5)
  assert found.probabilities.dtype == np.float64
  # Classes that the corpus does not annotate are never predicted.
  assert not found.probabilities[:, 3].any()
  assert found.emotion.tolist() == [0, 0, 0, -1, 2, 0, -1, 2, -1]
  assert sum(seen) == 9 * views
  labelled = found.emotion >= 0
  given = found.probabilities[labelled, found.emotion[labelled]]
  np.testing.assert_allclose(found.loss, -np.log(given).mean())


def test_one_device_predicts_what_eight_do():
  dataset, records = make(11), range(11)
  alone = mesh_lib.make_mesh(devices=jax.devices()[:1])
  one, eight = (predict(dataset, records, mesh=m) for m in (alone, None))
  np.testing.assert_allclose(
    one.probabilities, eight.probabilities, rtol=1e-6, atol=1e-7
  )


def test_nothing_asked_is_nothing_predicted():
  found = predict(make(3), [])
  assert found.probabilities.shape == (0, 4)
  assert np.isnan(found.loss)


def test_a_missing_or_doubled_row_is_an_error():
  dataset = make(4)
  with pytest.raises(errors.AvemoError, match='different'):
    predict(dataset, [1, 1, 2])
  rows = {
    'record': np.array([0, 0, 1]),
    'view': np.array([0, 1, 0]),
    'probabilities': np.ones((3, 4)),
    'emotion': np.zeros(3),
    'present': np.ones(3, bool),
  }
  with pytest.raises(errors.AvemoError, match='3 rows for 2 records'):
    predictions.average_views(rows, np.array([0, 1]), 2)


def test_nothing_is_said_of_a_record_that_holds_nothing():
  dataset = small_dataset.make_dataset(
    small_dataset.Clip(frames=0, samples=samples, emotion='anger')
    for samples in (4000, 0, 4000)
  )
  found = predict(dataset, [0, 1, 2], views=2)
  assert found.answered.tolist() == [True, False, True]
  np.testing.assert_allclose(found.probabilities.sum(-1), [1, 0, 1], rtol=1e-6)
  whole = predict(dataset, [0, 2], views=2)
  assert found.loss == whole.loss


def test_views_that_hold_nothing_do_not_count():
  rows = {
    'record': np.array([0, 0]),
    'view': np.array([0, 1]),
    'emotion': np.array([1, 1]),
    'probabilities': np.array([[0.0, 0.0], [0.25, 0.75]]),
    'present': np.array([False, True]),
  }
  found = predictions.average_views(rows, np.array([0]), 2)
  np.testing.assert_array_equal(found.probabilities, [[0.25, 0.75]])
