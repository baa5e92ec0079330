#!/usr/bin/env bash
# What a GPU shows of this project, what matters most first, in 540 s; docs/gpu.md says what comes of it.
#     bash .gpu/run.sh                       on the GPU machine, in a copy of the checkout
#     STAGES="sanity bench" MODELS="r3d_18 UNet" bash .gpu/run.sh
#     DEVICE=cpu bash scripts/gpu/run.sh     a rehearsal, in small, without a GPU
# Whatever hangs is stopped, and what was found until then lies in $OUT.
set -u
OUT=${OUT:-/tmp/gpu-out} DEVICE=${DEVICE:-cuda} how=() patience=1
[ "$DEVICE" = cpu ] && how=(--rehearse) patience=4
BUDGET=${BUDGET:-$((540 * patience))}
STAGES=${STAGES:-sanity walls strace tests service cluster bench}
MODELS=${MODELS:-r3d_18 UNet DynUNet SegResNet X3D-M patch-embedding s3d r2plus1d_18 Wan-VAE CogVideoX-VAE}
PY=${PYTHON:-python3}
mkdir -p "$OUT" && OUT=$(cd "$OUT" && pwd)
cd "$(dirname "$0")/../.." || exit
KIT=${KIT:-$PWD/.gpu} # what prepare.sh made
SCRATCH=$(mktemp -d)
trap 'rm -rf "$SCRATCH"' EXIT
export PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1
exec > >(tee -a "$OUT/log.txt") 2>&1

# stage NAME SECONDS COMMAND...: at most so many seconds, and never beyond the budget
stage() {
    local name=$1 limit=$(($2 * patience)) left=$((BUDGET - SECONDS)) began=$SECONDS
    shift 2
    if [ "$left" -lt 8 ]; then
        echo "== $name: no time left"
        return
    fi
    [ "$limit" -gt "$left" ] && limit=$left
    echo "== $name (at $began s, at most $limit s)"
    timeout -k 5 "$limit" "$@"
    echo "== $name: ended with $? after $((SECONDS - began)) s"
}
wants() { [[ " $STAGES " == *" $1 "* ]]; }
# Shortened; the profiler's tracepoints say nothing.
brief() { grep -v '^USDT:' | cut -c1-"$1"; }

# What the machine lacks. The sandbox knows packages by the name of the last folder.
site=/tmp/gpu-kit/site-packages
version=$("$PY" -c 'import sys; print(sys.implementation.cache_tag)')
if [ -d "$KIT/whl" ] && [ ! -e "$site/.$version" ]; then
    mkdir -p "$site"
    timeout 90 "$PY" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade \
        --disable-pip-version-check --target "$site" "$KIT"/whl/*.whl && touch "$site/.$version"
    timeout 20 "$PY" -m compileall -q -j 0 "$site" >/dev/null 2>&1
fi
export PYTHONPATH=$PWD
[ -d "$KIT/whl" ] && PYTHONPATH+=:$site
{
    date -u
    uname -a
    id
    nvidia-smi
    nvidia-smi -q -d CLOCK,POWER,PERFORMANCE | head -60
    # shellcheck disable=SC2012 # to be read by people
    ls -la /dev/nvidia* /usr/local/nvidia | head -60
    ulimit -a
    df -h / /tmp /dev/shm
    free -g
    cat /sys/kernel/security/lsm && echo
    "$PY" -m pip list --disable-pip-version-check
    "$PY" -c 'import convlast, fastapi, httpx, pydantic, pytest; print("imports: ok, pytest", pytest.__version__)'
} >"$OUT/machine.txt" 2>&1
tail -1 "$OUT/machine.txt"
echo "== set up after $SECONDS s"

if wants sanity; then
    stage sanity 85 "$PY" -m scripts.gpu.sanity --into "$OUT/sanity.jsonl" "${how[@]}" 2>&1 | brief 260
fi
if wants walls; then
    stage walls 100 "$PY" -m scripts.gpu.walls --into "$OUT/walls.jsonl" "${how[@]}" 2>&1 | brief 200
fi
if wants strace; then # which system calls the walls refuse
    strace=$KIT/strace/strace
    [ -x "$strace" ] || strace=$(command -v strace)
    if [ -z "$strace" ]; then
        echo "no strace on this machine" | tee "$OUT/refused.txt"
    else
        LD_LIBRARY_PATH="$KIT/strace${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" stage strace 60 \
            "$strace" -f -qq -e status=failed -o "$SCRATCH/calls" "$PY" -m scripts.gpu.walls \
            --fresh 0 --levels sealed --into "$SCRATCH/walls.jsonl" "${how[@]}" >"$SCRATCH/told" 2>&1
        tail -2 "$SCRATCH/told"
        "$PY" -m scripts.gpu.refused "$SCRATCH/calls" >"$OUT/refused.txt" 2>&1
        head -25 "$OUT/refused.txt" | brief 200
    fi
fi
if wants tests; then
    tests=("$PY" -m pytest -m gpu -v -rA --tb=short --durations=8 -p no:cacheprovider -o faulthandler_timeout=90)
    "$PY" -c 'import pytest_timeout' 2>/dev/null && tests+=(-p pytest_timeout --timeout 100)
    [ "$DEVICE" = cuda ] && tests+=(--require gpu)
    export PYTEST_DISABLE_PLUGIN_AUTOLOAD=1
    stage "tests: sandbox, permutation, layers" 70 "${tests[@]}" tests/service/sandbox/test_work.py \
        tests/gpu/test_permutation_on_gpu.py tests/gpu/test_smoke_on_gpu.py
    stage "tests: metrics" 70 "${tests[@]}" tests/gpu/test_metrics_on_gpu.py
    stage "tests: models" 170 "${tests[@]}" tests/gpu/test_model_smoke_on_gpu.py
    stage "tests: PyTorch's function" 40 "${tests[@]}" tests/convlast/layout/test_memory_format_against_pytorch.py
    unset PYTEST_DISABLE_PLUGIN_AUTOLOAD
fi
if wants service; then
    stage service 90 "$PY" -m scripts.gpu.service --into "$OUT/service.jsonl" --log "$OUT/service.log" \
        --checkpoints "$KIT/checkpoints" "${how[@]}" 2>&1 | brief 330
fi
if wants cluster; then # the same on a Ray cluster, where Ray is here; nobody else must reach it
    ray=/tmp/gpu-kit/ray
    [ -s "$KIT/ray.tar.xz" ] && mkdir -p "$ray" && tar -xJf "$KIT/ray.tar.xz" -C "$ray"
    if ! PYTHONPATH=$PYTHONPATH:$ray "$PY" -c 'import ray' 2>/dev/null; then
        echo "no Ray on this machine"
    else
        PYTHONPATH=$PYTHONPATH:$ray stage cluster 120 "$PY" -m scripts.gpu.service --ray --into "$OUT/cluster.jsonl" \
            --log "$OUT/cluster.log" --checkpoints "$KIT/checkpoints" "${how[@]}" 2>&1 | brief 330
    fi
fi
if wants bench; then
    # shellcheck disable=SC2086  # several models
    stage bench "$((BUDGET - SECONDS - 5))" "$PY" -m scripts.gpu.bench $MODELS --into "$OUT/gpu.json" "${how[@]}"
    [ -s "$OUT/gpu.json" ] && "$PY" -m scripts.gpu.summary "$OUT/gpu.json"
fi
echo "== all after $SECONDS s"
ls -la "$OUT"
sleep 0.5 # for tee
