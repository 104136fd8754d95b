"""Errors that a user can act on: each is one line that names the way out."""

import os


class AvemoError(Exception):
  """What went wrong, where, and the way out, in one line."""


class MediaError(AvemoError):
  """A media file that cannot be used.

  Attributes:
    path: the file.
    reason: why it cannot be used, without the path.
  """

  def __init__(self, path: str | os.PathLike, reason: str):
    super().__init__(f'{os.fspath(path)}: {reason}')
    self.path = os.fspath(path)
    self.reason = reason

  def __reduce__(self):
    # Worker processes send their errors back pickled.
    return type(self), (self.path, self.reason)
