#!/usr/bin/env bash
# The steps of `make lock`: pin every package that requirements*.in lead to, with its hashes.

. "$(dirname "$0")/common.sh"

lock_checkout
need_venv
python -m pip install -qq --disable-pip-version-check uv
compile() {
    say "Compiling $1.in"
    python -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        "${@:2}" "$1.in" -o "$1.txt"
}

compile requirements "$@"
# What a sandbox's API needs is copied into an image without its dependencies: see the list.
(cd sandboxes/blueprints/billing/api && compile requirements --no-deps "$@")
(cd sandboxes/blueprints/billing/process && compile requirements --no-deps "$@")
compile requirements-dev "$@"
