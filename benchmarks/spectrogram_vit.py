"""How fast the spectrogram ViT is, beside transformers' AST on PyTorch.

  python -m benchmarks.spectrogram_vit --peer-python PATH --sizes B \\
    --out benchmarks/results/spectrogram_vit.json

1024 frames of 128 mel bands in patches of 16 x 16 every 10, 1214 tokens. Ours
makes the spectrogram from 10 s of 16-bit speech within the pass and the step;
the peer is given it ready. Else as `benchmarks.videomae`.
"""

from benchmarks import against_transformers

if __name__ == '__main__':
  against_transformers.main('audio', __doc__)
