#!/usr/bin/env bash
# `make clean`: stop this checkout's portal and remove everything it created.

. "$(dirname "$0")/common.sh"
. deploy/engine.sh

CREATED=(env runtime sandboxes portal.sqlite3 portal.sqlite3-shm portal.sqlite3-wal demo-accounts.json
    disk-reserve queue static mail log metrics tests bench)

# Removes what the portal created in VAR_DIR, and the directory itself if nothing else is in it.
remove_var() {
    (cd "$VAR_DIR" 2>/dev/null && rm -rf "${CREATED[@]}" .env-* .demo-accounts.json-*) || return 0
    rmdir "$VAR_DIR" 2>/dev/null || say "Kept $VAR_DIR: it contains other files"
}

# Finds the sandboxes by their labels, so this works without the database.
purge_engine() {
    ensure_venv
    ensure_requirements requirements.txt
    python deploy/keys.py
    read_installation
    say "Removing this portal's sandboxes"
    # Sandboxes that run as processes.
    SANDBOX_RUNTIME=process python manage.py purge_engine --yes >/dev/null ||
        die "Couldn't remove all sandboxes. Run \`make clean\` again."
    if ! status=$(python deploy/ping_engine.py 2>&1); then
        say "$status Nothing was removed there."
        return
    fi
    # Other checkouts that use the engine may need the images, so they are kept unless IMAGES is set.
    SANDBOX_RUNTIME=docker python manage.py purge_engine --yes ${IMAGES:+--images} ||
        die "Couldn't remove all sandboxes. Run \`make clean\` again when the engine works."
}

python=$(find_python) || die "Python 3.11 or newer is required: install it."
"$python" deploy/stop.py
lock_checkout
if [ -d "$VENV" ] || [ -d "$VAR_DIR" ]; then purge_engine; fi
say "Removing $VAR_DIR and .venv"
remove_var
rm -rf "$VENV"
