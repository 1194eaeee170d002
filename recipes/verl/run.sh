#!/usr/bin/env bash
# The runs of the paper (arXiv 2605.31228) on verl: a model, a method, with or without EchoRL. docs/guides/verl.md.
#
#   recipes/verl/run.sh MODEL METHOD [echorl] [OVERRIDE ...]
#   recipes/verl/run.sh qwen2.5-7b grpo echorl trainer.total_training_steps=100
#
# MODEL is a file in models/, METHOD one in methods/; overrides are verl's and win. From the environment:
#   DATA      the folder of `python -m echorl.verl.prepare` ($PWD/data); on several nodes one that all of them see
#   RUNS      where checkpoints go ($PWD/runs); the same
#   NNODES    nodes of the Ray cluster (1); GPUS: of each (8)
#   DRY_RUN=1 print the overrides, one a line, and stop
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

names() { (cd "$here/$1" && for file in *.sh; do printf ' %s' "${file%.sh}"; done); }
usage() {
    echo "usage: run.sh MODEL METHOD [echorl] [OVERRIDE ...]" >&2
    echo "MODEL:$(names models); METHOD:$(names methods)" >&2
    exit 2
}

[[ $# -ge 2 && -f $here/models/$1.sh && -f $here/methods/$2.sh ]] || usage
model=$1 method=$2
shift 2
with=plain
if [[ ${1-} == echorl ]]; then
    with=echorl
    shift
fi
name=$model-$method-$with
DATA=${DATA:-$PWD/data} RUNS=${RUNS:-$PWD/runs} NNODES=${NNODES:-1} GPUS=${GPUS:-8}

args=()
source "$here/base.sh"
source "$here/methods/$method.sh"
source "$here/models/$model.sh"
source "$here/$with.sh"
args+=("$@")

if [[ -n ${DRY_RUN-} ]]; then
    printf '%s\n' "${args[@]}"
else
    exec "${PYTHON:-python}" -m echorl.verl "${args[@]}"
fi
