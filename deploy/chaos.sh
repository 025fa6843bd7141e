#!/usr/bin/env bash
# The steps of `make chaos`: install what the ordeals need, and put the portal through them.

. "$(dirname "$0")/common.sh"
. deploy/engine.sh

need_package() {
    local there=$1 package=$2
    compgen -G "$there" >/dev/null && return
    may_install || die "Ordeals need $package, which only root on Debian or Ubuntu can install here."
    install_packages "$package"
}

export BENCH_DIR="$VAR_DIR/chaos"
# Apart from a portal that runs here, and from what its own file sets.
export DJANGO_SETTINGS_MODULE=tests.settings VAR_DIR="$BENCH_DIR"
mkdir -p "$BENCH_DIR"
lock_checkout
need_venv
need_requirements requirements.txt
need_requirements requirements-dev.txt
need_engine
need_package '/usr/lib/postgresql/*/bin/initdb' postgresql
need_package /usr/bin/redis-server redis-server
need_package /bin/busybox busybox-static
# Ordeals restart an engine of their own.
command -v dockerd >/dev/null || die "Ordeals start an engine of their own: install docker.io."
exec 9<&-
exec python -m tests.chaos "$@"
