#!/usr/bin/env bash
# The steps of `make audit`: known vulnerabilities in what the portal is built on.

. "$(dirname "$0")/common.sh"
lock_checkout
need_venv
need_requirements requirements.txt
need_requirements requirements-dev.txt
exec 9<&-
say "Asking for known vulnerabilities"
exec python deploy/audit.py
