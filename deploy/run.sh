#!/usr/bin/env bash
# `make run`: install missing dependencies, prepare the portal, and serve it.

. "$(dirname "$0")/common.sh"
. deploy/engine.sh
. deploy/runtime.sh

read_installation
if [ -z "${ADDRESS_RESERVED:-}" ]; then
    python=$(find_python || ensure_python)
    # Starts this script again, with the port reserved until the web process listens on it.
    ADDRESS_RESERVED=1 exec "$python" deploy/address.py bash deploy/run.sh
fi
unset ADDRESS_RESERVED

lock_checkout
ensure_venv
ensure_requirements requirements.txt
"$VENV/bin/python" deploy/keys.py
choose_runtime
"$VENV/bin/python" manage.py prepare --demo
exec 9<&-
exec "$VENV/bin/python" deploy/serve.py
