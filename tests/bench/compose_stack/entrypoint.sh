#!/bin/sh
# Do what the official image does at its first start: run initdb, start a server on a local socket
# only, create the database, run the files of /docker-entrypoint-initdb.d in order. Then start the
# server with a network socket.
set -eu

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    umask 077
    printf '%s\n' "$POSTGRES_PASSWORD" >/tmp/password
    initdb --username="$POSTGRES_USER" --pwfile=/tmp/password --auth-local=trust \
        --auth-host=scram-sha-256
    rm /tmp/password
    printf '\nhost all all all scram-sha-256\n' >>"$PGDATA/pg_hba.conf"
    pg_ctl -w -o "-c listen_addresses='' -c unix_socket_directories=/run/postgresql" start
    export PGHOST=/run/postgresql PGUSER="$POSTGRES_USER"
    psql -v ON_ERROR_STOP=1 -d postgres -c "CREATE DATABASE $POSTGRES_DB"
    export PGDATABASE="$POSTGRES_DB"
    for file in /docker-entrypoint-initdb.d/*; do
        case $file in
            */[0-9]*.sh) . "$file" ;;
            */[0-9]*.sql) psql -v ON_ERROR_STOP=1 -f "$file" ;;
        esac
    done
    pg_ctl -w -m fast stop
fi

exec "$@" -c unix_socket_directories=/run/postgresql
