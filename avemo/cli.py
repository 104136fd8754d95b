"""The program `avemo`: runs a verb, and ends with one line on an error."""

import errno
import logging
import os
import sys
import traceback
from collections.abc import Sequence

from absl import logging as absl_logging

from avemo import arguments as arguments_lib
from avemo import errors, memory, verbs


def one_line(error: BaseException) -> str:
  text = str(error.args[0]) if isinstance(error, KeyError) else str(error)
  return ' '.join(text.split())


def quiet_libraries(debug: bool = False) -> None:
  """Libraries report through logging; a user wants our lines alone.

  Orbax logs what it raises, from several threads, at a page each: our line
  says it once, and `--debug` shows the rest.
  """
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
  os.environ.setdefault('GRPC_VERBOSITY', 'ERROR')
  # Its import sets its logger's level, so it is asked, not its logger.
  absl_logging.set_verbosity(
    absl_logging.ERROR if debug else absl_logging.FATAL
  )
  for name in ('jax', 'orbax', 'grain', 'tensorflow_datasets', 'asyncio'):
    logging.getLogger(name).setLevel(
      logging.ERROR if debug else logging.CRITICAL
    )


def start() -> None:
  """The program: `main` in a process that is its alone."""
  memory.take_large_pages()
  main()


def main(arguments: Sequence[str] | None = None) -> None:
  """Runs one verb; ends the process with 0, or non-zero after one line."""
  arguments = list(sys.argv[1:] if arguments is None else arguments)
  debug = '--debug' in arguments
  quiet_libraries(debug)
  try:
    args = arguments_lib.parse(arguments)
    verbs.VERBS[args.verb].run(args)
    # What reads our lines may have ended: that shows here, not at exit.
    sys.stdout.flush()
  except errors.AvemoError as error:
    stop(str(error), debug)
  except KeyboardInterrupt:
    stop('interrupted', debug, status=130)
  except BrokenPipeError:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(141) from None
  except OSError as error:
    name = f'{error.filename}: ' if error.filename else ''
    hint = {
      errno.ENOSPC: '; free some room and run the same command again',
      errno.EACCES: '; choose a folder that you may write to',
      errno.ENOTDIR: '; choose a folder that you may write to',
      errno.EROFS: '; choose a folder that you may write to',
    }.get(error.errno, '')
    stop(f'{name}{error.strerror or error}{hint}', debug)
  except Exception as error:  # The last line of defence, reported in full.
    stop(
      f'internal error: {type(error).__name__}: {one_line(error)}; please '
      'report it with what --debug prints',
      debug,
      status=70,
    )


def stop(message: str, debug: bool, status: int = 1) -> None:
  """Prints one line on stderr and ends the process."""
  if debug:
    traceback.print_exc()
  print(f'avemo: {" ".join(message.split())}', file=sys.stderr)
  if 'jax' in sys.modules:
    from avemo.runtime import distributed

    distributed.fail(status)
  raise SystemExit(status)
