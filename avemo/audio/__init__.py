"""Waveform to features as pure JAX functions: jit, grad and vmap safe.

Axis letters: B batch, S samples, F frames of the spectrum, M mel bands.
"""
