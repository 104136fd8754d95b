"""MAFW as a dataset of pictures and speech."""

import tensorflow_datasets as tfds

from datasets_tfds import build


class Builder(build.ClipBuilder):
  """MAFW, face video and sound, with labels, captions and official folds."""

  CORPUS = 'mafw'
  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {
    '1.0.0': 'Pictures at native rate, mono sound at 16 kHz, official folds.'
  }
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
  A permanent member of staff signs the agreement of
  https://mafw-database.github.io/MAFW and is told where to load from. The
  manual directory is the folder of clips.zip (and frames.zip, where cut faces
  are wanted), Labels and `Train & Test Set`, unpacked, in whatever tree.
  """
