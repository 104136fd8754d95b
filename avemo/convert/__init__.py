"""Published weights, read from the files that hold them, as plain arrays.

`readers.read` opens a file of any known format without running anything that
is in it; a family's module (one a published model) makes a `plans.Plan` of it;
`rules.convert` carries the plan out. Nothing here knows JAX, Flax, PyTorch or
TensorFlow.
"""
