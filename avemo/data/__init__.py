"""Records on disk to batches of arrays."""
