#!/usr/bin/env bash
# `make audit`: look up known vulnerabilities in the pinned packages.

. "$(dirname "$0")/common.sh"
lock_checkout
ensure_test_packages
exec 9<&-
say "Checking for known vulnerabilities"
exec python deploy/audit.py
