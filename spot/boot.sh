#!/usr/bin/env bash
# What a spot instance does at every boot: fetch what it lacks, and train on from the newest checkpoint.
#
# No checkpoint is named here, so none can be named wrongly: `tts-lab train` looks into the run folder and into the
# mirror and takes the newest whole one of both. On a bare machine that is the mirror's; where there is none, it begins.
#
# From the environment:
#   INPUT      folder at any address of fsspec's, as s3://BUCKET/input: run.yaml and all that it names, relative to it
#   MIRROR     where the run is kept, as s3://BUCKET/runs/NAME
#   VENV       environment with tts_lab[aws]; /opt/tts_lab/.venv if left out
#   WORK       folder for input and run; /var/lib/tts-lab if left out
#   PROCESSES  NeuronCores or GPUs to train on, by torchrun; a single process without it if left out
#
# Exit: 0 the run is done; 75 it was told to stop, and goes on when this is started again; else it failed, and said why.
set -euo pipefail

: "${INPUT:?address of the folder with run.yaml, as s3://BUCKET/input}"
: "${MIRROR:?address that the run is mirrored to, as s3://BUCKET/runs/NAME}"
WORK=${WORK:-/var/lib/tts-lab}
PATH=${VENV:-/opt/tts_lab/.venv}/bin:$PATH

mkdir -p "$WORK"
cd "$WORK"
if [ ! -e input ]; then # it has its name only once it is whole
    rm -rf input.part
    echo "boot: fetching $INPUT"
    python -c '
import sys
from fsspec.core import url_to_fs
files, folder = url_to_fs(sys.argv[1])
files.get(folder.rstrip("/") + "/", sys.argv[2] + "/", recursive=True)
' "$INPUT" input.part
    mv input.part input
fi
cd input

settings=(--config run.yaml --run "$WORK/run" --mirror "$MIRROR")
if [ -n "${PROCESSES:-}" ]; then
    exec torchrun --nproc_per_node="$PROCESSES" -m -- tts_lab.training "${settings[@]}"
fi
exec tts-lab train "${settings[@]}"
