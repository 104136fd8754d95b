"""What the backward pass computes anew, instead of keeping it.

Words of a field `remat`, from the fastest to the one that needs least memory:

  none   every block keeps what its gradient reads
  dots   a block keeps the products with its weights and the attention, and
         makes norms and activations anew
  block  a block keeps its input alone
  auto   the first of these that fits the device's memory; of several processes
         'block', which all of them can
"""

import os
import types
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from avemo import errors
from avemo.models import attention

WORDS = ('auto', 'none', 'dots', 'block')

# Numbers that a block keeps, by token and unit of width, with attention by
# blocks: 16 and 10, and what compiled steps need beside them for a while.
KEPT = types.MappingProxyType({'none': 18, 'dots': 11})

# Of a device's memory: the rest is for parameters, their optimiser and input.
SHARE = 0.4


def wrap(
  block: Callable[..., nn.Module],
  remat: bool | str,
  x: jax.Array,
  depth: int,
) -> Callable[..., nn.Module]:
  """The class of a stack's block, with what it computes anew.

  Args:
    block: the class.
    remat: out of `WORDS`; True is 'block' and False is 'none'.
    x: tokens [B, N, D] that the stack will see, of all devices.
    depth: number of blocks.
  """
  word = {True: 'block', False: 'none'}.get(remat, remat)
  if word not in WORDS:
    raise errors.AvemoError(f'remat={remat!r}: use one of {", ".join(WORDS)}')
  if word == 'auto':
    # Hosts may differ in memory, and must not in their programs.
    alone = jax.process_count() == 1
    word = choose(x.shape, depth, x.dtype) if alone else 'block'
  if word == 'none':
    return block
  policy = None
  if word == 'dots':
    policies = jax.checkpoint_policies
    policy = policies.save_from_both_policies(
      policies.dots_with_no_batch_dims_saveable,
      policies.save_only_these_names(attention.NAME),
    )
  return nn.remat(block, prevent_cse=False, policy=policy)


def choose(shape: tuple[int, ...], depth: int, dtype: Any) -> str:
  """The fastest word whose memory is there, for tokens [B, N, D]."""
  batch, num_tokens, width = shape
  numbers = batch * num_tokens * width * depth / jax.device_count()
  size = numbers * jnp.dtype(dtype).itemsize
  budget = SHARE * measure_memory()
  for word, kept in KEPT.items():
    if kept * size <= budget:
      return word
  return 'block'


def measure_memory() -> float:
  """Bytes of the memory that one device may use."""
  device = jax.local_devices()[0]
  if device.platform == 'cpu':
    whole = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    # Fake devices share the machine's.
    return whole / jax.local_device_count()
  return (device.memory_stats() or {}).get('bytes_limit', 16 * 2**30)
