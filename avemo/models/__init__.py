"""Towers, fusion and heads, in Flax Linen."""
