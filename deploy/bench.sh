#!/usr/bin/env bash
# The steps of `make bench`: install what measuring needs, and measure.

. "$(dirname "$0")/common.sh"
. deploy/engine.sh

has_compose() { docker compose version >/dev/null 2>&1 || docker-compose version >/dev/null 2>&1; }

# The peer is run by Compose; newer Debian releases have its version 2 under the same name.
need_compose() {
    has_compose && return
    may_install || die "The peer is run by Compose: install docker-compose."
    install_packages docker-compose || install_packages docker-compose-v2 || true
    has_compose || die "Compose can't be installed here; see $VAR_DIR/log/apt.log."
}

export BENCH_DIR="$VAR_DIR/bench"
# Apart from a portal that runs here, and from what its own file sets.
export DJANGO_SETTINGS_MODULE=tests.settings VAR_DIR="$BENCH_DIR"
mkdir -p "$BENCH_DIR"
lock_checkout
need_venv
need_requirements requirements.txt
need_requirements requirements-dev.txt
need_engine
need_compose
say "Checking the images of the blueprints"
python manage.py build_images
exec 9<&-
exec python -m tests.bench "$@"
