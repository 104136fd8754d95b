"""Members of a zip file, mapped where they are stored as they are."""

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import NamedTuple

from avemo.convert import arrays, refusal

# zipfile reads the list of members at once; published weights have under 5000.
LARGEST_DIRECTORY = 4 << 20
# Of compressed members, together: floats hardly compress.
LARGEST_RATIO = 20

LOCAL_HEADER = struct.Struct('<4s22xHH')


class _Guarded(io.FileIO):
  """A file of which little is read at a time."""

  def read(self, size: int | None = -1) -> bytes:
    if size is None or size < 0 or size > LARGEST_DIRECTORY:
      size = LARGEST_DIRECTORY + 1
    found = super().read(size)
    if len(found) > LARGEST_DIRECTORY:
      raise refusal.Refusal(
        'its list of members is longer than any of weights; use a file from '
        'its publisher'
      )
    return found


class Archive(NamedTuple):
  """A zip file.

  Attributes:
    members: name → where it lies.
    data: the bytes of the file.
    path: the file.
    budget: bytes that compressed members may still take.
  """

  members: Mapping[str, zipfile.ZipInfo]
  data: memoryview
  path: str | os.PathLike
  budget: list[int]

  def read(self, name: str) -> memoryview:
    """The bytes of a member, checked against its checksum.

    Args:
      name: of the member.

    Returns:
      The bytes, read-only, mapped where the member is not compressed.

    Raises:
      Refusal: there is no such member, or it is broken, encrypted or larger
        than the file can mean.
    """
    if name not in self.members:
      raise refusal.Refusal(
        f'it lacks {refusal.shorten(repr(name), 80)}; download it again'
      )
    info = self.members[name]
    if info.flag_bits & 1:
      raise refusal.Refusal('it is encrypted; unpack it and pack it plainly')
    if info.compress_type == zipfile.ZIP_STORED:
      found = self._map(info)
    else:
      found = self._inflate(info)
    if zlib.crc32(found) != info.CRC:
      raise refusal.Refusal(
        f'{refusal.shorten(repr(name), 80)} differs from its checksum; '
        'download or copy it again'
      )
    return found

  def _map(self, info: zipfile.ZipInfo) -> memoryview:
    mark, name_length, extra_length = LOCAL_HEADER.unpack_from(
      self.data, info.header_offset
    )
    start = info.header_offset + LOCAL_HEADER.size
    start += name_length + extra_length
    found = self.data[start : start + info.file_size]
    if mark != b'PK\x03\x04' or len(found) != info.file_size:
      raise refusal.Refusal('a member lies beyond its end; download it again')
    return found

  def _inflate(self, info: zipfile.ZipInfo) -> memoryview:
    self.budget[0] -= info.file_size
    if self.budget[0] < 0:
      raise refusal.Refusal(
        f'it would unpack to more than {LARGEST_RATIO} times its size; no '
        'weights do, use a file from its publisher'
      )
    if info.compress_type != zipfile.ZIP_DEFLATED:
      raise refusal.Refusal(
        f'it is compressed by method {info.compress_type}, which is not read; '
        'unpack it and pack it plainly'
      )
    with zipfile.ZipFile(_Guarded(self.path)) as file:
      with file.open(info) as member:
        found = bytearray()
        while len(found) < info.file_size:
          chunk = member.read(min(1 << 20, info.file_size - len(found)))
          if not chunk:
            raise EOFError('a compressed member ends early')
          found += chunk
    return memoryview(found).toreadonly()


def open_archive(path: str | os.PathLike) -> Archive:
  """Opens a zip file.

  Raises:
    Refusal: it lists one name twice, or very many.
  """
  with zipfile.ZipFile(_Guarded(path)) as file:
    infos = file.infolist()
  members = {info.filename: info for info in infos}
  if len(members) != len(infos):
    raise refusal.Refusal('it lists a member twice; download it again')
  data = arrays.map_file(path)
  budget = LARGEST_RATIO * len(data) + (1 << 20)
  return Archive(members, data, path, [budget])
