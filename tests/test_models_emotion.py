import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avemo import errors, models
from avemo.models import emotion, layers, spectrogram_vit, videomae

VIT = {
  'name': 'spectrogram_vit',
  'variant': 'tiny',
  'width': 12,
  'depth': 3,
  'num_heads': 3,
}
CNN = {'name': 'cnn', 'widths': (4, 6)}
SECTIONS = {
  'video': {'variant': 'tiny', 'width': 16, 'depth': 3, 'num_heads': 2},
  'features': {'num_mels': 32, 'n_fft': 400},
}


def make(use=('video', 'audio'), kind='early', join_at=0, audio=VIT, **fields):
  fusion = {'kind': kind, 'early': {'join_at': join_at}, 'late': {}}
  sections = SECTIONS | {'audio': audio, 'fusion': fusion} | fields
  return emotion.Emotion(num_classes=4, use=use, **sections)


def make_batch(seed=0, batch_size=4):
  draw = np.random.default_rng(seed)
  rows = np.arange(batch_size)
  return {
    'frames': draw.integers(0, 256, (batch_size, 4, 32, 32, 3), np.uint8),
    'speech': draw.integers(-9999, 9999, (batch_size, 4000), np.int16),
    'speech_length': np.full(batch_size, 4000, np.int32),
    # Both, no picture, no sound, neither; and again.
    'has_video': np.isin(rows % 4, (0, 2)),
    'has_audio': np.isin(rows % 4, (0, 1)),
    'mask': np.ones(batch_size, bool),
  }


def randomize(model, batch, seed=0):
  """Variables with every leaf random, so that none can be forgotten unseen."""
  shapes = jax.eval_shape(model.init, jax.random.key(0), batch)
  leaves, structure = jax.tree.flatten(shapes)
  draw = np.random.default_rng(seed)
  leaves = [0.3 * draw.standard_normal(x.shape, np.float32) for x in leaves]
  variables = jax.tree.unflatten(structure, leaves)
  statistics = jax.tree.map(np.abs, variables.get('batch_stats', {}))
  return variables | {'batch_stats': statistics}


@functools.cache
def compile_once(model):
  return jax.jit(model.apply)


def run(model, variables, batch):
  return jax.device_get(compile_once(model)(variables, batch)['emotion'])


@pytest.mark.parametrize(
  ('use', 'kind', 'tops'),
  [
    (('audio', 'video'), 'early', {'video', 'audio', 'fusion', 'head'}),
    (('video', 'audio'), 'late', {'video', 'audio', 'head'}),
    (['video'], 'early', {'video', 'head'}),
    (('audio',), 'late', {'audio', 'head'}),
  ],
)
def test_parameters_stand_under_the_parts_in_use(use, kind, tops):
  batch = emotion.example_batch(frames=4, size=32, samples=4000)
  shapes = jax.eval_shape(make(use, kind).init, jax.random.key(0), batch)
  assert set(shapes['params']) == tops
  leaves = jax.tree.leaves(shapes['params'])
  assert {leaf.dtype for leaf in leaves} == {np.dtype('float32')}


@pytest.mark.parametrize(('audio', 'join_at'), [(VIT, 0), (VIT, 2), (CNN, 1)])
def test_early_fusion_does_not_see_what_is_missing(audio, join_at):
  model = make(audio=audio, join_at=join_at)
  batch, other = make_batch(0), make_batch(1)
  variables = randomize(model, batch)
  before = run(model, variables, batch)
  pictures = run(model, variables, batch | {'frames': other['frames']})
  sounds = run(model, variables, batch | {'speech': other['speech']})
  # Rows: both, no picture, no sound, neither.
  for changed, seen in ((pictures, [0, 2]), (sounds, [0, 1])):
    for row in range(4):
      same = np.array_equal(changed[row], before[row])
      assert same == (row not in seen)


def test_early_fusion_joins_projected_and_marked_tokens():
  model, batch = make(join_at=2), make_batch()
  variables = randomize(model, batch)
  params = variables['params']
  video = videomae.VideoMAE(**SECTIONS['video'])
  options = {k: v for k, v in VIT.items() if k != 'name'} | {'depth': 2}
  audio = spectrogram_vit.SpectrogramViT(**options)
  encoder = layers.Encoder(16, 3, 2, key_bias=False)

  def by_hand(params, batch):
    spectrogram = emotion.audio_features.features(
      batch['speech'], batch['speech_length'], SECTIONS['features']
    )
    frames = videomae.normalize(batch['frames'])
    blocks = {'params': params['video']['encoder']}
    left = video.apply({'params': params['video']}, frames, method='embed')
    left = encoder.apply(blocks, left, stop=2)
    right = audio.apply(
      {'params': params['audio']}, spectrogram, method='begin', stop=2
    )
    join = params['fusion']
    projection = join['audio_projection']
    right = right @ projection['kernel'] + projection['bias']
    has_video = batch['has_video'][:, None, None]
    has_audio = batch['has_audio'][:, None, None]
    left = jnp.where(has_video, left, join['video_missing'])
    right = jnp.where(has_audio, right, join['audio_missing'])
    left += join['video_modality']
    right += join['audio_modality']
    joined = encoder.apply(blocks, jnp.concatenate([left, right], 1), start=2)
    feature = video.apply({'params': params['video']}, joined, method='pool')
    head = params['head']['joint']['emotion']
    return feature @ head['kernel'] + head['bias']

  expected = jax.jit(by_hand)(params, batch)
  found = run(model, variables, batch)
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('audio', [VIT, CNN])
def test_late_fusion_is_the_mean_over_modalities_present(audio):
  batch = make_batch()
  everything = batch | {'has_video': batch['mask'], 'has_audio': batch['mask']}
  model = make(kind='late', audio=audio)
  variables = randomize(model, batch)
  alone = {
    name: run(make((name,), audio=audio), variables, everything)
    for name in ('video', 'audio')
  }
  found = run(model, variables, batch)
  expected = [
    (alone['video'][0] + alone['audio'][0]) / 2,
    alone['audio'][1],
    alone['video'][2],
    np.zeros(4),
  ]
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
  assert np.abs(expected[1] - expected[2]).max() > 0.01


def test_one_modality_needs_no_array_of_the_other():
  batch = make_batch()
  for name, arrays in (
    ('video', ('frames', 'has_video')),
    ('audio', ('speech', 'speech_length', 'has_audio')),
  ):
    model = make((name,))
    own = {key: batch[key] for key in arrays}
    logits = run(model, randomize(model, own), own)
    assert logits.shape == (4, 4)
    np.testing.assert_array_equal(
      np.abs(logits).max(-1) > 0, batch[f'has_{name}']
    )


@pytest.mark.parametrize(
  ('kind', 'audio'), [('early', VIT), ('late', CNN), ('late', VIT)]
)
def test_every_parameter_learns(kind, audio):
  model, batch = make(kind=kind, audio=audio, join_at=1), make_batch()
  variables = randomize(model, batch)

  def loss(params):
    outputs, _ = model.apply(
      variables | {'params': params}, batch, True, mutable=['batch_stats']
    )
    return jnp.square(outputs['emotion']).sum()

  grads = jax.device_get(jax.jit(jax.grad(loss))(variables['params']))
  for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
    name = jax.tree_util.keystr(path, simple=True, separator='/')
    assert np.abs(leaf).max() > 0, name
    assert np.isfinite(leaf).all(), name


def test_rows_without_sound_or_of_padding_do_not_reach_the_statistics():
  model = make(('audio',), audio=CNN)
  batch = make_batch(batch_size=8)
  # Rows 0 and 1 have sound; 4 and 5 have it too, but only fill up the batch.
  batch['mask'] = np.arange(8) < 4
  variables = randomize(model, batch)

  def train(batch):
    _, changed = model.apply(variables, batch, True, mutable=['batch_stats'])
    return changed

  full = jax.jit(train)(batch)
  short = jax.jit(train)({k: v[:2] for k, v in batch.items()})
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), full, short
  )


def test_floats_in_unit_range_read_as_stored_integers():
  model, batch = make(), make_batch()
  variables = randomize(model, batch)
  floats = batch | {
    'frames': batch['frames'].astype(np.float32) / 255,
    'speech': batch['speech'].astype(np.float32) / 32_768,
  }
  np.testing.assert_allclose(
    run(model, variables, floats), run(model, variables, batch), atol=1e-4
  )


def test_pixels_are_normalised_by_imagenet():
  frames = np.uint8([[[0, 0, 0], [255, 255, 255]]])
  expected = np.array([[-2.1179, -2.0357, -1.8044], [2.2489, 2.4286, 2.64]])
  np.testing.assert_allclose(videomae.normalize(frames)[0], expected, atol=1e-4)


def test_training_augments_spectrograms_and_drops_by_the_given_key():
  masks = {'spec_augment': {'frequency_masks': 4, 'frequency_width': 30}}
  for fields in (
    {'augment': masks | {'flip': {}}},
    {'dropout': 0.5},
    {'audio': VIT | {'drop_path': 0.5}},
  ):
    model, batch = make(('audio',), **fields), make_batch()
    variables = randomize(model, batch)

    def train(key, model=model, variables=variables, batch=batch):
      rngs = {'dropout': key}
      return model.apply(variables, batch, True, rngs=rngs)['emotion']

    keys = jax.random.split(jax.random.key(0), 3)[jnp.array([0, 1, 1])]
    first, second, again = jax.device_get(jax.jit(jax.vmap(train))(keys))
    assert not np.allclose(first, second)
    np.testing.assert_array_equal(second, again)
    plain = make(('audio',))
    np.testing.assert_array_equal(
      run(model, variables, batch), run(plain, variables, batch)
    )


def test_half_precision_gives_float32_logits_near_the_full_ones():
  batch = make_batch()
  variables = randomize(make(), batch)
  full = run(make(), variables, batch)
  half = run(make(dtype='bfloat16'), variables, batch)
  assert half.dtype == jnp.float32
  assert 0 < np.abs(full - half).max() < 0.05 * np.abs(full).max()


def test_values_come_beside_the_classes():
  names = ('emotion', 'valence_arousal')
  batch = make_batch()
  for kind in ('early', 'late'):
    model = make(kind=kind, heads=names)
    variables = randomize(model, batch)
    outputs = jax.device_get(jax.jit(model.apply)(variables, batch))
    assert outputs['emotion'].shape == (4, 4)
    assert outputs['valence_arousal'].shape == (4, 2)
    assert np.abs(outputs['valence_arousal']).max() < 1


def test_values_of_a_linear_head_are_those_before_the_squash():
  names, batch = ('emotion', 'valence_arousal'), make_batch()
  model = make(('audio',), heads=names)
  variables = randomize(model, batch)
  linear = make(('audio',), heads=names, head={'squash': False})
  squashed, plain = (
    jax.device_get(jax.jit(m.apply)(variables, batch)) for m in (model, linear)
  )
  np.testing.assert_allclose(
    squashed['valence_arousal'], np.tanh(plain['valence_arousal']), atol=1e-6
  )
  assert np.abs(plain['valence_arousal']).max() > 0.1
  np.testing.assert_allclose(squashed['emotion'], plain['emotion'], atol=1e-6)


def test_sections_survive_a_config_written_to_json():
  sections = {
    'use': ('video', 'audio'),
    'video': SECTIONS['video'] | {'tubelet': (2, 16, 16)},
    'audio': CNN,
    'features': SECTIONS['features'],
    'fusion': {'kind': 'late'},
  }
  read = json.loads(json.dumps(sections))
  assert emotion.Emotion(4, **read) == emotion.Emotion(4, **sections)


def test_models_are_found_by_name_in_a_frozen_table():
  assert models.MODELS['emotion'] is emotion.Emotion
  with pytest.raises(TypeError):
    models.MODELS['other'] = None


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'use': ('vidoe',)}, "modality 'vidoe': did you mean 'video'"),
    ({'use': ()}, 'at least one'),
    ({'audio': {'name': 'cn'}}, "audio tower 'cn': did you mean 'cnn'"),
    ({'video': {'widht': 3}}, "video option 'widht': did you mean 'width'"),
    ({'video': {'parent': None}}, "video option 'parent'"),
    ({'fusion': {'kind': 'lat'}}, "fusion 'lat': did you mean 'late'"),
    ({'fusion': {'knid': 'late'}}, "option 'knid': did you mean 'kind'"),
    ({'fusion': {'early': {'join': 1}}}, "did you mean 'join_at'"),
    ({'fusion': {'late': {'join_at': 1}}}, 'no options, not join_at'),
    ({'join_at': 4}, 'join_at=4: the audio tower has 3 blocks'),
    ({'features': {'num_mel': 3}}, "did you mean 'num_mels'"),
    ({'augment': {'flop': {}}}, "nearest is 'flip'"),
    ({'heads': ('emotoin',)}, "did you mean 'emotion'"),
    ({'head': {'squish': 0}}, "head option 'squish': did you mean 'squash'"),
    ({'augment': {'feature_mixup': {}}}, 'needs model.use=audio'),
  ],
)
def test_wrong_names_are_refused_when_the_model_is_made(fields, message):
  with pytest.raises(errors.AvemoError, match=message):
    make(**fields)


def test_unknown_arguments_and_variants_are_refused():
  with pytest.raises(TypeError, match='fussion'):
    emotion.Emotion(4, fussion={})
  model = make(video={'variant': 'bas'})
  with pytest.raises(errors.AvemoError, match="did you mean 'base'"):
    jax.eval_shape(model.init, jax.random.key(0), make_batch())
