"""Saves innat's VideoMAE with random weights, and what it computes.

A program of its own, for the environment that has TensorFlow (2.12, with
Keras 2) and not avemo:

  python benchmarks/parity/videomae_tensorflow.py CHECKOUT OUT SIZES SEED

CHECKOUT is innat/VideoMAE's repository; SIZES is JSON: `kind` ('finetuned' or
'pretraining'), the arguments of the model under `model`, `frames` and `size`
of the clips. It writes OUT/saved_model, OUT/model.h5 and OUT/outputs.npz.
"""

import json
import os
import pathlib
import sys

os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'
os.environ['CUDA_VISIBLE_DEVICES'] = ''

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402


def draw_weights(model, generator):
  """Puts another random tensor into every weight of the model."""
  for weight in model.weights:
    drawn = 0.05 * generator.standard_normal(weight.shape)
    if 'gamma' in weight.name:
      drawn = 1 + 4 * drawn
    weight.assign(drawn.astype('float32'))


def run_finetuned(model, clip):
  """Tokens before the blocks, after each, the feature and the logits."""
  outputs = {}
  x = model.patch_embed(clip)
  x = x + model.pos_embed
  outputs['embed'] = x
  for i, block in enumerate(model.blocks):
    x = block(x)
    outputs[f'block_{i}'] = x
  outputs['feature'] = model.fc_norm(tf.reduce_mean(x, axis=1))
  outputs['logits'] = model(clip, training=False)
  return outputs


def run_pretraining(model, clip, mask):
  """What the encoder and the decoder give."""
  encoded = model.encoder(clip, mask)
  return {
    'encoded': encoded,
    'decoder_in': model.encoder_to_decoder(encoded),
    'pixels': model(clip, mask),
  }


def main():
  checkout, out, sizes, seed = sys.argv[1:]
  out = pathlib.Path(out)
  sizes = json.loads(sizes)
  sys.path.insert(0, checkout)
  from videomae import videomae_finetune, videomae_pretrain

  tf.config.threading.set_intra_op_parallelism_threads(1)
  tf.config.threading.set_inter_op_parallelism_threads(1)
  generator = np.random.default_rng(int(seed))
  shape = (2, sizes['frames'], sizes['size'], sizes['size'], 3)
  clip = generator.standard_normal(shape).astype('float32')
  stored = {'clip': clip}
  if sizes['kind'] == 'finetuned':
    model = videomae_finetune.TFVisionTransformer(
      all_frames=sizes['frames'], qkv_bias=True, **sizes['model']
    )
    model(clip)
    draw_weights(model, generator)
    stored |= run_finetuned(model, clip)
  else:
    # The checkout's model has no field for the number of frames: it is 16.
    model = videomae_pretrain.TFPretrainVisionTransformer(
      qkv_bias=True, **sizes['model']
    )
    num_tokens = model.encoder.patch_embed.num_patches
    mask = np.zeros((2, num_tokens), bool)
    for row in mask:
      row[generator.permutation(num_tokens)[: 3 * num_tokens // 4]] = True
    model(clip, mask)
    draw_weights(model, generator)
    stored |= {'mask': mask} | run_pretraining(model, clip, mask)
  model.save_weights(out / 'model.h5')
  model.save(out / 'saved_model')
  np.savez(out / 'outputs.npz', **{k: np.asarray(v) for k, v in stored.items()})


if __name__ == '__main__':
  main()
