#!/usr/bin/env bash
# `make fuzz`: install the dependencies of the fuzz tests, and send the API generated requests.

. "$(dirname "$0")/common.sh"
# Use a separate VAR_DIR and settings, so that a portal in this checkout isn't affected.
export DJANGO_SETTINGS_MODULE=tests.settings VAR_DIR="$VAR_DIR/tests"
lock_checkout
ensure_test_packages
exec 9<&-
exec python -m tests.fuzz "$@"
