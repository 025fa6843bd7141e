#!/bin/bash
# Creates the data directory while the image is built: the roles, a template database with
# the schema, and the database `billing`, ready for its seed.
set -eu
here=$(dirname "$0")

initdb --encoding=UTF8 --locale=C.UTF-8 --wal-segsize=1 --auth=peer --no-sync --no-instructions >/dev/null
cp "$here/postgresql.conf" "$here/pg_hba.conf" "$PGDATA"
pg_ctl --silent --wait --options='-c listen_addresses= -c wal_recycle=off' start >/dev/null

run() { psql -X -q -v ON_ERROR_STOP=1 "$@" >/dev/null; }

run -f "$here/create-roles.sql" postgres
run -c 'CREATE DATABASE billing_template' postgres
run -c 'ALTER SCHEMA public OWNER TO developer' \
    -c 'GRANT CREATE ON DATABASE billing_template TO developer' billing_template
run -1 -c 'SET role developer' -f "$here/schema.sql" -f "$here/events.sql" billing_template
# Check that the seed fits the schema, so that the build fails instead of a launch.
for scenario in empty dunning large; do
    run -c 'BEGIN' -c "SET LOCAL sandbox.launched_at = '2024-02-29T12:00:00Z'" \
        -c "SET LOCAL sandbox.scenario = '$scenario'" -f "$here/seed.sql" \
        $([ $scenario = empty ] || echo "-f $here/scenarios.sql") \
        -c 'SET CONSTRAINTS ALL IMMEDIATE' -c 'ROLLBACK' billing_template
done
run -c 'VACUUM (FULL, FREEZE, ANALYZE)' billing_template
# Without connections, `start.sql` recognizes it as not seeded.
run -c 'CREATE DATABASE billing TEMPLATE billing_template CONNECTION LIMIT 0 STRATEGY file_copy' \
    -c 'CREATE DATABASE billing_new TEMPLATE billing_template STRATEGY file_copy' \
    -c 'ALTER DATABASE billing_template IS_TEMPLATE true ALLOW_CONNECTIONS false' postgres

# A container copies every file of its image that is opened for writing, and PostgreSQL
# opens all files for writing. A rehearsal finds the files that a launch opens; they are packed
# into one archive, as unpacking it takes a fraction of the time.
run -c 'CREATE DATABASE rehearsal TEMPLATE billing_template CONNECTION LIMIT 0 STRATEGY file_copy' postgres
oid() { psql -X -t -A -c "SELECT oid FROM pg_database WHERE datname = '$1'" postgres; }
billing=$(oid billing) rehearsal=$(oid rehearsal)
list_open_files() { psql -X -q -v ON_ERROR_STOP=1 -o /dev/null "$@" -f "$here/list-open-files.sql" postgres; }
opened=$(list_open_files -c "SELECT datconnlimit FROM pg_database WHERE datname = 'rehearsal'"
    DATABASE_PASSWORD=rehearsal SANDBOX_LAUNCHED_AT=2024-02-29T12:00:00Z list_open_files \
        -v database=rehearsal -f "$here/start.sql" -f "$here/first-queries.sql")
run -c 'DROP DATABASE rehearsal' -c 'ALTER ROLE developer PASSWORD NULL' \
    -c 'ALTER ROLE billing_api PASSWORD NULL' -c 'ALTER SYSTEM SET log_min_messages = panic' postgres

pg_ctl --silent --wait --mode=fast stop >/dev/null

cd "$PGDATA"
# These files are recreated at every start; without them, none has to be deleted first.
rm -f postmaster.opts pg_stat/* global/pg_internal.init base/*/pg_internal.init
touch unpacked
for file in $(echo "$opened" | sed -n "s#^$PGDATA/\(base\|global\)/#\1/#p" | sed "s#^base/$rehearsal/#base/$billing/#") \
    global/pg_control pg_wal/0* pg_xact/0* pg_multixact/*/0* pg_subtrans/0*; do
    [ ! -f "$file" ] || echo "$file"
done | sort -u | cat - <(echo unpacked) | tar --remove-files -cf "$PGDATA.tar" -T -
