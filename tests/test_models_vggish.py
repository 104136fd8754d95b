import golden_sources
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avemo import errors
from avemo.models import emotion, positions, vggish


def draw(*shape, seed=0):
  return np.random.default_rng(seed).standard_normal(shape, np.float32)


def randomize(shapes):
  leaves, structure = jax.tree.flatten(shapes)
  leaves = [0.2 * draw(*x.shape, seed=i) for i, x in enumerate(leaves)]
  return jax.tree.unflatten(structure, leaves)


def test_vggish_has_the_published_number_of_parameters():
  tower = vggish.VGGish()
  shapes = jax.eval_shape(
    lambda x: tower.init(jax.random.key(0), x), jnp.zeros((1, 2, 96, 64))
  )
  total = sum(leaf.size for leaf in jax.tree.leaves(shapes))
  assert total == 72_141_184


def test_tokens_after_the_end_are_zero_and_not_pooled():
  tower = vggish.VGGish('tiny')
  patches, count = draw(3, 4, 96, 64), np.array([4, 1, 0])
  params = randomize(
    jax.eval_shape(lambda x: tower.init(jax.random.key(0), x), patches)
  )

  def run(params, patches, count):
    tokens = tower.apply(params, patches, count)
    placed = tower.apply(params, patches, count, stop=0, method='begin')
    pooled = tower.apply(params, tokens, count, method='pool')
    return tokens, placed, pooled

  tokens, placed, pooled = jax.device_get(jax.jit(run)(params, patches, count))
  assert tokens.shape == (3, 4, 16)
  assert not tokens[1, 1:].any()
  assert not tokens[2].any()
  assert tokens[0].all()
  expected = [tokens[0].mean(0), tokens[1, 0], np.zeros(16)]
  np.testing.assert_allclose(pooled, expected, rtol=1e-5, atol=1e-5)
  table = positions.sincos_table(4, 16)
  np.testing.assert_allclose(placed - tokens, [table] * 3, atol=1e-5)


def make_model(**fields):
  audio = {'name': 'vggish', 'variant': 'tiny'}
  return emotion.Emotion(4, use=('audio',), audio=audio, **fields)


def make_batch():
  speech = (3_000 * draw(3, 40_000)).astype(np.int16)
  return {
    'speech': speech,
    'speech_length': np.array([40_000, 20_000, 9_000]),
    'has_audio': np.ones(3, bool),
  }


def test_the_model_reads_patches_of_what_each_clip_holds():
  model, batch = make_model(), make_batch()
  variables = randomize(jax.eval_shape(model.init, jax.random.key(0), batch))
  run = jax.jit(model.apply)
  before = run(variables, batch)['emotion']
  speech = batch['speech'].copy()
  for row, length in enumerate(batch['speech_length']):
    speech[row, length:] = -1
  after = run(variables, batch | {'speech': speech})['emotion']
  np.testing.assert_allclose(after, before, atol=1e-5)
  # The last clip is too short for a patch: only the head's bias is left.
  bias = variables['params']['head']['audio']['emotion']['bias']
  np.testing.assert_allclose(before[2], bias, atol=1e-6)
  assert np.abs(before[0] - before[1]).max() > 1e-3


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'features': {'num_mels': 32}}, 'no use for features.num_mels'),
    ({'augment': {'spec_augment': {}}}, 'no use for augment.spec_augment'),
  ],
)
def test_options_of_other_features_are_refused(fields, message):
  with pytest.raises(errors.AvemoError, match=message):
    make_model(**fields)


def test_every_parameter_learns_from_speech():
  model, batch = make_model(), make_batch()
  variables = randomize(jax.eval_shape(model.init, jax.random.key(0), batch))

  def loss(params):
    return jnp.square(model.apply({'params': params}, batch)['emotion']).sum()

  grads = jax.jit(jax.grad(loss))(variables['params'])
  for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
    assert np.abs(leaf).max() > 0, path
    assert np.isfinite(leaf).all(), path


def test_bytes_are_truncated_or_rounded():
  golden = np.load(golden_sources.GOLDEN / 'vggish.npz')['bytes']
  embeddings = golden_sources.draw('embeddings', (4, 128))
  pca = {
    'eigen_vectors': golden_sources.draw_tensor('vectors', (128, 128)),
    'means': golden_sources.draw('means', (128, 1))[:, 0],
  }
  rounded = vggish.postprocess(embeddings, **pca, rounding='round')
  assert rounded.dtype == jnp.uint8
  np.testing.assert_array_equal(rounded, golden)
  truncated = np.asarray(vggish.postprocess(embeddings, **pca))
  whitened = (embeddings - pca['means']).astype(float) @ pca['eigen_vectors'].T
  exact = (np.clip(whitened, -2, 2) + 2) * 255 / 4
  sure = np.abs(exact - np.round(exact)) > 1e-3
  np.testing.assert_array_equal(truncated[sure], np.floor(exact)[sure])
  assert (truncated != golden).mean() > 0.2
  assert golden.min() == 0
  assert golden.max() == 255


def test_whitening_refuses_what_does_not_fit():
  with pytest.raises(errors.AvemoError, match="did you mean 'round'"):
    vggish.postprocess(
      np.zeros((1, 2)), np.eye(2), np.zeros(2), rounding='rounds'
    )
  with pytest.raises(errors.AvemoError, match='pca_means'):
    vggish.postprocess(np.zeros((1, 3)), np.eye(2), np.zeros(2))
