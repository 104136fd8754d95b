"""Files that no encoder would write."""

import films
import numpy as np

from avemo.media import decode, encode, render


def write_late_stream(path):
  """Writes an FLV at whose end sound of another codec appears."""
  encode.write_media(path, films.paint_wall(30), fps=25, speech=films.hum(1.2))
  body = b'\x3f' + bytes(200)
  kind, time, stream = b'\x08', b'\x00\x04\xb0\x00', b'\x00\x00\x00'
  tag = kind + len(body).to_bytes(3, 'big') + time + stream + body
  with open(path, 'ab') as file:
    file.write(tag + len(tag).to_bytes(4, 'big'))


def test_a_stream_that_appears_late_is_no_trouble(tmp_path):
  path, plain = tmp_path / 'late.flv', tmp_path / 'plain.flv'
  write_late_stream(path)
  encode.write_media(plain, films.paint_wall(30), fps=25, speech=films.hum(1.2))
  found, wanted = (list(decode.read_frames(p)) for p in (path, plain))
  assert [f.time for f in found] == [f.time for f in wanted]
  np.testing.assert_array_equal(
    [f.image for f in found], [f.image for f in wanted]
  )
  np.testing.assert_array_equal(
    decode.read_audio(path), decode.read_audio(plain)
  )
  assert render.render(path, tmp_path / 'late.mp4', lambda frame: []) == 30
