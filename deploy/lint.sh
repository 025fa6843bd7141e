#!/usr/bin/env bash
# The steps of `make lint`: check the code without running it.

. "$(dirname "$0")/common.sh"
# Apart from a portal that runs here, and from what its own file sets.
export DJANGO_SETTINGS_MODULE=tests.settings VAR_DIR="$VAR_DIR/tests"

check() {
    local said
    said=$("$@" 2>&1) || die "$* says:"$'\n'"$said"
    say "$*"
}

lock_checkout
need_venv
need_requirements requirements.txt
need_requirements requirements-dev.txt
# Its cache does not notice that a module became ours when its directory appeared.
check ruff check --no-cache .
check ruff format --check .
check djlint --lint templates
check mypy
check python manage.py check
check python manage.py makemigrations --check
