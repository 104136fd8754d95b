"""The peer of the benchmarks of towers: transformers' models under PyTorch.

Runs as a program in a Python of its own, with torch and transformers and
nothing else. It says that it is ready, then times one run for every line that
it reads, and answers each with the seconds that it took.
"""

import argparse
import json
import os
import sys
import time

import torch
import transformers

SIZES = {
  'S': {'hidden_size': 384, 'num_hidden_layers': 12, 'num_attention_heads': 6},
  'B': {'hidden_size': 768, 'num_hidden_layers': 12, 'num_attention_heads': 12},
  'L': {
    'hidden_size': 1024,
    'num_hidden_layers': 24,
    'num_attention_heads': 16,
  },
}
NUM_CLASSES = 7


def main() -> None:
  args = read_arguments()
  device = 'cuda' if torch.cuda.is_available() else 'cpu'
  if device == 'cpu':
    torch.set_num_threads(args.threads)
  # TF32 on a GPU, as JAX's default there.
  torch.set_float32_matmul_precision('high')
  try:
    began = time.perf_counter()
    run = make_run(args, device)
    run()
    first = time.perf_counter() - began
  except torch.cuda.OutOfMemoryError:
    say({'out_of_memory': True})
    return
  say(
    {
      'torch': torch.__version__,
      'transformers': transformers.__version__,
      'threads': torch.get_num_threads(),
      'first_seconds': first,
      'peak_bytes': (
        torch.cuda.max_memory_allocated() if device == 'cuda' else None
      ),
    }
  )
  for _ in sys.stdin:
    say({'seconds': time_run(run, device)})


def say(answer) -> None:
  print(json.dumps(answer), flush=True)


def time_run(run, device: str) -> float:
  if device == 'cuda':
    torch.cuda.synchronize()
  began = time.perf_counter()
  run()
  if device == 'cuda':
    torch.cuda.synchronize()
  return time.perf_counter() - began


def read_arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--modality', choices=('video', 'audio'), required=True)
  parser.add_argument('--size', choices=SIZES, required=True)
  parser.add_argument('--task', choices=('forward', 'finetune'), required=True)
  parser.add_argument('--dtype', default='float32')
  parser.add_argument('--batch-size', type=int, default=1)
  parser.add_argument('--threads', type=int, default=os.cpu_count())
  parser.add_argument('--compile', action='store_true')
  return parser.parse_args()


def make_run(args, device: str):
  """A function that does the task once."""
  torch.manual_seed(0)
  model, inputs = make_model(args)
  model, inputs = model.to(device), inputs.to(device)
  half = args.dtype == 'bfloat16'
  if args.task == 'forward':
    model.eval()
    if half:
      model, inputs = model.bfloat16(), inputs.bfloat16()
    call = torch.compile(model) if args.compile else model

    def forward():
      with torch.inference_mode():
        return call(inputs).logits

    return forward

  model.train()
  call = torch.compile(model) if args.compile else model
  targets = torch.zeros(args.batch_size, dtype=torch.long, device=device)
  optimizer = torch.optim.AdamW(
    model.parameters(), lr=1e-5, weight_decay=0.05, fused=True
  )

  def step():
    # Parameters and optimiser are float32 in both precisions, as ours are.
    with torch.autocast(device, torch.bfloat16, enabled=half):
      loss = call(inputs, labels=targets).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss

  return step


def make_model(args):
  """Random weights and input; attention by PyTorch's fused kernels."""
  size = SIZES[args.size]
  options = size | {
    'intermediate_size': 4 * size['hidden_size'],
    'num_labels': NUM_CLASSES,
    'attn_implementation': 'sdpa',
  }
  if args.modality == 'video':
    config = transformers.VideoMAEConfig(use_mean_pooling=True, **options)
    model = transformers.VideoMAEForVideoClassification(config)
    return model, torch.randn(args.batch_size, 16, 3, 224, 224)
  config = transformers.ASTConfig(**options)
  model = transformers.ASTForAudioClassification(config)
  return model, torch.randn(args.batch_size, 1024, 128)


if __name__ == '__main__':
  main()
