"""Emotion recognition from a speaker's face and voice, in JAX."""

__version__ = '0.1.0'
