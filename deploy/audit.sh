#!/usr/bin/env bash
# `make audit`: look up known vulnerabilities in the pinned packages.

. "$(dirname "$0")/common.sh"
lock_checkout
ensure_venv
ensure_requirements requirements.txt
ensure_requirements requirements-dev.txt
exec 9<&-
say "Checking for known vulnerabilities"
exec python deploy/audit.py
