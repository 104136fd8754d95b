"""Anyone's own recordings as a dataset of pictures and speech."""

import tensorflow_datasets as tfds

from datasets_tfds import build


class Builder(build.ClipBuilder):
  """A folder of films and sounds, with labels from a table or from folders."""

  CORPUS = 'custom'
  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {'1.0.0': 'Pictures at native rate, mono speech at 16 kHz.'}
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
  The manual directory is any folder of films and sounds. Labels come from a
  table with the columns path, speaker, emotion, valence, arousal, au_<n> and
  split, of which path alone is needed; without one, folders train, val and test
  are read, and folders of emotions below them.
  """
