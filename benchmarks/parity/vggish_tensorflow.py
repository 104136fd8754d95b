"""Writes and reads a checkpoint of TensorFlow's first format.

A program of its own, for an environment that has TensorFlow:

  python benchmarks/parity/vggish_tensorflow.py IN.npz OUT.ckpt READ.npz

IN holds variables by name, OUT is the checkpoint as `Saver` writes it, READ
what `avemo.convert` reads of it; it needs avemo's sources on PYTHONPATH.
"""

import os
import sys

os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from avemo.convert import checkpoint_v1  # noqa: E402


def main():
  given, checkpoint, read = sys.argv[1:]
  arrays = np.load(given)
  with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    holders, assignments = {}, []
    variables = []
    for name in arrays.files:
      # Fed, because a graph cannot hold constants of 2 GB.
      holders[name] = tf.compat.v1.placeholder(tf.float32, arrays[name].shape)
      variable = tf.compat.v1.get_variable(
        name, arrays[name].shape, tf.float32, use_resource=False
      )
      variables.append(variable)
      assignments.append((variable.assign(holders[name]), name))
    for assignment, name in assignments:
      session.run(assignment.op, {holders[name]: arrays[name]})
    saver = tf.compat.v1.train.Saver(
      variables, write_version=tf.compat.v1.train.SaverDef.V1
    )
    saver.save(session, checkpoint, write_meta_graph=False)
  np.savez(read, **checkpoint_v1.read(checkpoint))


if __name__ == '__main__':
  main()
