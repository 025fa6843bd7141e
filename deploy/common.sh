# What the steps of `make run`, `make test` and `make clean` share; sourced, not run.

set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"
VENV=$ROOT/.venv
VAR_DIR=${VAR_DIR:-var}
[[ $VAR_DIR = /* ]] || VAR_DIR=$ROOT/$VAR_DIR
export VAR_DIR PATH="$VENV/bin:$PATH" DJANGO_SETTINGS_MODULE=sandboxportal.settings

say() { printf '▸ %s\n' "$*"; }

die() {
    printf '✗ %s\n' "$*" >&2
    exit 1
}

# What this installation's own file sets, unless the environment does.
read_installation() {
    local line name value
    [ -e "$VAR_DIR/env" ] || return 0
    while read -r line; do
        name=${line%%=*} value=${line#*=}
        [ -n "${!name+set}" ] || export "$name=$(sed -E "s/^(['\"])(.*)\1$/\2/" <<<"$value")"
    done < <(grep -E '^[A-Z][A-Z0-9_]*=' "$VAR_DIR/env")
}

# Two set-ups in one checkout take turns; whoever starts something that stays must close 9 first.
lock_checkout() {
    exec 9<deploy/common.sh
    ! command -v flock >/dev/null || flock 9
}

# --- packages of the system ------------------------------------------------------------------

may_install() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null &&
        grep -qE '^ID(_LIKE)?=.*(debian|ubuntu)' /etc/os-release
}

apt_install() {
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@"
}

# A fresh machine has no package lists, and an old one stale ones: they are fetched when needed.
install_packages() {
    local log="$VAR_DIR/log/apt.log"
    mkdir -p "$VAR_DIR/log"
    say "Installing $*"
    apt_install "$@" >>"$log" 2>&1 </dev/null && return
    apt-get update -qq >>"$log" 2>&1 || true
    apt_install "$@" >>"$log" 2>&1 </dev/null && return
    tail -n 5 "$log" >&2
    return 1
}

# --- Python ----------------------------------------------------------------------------------

# The first of the usual names that is Python 3.11 or newer and has the modules given.
find_python() {
    local name
    for name in python3 /usr/bin/python3 python3.14 python3.13 python3.12 python3.11; do
        if "$name" -c "import sys${1:+, $1}; sys.exit(sys.version_info < (3, 11))" 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    return 1
}

# Debian keeps in a package of its own what makes virtual environments.
need_python() {
    find_python ensurepip,venv && return
    local found packages=(python3 python3-venv)
    if found=$(find_python); then
        packages=("$("$found" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')")
    fi
    may_install || die "Install Python 3.11 or newer with its venv module (on Debian: ${packages[*]})."
    install_packages "${packages[@]}" >&2 || install_packages python3.11 python3.11-venv >&2 || true
    find_python ensurepip,venv || die "No Python 3.11 or newer with its venv module can be installed here."
}

need_venv() {
    "$VENV/bin/python" -c 'import pip' 2>/dev/null && return
    local python
    python=$(need_python)
    say "Making a virtual environment in .venv ($("$python" --version))"
    "$python" -m venv --clear "$VENV"
}

# Installs what a list of requirements pins, unless that list was the last one installed.
need_requirements() {
    local list=$1 stamp="$VENV/.installed-${1//\//-}" wanted
    # macOS calls it by another name.
    wanted=$({ sha256sum || shasum -a 256; } <"$list" 2>/dev/null)
    [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
    say "Installing the Python packages of $list"
    "$VENV/bin/python" -m pip install -qq --disable-pip-version-check --no-input \
        --require-hashes "${@:2}" -r "$list" ||
        die "pip could not install $list; its message is above. Try again when the network is there."
    echo "$wanted" >"$stamp"
}
