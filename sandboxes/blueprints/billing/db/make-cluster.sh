#!/bin/sh
# Makes the data directory while the image is built: the roles, a template that holds the
# schema, and the database `billing`, ready for its seed.
set -eu
here=$(dirname "$0")

initdb --encoding=UTF8 --locale=C.UTF-8 --wal-segsize=1 --auth=peer --no-sync --no-instructions >/dev/null
cp "$here/postgresql.conf" "$here/pg_hba.conf" "$PGDATA"
pg_ctl --silent --wait --options='-c listen_addresses= -c wal_recycle=off' start >/dev/null

run() { psql -X -q -v ON_ERROR_STOP=1 "$@" >/dev/null; }

run -f "$here/roles.sql" postgres
run -c 'CREATE DATABASE billing_template OWNER developer' postgres
run -1 -c 'SET role developer' -f "$here/schema.sql" billing_template
# The seed must fit the schema: better to find out now than at a launch.
run -c 'BEGIN' -c "SET LOCAL sandbox.launched_at = '2024-02-29T12:00:00Z'" \
    -f "$here/seed.sql" -c 'SET CONSTRAINTS ALL IMMEDIATE' -c 'ROLLBACK' billing_template
run -c 'VACUUM (FULL, FREEZE, ANALYZE)' billing_template
run -c 'CREATE DATABASE billing TEMPLATE billing_template OWNER developer STRATEGY file_copy' \
    -c 'CREATE DATABASE billing_new TEMPLATE billing_template OWNER developer STRATEGY file_copy' \
    -c 'ALTER DATABASE billing_template IS_TEMPLATE true ALLOW_CONNECTIONS false' postgres

pg_ctl --silent --wait --mode=fast stop >/dev/null
