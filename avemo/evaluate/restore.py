"""A trained model from the workdir of its run, or from converted weights."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from avemo import errors, models
from avemo.data import clips, mixture
from avemo.data.clips import SAMPLE_RATE, ClipOptions
from avemo.data.labels import EMOTION, LabelSpace
from avemo.models import emotion, layers, sections
from avemo.runtime import checkpoint as checkpoint_lib
from avemo.runtime import mesh as mesh_lib
from avemo.runtime import workdirs


@dataclasses.dataclass(frozen=True)
class Restored:
  """A model that is ready to be applied.

  Attributes:
    config: of the run, a nested dict.
    model: the module.
    variables: `params` (their running average where the run kept one) and
      `batch_stats`, on every device of `mesh`.
    labels: the classes of the head.
    emotions: what the training corpus annotates.
    options: how a record becomes a clip.
    step: of the checkpoint.
    dataset: name of the dataset that the run was trained on.
    dataset_sha256: see `mixture.identify`.
    mesh: over all devices, to split batches.
    parts: of a mixture, what `labels.json` says of each; else empty.
    derived: by task, the table by which training labels were derived.
    towers: what a model over features of frames reads.
    opened: those by name, once they are open; see `films.open_towers`.
    untrained_units: action units that no training clip has a label of.
  """

  config: dict[str, Any]
  model: Any
  variables: dict[str, Any]
  labels: LabelSpace
  emotions: tuple[str, ...]
  options: ClipOptions
  step: int
  dataset: str
  dataset_sha256: str
  mesh: jax.sharding.Mesh
  parts: tuple[dict[str, Any], ...] = ()
  derived: dict[str, str] = dataclasses.field(default_factory=dict)
  towers: tuple[dict[str, Any], ...] = ()
  opened: Mapping[str, Any] | None = None
  untrained_units: tuple[str, ...] = ()

  @property
  def tasks(self) -> tuple[str, ...]:
    """What the model gives, out of `labels.TASKS`."""
    return find_tasks(self.config['model'])


def restore(
  workdir: str | os.PathLike, *, checkpoint: str | int = 'best'
) -> Restored:
  """Loads parameters for evaluation; the optimiser's state is not read.

  Args:
    workdir: of a training run, or a directory of converted weights.
    checkpoint: 'best', 'last' or a step; of no matter for converted weights.

  Raises:
    AvemoError: the workdir or its checkpoint is missing or damaged.
  """
  workdir = pathlib.Path(workdir)
  if (workdir / MODEL_FILE).is_file():
    return restore_converted(workdir)
  config = read_json(workdir / 'config.json')
  if models.has_own_loss(find_model(config['model'])):
    raise errors.AvemoError(
      f'{workdir}: {config["model"]["name"]} knows no classes; train a '
      f'classifier from it with config.init.video={workdir}'
    )
  about = read_json(workdir / 'labels.json')
  try:
    labels = LabelSpace.from_json(about)
    emotions = tuple(about['emotions'])
    options = read_options(about['preprocessing'])
  except (KeyError, TypeError, AttributeError) as error:
    raise errors.AvemoError(
      f'{workdir / "labels.json"}: not that of a training run ({error!r})'
    ) from error
  section, towers = config['model'], tuple(about.get('towers', ()))
  if towers:
    section |= {'inputs': [[one['name'], one['width']] for one in towers]}
  model = make_model(
    section, num_classes=len(labels), augment=config.get('augment')
  )
  mesh = mesh_lib.make_mesh()
  store = open_checkpoints(workdir, config)
  step = store.find_step(checkpoint)
  shapes = find_shapes(model, options, mesh)
  kept = find_kept(config)
  items = store.restore(
    step,
    {kept: shapes['params'], 'batch_stats': shapes['batch_stats']},
  )
  store.close()
  return Restored(
    config=config,
    model=model,
    variables={
      'params': items[kept],
      'batch_stats': items['batch_stats'],
    },
    labels=labels,
    emotions=emotions,
    options=options,
    step=step,
    dataset=about.get('dataset', ''),
    dataset_sha256=about.get('dataset_sha256', ''),
    mesh=mesh,
    parts=tuple(about.get('parts', ())),
    derived=dict(about.get('derived', {})),
    towers=towers,
    untrained_units=tuple(about.get('untrained_units', ())),
  )


DEFAULT_METRIC = workdirs.DEFAULT_METRIC
MODEL_FILE = workdirs.MODEL_FILE
find_kept = workdirs.find_kept
open_checkpoints = workdirs.open_checkpoints
read_json = workdirs.read_json
read_options = clips.read_options


def restore_converted(directory: pathlib.Path) -> Restored:
  """The classifier that `avemo convert` has left in a directory.

  Raises:
    AvemoError: the directory is damaged, or holds no classifier.
  """
  about = read_json(directory / MODEL_FILE)
  try:
    labels = LabelSpace.from_json(about)
    section, fresh = about['model'], about['fresh']
    options = read_options(about['preprocessing'])
  except (KeyError, TypeError, AttributeError) as error:
    raise errors.AvemoError(
      f'{directory / MODEL_FILE}: not that of converted weights ({error!r})'
    ) from error
  tower = options.use[0]
  if not len(labels) or fresh:
    raise errors.AvemoError(
      f'{directory}: holds no classifier of emotions; train one from it with '
      f'config.init.{tower}={directory}'
    )
  model = make_model(section, num_classes=len(labels))
  mesh = mesh_lib.make_mesh()
  variables = find_shapes(model, options, mesh)
  for kind, shapes in variables.items():
    if shapes:
      leaves = checkpoint_lib.flatten(shapes)
      found = checkpoint_lib.read_arrays(directory / kind, leaves)
      variables[kind] = checkpoint_lib.nest(found)
  return Restored(
    config={'model': section, 'data': {'batch_size': CONVERTED_BATCH_SIZE}},
    model=model,
    variables=variables,
    labels=labels,
    emotions=labels.names,
    options=options,
    step=0,
    dataset='',
    dataset_sha256='',
    mesh=mesh,
  )


# Published models are large, and nobody trains with this number.
CONVERTED_BATCH_SIZE = 8


def find_shapes(
  model: Any, options: ClipOptions, mesh: jax.sharding.Mesh
) -> dict[str, Any]:
  """What `params` and `batch_stats` are, on every device of the mesh."""
  sharding = mesh_lib.replicated(mesh)
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
    jax.eval_shape(make_init(model, options), jax.random.key(0)),
  )


def make_model(
  section: Mapping[str, Any],
  *,
  num_classes: int,
  augment: Mapping[str, Any] | None = None,
  frozen: tuple[str, ...] = (),
) -> Any:
  """The model of a config's section.

  Args:
    section: `name`, a key of `MODELS`, and the fields of that module.
    num_classes: of the emotion head.
    augment: the config's section, of which spectrograms take theirs.
    frozen: towers that are not trained and run as in evaluation.

  Raises:
    AvemoError: an unknown name or field; names the nearest.
  """
  make = find_model(section)
  options = {k: v for k, v in section.items() if k != 'name'}
  options = sections.check_options('model', make, options)
  given = {'augment': augment or {}}
  if not models.has_own_loss(make):
    given |= {'num_classes': num_classes, 'frozen': frozen}
  return make(**options, **given)


def find_tasks(section: Mapping[str, Any]) -> tuple[str, ...]:
  """What a model of a config's section is asked for, one head a task."""
  return tuple(section.get('heads') or (EMOTION,))


def find_model(section: Mapping[str, Any]) -> type:
  """The class of a config's section, or an AvemoError."""
  return layers.choose('model', section.get('name', 'emotion'), models.MODELS)


def make_init(model: Any, options: ClipOptions):
  """From a key to the variables, always with `params` and `batch_stats`."""
  if hasattr(model, 'make_example'):
    example = model.make_example()
  else:
    example = emotion.example_batch(
      frames=options.frames,
      size=options.size,
      samples=max(options.num_samples, 1),
    )

  def init(key: jax.Array) -> dict[str, Any]:
    variables = model.init(key, example, train=False)
    return {
      'params': variables['params'],
      'batch_stats': variables.get('batch_stats', {}),
    }

  return init


def describe_inputs(
  dataset: Any,
  labels: LabelSpace,
  options: ClipOptions,
  *,
  derive: str | None = None,
  towers: Sequence[Mapping[str, Any]] = (),
  untrained_units: Sequence[str] = (),
) -> dict[str, Any]:
  """What `labels.json` says: label space and preprocessing.

  Args:
    dataset: a dataset or a mixture.
    labels: the classes of the head.
    options: how a record becomes a clip.
    derive: table by which valence and arousal were derived, if any.
    towers: what a model over features of frames reads, see
      `features.sources.describe`.
    untrained_units: action units without any label in training.
  """
  parts = mixture.zip_parts(dataset)
  about = {
    'dataset': dataset.name,
    'dataset_sha256': mixture.identify(dataset),
    'corpus': dataset.corpus,
    'emotions': list(dataset.emotions),
    'preprocessing': dataclasses.asdict(options) | {'sample_rate': SAMPLE_RATE},
  }
  if len(parts) > 1:
    about['parts'] = [
      {
        'key': key,
        'dataset': part.name,
        'dataset_sha256': mixture.identify(part),
        'emotions': list(part.emotions),
      }
      for key, part in parts
    ]
  if towers:
    about['towers'] = list(towers)
  if untrained_units:
    about['untrained_units'] = list(untrained_units)
  if derive:
    about['derived'] = {'valence_arousal': derive}
  return labels.to_json() | about
