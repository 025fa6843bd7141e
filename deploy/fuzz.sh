#!/usr/bin/env bash
# The steps of `make fuzz`: install what it needs, and send the API whatever can be sent.

. "$(dirname "$0")/common.sh"
# Apart from a portal that runs here, and from what its own file sets.
export DJANGO_SETTINGS_MODULE=tests.settings VAR_DIR="$VAR_DIR/tests"
lock_checkout
need_venv
need_requirements requirements.txt
need_requirements requirements-dev.txt
exec 9<&-
exec python -m tests.fuzz "$@"
