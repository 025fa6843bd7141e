#!/usr/bin/env bash
# `make lock`: pin every direct and transitive dependency of requirements*.in, with its hashes.
# requirements-dev.txt adds to requirements.txt, and doesn't repeat its packages.

. "$(dirname "$0")/common.sh"

lock_checkout
ensure_venv
python -m pip install -qq --disable-pip-version-check uv
export UV_CUSTOM_COMPILE_COMMAND="make lock"
compile() {
    say "Compiling $1.in"
    python -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        "${@:2}" "$1.in" -o "$1.txt"
}

compile requirements "$@"
compile requirements-gateway "$@"
# The image of the sandbox API copies these packages without dependencies; its list explains why.
(cd sandboxes/blueprints/billing/api && compile requirements --no-deps "$@")
(cd sandboxes/blueprints/billing/process && compile requirements --no-deps "$@")
mapfile -t pinned < <(sed -n 's/^\([a-z0-9._-]*\)==.*/--no-emit-package=\1/p' requirements.txt)
compile requirements-dev "${pinned[@]}" "$@"
