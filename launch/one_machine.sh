#!/bin/bash
# One machine, as many processes as PROCESSES says (its GPUs are shared out):
#
#   PROCESSES=8 launch/one_machine.sh --config=FILE --workdir=DIR
#
# After a preemption or a crash of the machine run it again (a systemd unit
# with Restart=on-failure does): the run goes on from its last checkpoint.
set -euo pipefail
exec "${PYTHON:-python}" -m avemo train --processes "${PROCESSES:-1}" "$@"
