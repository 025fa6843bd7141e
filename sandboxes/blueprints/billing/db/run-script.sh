#!/bin/sh
# Runs a script of ours as the owner of the cluster. Those that exchange databases take turns.
cd /opt/billing
export PGOPTIONS='-c client_min_messages=warning'
exec flock /run/postgresql/exchange.lock psql -X -q -v ON_ERROR_STOP=1 -o /dev/null -f "$1" postgres
