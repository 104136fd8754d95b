"""The verbs: `avemo VERB …`, a file each, in the order of `avemo --help`.

A file has `SUMMARY`, where needed `DESCRIPTION` and `EPILOG`,
`add_arguments(verb)`, and `run(args)`, which imports its room and calls one
function. `TAKES_CONFIG` marks a verb whose `--config.a.b=v` are the config's.
"""

from avemo.verbs import (
  abaw,
  collect,
  convert,
  cross_validate,
  demo,
  evaluate,
  extract,
  predict,
  prepare,
  protocols,
  simulate,
  sweep,
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
  'cross-validate': cross_validate,
  'sweep': sweep,
  'collect': collect,
  'predict': predict,
  'abaw': abaw,
  'demo': demo,
}
