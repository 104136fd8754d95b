#!/bin/bash
# All workers of a TPU VM, each with a process; the workdir is in a bucket or
# on a disk that all of them see. Needs gcloud here, and avemo with
# `jax[tpu]` under ~/avemo on the workers:
#
#   TPU=my-pod ZONE=europe-west4-a launch/tpu_vm.sh --config=FILE --workdir=DIR
#
# The machines know one another. When one process ends, JAX ends the others, in
# two minutes at most; then the script starts all again from the last
# checkpoint, up to RESTARTS times.
set -uo pipefail
: "${TPU:?name of the TPU VM}" "${ZONE:?its zone}"

on_all_workers() {
  gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker=all \
    --command="$1"
}

words=$(printf '%q ' "$@")
for attempt in $(seq 0 "${RESTARTS:-3}"); do
  on_all_workers "cd ~/avemo && .venv/bin/python -m avemo train $words" \
    && exit 0
  echo "launch/tpu_vm.sh: attempt $attempt ended; ending the others" >&2
  # The brackets keep the pattern from finding the shell that it stands in.
  on_all_workers "pkill -KILL -f '[a]vemo train'" || true
done
exit 1
