#!/usr/bin/env bash
# The steps of `make run`: install what is missing, prepare what is not, and serve.

. "$(dirname "$0")/common.sh"
. deploy/engine.sh
. deploy/runtime.sh

read_installation
python=$(find_python || need_python)
address=$("$python" deploy/address.py) || exit 1
eval "$address"

lock_checkout
need_venv
need_requirements requirements.txt
"$VENV/bin/python" deploy/keys.py
choose_runtime
"$VENV/bin/python" manage.py prepare --demo
exec 9<&-
exec "$VENV/bin/python" deploy/serve.py
