"""Aff-Wild2: films labelled by frame."""
