"""What a training run has cost, kept over interruptions."""

import json
import pathlib
import time
from typing import Any

import jax

from avemo.evaluate import cost as model_cost
from avemo.evaluate import page
from avemo.runtime import cost, distributed
from avemo.train import run as run_lib


class Spent:
  """Writes `cost.json` whenever the run is saved.

  Seconds go on from an earlier call's; what a kill has undone counts no more
  than up to the checkpoint that stands.

  Args:
    workdir: of the run.
    run: its parts.
    first_step: from which it goes on.
  """

  def __init__(self, workdir: pathlib.Path, run: run_lib.Run, first_step: int):
    self._workdir = workdir
    self._run = run
    earlier = model_cost.read(workdir) if first_step else {}
    self._earlier = earlier.get('training_seconds', 0.0)
    self._began = time.monotonic()
    self._about: dict[str, Any] = {}

  @property
  def seconds(self) -> float:
    """Of this call and those before it."""
    return self._earlier + time.monotonic() - self._began

  def write(self, step: int) -> None:
    """Notes the cost up to `step`."""
    if not distributed.is_first():
      return
    run = self._run
    if not self._about:
      self._about = model_cost.describe_model(run.model, run.feed.options)
    content = {
      'step': step,
      'training_seconds': self.seconds,
      'training_device': jax.devices()[0].device_kind,
      'training_devices': run.mesh.size,
      **self._about,
      **cost.measure_peak_memory(),
    }
    text = json.dumps(content, indent=1) + '\n'
    page.write_text(self._workdir / model_cost.COST_FILE, text)
