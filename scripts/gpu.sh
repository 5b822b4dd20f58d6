#!/usr/bin/env bash
# Checks and measurements on a GPU, the most valuable first:
#
#   check    the tests of tests/gpu
#   bench    training steps, inference and three models at once, against their references
#   ray      three class models that share the GPU, a killed worker, Ray Serve
#   weights  the default preset on all photographs; each package as soon as it is published
#   report   as much of the 2018 report's schedule as the time allows, and an estimate of the whole
#
#   OUT=folder scripts/gpu.sh check bench ray weights report
#   SMALL=1 scripts/gpu.sh check bench      a rehearsal on the CPU, at the smallest sizes
#
# `python scripts/gpu_supplies.py PHOTOS...` makes .data/photos.tar and .whl beforehand, on a machine
# with a network. Each step writes its results to $OUT as it proceeds, so an interrupted step loses
# only its current work. A failed step does not stop the next; the exit status tells if all passed.
#
#   WORK=folder    where to work; without it, a temporary folder that is deleted at the end
#   SECONDS_CHECK, SECONDS_BENCH, SECONDS_RAY, SECONDS_WEIGHTS, SECONDS_REPORT   time limits of steps
set -uo pipefail
cd "$(dirname "$0")/.."

SMALL=${SMALL:-}
OUT=${OUT:-gpu-results}
if [ -z "${WORK:-}" ]; then # a folder of its own is deleted at the end, however it ends
    WORK=$(mktemp -d -t colorgan-gpu-XXXXXX)
    trap 'rm -rf "$WORK"' EXIT
    trap 'exit 130' INT TERM HUP
fi
[ -z "$SMALL" ] || export OMP_NUM_THREADS=1 # many small processes on few cores
export SMALL PYTHONUNBUFFERED=1 PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
mkdir -p "$OUT"

if [ -n "${PYTHON:-}" ]; then :
elif [ -x .venv/bin/python ]; then PYTHON=$PWD/.venv/bin/python
else PYTHON=python3
fi

say() { printf '[%4d s] %s\n' "$SECONDS" "$*"; }

# Install packages that the machine lacks from wheels, into a separate folder.
supply_wheels() {
    [ -d .whl ] && [ -z "$SMALL" ] || return 0
    local site=$WORK/site wheels=$WORK/wheels
    mkdir -p "$wheels"
    cp .whl/*.whl "$wheels"/ 2> /dev/null
    # A wheel that was too large to transfer in one piece comes as NAME.whl.00, NAME.whl.01, ...
    for first in .whl/*.whl.00; do
        [ -e "$first" ] || continue
        cat "${first%.00}".* > "$wheels/$(basename "${first%.00}")"
    done
    "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir \
        --target "$site" "$wheels"/*.whl || return 1
    export PYTHONPATH=$PYTHONPATH:$site PATH=$site/bin:$PATH
}

check() {
    local kind=gpu
    "$PYTHON" -m pytest -q -m "$kind" -p no:cacheprovider tests/gpu 2>&1 | tee "$OUT/check.txt"
}

bench() {
    # A rehearsal leaves out train_all, which trains three models on Ray and has its own test.
    local names=(training_step inference train_all) more=(--device cuda)
    [ -n "$SMALL" ] && names=(training_step inference) && more=(--device cpu --quick)
    "$PYTHON" -m benchmarks "${names[@]}" "${more[@]}" --overwrite --json "$OUT/bench.json" 2>&1 |
        tee "$OUT/bench.txt"
}

ray() {
    "$PYTHON" scripts/gpu_ray.py --storage "$WORK/storage" --json "$OUT/ray.json" \
        ${SMALL:+--small} 2>&1 | tee "$OUT/ray.txt"
}

# Stage the photographs of .data/photos.tar, or scenes in a rehearsal, as the dataset `photos`.
stage_photographs() {
    [ -d "$WORK/storage/datasets/photos" ] && return 0
    local source=scenes
    if [ -z "$SMALL" ]; then
        mkdir -p "$WORK/photos"
        tar -xf .data/photos.tar -C "$WORK/photos" || return 1
        source=folder:$WORK/photos
    fi
    "$PYTHON" -m colorgan stage "$source" --dataset photos --storage "$WORK/storage" \
        ${SMALL:+--per-class 24 --size 64 --min-side 32}
}

# Copy the newest files of a run to $OUT every half minute; the machine may be lost at any moment.
keep() {
    while sleep 30; do keep_once "$1"; done
}
keep_once() {
    (cd "$WORK/storage" && tar -cf "$WORK/$1.part" --exclude='checkpoints*' \
        $(ls -d models runs 2> /dev/null) 2> /dev/null) && mv "$WORK/$1.part" "$OUT/$1"
}

# Train a model within a time limit; what is finished by then is in storage.
train() { # train SECONDS OPTIONS...
    timeout --foreground "$1" "$PYTHON" -m colorgan train --storage "$WORK/storage" \
        --dataset photos "${@:2}"
}

weights() {
    local model small=() ends=$((SECONDS + $1 - 20)) status=0
    [ -n "$SMALL" ] && small=(--preset small --size 32 --width 4 --discriminator-width 4 --epochs 1)
    stage_photographs || return 1
    keep weights.tar & local keeper=$!
    for model in general animals people vehicles; do
        say "weights: $model"
        train $((ends - SECONDS)) --model "$model" ${small[@]+"${small[@]}"} || { status=$?; break; }
    done
    kill "$keeper"
    keep_once weights.tar
    return "$status"
}

report() {
    local model small=() jobs=() ends=$((SECONDS + $1 - 30))
    [ -n "$SMALL" ] && small=(--size 32 --width 4 --discriminator-width 4 --epochs 1)
    stage_photographs || return 1
    for model in animals people vehicles general; do
        train $((ends - SECONDS)) --run "report-$model" --model "$model" --preset report \
            ${small[@]+"${small[@]}"} > "$WORK/report-$model.txt" 2>&1 &
        jobs+=($!)
    done
    wait "${jobs[@]}"
    keep_once report.tar
    "$PYTHON" scripts/gpu_report.py "$WORK/storage" | tee "$OUT/report.txt"
}

limit() { # seconds of a step
    local name=SECONDS_${1^^}
    case $1 in
        check) echo "${!name:-180}" ;; bench) echo "${!name:-240}" ;; ray) echo "${!name:-200}" ;;
        *) echo "${!name:-360}" ;;
    esac
}

if [ $# = 0 ]; then
    sed -n '2,20s/^# \{0,1\}//p' "$0"
    exit 2
fi
for step in "$@"; do
    case $step in
        check | bench | ray | weights | report) ;;
        *) echo "no step '$step': there are check, bench, ray, weights and report" >&2; exit 2 ;;
    esac
done
supply_wheels || exit 1
if [ -z "$SMALL" ]; then
    "$PYTHON" -c 'import sys, torch; sys.exit(None if torch.cuda.is_available() else
        "PyTorch finds no GPU here; SMALL=1 rehearses without one")' || exit 1
fi
failed=()
for step in "$@"; do
    say "$step begins, for at most $(limit "$step") s"
    export -f check bench ray weights report train stage_photographs keep keep_once say
    export PYTHON OUT WORK
    timeout --signal=TERM --kill-after=10 "$(limit "$step")" \
        bash -c "set -o pipefail; $step $(limit "$step")"
    status=$?
    say "$step: $([ "$status" = 0 ] && echo passed || echo "failed with status $status")"
    [ "$status" = 0 ] || failed+=("$step")
done
say "results: $(ls "$OUT" | tr '\n' ' ')"
[ ${#failed[@]} = 0 ] || { say "failed: ${failed[*]}"; exit 1; }
