"""Aff-Wild2 as a dataset of pictures and sound, labelled by frame."""

import tensorflow_datasets as tfds

from datasets_tfds import build


class Builder(build.ClipBuilder):
  """Aff-Wild2: segments of films, with labels of every frame."""

  CORPUS = 'aff_wild2'
  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {
    '1.0.0': 'Pictures at native rate, mono sound at 16 kHz, labels by frame.'
  }
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
  Academic staff sign the agreement of
  https://sites.google.com/view/dimitrioskollias/databases/aff-wild2 and are
  told where to load from. The manual directory is the folder of the
  annotations (of any year), and of batch1, batch2 and new_vids, or the cropped
  or cropped and aligned pictures, or both, unpacked, in whatever tree.
  """
