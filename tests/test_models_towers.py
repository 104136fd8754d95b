"""VideoMAE and the spectrogram ViT against forward passes in plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from avemo import errors
from avemo.models import heads, spectrogram_vit, videomae

# VideoMAE with the 400 classes of Kinetics; AST with the 527 of AudioSet.
VIDEO_COUNTS = {
  'tiny': 1_041_168,
  'small': 22_033_936,
  'base': 86_534_800,
  'large': 304_270_736,
  'huge': 632_119_440,
}
AUDIO_COUNTS = {
  'tiny': 1_050_127,
  'small': 22_063_631,
  'base': 86_594_063,
}


def randomize(tree, seed=0):
  """Every leaf random, so that none of them can be forgotten unseen."""
  leaves, structure = jax.tree.flatten(tree)
  draw = np.random.default_rng(seed)
  leaves = [0.2 * draw.standard_normal(x.shape, np.float32) for x in leaves]
  return jax.tree.unflatten(structure, leaves)


def init_shapes(tower, x):
  """The shapes of the parameters of a tower, its pooling included."""
  return jax.eval_shape(
    lambda x: tower.init(
      jax.random.key(0), x, method=lambda t, x: t.pool(t(x))
    ),
    jax.ShapeDtypeStruct(x, jnp.float32),
  )['params']


def run(tower, params, x):
  """Tokens and the pooled feature."""

  def both(params, x):
    tokens = tower.apply({'params': params}, x)
    return tokens, tower.apply({'params': params}, tokens, method='pool')

  return jax.device_get(jax.jit(both)(params, x))


def count(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


def count_head(width, num_classes):
  head = heads.Head(num_classes)
  return count(
    jax.eval_shape(head.init, jax.random.key(0), jnp.zeros((1, width)))
  )


@pytest.mark.parametrize('variant', videomae.VARIANTS)
def test_videomae_has_the_published_number_of_parameters(variant):
  shapes = init_shapes(videomae.VideoMAE(variant), (1, 16, 224, 224, 3))
  width, depth, num_heads = videomae.VARIANTS[variant]
  total = count(shapes) + count_head(width, 400)
  assert total == VIDEO_COUNTS[variant]
  assert shapes['patch_embed']['kernel'].shape == (2, 16, 16, 3, width)
  query = shapes['encoder']['blocks']['attn']['query']['kernel']
  assert query.shape == (depth, width, num_heads, width // num_heads)


@pytest.mark.parametrize('variant', spectrogram_vit.VARIANTS)
def test_spectrogram_vit_has_the_published_number_of_parameters(variant):
  tower = spectrogram_vit.SpectrogramViT(variant)
  shapes = init_shapes(tower, (1, 1024, 128))
  width = spectrogram_vit.VARIANTS[variant].width
  assert count(shapes) + count_head(width, 527) == AUDIO_COUNTS[variant]
  assert shapes['embedding']['positions'].shape == (1, 2 + 1212, width)


def test_small_has_heads_of_64():
  assert videomae.VARIANTS['small'].num_heads == 6


@pytest.mark.parametrize('module', [videomae, spectrogram_vit])
def test_tables_of_variants_are_frozen(module):
  with pytest.raises(TypeError):
    module.VARIANTS['tiny'] = None
  with pytest.raises(AttributeError):
    module.VARIANTS['tiny'].width = 1


# The reference: float64, loops over heads and patches, no code of ours.


def norm(x, p, epsilon):
  x = x - x.mean(-1, keepdims=True)
  x = x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon)
  return x * p['scale'] + p['bias']


def attend(x, p):
  """x [N, D] of one clip."""
  kernel = p['query']['kernel']
  mixed = np.zeros((len(x), kernel.shape[1], kernel.shape[2]))
  for head in range(kernel.shape[1]):
    q = x @ p['query']['kernel'][:, head] + p['query']['bias'][head]
    k = x @ p['key']['kernel'][:, head]
    if 'bias' in p['key']:
      k = k + p['key']['bias'][head]
    v = x @ p['value']['kernel'][:, head] + p['value']['bias'][head]
    score = np.exp(q @ k.T / np.sqrt(kernel.shape[2]))
    mixed[:, head] = score / score.sum(-1, keepdims=True) @ v
  return np.einsum('nkd,kdw->nw', mixed, p['out']['kernel']) + p['out']['bias']


def gelu(x):
  return x * (1 + scipy.special.erf(x / np.sqrt(2))) / 2


def encode(x, stack, epsilon):
  for number in range(len(stack['fc1']['bias'])):
    p = jax.tree.map(lambda leaf, n=number: leaf[n], stack)
    x = x + attend(norm(x, p['norm1'], epsilon), p['attn'])
    y = norm(x, p['norm2'], epsilon) @ p['fc1']['kernel'] + p['fc1']['bias']
    x = x + gelu(y) @ p['fc2']['kernel'] + p['fc2']['bias']
  return x


def reference_videomae(p, clip, epsilon, fc_epsilon):
  """clip [T, H, W, 3]; tokens and feature."""
  kernel = p['patch_embed']['kernel']
  width = kernel.shape[-1]
  tokens = []
  for t in range(0, clip.shape[0], 2):
    for h in range(0, clip.shape[1], 16):
      for w in range(0, clip.shape[2], 16):
        cube = clip[t : t + 2, h : h + 16, w : w + 16, :, None]
        tokens.append((cube * kernel).sum((0, 1, 2, 3)))
  x = np.array(tokens) + p['patch_embed']['bias']
  for n in range(len(x)):
    for j in range(width):
      angle = n / 10_000 ** (2 * (j // 2) / width)
      x[n, j] += np.cos(angle) if j % 2 else np.sin(angle)
  x = encode(x, p['encoder']['blocks'], epsilon)
  return x, norm(x.mean(0), p['fc_norm'], fc_epsilon)


def reference_spectrogram_vit(p, spectrogram, stride, epsilon):
  """spectrogram [F, M]; tokens and feature."""
  kernel = p['embedding']['patch_embed']['kernel'][:, :, 0]
  bands, times = kernel.shape[:2]
  picture = spectrogram.T
  x = [p['embedding']['cls'][0, 0], p['embedding']['distillation'][0, 0]]
  for m in range(0, picture.shape[0] - bands + 1, stride[0]):
    for f in range(0, picture.shape[1] - times + 1, stride[1]):
      patch = picture[m : m + bands, f : f + times, None]
      bias = p['embedding']['patch_embed']['bias']
      x.append((patch * kernel).sum((0, 1)) + bias)
  x = np.array(x) + p['embedding']['positions'][0]
  x = norm(encode(x, p['encoder']['blocks'], epsilon), p['norm'], epsilon)
  return x, norm((x[0] + x[1]) / 2, p['fc_norm'], epsilon)


def to_float64(tree):
  return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)


@pytest.mark.parametrize('shape', [(4, 32, 48), (6, 16, 32)])
def test_videomae_equals_numpy(shape):
  # Widely apart, so that one taken for the other is seen.
  epsilon, fc_epsilon = 0.02, 0.3
  tower = videomae.VideoMAE(
    'tiny',
    width=36,
    num_heads=3,
    depth=3,
    epsilon=epsilon,
    fc_epsilon=fc_epsilon,
  )
  clips = np.random.default_rng(3).standard_normal((2, *shape, 3), np.float32)
  params = randomize(init_shapes(tower, clips.shape))
  params['patch_embed'] = jax.tree.map(lambda x: x / 4, params['patch_embed'])
  tokens, feature = run(tower, params, clips)
  for number in range(2):
    expected = reference_videomae(
      to_float64(params), to_float64(clips[number]), epsilon, fc_epsilon
    )
    np.testing.assert_allclose(tokens[number], expected[0], atol=1e-4)
    np.testing.assert_allclose(feature[number], expected[1], atol=1e-4)


@pytest.mark.parametrize(
  ('patch', 'stride', 'size'),
  [((16, 16), (10, 10), (57, 48)), ((8, 4), (8, 3), (20, 24))],
)
def test_spectrogram_vit_equals_numpy(patch, stride, size):
  tower = spectrogram_vit.SpectrogramViT(
    'tiny',
    width=36,
    num_heads=3,
    depth=3,
    patch=patch,
    stride=stride,
    epsilon=0.02,
    fc_epsilon=0.02,
  )
  sounds = np.random.default_rng(4).standard_normal((2, *size), np.float32)
  params = randomize(init_shapes(tower, sounds.shape))
  tokens, feature = run(tower, params, sounds)
  for number in range(2):
    expected = reference_spectrogram_vit(
      to_float64(params), to_float64(sounds[number]), stride, 0.02
    )
    np.testing.assert_allclose(tokens[number], expected[0], atol=1e-4)
    np.testing.assert_allclose(feature[number], expected[1], atol=1e-4)


def test_tubelets_match_the_convolution():
  frames = np.random.default_rng(0).standard_normal((1, 4, 32, 32, 3))
  kernel = np.random.default_rng(1).standard_normal((2, 16, 16, 3, 8))
  cut = videomae.cut_tubelets(jnp.asarray(frames), (2, 16, 16))
  convolved = jax.lax.conv_general_dilated(
    jnp.asarray(frames),
    jnp.asarray(kernel),
    (2, 16, 16),
    'VALID',
    dimension_numbers=('NTHWC', 'THWIO', 'NTHWC'),
  )
  np.testing.assert_allclose(
    cut @ kernel.reshape(-1, 8), convolved.reshape(1, 8, 8), atol=1e-3
  )


def test_features_are_float32_whatever_computes():
  tower = videomae.VideoMAE('tiny', depth=1, dtype=jnp.bfloat16)
  shape = (1, 2, 16, 16, 3)
  tokens, feature = run(
    tower, randomize(init_shapes(tower, shape)), np.ones(shape, np.float32)
  )
  assert tokens.dtype == jnp.bfloat16
  assert feature.dtype == jnp.float32


def test_inputs_that_cannot_be_cut_are_named():
  with pytest.raises(errors.AvemoError, match='3 frames of 32x32.*2x16x16'):
    init_shapes(videomae.VideoMAE('tiny'), (1, 3, 32, 32, 3))
  with pytest.raises(errors.AvemoError, match='15 frames and 128 mel'):
    init_shapes(spectrogram_vit.SpectrogramViT('tiny'), (1, 15, 128))


def test_unknown_variants_and_fields_name_what_there_is():
  with pytest.raises(errors.AvemoError, match="'bas': did you mean 'base'"):
    init_shapes(videomae.VideoMAE('bas'), (1, 2, 16, 16, 3))
  with pytest.raises(TypeError, match='tubelets'):
    videomae.VideoMAE(tubelets=(2, 16, 16))


def test_frozen_videomae_trains_its_last_blocks_alone():
  tower = videomae.VideoMAE('tiny', width=16, frozen_blocks=3)
  clips = np.random.default_rng(3).standard_normal((1, 2, 32, 32, 3))
  params = randomize(init_shapes(tower, clips.shape))

  def loss(params):
    tokens = tower.apply({'params': params}, clips)
    feature = tower.apply({'params': params}, tokens, method='pool')
    return jnp.square(feature).sum()

  grads = jax.device_get(jax.jit(jax.grad(loss))(params))
  for leaf in jax.tree.leaves(grads['encoder']):
    assert (np.asarray(leaf[:3]) == 0).all()
    assert np.abs(leaf[3]).max() > 0
  for leaf in jax.tree.leaves(grads['patch_embed']):
    assert (np.asarray(leaf) == 0).all()
  assert np.abs(grads['fc_norm']['scale']).max() > 0
