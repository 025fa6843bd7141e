# Functions that the scripts behind the make targets share. Source it; don't run it.

set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"
VENV=$ROOT/.venv
LOCK_FILE=$ROOT/.lock
VAR_DIR=${VAR_DIR:-var}
[[ $VAR_DIR = /* ]] || VAR_DIR=$ROOT/$VAR_DIR
export VAR_DIR PATH="$VENV/bin:$PATH" DJANGO_SETTINGS_MODULE=sandboxportal.settings

say() { printf '▸ %s\n' "$*"; }

die() {
    printf '✗ %s\n' "$*" >&2
    exit 1
}

# Exports the variables of the installation's own file that the environment doesn't set.
read_installation() {
    local line name value
    [ -e "$VAR_DIR/env" ] || return 0
    while read -r line; do
        name=${line%%=*} value=${line#*=}
        [ -n "${!name+set}" ] || export "$name=$(sed -E "s/^(['\"])(.*)\1$/\2/" <<<"$value")"
    done < <(grep -E '^[A-Z][A-Z0-9_]*=' "$VAR_DIR/env")
}

# Lets one make target at a time set up this checkout. Close descriptor 9 before starting a command
# that keeps running, or it keeps the lock.
lock_checkout() {
    # A user who can open a file can lock it, so only the owner may open this one. A checkout that
    # is read-only can't be set up, either.
    (umask 077 && : >>"$LOCK_FILE") 2>/dev/null || return 0
    exec 9<"$LOCK_FILE"
    ! command -v flock >/dev/null || flock 9
}

# --- system packages -------------------------------------------------------------------------

may_install() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null &&
        grep -qE '^ID(_LIKE)?=.*(debian|ubuntu)' /etc/os-release
}

apt_install() {
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@"
}

# Fetches the package lists if the first attempt fails: they may be missing or out of date.
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

# Prints the first command that is Python 3.11 or newer and can import the given modules.
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

# Debian has the venv module in a package of its own.
ensure_python() {
    find_python ensurepip,venv && return
    local found packages=(python3 python3-venv)
    if found=$(find_python); then
        packages=("$("$found" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')")
    fi
    may_install || die "Python 3.11 or newer with its venv module is required: install it (on Debian: ${packages[*]})."
    install_packages "${packages[@]}" >&2 || install_packages python3.11 python3.11-venv >&2 || true
    find_python ensurepip,venv || die "Couldn't install Python 3.11 or newer with its venv module. Install it by hand."
}

ensure_venv() {
    "$VENV/bin/python" -c 'import pip' 2>/dev/null && return
    local python
    python=$(ensure_python)
    say "Creating a virtual environment in .venv ($("$python" --version))"
    "$python" -m venv --clear "$VENV"
}

# Installs a requirements file, unless this version of it is installed already.
ensure_requirements() {
    local file=$1 stamp="$VENV/.installed-${1//\//-}" checksum
    # macOS has shasum in place of sha256sum.
    checksum=$({ sha256sum || shasum -a 256; } <"$file" 2>/dev/null)
    [ "$(cat "$stamp" 2>/dev/null)" = "$checksum" ] && return
    say "Installing the Python packages in $file"
    "$VENV/bin/python" -m pip install -qq --disable-pip-version-check --no-input \
        --require-hashes "${@:2}" -r "$file" ||
        die "pip couldn't install $file; see its message above. Check the network and try again."
    echo "$checksum" >"$stamp"
}

# Installs what the tests and the commands that measure the portal need.
ensure_test_packages() {
    ensure_venv
    # On a fresh machine, compiling every module takes longer than compiling those that are imported.
    ensure_requirements requirements.txt ${CI:+--no-compile}
    ensure_requirements requirements-dev.txt -r requirements.txt ${CI:+--no-compile}
}
