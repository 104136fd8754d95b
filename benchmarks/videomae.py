"""How fast VideoMAE is, beside transformers' on PyTorch.

  python -m benchmarks.videomae --peer-python PATH --sizes S B L \\
    --task forward finetune --dtype float32 bfloat16 --repeats 10 \\
    --out benchmarks/results/videomae.json

Clips of 16 frames of 224 x 224, random weights. `forward` goes from frames to
logits, ours with the normalisation of 8-bit frames before; `finetune` is a
whole training step: forward, backward, clipping, AdamW. PATH is a Python with
torch and transformers, here of requirements/parity.txt; on a machine with a
GPU nothing else is needed than their builds for it. Without PATH there is no
peer. The peer runs with PyTorch's fused attention, as it is and under
torch.compile, and the faster of the two counts. On a GPU:

  ... --batch-size 16 --dtype bfloat16 --largest

The share of the matrix rate is that of a large product of the same dtype,
measured before and after the pairs; operations are those of the matrix
products of one step, without what is computed anew.
"""

from benchmarks import against_transformers

if __name__ == '__main__':
  against_transformers.main('video', __doc__)
