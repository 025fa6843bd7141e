#!/usr/bin/env bash
# `make chaos`: install the dependencies of the fault-injection experiments, and run them.

. "$(dirname "$0")/common.sh"
. deploy/engine.sh

ensure_package() {
    local path=$1 package=$2
    compgen -G "$path" >/dev/null && return
    may_install || die "The experiments need $package. Install it, or run this as root on Debian or Ubuntu."
    install_packages "$package"
}

export BENCH_DIR="$VAR_DIR/chaos"
# Use a separate VAR_DIR and settings, so that a portal in this checkout isn't affected.
export DJANGO_SETTINGS_MODULE=tests.settings VAR_DIR="$BENCH_DIR"
mkdir -p "$BENCH_DIR"
lock_checkout
ensure_test_packages
ensure_engine
ensure_package '/usr/lib/postgresql/*/bin/initdb' postgresql
ensure_package /usr/bin/redis-server redis-server
ensure_package /bin/busybox busybox-static
# Some experiments restart a second Docker Engine.
command -v dockerd >/dev/null || die "The experiments start a second Docker Engine: install docker.io."
exec 9<&-
exec python -m tests.chaos "$@"
