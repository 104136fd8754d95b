"""eNTERFACE'05 as a dataset of pictures and speech."""

import tensorflow_datasets as tfds

from datasets_tfds import build


class Builder(build.ClipBuilder):
  """eNTERFACE'05, face video and speech; one record a clip."""

  CORPUS = 'enterface'
  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {'1.0.0': 'Pictures at native rate, mono speech at 16 kHz.'}
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
  Download project2_database.zip from http://www.enterface.net/enterface05 and
  unpack it into the manual directory. The folders `subject 1/anger/sentence 1`
  and so on must stay; what is above them does not matter.
  """
