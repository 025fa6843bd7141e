#!/usr/bin/env bash
# `make lint`: run the static checks.

. "$(dirname "$0")/common.sh"
# Use a separate VAR_DIR and settings, so that a portal in this checkout isn't affected.
export DJANGO_SETTINGS_MODULE=tests.settings VAR_DIR="$VAR_DIR/tests"

check() {
    local output
    output=$("$@" 2>&1) || die "$* failed:"$'\n'"$output"
    say "$*"
}

lock_checkout
ensure_test_packages
# mypy takes by far the longest, so it runs beside the others.
mypy_output=$(mktemp)
mypy >"$mypy_output" 2>&1 &
mypy=$!
trap 'kill "$mypy" 2>/dev/null || true; rm -f "$mypy_output"' EXIT
# Ruff's cache doesn't notice that an import became first-party when its directory appeared.
check ruff check --no-cache .
check ruff format --check .
check djlint --lint templates
check python deploy/check_prose.py
check python manage.py check
check python manage.py makemigrations --check
wait "$mypy" || die "mypy failed:"$'\n'"$(cat "$mypy_output")"
say mypy
