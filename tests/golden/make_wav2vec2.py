"""Writes wav2vec2.npz: outputs of transformers' Wav2Vec2, both styles.

Run where torch and transformers are installed (it was written with torch
2.13.0 and transformers 4.57.6); avemo needs neither:

  python tests/golden/make_wav2vec2.py

Weights and inputs are drawn from their names, so only names, shapes, configs
and outputs are stored.
"""

import json
import pathlib
import tempfile
import zlib

import numpy as np
import torch
import transformers
from safetensors import numpy as safetensors_numpy
from transformers.models.wav2vec2 import modeling_wav2vec2

LENGTHS = (2_400, 1_700)
WIDTH = 32
STYLES = {
  'base': {'feat_extract_norm': 'group'},
  'robust': {
    'feat_extract_norm': 'layer',
    'conv_bias': True,
    'do_stable_layer_norm': True,
  },
}


class EmotionModel(modeling_wav2vec2.Wav2Vec2PreTrainedModel):
  """audeering's head on the mean over time: dense, tanh, three values."""

  def __init__(self, config):
    super().__init__(config)
    self.wav2vec2 = transformers.Wav2Vec2Model(config)
    self.classifier = torch.nn.Module()
    self.classifier.dense = torch.nn.Linear(WIDTH, WIDTH)
    self.classifier.out_proj = torch.nn.Linear(WIDTH, 3)
    self.init_weights()


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
  generator = np.random.default_rng(zlib.crc32(name.encode()))
  drawn = 0.2 * generator.standard_normal(shape)
  if 'norm.weight' in name or name.endswith('original0'):
    drawn += 1
  return drawn.astype(np.float32)


def fill(model, outputs: dict, key: str):
  """The model with every tensor drawn from its name in a saved file."""
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    model.save_pretrained(folder)
    path = folder / 'model.safetensors'
    tensors = safetensors_numpy.load_file(path)
    shapes = {name: x.shape for name, x in tensors.items()}
    tensors = {name: draw(name, shape) for name, shape in shapes.items()}
    safetensors_numpy.save_file(tensors, path, metadata={'format': 'pt'})
    outputs[f'{key}_shapes'] = np.array(json.dumps(shapes))
    outputs[f'{key}_config'] = np.array((folder / 'config.json').read_text())
    model = type(model).from_pretrained(folder, attn_implementation='eager')
    return model.eval()


def main():
  torch.set_num_threads(1)
  extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
  outputs = {}
  for style, options in STYLES.items():
    config = transformers.Wav2Vec2Config(
      hidden_size=WIDTH,
      num_hidden_layers=2,
      num_attention_heads=4,
      intermediate_size=4 * WIDTH,
      conv_dim=(12,) * 7,
      num_conv_pos_embeddings=8,
      num_conv_pos_embedding_groups=4,
      classifier_proj_size=10,
      id2label={0: 'arousal', 1: 'dominance', 2: 'valence'},
      label2id={'arousal': 0, 'dominance': 1, 'valence': 2},
      **options,
    )
    model = fill(EmotionModel(config), outputs, style)
    config.id2label = dict(enumerate(('neutral', 'happy', 'angry', 'sad')))
    config.label2id = {name: i for i, name in config.id2label.items()}
    classes = fill(
      transformers.Wav2Vec2ForSequenceClassification(config),
      outputs,
      f'{style}_classes',
    )
    for row, length in enumerate(LENGTHS):
      speech = draw('speech', (2, max(LENGTHS)))[row, :length]
      x = extractor(speech, sampling_rate=16_000, return_tensors='pt')
      with torch.no_grad():
        tokens = model.wav2vec2(x.input_values).last_hidden_state
        hidden = torch.tanh(model.classifier.dense(tokens.mean(1)))
        outputs[f'{style}_tokens_{row}'] = tokens[0].numpy()
        outputs[f'{style}_dimensions_{row}'] = model.classifier.out_proj(
          hidden
        )[0].numpy()
        outputs[f'{style}_classes_logits_{row}'] = (
          classes(x.input_values).logits[0].numpy()
        )
    # So quiet that the norms' epsilon is seen.
    quiet = torch.from_numpy(draw('quiet', (1, 6, WIDTH)) / 20)
    with torch.no_grad():
      norm = model.wav2vec2.encoder.layers[0].layer_norm
      outputs[f'{style}_quiet'] = norm(quiet)[0].numpy()
      norm = model.wav2vec2.feature_extractor.conv_layers[0].layer_norm
      quiet = quiet[:, :, :12]
      if style == 'base':
        outputs['base_quiet_conv'] = norm(quiet.mT).mT[0].numpy()
      else:
        outputs['robust_quiet_conv'] = norm(quiet)[0].numpy()
  path = pathlib.Path(__file__).with_name('wav2vec2.npz')
  np.savez_compressed(path, **outputs)
  print({k: v.shape for k, v in outputs.items()}, path.stat().st_size)


if __name__ == '__main__':
  main()
