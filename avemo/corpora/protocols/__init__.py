"""The registry of named folds: published ones, and our nested form of each.

A corpus's own file holds its rules and its PROTOCOLS; `registry` collects them.
"""

from avemo.corpora.protocols.registry import (
  PROTOCOLS,
  find_flaws,
  get,
  list_leaks,
  make_fold,
  make_folds,
)
from avemo.corpora.protocols.report import describe, describe_all
from avemo.corpora.protocols.rows import (
  rows_from_names,
  rows_from_raw,
  rows_of_corpus,
  split_bare,
)

__all__ = [
  'PROTOCOLS',
  'describe',
  'describe_all',
  'find_flaws',
  'get',
  'list_leaks',
  'make_fold',
  'make_folds',
  'rows_from_names',
  'rows_from_raw',
  'rows_of_corpus',
  'split_bare',
]
