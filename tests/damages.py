"""What happens to files: each takes a generator and the bytes."""

import numpy as np


def truncate(rng, data):
  return data[: rng.integers(1, len(data))]


def flip_bytes(rng, data):
  changed = np.frombuffer(data, np.uint8).copy()
  count = int(np.exp(rng.uniform(0, np.log(len(data) // 4))))
  changed[rng.integers(0, len(data), count)] = rng.integers(0, 256, count)
  return changed.tobytes()


def flip_header(rng, data):
  changed = np.frombuffer(data, np.uint8).copy()
  changed[rng.integers(0, min(512, len(data)), 8)] = rng.integers(0, 256, 8)
  return changed.tobytes()


def cut_out(rng, data):
  start, end = sorted(rng.integers(0, len(data), 2))
  return data[:start] + data[end:]


def empty(rng, data):
  return b''


def text(rng, data):
  return b'version https://git-lfs.github.com/spec/v1\n'


DAMAGES = (truncate, flip_bytes, flip_header, cut_out, empty, text)
