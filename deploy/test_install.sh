#!/usr/bin/env bash
# `make test-install`: install what the tests of installations need, and run them.

. "$(dirname "$0")/common.sh"

[ "$(id -u)" = 0 ] || die "The tests of installations make machines in namespaces: run them as root."
export DJANGO_SETTINGS_MODULE=tests.settings VAR_DIR="$VAR_DIR/tests"
lock_checkout
ensure_test_packages
for command in mmdebstrap ip iptables psql; do
    command -v "$command" >/dev/null ||
        install_packages mmdebstrap debian-archive-keyring iproute2 iptables postgresql-client ||
        die "Couldn't install $command. Install it by hand."
done
exec 9<&-
exec python -m pytest -q -m installation tests/install "$@"
