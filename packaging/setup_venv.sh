# shellcheck shell=bash
# Make .venv in the project's folder and install the project into it. Sourced by ./kiv and ./check.
#
#   set_up_venv [EXTRA...]   at once when the stamp says all is there; otherwise sets up, or goes on where it stopped
#
# Before: root is the project's folder. After: python is the environment's interpreter.
# All is said on stderr, because stdout belongs to the command that follows.

venv="${root:?the project folder}/.venv"
python="$venv/bin/python"
log="$venv/setup.log"
stamp="$venv/setup-stamp" # what was installed from; then, on a line of its own, the extras

set_up_venv() {
    is_set_up "$@" && return
    (
        wait_for_other_start
        is_set_up "$@" || install_project "$@"
    ) 9<"$root" || exit $?
}

is_set_up() {
    [[ -x $python && -f $stamp ]] || return 1
    local installed_from extras extra
    { read -r installed_from && read -r extras; } <"$stamp" || return 1
    [[ $installed_from == "$(sources_sum)" ]] || return 1
    for extra; do
        [[ " $extras " == *" $extra "* ]] || return 1
    done
}

# The folder is part of it: an editable install points there, and a moved folder needs a new one.
sources_sum() {
    { echo "$root" && cat "$root/pyproject.toml" "$root/constraints.txt"; } | cksum
}

# Pip inherits descriptor 9, so the lock outlives a killed start for as long as its pip writes.
wait_for_other_start() {
    command -v flock >/dev/null || return 0
    flock --nonblock 9 && return
    say "Another start is setting up; waiting for it."
    flock 9
}

install_project() {
    trap 'say "Stopped. The next start goes on from here."; exit 130' INT
    local installed_from extras
    installed_from=$(sources_sum)
    extras=$(with_installed_extras "$@")
    rm -f "$stamp"
    say "[1/3] Making the environment in .venv"
    make_venv
    choose_torch
    say "[2/3] Installing the libraries (the first time this takes minutes)"
    pip_install "$extras"
    say "[3/3] Trying the libraries"
    "$python" -P -c "import torch, transformers" >>"$log" 2>&1 || fail "The installed libraries do not load"
    printf '%s\n%s\n' "$installed_from" "$extras" >"$stamp.new" && mv "$stamp.new" "$stamp"
    say "Ready."
}

# An update must not leave behind what another command (./check: dev) had installed.
with_installed_extras() {
    { printf '%s\n' "$@" && if [[ -f $stamp ]]; then sed -n 2p "$stamp" | tr ' ' '\n'; fi; } |
        sed '/^$/d' | sort -u | paste -sd ' ' -
}

make_venv() {
    "$python" -P -m pip --version >/dev/null 2>&1 && return # else it is missing, half made, or older than 3.11
    local base output
    base=$(find_python) || exit 1
    output=$("$base" -m venv --clear "$venv" 2>&1) || fail "$base cannot make .venv: ${output##*$'\n'}"
}

# Which build of PyTorch: KIV_TORCH=cpu, cuda or default decides without a question.
choose_torch() {
    local arguments
    arguments=$("$python" -I "$root/packaging/choose_torch.py") || exit $?
    read -ra torch_arguments <<<"$arguments"
}

find_python() {
    local name version without_venv='' apt="On Debian and Ubuntu: sudo apt install"
    local tell_version='import sys; print("%d.%d" % sys.version_info[:2]); sys.exit(sys.version_info < (3, 11))'
    for name in python3.13 python3.12 python3.11 python3; do
        version=$("$name" -I -c "$tell_version" 2>/dev/null) || continue
        "$name" -I -c 'import ensurepip, venv' 2>/dev/null && echo "$name" && return
        without_venv=$version
    done
    [[ -z $without_venv ]] || fail "Python $without_venv lacks its venv module. $apt python$without_venv-venv"
    fail "KIV needs Python 3.11 or newer. $apt python3 python3-venv"
}

# Pip's errors are in its log; the first of them says the cause.
pip_install() {
    : >"$log"
    run_pip "$1" && return
    local cause
    cause=$(sed -n 's/.*ERROR: //p' "$log" | head -n 1)
    cause=${cause:-pip gave no reason}
    fail "Installing failed: ${cause%.}"
}

# Pip draws its progress only where its output is a terminal, so no pipe there.
run_pip() (
    cd "$root" || exit 1
    set -- "$python" -P -m pip --disable-pip-version-check --no-input --log "$log" \
        install --constraint constraints.txt ${torch_arguments[@]+"${torch_arguments[@]}"} \
        --editable ".${1:+[${1// /,}]}"
    if [[ -t 1 ]]; then "$@" 2>/dev/null; else "$@" 2>/dev/null | sed '/^Requirement already satisfied/d'; fi
) >&2

say() { printf 'kiv: %s\n' "$*" >&2; }

fail() {
    local details=
    [[ ! -s $log ]] || details=" (details: .venv/setup.log)"
    say "$*$details. Then try again."
    exit 1
}
