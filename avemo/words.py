"""Numbers in sentences."""


def count(number: int, noun: str, plural: str = '') -> str:
  """Such as '1 clip', '2 clips', '3 speakers have' (`plural` 'speakers have').

  Args:
    number: how many.
    noun: of one.
    plural: of several, where it is not the noun with an s.
  """
  return f'{number} {noun if number == 1 else plural or f"{noun}s"}'
