"""Runs `avemo` as `python -m avemo`."""

from avemo import cli

if __name__ == '__main__':
  cli.start()
