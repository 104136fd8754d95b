"""Files by name alone, for tests that look at trees and open no media."""

STUB = (
  b'version https://git-lfs.github.com/spec/v1\n'
  b'oid sha256:0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2\n'
  b'size 81234\n'
)


def put(path, content=b'media'):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(content)
  return path
