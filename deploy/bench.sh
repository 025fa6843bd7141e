#!/usr/bin/env bash
# `make bench`: install the dependencies of the benchmarks, and run them.

. "$(dirname "$0")/common.sh"
. deploy/engine.sh

has_compose() { docker compose version >/dev/null 2>&1 || docker-compose version >/dev/null 2>&1; }

# The comparison stack runs on Docker Compose. Debian's package is docker-compose or, for version 2,
# docker-compose-v2.
ensure_compose() {
    has_compose && return
    may_install || die "The benchmarks need Docker Compose: install docker-compose."
    install_packages docker-compose || install_packages docker-compose-v2 || true
    has_compose || die "Couldn't install Docker Compose; see $VAR_DIR/log/apt.log."
}

export BENCH_DIR="$VAR_DIR/bench"
# Use a separate VAR_DIR and settings, so that a portal in this checkout isn't affected.
export DJANGO_SETTINGS_MODULE=tests.settings VAR_DIR="$BENCH_DIR"
mkdir -p "$BENCH_DIR"
lock_checkout
ensure_test_packages
ensure_engine
ensure_compose
say "Checking the blueprint images"
python manage.py build_images
exec 9<&-
exec python -m tests.bench "$@"
