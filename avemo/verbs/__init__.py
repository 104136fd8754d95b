"""The verbs: `avemo VERB …`, a file each, in the order of `avemo --help`.

A file has `SUMMARY`, where needed `DESCRIPTION` and `EPILOG`,
`add_arguments(verb)`, and `run(args)`, which imports its room and calls one
function. `TAKES_CONFIG` marks a verb whose `--config.a.b=v` are the config's.
"""

from avemo.verbs import (
  abaw,
  convert,
  demo,
  evaluate,
  extract,
  predict,
  prepare,
  protocols,
  simulate,
  train,
)

VERBS = {
  'simulate': simulate,
  'prepare': prepare,
  'extract': extract,
  'protocols': protocols,
  'convert': convert,
  'train': train,
  'evaluate': evaluate,
  'predict': predict,
  'abaw': abaw,
  'demo': demo,
}
