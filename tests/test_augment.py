"""The two entries that a training step calls."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avemo import augment, errors

KEY = jax.random.key(0)
# Every one there is, some with arguments.
# Features are mixed in the place of inputs, not beside them.
ALL = {name: {} for name in augment.FUNCTIONS if name != 'feature_mixup'} | {
  'flip': {},
  'crop': {'area': (0.6, 1.0)},
  'color': {'brightness': 0.3},
  'erase': {'probability': 0.5},
  'mixup': {'alpha': 0.4},
  'cutmix': {},
  'speed': {},
  'time_shift': {'max_samples': 100},
  'gain': {},
  'noise': {'snr': (5.0, 20.0)},
  'spec_augment': {'time_masks': 1},
  'modality_dropout': {'video': 0.2, 'audio': 0.2},
}


def make_batch():
  rng = np.random.default_rng(0)
  return {
    'frames': rng.integers(0, 256, (8, 2, 12, 12, 3)).astype(np.uint8),
    'speech': rng.integers(-5_000, 5_000, (8, 800)).astype(np.int16),
    'speech_length': np.full(8, 700, np.int32),
    'target': np.eye(8, dtype=np.float32),
    'class_mask': np.ones((8, 8), bool),
    'mask': np.ones(8, bool),
    'has_video': np.ones(8, bool),
    'has_audio': np.ones(8, bool),
    'emotion': np.arange(8, dtype=np.int32),
  }


# One of each kind, which compile in a third of the time of all.
SOME = ('crop', 'noise', 'mixup', 'modality_dropout')


@functools.cache
def jit_inputs(*names):
  options = {name: ALL[name] for name in names}
  return jax.jit(functools.partial(augment.augment_inputs, options=options))


def test_everything_at_once_keeps_types_and_shapes():
  batch = make_batch()
  out = jit_inputs(*ALL)(KEY, batch)
  assert set(out) == set(batch)
  for name, value in batch.items():
    assert out[name].shape == value.shape
    assert out[name].dtype == value.dtype
  for name in ('frames', 'speech', 'target'):
    assert (np.asarray(out[name]) != batch[name]).any()


def test_the_key_decides():
  batch = make_batch()
  first, again = (jit_inputs(*ALL)(KEY, batch) for _ in range(2))
  jax.tree.map(np.testing.assert_array_equal, first, again)
  other = jit_inputs(*ALL)(jax.random.key(1), batch)
  assert (np.asarray(first['frames']) != other['frames']).any()


def test_draws_do_not_depend_on_the_other_augmentations():
  batch = make_batch()
  alone = jit_inputs('flip')(KEY, batch)
  both = jit_inputs('flip', 'noise')(KEY, batch)
  np.testing.assert_array_equal(alone['frames'], both['frames'])


def test_nothing_asked_changes_nothing():
  batch = make_batch()
  for options in (None, {}, {'flip': None}, {'spec_augment': {}}):
    out = augment.augment_inputs(KEY, batch, options)
    jax.tree.map(np.testing.assert_array_equal, out, batch)


def test_one_modality_alone():
  batch = make_batch()
  del batch['frames'], batch['has_video']
  out = jit_inputs(*SOME)(KEY, batch)
  assert set(out) == set(batch)
  assert (np.asarray(out['speech']) != batch['speech']).any()


def test_results_do_not_depend_on_the_number_of_devices():
  batch = make_batch()
  mesh = jax.make_mesh(
    (8,), ('data',), axis_types=(jax.sharding.AxisType.Auto,)
  )
  sharding = jax.NamedSharding(mesh, jax.P('data'))
  spread = jax.device_put(batch, sharding)
  out = jit_inputs(*SOME)(KEY, batch)
  out_spread = jit_inputs(*SOME)(KEY, spread)
  for name in ('frames', 'speech'):
    np.testing.assert_allclose(
      out[name].astype(np.int32), out_spread[name].astype(np.int32), atol=1
    )
  for name in ('speech_length', 'has_video', 'has_audio'):
    np.testing.assert_array_equal(out[name], out_spread[name])


def test_spectrogram_takes_its_own_part():
  ones = jnp.ones((2, 30, 16))
  out = augment.augment_spectrogram(KEY, ones, ALL, jnp.array([30, 10]))
  assert (np.asarray(out) == 0).any()
  np.testing.assert_array_equal(
    augment.augment_spectrogram(KEY, ones, {'flip': {}}), ones
  )


@pytest.mark.parametrize(
  'options, near',
  [
    ({'mixop': {}}, 'mixup'),
    ({'specaugment': {}}, 'spec_augment'),
    ({'noise': {'srn': (1, 2)}}, 'snr'),
    ({'flip': {'key': 1}}, 'probability'),
  ],
)
def test_wrong_names_name_the_nearest(options, near):
  with pytest.raises(errors.AvemoError, match=f"nearest is '{near}'"):
    augment.augment_inputs(KEY, make_batch(), options)
  with pytest.raises(errors.AvemoError, match=f"nearest is '{near}'"):
    augment.augment_spectrogram(KEY, jnp.ones((1, 4, 4)), options)
