"""Writes a checkpoint of TensorFlow's first format.

A program of its own, for an environment that has TensorFlow:

  python benchmarks/parity/vggish_tensorflow.py VARIABLES.npz OUT.ckpt

VARIABLES holds arrays by name; OUT is what `Saver` writes of them.
"""

import os
import sys

os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'

import numpy as np
import tensorflow as tf


def main():
  given, checkpoint = sys.argv[1:]
  arrays = np.load(given)
  with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    variables = []
    for name in arrays.files:
      shape = arrays[name].shape
      variable = tf.compat.v1.get_variable(name, shape, use_resource=False)
      # Fed, because a graph holds no constants of 2 GB.
      values = tf.compat.v1.placeholder(tf.float32, shape)
      session.run(variable.assign(values).op, {values: arrays[name]})
      variables.append(variable)
    saver = tf.compat.v1.train.Saver(
      variables, write_version=tf.compat.v1.train.SaverDef.V1
    )
    saver.save(session, checkpoint, write_meta_graph=False)


if __name__ == '__main__':
  main()
