"""TensorFlow's first checkpoint format, one file, as VGGish is published in."""

import pathlib

import numpy as np

from avemo import errors


def read(path: str | pathlib.Path) -> dict[str, np.ndarray]:
  """Every variable of a checkpoint by name, read by TensorFlow.

  Args:
    path: of the file, such as `vggish_model.ckpt`.

  Raises:
    AvemoError: TensorFlow is not installed, or the file is not a checkpoint.
  """
  try:
    import tensorflow as tf
  except ImportError as error:
    raise errors.AvemoError(
      f'{path}: only TensorFlow reads checkpoints of the first format; pip '
      "install tensorflow-cpu, or convert torchvggish's vggish-10086976.pth, "
      'which holds the same weights'
    ) from error
  try:
    reader = tf.train.load_checkpoint(str(path))
  except (ValueError, tf.errors.OpError) as error:
    raise errors.AvemoError(
      f'{path}: TensorFlow reads no checkpoint there: {error}'
    ) from error
  names = sorted(reader.get_variable_to_shape_map())
  return {name: np.asarray(reader.get_tensor(name)) for name in names}
