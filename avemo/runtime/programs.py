"""Compiled programs kept on disk, so that a second start need not compile."""

import hashlib
import os
import pathlib
import platform

import jax

# A folder for the programs; 'none' keeps none.
VARIABLE = 'AVEMO_PROGRAMS'


def keep(folder: str | os.PathLike | None = None) -> pathlib.Path | None:
  """Has JAX read compiled programs from a folder, and write new ones there.

  A program is found again by what it computes, by the versions of JAX and its
  compiler and by the device, so the folder can be shared and may be emptied at
  any time. Heard only by a process that has not compiled yet.

  Args:
    folder: None is $AVEMO_PROGRAMS, else `avemo/programs` in the user's cache;
      'none' keeps none. A folder that the environment names to JAX itself,
      JAX_COMPILATION_CACHE_DIR, stays.

  Returns:
    Where they are, or None.
  """
  folder = folder or os.environ.get(VARIABLE) or default_folder()
  if str(folder) == 'none' or 'JAX_COMPILATION_CACHE_DIR' in os.environ:
    return None
  # What is compiled for one processor may not run on another, and a home may
  # be mounted on both.
  place = pathlib.Path(folder).expanduser().absolute() / name_processor()
  try:
    place.mkdir(parents=True, exist_ok=True)
  except OSError:
    # Such as a home that is not there: slower, and no reason to stop.
    return None
  jax.config.update('jax_compilation_cache_dir', str(place))
  return place


def default_folder() -> pathlib.Path:
  cache = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
  return pathlib.Path(cache) / 'avemo' / 'programs'


def name_processor() -> str:
  """The machine's architecture, and a digest of what its processor can do."""
  try:
    lines = pathlib.Path('/proc/cpuinfo').read_text().splitlines()
    features = next(line for line in lines if line.startswith(WORDS))
  except (OSError, StopIteration):
    features = platform.processor()
  digest = hashlib.sha256(features.encode()).hexdigest()[:12]
  return f'{platform.machine()}-{digest}'


# On x86 and on ARM.
WORDS = ('flags', 'Features')
