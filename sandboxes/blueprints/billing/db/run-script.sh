#!/bin/sh
# Runs an SQL script as the superuser. A lock serializes scripts that swap databases.
cd /opt/billing
export PGOPTIONS='-c client_min_messages=warning -c search_path=pg_catalog -c statement_timeout=15s'
exec flock /run/postgresql/exchange.lock psql -X -q -v ON_ERROR_STOP=1 -o /dev/null -f "$1" postgres
