#!/usr/bin/env bash
# All checks that need a GPU, in less than 8 minutes; figures and logs go into a folder.   tools/gpu_checks.sh OUT
#
#   --device cpu   what of it a CPU can do, in small, to try the script itself
#   KIV_PYTHON     an interpreter that has everything; without it .venv is set up, as ./check does
set -euo pipefail
root=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
out=${1:-}
[[ -n $out && $out != -* ]] || { echo "gpu_checks: give a folder for the results." >&2 && exit 2; }
device=cuda lengths=(4096 131072 1048576) steps=200
if [[ ${2:-} == --device ]]; then
    device=${3:-}
    [[ $device == cuda || $device == cpu ]] || { echo "gpu_checks: --device is cuda or cpu." >&2 && exit 2; }
    [[ $device == cuda ]] || { lengths=(4096 8192) && steps=3; }
fi
mkdir -p "$out"
out=$(readlink -f "$out")
if [[ -n ${KIV_PYTHON:-} ]]; then
    python=$KIV_PYTHON
else
    # shellcheck source=packaging/setup_venv.sh
    source "$root/packaging/setup_venv.sh"
    set_up_venv dev app
fi
cd "$root"
export PYTHONPATH=$root KIV_GPU_TESTS_ON=$device

failed=0
step() { # name, seconds, file for stdout, command...
    local name=$1 limit=$2 file=$3 started=$SECONDS verdict=ok
    shift 3
    timeout "$limit" "$@" >"$out/$file" 2>"$out/$name.log" </dev/null || { verdict="FAILED ($?)" && failed=1; }
    printf '%-10s %-14s %4d s\n' "$name" "$verdict" $((SECONDS - started)) | tee -a "$out/summary.txt"
}

: >"$out/summary.txt"
step doctor 40 doctor.json "$python" -P -m kiv_engine.cli doctor --json
step tests 180 tests.txt "$python" -m pytest -m gpu tests/gpu --numprocesses 1 --color=no --durations=10
step decode 240 decode.txt "$python" tools/gpu_decode.py --device "$device" --steps "$steps" --lengths "${lengths[@]}"
tail -n 1 "$out/decode.txt" >"$out/decode.json"
exit $failed
