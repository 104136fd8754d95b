"""Files to arrays and back: decoding, encoding, faces, rendering. No JAX."""
