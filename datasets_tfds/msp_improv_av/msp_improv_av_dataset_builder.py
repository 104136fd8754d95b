"""MSP-IMPROV as a dataset of pictures and speech."""

import tensorflow_datasets as tfds

from datasets_tfds import build


class Builder(build.ClipBuilder):
  """MSP-IMPROV, face video and speech; one record a segment of a turn."""

  CORPUS = 'msp_improv'
  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {
    '1.0.0': 'Pictures at native rate, mono speech at 16 kHz, ratings.'
  }
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
  Ask for the corpus at
  https://ecs.utdallas.edu/research/researchlabs/msp-lab/MSP-Improv.html; the
  manual directory is its folder. The AVIs, the WAVs and the evaluation file
  are used, in whatever tree they are.
  """
