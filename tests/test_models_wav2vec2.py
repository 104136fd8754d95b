"""Wav2Vec2 against a forward pass in plain NumPy, and its promises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from avemo import errors
from avemo.audio import waveform
from avemo.models import emotion, heads, wav2vec2

# transformers' Wav2Vec2Model. It has besides an embedding of masked frames
# (D) and keeps the positional kernel as a direction and a length a tap (128).
PUBLISHED = {'base': 94_371_712, 'large': 315_438_720, 'robust12': 164_284_032}
SIZES = {
  'variant': 'tiny',
  'width': 32,
  'depth': 2,
  'num_heads': 4,
  'channels': 12,
  'position_taps': 8,
  'position_groups': 4,
}
ROBUST = SIZES | {'norm': 'layer', 'conv_bias': True, 'post_norm': False}
BASE = SIZES | {'norm': 'group', 'conv_bias': False, 'post_norm': True}
STYLES = pytest.mark.parametrize(
  'style', [ROBUST, BASE], ids=['robust', 'base']
)


def init_shapes(tower, num_samples=800):
  x = jax.ShapeDtypeStruct((1, num_samples), jnp.float32)
  return jax.eval_shape(tower.init, jax.random.key(0), x)['params']


def make(style, **fields):
  """A tower and parameters of which every leaf is random."""
  tower = wav2vec2.Wav2Vec2(**style | fields)
  leaves, structure = jax.tree.flatten(init_shapes(tower))
  draw = np.random.default_rng(0)
  leaves = [0.3 * draw.standard_normal(x.shape, np.float32) for x in leaves]
  return tower, jax.tree.unflatten(structure, leaves)


def run(tower, params, speech, num_samples):
  """Tokens and features of int16 or float speech [B, S]."""

  def both(params, speech, num_samples):
    x = waveform.standardize(speech, num_samples)
    tokens = tower.apply({'params': params}, x, num_samples)
    feature = tower.apply(
      {'params': params}, tokens, num_samples, method='pool'
    )
    return tokens, feature

  return jax.device_get(jax.jit(both)(params, speech, num_samples))


def draw_speech(*shape):
  return np.random.default_rng(5).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize('variant', PUBLISHED)
def test_variants_have_the_published_number_of_parameters(variant):
  shapes = init_shapes(wav2vec2.Wav2Vec2(variant))
  total = sum(leaf.size for leaf in jax.tree.leaves(shapes))
  width = wav2vec2.VARIANTS[variant].width
  assert total + width + 128 == PUBLISHED[variant]
  query = shapes['encoder']['blocks']['attn']['query']['kernel']
  assert query.shape[-1] == 64


def test_all_variants_are_counted():
  assert set(PUBLISHED) | {'tiny'} == set(wav2vec2.VARIANTS)


# The reference: float64, one clip, loops over taps and heads, none of our code.


def gelu(x):
  return x * (1 + scipy.special.erf(x / np.sqrt(2))) / 2


def norm(x, p, axis=-1):
  x = x - x.mean(axis, keepdims=True)
  x = x / np.sqrt((x**2).mean(axis, keepdims=True) + 1e-5)
  return x * p['scale'] + p['bias']


def attend(x, p):
  mixed = np.zeros((len(x), *p['query']['bias'].shape))
  for head in range(mixed.shape[1]):
    q, k, v = (
      x @ p[name]['kernel'][:, head] + p[name]['bias'][head]
      for name in ('query', 'key', 'value')
    )
    score = np.exp(q @ k.T / np.sqrt(mixed.shape[2]))
    mixed[:, head] = score / score.sum(-1, keepdims=True) @ v
  return np.einsum('nkd,kdw->nw', mixed, p['out']['kernel']) + p['out']['bias']


def feed(x, p):
  hidden = gelu(x @ p['fc1']['kernel'] + p['fc1']['bias'])
  return hidden @ p['fc2']['kernel'] + p['fc2']['bias']


def reference(p, style, samples):
  p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), p)
  x = samples.astype(np.float64)
  x = ((x - x.mean()) / np.sqrt(x.var() + 1e-7))[:, None]
  for number, (kernel, stride) in enumerate(
    zip((10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2), strict=True)
  ):
    conv = p[f'extractor_{number}']
    rows = range(0, len(x) - kernel + 1, stride)
    x = np.stack(
      [
        np.einsum('ki,kio->o', x[r : r + kernel], conv['conv']['kernel'])
        for r in rows
      ]
    )
    if style['conv_bias']:
      x = x + conv['conv']['bias']
    if 'norm' in conv:
      x = norm(x, conv['norm'], axis=0 if style['norm'] == 'group' else -1)
    x = gelu(x)
  x = norm(x, p['projection_norm'])
  x = x @ p['projection']['kernel'] + p['projection']['bias']
  kernel = p['positions']['conv']['kernel']
  taps, inside, width = kernel.shape
  padded = np.pad(x, ((taps // 2, taps // 2), (0, 0)))
  moved = np.zeros_like(x)
  for row in range(len(x)):
    for out in range(width):
      first = out // inside * inside
      seen = padded[row : row + taps, first : first + inside]
      moved[row, out] = (seen * kernel[:, :, out]).sum()
  x = x + gelu(moved + p['positions']['conv']['bias'])
  if style['post_norm']:
    x = norm(x, p['encoder_norm'])
  for number in range(style['depth']):
    block = jax.tree.map(lambda leaf, n=number: leaf[n], p['encoder']['blocks'])
    if style['post_norm']:
      x = norm(x + attend(x, block['attn']), block['norm1'])
      x = norm(x + feed(x, block), block['norm2'])
    else:
      x = x + attend(norm(x, block['norm1']), block['attn'])
      x = x + feed(norm(x, block['norm2']), block)
  return x if style['post_norm'] else norm(x, p['encoder_norm'])


@STYLES
def test_clips_of_any_length_equal_numpy_on_each_alone(style):
  tower, params = make(style)
  lengths = np.array([2400, 1700, 400])
  speech = draw_speech(3, 2400)
  tokens, feature = run(tower, params, speech, lengths)
  assert tokens.shape == (3, 7, 32)
  for row, length in enumerate(lengths):
    expected = reference(params, style, speech[row, :length])
    np.testing.assert_allclose(
      tokens[row, : len(expected)], expected, atol=2e-5
    )
    assert (tokens[row, len(expected) :] == 0).all()
    np.testing.assert_allclose(feature[row], expected.mean(0), atol=2e-5)


@STYLES
def test_padding_and_what_it_holds_change_nothing(style):
  tower, params = make(style)
  speech = (9000 * draw_speech(2, 1500)).astype(np.int16)
  lengths = np.array([1500, 1100])
  tokens, feature = run(tower, params, speech, lengths)
  longer = np.pad(speech, ((0, 0), (0, 700)), constant_values=1234)
  longer[1, 1100:] = 9
  tokens_longer, feature_longer = run(tower, params, longer, lengths)
  np.testing.assert_allclose(tokens_longer[:, :4], tokens, atol=1e-6)
  assert (tokens_longer[:, 4:] == 0).all()
  np.testing.assert_allclose(feature_longer, feature, atol=1e-6)


@STYLES
def test_clips_without_a_frame_give_zeros_and_finite_gradients(style):
  tower, params = make(style)
  lengths = np.array([0, 399, 400])
  speech = draw_speech(3, 900)

  def loss(params):
    x = waveform.standardize(speech, lengths)
    tokens = tower.apply({'params': params}, x, lengths, train=True)
    feature = tower.apply({'params': params}, tokens, lengths, method='pool')
    return jnp.square(feature).sum(), feature

  grads, feature = jax.jit(jax.grad(loss, has_aux=True))(params)
  assert (np.asarray(feature[:2]) == 0).all()
  assert np.abs(feature[2]).max() > 0
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


def test_frames_are_counted_as_the_convolutions_make_them():
  lengths = np.array([0, 399, 400, 719, 720, 16_000, 80_000])
  found = wav2vec2.count_frames(lengths)
  np.testing.assert_array_equal(found, [0, 0, 1, 1, 2, 49, 249])
  assert wav2vec2.SAMPLES_A_FRAME == 400


def test_samples_are_standardised_over_the_valid_ones():
  speech = np.float32([[1, 2, 3, 100], [5, 5, 5, 5], [7, 7, 7, 7]]) / 100
  found = waveform.standardize(speech, np.array([3, 4, 0]))
  expected = np.float64([-1, 0, 1]) / 100 / np.sqrt(2e-4 / 3 + 1e-7)
  np.testing.assert_allclose(found[0], [*expected, 0], rtol=1e-5)
  assert (np.asarray(found[1:]) == 0).all()


def test_frozen_blocks_leave_everything_before_them():
  tower, params = make(ROBUST, frozen_blocks=1)
  speech = draw_speech(1, 900)

  def loss(params):
    return jnp.square(tower.apply({'params': params}, speech)).sum()

  grads = jax.device_get(jax.jit(jax.grad(loss))(params))
  for leaf in jax.tree.leaves(grads['encoder']):
    assert (leaf[0] == 0).all()
    assert np.abs(leaf[1]).max() > 0
  assert (grads['extractor_0']['conv']['kernel'] == 0).all()
  assert (grads['positions']['conv']['kernel'] == 0).all()


def test_clips_shorter_than_a_frame_are_refused():
  with pytest.raises(errors.AvemoError, match='399 samples.* 400 of one'):
    init_shapes(wav2vec2.Wav2Vec2('tiny'), 399)
  with pytest.raises(errors.AvemoError, match="unknown norm 'batch'"):
    init_shapes(wav2vec2.Wav2Vec2('tiny', norm='batch'))


def test_the_model_reads_samples_and_gives_dimensions():
  model = emotion.Emotion(
    num_classes=0,
    use=('audio',),
    audio={'name': 'wav2vec2', **ROBUST},
    heads=('valence_arousal', 'dominance'),
    head={'squash': False, 'hidden': 10},
  )
  batch = emotion.example_batch(batch_size=2, samples=1600)
  batch['speech'] = (9000 * draw_speech(2, 1600)).astype(np.int16)
  batch['speech_length'] = np.array([1600, 1000])
  shapes = jax.eval_shape(model.init, jax.random.key(0), batch)['params']
  leaves, structure = jax.tree.flatten(shapes)
  draw = np.random.default_rng(1)
  params = jax.tree.unflatten(
    structure, [draw.standard_normal(x.shape, np.float32) for x in leaves]
  )
  found = jax.jit(model.apply)({'params': params}, batch)
  tower = wav2vec2.Wav2Vec2(**ROBUST)
  _, feature = run(
    tower, params['audio'], batch['speech'], batch['speech_length']
  )
  head = params['head']['audio']
  hidden = feature @ head['hidden']['kernel'] + head['hidden']['bias']
  for name, size in (('valence_arousal', 2), ('dominance', 1)):
    expected = np.tanh(hidden) @ head[name]['kernel'] + head[name]['bias']
    assert expected.shape == (2, size)
    np.testing.assert_allclose(found[name], expected, rtol=1e-4, atol=1e-4)
  assert set(found) == {'valence_arousal', 'dominance'}


def test_tokens_join_those_of_video():
  model = emotion.Emotion(
    num_classes=2,
    video={'variant': 'tiny', 'width': 16, 'depth': 2, 'num_heads': 2},
    audio={'name': 'wav2vec2', **ROBUST},
    fusion={'kind': 'early', 'early': {'join_at': 1}},
  )
  batch = emotion.example_batch(frames=2, size=32, samples=1600)
  shapes = jax.eval_shape(model.init, jax.random.key(0), batch)['params']
  assert shapes['fusion']['audio_projection']['kernel'].shape == (32, 16)
  assert len(shapes['audio']['encoder']['blocks']['fc1']['bias']) == 2


def test_options_of_other_readings_are_refused():
  for fields, match in (
    ({'features': {'num_mels': 64}}, 'wav2vec2.* features.num_mels'),
    ({'augment': {'spec_augment': {}}}, 'wav2vec2.* augment.spec_augment'),
    ({'augment': {'tempo': {}}}, 'wav2vec2.* augment.tempo'),
  ):
    with pytest.raises(errors.AvemoError, match=match):
      emotion.Emotion(
        num_classes=2, use=('audio',), audio={'name': 'wav2vec2'}, **fields
      )


def test_hidden_layer_and_dominance_are_off_unless_asked_for():
  plain = heads.Head(3, ('emotion', 'valence_arousal'))
  shapes = jax.eval_shape(plain.init, jax.random.key(0), jnp.zeros((1, 4)))
  assert set(shapes['params']) == {'emotion', 'valence_arousal'}
