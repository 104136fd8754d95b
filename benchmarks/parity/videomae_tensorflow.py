"""Saves innat's VideoMAE with random weights, and what it computes.

A program of its own, for a Python that has TensorFlow 2.12 with Keras 2, and
neither avemo nor a new NumPy:

  python videomae_tensorflow.py CHECKOUT FOLDER KIND OPTIONS

CHECKOUT is the repository innat/VideoMAE, KIND `finetuned` or `pretraining`,
OPTIONS the model's arguments as JSON. It reads FOLDER/clip.npz and writes
FOLDER/saved_model, FOLDER/model.h5 and FOLDER/outputs.npz.
"""

import json
import os
import pathlib
import sys

os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'
os.environ['CUDA_VISIBLE_DEVICES'] = ''

import numpy as np
import tensorflow as tf


def draw_weights(model):
  """Puts another random tensor into every weight; see videomae_torch."""
  generator = np.random.default_rng(0)
  for weight in model.weights:
    drawn = generator.standard_normal(weight.shape)
    if 'kernel' in weight.name:
      drawn *= 1.4 / np.prod(weight.shape[:-1]) ** 0.5
    else:
      drawn *= 0.2
    weight.assign(drawn + 1 if 'gamma' in weight.name else drawn)


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
  checkout, folder, kind, options = sys.argv[1:]
  folder = pathlib.Path(folder)
  sys.path.insert(0, checkout)
  from videomae import videomae_finetune, videomae_pretrain

  with np.load(folder / 'clip.npz') as clip:
    inputs = (clip['clip'],)
    if kind == 'pretraining':
      inputs += (clip['mask'],)
    faint, faint_decoder = clip['faint'], clip['faint_decoder']
  options = json.loads(options) | {'qkv_bias': True}
  if kind == 'pretraining':
    model = videomae_pretrain.TFPretrainVisionTransformer(**options)
    compute = run_pretraining
  else:
    model = videomae_finetune.TFVisionTransformer(**options)
    compute = run_finetuned
  model(*inputs)
  draw_weights(model)
  outputs = compute(model, *inputs)
  encoder = model.encoder if kind == 'pretraining' else model
  outputs['video/encoder/blocks/norm1'] = encoder.blocks[0].norm1(faint[None])[
    0
  ]
  if kind == 'pretraining':
    decoder = model.decoder
    outputs['video/norm'] = encoder.norm(faint[None])[0]
    outputs['decoder/blocks/norm1'] = decoder.blocks[0].norm1(
      faint_decoder[None]
    )[0]
    outputs['decoder/norm'] = decoder.norm(faint_decoder[None])[0]
  else:
    outputs['video/fc_norm'] = model.fc_norm(faint)
  np.savez(folder / 'outputs.npz', **{k: v.numpy() for k, v in outputs.items()})
  model.save_weights(folder / 'model.h5')
  model.save(folder / 'saved_model')


if __name__ == '__main__':
  main()
