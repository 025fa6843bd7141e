#!/usr/bin/env bash
# The steps of `make probe`: install what it needs, and try to get out of sandboxes.

. "$(dirname "$0")/common.sh"
. deploy/engine.sh

[ "$(id -u)" = 0 ] || die "This needs root: it brings rules of the firewall into force."
export DJANGO_SETTINGS_MODULE=tests.settings VAR_DIR="$VAR_DIR/tests"
lock_checkout
need_venv
need_requirements requirements.txt
need_requirements requirements-dev.txt
need_engine
{ command -v ip && command -v iptables; } >/dev/null || install_packages iproute2 iptables ||
    die "iproute2 and iptables are needed."
say "Checking the images of the blueprints"
python manage.py build_images
exec 9<&-
exec python -m tests.isolation "$@"
