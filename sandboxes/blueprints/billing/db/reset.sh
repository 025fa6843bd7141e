#!/bin/sh
# Puts the seed back. Two resets at once take turns; the spare database for the next one
# is made after this one has answered.
set -eu
cd /opt/billing
export PGOPTIONS='-c client_min_messages=warning'

exec 9> /run/postgresql/reset.lock
flock 9
psql -X -q -v ON_ERROR_STOP=1 -o /dev/null -f reset.sql postgres
psql -X -q -f make-spare.sql postgres >/dev/null 2>&1 &
