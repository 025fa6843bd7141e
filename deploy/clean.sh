#!/usr/bin/env bash
# The steps of `make clean`: stop this checkout's portal and leave nothing of it.

. "$(dirname "$0")/common.sh"
. deploy/engine.sh

OURS=(env runtime sandboxes portal.sqlite3 portal.sqlite3-shm portal.sqlite3-wal demo-accounts.json
    queue static mail log metrics tests bench)

# What is in VAR_DIR by our hand; a directory that holds other things too is left standing.
remove_var() {
    (cd "$VAR_DIR" 2>/dev/null && rm -rf "${OURS[@]}" .env-* .demo-accounts.json-*) || return 0
    rmdir "$VAR_DIR" 2>/dev/null || say "Left $VAR_DIR, which holds other files"
}

# Its sandboxes are found by their labels alone, so the database may be broken or gone.
clear_engine() {
    need_venv
    need_requirements requirements.txt
    python deploy/keys.py
    read_installation
    say "Removing this portal's sandboxes"
    # Those that run as processes, if any do.
    SANDBOX_RUNTIME=process python manage.py clear_engine --yes >/dev/null ||
        die "Not all was removed; run \`make clean\` again."
    if ! seen=$(python deploy/ping_engine.py 2>&1); then
        say "$seen Nothing was removed there."
        return
    fi
    # Other checkouts on the engine may want the images, so they go only when that is asked for.
    SANDBOX_RUNTIME=docker python manage.py clear_engine --yes ${IMAGES:+--images} ||
        die "Not all was removed; run \`make clean\` again when the engine is well."
}

python=$(find_python) || die "There is no Python 3.11 or newer."
"$python" deploy/stop.py
lock_checkout
if [ -d "$VENV" ] || [ -d "$VAR_DIR" ]; then clear_engine; fi
say "Removing $VAR_DIR and .venv"
remove_var
rm -rf "$VENV"
