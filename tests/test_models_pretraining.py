"""Pretraining against transformers and NumPy; its masks; that it learns."""

import pathlib
import zlib

import einops
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from avemo import errors, models
from avemo.models import emotion, videomae_pretraining

GOLDEN = pathlib.Path(__file__).parent / 'golden' / 'pretraining.npz'
TUBELET = (2, 16, 16)
# Those of the published files; tiny is our own.
COUNTS = {
  'tiny': 1_197_632,
  'small': 24_029_376,
  'base': 94_210_944,
  'large': 342_996_992,
  'huge': 692_487_296,
}
SMALL = {
  'video': {'variant': 'tiny', 'width': 32, 'depth': 2, 'num_heads': 2},
  'decoder': {'width': 16, 'depth': 1, 'num_heads': 2},
}


def make_model(**fields):
  return models.MODELS['videomae_pretraining'](**SMALL | fields)


def make_batch(size=2, seed=0):
  rng = np.random.default_rng(seed)
  batch = emotion.example_batch(batch_size=size, frames=4, size=64)
  frames = rng.integers(0, 256, batch['frames'].shape)
  return batch | {'frames': frames.astype(np.uint8)}


def draw(name, shape):
  generator = np.random.default_rng(zlib.crc32(name.encode()))
  return (0.2 * generator.standard_normal(shape)).astype(np.float32)


def draw_norm(name, width):
  return {
    'scale': draw(f'{name}.weight', (width,)),
    'bias': draw(f'{name}.bias', (width,)),
  }


def draw_dense(name, inputs, outputs):
  return {
    'kernel': draw(f'{name}.weight', (outputs, inputs)).T,
    'bias': draw(f'{name}.bias', (outputs,)),
  }


def draw_block(name, width, heads):
  attention = f'{name}.attention.attention'
  attn = {'out': draw_dense(f'{name}.attention.output.dense', width, width)}
  attn['out']['kernel'] = attn['out']['kernel'].reshape(heads, -1, width)
  for part in ('query', 'key', 'value'):
    kernel = draw(f'{attention}.{part}.weight', (width, width))
    kernel = einops.rearrange(kernel, '(k d) i -> i k d', k=heads)
    attn[part] = {'kernel': kernel}
    if part != 'key':
      bias = draw(f'{attention}.{part[0]}_bias', (width,))
      attn[part]['bias'] = bias.reshape(heads, -1)
  return {
    'attn': attn,
    'norm1': draw_norm(f'{name}.layernorm_before', width),
    'norm2': draw_norm(f'{name}.layernorm_after', width),
    'fc1': draw_dense(f'{name}.intermediate.dense', width, 4 * width),
    'fc2': draw_dense(f'{name}.output.dense', 4 * width, width),
  }


def draw_blocks(name, depth, width, heads):
  blocks = [draw_block(f'{name}.{i}', width, heads) for i in range(depth)]
  return jax.tree.map(lambda *leaves: np.stack(leaves), *blocks)


def draw_params():
  projection = 'videomae.embeddings.patch_embeddings.projection'
  kernel = draw(f'{projection}.weight', (24, 3, *TUBELET))
  return {
    'video': {
      'patch_embed': {
        'kernel': einops.rearrange(kernel, 'o i t h w -> t h w i o'),
        'bias': draw(f'{projection}.bias', (24,)),
      },
      'encoder': {'blocks': draw_blocks('videomae.encoder.layer', 2, 24, 3)},
      'norm': draw_norm('videomae.layernorm', 24),
    },
    'encoder_to_decoder': {
      'kernel': draw('encoder_to_decoder.weight', (16, 24)).T
    },
    'mask_token': draw('mask_token', (1, 1, 16)),
    'decoder': {
      'blocks': draw_blocks('decoder.decoder_layers', 3, 16, 2),
      'norm': draw_norm('decoder.norm', 16),
      'head': draw_dense('decoder.head', 16, 1536),
    },
  }


def make_golden():
  """The model, its parameters, the frames and the tokens of the golden."""
  model = make_model(
    video={
      'variant': 'tiny',
      'width': 24,
      'depth': 2,
      'num_heads': 3,
      'epsilon': 1e-12,
    },
    decoder={
      'width': 16,
      'depth': 3,
      'num_heads': 2,
      'epsilon': 1e-12,
      'norm_epsilon': 1e-5,
    },
  )
  frames = np.clip(0.5 + draw('frames', (2, 6, 32, 32, 3)), 0, 1)
  hidden = np.tile(np.array([[1, 0, 0, 1], [0, 1, 1, 0]], bool), (1, 3))
  visible, masked = (
    np.stack([np.flatnonzero(row) for row in rows])
    for rows in (~hidden, hidden)
  )
  return model, draw_params(), frames, visible, masked


@pytest.mark.parametrize('variant', COUNTS)
def test_variants_have_the_published_number_of_parameters(variant):
  model = models.MODELS['videomae_pretraining'](video={'variant': variant})
  example = emotion.example_batch()
  shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), example))
  assert set(shapes) == {'params'}
  shapes = shapes['params']
  assert sum(x.size for x in jax.tree.leaves(shapes)) == COUNTS[variant]
  assert set(shapes['video']) == {'patch_embed', 'encoder', 'norm'}
  assert set(shapes['decoder']) == {'blocks', 'norm', 'head'}
  assert set(shapes['encoder_to_decoder']) == {'kernel'}
  # A fine-tuning finds all it needs but the norm after pooling and the head.
  tuned = emotion.Emotion(3, use=('video',), video={'variant': variant})
  tuned = jax.eval_shape(lambda: tuned.init(jax.random.key(0), example))
  for part in ('patch_embed', 'encoder'):
    assert tuned['params']['video'][part] == shapes['video'][part]


def test_pixels_and_loss_equal_transformers():
  model, params, frames, visible, masked = make_golden()
  shapes = jax.eval_shape(
    lambda: model.init(jax.random.key(0), {'frames': frames})['params']
  )
  assert jax.tree.structure(shapes) == jax.tree.structure(params)
  expected = np.load(GOLDEN)
  pixels = jax.jit(
    lambda *x: model.apply({'params': params}, *x, method='reconstruct')
  )(frames, visible, masked)
  scale = abs(expected['logits']).max()
  np.testing.assert_allclose(pixels, expected['logits'], atol=1e-5 * scale)
  targets = videomae_pretraining.compute_targets(frames, masked, TUBELET)
  loss = np.square(pixels - targets).mean()
  np.testing.assert_allclose(loss, expected['loss'], rtol=1e-5)


@pytest.mark.parametrize('kind', ['uint8', 'float'])
def test_targets_equal_numpy(kind):
  frames = make_batch()['frames']
  # A patch of one colour, whose deviation is 0.
  frames[0, :2, :16, :16] = (10, 20, 30)
  masked = np.array([[0, 3, 17, 31], [1, 16, 20, 30]])
  given = frames if kind == 'uint8' else (frames / np.float32(255))
  found = videomae_pretraining.compute_targets(given, masked, TUBELET)
  expected = np.empty((2, 4, 1536))
  for example, row in enumerate(masked):
    for place, token in enumerate(row):
      time, inside = divmod(token, 16)
      down, right = divmod(inside, 4)
      patch = frames[
        example,
        2 * time : 2 * time + 2,
        16 * down : 16 * down + 16,
        16 * right : 16 * right + 16,
      ].astype(np.float64)
      patch = patch.reshape(512, 3) / 255
      deviation = patch.std(0, ddof=1) + 1e-6
      expected[example, place] = ((patch - patch.mean(0)) / deviation).ravel()
  assert abs(expected).max() > 1.5
  np.testing.assert_allclose(found[:, 1:], expected[:, 1:], atol=1e-5)
  # There float32 leaves a last bit of the mean, over a deviation of 1e-6.
  np.testing.assert_allclose(found[0, 0], expected[0, 0], atol=0.2)
  np.testing.assert_allclose(found[1, 0], expected[1, 0], atol=1e-5)


def choose(seed, size=400, times=3, places=16, ratio=0.9):
  noise = jax.random.uniform(jax.random.key(seed), (size, places))
  found = videomae_pretraining.choose_tubes(noise, times, ratio)
  return [np.asarray(tokens) for tokens in found]


@pytest.mark.parametrize(
  ('places', 'ratio', 'hidden'), [(196, 0.9, 176), (16, 0.9, 14), (9, 0.5, 4)]
)
def test_masks_hide_tubes_and_as_many_in_every_example(places, ratio, hidden):
  visible, masked = choose(0, size=5, places=places, ratio=ratio)
  assert visible.shape == (5, 3 * (places - hidden))
  assert masked.shape == (5, 3 * hidden)
  for one, other in zip(visible, masked, strict=True):
    assert sorted([*one, *other]) == list(range(3 * places))
    assert (np.diff(one) > 0).all() and (np.diff(other) > 0).all()
    by_time = other.reshape(3, hidden) - places * np.arange(3)[:, None]
    assert (by_time == by_time[0]).all()
    assert by_time.min() >= 0 and by_time.max() < places


def test_every_place_is_hidden_as_often():
  visible, _ = choose(1, size=4000, times=1)
  counts = np.bincount(visible.ravel(), minlength=16)
  assert counts.sum() == 8000
  # Two of 16 places are seen: 500 times each, with a deviation of 21.
  np.testing.assert_allclose(counts, 500, atol=100)
  # And places are drawn by themselves: pairs are as frequent as chance has it.
  pairs = np.bincount(visible[:, 0] * 16 + visible[:, 1], minlength=256)
  assert pairs[pairs > 0].size == 120
  np.testing.assert_allclose(pairs[pairs > 0], 4000 / 120, atol=33)


def test_the_loss_is_that_of_hidden_pixels_alone():
  model, params, frames, visible, masked = make_golden()

  def compute(given):
    pixels = model.apply(
      {'params': params}, given, visible, masked, method='reconstruct'
    )
    targets = videomae_pretraining.compute_targets(frames, masked, TUBELET)
    return jnp.square(pixels - targets).mean()

  gradient = np.asarray(jax.jit(jax.grad(compute))(jnp.asarray(frames)))
  tubelets = einops.rearrange(
    gradient, 'b (t p) (h q) (w r) c -> b (t h w) (p q r c)', p=2, q=16, r=16
  )
  used = abs(tubelets).max(-1) > 0
  for row, seen, hidden in zip(used, visible, masked, strict=True):
    # What is painted follows from what is seen, and from nothing else.
    assert row[seen].all() and not row[hidden].any()


@pytest.fixture(scope='module')
def applied():
  model = make_model()
  batch = make_batch(4)
  variables = jax.jit(model.init)(jax.random.key(0), batch)
  apply = jax.jit(model.apply, static_argnames='train')
  return lambda batch, **options: np.asarray(
    apply(variables, batch, **options)['loss']
  ), batch


def test_training_draws_by_the_key_and_evaluation_by_the_record(applied):
  measure, batch = applied
  keys = [{'dropout': jax.random.key(seed)} for seed in (0, 0, 1)]
  losses = [measure(batch, train=True, rngs=key) for key in keys]
  assert losses[0].shape == (4,) and np.isfinite(losses[0]).all()
  np.testing.assert_array_equal(losses[0], losses[1])
  assert (losses[0] != losses[2]).all()
  # The same clip in each row: what differs is what is hidden.
  batch = batch | {
    'frames': np.repeat(batch['frames'][:1], 4, 0),
    'record': np.int32([7, 3, 7, -1]),
    'view': np.zeros(4, np.int32),
  }
  losses = measure(batch)
  assert losses[0] == losses[2] and len({*losses}) == 3
  np.testing.assert_array_equal(measure(batch), losses)
  assert measure(batch | {'view': np.int32([0, 0, 1, 0])})[2] != losses[0]


def test_the_loss_falls_on_a_fixed_batch():
  model = make_model(mask_ratio=0.5)
  batch = make_batch(4)
  # Gradients of colour, which can be guessed; noise can not.
  ramp = np.linspace(0, 255, 64)[:, None] * np.float32([1, 0.5, 0.2])
  batch['frames'][:2] = ramp.astype(np.uint8)
  batch['frames'][2:] = ramp[:, None].astype(np.uint8)
  params = jax.jit(model.init)(jax.random.key(0), batch)['params']
  tx = optax.adam(3e-3)

  def compute(params, key):
    outputs = model.apply(
      {'params': params}, batch, train=True, rngs={'dropout': key}
    )
    return outputs['loss'].mean()

  @jax.jit
  def step(carry, key):
    params, state = carry
    loss, grads = jax.value_and_grad(compute)(params, key)
    updates, state = tx.update(grads, state)
    return (optax.apply_updates(params, updates), state), loss

  carry, losses = (params, tx.init(params)), []
  for key in jax.random.split(jax.random.key(1), 60):
    carry, loss = step(carry, key)
    losses.append(float(loss))
  assert 0.8 < losses[0] < 2.0
  assert np.mean(losses[-5:]) < 0.3 * losses[0], losses[::10]


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'use': ('video', 'audio')}, r"reads \('video',\)"),
    ({'decoder': {'widht': 3}}, "did you mean 'width'"),
    ({'video': {'variant': 'smal'}}, "did you mean 'small'"),
    ({'video': {'name': 'cnn'}}, "unknown video tower 'cnn'"),
    ({'augment': {'gain': {}}}, "unknown augmentation of pictures 'gain'"),
    ({'augment': {'crop': {'aera': 1}}}, "nearest is 'area'"),
  ],
)
def test_wrong_fields_are_refused_when_the_model_is_made(fields, message):
  with pytest.raises(errors.AvemoError, match=message):
    make_model(**fields)


@pytest.mark.parametrize('ratio', [0.0, 0.05, 1.0])
def test_something_is_hidden_and_something_seen(ratio):
  model = make_model(mask_ratio=ratio)
  with pytest.raises(errors.AvemoError, match=f'mask_ratio={ratio}'):
    jax.eval_shape(lambda: model.init(jax.random.key(0), make_batch()))


def test_models_say_whether_they_measure_their_own_loss():
  assert models.has_own_loss(make_model())
  assert models.has_own_loss(models.MODELS['videomae_pretraining'])
  assert not models.has_own_loss(models.MODELS['emotion'])
