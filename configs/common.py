"""What all configs share: their arguments, their sections, a small form."""

import difflib
from collections.abc import Iterable, Mapping, Sequence

import ml_collections
from ml_collections import config_dict

from avemo import errors


def parse(arg: str | None, **defaults) -> ml_collections.ConfigDict:
  """Reads what follows the colon in `--config=FILE:fold=1,smoke`.

  Args:
    arg: `name=value` pairs with commas between; a name alone is True.
    **defaults: all names, with values whose types decide how to read; what is
      iterable is the choice of words, of which the first is meant unless said.

  Returns:
    The values by name.

  Raises:
    AvemoError: an unknown name or value; says what the config takes.
    SystemExit: `help` is asked for, and printed.
  """
  choices = {
    name: tuple(default)
    for name, default in defaults.items()
    if not isinstance(default, (str, int, float))
  }
  values = defaults | {name: words[0] for name, words in choices.items()}
  for part in filter(None, (arg or '').split(',')):
    name, equals, text = part.partition('=')
    if name == 'help' and name not in defaults:
      print(f'after the colon the config takes {_describe(**defaults)}')
      raise SystemExit(0)
    if name not in defaults:
      raise errors.AvemoError(
        f'the config takes no argument {name!r}'
        f'{_suggest(name, defaults, choices)}; it takes {_describe(**defaults)}'
      )
    if name in choices:
      if text not in choices[name]:
        words = ', '.join(choices[name])
        raise errors.AvemoError(f'{name}={text!r}: use one of {words}')
      values[name] = text
    else:
      values[name] = _read(name, text if equals else 'true', defaults[name])
  return ml_collections.ConfigDict(values)


def _describe(**defaults) -> str:
  """What `parse` takes, such as `size=full|tiny, fold=0, derive`."""
  return ', '.join(
    name
    if default is False
    else f'{name}={default}'
    if isinstance(default, (str, int, float))
    else f'{name}={"|".join(default)}'
    for name, default in defaults.items()
  )


def _suggest(
  word: str, names: Iterable[str], choices: Mapping[str, Sequence[str]]
) -> str:
  """Whose value the word would be, or the name that is nearest."""
  owners = [name for name, words in choices.items() if word in words]
  if owners:
    return f' (did you mean {owners[0]}={word}?)'
  near = difflib.get_close_matches(word, names, 1)
  return f' (did you mean {near[0]}?)' if near else ''


def _read(name: str, text: str, default):
  try:
    if isinstance(default, bool):
      words = {'true': True, '1': True, 'false': False, '0': False}
      return words[text.lower()]
    return type(default)(text)
  except (KeyError, ValueError) as error:
    raise errors.AvemoError(
      f'the config takes {name} as {type(default).__name__}, not {text!r}'
    ) from error


def default() -> ml_collections.ConfigDict:
  """Every section, with values that do no harm; a config sets the rest."""
  config = ml_collections.ConfigDict()
  config.seed = 0
  config.steps = 1_000
  config.log_every = 10
  # Bit for bit on a GPU as well, more slowly.
  config.deterministic = False
  config.data_dir = config_dict.placeholder(str)
  config.data = {
    'name': 'crema_d_av',
    'protocol': 'crema_d_hicmae_5fold',
    'fold': 0,
    'batch_size': 32,
    'frames': 16,
    'sampling': 'uniform',
    'stride': 4,
    # Frames a second that are counted; those of the file when None.
    'fps': config_dict.placeholder(float),
    'size': 224,
    'margin': 1.3,
    'squeeze': False,
    'seconds': 3.0,
    'workers': 0,
    'balanced': False,
    'soft_labels': config_dict.placeholder(str),
    # Several corpora instead of `name`, `protocol` and `fold`, see mixture.py.
    'mixture': {},
    'label_map': {},
    # Classes of a dimension instead of emotions, such as
    # {'dimension': 'valence', 'edges': (2.5, 3.5)}; see dimensions.py.
    'classes_from': {},
    # Table by which emotions give valence and arousal, such as
    # russell_mehrabian_1977; nothing is ever scored against them.
    'derive': config_dict.placeholder(str),
    # Seconds between windows where labels stand by frame.
    'every': 1.0,
    'shuffle_labels': False,
    'refit': False,
  }
  # Of seconds, features and pictures, what is measured on training clips.
  config.measure = ()
  config.augment = {}
  config.model = {
    'name': 'emotion',
    'use': ('video', 'audio'),
    'video': {'name': 'videomae', 'variant': 'base'},
    'audio': {'name': 'spectrogram_vit', 'variant': 'base'},
    'features': {},
    'pictures': {},
    # Each kind has its options under its name, so that a grid can vary it.
    'fusion': {
      'kind': 'early',
      'early': {'join_at': 0},
      'late': {},
      'concatenation': {},
      'cross_attention': {'depth': 2, 'num_heads': 12},
      'bottleneck': {'tokens': 4, 'join_at': 8},
      'sequence': {
        'strategy': 'fslf',
        'count': 16,
        'size': 224,
        'run': 2,
        'saturate': True,
        'shuffle': 'step',
        'pictures': {},
      },
    },
    # Of emotion, valence_arousal, dominance and action_units, what is learned.
    'heads': ('emotion',),
    'dropout': 0.0,
    'dtype': 'float32',
  }
  # Features of frozen towers: `cache` is a folder that keeps them, off when
  # None; `views` is how many fixed looks at a clip training draws from, as
  # evaluation takes them; None draws anew at every step.
  config.features = {
    'cache': config_dict.placeholder(str),
    'views': config_dict.placeholder(int),
    # Of model.name=sequence: by name, path, modality and checkpoint of towers,
    # and the frames of a window.
    'towers': {},
    'frames': config_dict.placeholder(int),
    # As that of `init`.
    'allow_overlap': False,
  }
  # Towers from a training run's workdir or from converted weights. A run that
  # has learned from this fold's unseen speakers is refused, unless allowed.
  config.init = {
    'video': config_dict.placeholder(str),
    'audio': config_dict.placeholder(str),
    'checkpoint': 'best',
    'skip': (),
    'allow_overlap': False,
  }
  config.loss = {
    'label_smoothing': 0.0,
    'class_weights': config_dict.placeholder(str),
    # Of valence, arousal and dominance: ccc, mse or ccc+mse; ccc when None.
    'continuous': config_dict.placeholder(str),
    'action_unit_weights': config_dict.placeholder(str),
    # Such as {'valence_arousal': 0.5}; 1 where not said.
    'task_weights': {},
  }
  config.optim = {
    'name': 'adamw',
    'lr': 1e-3,
    'warmup': 0,
    'schedule': 'cosine',
    'weight_decay': 0.05,
    'layer_decay': 1.0,
    'clip': 1.0,
    'accumulate': 1,
    'ema': 0.0,
    'freeze': (),
  }
  config.control = {
    'evaluate_every': 100,
    'metric': 'val/uar',
    'mode': 'max',
    'patience': 0,
    'plateau_patience': 0,
    'plateau_factor': 0.1,
  }
  # Of films labelled by frame: none, mean:S or median:S, or chosen.
  config.evaluate = {'smooth': 'none'}
  config.checkpoint = {
    'every': 100,
    'keep_latest': 1,
    'keep_best': 1,
    'keep_every': 0,
  }
  # Parameters from this many bytes on are split over `fsdp`.
  config.mesh = {'data': -1, 'fsdp': 1, 'smallest': 1 << 20}
  config.sharding = ()
  return config


def shrink(config: ml_collections.ConfigDict) -> None:
  """Makes a run of seconds out of a config, to see that it goes through."""
  config.steps = 4
  config.log_every = 1
  config.data.batch_size = 8
  config.data.frames = 4
  config.data.size = 32
  config.data.seconds = 0.5
  config.model.video.variant = 'tiny'
  config.model.audio.variant = 'tiny'
  config.model.fusion.sequence.update(count=4, size=32)
  config.optim.warmup = min(config.optim.warmup, 1)
  config.optim.accumulate = 1
  config.control.evaluate_every = 2
  config.checkpoint.every = 2
