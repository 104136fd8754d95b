"""Mesh and placement, checkpoints, writers, distributed start-up."""
