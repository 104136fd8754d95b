"""RAVDESS as a dataset of pictures and speech."""

import tensorflow_datasets as tfds

from datasets_tfds import build


class Builder(build.ClipBuilder):
  """RAVDESS, face video and speech; one record a performance."""

  CORPUS = 'ravdess'
  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {'1.0.0': 'Pictures at native rate, mono speech at 16 kHz.'}
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
  Download the archives from https://zenodo.org/records/1188976 and unpack them
  into the manual directory. Speech or songs, pictures or sound alone, and any
  tree of them will do.
  """
