#!/bin/sh
# Restores the seed data, then creates the spare database for the next reset. The time limit ends
# it in here: the portal can't end a command in a container.
set -eu
cd /opt/billing
if ! timeout --kill-after=1 15 sh run-script.sh reset.sql; then
    psql -X -q -c 'ALTER DATABASE billing ALLOW_CONNECTIONS true' postgres
    exit 1
fi
sh run-script.sh create-spare.sql >/dev/null 2>&1 &
