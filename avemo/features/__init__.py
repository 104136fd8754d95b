"""Frozen towers, and the cache of what they say of clips and frames."""
