"""The converter and the tower together, against outputs of torchvggish."""

import functools
import itertools

import golden_sources
import jax
import numpy as np
import pytest

from avemo import errors
from avemo.convert import readers
from avemo.convert import vggish as family
from avemo.models import emotion

GOLDEN = np.load(golden_sources.GOLDEN / 'vggish.npz')
# Of the scale of an output.
TOLERANCE = 1e-5


def draw_torch():
  shapes = golden_sources.read_listing(GOLDEN['names'], GOLDEN['shapes'])
  return {
    name: golden_sources.draw_tensor(name, shape)
    for name, shape in shapes.items()
  }


def draw_tensorflow():
  """The same weights by TensorFlow's names and in its layout."""
  torch, tensors = draw_torch(), {}
  for theirs, name in (*family.CONVOLUTIONS.values(), *family.DENSES.values()):
    weight = torch[f'{name}.weight']
    axes = (2, 3, 1, 0) if weight.ndim == 4 else (1, 0)
    tensors[f'vggish/{theirs}/weights'] = weight.transpose(axes)
    tensors[f'vggish/{theirs}/biases'] = torch[f'{name}.bias']
  return tensors


def make_batch():
  return emotion.example_batch(samples=48_000)


@functools.cache
def compile_tiny(final_relu):
  section = {'name': 'vggish', 'variant': 'tiny', 'final_relu': final_relu}
  model = emotion.Emotion(1, use=('audio',), audio=section)
  patches = golden_sources.draw('patches', (3, 96, 64))

  @jax.jit
  def run(variables):
    return model.apply(
      variables, patches[None], method=lambda module, x: module.audio(x)
    )[0]

  return run, golden_sources.find_shapes(model, make_batch())


def compute(tensors, final_relu=None):
  plan = family.plan(golden_sources.make_source(tensors))
  assert plan.model['use'] == ('audio',)
  if final_relu is None:
    final_relu = plan.model['audio']['final_relu']
  run, shapes = compile_tiny(final_relu)
  return jax.device_get(run(golden_sources.fill(plan, shapes)))


def agrees(found, expected):
  limit = TOLERANCE * np.abs(expected).max()
  return bool(np.abs(found - expected).max() <= limit)


def test_converted_files_give_the_embeddings_of_their_sources():
  assert agrees(compute(draw_torch()), GOLDEN['rectified'])
  assert agrees(compute(draw_tensorflow()), GOLDEN['embeddings'])
  # The ReLU is the sources' only difference.
  assert agrees(compute(draw_torch(), False), GOLDEN['embeddings'])
  assert not agrees(GOLDEN['embeddings'], GOLDEN['rectified'])


def test_no_two_tensors_of_one_shape_can_be_swapped_unseen():
  tensors = draw_torch()
  twins = [
    pair
    for pair in itertools.combinations(tensors, 2)
    if tensors[pair[0]].shape == tensors[pair[1]].shape
  ]
  assert len(twins) >= 3
  for first, second in twins:
    swapped = tensors | {first: tensors[second], second: tensors[first]}
    assert not agrees(compute(swapped), GOLDEN['rectified']), (first, second)


def test_dense_layers_read_time_then_band_then_channel():
  tensors = draw_torch()
  name = 'embeddings.0.weight'
  # As if channels came first, which torch's own flattening would do.
  kernel = tensors[name].reshape(-1, 6, 4, 10).transpose(0, 3, 1, 2)
  tensors[name] = kernel.reshape(tensors[name].shape)
  assert not agrees(compute(tensors), GOLDEN['rectified'])


def test_a_module_that_whitens_converts_like_one_that_does_not():
  tensors = draw_torch() | {
    'pproc.pca_eigen_vectors': np.eye(128),
    'pproc.pca_means': np.zeros((128, 1)),
  }
  assert agrees(compute(tensors), GOLDEN['rectified'])


def test_the_file_holds_no_head():
  plan = family.plan(golden_sources.make_source(draw_torch()))
  assert (plan.num_classes, plan.classes) == (0, ())
  shapes = compile_tiny(True)[1]
  assert set(golden_sources.fill(plan, shapes)['params']) == {'audio'}


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (lambda x: x.pop('features.0.bias'), 'it is another model'),
    (lambda x: x.update({'features.0.bias': np.zeros(32)}), '32 wide'),
  ],
)
def test_other_files_are_refused(change, message):
  tensors = draw_torch()
  change(tensors)
  with pytest.raises(errors.AvemoError, match=f'weights.pt.*{message}'):
    family.plan(golden_sources.make_source(tensors))


def test_pca_is_read_from_its_own_file_alone():
  vectors = golden_sources.draw('vectors', (128, 128)).astype(np.float64)
  means = golden_sources.draw('means', (128, 1))
  source = golden_sources.make_source(
    {'pca_eigen_vectors': vectors, 'pca_means': means}
  )
  pca = family.read_pca(source)
  assert pca['eigen_vectors'].dtype == np.float32
  np.testing.assert_array_equal(pca['means'], means[:, 0])
  with pytest.raises(errors.AvemoError, match='convert the weights'):
    family.plan(source)
  with pytest.raises(errors.AvemoError, match='vggish_pca_params.npz'):
    family.read_pca(golden_sources.make_source(draw_torch()))
  uneven = source.tensors | {'pca_means': means[:5]}
  with pytest.raises(errors.AvemoError, match='do not fit 5'):
    family.read_pca(golden_sources.make_source(uneven))


def test_published_figures_are_compared_within_a_tenth():
  run, shapes = compile_tiny(False)
  plan = family.plan(golden_sources.make_source(draw_tensorflow()))
  variables = golden_sources.fill(plan, shapes)
  asked = []

  def apply(batch, **options):
    asked.append((batch['speech'], options))
    return {'tokens': run(variables)}

  # Random weights are not the published ones.
  rows = family.verify(apply)
  assert [(name, ok) for name, _, _, ok in rows] == [
    ('mean', False),
    ('std', False),
  ]
  speech, options = asked[0]
  assert options == {'final_relu': False}
  spectrum = np.abs(np.fft.rfft(speech[0]))
  assert speech.shape == (1, 48_000)
  assert spectrum.argmax() == 3 * 1_000
  tokens = np.array([-1, 1]) * 0.35 + 0.00068
  rows = family.verify(lambda batch, **options: {'tokens': tokens})
  assert all(ok for *_, ok in rows)


def test_tensorflows_own_file_converts_without_tensorflow():
  source = readers.read(golden_sources.GOLDEN / 'vggish.ckpt')
  assert source.format == 'tf_checkpoint_v1'
  expected = draw_tensorflow()
  assert set(source.tensors) == set(expected)
  for name, array in expected.items():
    np.testing.assert_array_equal(source.tensors[name], array)
  assert agrees(compute(source.tensors), GOLDEN['embeddings'])


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (lambda x: x[: len(x) // 2] + x[-48:], 'not a whole TensorFlow'),
    (lambda x: x[:5_000] + b'?' + x[5_001:], 'checksum'),
  ],
)
def test_a_broken_checkpoint_is_refused(change, message, tmp_path):
  data = (golden_sources.GOLDEN / 'vggish.ckpt').read_bytes()
  path = tmp_path / 'vggish_model.ckpt'
  path.write_bytes(change(data))
  with pytest.raises(errors.AvemoError, match=f'{path}.*{message}'):
    readers.read(path)
