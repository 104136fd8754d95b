"""CREMA-D as a dataset of pictures and speech."""

import tensorflow_datasets as tfds

from datasets_tfds import build


class Builder(build.ClipBuilder):
  """CREMA-D, face video and speech; TFDS has an audio-only `crema_d`."""

  CORPUS = 'crema_d'
  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {
    '1.0.0': 'Pictures at native rate, mono speech at 16 kHz, raters’ votes.'
  }
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
  Clone https://github.com/CheyneyComputerScience/CREMA-D with git-lfs; the
  manual directory is that folder. AudioWAV, VideoFlash and the CSV tables are
  used; any of them may be missing, and any tree of them will do.
  """
