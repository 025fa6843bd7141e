#!/usr/bin/env bash
# `make audit`: look up known vulnerabilities in the pinned packages.

. "$(dirname "$0")/common.sh"
lock_checkout
need_venv
need_requirements requirements.txt
need_requirements requirements-dev.txt
exec 9<&-
say "Checking for known vulnerabilities"
exec python deploy/audit.py
