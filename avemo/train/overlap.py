"""That no weights bring a fold's unseen speakers into its training."""

import os
from collections.abc import Mapping
from typing import Any

from avemo import errors
from avemo.data import parts as parts_lib
from avemo.data import seen
from avemo.train import feed as feed_lib


def check(config: Mapping[str, Any], feed: feed_lib.Feed) -> list[str]:
  """Lines for unseen speakers that weights have seen without their labels.

  Args:
    config: of the run.
    feed: of the run.

  Raises:
    AvemoError: weights have learned from labels of validation or test
      speakers, or were chosen by test speakers, and neither
      `init.allow_overlap` nor `features.allow_overlap` says that they may.
  """
  parts = parts_lib.read(config['data'])
  test = parts_lib.find_split(feed.dataset, parts, 'test')
  lines = []
  for key, path in seen.list_sources(config).items():
    section, entries = key.partition('.')[0], seen.read(path)
    allowed = (config.get(section) or {}).get('allow_overlap')
    lines += [f'warning: {key}: {line}' for line in seen.list_unknown(entries)]
    for split, records, kind in (
      ('test', test, 'trained'),
      ('validation', feed.val, 'trained'),
      ('test', test, 'chosen'),
    ):
      for entry, how in seen.find_shared(
        entries, parts, feed.dataset, records, kind
      ):
        text = f'{key}: {entry["path"]} {how}, of the {split} part of this fold'
        if entry['labels'] and not allowed:
          raise errors.AvemoError(
            f'{text}; name weights of the training part, or set '
            f'{section}.allow_overlap=True, which is told beside the score'
          )
        lines.append(f'warning: {text}')
  return lines


def describe(
  config: Mapping[str, Any], feed: feed_lib.Feed, workdir: str | os.PathLike
) -> list[seen.Entry]:
  """What `trained_on.json` of a run says: its own entry, and its sources'."""
  found = [
    seen.describe(
      workdir,
      feed.dataset,
      feed.train,
      feed.val,
      has_labels=not feed.unlabelled,
    )
  ]
  for path in seen.list_sources(config).values():
    found += [entry for entry in seen.read(path) if entry not in found]
  return found
