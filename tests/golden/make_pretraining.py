"""Writes pretraining.npz: transformers' VideoMAEForPreTraining, run once.

Run where torch and transformers are installed (it was written with torch
2.13.0 and transformers 4.57.6); avemo needs neither:

  python tests/golden/make_pretraining.py

Weights, frames and mask are drawn from their names, so only outputs are
stored. The names are those of saved files, not of live modules.
"""

import pathlib

import make_transformers
import numpy as np
import torch
import transformers

MEAN = np.float32([0.485, 0.456, 0.406])
STD = np.float32([0.229, 0.224, 0.225])


def main():
  torch.set_num_threads(1)
  model = make_transformers.fill(
    transformers.VideoMAEForPreTraining(
      transformers.VideoMAEConfig(
        image_size=32,
        num_frames=6,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=96,
        decoder_hidden_size=16,
        decoder_num_hidden_layers=3,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=64,
        norm_pix_loss=True,
        # As published pretraining files: a norm after the encoder.
        use_mean_pooling=False,
      )
    )
  )
  frames = make_transformers.draw('frames', (2, 6, 32, 32, 3))
  frames = np.clip(0.5 + frames, 0, 1)
  pixels = torch.from_numpy((frames - MEAN) / STD).permute(0, 1, 4, 2, 3)
  # Two of four places, at all three times: others in each example.
  places = np.array([[1, 0, 0, 1], [0, 1, 1, 0]], bool)
  mask = torch.from_numpy(np.tile(places, (1, 3)))
  with torch.no_grad():
    outputs = model(pixels, bool_masked_pos=mask)
  path = pathlib.Path(__file__).with_name('pretraining.npz')
  np.savez_compressed(
    path, logits=outputs.logits.numpy(), loss=outputs.loss.numpy()
  )
  print(tuple(outputs.logits.shape), outputs.loss, path.stat().st_size)
  print(abs(outputs.logits).max())


if __name__ == '__main__':
  main()
