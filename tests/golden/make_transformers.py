"""Writes transformers.npz: outputs of transformers' VideoMAE and AST.

Run where torch and transformers are installed (it was written with torch
2.13.0 and transformers 5.23.0); avemo needs neither:

  python tests/golden/make_transformers.py

Weights and inputs are drawn from their names, so only outputs are stored.
The names are those of saved files, not of live modules.
"""

import pathlib
import tempfile
import zlib

import numpy as np
import torch
import transformers
from safetensors import numpy as safetensors_numpy


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
  generator = np.random.default_rng(zlib.crc32(name.encode()))
  return (0.2 * generator.standard_normal(shape)).astype(np.float32)


def fill(model: torch.nn.Module) -> torch.nn.Module:
  """The model with every tensor drawn from its name in a saved file."""
  with tempfile.TemporaryDirectory() as folder:
    model.save_pretrained(folder)
    path = pathlib.Path(folder) / 'model.safetensors'
    tensors = safetensors_numpy.load_file(path)
    tensors = {name: draw(name, x.shape) for name, x in tensors.items()}
    safetensors_numpy.save_file(tensors, path, metadata={'format': 'pt'})
    return (
      type(model).from_pretrained(folder, attn_implementation='eager').eval()
    )


def main():
  small = {
    'hidden_size': 24,
    'num_hidden_layers': 2,
    'num_attention_heads': 3,
    'intermediate_size': 96,
    'num_labels': 5,
  }
  videomae = fill(
    transformers.VideoMAEForVideoClassification(
      transformers.VideoMAEConfig(
        image_size=32, num_frames=4, use_mean_pooling=True, **small
      )
    )
  )
  ast = fill(
    transformers.ASTForAudioClassification(
      transformers.ASTConfig(max_length=57, num_mel_bins=36, **small)
    )
  )
  clip = torch.from_numpy(draw('clip', (2, 4, 32, 32, 3)))
  spectrogram = torch.from_numpy(draw('spectrogram', (2, 57, 36)))
  with torch.no_grad():
    pixels = clip.permute(0, 1, 4, 2, 3)
    outputs = {
      'videomae_tokens': videomae.videomae(pixels).last_hidden_state,
      'videomae_logits': videomae(pixels).logits,
      'ast_tokens': ast.audio_spectrogram_transformer(
        spectrogram
      ).last_hidden_state,
      'ast_logits': ast(spectrogram).logits,
    }
  path = pathlib.Path(__file__).with_name('transformers.npz')
  np.savez_compressed(path, **{k: v.numpy() for k, v in outputs.items()})
  print({k: tuple(v.shape) for k, v in outputs.items()}, path.stat().st_size)


if __name__ == '__main__':
  main()
