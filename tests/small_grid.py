"""A config and a grid of seconds, as a file in a folder of a test's own."""

import pathlib

TEXT = '''"""By sound alone, as small as it gets."""

from configs import common


def get_config(arg: str = ''):
  arg = common.parse(arg, width=4)
  config = common.default()
  common.shrink(config)
  config.steps = 2
  config.data_dir = {data_dir!r}
  config.data.update(frames=2, size=16, seconds=0.25)
  config.model.use = ('audio',)
  config.model.audio = {{'name': 'cnn', 'widths': (arg.width,)}}
  config.model.features = {{'num_mels': 8}}
  config.control.evaluate_every = 1
  config.checkpoint.every = 1
  return config
'''


def write_config(
  folder: pathlib.Path, data_dir: pathlib.Path, sweep: str = ''
) -> pathlib.Path:
  """Writes `small.py`; `sweep` is the body of a function that returns it."""
  path = folder / 'small.py'
  text = TEXT.format(data_dir=str(data_dir))
  if sweep:
    text += f'\n\ndef get_sweep():\n  return {sweep}\n'
  path.write_text(text)
  return path
