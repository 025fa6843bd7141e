#!/usr/bin/env bash
# `make test-isolation`: install the dependencies of the isolation tests, and run them.

. "$(dirname "$0")/common.sh"
. deploy/engine.sh

[ "$(id -u)" = 0 ] || die "The isolation tests apply firewall rules: run them as root."
export DJANGO_SETTINGS_MODULE=tests.settings VAR_DIR="$VAR_DIR/tests"
lock_checkout
ensure_test_packages
ensure_engine
{ command -v ip && command -v iptables; } >/dev/null || install_packages iproute2 iptables ||
    die "Couldn't install iproute2 and iptables. Install them by hand."
say "Checking the blueprint images"
python manage.py build_images
exec 9<&-
exec python -m tests.isolation "$@"
